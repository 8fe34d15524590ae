"""Data and a training that training/test_loop.py runs in one process and in two.

A module of its own, without pytest, because other processes import it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import ignite.distributed as idist
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from physml.nn.blocks import ConvNorm
from physml.nn.sharing import divisor
from physml.training.distributed import process_group
from physml.training.initialise import initialise
from physml.training.loop import FitResult, fit
from physml.training.settings import TrainBase


class Images:
    """Noise images; the target is a linear function of them."""

    def __init__(self, n: int, seed: int, fingerprint: str = "a", side: int = 8) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(n, 1, side, side)).astype("f4")
        self.y = self.x[:, 0, 2:6, 2:6].sum((1, 2))[:, None]
        self.fingerprint = fingerprint
        self.asked: list[tuple[np.ndarray, bool]] = []

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices, rng, augment):
        self.asked.append((np.asarray(indices), augment))
        x = self.x[indices]
        if augment and rng.random() < 0.5:
            x = x[..., ::-1, :].copy()
        return {
            "x": torch.from_numpy(x),
            "y": torch.from_numpy(self.y[indices]),
            "id": 1000 + torch.from_numpy(np.asarray(indices)),
        }


def loss(model, batch):
    error = F.mse_loss(model(batch["x"]), batch["y"])
    return {"loss": error, "root": error.sqrt()}


def network() -> nn.Module:
    """Normalised by the statistics of the batch, which no process has alone."""
    return nn.Sequential(ConvNorm(1, 4), nn.Flatten(), nn.Linear(256, 1))


def weighted_loss(model, batch):
    """A weighted mean, of whose weights the processes have unequal parts."""
    weight = (batch["x"][:, 0, 0, :1] > 0).float()
    error = ((model(batch["x"]) - batch["y"]).square() * weight).sum() / divisor(weight.sum())
    return {"loss": error, "root": error.sqrt().detach()}


def train_together(out: Path) -> FitResult:
    """Train without dropout, which is another in each process."""
    settings = TrainBase(epochs=3, batch_size=8, learning_rate=0.01, ema_decay=0.9)
    data = Images(36, 0), Images(11, 1)
    return fit(initialise(network, 3), weighted_loss, *data, settings, state=out, seed=3)


def work(out: Path, environment: Mapping[str, str]) -> None:
    """Train together with the other processes that the environment tells of."""
    os.environ.update(environment)
    with process_group():
        result = train_together(out)
        everyone = [None] * idist.get_world_size()
        torch.distributed.all_gather_object(everyone, (result.is_main, result.weights))
    if result.is_main:
        content = {
            "is_main": [main for main, _ in everyone],
            "history": result.history,
            "weights": [weights for _, weights in everyone],
        }
        torch.save(content, out / "result.pt")
