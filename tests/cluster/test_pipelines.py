"""The real thing: all pipelines, on their smoke settings, from nothing to the report, as jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.chain import ROOT

from .conftest import Start, slurm

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_all_pipelines(on_slurm: Start, tmp_path: Path) -> None:
    """Every stage leaves what it promises, and nothing is left in the queue."""
    # The nodes are one machine: more jobs at a time would only wait for each other.
    command = ["-s", ROOT / "Snakefile", "--jobs", "4", "--config", "preset=smoke"]
    out = on_slurm(*command, cwd=tmp_path).finish()
    rules = ("simulate", "preprocess", "train", "evaluate")
    for name in ("background", "cavities", "tomography"):
        for rule in rules:
            assert f"rule_{name}_{rule}" in out, "not a job of Slurm"
        results = tmp_path / "results" / name
        assert json.loads((results / "evaluation" / "metrics.json").read_text())
        assert list((results / "evaluation" / "figures").glob("*.png"))
        assert (results / "report" / "summary.json").is_file()
        assert (results / "report" / "index.html").is_file()
        assert list((tmp_path / "logs" / name).glob("**/*.benchmark.tsv"))
    run_id = out.split("SLURM run ID: ")[1].split()[0]
    assert slurm("squeue", "-h", "--name", run_id) == ""
    assert "Nothing to be done" in on_slurm(*command, "-n", cwd=tmp_path).finish()
