"""The feed of physml 0.1: all images in memory, each batch assembled as a whole, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.cavities.inference.channels import channels
from physml.cavities.inference.networks import SIZE_SCALE
from physml.cavities.learning.augmentation import THINNEST
from physml.cavities.learning.losses import CLEAR
from physml.cavities.learning.prepared import PREPARED, searchable
from physml.io.shards import read_shard


class Before:
    """Training images in memory.

    Parameters
    ----------
    path : Path
        Prepared images.
    rethin, flatten : float
        Shares of images that are thinned, and divided by their exposure maps.
    """

    def __init__(self, path: Path, rethin: float, flatten: float) -> None:
        shard = read_shard(path, PREPARED, max_bytes=64 << 30)
        self.arrays = {name: shard[name] for name in PREPARED}
        self.rethin, self.flatten = rethin, flatten

    def __len__(self) -> int:
        """Number of images."""
        return len(self.arrays["index"])

    def batch(
        self, indices: NDArray[Any], rng: np.random.Generator, augment: bool
    ) -> dict[str, Tensor]:
        """Channels and targets of some images."""
        a = self.arrays
        counts, model, exposure, invalid = searchable(a, indices)
        table, mask = a["cavities"][indices].copy(), a["mask"][indices]
        if augment:
            for row in np.flatnonzero(rng.random(len(indices)) < self.rethin):
                keep = np.exp(rng.uniform(np.log(THINNEST), 0))
                counts[row] = rng.binomial(counts[row].astype(np.int64), keep)
                model[row] *= keep
            for row in np.flatnonzero(rng.random(len(indices)) < self.flatten):
                invalid[row] |= exposure[row] < 0.2
                divisor = np.where(invalid[row], 1, exposure[row])
                counts[row] /= divisor
                model[row] /= divisor
                exposure[row] = 1
            for row, symmetry in enumerate(rng.integers(0, 8, len(indices))):
                for image in (counts, model, exposure, invalid, mask):
                    turned = image[row].T if symmetry >= 4 else image[row]
                    image[row] = np.rot90(turned, symmetry % 4)
                _turn(table[row], int(symmetry), counts.shape[-1])
        batch = _targets(mask, table)
        batch["image"] = channels(
            *(torch.from_numpy(f) for f in (counts, model, exposure, invalid))
        )
        batch["weight"] = torch.from_numpy((~invalid).astype(np.float32))
        batch["id"] = torch.from_numpy(a["index"][indices])
        return batch


def _turn(table: NDArray[Any], symmetry: int, size: int) -> None:
    x, y, theta = table["x"].copy(), table["y"].copy(), table["theta"].copy()
    if symmetry >= 4:
        x, y, theta = y, x, np.pi / 2 - theta
    for _ in range(symmetry % 4):
        x, y, theta = y, size - 1 - x, theta - np.pi / 2
    table["x"], table["y"], table["theta"] = x, y, np.mod(theta, np.pi)


def _targets(mask: NDArray[np.uint8], table: NDArray[Any]) -> dict[str, Tensor]:
    n, h, w = mask.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    centre = np.zeros((n, h, w), np.float32)
    sizes = np.zeros((n, 4, h // 2, w // 2), np.float32)
    coarse = mask[:, ::2, ::2]
    for row, slot in zip(*np.nonzero(table["visible"]), strict=True):
        t = table[row, slot]
        width = max(1.2, 0.22 * float(t["radius"]))
        blob = np.exp(-0.5 * ((x - t["x"]) ** 2 + (y - t["y"]) ** 2) / width**2)
        np.maximum(centre[row], blob, out=centre[row])
        axes = np.log(t["a"] / SIZE_SCALE), np.log(t["b"] / SIZE_SCALE)
        here = coarse[row] == slot + 1
        for k, value in enumerate((*axes, np.cos(2 * t["theta"]), np.sin(2 * t["theta"]))):
            sizes[row, k][here] = value
    return {
        "cavity": torch.from_numpy((mask > 0).astype(np.float32)),
        "centre": torch.from_numpy(centre),
        "sizes": torch.from_numpy(sizes),
        "size_weight": torch.from_numpy((coarse > 0).astype(np.float32)),
        "clear": torch.from_numpy((table["snr"].max(1) > CLEAR).astype(np.float32)),
    }
