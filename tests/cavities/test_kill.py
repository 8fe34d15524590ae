"""Kill the cavities commands at random moments; the same command again must give the same files.

The commands are those that the chain runs, each in a process group of its own that is killed as a
whole, as a batch system would.
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

from physml.cavities import preprocess, simulate
from physml.cavities.learning.prepared import RAW
from physml.cavities.settings import CavitiesSettings
from physml.io.shards import read_shard
from physml.io.weights import load_weights

SETTINGS = {
    "simulate": {"n_samples": 48, "shard_size": 48},
    "preprocess": {"valid": 0.3, "test": 0.1},
    "train": {
        "epochs": 2,
        "batch_size": 4,
        "checkpoint_minutes": 0,
        "network": {"widths": [8, 8, 16], "decoder_widths": [8, 8]},
        "decoder": {"share": 0.5, "epochs": 2, "batch_size": 8, "checkpoint_minutes": 0},
        "alarm_images": 8,
    },
}


def command(verb: str, *arguments: str | Path) -> list[str]:
    settings = ["--settings", json.dumps(SETTINGS)]
    program = [
        sys.executable,
        "-c",
        "from physml.cli.main import main; raise SystemExit(main())",
        "cavities",
        verb,
    ]
    return [*program, *settings, "--threads", "1", *map(str, arguments)]


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(arguments: list[str]) -> float:
    """Run to the end; seconds it took."""
    began = time.monotonic()
    process = start(arguments)
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors.decode()
    return time.monotonic() - began


def kill_after(arguments: list[str], seconds: float) -> bool:
    """Kill a run after some seconds; whether it was still at work."""
    process = start(arguments)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    settings = CavitiesSettings.model_validate(SETTINGS)
    simulate.run(settings=settings, shard=0, out=folder / "0.h5")
    preprocess.run(settings=settings, raw=[folder / "0.h5"], out=folder / "prepared", threads=1)
    return folder / "prepared"


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> tuple[dict[str, torch.Tensor], dict, float]:
    out = tmp_path_factory.mktemp("whole") / "model.safetensors"
    seconds = finish(command("train", "--data", data, "-o", out))
    return *load_weights(out), seconds


def disturb(data: Path, folder: Path, kills: int, seed: int, longest: float) -> Path:
    """Kill that many trainings, then let one finish."""
    chance = random.Random(seed)
    out = folder / "model.safetensors"
    arguments = command("train", "--data", data, "-o", out)
    # torch alone takes seconds to import: kills before that would test nothing.
    at_work = sum(kill_after(arguments, chance.uniform(0.35, 0.95) * longest) for _ in range(kills))
    assert at_work
    if not out.exists():
        finish(arguments)
    return out


def same(path: Path, undisturbed) -> None:
    weights, card = load_weights(path)
    expected, expected_card, _ = undisturbed
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert weights[name].numpy().tobytes() == value.numpy().tobytes(), name
    for key in ("version", "calibration", "thresholds"):
        assert card[key] == expected_card[key]


def test_killed_training_ends_with_the_same_weights(data, undisturbed, tmp_path):
    same(disturb(data, tmp_path, 2, 1, undisturbed[2]), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_training_killed_many_times_ends_with_the_same_weights(data, undisturbed, tmp_path, seed):
    same(disturb(data, tmp_path, 5, 100 + seed, undisturbed[2]), undisturbed)


def test_killed_simulation_leaves_nothing_half_written(tmp_path):
    whole, out = tmp_path / "whole" / "0.h5", tmp_path / "killed" / "0.h5"
    for path in (whole, out):
        path.parent.mkdir()
    seconds = finish(command("simulate", "--shard", "0", "-o", whole))
    arguments = command("simulate", "--shard", "0", "-o", out)
    chance = random.Random(2)
    for _ in range(3):
        kill_after(arguments, chance.uniform(0.5, 0.99) * seconds)
        if out.exists():  # then it is whole
            break
    if not out.exists():
        finish(arguments)
    one, two = read_shard(whole, RAW), read_shard(out, RAW)
    for name in RAW:
        assert one[name].tobytes() == two[name].tobytes(), name
    assert [p.name for p in out.parent.iterdir() if not p.name.startswith(".")] == ["0.h5"]
