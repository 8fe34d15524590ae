"""Snakemake itself is killed, or started twice: the chain goes on, or says what to do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fakes.chain import BIN, until

from .conftest import WEIGHTS, Run, train_log, weight

Begun = subprocess.Popen[bytes]
Begin = Callable[..., Begun]
#: Eight seconds in all; a step is long against the time in which a job learns of a death.
SLOW = ["--config", "train={step_s: 0.2}"]


@pytest.fixture
def begin(environment: dict[str, str]) -> Iterator[Begin]:
    """Start Snakemake and leave it at work."""
    started: list[Begun] = []

    def start(*arguments: str | Path, cwd: Path) -> Begun:
        command = [BIN / "snakemake", "--cores", "1", *map(str, arguments)]
        with open(cwd / "begun.log", "wb") as log:
            options = {"cwd": cwd, "env": environment, "stderr": subprocess.STDOUT}
            started.append(subprocess.Popen(command, stdout=log, **options))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def training(snakemake: Begun, folder: Path) -> psutil.Process:
    """The job of the training, when it has made a step."""
    state = folder / f"{WEIGHTS}.state" / "state.json"
    until(lambda: state.exists() or snakemake.poll() is not None, "a step of the training")
    assert snakemake.poll() is None, (folder / "begun.log").read_text()
    for job in psutil.Process(snakemake.pid).children(recursive=True):
        if any(Path(word).name == "physml" for word in job.cmdline()[:2]):
            return job
    raise AssertionError("no training")


def test_killed_snakemake_takes_its_jobs_along_and_the_same_command_continues(
    begin: Begin,
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
    assert int(re.findall(r"begins at step (\d+)", train_log(prepared))[-1]) > 0
    assert weight(prepared) == weight(done)


def test_a_second_run_in_the_folder_is_refused(
    begin: Begin, snakemake: Run, toy: Path, prepared: Path
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
    begin: Begin, snakemake: Run, toy: Path, prepared: Path
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
