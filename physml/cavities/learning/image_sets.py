"""Training images in memory, their targets, and the U-Net's loss."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physml.io.shards import read_shard
from physml.nn.sharing import divisor
from physml.provenance import sha256
from physml.random import stream

from ..inference.channels import channels
from ..inference.networks import SIZE_SCALE
from ..settings import LossSettings
from .prepared import PREPARED, searchable

#: Expected S/N of the clearest cavity, from which an image counts for the Dice loss.
CLEAR = 4.0
#: Smallest share of the counts that augmentation keeps.
THINNEST = 0.05


@dataclass
class CavityImages:
    """Preprocessed images as `physml.training.TrainData`.

    Attributes
    ----------
    arrays : dict of ndarray
        As in `prepared.PREPARED`.
    rethin : float
        Share of images thinned to fewer counts at each use.
    flatten : float
        Share of images divided by their exposure map at each use.
    fingerprint : str
        Hash of the content.
    rows : ndarray of int, optional
        Which images of the arrays belong to it; all by default.
    """

    arrays: dict[str, NDArray[Any]]
    rethin: float = 0.0
    flatten: float = 0.0
    fingerprint: str = ""
    rows: NDArray[np.int64] | None = None

    @classmethod
    def read(cls, path: Path) -> CavityImages:
        """Read a file of `preprocess.run` into memory."""
        shard = read_shard(path, PREPARED, max_bytes=64 << 30)
        return cls({n: shard[n] for n in PREPARED}, fingerprint=sha256(path))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.arrays["index"]) if self.rows is None else len(self.rows)

    def view(self, keep: NDArray[np.bool_]) -> CavityImages:
        """Some of the images for training, without a copy: they are gigabytes."""
        rows = np.flatnonzero(keep)
        name = f"{self.fingerprint} {hashlib.sha256(rows.tobytes()).hexdigest()[:16]}"
        return CavityImages(self.arrays, self.rethin, self.flatten, name, rows)

    def subset(self, keep: NDArray[np.bool_]) -> CavityImages:
        """Copy of some of the images."""
        chosen = {k: v[keep] for k, v in self.arrays.items()}
        return CavityImages(chosen, self.rethin, self.flatten, self.fingerprint)

    def batch(self, indices: NDArray, rng: np.random.Generator, augment: bool) -> dict[str, Tensor]:
        """Channels and targets of some images.

        Returns
        -------
        dict
            image (n, 7, H, W); cavity, weight (n, H, W); centre (n, H, W); sizes
            (n, 4, H/2, W/2) and size_weight (n, H/2, W/2); clear (n,); id (n,).
        """
        a = self.arrays
        if self.rows is not None:
            indices = self.rows[indices]
        counts, model, exposure, invalid = searchable(a, indices)
        if augment:
            for row in np.flatnonzero(rng.random(len(indices)) < self.rethin):
                keep = np.exp(rng.uniform(np.log(THINNEST), 0))
                counts[row] = rng.binomial(counts[row].astype(np.int64), keep)
                model[row] *= keep
            for row in np.flatnonzero(rng.random(len(indices)) < self.flatten):
                flat_field(counts[row], model[row], exposure[row], invalid[row])
        fields = [counts, model, exposure, invalid, a["mask"][indices]]
        table = a["cavities"][indices].copy()
        if augment:
            for k, symmetry in enumerate(rng.integers(0, 8, len(indices))):
                for image in fields:
                    image[k] = dihedral(image[k], symmetry)
                table[k] = dihedral_table(table[k], symmetry, counts.shape[-1])
        counts, model, exposure, invalid, mask = fields
        x = channels(*(torch.from_numpy(f) for f in (counts, model, exposure, invalid)))
        batch = targets(mask, table)
        batch["image"] = x
        batch["weight"] = torch.from_numpy((~invalid).astype(np.float32))
        batch["id"] = torch.from_numpy(a["index"][indices])
        return batch


def for_decoder(clusters: NDArray[np.int64], seed: int, share: float) -> NDArray[np.bool_]:
    """Whether training images are kept for the decoder: the same for all of a cluster.

    Parameters
    ----------
    clusters : ndarray of int, shape (n,)
        Cluster of each image.
    seed : int
    share : float
        Share of the clusters that are kept.
    """
    draws = [stream(seed, "split", int(c)).random(2)[1] for c in clusters]
    return np.asarray(draws) < share


def flat_field(
    counts: NDArray[Any], model: NDArray[Any], exposure: NDArray[Any], invalid: NDArray[np.bool_]
) -> None:
    """Divide an image by its exposure map, in place: so come images without their map.

    Where less than a fifth of the time was exposed, the pixels become invalid.
    """
    invalid |= exposure < 0.2
    divisor = np.where(invalid, 1, exposure)
    counts /= divisor
    model /= divisor
    exposure[...] = 1


def dihedral(image: NDArray, symmetry: int) -> NDArray[Any]:
    """One of the 8 symmetries of the square: transposed for 4 and more, then turned."""
    if symmetry >= 4:
        image = image.T
    return np.rot90(image, symmetry % 4)


def dihedral_table(table: NDArray, symmetry: int, size: int) -> NDArray[Any]:
    """Move cavities as `dihedral` moves pixels."""
    out = table.copy()
    x, y, theta = out["x"].copy(), out["y"].copy(), out["theta"].copy()
    if symmetry >= 4:
        x, y, theta = y, x, np.pi / 2 - theta
    for _ in range(symmetry % 4):
        # rot90 takes (row, column) to (size - 1 - column, row).
        x, y, theta = y, size - 1 - x, theta - np.pi / 2
    present = out["present"]
    out["x"], out["y"] = np.where(present, x, 0), np.where(present, y, 0)
    out["theta"] = np.mod(theta, np.pi)
    return out


def targets(mask: NDArray[np.uint8], table: NDArray[Any]) -> dict[str, Tensor]:
    """Targets of the three heads.

    Parameters
    ----------
    mask : ndarray of uint8, shape (n, H, W)
        Instance numbers.
    table : structured ndarray, shape (n, 6)
        True cavities.
    """
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
        values = (*axes, np.cos(2 * t["theta"]), np.sin(2 * t["theta"]))
        here = coarse[row] == slot + 1
        for k, value in enumerate(values):
            sizes[row, k][here] = value
    return {
        "cavity": torch.from_numpy((mask > 0).astype(np.float32)),
        "centre": torch.from_numpy(centre),
        "sizes": torch.from_numpy(sizes),
        "size_weight": torch.from_numpy((coarse > 0).astype(np.float32)),
        # Dice of an image whose cavities drown in noise would only teach guessing.
        "clear": torch.from_numpy((table["snr"].max(1) > CLEAR).astype(np.float32)),
    }


class CavityLoss:
    """Cross-entropy and soft Dice of the map, cross-entropy of centres, likelihood of sizes.

    Parameters
    ----------
    settings : LossSettings
    """

    def __init__(self, settings: LossSettings) -> None:
        self.settings = settings

    def __call__(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch, each a mean."""
        dense, coarse = network(batch["image"])
        cavity, centre = dense[:, 0].float(), dense[:, 1].float()
        weight = batch["weight"]
        entropy = nn.functional.binary_cross_entropy_with_logits
        live = divisor(weight.sum())
        bce = (entropy(cavity, batch["cavity"], reduction="none") * weight).sum() / live
        peak = 1 + 10 * batch["centre"]
        heat = (entropy(centre, batch["centre"], reduction="none") * weight * peak).sum() / live
        parts = {
            "bce": bce,
            "dice": soft_dice(cavity.sigmoid() * weight, batch["cavity"] * weight, batch["clear"]),
            "centre": heat,
            "size": size_likelihood(coarse.float(), batch["sizes"], batch["size_weight"]),
        }
        s = self.settings
        total = bce + s.dice * parts["dice"] + s.centre * heat + s.size * parts["size"]
        return {"loss": total, **parts}


def soft_dice(probability: Tensor, truth: Tensor, some: Tensor) -> Tensor:
    """1 - Dice, by image, over some of the images (weights of shape (n,))."""
    overlap = 2 * (probability * truth).sum((1, 2)) + 1
    total = probability.sum((1, 2)) + truth.sum((1, 2)) + 1
    return ((1 - overlap / total) * some).sum() / divisor(some.sum())


def size_likelihood(coarse: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Gaussian negative log-likelihood of log a, log b, squared error of the orientation."""
    log_var = coarse[:, 4:6].clamp(-7, 3)
    error = (coarse[:, :4] - truth) ** 2
    sizes = 0.5 * (error[:, :2] * torch.exp(-log_var) + log_var).sum(1)
    # A round cavity has no orientation: weigh it by the ellipticity.
    flat = 1 - torch.exp(truth[:, 1] - truth[:, 0])
    turn = error[:, 2:4].sum(1) * flat
    return ((sizes + turn) * weight).sum() / divisor(weight.sum())
