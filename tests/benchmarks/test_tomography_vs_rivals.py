"""Tables and goals of the benchmark of tomography against its rivals, and rows that are kept."""

from __future__ import annotations

import copy

import pytest
from fakes.tomography_evaluation import a_result


@pytest.fixture(scope="module")
def result():
    return a_result()


@pytest.fixture
def benchmark(script):
    return script("tomography_vs_rivals")


def test_goals_are_met_or_missed_by_what_was_measured(benchmark, result):
    rows = {
        row[0]: row for row in benchmark.infidelity_goals(result) + benchmark.other_goals(result)
    }
    met = rows["mean infidelity, 2 qubits, pure, neural, global, 100 copies"]
    assert met[1] == "<= 0.055"
    assert met[2].startswith("0.05 (")
    assert met[3] is True
    assert rows["mean infidelity, 2 qubits, pure, neural, global, 100,000 copies"][3] is False
    assert rows["copies x mean infidelity, 1 qubit, r_0.9, 10,000 copies"][3] is False
    assert rows["slope from 1e3 copies on, pure, neural, global"][3] is True
    assert rows["coverage of 90% regions, neural, global, all lists and copies"][3] is True
    assert rows["an update, one experiment, one thread, 2 qubits"][3] is True
    batch = rows["an update in a batch of 160, each"]
    assert batch[2].startswith("10 us; with an estimate 20;")
    assert batch[3] is True
    assert rows["particle filter of 300 over it, one experiment"][2].startswith("34;")
    assert rows["particle filter of 300 over it, one experiment"][3] is False


def test_coverage_is_counted_on_the_longer_lists(benchmark, result):
    """If they were run: the frozen lists of 160 say nothing then."""
    place = next(iter(result["lists"]))
    cells = [{"value": 0.94, "low": 0.93, "high": 0.95}] * len(result["copies"])
    longer = {place: {"states": 1000, "methods": {"neural, global": {"coverage": cells}}}}
    row = next(
        r for r in benchmark.other_goals(result | {"coverage": longer}) if r[0].startswith("cov")
    )
    assert row[3] is False
    assert "94.0%" in row[2]
    text = benchmark.coverage_table({**result, "coverage": longer})
    assert text.count("94.0%") == len(cells)
    assert "**94.0%" not in text


def test_one_list_without_coverage_is_enough_to_miss(benchmark, result):
    worse = copy.deepcopy(result)
    part = worse["lists"]["2 qubits, hs"]["methods"]["neural, global"]
    part["coverage"][2] = {"value": 0.5, "low": 0.4, "high": 0.6}
    row = next(r for r in benchmark.other_goals(worse) if r[0].startswith("coverage"))
    assert row[3] is False
    assert "15 of 16; 1 surely outside" in row[2]
    assert "2 qubits, hs, 10,000 copies" in row[2]


def test_report_names_all_and_marks_the_best(benchmark, result):
    text = benchmark.report(result | {"weights_sha256": "a" * 64})
    for name in ("neural, global", "particle filter, global", "linear, pauli"):
        assert f"| {name} |" in text
    best = [line for line in text.splitlines() if line.startswith("| neural, global | **0.05")]
    assert best


def test_rows_are_kept_and_carried_on(benchmark, tmp_path, monkeypatch, capsys):
    """What was measured is not measured again; a method that is added is."""
    asked = []

    def measured(lists, settings, seed, **others):
        asked.append((*lists, *settings.methods))
        return {place: {"methods": dict.fromkeys(settings.methods, numbers)} for place in lists}

    row = a_result()["lists"]["2 qubits, hs"]["methods"]["neural, global"]
    numbers = {k: v[:1] if isinstance(v, list) else v for k, v in row.items()}
    monkeypatch.setattr(benchmark, "latency", lambda *a, **k: a_result()["latency"])
    monkeypatch.setattr(benchmark.compare, "compare", measured)
    command = ["--states", "2", "--copies", "100", "--qubits", "1", "--coverage-states", "2"]
    command += ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    command += ["--by-copy", "0", "--methods", "linear, pauli"]
    benchmark.main(command)
    first, text = len(asked), (tmp_path / "a.md").read_text()
    assert first == len(set(asked)) == 4 + 4 * len(benchmark.COVERED)
    benchmark.main(command)
    assert len(asked) == first
    assert (tmp_path / "a.md").read_text() == text
    benchmark.main([*command, "neural, global"])
    assert len(asked) == first + 4
