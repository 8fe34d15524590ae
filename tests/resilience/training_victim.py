"""A small training from the command line, to be killed by test_training_kill.py.

Arguments: folder for the state, file for the weights, time limit in seconds (0: none), pause
after each step in milliseconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from physml.exceptions import PhysmlError
from physml.io.weights import save_weights
from physml.training.initialise import initialise
from physml.training.loop import fit
from physml.training.settings import TrainBase


class Images:
    def __init__(self, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(n, 1, 16, 16)).astype("f4")
        self.y = self.x[:, 0, 2:6, 2:6].sum((1, 2))[:, None]

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices, rng, augment):
        x = self.x[indices]
        if augment:
            x = x + 0.1 * rng.normal(size=x.shape).astype("f4")
        y = torch.from_numpy(self.y[indices])
        return {"x": torch.from_numpy(x), "y": y, "id": torch.from_numpy(np.asarray(indices))}


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


def main(state: Path, out: Path, limit: float, pause_ms: float) -> int:
    def loss(model, batch):
        time.sleep(pause_ms / 1000)
        return {"loss": F.mse_loss(model(batch["x"]), batch["y"])}

    # Saved after each step, so that most kills hit near a save; bfloat16, as in production.
    settings = TrainBase(epochs=5, batch_size=8, precision="bfloat16", checkpoint_minutes=0)
    seed = 11
    try:
        result = fit(
            initialise(network, seed),
            loss,
            Images(44, 0),
            Images(20, 1),
            settings,
            state=state,
            seed=seed,
            time_limit_s=limit or None,
        )
    except PhysmlError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    save_weights(out, result.weights, {}, overwrite=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
