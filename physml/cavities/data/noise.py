"""Scatter of neighbouring pixels, compared with that of Poisson counts.

In blocks of 2 x 2 pixels (a b / c d) the difference a - b - c + d feels no gradient. For Poisson
counts of one mean, given the sum s of the block, its mean square is s, whatever the mean is: the
ratio is one down to the faintest image. It is c for counts times c, above one where a background
was subtracted, and below one where pixels were smoothed or interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Fewest blocks of a group.
GROUP = 60
#: Most groups.
GROUPS = 12


@dataclass(frozen=True)
class Scatter:
    """Ratio of the scatter of pixels to that of counts.

    Attributes
    ----------
    ratio : float
        1 for Poisson counts; NaN where too few blocks tell.
    error : float
        Standard error of it for Poisson counts.
    """

    ratio: float
    error: float

    def above(self, limit: float) -> bool:
        """Whether the ratio is larger than a limit, beyond its error."""
        return bool(self.ratio - 4 * self.error * limit > limit)

    def below(self, limit: float) -> bool:
        """Whether the ratio is smaller than a limit, beyond its error."""
        return bool(self.ratio + 4 * self.error < limit)


def scatter(counts: NDArray[np.float64], used: NDArray[np.bool_], size: int = 1) -> Scatter:
    """Scatter of an image between neighbouring cells.

    Blocks are sorted by their sum into groups; the ratio is the median of the groups, so that
    neither sources nor the steep core make it.

    Parameters
    ----------
    counts : ndarray, shape (H, W)
        Counts, or what is taken for them.
    used : ndarray of bool, shape (H, W)
        Pixels to look at: observed, and not filled.
    size : int
        Pixels along the side of a cell.
    """
    side = 2 * size
    rows, columns = (n // side for n in counts.shape)
    if not rows or not columns:
        return Scatter(np.nan, np.inf)

    def cells(image: NDArray[np.float64]) -> NDArray[np.float64]:
        part = image[: rows * side, : columns * side]
        return np.asarray(part.reshape(rows, 2, size, columns, 2, size).sum((2, 5)))

    whole = cells(used.astype(float)).min((1, 3)) == size * size
    image = cells(counts)
    total = image.sum((1, 3))[whole]
    odd = (image[:, 0, :, 0] - image[:, 0, :, 1] - image[:, 1, :, 0] + image[:, 1, :, 1])[whole]
    # A block with one count tells nothing: its difference is 1 for sure.
    tells = total > 0 if (total < 0).any() else total >= min(2.0, _smallest(total))
    total, odd = total[tells], odd[tells]
    groups = min(GROUPS, len(total) // GROUP)
    if not groups:
        return Scatter(np.nan, np.inf)
    order = np.argsort(total, kind="stable")
    parts = np.array_split(order, groups)
    ratios = [float((odd[part] ** 2).sum() / total[part].sum()) for part in parts]
    # The square of a normal difference scatters by sqrt(2); the median of groups by 1.25 more.
    return Scatter(float(np.median(ratios)), float(1.25 * np.sqrt(2 / len(total))))


def _smallest(total: NDArray[np.float64]) -> float:
    """Twice the smallest positive sum: of scaled counts, two of them."""
    positive = total[total > 0]
    return 2 * float(positive.min()) if len(positive) else np.inf
