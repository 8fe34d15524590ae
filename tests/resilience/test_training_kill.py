"""Kill a training at random moments; the same command again must give the same weights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

VICTIM = Path(__file__).with_name("training_victim.py")


class Training:
    """The command, and where it writes."""

    def __init__(self, folder: Path, *, limit: float = 0, pause_ms: float = 0) -> None:
        self.state, self.out = folder / "model.state", folder / "model.safetensors"
        options = [str(self.state), str(self.out), str(limit), str(pause_ms)]
        self.command = [sys.executable, str(VICTIM), *options]

    def start(self) -> subprocess.Popen[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(self.command, env=environment, stderr=subprocess.PIPE, text=True)

    def run(self) -> tuple[int, str]:
        process = self.start()
        _, errors = process.communicate(timeout=200)
        return process.returncode, errors

    def wait_for_state(self, process: subprocess.Popen[str]) -> None:
        """Until this run has saved something: before, there is nothing for a kill to damage."""
        before = self._saved()
        while self._saved() == before and process.poll() is None:
            time.sleep(0.002)

    def _saved(self) -> int:
        path = self.state / "checkpoint.pt"
        return path.stat().st_mtime_ns if path.exists() else 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> bytes:
    training = Training(tmp_path_factory.mktemp("whole"))
    code, errors = training.run()
    assert code == 0, errors
    return training.out.read_bytes()


def kill_until_done(training: Training, kills: int, seed: int, longest: float) -> int:
    """Kill that many runs at random moments after their first save, then let one finish."""
    chance = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = training.start()
        training.wait_for_state(process)
        time.sleep(chance.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        killed += process.returncode == -signal.SIGKILL
        check_state(training.state)
    code, errors = training.run()
    assert code == 0, errors
    return killed


def check_state(state: Path) -> None:
    """What a kill leaves behind is a whole checkpoint, or none."""
    path = state / "checkpoint.pt"
    if path.exists():
        content = torch.load(path, weights_only=True)
        assert {"model", "average", "optimizer", "trainer", "progress"} <= content.keys()


def test_killed_training_ends_with_the_same_weights(tmp_path, undisturbed) -> None:
    training = Training(tmp_path, pause_ms=20)
    # 25 steps of 20 ms: kills within 150 ms of the first save leave work for the next runs.
    assert kill_until_done(training, kills=3, seed=1, longest=0.15) == 3
    assert training.out.read_bytes() == undisturbed
    # No temporary file of a killed run is left.
    assert {p.name for p in training.state.iterdir()} == {"checkpoint.pt", "history.csv"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again(tmp_path, undisturbed, seed) -> None:
    training = Training(tmp_path, pause_ms=10)
    assert kill_until_done(training, kills=8, seed=seed, longest=0.05) >= 6
    assert training.out.read_bytes() == undisturbed


def test_time_limit_exits_75_and_continues_to_the_same_weights(tmp_path, undisturbed) -> None:
    # The reserve for a save is a second: this leaves half a second of steps.
    training = Training(tmp_path, limit=1.5, pause_ms=40)
    codes = []
    while not codes or codes[-1] == 75:
        code, errors = training.run()
        codes.append(code)
        if code == 75:
            assert "Run the same command again" in errors
            assert not training.out.exists()
        assert len(codes) < 12
    assert codes[-1] == 0, errors
    assert len(codes) >= 2
    assert training.out.read_bytes() == undisturbed


def test_terminated_training_exits_75_at_once(tmp_path, undisturbed) -> None:
    training = Training(tmp_path, pause_ms=40)
    process = training.start()
    training.wait_for_state(process)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    code, errors = training.run()
    assert code == 0, errors
    assert training.out.read_bytes() == undisturbed


def test_full_disk_keeps_the_last_checkpoint(tmp_path, undisturbed) -> None:
    """A limit on the size of files stands in for a full disk: the write fails half-way."""
    training = Training(tmp_path)
    # Smaller than a checkpoint (5 x 2.7 k weights x 4 bytes), larger than the Python caches.
    script = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    limited = [sys.executable, "-B", "-c", script, *training.command[1:]]
    done = subprocess.run(
        limited,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "checkpoint.pt: expected room for the output" in done.stderr
    assert list(training.state.iterdir()) == []
    code, errors = training.run()
    assert code == 0, errors
    assert training.out.read_bytes() == undisturbed
