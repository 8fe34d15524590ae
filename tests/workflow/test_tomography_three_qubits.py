"""The recipe for three qubits, with so little data that it learns nothing: its stages run."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from .conftest import Run

LITTLE = """
simulate: {n_samples: 150, shard_size: 150, batch: 150, copies: 2000}
preprocess: {valid: 0.1, test: 0.1, calibrate: 0.4}
train:
  epochs: 1
  network: {width: 16, blocks: 1}
  calibrate: {epochs: 2, functionals: 300}
evaluate:
  states: 4
  copies: 1000
  test: 4
  batch: 4
  timed: 300
  bootstrap: 50
  methods: ['neural, global', 'neural, product', 'maximum likelihood, pauli', 'two-stage, global']
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_qubits(call: Run, root: Path, tmp_path: Path) -> None:
    """From nothing to weights that estimate a state."""
    (tmp_path / "little.yaml").write_text(LITTLE)
    recipe = root / "pipelines" / "tomography"
    files = (recipe / "config.yaml", recipe / "three_qubits.yaml", tmp_path / "little.yaml")
    options = [x for file in files for x in ("-c", file)]
    stages: list[list[str | Path]] = [
        ["simulate", "-o", "0.h5"],
        ["preprocess", "0.h5", "-o", "data"],
        ["train", "--data", "data", "-o", "model.safetensors"],
        ["evaluate", "--data", "data", "--weights", "model.safetensors", "-o", "found"],
    ]
    for stage, *rest in stages:
        call("physml", "tomography", stage, *options, *rest, cwd=tmp_path)
    metrics = json.loads((tmp_path / "found" / "metrics.json").read_text())
    assert "3 qubits, hs" in metrics["lists"]
    counts = tmp_path / "counts.csv"
    names = ["".join(p) for p in itertools.product("XYZ", repeat=3)]
    outcomes = [f"{k:03b}" for k in range(8)]
    rows = [",".join([name, *["10"] * 8]) for name in names]
    counts.write_text("\n".join([f"basis,{','.join(outcomes)}", *rows]) + "\n")
    estimate = ["estimate", counts, "--weights", "model.safetensors", "-o", "state"]
    call("physml", "tomography", *estimate, cwd=tmp_path)
    found = json.loads((tmp_path / "state" / "estimate.json").read_text())
    # Every outcome of every setting as often as any other: the maximally mixed state.
    purity = next(f["value"] for f in found["functionals"] if f["name"] == "purity")
    assert purity < 0.2
