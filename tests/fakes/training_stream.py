"""A training on data that stream from a file, in modules that other processes can import."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from physml.io.shards import PackedShard, Spec, open_arrays, write_shard
from physml.io.weights import save_weights
from physml.training.initialise import initialise
from physml.training.loop import fit
from physml.training.run import Run
from physml.training.settings import TrainBase

SPEC = {"x": Spec("f4", (None, 16, 16)), "index": Spec("i8", (None,))}
SEED = 5


def write(path: Path, n: int) -> None:
    """Noise images."""
    x = np.random.default_rng(n).normal(size=(n, 16, 16)).astype("f4")
    write_shard(path, {"x": x, "index": np.arange(n)}, provenance={})


class Streamed:
    """Images with noise of their own, mirrored at random; the target is a sum of pixels."""

    def __init__(self, path: Path, in_memory: int = 0) -> None:
        self.arrays, self.fingerprint = open_arrays(path, SPEC, in_memory=in_memory)
        self.streams = isinstance(self.arrays, PackedShard)

    def __len__(self) -> int:
        return len(self.arrays["index"])

    def batch(self, indices, rng, augment) -> dict[str, torch.Tensor]:
        return self.finish(self.part(indices, rng, augment, slice(None)))

    def part(self, indices, rng, augment, mine) -> dict[str, Any]:
        seeds = rng.integers(2**63, size=len(indices))[mine]
        flip = rng.random(len(indices))[mine] < 0.5 * augment
        x = self.arrays["x"][indices[mine]]
        y = x[:, 4:8, 4:8].sum((1, 2))
        if augment:
            for k, seed in enumerate(seeds):
                x[k] += np.random.default_rng(int(seed)).normal(0, 0.1, x[k].shape)
        made = {"x": x, "y": y[:, None], "flip": flip, "id": 1000 + indices[mine]}
        return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in made.items()}

    @staticmethod
    def finish(raw: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        x = torch.where(raw["flip"][:, None, None], raw["x"].flip(2), raw["x"])
        return {"x": x[:, None], "y": raw["y"], "id": raw["id"]}


def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"loss": F.mse_loss(model(batch["x"]), batch["y"])}


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Dropout(0.1), nn.Flatten(),
                         nn.Linear(4 * 196, 1))  # fmt: skip


def train(folder: Path, state: Path, *, in_memory: int = 0, pause_s: float = 0.0):
    """Train on ``train.h5`` and ``valid.h5`` of a folder."""

    def slow(model, batch):
        time.sleep(pause_s)
        return loss(model, batch)

    data = [Streamed(folder / f"{name}.h5", in_memory) for name in ("train", "valid")]
    settings = TrainBase(epochs=3, batch_size=8, checkpoint_minutes=0 if pause_s else 5)
    model = initialise(network, SEED)
    return fit(model, slow, *data, settings, state=state, seed=SEED)


def main() -> None:
    """Train with two worker processes, slowly: to be killed."""
    folder, out = map(Path, sys.argv[1:3])
    Run.workers = 2  # type: ignore[assignment]
    torch.set_num_threads(1)
    result = train(folder, out.with_suffix(".state"), pause_s=float(sys.argv[3]))
    save_weights(out, result.weights, {}, overwrite=True)


if __name__ == "__main__":
    main()
