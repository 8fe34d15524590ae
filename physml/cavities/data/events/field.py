"""Field of view of an event list: where events of any energy were recorded.

Particles and the sky reach every part of a detector. Blocks of pixels so large that each should
hold several events, and that hold none, were not observed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

#: Events that a block should hold where the list is thin: e^-8 are empty by chance.
PER_BLOCK = 8.0
#: Largest side of a block [pixel], and fewest blocks across an image.
MAX_SIDE, FEWEST = 64, 12
#: Share of the list's blocks that may be thinner.
_THIN = 0.1
#: Smallest part of a field, in blocks over those of the largest part.
_CRUMB = 0.01
_AROUND = np.ones((3, 3), dtype=bool)


def find_field(counts: NDArray[np.int64]) -> tuple[Mask, int] | None:
    """Pixels that were observed.

    Parameters
    ----------
    counts : ndarray of int, shape (H, W)
        Events of all energies.

    Returns
    -------
    observed : ndarray of bool, shape (H, W)
    side : int
        Of the blocks that decided it [pixel].
        None where the events are too few to tell.
    """
    side = 1
    while side <= min(MAX_SIDE, max(counts.shape) // FEWEST):
        blocks = _blocks(counts, side)
        filled = blocks > 0
        inner = ndimage.binary_erosion(filled, _AROUND, border_value=1)
        if inner.any() and np.quantile(blocks[inner], _THIN) >= PER_BLOCK:
            return _pixels(_field(blocks), side, counts.shape), side
        side *= 2
    return None


def _blocks(counts: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Sums over blocks; those at the upper edges may be narrower."""
    rows = np.add.reduceat(counts, np.arange(0, counts.shape[0], side), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, counts.shape[1], side), axis=1))


def _field(blocks: NDArray[np.int64]) -> Mask:
    """Blocks that were observed."""
    filled = _without_crumbs(blocks > 0)
    # A single empty block amid others is chance, unless its neighbours are far too full for that.
    near = ndimage.uniform_filter(blocks.astype(float), 3) * 9 / 8
    alone = ~filled & ndimage.binary_dilation(filled, _AROUND, border_value=0)
    holes, number = ndimage.label(~filled, _AROUND)
    sizes = np.bincount(holes.ravel(), minlength=number + 1)
    by_chance = alone & (sizes[holes] == 1) & (near < 2 * PER_BLOCK)
    # A block that lies across the edge is hardly observed.
    stray = filled & (blocks < 0.5 * _inner_median(blocks, filled))
    edge = ndimage.binary_dilation(~filled & ~by_chance, _AROUND) & filled
    return np.asarray((filled | by_chance) & ~(stray & edge))


def _without_crumbs(filled: Mask) -> Mask:
    """Parts that are not tiny beside the largest: a few stray events are no field."""
    parts, number = ndimage.label(filled, _AROUND)
    sizes = np.bincount(parts.ravel(), minlength=number + 1)
    sizes[0] = 0
    return np.asarray(filled & (sizes[parts] >= _CRUMB * sizes.max()))


def _inner_median(blocks: NDArray[np.int64], filled: Mask) -> NDArray[np.float64]:
    """Median of the filled blocks among the 25 around each."""
    values = np.where(filled, blocks, -1).astype(float)

    def median(window: NDArray[np.float64]) -> float:
        kept = window[window >= 0]
        return float(np.median(kept)) if len(kept) else 0.0

    edge = ndimage.binary_dilation(~filled, _AROUND, border_value=0) & filled
    out = np.zeros(blocks.shape)
    padded = np.pad(values, 2, constant_values=-1)
    for row, column in np.argwhere(edge):
        out[row, column] = median(padded[row : row + 5, column : column + 5].ravel())
    return out


def _pixels(blocks: Mask, side: int, shape: tuple[int, ...]) -> Mask:
    every = np.repeat(np.repeat(blocks, side, axis=0), side, axis=1)
    return np.asarray(every[: shape[0], : shape[1]])
