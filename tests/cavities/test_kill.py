"""Kill the cavities commands at random moments; the same command again must give the same files.

The commands are those that the chain runs, each in a process group of its own that is killed as a
whole, as a batch system would.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.commands import Command

from physml.cavities import preprocess, simulate
from physml.cavities.learning.prepared import RAW
from physml.cavities.settings import CavitiesSettings
from physml.io.shards import read_shard
from physml.io.weights import load_weights

SETTINGS = {
    "simulate": {"n_samples": 24, "shard_size": 24},
    "preprocess": {"valid": 0.3, "test": 0.1},
    "train": {
        "epochs": 2,
        "batch_size": 4,
        "checkpoint_minutes": 0,
        "network": {"widths": [8, 8], "decoder_widths": [8, 8]},
        "decoder": {"share": 0.5, "epochs": 2, "batch_size": 8, "checkpoint_minutes": 0},
        "alarm_images": 8,
        "merging_images": 4,
    },
}
CHECKED = CavitiesSettings.model_validate(SETTINGS)


def start(folder: Path, verb: str, *arguments: str | Path) -> Command:
    options = ["--settings", json.dumps(SETTINGS), "--threads", "1"]
    return Command(["cavities", verb, *options, *map(str, arguments)], folder / "errors.txt")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    simulate.run(settings=CHECKED, shard=0, out=folder / "0.h5")
    preprocess.run(settings=CHECKED, raw=[folder / "0.h5"], out=folder / "prepared", threads=1)
    return folder


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> tuple[dict[str, torch.Tensor], dict[str, Any], float]:
    out = tmp_path_factory.mktemp("whole") / "model.safetensors"
    train = ("train", "--data", data / "prepared", "-o", out)
    start(out.parent, *train).kill_after(0.5)  # until the server of processes is there
    began = time.monotonic()
    assert start(out.parent, *train).finish()[0] == 0
    return *load_weights(out), time.monotonic() - began


def check_disturbed(data: Path, undisturbed, folder: Path, kills: int, seed: int) -> None:
    """Kill that many trainings, let one finish, and compare its weights bit for bit."""
    expected, expected_card, longest = undisturbed
    chance, out, killed = random.Random(seed), folder / "model.safetensors", 0
    train = ("train", "--data", data / "prepared", "-o", out)
    while killed < kills:
        if start(folder, *train).kill_after(chance.uniform(0.1, 0.95) * longest):
            killed += 1
        elif killed:
            break
        else:  # the machine is less busy than it was: once more, and faster
            longest /= 2
            out.unlink()
            shutil.rmtree(f"{out}.state", ignore_errors=True)
    if not out.exists():
        code, errors = start(folder, *train).finish()
        assert code == 0, errors
    weights, card = load_weights(out)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert weights[name].numpy().tobytes() == value.numpy().tobytes(), name
    for key in ("version", "calibration", "thresholds"):
        assert card[key] == expected_card[key]


def test_killed_training_ends_with_the_same_weights(data, undisturbed, tmp_path):
    check_disturbed(data, undisturbed, tmp_path, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_training_killed_many_times_ends_with_the_same_weights(data, undisturbed, tmp_path, seed):
    check_disturbed(data, undisturbed, tmp_path, 5, 100 + seed)


def test_killed_simulation_leaves_nothing_half_written(data, tmp_path):
    out, chance = tmp_path / "killed" / "0.h5", random.Random(2)
    out.parent.mkdir()
    simulated = ("simulate", "--shard", "0", "-o", out)
    for _ in range(3):
        start(tmp_path, *simulated).kill_after(chance.uniform(0.1, 0.6))
        if out.exists():  # then it is whole
            break
    if not out.exists():
        assert start(tmp_path, *simulated).finish()[0] == 0
    one, two = read_shard(data / "0.h5", RAW), read_shard(out, RAW)
    for name in RAW:
        assert one[name].tobytes() == two[name].tobytes(), name
    assert [p.name for p in out.parent.iterdir() if not p.name.startswith(".")] == ["0.h5"]
