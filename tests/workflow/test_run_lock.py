"""Whose lock it is, and whether a process ends with the one it belongs to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from physml.workflow import orphans, run_lock

ENTER = "import sys, time; from pathlib import Path; from physml.workflow import run_lock\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Snakemake's folder with its lock; this process is outside again at the end."""
    where = tmp_path / ".snakemake"
    (where / "locks").mkdir(parents=True)
    (where / "locks" / "0.output.lock").write_text("results/model\n")
    yield where
    run_lock.leave(where)


def other(folder: Path, *lines: str) -> subprocess.Popen[str]:
    """Another run in the folder, at work once it has said so."""
    program = (
        ENTER + "f = Path(sys.argv[1])\n" + "\n".join(lines) + "\nprint('at work', flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program + "\ntime.sleep(600)", folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return process


def ended(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("lines", "taken_away"),
    [
        (["run_lock.began(True, f)"], True),  # the jobs were children of it
        (["run_lock.began(False, f)"], False),  # they may still be at work
        ([], False),  # a workflow of others: unknown is not killed here
    ],
)
def test_lock_of_a_killed_run(folder: Path, lines: list[str], taken_away: bool) -> None:
    ended(other(folder, "run_lock.enter(f)", *lines))
    assert run_lock.enter(folder) is taken_away
    assert (folder / "locks").exists() is not taken_away


def test_lock_of_a_run_that_is_alive(folder: Path) -> None:
    alive = other(folder, "run_lock.enter(f)", "run_lock.began(True, f)")
    try:
        assert run_lock.enter(folder) is False
        assert (folder / "locks").exists()
    finally:
        ended(alive)


def test_a_run_that_ends_leaves_no_word(folder: Path) -> None:
    """Else the next lock in this folder, whosever, would look like that of a killed run."""
    lines = "f = Path(sys.argv[1]); run_lock.enter(f); run_lock.began(True, f); "
    lines += "(f / 'locks' / '0.output.lock').unlink()"
    subprocess.run([sys.executable, "-c", ENTER + lines, folder], check=True)
    (folder / "locks" / "0.output.lock").write_text("of a workflow that does not know us")
    assert run_lock.enter(folder) is False
    assert (folder / "locks").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Looking at a finished run of somebody else is no error."""
    assert run_lock.enter(tmp_path / "none" / ".snakemake") is False


def child_of(owner: str) -> subprocess.Popen[bytes]:
    program = (
        "import signal, sys, time; from physml.workflow.orphans import end_with_parent\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "end_with_parent(); print('ready', flush=True); time.sleep(600)"
    )
    environment = os.environ | {orphans.VARIABLE: owner}
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE
    )


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are watched on Linux only")
def test_a_job_ends_with_its_snakemake() -> None:
    """By SIGTERM, so that a training can write its checkpoint."""
    owner = subprocess.Popen(["sleep", "600"])
    named: dict[str, str] = {}
    orphans.adopt(named)
    host = named[orphans.VARIABLE].rpartition(":")[0]
    job = child_of(f"{host}:{owner.pid}")
    assert job.stdout is not None
    assert job.stdout.readline() == b"ready\n"
    time.sleep(0.5)
    assert job.poll() is None
    ended(owner)
    assert job.wait(timeout=60) == 75
    late = child_of(f"{host}:{owner.pid}")  # it was killed before the job began
    assert late.wait(timeout=60) == 75
    elsewhere = child_of(f"{host}.another:{owner.pid}")
    assert elsewhere.stdout is not None
    assert elsewhere.stdout.readline() == b"ready\n"
    ended(elsewhere)
