"""Kill a training of the background network at random moments; it must end with the same weights.

A run that is killed is a process of its own, in a process group that is killed as a whole, as a
batch system would; the one that carries on is this process.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fakes.background import write_toy_shards

from physml.background import preprocess, train
from physml.background.settings import BackgroundSettings
from physml.io.weights import load_weights

SETTINGS = {
    "seed": 7,
    "preprocess": {"valid": 0.3, "test": 0.2, "windows": 150},
    "train": {
        "epochs": 3,
        "batch_size": 16,
        "checkpoint_minutes": 0,
        "network": {"width": 8, "heads": 2, "blocks": 1, "pair_width": 4, "patch_channels": 4},
        "calibrate": {"photons": 200, "energies": [0.3, 2, 12], "observations": 0},
        "source_method": {
            "epochs": 1,
            "widths": [2, 2, 2],
            "hidden": 4,
            "batch_size": 8,
            "checkpoint_minutes": 0,
        },
    },
}
DRIVER = """
import sys, json, pathlib
from physml.background import train
from physml.background.settings import BackgroundSettings
settings = BackgroundSettings.model_validate(json.loads(sys.argv[1]))
train.run(settings=settings, data=pathlib.Path(sys.argv[2]), out=pathlib.Path(sys.argv[3]))
"""


def start(data: Path, out: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps(SETTINGS), str(data), str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(data: Path, out: Path) -> None:
    """Run to the end, in this process: it has imported all that is needed."""
    train.run(settings=BackgroundSettings.model_validate(SETTINGS), data=data, out=out)


def kill_when(data: Path, out: Path, share: float, whole: int) -> bool:
    """Kill a run once its state shows that share of the work; whether it was still at work."""
    process = start(data, out)
    state = out.with_name(out.name + ".state")
    try:
        while process.poll() is None:
            # Each checkpoint is a new file by renaming: their number is the progress.
            seen.update(
                (str(p), p.stat().st_mtime_ns) for p in state.rglob("checkpoint.pt") if p.exists()
            )
            if len(seen) >= share * whole:
                os.killpg(process.pid, signal.SIGKILL)
                return True
            time.sleep(0.002)
        return False
    finally:
        process.communicate()


seen: set[tuple[str, int]] = set()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    settings = BackgroundSettings.model_validate(SETTINGS)
    raw = write_toy_shards(folder, shards=1, exposures=8, seed=1, n=60)
    preprocess.run(settings=settings, raw=raw, out=folder / "prepared", threads=1)
    return folder / "prepared"


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> tuple[dict[str, torch.Tensor], dict]:
    out = tmp_path_factory.mktemp("whole") / "model.safetensors"
    finish(data, out)
    return load_weights(out)


def same(path: Path, undisturbed) -> None:
    weights, card = load_weights(path)
    expected, expected_card = undisturbed
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert weights[name].numpy().tobytes() == value.numpy().tobytes(), name
    for key in ("version", "calibration", "thresholds", "event_level", "source_method"):
        assert card[key] == expected_card[key]


def disturb(data: Path, folder: Path, kills: int, seed: int) -> Path:
    """Kill that many trainings, each after some checkpoints more, then let one finish."""
    chance = random.Random(seed)
    out = folder / "model.safetensors"
    killed = 0
    for _ in range(kills):
        seen.clear()
        killed += kill_when(data, out, chance.uniform(0.1, 1.0), 10)
        assert not out.exists() or load_weights(out)  # never half of it
    assert killed
    if not out.exists():
        finish(data, out)
    return out


def test_killed_training_ends_with_the_same_weights(data, undisturbed, tmp_path):
    same(disturb(data, tmp_path, 1, 1), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_training_killed_many_times_ends_with_the_same_weights(data, undisturbed, tmp_path, seed):
    same(disturb(data, tmp_path, 4, 100 + seed), undisturbed)
