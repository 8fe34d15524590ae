"""Numbers in the texts are those of the records, and the records are of what is shipped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

#: How an interval looks in a text: 0.695 (0.663-0.736), 93.7% (92.0% to 95.0%).
INTERVAL = re.compile(r"\d(?:e-?\d+)?\s?%? \([-+]?[\d.]+(?:e-?\d+)?\s?%?(?:-| to )[-+]?[\d.]+")


@pytest.fixture
def tables(script, root: Path, monkeypatch: pytest.MonkeyPatch):
    """The generator, without anything that it has read before."""
    monkeypatch.syspath_prepend(str(root / "workflows"))
    module = script("tables")
    module.read.cache_clear()
    module.blocks.cache_clear()
    return module


@pytest.fixture
def bench(tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A checkout with one benchmark, `fake`, whose record can be changed."""
    (tmp_path / "results").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "fake.py").write_text(
        "def tables(n):\n"
        "    return {'ratio': f\"{n['ratio']}\", 'main': f\"| a |\\n|---|\\n| {n['ratio']} |\"}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables.results, "RESULTS", tmp_path / "results")

    def write(ratio: float, of=(), **changed) -> None:
        made = tables.results.record({"ratio": ratio}, of)
        made |= {"command": "python benchmarks/fake.py", **changed}
        tables.results.publish("fake", made)
        tables.read.cache_clear()
        tables.blocks.cache_clear()

    yield write
    tables.read.cache_clear()
    tables.blocks.cache_clear()


def test_texts_tell_what_was_measured(tables) -> None:
    """Also fails where weights or simulator have changed since."""
    assert not tables.faults(tables.texts(), check=True)


def test_no_interval_is_typed(tables) -> None:
    typed = [
        f"{path.relative_to(tables.ROOT)}: {found.group()}"
        for path in tables.texts()
        for found in INTERVAL.finditer(tables.BLOCK.sub("", path.read_text()))
    ]
    assert not typed


def test_records_are_small(tables) -> None:
    sizes = {path.name: path.stat().st_size for path in tables.results.RESULTS.glob("*.json")}
    assert sizes
    assert max(sizes.values()) < 400_000


def test_every_record_is_shown(tables) -> None:
    made = {path.stem for path in tables.results.RESULTS.glob("*.json")}
    assert made == tables.shown(tables.texts())


def test_blocks_are_filled_and_kept_up_to_date(tables, bench, tmp_path: Path) -> None:
    text = tmp_path / "README.md"
    text.write_text(
        "A ratio of <!-- from fake.ratio -->?<!-- end -->.\n\n"
        "<!-- from fake.main -->\n<!-- end -->\n"
    )
    bench(14)
    assert tables.faults([text], check=True)
    assert not tables.faults([text], check=False)
    assert "A ratio of <!-- from fake.ratio -->14<!-- end -->." in text.read_text()
    assert "| 14 |\n\nPrinted by `python benchmarks/fake.py` (" in text.read_text()
    assert not tables.faults([text], check=True)
    bench(15)
    assert "out of date" in tables.faults([text], check=True)[0]
    assert "| 14 |" in text.read_text()


def test_other_weights_than_the_shipped_ones_are_a_fault(tables, bench, tmp_path: Path) -> None:
    text = tmp_path / "README.md"
    text.write_text("A <!-- from fake.ratio --> <!-- end -->\n")
    bench(14, ["background"])
    assert not tables.faults([text], check=False)
    for key, then in (("weights", "0" * 64), ("simulator", -1)):
        now = tables.results.state(["background"])["background"]
        bench(14, sciences={"background": now | {key: then}})
        (fault,) = tables.faults([text], check=False)
        assert "background" in fault
        assert key in fault


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A <!-- from fake.other -->1<!-- end -->", "no block 'other', but ratio, main"),
        ("A <!-- from absent.x -->1<!-- end -->", "run python benchmarks/absent.py --publish"),
        ("A <!-- from fake.main -->1<!-- end -->", "lines of their own"),
        ("A <!-- from fake.ratio -->1", "without its partner"),
        ("One\n<!-- from fake.ratio -->1<!-- end -->", "begins a line"),
        ("1<!-- end -->", "without its partner"),
        ("A <!-- from fake ratio -->1<!-- end -->", "without its partner"),
    ],
)
def test_what_cannot_be_filled_is_named(
    tables, bench, tmp_path: Path, text: str, told: str
) -> None:
    bench(14)
    path = tmp_path / "README.md"
    path.write_text(text)
    (fault,) = tables.faults([path], check=False)
    assert fault.startswith("README.md: ")
    assert told in fault
    assert path.read_text() == text


def test_a_command_is_one_that_anyone_can_type(script) -> None:
    argv = ["/x/benchmarks/a.py", "--publish", "--images", "500", "--cache", "/tmp/x", "--json=/y"]
    line = script("common.results").command_line(argv)
    assert line == "python benchmarks/a.py --images 500"


def test_what_was_measured_with_other_weights_is_not_published(
    script, tmp_path: Path, monkeypatch
) -> None:
    options, results = script("common.options"), script("common.results")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["benchmarks/fake.py"])
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other")
    parser = options.command("What it does.", "weights")
    given = options.parse(parser, ["--publish", "--weights", str(other)])
    with pytest.raises(SystemExit, match="not published: cavities"):
        options.write(given, {"n": 1}, tables=lambda n: {"n": str(n["n"])}, sciences=["cavities"])
    options.write(options.parse(parser, ["--publish"]), {"n": 1}, sciences=["cavities"])
    assert json.loads((tmp_path / "fake.json").read_text())["numbers"] == {"n": 1}
