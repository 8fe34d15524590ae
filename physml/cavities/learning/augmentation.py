"""Augmentation of training images: thinning, flat-fielding and the symmetries of the square."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Columns of a cavity that targets are made of.
TABLE = ("x", "y", "theta", "a", "b", "radius", "snr", "visible")
#: Smallest share of the counts that augmentation keeps.
THINNEST = 0.05


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
