"""Training images, their targets, and the U-Net's loss."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physml.io.shards import PackedShard, open_arrays
from physml.nn.sharing import divisor
from physml.random import stream
from physml.training import data

from ..inference.channels import channels
from ..inference.networks import SIZE_SCALE
from ..settings import LossSettings
from .prepared import PREPARED

#: Expected S/N of the clearest cavity, from which an image counts for the Dice loss.
CLEAR = 4.0
#: Columns of a cavity that targets are made of.
TABLE = ("x", "y", "theta", "a", "b", "radius", "snr", "visible")
#: Smallest share of the counts that augmentation keeps.
THINNEST = 0.05


@dataclass
class CavityImages:
    """Preprocessed images as `physml.training.TrainData`.

    Images are read, unpacked and thinned by whoever prepares batches (`part`); all else is done
    on whole batches where the network is (`finish`).

    Attributes
    ----------
    arrays : mapping of array
        As in `prepared.PREPARED`, in memory or `physml.io.shards.PackedShard`.
    rethin : float
        Share of images thinned to fewer counts at each use.
    flatten : float
        Share of images divided by their exposure map at each use.
    fingerprint : str
        Hash of the content.
    rows : ndarray of int, optional
        Which images of the arrays belong to it; all by default.
    """

    arrays: Mapping[str, Any]
    rethin: float = 0.0
    flatten: float = 0.0
    fingerprint: str = ""
    rows: NDArray[np.int64] | None = None

    @classmethod
    def read(cls, path: Path, in_memory: int | None = None) -> CavityImages:
        """Open a file of `preprocess.run`.

        Parameters
        ----------
        path : Path
        in_memory : int, optional
            Bytes up to which all is read into memory; `physml.training.data.IN_MEMORY` by default.
        """
        limit = data.IN_MEMORY if in_memory is None else in_memory
        arrays, digest = open_arrays(path, PREPARED, in_memory=limit)
        return cls(arrays, fingerprint=digest)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.arrays["index"]) if self.rows is None else len(self.rows)

    @property
    def streams(self) -> bool:
        """Whether images stay on the disk."""
        return isinstance(self.arrays, PackedShard)

    def places(self, indices: NDArray[Any]) -> NDArray[Any]:
        """Rows of the arrays that some images are in."""
        return np.asarray(indices) if self.rows is None else self.rows[indices]

    def will_need(self, indices: NDArray[Any]) -> None:
        """Let the system read images ahead."""
        if isinstance(self.arrays, PackedShard):
            self.arrays.will_need(self.places(indices))

    def view(self, keep: NDArray[np.bool_]) -> CavityImages:
        """Some of the images for training, without a copy: they are gigabytes."""
        rows = np.flatnonzero(keep) if self.rows is None else self.rows[keep]
        name = f"{self.fingerprint} {hashlib.sha256(rows.tobytes()).hexdigest()[:16]}"
        return CavityImages(self.arrays, self.rethin, self.flatten, name, rows)

    def first(self, number: int) -> CavityImages:
        """Copy of at most so many images, in memory; itself where it is not more."""
        if len(self) <= number and self.rows is None and not self.streams:
            return self
        rows = self.places(np.arange(min(number, len(self))))
        chosen = {name: values[rows] for name, values in self.arrays.items()}
        return CavityImages(chosen, self.rethin, self.flatten, f"{self.fingerprint} {len(rows)}")

    def batch(self, indices: NDArray, rng: np.random.Generator, augment: bool) -> dict[str, Tensor]:
        """Channels and targets of some images.

        Returns
        -------
        dict
            image (n, 7, H, W); cavity, weight (n, H, W); centre (n, H, W); sizes
            (n, 4, H/2, W/2) and size_weight (n, H/2, W/2); clear (n,); id (n,).
        """
        return self.finish(self.part(indices, rng, augment))

    def part(
        self,
        indices: NDArray[Any],
        rng: np.random.Generator,
        augment: bool,
        mine: slice = slice(None),
    ) -> dict[str, Tensor]:
        """Images as they are stored, and how each is to be changed.

        Parameters
        ----------
        indices : (n,) int array
            Images of the whole batch.
        rng : numpy.random.Generator
            Draws the same for any part of the batch.
        augment : bool
        mine : slice
            Places in the batch to take.

        Returns
        -------
        dict
            counts, root_model, exposure, invalid, mask (m, H, W) as in `prepared.PREPARED`;
            table (m, 6, columns of `TABLE`); pairs (k, 2), those of its rows and columns that are
            visible; keep, flat, symmetry, id (m,).
        """
        n = len(indices)
        a, rows = self.arrays, self.places(indices)[mine]
        counts = a["counts"][rows]
        how = augmentation(n, rng, self.rethin, self.flatten, augment)
        how = {name: values[mine] for name, values in how.items()}
        seeds = how.pop("seed")
        for row in np.flatnonzero(how["keep"] < 1):
            own = np.random.default_rng(int(seeds[row]))
            counts[row] = thinned(counts[row], float(how["keep"][row]), own)
        fields = {name: a[name][rows] for name in ("root_model", "exposure", "invalid", "mask")}
        table = a["cavities"][rows]
        made = {
            "counts": counts,
            **fields,
            "table": columns(table),
            "pairs": np.argwhere(table["visible"]),
            **how,
            "id": a["index"][rows],
        }
        return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in made.items()}

    @staticmethod
    def finish(raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Flat fields, symmetries, channels and targets of what `part` gives; see `batch`."""
        counts, exposure = raw["counts"].float(), raw["exposure"].float()
        model = raw["root_model"].float().square() * raw["keep"][:, None, None]
        invalid = raw["invalid"] > 0
        counts, model, exposure, invalid = flat_field(counts, model, exposure, invalid, raw["flat"])
        symmetry = raw["symmetry"]
        fields = [dihedral(f, symmetry) for f in (counts, model, exposure, invalid, raw["mask"])]
        counts, model, exposure, invalid, mask = fields
        table = dihedral_table(raw["table"], symmetry, mask.shape[-1])
        made = targets(mask, table, raw["pairs"])
        made["image"] = channels(counts, model, exposure, invalid)
        made["weight"] = (~invalid).float()
        made["id"] = raw["id"]
        return made


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


