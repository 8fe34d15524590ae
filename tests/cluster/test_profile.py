"""What the profile makes of the rules, on a real cluster: retries, arrays, GPUs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.chain import until

from physml.provenance import sha256

from .conftest import Cluster, Start, slurm

pytestmark = pytest.mark.cluster

#: The toy asks for 200 MB, which is little for Snakemake in a job. Four shards.
SHARDS = "simulate={shard_size: 3, resources: {mem_mb: 400}}"
MORE = [SHARDS, *(f"{s}={{resources: {{mem_mb: 400}}}}" for s in ("preprocess", "evaluate"))]


@pytest.fixture(scope="module")
def prepared(here: Callable[..., str], toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the toy ran up to the training, without a cluster; raw shards kept."""
    folder = tmp_path_factory.mktemp("prepared")
    options = ["--notemp", "--until", "preprocess", "--config", SHARDS]
    here("-s", toy, *options, cwd=folder)
    return folder


def test_chain(on_slurm: Start, toy: Path, tmp_path: Path) -> None:
    """All stages as jobs; the training is killed once, and told its time limit."""
    overrides = ["train={killed_at: 20, resources: {runtime_min: 30, mem_mb: 400}}"]
    run = on_slurm("-s", toy, "--config", *overrides, *MORE, cwd=tmp_path)
    train = run.job("train")
    until(lambda: "NumNodes" in slurm("scontrol", "show", "job", train), "the job is known")
    asked = slurm("scontrol", "show", "job", train)
    assert re.search(r"TimeLimit=00:30:00", asked)
    assert re.search(r"MinMemoryNode=400M", asked)
    assert re.search(r"NumCPUs=1\b", asked)
    out = run.finish()
    assert "Trying to restart job" in out
    # The second attempt asks for more memory and, since it continues, for no more time.
    again = slurm("scontrol", "show", "job", run.job("train"))
    assert "TimeLimit=00:30:00" in again
    assert "MinMemoryNode=800M" in again
    log = (tmp_path / "logs" / "toy" / "train.log").read_text()
    assert "begins at step 20" in log
    left = float(re.findall(r"time limit ([0-9.]+) s", log)[0])
    assert 0 < left <= 1800
    summary = json.loads((tmp_path / "results" / "toy" / "report" / "summary.json").read_text())
    assert summary["rate"] == pytest.approx(0.5, abs=0.01)


def test_shards_as_one_array(on_slurm: Start, toy: Path, prepared: Path, tmp_path: Path) -> None:
    """One submission for all shards; the same bytes as from jobs of their own."""
    options = ["--slurm-array-jobs", "simulate", "--notemp", "--until", "simulate"]
    out = on_slurm("-s", toy, *options, "--config", SHARDS, cwd=tmp_path).finish()
    (submitted,) = re.findall(r"Submitted array job .*SLURM job ID (\d+)", out)
    tasks = re.findall(r"ArrayTaskId=(\d+)", slurm("scontrol", "show", "job", submitted))
    assert sorted(tasks) == ["1", "2", "3", "4"]
    raw = Path("results") / "toy" / "raw"
    for shard in ("0.h5", "1.h5", "2.h5", "3.h5"):
        assert sha256(tmp_path / raw / shard) == sha256(prepared / raw / shard), shard


#: How sites want GPUs asked for: what a user puts into the profile, and what Slurm then notes.
STYLES = {
    "gpus": ([], r"TresPerJob=gres[:/]gpu:1"),
    "model": (["train:gpu_model=a100"], r"TresPerJob=gres[:/]gpu:a100:1"),
    "gres": (["train:gres='gpu:a100:1'", "train:gpu=0"], r"TresPerNode=gres[:/]gpu:a100:1"),
    "per node": (
        ["train:slurm_extra='--gpus-per-node=1'", "train:gpu=0"],
        r"TresPerNode=gres[:/]gpu:1",
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_training_gets_the_gpu_it_asks_for(
    our_cluster: Cluster, on_slurm: Start, toy: Path, prepared: Path, tmp_path: Path, style: str
) -> None:
    """In each style Slurm notes one GPU and shows one to the training; no other rule asks."""
    given, noted = STYLES[style]
    folder = shutil.copytree(prepared, tmp_path / "run")
    overrides = ["train={resources: {gpu: 1, mem_mb: 400}}"]
    options = ["--until", "train", "--config", SHARDS, *overrides]
    if given:
        options += ["--set-resources", *given, "train:slurm_partition=gpu"]
    run = on_slurm("-s", toy, *options, cwd=folder)
    job = run.job("train")
    run.finish()
    shown = slurm("scontrol", "show", "job", job)
    assert re.search(noted, shown), shown
    assert re.search(rf"\bPartition={'gpu' if given else 'main'}\s", shown)
    provenance = (folder / "results" / "toy" / "model.safetensors").read_bytes()
    assert b"'CUDA_VISIBLE_DEVICES': '0'" in provenance.replace(b'\\"', b"'")


def test_other_rules_ask_for_no_gpu(on_slurm: Start, toy: Path, tmp_path: Path) -> None:
    """A GPU for the training is not one for the chain."""
    overrides = ["train={resources: {gpu: 1}}", SHARDS.replace("3", "12")]
    run = on_slurm("-s", toy, "--until", "simulate", "--config", *overrides, cwd=tmp_path)
    job = run.job("simulate")
    run.finish()
    assert "gpu" not in slurm("scontrol", "show", "job", job).replace(str(tmp_path), "")
