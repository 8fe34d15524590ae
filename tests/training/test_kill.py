"""Kill a training at random moments; the same command again must give the same weights.

Each run is a process of its own, forked from a server that has torch loaded: starting Python
anew would take longer than the training.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from fakes import training_victim

PATIENCE_S = 120  # on a machine with other work to do
# torch's optimisers import _dynamo when they are first used, which takes seconds.
PRELOADED = ["physml.training.loop", "torch._dynamo", "safetensors.torch", "pytest"]


class Training:
    """The command, and where it writes."""

    def __init__(
        self,
        folder: Path,
        *,
        limit_s: float | None = None,
        pause_s: float = 0.0,
        disk: int | None = None,
    ) -> None:
        self.state, self.out = folder / "model.state", folder / "model.safetensors"
        self.arguments = (self.state, self.out, limit_s, pause_s, disk)

    def start(self) -> BaseProcess:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=training_victim.run, args=self.arguments)
        process.start()
        return process

    def run(self) -> int | None:
        return finish(self.start())

    @property
    def message(self) -> str:
        return self.state.with_suffix(".message").read_text()

    def wait_for_state(self, process: BaseProcess) -> None:
        """Until this run has saved something: before, there is nothing for a kill to damage."""
        before = self._saved()
        while self._saved() == before and process.is_alive():
            time.sleep(0.002)

    def _saved(self) -> int:
        path = self.state / "checkpoint.pt"
        return path.stat().st_mtime_ns if path.exists() else 0


def finish(process: BaseProcess) -> int | None:
    process.join(PATIENCE_S)
    process.kill()  # of no effect on one that has ended
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> bytes:
    training = Training(tmp_path_factory.mktemp("whole"))
    assert training.run() == 0
    return training.out.read_bytes()


def kill_until_done(training: Training, kills: int, seed: int, longest_s: float) -> int:
    """Kill that many runs at random moments after their first save, then let one finish."""
    chance = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = training.start()
        training.wait_for_state(process)
        time.sleep(chance.uniform(0, longest_s))
        process.kill()
        killed += finish(process) == -signal.SIGKILL
        check_state(training.state)
    assert training.run() == 0
    return killed


def check_state(state: Path) -> None:
    """What a kill leaves behind is a whole checkpoint, or none."""
    path = state / "checkpoint.pt"
    if path.exists():
        content = torch.load(path, weights_only=True)
        assert {"model", "average", "optimizer", "trainer", "progress"} <= content.keys()


def test_killed_training_ends_with_the_same_weights(tmp_path, undisturbed) -> None:
    # 25 steps of at least 20 ms: kills this soon after a save leave work for the next runs.
    training = Training(tmp_path, pause_s=0.02)
    assert kill_until_done(training, kills=5, seed=1, longest_s=0.08) == 5
    assert training.out.read_bytes() == undisturbed
    # No temporary file of a killed run is left.
    assert {p.name for p in training.state.iterdir()} == {"checkpoint.pt", "history.csv"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_killed_again_and_again(tmp_path, undisturbed, seed) -> None:
    training = Training(tmp_path, pause_s=0.01)
    assert kill_until_done(training, kills=12, seed=seed, longest_s=0.03) >= 8
    assert training.out.read_bytes() == undisturbed


def test_time_limit_exits_75_and_continues_to_the_same_weights(tmp_path, undisturbed) -> None:
    # A second of it is kept back for the last save.
    training = Training(tmp_path, limit_s=1.4, pause_s=0.05)
    for _ in range(3):
        assert training.run() == 75
        assert "Run the same command again" in training.message
        assert not training.out.exists()
    assert Training(tmp_path).run() == 0
    assert training.out.read_bytes() == undisturbed


def test_full_disk_keeps_the_last_checkpoint(tmp_path, undisturbed) -> None:
    assert Training(tmp_path, limit_s=1e-3).run() == 75
    checkpoint = tmp_path / "model.state" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    full = Training(tmp_path, disk=len(before) // 2)
    assert full.run() == 2
    assert "checkpoint.pt: expected room for the output" in full.message
    assert checkpoint.read_bytes() == before
    assert [p.name for p in full.state.iterdir()] == ["checkpoint.pt"]
    again = Training(tmp_path)
    assert again.run() == 0
    assert again.out.read_bytes() == undisturbed
