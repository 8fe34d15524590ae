"""Kill the steering program and the laboratory at random moments: nothing is lost or changes.

Both are the programs of docs/examples/lab_server, in processes of their own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from physml.tomography import Tomographer
from physml.tomography.data.session import read_session

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "lab_server"
COPIES = 3000


def command(program: str, **options: object) -> list[str]:
    """Command line of one of the two programs."""
    given = [[f"--{name.replace('_', '-')}", str(value)] for name, value in options.items()]
    return [sys.executable, str(EXAMPLE / program), *(part for pair in given for part in pair)]


class Lab:
    """The laboratory's process; it comes back on the same port with the same book."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            command(
                "laboratory.py",
                port=self.port,
                port_file=port_file,
                duration=0.01,
                book=self.folder / "book.jsonl",
            ),
            stderr=subprocess.PIPE,
        )
        while not port_file.exists():
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            time.sleep(0.01)
        self.port = int(port_file.read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    made.kill()


def start(lab: Lab, session: Path, estimator: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(
            "steer.py",
            port=lab.port,
            session=session,
            copies=COPIES,
            estimator=estimator,
            timeout=280,
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen) -> None:
    errors = process.communicate(timeout=280)[1]
    assert process.returncode == 0, errors.decode()


def answered(session: Path) -> dict[str, list[int]]:
    if not session.exists():
        return {}
    events = read_session(session)  # at any moment the file can be read
    return {e["id"]: e["counts"] for e in events if e["event"] == "counts"}


def kill_after(process: subprocess.Popen, session: Path, more: int) -> dict[str, list[int]]:
    """Kill once so many more answers are on the disk; what was on the disk then."""
    before = len(answered(session))
    while process.poll() is None:
        known = answered(session)
        if len(known) >= before + more:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return known
        time.sleep(0.002)
    process.communicate()
    return answered(session)


def in_one_process(lab_folder: Path, tmp_path: Path, estimator: str) -> Tomographer:
    """The undisturbed loop, with the laboratory's own source in this process."""
    import runpy

    from physml.tomography.inference.steering import Stop, steer

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
                assert process.poll() is None, process.communicate()[1].decode()
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
        assert [m.setting.id for m in again.records.measurements] == [
            m.setting.id for m in whole.records.measurements
        ]
        for a, b in zip(again.records.measurements, whole.records.measurements, strict=True):
            assert np.array_equal(a.counts, b.counts)
            assert np.array_equal(a.setting.effects, b.setting.effects)
        assert again.density_matrix.tobytes() == whole.density_matrix.tobytes()


def test_killed_loop_ends_as_if_nothing_had_happened(lab, tmp_path):
    session = disturb(lab, tmp_path, "linear", kills=1, seed=1)
    with in_one_process(tmp_path, tmp_path, "linear") as whole:
        same_as_undisturbed(session, whole)
        truth = np.zeros((4, 4))
        truth[[0, 0, 3, 3], [0, 3, 0, 3]] = 0.5
        # Linear inversion of 3000 copies in product bases: fidelity to the source within 10 %.
        assert abs(np.trace(truth @ whole.density_matrix).real - (0.98 + 0.005)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "seed"), [("linear", 2), ("particle_filter", 3)])
def test_loop_killed_many_times(lab, tmp_path, estimator, seed):
    session = disturb(lab, tmp_path, estimator, kills=5, seed=seed)
    with in_one_process(tmp_path, tmp_path, estimator) as whole:
        same_as_undisturbed(session, whole)
