"""A small training, to be killed by training/test_kill.py."""

from __future__ import annotations

import resource
import signal
import sys
import time
from pathlib import Path

import torch.nn.functional as F
from torch import nn

from fakes.training_worker import Images
from physml.exceptions import PhysmlError
from physml.io.weights import save_weights
from physml.training.initialise import initialise
from physml.training.loop import fit
from physml.training.settings import TrainBase

SEED = 11


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        nn.Dropout(0.1),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Flatten(),
        nn.Linear(8 * 256, 1),
    )


def run(state: Path, out: Path, limit_s: float | None, pause_s: float, disk: int | None) -> None:
    """Train; exit like the command line does, with the message in a file beside the state.

    Parameters
    ----------
    limit_s
        Time limit, or None.
    pause_s
        Added to each step.
    disk
        Largest size of a file in bytes, or None: stands in for a disk that gets full.
    """

    def loss(model, batch):
        time.sleep(pause_s)
        return {"loss": F.mse_loss(model(batch["x"]), batch["y"])}

    if disk is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    # Saved after each step, so that most kills hit near a save; bfloat16, as in production.
    settings = TrainBase(epochs=5, batch_size=8, precision="bfloat16", checkpoint_minutes=0)
    data = Images(44, 0, side=16), Images(20, 1, side=16)
    model = initialise(network, SEED)
    try:
        result = fit(model, loss, *data, settings, state=state, seed=SEED, time_limit_s=limit_s)
    except PhysmlError as error:
        state.with_suffix(".message").write_text(str(error))
        sys.exit(error.exit_code)
    save_weights(out, result.weights, {}, overwrite=True)