def augmentation(
    n: int, rng: np.random.Generator, rethin: float, flatten: float, augment: bool
) -> dict[str, NDArray[Any]]:
    """How each image of a batch is to be changed.

    Parameters
    ----------
    n : int
        Images of the whole batch.
    rng : numpy.random.Generator
    rethin, flatten : float
        See `CavityImages`.
    augment : bool
        False changes nothing, and draws nothing.

    Returns
    -------
    dict of ndarray, shape (n,)
        keep, share of the counts that stay; flat, whether it is divided by its exposure map;
        symmetry, 0 to 7; seed, of the generator that thins it. A stream of its own for each image:
        those of other processes need not be thinned.
    """
    made: dict[str, NDArray[Any]] = {
        "keep": np.ones(n, np.float32),
        "flat": np.zeros(n, np.bool_),
        "symmetry": np.zeros(n, np.int64),
        "seed": np.zeros(n, np.int64),
    }
    if augment:
        thin = rng.random(n) < rethin
        made["keep"][thin] = np.exp(rng.uniform(np.log(THINNEST), 0, n))[thin]
        made["flat"] = rng.random(n) < flatten
        made["symmetry"] = rng.integers(0, 8, n)
        made["seed"] = rng.integers(2**63, size=n)
    return made


def thinned(counts: NDArray[Any], keep: float, rng: np.random.Generator) -> NDArray[Any]:
    """Image of which each count is kept with a probability: a shorter exposure.

    Parameters
    ----------
    counts : ndarray of unsigned int, shape (H, W)
    keep : float
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (H, W)
        Of the same type.
    """
    flat = counts.ravel()
    # In order of the counts: the generator prepares itself for each new number of counts.
    order = np.argsort(flat, kind="stable")
    lit = order[np.searchsorted(flat[order], 1) :]
    out = np.zeros_like(flat)
    out[lit] = rng.binomial(flat[lit].astype(np.int64), keep)
    return out.reshape(counts.shape)


