"""Pages and cards from templates."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import jinja2
import pytest

from physml import templates

PAGE = """
{% extends "evaluation/base.html.jinja" %}
{% from "evaluation/macros.html.jinja" import figures, table %}
{% block title %}{{ title }}{% endblock %}
{% block body %}<p>{{ text }}</p>{{ table(head, rows) }}{{ figures(pictures, captions) }}
{% endblock %}
"""


class Tags(HTMLParser):
    """Tags that were seen, and those that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(autouse=True)
def _pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    environment = templates._environment()
    ours = jinja2.DictLoader({"page.html.jinja": PAGE, "card.md.jinja": "{{ text }}\n"})
    assert environment.loader is not None
    monkeypatch.setattr(environment, "loader", jinja2.ChoiceLoader([ours, environment.loader]))
    yield
    environment.cache.clear()  # type: ignore[union-attr]


def test_a_page_is_whole_escapes_texts_and_holds_its_pictures(tmp_path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(bytes(range(256)))
    page = templates.render(
        "page.html.jinja",
        title="a < b",
        text="<script>",
        head=["x & y"],
        rows=[["1"], ["2"]],
        pictures={"a": path},
        captions={"a": 'say "x"'},
    )
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.seen[:7] == ["html", "head", "meta", "meta", "title", "style", "body"]
    assert tags.seen.count("td") == 2
    assert "script" not in tags.seen
    assert "<title>a &lt; b</title>" in page
    assert "<p>&lt;script&gt;</p>" in page
    assert "<th>x &amp; y</th>" in page
    held = re.search(r"base64,([^\"]*)", page)
    assert held is not None
    assert base64.b64decode(held[1]) == path.read_bytes()
    assert 'alt="say &#34;x&#34;"' in page


def test_cards_are_text_as_it_is() -> None:
    assert templates.render("card.md.jinja", text="a < b & c") == "a < b & c\n"


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="text"):
        templates.render("card.md.jinja", other="a")


def test_all_templates_of_the_package_can_be_read() -> None:
    environment = templates._environment()
    names = environment.list_templates(filter_func=lambda name: name.endswith(".jinja"))
    assert "evaluation/base.html.jinja" in names
    for name in names:
        environment.get_template(name)
