"""The Slurm profile on a real cluster: `make test-cluster` where `sbatch` reaches one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Run

pytestmark = pytest.mark.cluster

# A cluster asks rarely for the state of its jobs; a test does not want to wait.
IMPATIENT = [
    "--seconds-between-status-checks",
    "1",
    "--slurm-init-seconds-before-status-checks",
    "1",
]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    """Skip where there is no cluster."""
    if shutil.which("sbatch") is None:
        pytest.skip("no Slurm on this machine (sbatch is not on PATH)")
    state = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
    if state.returncode or not re.search("idle|mixed|allocated", state.stdout):
        pytest.skip(f"no Slurm cluster answers: {state.stderr.strip() or state.stdout.strip()}")


def test_chain_on_slurm(call: Run, root: Path, toy: Path, tmp_path: Path) -> None:
    """All stages as jobs; the training is killed once, and told its time limit."""
    profile = root / "workflows" / "profiles" / "slurm"
    overrides = ["train={killed_at: 20, resources: {runtime_min: 5, mem_mb: 400}}"]
    overrides += [
        f"{s}={{resources: {{mem_mb: 400}}}}" for s in ("simulate", "preprocess", "evaluate")
    ]
    command = ["-s", toy, "--profile", profile, *IMPATIENT, "--config", *overrides]
    out = call("snakemake", *command, cwd=tmp_path).stdout
    assert "SLURM run ID" in out
    assert "Trying to restart job" in out
    log = (tmp_path / "logs" / "toy" / "train.log").read_text()
    assert "begins at step 20" in log
    assert 200 < float(re.findall(r"time limit ([0-9.]+) s", log)[0]) <= 300
    summary = json.loads((tmp_path / "results" / "toy" / "report" / "summary.json").read_text())
    assert summary["rate"] == pytest.approx(0.5, abs=0.01)
