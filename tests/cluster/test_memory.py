"""A job that wants more memory than it asked for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cluster, Start, slurm

pytestmark = pytest.mark.cluster

#: Snakemake in the job takes 250 MB of what is asked for.
ASKED_MB = 600


@pytest.fixture
def prepared(here: Callable[..., str], toy: Path, tmp_path: Path) -> Path:
    """Folder in which the toy ran up to the training, without a cluster."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    here("-s", toy, "--notemp", "--until", "preprocess", cwd=folder)
    return folder


def train(toy: Path, hog_mb: int, *options: str) -> list[str]:
    resources = f"resources: {{mem_mb: {ASKED_MB}}}"
    settings = ["--config", f"train={{hog_mb: {hog_mb}, {resources}}}"]
    return ["-s", str(toy), "--until", "train", *settings, *options]


def test_a_job_out_of_memory_gets_more(
    our_cluster: Cluster, on_slurm: Start, toy: Path, prepared: Path
) -> None:
    """Killed at once, and again with twice as much, which is enough."""
    run = on_slurm(*train(toy, 700), cwd=prepared)
    out = run.finish()
    jobs = re.findall(r"SLURM jobid (\d+) \(log: .*rule_train/", out)
    asked = [re.findall(r"MinMemoryNode=(\S+)", slurm("scontrol", "show", "job", j)) for j in jobs]
    assert asked == [["600M"], ["1200M"]]
    assert (prepared / "results" / "toy" / "model.safetensors").is_file()


def test_a_job_that_never_has_enough_is_an_error_that_says_so(
    our_cluster: Cluster, on_slurm: Start, toy: Path, prepared: Path
) -> None:
    options = train(toy, 5000, "--retries", "1")
    out = on_slurm(*options, cwd=shutil.copytree(prepared, prepared.with_name("run"))).finish(1)
    assert len(re.findall(r"SLURM jobid \d+ \(log: .*rule_train/", out)) == 2
    assert re.search("OUT_OF_MEMORY|[Ee]xceeded (job |step )?memory limit|oom", out), out
