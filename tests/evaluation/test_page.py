"""The frame of a report's page."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

from physml.evaluation.page import embedded, whole_page


def test_a_page_is_whole_and_holds_its_body():
    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.seen = [], []

        def handle_starttag(self, tag, attrs):
            self.seen.append(tag)
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    text = whole_page("a < b", "<p>here</p>")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.seen == ["html", "head", "meta", "meta", "title", "style", "body", "p"]
    assert "<title>a &lt; b</title>" in text


def test_an_image_is_in_the_page_itself(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(range(256)))
    made = embedded(path, 'say "x"')
    held = re.search(r"base64,([^\"]*)", made)
    assert held is not None
    assert base64.b64decode(held[1]) == path.read_bytes()
    assert 'alt="say &quot;x&quot;"' in made
