"""The commands `physml tomography process | shadows`, in process, and their files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from physml.cli.main import main
from physml.tomography import estimate_process, load_process_records
from physml.tomography.core.process.channels import GATES, average_gate_fidelity, choi_of_kraus
from physml.tomography.core.readout import Readout, flips
from physml.tomography.evaluation.processes import fixed_design, measure
from physml.tomography.simulator import processes as sim

CHOI = choi_of_kraus(sim.compose(sim.amplitude_damping(0.05), GATES["h"][None]))


def run(capsys, *arguments, code=0):
    found = main(["tomography", *map(str, arguments)])
    out = capsys.readouterr()
    assert found == code, out.err
    return out.out, out.err


@pytest.fixture
def counts(tmp_path):
    rng = np.random.default_rng(0)
    chosen = fixed_design(1, 20_000, rng)
    path = tmp_path / "counts.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["input", "axes", "0", "1"])
        for (c, _), n in zip(chosen, measure(CHOI, chosen, rng), strict=True):
            writer.writerow([c.input, c.axes, *n])
    return path


def test_process_by_command(counts, tmp_path, capsys):
    out = tmp_path / "out"
    text, _ = run(capsys, "process", counts, "--target", "h", "--level", 0.99, "--json", "-o", out)
    body = json.loads(text)
    truth = float(average_gate_fidelity(CHOI, GATES["h"]))
    each = {i["name"]: i for i in body["intervals"]}["average gate fidelity"]
    assert each["low"] < truth < each["high"]
    assert each["high"] - each["low"] < 0.04
    assert body["parameters_determined"] == [12, 12]
    assert body["goodness_of_fit"]["p_value"] > 1e-3
    assert sorted(p.name for p in out.glob("[a-z]*")) == [
        "choi.csv", "estimate.json", "overview.png", "pauli_transfer.csv"
    ]  # fmt: skip
    rows = list(csv.DictReader((out / "pauli_transfer.csv").open()))
    assert rows[0] == {"output": "I", "input": "I", "value": rows[0]["value"],
                       "standard_deviation": rows[0]["standard_deviation"]}  # fmt: skip
    assert float(rows[0]["value"]) == pytest.approx(1)
    assert any("perfect" in text for text in body["warnings"])
    text, _ = run(capsys, "process", counts, "--target", "h", "--quick")
    assert "average gate fidelity" in text
    rows = json.loads(run(capsys, "process", counts, "--next", 600, "--settings", 6)[0])
    assert sum(row["shots"] for row in rows) == 600


def test_refusals_of_process(counts, tmp_path, capsys):
    assert "target" in run(capsys, "process", counts, "--target", "cx", code=2)[1]
    assert "none.csv" in run(capsys, "process", "none.csv", code=2)[1]
    assert "estimator" in run(capsys, "process", counts, "--estimator", "x", code=2)[1]
    out = tmp_path / "out"
    run(capsys, "process", counts, "--target", "zz", "-o", out, code=2)
    assert not out.exists()
    for command in ("process", "shadows"):
        assert "Examples" in run(capsys, command, "--help")[0]


def test_readout_errors_are_not_ascribed_to_the_process(counts):
    """Counts through a bad detector: with it given, the process comes out as it is."""
    data = load_process_records(counts)
    readout = Readout(flips([0.1]))
    rng, rows = np.random.default_rng(1), []
    for each in data.measurements:
        true = each.measurement.counts
        wrong = [rng.binomial(n, 0.1) for n in true]
        read = [true[0] - wrong[0] + wrong[1], true[1] - wrong[1] + wrong[0]]
        rows.append({"input": each.label, "axes": each.measurement.setting.id[:1],
                     "counts": [int(n) for n in read]})  # fmt: skip
    from physml.tomography.data.process_records import process_records_from

    body = {"measurements": rows}
    truth = float(average_gate_fidelity(CHOI, GATES["h"]))
    blind = estimate_process(process_records_from(body, "a"), target="h", goodness=False)
    assert blind.intervals[0].high < truth - 0.05
    body["readout"] = readout.to_dict()
    found = estimate_process(process_records_from(body, "a"), target="h", level=0.99)
    assert found.intervals[0].low < truth < found.intervals[0].high
    assert not any("perfect" in text for text in found.warnings)


def test_incomplete_is_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("input,axes,0,1\n0,Z,90,10\n1,Z,10,90\n")
    found = estimate_process(path, target="i")
    assert any("2 of the 12 parameters" in text for text in found.warnings)
    each = found.intervals[0]
    assert each.high - each.low > 0.2
    assert found.process.type == "super"


def test_shadows_by_command(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("axes,outcome,counts\nZZ,00,50\nZZ,11,50\nXX,00,48\nXX,11,52\n")
    text, _ = run(capsys, "shadows", path, "--observable", "ZZ,xx", "--json")
    found = json.loads(text)["estimates"]
    assert [e["value"] for e in found] == [1, 1]
    assert "compatible" in run(capsys, "shadows", path, "--observable", "ZI")[0]
    assert run(capsys, "shadows", path, "--fidelity", "XX,ZZ")[0].count("fidelity") == 1
    for wrong in (["--observable", "ZZZ"], ["--observable", "YY"], [], ["--purity", "a"],
                  ["--observable", "ZZ", "--method", "other"]):  # fmt: skip
        run(capsys, "shadows", path, *wrong, code=2)
