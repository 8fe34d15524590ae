"""Scale of an exposure map: set at the cluster, not by one pixel or a deep field elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Multiple of its surroundings from which a pixel is an error of the map.
HOT = 3.0
#: Largest share of pixels that can be such errors.
FEW = 1e-3
#: Side of the surroundings [pixel].
AROUND = 9
#: Largest exposure over that at the cluster that sets the scale.
DEEP = 3.0
#: Side on which the cluster is looked for [cell].
COARSE = 200


def without_hot_pixels(exposure: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Exposure map whose few extreme pixels have the median of their surroundings.

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
    usual = float(np.quantile(exposure[exposure > 0], 1 - FEW))
    high = exposure > usual
    if not (exposure > HOT * usual).any():
        return exposure, 0
    out, reach = exposure.copy(), AROUND // 2
    number = 0
    for y, x in np.argwhere(exposure > HOT * usual):
        window = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        others = exposure[window][~high[window]]
        level = float(np.median(others)) if others.size else usual
        if exposure[y, x] > HOT * level:
            out[y, x] = level
            number += 1
    return out, number


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
