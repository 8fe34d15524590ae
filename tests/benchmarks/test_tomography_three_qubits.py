"""Blocks of the benchmark of three qubits, and the weights that its record rests on."""

from __future__ import annotations

from physml.models import shipped_weights
from physml.provenance import sha256

CELL = {"states": 8, "mean": [[0.1, 0.08, 0.12], [0.01, 0.008, 0.012]]}
PART = {
    "methods": {"neural, global": CELL, "maximum likelihood, pauli": CELL},
    "difference": {"states": 8, "mean": [[-0.1, -0.2, -0.01], [0.1, -0.1, 0.2]], "theirs": []},
    "coverage": {"neural, global": [[0.9, 0.8, 0.95], [0.5, 0.4, 0.6]]},
    "ms": {"neural, global": 3.0},
}
FILTER = {
    "states": 4,
    "theirs": [0.1, 0.01],
    "ours": [0.12, 0.02],
    "inside": [1.0, 0.25],
    "seconds": [0.25, 50.0],
}
NUMBERS = {
    "copies": [100, 1_000],
    "filter_copies": 1_000,
    "states": 8,
    "lists": {"hs": {**PART, "filter": FILTER}, "ghz_w": PART},
}


def test_tables(script) -> None:
    found = script("tomography_three_qubits").tables(NUMBERS)
    assert "| hs | 4 | 100 | 0.12 | 0.1 | **1.20** | 100% |" in found["filter"]
    assert "| hs | 4 | 1,000 | 0.02 | 0.01 | 2.00 | 25% |" in found["filter"]
    assert "ghz_w" not in found["filter"]
    assert (
        "| ghz_w | neural, global | **90% (80% to 95%)** | 50% (40% to 60%) |"
        in (found["coverage"])
    )
    assert "| hs | maximum likelihood, pauli | 8 | 0.1 (0.08 to 0.12) |" in found["infidelities"]
    assert (
        "0.25 s of CPU time, the filter 50 s: a share of 0.5%, within the goal of 1%"
        in (found["times"])
    )
    text = found["verdict"]
    assert "in 2 of 4 cells, and surely in fewer than promised in 2 (the worst cell: 50%)" in text
    assert "filter's in 1 of 2 cells" in text
    assert "better than maximum likelihood in 2 and surely worse in 0 of 4 cells" in text
    assert set(found["ledger"].splitlines()[0].split("`")[1:2]) == {"3 qubits, hs"}


def test_records_rest_on_the_weights_of_three_qubits(script) -> None:
    results = script("common.results")
    name, own = "tomography three_qubits", shipped_weights("tomography", "three_qubits")
    made = results.record({}, script("tomography_three_qubits").SCIENCES)
    assert made["sciences"][name]["weights"] == sha256(own)
    assert results.outdated(made) == []
    made["sciences"][name]["weights"] = sha256(shipped_weights("tomography"))
    (fault,) = results.outdated(made)
    assert fault.startswith(f"{name}: measured with weights")
