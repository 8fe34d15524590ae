"""What all benchmarks share, and that each of them can be asked for help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

SCRIPTS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_benchmark_shows_its_help(script, path: Path, capsys, monkeypatch) -> None:
    """So that all that it imports is there."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")  # as the rival sets it
    monkeypatch.setattr("sys.argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        script(path.stem).main()
    assert ended.value.code == 0
    first = path.read_text().split('"""')[1][:30]
    assert first in capsys.readouterr().out


def test_tables_are_markdown(script) -> None:
    tables = script("common.tables")
    lines = tables.table(["a", "b"], [[1, "x"], [2, "y"]]).splitlines()
    assert lines == ["| a | b |", "|---|---|", "| 1 | x |", "| 2 | y |"]
    goals = tables.goals([("speed", ">= 5", "7", True), ("size", "<= 2", "3", False)])
    assert goals.splitlines()[2:] == [
        "| speed | **>= 5** | 7 | met |",
        "| size | **<= 2** | 3 | missed |",
    ]


def test_intervals_in_words(script) -> None:
    tables = script("common.tables")
    summary = {"value": 0.5, "low": 0.25, "high": 0.75}
    assert tables.interval(summary, ".2f") == "0.50 (0.25-0.75)"
    assert tables.interval(tables.scaled(summary, 100), ".0f", " to ") == "50 (25 to 75)"
    signed = {"value": -0.5, "low": -0.75, "high": -0.25}
    assert tables.interval(signed, "+.2f") == "-0.50 (-0.75 to -0.25)"
    assert tables.interval({"value": 0.5, "low": None, "high": None}, ".1%") == "50.0%"
    assert tables.interval({**summary, "value": None}) == tables.interval(None) == "-"


def test_kept_rows_are_not_made_again(script, tmp_path: Path) -> None:
    rows = script("common.rows")
    for path in (None, tmp_path / "new" / "rows.json"):
        assert rows.Rows(path).get("a", lambda x: {"x": x}, 3) == {"x": 3}
    again = rows.Rows(path)
    assert again.get("a", lambda: pytest.fail("made again")) == {"x": 3}
    again.save(result=5)
    assert json.loads(path.read_text()) == {"result": 5, "rows": {"a": {"x": 3}}}


def test_everything_is_written_where_the_command_line_says(script, tmp_path: Path, capsys) -> None:
    from matplotlib.figure import Figure

    options = script("common.options")
    parser = options.command("What it does.", "figures", "seed", "json", markdown=tmp_path / "a.md")
    files = ["--json", str(tmp_path / "new" / "a.json"), "--figures", str(tmp_path / "figures")]
    given = options.parse(parser, files)
    assert given.seed == 1
    options.write(given, {"n": torch.tensor(2)}, "| a |", {"one": Figure()})
    assert json.loads((tmp_path / "new" / "a.json").read_text())["numbers"] == {"n": 2}
    assert (tmp_path / "a.md").read_text() == "| a |\n"
    assert (tmp_path / "figures" / "one.png").is_file()
    assert "| a |" in capsys.readouterr().out
    options.write(options.parse(parser, []), {"n": 1})  # nowhere to write to


def test_processor_time_of_some_calls(script) -> None:
    timing, calls = script("common.timing"), []

    def work() -> None:
        calls.append(1)
        sum(range(10_000 * len(calls)))

    assert timing.cpu_seconds(work, 4, warm_up=True, of=min) < timing.cpu_seconds(work, of=max)
    assert len(calls) == 5 + 3
