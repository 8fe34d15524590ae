"""Snakemake itself is killed, or started twice: the chain goes on, or says what to do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

from .conftest import BIN, Run

#: Eight seconds in all; a step is long against the time in which a job learns of a death.
SLOW = ["--config", "train={step_s: 0.2}"]
WEIGHTS = Path("results") / "toy" / "model.safetensors"


@pytest.fixture
def begin(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start Snakemake and leave it at work."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path, cwd: Path) -> subprocess.Popen[bytes]:
        command = [BIN / "snakemake", "--cores", "1", *map(str, arguments)]
        with open(cwd / "begun.log", "wb") as log:
            started.append(
                subprocess.Popen(
                    command, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT
                )
            )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(happened: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


def training(snakemake: subprocess.Popen[bytes], folder: Path) -> psutil.Process:
    """The job of the training, when it has made a step."""
    state = folder / f"{WEIGHTS}.state" / "state.json"
    until(lambda: state.exists() or snakemake.poll() is not None, "a step of the training")
    assert snakemake.poll() is None, (folder / "begun.log").read_text()
    for job in psutil.Process(snakemake.pid).children(recursive=True):
        if any(Path(word).name == "physml" for word in job.cmdline()[:2]):
            return job
    raise AssertionError("no training")


def test_killed_snakemake_takes_its_jobs_along_and_the_same_command_continues(
    begin: Callable[..., subprocess.Popen[bytes]],
    snakemake: Run,
    toy: Path,
    done: Path,
    prepared: Path,
) -> None:
    """No orphan is left, no ``--unlock`` is asked for, and the weights are the same."""
    command = ["-s", toy, "--until", "train", *SLOW]
    first = begin(*command, cwd=prepared)
    job = training(first, prepared)
    first.kill()
    first.wait()
    until(lambda: not job.is_running(), "the job ends")
    assert list((prepared / ".snakemake" / "locks").glob("*.lock")), "nothing was left behind"
    assert not (prepared / WEIGHTS).exists()
    again = snakemake(*command, cwd=prepared).stdout
    assert "an earlier Snakemake was killed here" in again
    begun = re.findall(
        r"begins at step (\d+)", (prepared / "logs" / "toy" / "train.log").read_text()
    )
    assert int(begun[-1]) > 0
    assert load_file(prepared / WEIGHTS)["rate"] == load_file(done / WEIGHTS)["rate"]


def test_a_second_run_in_the_folder_is_refused(
    begin: Callable[..., subprocess.Popen[bytes]], snakemake: Run, toy: Path, prepared: Path
) -> None:
    """Its message says what to do; the first run does not notice."""
    command = ["-s", toy, "--until", "train", *SLOW]
    first = begin(*command, cwd=prepared)
    job = training(first, prepared)
    refused = snakemake(*command, cwd=prepared, rc=1).stdout
    assert "cannot be locked" in refused
    assert "no other Snakemake process" in refused
    assert "--unlock" in refused
    assert str(prepared) in refused
    assert job.is_running()
    assert first.wait(timeout=240) == 0
    assert (prepared / WEIGHTS).is_file()


def test_the_lock_of_jobs_elsewhere_is_left(
    begin: Callable[..., subprocess.Popen[bytes]], snakemake: Run, toy: Path, prepared: Path
) -> None:
    """Jobs on a cluster outlive Snakemake: that they are done is for the user to say."""
    command = ["-s", toy, "--until", "train", *SLOW]
    first = begin(*command, cwd=prepared)
    job = training(first, prepared)
    (prepared / ".snakemake" / "physml.lock").write_text("remote\n")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    until(lambda: not job.is_running(), "the job ends")
    assert "cannot be locked" in snakemake(*command, cwd=prepared, rc=1).stdout
    snakemake("-s", toy, "--unlock", cwd=prepared)
    snakemake(*command, cwd=prepared)
    assert (prepared / WEIGHTS).is_file()
