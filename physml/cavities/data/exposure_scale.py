"""Scale of an exposure map: set at the cluster, not by one pixel or a deep field elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Multiple of its surroundings from which a pixel is an error of the map.
HOT = 3.0
#: Side of a block of its surroundings [pixel], and the fewest pixels in it that tell a level.
BLOCK, FEWEST = 16, 32
#: Largest exposure over that at the cluster that sets the scale.
DEEP = 3.0
#: Side on which the cluster is looked for [cell].
COARSE = 200


def without_hot_pixels(exposure: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Exposure map whose extreme pixels or columns have the level of their surroundings.

    The level is the largest median of the blocks around, which the border of a field, or of a
    deeper one, does not lower.

    Parameters
    ----------
    exposure : ndarray, shape (H, W)
        Not negative.

    Returns
    -------
    ndarray, shape (H, W)
    int
        Number of pixels that were replaced.
    """
    seen = exposure[exposure > 0]
    if exposure.max() <= HOT * np.median(seen):
        return exposure, 0
    shape = exposure.shape
    rows, columns = (-(-side // BLOCK) for side in shape)
    padded = np.pad(
        exposure, [(0, n * BLOCK - s) for n, s in zip((rows, columns), shape, strict=True)]
    )
    blocks = padded.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(rows, columns, -1)
    sorted_ = np.sort(blocks, axis=-1)
    # The median of those that were exposed: zeros come first.
    number = (sorted_ > 0).sum(-1)
    place = BLOCK * BLOCK - 1 - number // 2
    medians = np.take_along_axis(sorted_, place[..., None], -1)[..., 0]
    # A few pixels are no field of their own.
    medians = np.where(number >= FEWEST, medians, 0.0)
    level = ndimage.maximum_filter(medians, 3, mode="nearest")
    each = np.repeat(np.repeat(level, BLOCK, 0), BLOCK, 1)[: shape[0], : shape[1]]
    hot = (exposure > HOT * each) & (each > 0)
    own = np.repeat(np.repeat(medians, BLOCK, 0), BLOCK, 1)[: shape[0], : shape[1]]
    return np.where(hot, np.where(own > 0, own, each), exposure), int(hot.sum())


def exposure_scale(exposure: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Exposure that counts as 1: the largest, or that at the cluster where it is far smaller.

    Parameters
    ----------
    exposure, counts : ndarray, shape (H, W)
    """
    largest = float(exposure.max())
    size = -(-max(exposure.shape) // COARSE)
    rows, columns = (np.arange(0, side, size) for side in exposure.shape)

    def cells(image: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)
        return np.asarray(ndimage.gaussian_filter(sums, 3.0))

    seen = cells(exposure)
    some = cells(np.where(exposure > 0, counts, 0.0))
    # Counts under the kernel, whose area is 4 pi sigma^2, and their rate less two of its errors.
    number = np.maximum(some, 0.0) * 4 * np.pi * 9
    sure = np.maximum(number - 2 * np.sqrt(number), 0.0)
    rate = np.where(seen > 1e-6 * largest, sure / np.maximum(seen, 1e-30), 0.0)
    y, x = np.unravel_index(int(np.argmax(rate)), rate.shape)
    reach = max(exposure.shape) // 16
    window = np.s_[
        max(0, y * size - reach) : y * size + reach + 1,
        max(0, x * size - reach) : x * size + reach + 1,
    ]
    near = exposure[window]
    if not (near > 0).any():
        return largest
    here = float(np.quantile(near[near > 0], 0.95))
    return largest if largest <= DEEP * here else here