def flat_field(
    counts: Tensor, model: Tensor, exposure: Tensor, invalid: Tensor, some: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Divide some images by their exposure maps: so come images without their map.

    Where less than a fifth of the time was exposed, the pixels become invalid.

    Parameters
    ----------
    counts, model, exposure : Tensor, shape (n, H, W)
    invalid : Tensor of bool, shape (n, H, W)
    some : Tensor of bool, shape (n,)

    Returns
    -------
    tuple of Tensor
        The four, of all images.
    """
    chosen = some[:, None, None]
    invalid = invalid | (chosen & (exposure < 0.2))
    ones = torch.ones_like(exposure)
    divisor = torch.where(chosen & ~invalid, exposure, ones)
    return counts / divisor, model / divisor, torch.where(chosen, ones, exposure), invalid


@lru_cache(maxsize=4)
def _sources(size: int, device: torch.device) -> Tensor:
    """Pixel that each pixel comes from, for each of the 8 symmetries, shape (8, size^2)."""
    pixel = np.arange(size * size).reshape(size, size)
    turned = [np.rot90(pixel.T if s >= 4 else pixel, s % 4).ravel() for s in range(8)]
    return torch.from_numpy(np.stack(turned)).to(device)


def dihedral(images: Tensor, symmetry: Tensor) -> Tensor:
    """Symmetries of the square, of which each image has one.

    Parameters
    ----------
    images : Tensor, shape (n, H, H)
    symmetry : Tensor of int, shape (n,)
        0 to 7: transposed for 4 and more, then turned by so many right angles, modulo 4.
    """
    n, size = images.shape[0], images.shape[-1]
    source = _sources(size, images.device)[symmetry]
    return images.reshape(n, -1).gather(1, source).reshape(images.shape)


def columns(table: NDArray[Any]) -> NDArray[np.float32]:
    """Columns `TABLE` of cavities as one array, shape (n, 6, 8)."""
    return np.stack([table[name].astype(np.float32) for name in TABLE], -1)


def dihedral_table(table: Tensor, symmetry: Tensor, size: int) -> Tensor:
    """Move cavities as `dihedral` moves pixels.

    Parameters
    ----------
    table : Tensor, shape (n, m, 8)
        Columns as in `TABLE`.
    symmetry : Tensor of int, shape (n,)
    size : int
        Side of an image.
    """
    x, y, theta = table[..., :3].unbind(-1)
    s = symmetry[:, None]
    mirrored, turns = s >= 4, s % 4
    x, y = torch.where(mirrored, y, x), torch.where(mirrored, x, y)
    theta = torch.where(mirrored, math.pi / 2 - theta, theta)
    # A right angle takes (row, column) to (size - 1 - column, row).
    far_x, far_y = size - 1 - x, size - 1 - y
    moved_x = torch.where(turns == 0, x, torch.where(turns == 1, y, far_x))
    moved_x = torch.where(turns == 3, far_y, moved_x)
    moved_y = torch.where(turns == 0, y, torch.where(turns == 1, far_x, far_y))
    moved_y = torch.where(turns == 3, x, moved_y)
    theta = torch.remainder(theta - turns * (math.pi / 2), math.pi)
    return torch.cat([torch.stack([moved_x, moved_y, theta], -1), table[..., 3:]], -1)


def targets(mask: Tensor, table: Tensor, pairs: Tensor | None = None) -> dict[str, Tensor]:
    """Targets of the three heads.

    Parameters
    ----------
    mask : Tensor of uint8, shape (n, H, W)
        Instance numbers.
    table : Tensor, shape (n, 6, 8)
        True cavities, columns as in `TABLE`.
    pairs : Tensor of int, shape (k, 2), optional
        Rows and columns of the table with visible cavities. To count them, a GPU would have to be
        waited for.
    """
    n, h, w = mask.shape
    x, y, theta, a, b, radius, snr, visible = table.unbind(-1)
    seen = visible > 0
    if pairs is None:
        pairs = seen.nonzero()
    row, slot = pairs.unbind(1)
    width = (0.22 * radius[row, slot]).clamp_min(1.2)[:, None]
    # A Gaussian is the product of one row and one column of it.
    across, down = (
        torch.exp(
            -0.5 * ((torch.arange(size, device=mask.device) - at[row, slot, None]) / width) ** 2
        )
        for size, at in ((w, x), (h, y))
    )
    blobs = (down[:, :, None] * across[:, None]).flatten(1)
    centre = torch.zeros((n, h * w), device=mask.device)
    centre = centre.scatter_reduce(0, row[:, None].expand_as(blobs), blobs, "amax")
    safe = [torch.where(seen, axis, SIZE_SCALE) for axis in (a, b)]
    values = torch.stack(
        [*(torch.log(v / SIZE_SCALE) for v in safe), torch.cos(2 * theta), torch.sin(2 * theta)], -1
    )
    values = nn.functional.pad(values * seen[..., None], (0, 0, 1, 0))  # 0 outside of cavities
    coarse = mask[:, ::2, ::2]
    which = coarse.reshape(n, -1, 1).long().expand(-1, -1, 4)
    sizes = values.gather(1, which).transpose(1, 2).reshape(n, 4, h // 2, w // 2)
    return {
        "cavity": (mask > 0).float(),
        "centre": centre.reshape(n, h, w),
        "sizes": sizes.contiguous(),
        "size_weight": (coarse > 0).float(),
        # Dice of an image whose cavities drown in noise would only teach guessing.
        "clear": (snr.amax(1) > CLEAR).float(),
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
