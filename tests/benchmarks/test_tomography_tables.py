"""Blocks of the other benchmarks of tomography."""

from __future__ import annotations

import json

import pytest

from physml.tomography.inference.process.functionals import DIAMOND, STRETCH


def test_sealed_families_say_how_bad_the_regions_are(script) -> None:
    benchmark = script("tomography_sealed")
    methods = {m: {"states": 160, "mean": [[0.1, 0.09, 0.11]] * 2} for m in benchmark.OWN}
    ours = {"states": 8, "mean": [[-0.1, -0.2, -0.05], [0.1, 0.05, 0.2]], "theirs": [0.2, 0.1]}
    numbers = {
        "copies": [100, 1000],
        "states": 500,
        "lists": {
            "rank_2": {
                "methods": methods,
                "differences": {"two-stage, global": ours},
                "sizes": {"particle filter, global": [1.2, 1.4]},
                "coverage": {
                    "neural, global": [[0.9, 0.88, 0.92], [0.5, 0.45, 0.55]],
                    "neural, product": [[0.88, 0.84, 0.91], [0.95, 0.93, 0.97]],
                    "neural, pauli": [[0.9, 0.88, 0.92], [0.15, 0.1, 0.2]],
                },
            },
        },
    }
    found = benchmark.tables(json.loads(json.dumps(numbers)))
    assert "in 4 of 6 cells, and surely in fewer than promised in 2;" in found["coverage_sentence"]
    assert "at most 1.3 in 1 of 2 cells" in found["sizes"]
    assert "| rank_2 | particle filter, global | 1.20 | 1.40 |" in found["sizes"]
    assert "15% (10% to 20%) (rank_2, neural, pauli, 1,000 copies)" in found["coverage_sentence"]
    assert found["tally"] == (
        "- two-stage, global: ours is surely better in 1 and surely worse in 1 of 2 cells of "
        "family and copies."
    )
    assert (
        "| rank_2 | neural, global | **90% (88% to 92%)** | 50% (45% to 55%) |"
        in (found["coverage"])
    )
    assert "**-0.1 (-0.2 to -0.05)**" in found["differences"]
    assert found["ledger"].startswith("- `rank_2`: not sealed, decided from it: to train and")


def test_coverage_counts_all_three_kinds_of_measurements(script) -> None:
    benchmark = script("tomography_coverage")
    good, bad = [0.9, 0.89, 0.91], [0.5, 0.4, 0.6]
    lists = {
        "2 qubits, hs": {m: [good, good] for m in benchmark.OWN},
        "1 qubit, r_1": {m: [good, bad if m == "neural, pauli" else good] for m in benchmark.OWN},
    }
    numbers = {"copies": [100, 1000], "states": 1000, "lists": lists}
    found = benchmark.tables(json.loads(json.dumps(numbers)))
    assert found["count"] == "11 of 12"
    rows = {x.split(" | ")[0]: x for x in found["goals"].splitlines()}
    assert rows["| coverage of 90% regions, neural, global"].endswith("| met |")
    pauli = rows["| coverage of 90% regions, neural, pauli"]
    assert "3 of 4; 1 surely outside; together 80.0%" in pauli
    assert "(1 qubit, r_1, pauli, 1,000 copies)" in pauli
    assert pauli.endswith("| missed |")
    assert rows["| coverage of 90% regions, all measurements"].endswith("| missed |")
    assert (
        "| 1 qubit, r_1 | neural, pauli | **90.0% (89.0% to 91.0%)** | 50.0% ("
        in (found["coverage"])
    )


def test_intervals(script) -> None:
    benchmark = script("tomography_intervals")
    cells = [[(True, 0.1)] * 18 + [(False, 0.2)] * 2, [(True, 0.1)] * 20]
    counted = [benchmark.counted(rows) for rows in cells]
    assert counted[0]["share"] == 0.9
    # Wilson's interval of 18 of 20.
    assert (counted[0]["low"], counted[0]["high"]) == pytest.approx((0.699, 0.972), abs=1e-3)
    rows = [
        {"states": name, "design": "global", "of": "purity", "cells": counted}
        for name in ("pure", "rank_2")
    ]
    numbers = {"rows": rows, "copies": [100, 1000], "level": 0.9, "n": 20}
    found = benchmark.tables(json.loads(json.dumps(numbers)))
    for name in ("ranges", "sealed_ranges"):
        assert "truth in 90% to 100% of cases, in 1 of 2 cells in 87% to 97%" in found[name]
    assert "| pure | global | purity | **90% (70% to 97%)**; 0.1 | 100%" in found["intervals"]
    assert "| rank_2 | global | purity |" in found["sealed"]
    assert "rank_2" not in found["intervals"]


def test_the_stop(script) -> None:
    benchmark = script("tomography_stop")
    rule = {"stopped": 20, "kept": 0.9, "low": 0.7, "high": 0.97, "copies": 1200.0}
    never = {"stopped": 0, "kept": None, "low": 0.0, "high": 1.0, "copies": float("inf")}
    cell = {"states": "bell", "noise": 0.02, "design": "pauli", "infidelity": 0.01}
    rows = [
        {**cell, "stop": rule, "region": {**rule, "kept": 0.6, "copies": 1000.0}},
        {**cell, "stop": never, "region": never},
    ]
    found = benchmark.tables({"rows": rows, "n": 20, "confidence": 0.9})
    row = (
        "| bell + 2% | pauli | 0.01 | **90% (70% to 97%)** | 60% (70% to 97%) | 1,200 | 1.20 | 20 |"
    )
    assert row in found["stop"]
    assert (
        "in 90% to 90% of cases (20 states a cell), in 1 of 1 cells in at least 88%"
        in (found["promise"])
    )


