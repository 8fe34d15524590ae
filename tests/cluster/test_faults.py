"""What clusters do to jobs, done to a real training: it continues, and ends with the same weights.

Each fault strikes a cavities training that runs as a Slurm job. Nothing is said to Snakemake,
which has the profile's retries.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.chain import ROOT, until
from safetensors.torch import load_file

from .conftest import Cluster, Start, slurm

pytestmark = pytest.mark.cluster

#: Seconds of training, with a checkpoint at every step.
SETTINGS = [
    "simulate={n_samples: 48, shard_size: 48, resources: {mem_mb: 1500}}",
    "preprocess={valid: 0.3, test: 0.1, resources: {threads: 1, mem_mb: 1500}}",
    "train={epochs: 12, batch_size: 4, checkpoint_minutes: 0,"
    " network: {widths: [8, 8, 16], decoder_widths: [8, 8]},"
    " decoder: {share: 0.5, epochs: 2, batch_size: 8, checkpoint_minutes: 0},"
    " alarm_images: 8, merging_images: 4, resources: {threads: 1, mem_mb: 2000, runtime_min: 30}}",
]
#: A node that is lost takes no other run along.
ALONE = ["--set-resources", "train:slurm_extra='--exclusive'"]
CHAIN = ["-s", ROOT / "pipelines" / "cavities" / "Snakefile", "--until", "train"]
WEIGHTS = Path("results") / "cavities" / "model.safetensors"
STATE = Path(f"{WEIGHTS}.state")


@pytest.fixture(scope="module")
def prepared(here: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which all before the training ran, without a cluster."""
    folder = tmp_path_factory.mktemp("prepared")
    here(*CHAIN[:-1], "preprocess", "--config", *SETTINGS, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    prepared: Path, here: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Weights of a training that nothing happened to, without a cluster."""
    folder = shutil.copytree(prepared, tmp_path_factory.mktemp("whole") / "run")
    here(*CHAIN, "--config", *SETTINGS, cwd=folder)
    return folder / WEIGHTS


def node_of(job: str) -> str:
    """Node on which a job runs."""
    return slurm("squeue", "-h", "-j", job, "-o", "%N").strip()


def training(cluster: Cluster, job: str) -> int:
    """Process of the training inside a job."""
    for pid in cluster.processes(job, node_of(job)):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"train" in words and any(word.endswith(b"/physml") for word in words[:2]):
            return pid
    raise AssertionError(f"no training in job {job}")


def killed(cluster: Cluster, job: str) -> None:
    """The process dies, as of the kernel's out-of-memory killer."""
    os.kill(training(cluster, job), signal.SIGKILL)


def cancelled(cluster: Cluster, job: str) -> None:
    """Somebody cancels the job."""
    slurm("scancel", job)


def requeued(cluster: Cluster, job: str) -> None:
    """The job makes room for another: same number, from the start, at another time."""
    slurm("scontrol", "requeue", job)


def out_of_time(cluster: Cluster, job: str) -> None:
    """The time limit comes: Slurm asks the training to end and waits for it."""
    # It is stopped so that it cannot be done before; Slurm wakes it.
    os.kill(training(cluster, job), signal.SIGSTOP)
    slurm("scontrol", "update", f"JobId={job}", "TimeLimit=1")


def node_lost(cluster: Cluster, job: str) -> None:
    """The node is gone with all that ran there."""
    node = node_of(job)
    gone = [cluster.daemon(node), *cluster.steps(job), *cluster.processes(job, node)]
    for pid in gone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def daemon_lost(cluster: Cluster, job: str) -> None:
    """The node's daemon is gone; the training lives on, unseen, while another takes its place."""
    os.kill(cluster.daemon(node_of(job)), signal.SIGKILL)


#: Each fault, and who starts the job again. One whose node is out of sight may also end before
#: anybody misses it.
FAULTS = {
    killed: "Snakemake",
    cancelled: "Snakemake",
    out_of_time: "Snakemake",
    requeued: "Slurm",
    node_lost: "Slurm",
    daemon_lost: None,
}


@dataclass
class Struck:
    """A run that a fault happened to, at its end."""

    folder: Path
    job: str
    output: str


def struck(
    cluster: Cluster, start: Start, prepared: Path, folder: Path, fault: Callable[..., None]
) -> Struck:
    """Run the training, let the fault happen after its first checkpoint, and wait for the end."""
    shutil.copytree(prepared, folder)
    run = start(*CHAIN, *ALONE, "--config", *SETTINGS, cwd=folder)
    job = run.job("train")
    until(lambda: any((folder / STATE).rglob("checkpoint.pt")), "the first checkpoint")
    fault(cluster, job)
    assert not (folder / WEIGHTS).exists(), "the fault came too late"
    return Struck(folder, job, run.finish())


@pytest.fixture(scope="module")
def runs(
    our_cluster: Cluster, on_slurm: Start, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Callable[..., None], Future[Struck]]]:
    """All faults at once, each on a node of its own: most of the time is spent on waiting."""
    base = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        yield {
            fault: pool.submit(
                struck, our_cluster, on_slurm, prepared, base / fault.__name__, fault
            )
            for fault in FAULTS
        }
    our_cluster.repair()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_training_survives(
    runs: dict[Callable[..., None], Future[Struck]],
    undisturbed: Path,
    fault: Callable[[Cluster, str], None],
) -> None:
    """The same command, without a word, ends with the same weights bit for bit."""
    run = runs[fault].result()
    if FAULTS[fault]:
        assert ("Trying to restart job" in run.output) == (FAULTS[fault] == "Snakemake")
    if FAULTS[fault] == "Slurm":
        assert "Restarts=1" in slurm("scontrol", "show", "job", run.job)
    log = (run.folder / "logs" / "cavities" / "train.log").read_text()
    if FAULTS[fault]:
        (place,) = re.findall(r"continuing in epoch (\d+) after (\d+) steps", log)
        assert place != ("1", "0"), "it began anew"
    one, two = load_file(run.folder / WEIGHTS), load_file(undisturbed)
    assert one.keys() == two.keys()
    for name, value in two.items():
        assert one[name].numpy().tobytes() == value.numpy().tobytes(), name
