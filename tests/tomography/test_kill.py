"""Kill the steering program and the laboratory at random moments: nothing is lost or changes.

Both are the programs of docs/examples/lab_server, in processes of their own. They are forked from
this one, which has read torch already: to read it again would take most of the time.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import runpy
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from physml.tomography import Stop, Tomographer, steer
from physml.tomography.data.session import read_session

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "lab_server"
COPIES = 3000
PROCESSES = multiprocessing.get_context("fork")


def run(program: str, options: dict[str, object]) -> None:
    """One of the two programs, from the command line on."""
    given = [[f"--{name.replace('_', '-')}", str(value)] for name, value in options.items()]
    sys.argv = [program, *(part for pair in given for part in pair)]
    torch.set_num_threads(1)
    runpy.run_path(str(EXAMPLE / program), run_name="__main__")


def start_program(program: str, **options: object) -> multiprocessing.Process:
    process = PROCESSES.Process(target=run, args=(program, options))
    process.start()
    return process


def kill_program(process: multiprocessing.Process) -> None:
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


class Lab:
    """The laboratory's process; it comes back on the same port with the same book."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        book = self.folder / "book.jsonl"
        self.process = start_program(
            "laboratory.py", port=self.port, port_file=port_file, duration=0.01, book=book
        )
        while not port_file.exists():
            assert self.process.is_alive()
            time.sleep(0.01)
        self.port = int(port_file.read_text())

    def kill(self) -> None:
        kill_program(self.process)


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    made.kill()


def start(lab: Lab, session: Path, estimator: str) -> multiprocessing.Process:
    given = {"port": lab.port, "session": session, "copies": COPIES, "estimator": estimator}
    return start_program("steer.py", **given, timeout=280)


def finish(process: multiprocessing.Process) -> None:
    process.join(timeout=280)
    assert process.exitcode == 0


def answered(session: Path) -> dict[str, list[int]]:
    if not session.exists():
        return {}
    events = read_session(session)  # at any moment the file can be read
    return {e["id"]: e["counts"] for e in events if e["event"] == "counts"}


def kill_after(process: multiprocessing.Process, session: Path, more: int) -> dict[str, list[int]]:
    """Kill once so many more answers are on the disk; what was on the disk then."""
    before = len(answered(session))
    while process.is_alive():
        known = answered(session)
        if len(known) >= before + more:
            kill_program(process)
            return known
        time.sleep(0.002)
    return answered(session)


def in_one_process(tmp_path: Path, estimator: str) -> Tomographer:
    """The undisturbed loop, with the laboratory's own source in this process."""
    source = runpy.run_path(str(EXAMPLE / "laboratory.py"))["Source"]("ghz", 0.02, 0)
    made = Tomographer(2, "product", estimator, session=tmp_path / "undisturbed.jsonl")
    steer(made, lambda setting: source.measure(setting.to_dict()), Stop(copies=COPIES))
    return made


def disturb(lab: Lab, folder: Path, estimator: str, kills: int, seed: int) -> Path:
    chance = random.Random(seed)
    session = folder / "session.jsonl"
    for kill in range(kills):
        process = start(lab, session, estimator)
        if kill == 0:  # the laboratory goes first, and comes back while it is asked
            while len(answered(session)) < chance.randint(2, 6):
                assert process.is_alive()
                time.sleep(0.002)
            lab.kill()
            time.sleep(0.1)
            lab.start()
        known = kill_after(process, session, chance.randint(1, 12))
        # Nothing that was acknowledged is lost.
        assert known.items() <= answered(session).items()
    finish(start(lab, session, estimator))
    return session


def same_as_undisturbed(session: Path, whole: Tomographer) -> None:
    with Tomographer.resume(session) as again:
        assert again.copies == COPIES == whole.copies
        # Ids begin with a token of each session's own.
        assert [m.setting.id.split("-")[1] for m in again.records.measurements] == [
            m.setting.id.split("-")[1] for m in whole.records.measurements
        ]
        for a, b in zip(again.records.measurements, whole.records.measurements, strict=True):
            assert np.array_equal(a.counts, b.counts)
            assert np.array_equal(a.setting.effects, b.setting.effects)
        assert again.density_matrix.tobytes() == whole.density_matrix.tobytes()


def test_killed_loop_ends_as_if_nothing_had_happened(lab, tmp_path):
    session = disturb(lab, tmp_path, "linear", kills=1, seed=1)
    with in_one_process(tmp_path, "linear") as whole:
        same_as_undisturbed(session, whole)
        truth = np.zeros((4, 4))
        truth[[0, 0, 3, 3], [0, 3, 0, 3]] = 0.5
        # Linear inversion of 3000 copies in product bases: fidelity to the source within 10 %.
        assert abs(np.trace(truth @ whole.density_matrix).real - (0.98 + 0.005)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "seed"), [("linear", 2), ("particle_filter", 3)])
def test_loop_killed_many_times(lab, tmp_path, estimator, seed):
    session = disturb(lab, tmp_path, estimator, kills=5, seed=seed)
    with in_one_process(tmp_path, estimator) as whole:
        same_as_undisturbed(session, whole)
