"""Training in two processes, as the chain starts it: the curve of one, and what a death leaves.

The command is the chain's, under torchrun, in a session of its own.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from physml.cavities import preprocess, simulate
from physml.cavities.settings import CavitiesSettings
from physml.io.weights import load_weights

pytestmark = pytest.mark.slow

SETTINGS = {
    "simulate": {"n_samples": 48, "shard_size": 48},
    "preprocess": {"valid": 0.3, "test": 0.1},
    "train": {
        "epochs": 3,
        "batch_size": 4,
        # In three digits the order of sums would show in the third.
        "precision": "float32",
        "checkpoint_minutes": 0,
        "network": {"widths": [8, 8, 16], "decoder_widths": [8, 8]},
        "decoder": {"share": 0.3, "epochs": 1, "batch_size": 8},
        "alarm_images": 8,
        "merging_images": 24,
    },
}
PHYSML = (sys.executable, "-c", "from physml.cli.main import main; raise SystemExit(main())")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python")
PATIENCE_S = 900


def start(data: Path, out: Path, processes: int) -> subprocess.Popen[str]:
    launcher = (*TORCHRUN, f"--nproc-per-node={processes}") if processes > 1 else ()
    arguments = ["cavities", "train", "--threads", "1", "--settings", json.dumps(SETTINGS)]
    return subprocess.Popen(
        [*launcher, *PHYSML, *arguments, "--data", data, "-o", out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )


def finish(data: Path, out: Path, processes: int) -> str:
    """Run to the end; what it said."""
    process = start(data, out, processes)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    return errors


def history(out: Path) -> list[dict[str, float]]:
    """Curve of the first network."""
    with open(out.with_name(out.name + ".state") / "unet" / "history.csv") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def ranks(launcher: int) -> dict[int, int]:
    """Process of each rank that torchrun has started."""
    text = Path(f"/proc/{launcher}/task/{launcher}/children").read_text()
    found = {}
    for pid in map(int, text.split()):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        rank = [v[5:] for v in environment if v.startswith(b"RANK=")]
        if rank:
            found[int(rank[0])] = pid
    return found


def alive(session: int) -> list[int]:
    """Processes of a session that are not just waiting to be collected."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    settings = CavitiesSettings.model_validate(SETTINGS)
    simulate.run(settings=settings, shard=0, out=folder / "0.h5")
    preprocess.run(settings=settings, raw=[folder / "0.h5"], out=folder / "prepared", threads=1)
    return folder / "prepared"


@pytest.fixture(scope="module")
def together(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that two processes made, undisturbed."""
    out = tmp_path_factory.mktemp("two") / "model.safetensors"
    said = finish(data, out, 2)
    assert said.count("epoch 1/3") == 1, "each process reports its progress"
    return out


def test_two_processes_follow_the_curve_of_one(data: Path, together: Path, tmp_path: Path) -> None:
    alone = tmp_path / "model.safetensors"
    finish(data, alone, 1)
    one, two = history(alone), history(together)
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        for name in a:
            if name.startswith(("train_", "valid_")) or name in ("lr", "iteration"):
                assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-6), name


def test_a_killed_rank_ends_the_job_and_the_same_command_carries_on(
    data: Path, together: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model.safetensors"
    checkpoint = tmp_path / "model.safetensors.state" / "unet" / "checkpoint.pt"
    process = start(data, out, 2)
    end = time.monotonic() + PATIENCE_S
    while not checkpoint.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(ranks(process.pid)[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert "another process of this training is gone" in errors
    assert alive(process.pid) == [], "the job left a process behind"
    assert not out.exists()
    assert "progress" in torch.load(checkpoint, weights_only=True)

    assert "continuing in epoch" in finish(data, out, 2)
    weights, card = load_weights(out)
    expected, expected_card = load_weights(together)
    assert card["version"] == expected_card["version"]
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name