def test_kept_records_say_that_they_are(script, root) -> None:
    for name in ("tomography_seeds", "tomography_cell", "tomography_coverage"):
        made = json.loads((root / "benchmarks" / "results" / f"{name}.json").read_text())
        if "kept" not in made["numbers"]:
            continue
        blocks = script(name).tables(made["numbers"])
        tables = [text for text in blocks.values() if "|---|" in text]
        assert tables
        assert all(f"Not run again since {made['date']}" in text for text in tables)


def test_the_cell_beside_the_filter(script) -> None:
    benchmark = script("tomography_cell")
    rows = {
        name: {"mean": [m], "error": [0.1 * m], "states": 40}
        for name, m in zip(benchmark.METHODS, (0.1, 0.3, 0.2, 0.4), strict=True)
    }
    arms = {
        how: {"mean": [0.3, m], "error": [0.1, 0.1], "states": 40}
        for how, m in ((benchmark.ML, 0.6), ("fixed", 0.2), ("random", 0.1), ("adaptive", 0.05))
    }
    numbers = {
        "accuracy": {"hs": rows},
        "adaptivity": {"pure": dict.fromkeys(benchmark.POVMS, arms)},
    }
    found = benchmark.tables(json.loads(json.dumps(numbers)))
    assert found["against_filter"] == "- Hilbert-Schmidt: 0.50 at 100 copies."
    assert found["likelihood_worse"] == "3"
    assert "a factor of 4.0 to 4.0 for pure states." in found["turning"]
    assert "Not run again" not in found["accuracy_hs"]


def test_processes(script) -> None:
    benchmark = script("tomography_processes")
    errors = {"frobenius2": 0.01, "infidelity": 0.02, "diamond": 0.1}

    def row(factor, inside):
        x = {"truth": 0.9, "value": 0.9, "low": 0.8 if inside else 0.91, "high": 1.0,
             "q05": 0.85, "q50": 0.9, "q95": 0.95}  # fmt: skip
        return {
            "bayes": {k: factor * v for k, v in errors.items()},
            "maximum_likelihood": errors,
            "linear": {k: 2 * v for k, v in errors.items()},
            "intervals": dict.fromkeys(benchmark.summary.QUANTITIES, x),
            "p_value": 0.5,
            "r_hat": 1.05,
            "seconds": [1.0, 2.0],
        }

    rows = {
        f"{family} | 1 | {k} | 10000 | pauli": row(factor, k > 0)
        for family, factor in (("relaxed", 0.5), ("reset", 2.0))
        for k in range(4)
    }
    rows |= {f"relaxed | 1 | {k} | 10000 | adaptive": row(0.25, True) for k in range(2)}
    rows |= {f"stretch | 1 | {k}": {"needed": k / 10} for k in range(19)}
    numbers = json.loads(json.dumps(benchmark.summary.record_numbers(rows, 200)))
    cells = {(c["family"], c["design"]): c for c in numbers["cells"]}
    ratio = cells["relaxed", "pauli"]["ratio"]
    assert ratio["maximum_likelihood"]["frobenius2"] == pytest.approx([0.5] * 3)
    assert ratio["linear"]["infidelity"] == pytest.approx([0.25] * 3)
    # Half the processes at a half and half at double: the geometric mean is one.
    value, low, high = cells["all", "pauli"]["ratio"]["maximum_likelihood"]["frobenius2"]
    assert value == pytest.approx(1)
    assert 0.5 <= low < 1 < high <= 2
    assert cells["all", "pauli"]["held"]["unitarity"][0] == 0.75
    # That of the diamond distance is made of the quantiles, whatever the ends in the row.
    assert cells["all", "pauli"]["held"]["diamond distance"][0] == 1
    assert cells["relaxed", "adaptive"]["gain"]["frobenius2"] == pytest.approx([0.5] * 3)
    # k = ceil(0.9 * 20) = 18 of 19.
    assert numbers["stretch"]["1"]["factor"][0] == 1.7
    found = benchmark.tables(numbers)
    assert "**0.5 (0.5 to 0.5)**" in found["ratios"]
    assert "| 1 | chosen | 10,000 | relaxed | 2 |" in found["coverage"]
    assert "unitarity 75% (" in found["sentence"]
    assert "1.0 s for choosing settings of one qubit" in found["times"]


def test_factors_of_processes_are_those_that_were_chosen(root) -> None:
    made = json.loads((root / "benchmarks/results/tomography_processes.json").read_text())
    chosen = made["numbers"]["stretch"]
    assert chosen.keys() == {"1", "2"}
    for n, found in chosen.items():
        # Rounded up to a tenth.
        assert 0 <= STRETCH[int(n)][DIAMOND] - found["factor"][0] < 0.1
