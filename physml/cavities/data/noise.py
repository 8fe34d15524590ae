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
#: Number of pixels above which some are left out.
LARGE = 1 << 21


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
    image, whole = counts, used
    if size > 1:
        image, whole = _joined(counts, size), _joined(used.astype(float), size) == size * size
    rows, columns = (n // 2 * 2 for n in image.shape)
    if not rows or not columns:
        return Scatter(np.nan, np.inf)
    # Of a large image, rows of blocks here and there tell as much as is needed.
    step = 2 * -(-rows * columns // LARGE)
    parts = [(slice(i, rows, step), slice(j, columns, 2)) for i in (0, 1) for j in (0, 1)]
    a, b, c, d = (image[part] for part in parts)
    all_used = whole[parts[0]] & whole[parts[1]] & whole[parts[2]] & whole[parts[3]]
    total, odd = (a + b + c + d)[all_used], (a - b - c + d)[all_used]
    # A block with one count tells nothing: its difference is 1 for sure.
    tells = total > 0 if (total < 0).any() else total >= min(2.0, _smallest(total))
    total, odd = total[tells], odd[tells]
    groups = min(GROUPS, len(total) // GROUP)
    if not groups:
        return Scatter(np.nan, np.inf)
    order = np.argsort(total, kind="stable")
    shares = np.array_split(order, groups)
    ratios = [float((odd[part] ** 2).sum() / total[part].sum()) for part in shares]
    # The square of a normal difference scatters by sqrt(2); the median of groups by 1.25 more.
    return Scatter(float(np.median(ratios)), float(1.25 * np.sqrt(2 / len(total))))


def _joined(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Sums over whole cells of size x size pixels."""
    rows, columns = (n // size * size for n in image.shape)
    cells = image[:rows, :columns].reshape(rows // size, size, columns // size, size)
    return np.asarray(cells.sum((1, 3)))


def _smallest(total: NDArray[np.float64]) -> float:
    """Twice the smallest positive sum: of scaled counts, two of them."""
    positive = total[total > 0]
    return 2 * float(positive.min()) if len(positive) else np.inf
