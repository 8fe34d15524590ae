"""Parts of an image that were not observed, found in the image itself.

Zeros outside of the field of view look like a deep deficit to any search. Whether zeros are too
many to be chance is asked of the smooth model, extrapolated from where there are counts, twice:

- Outside the convex hull of all counts. Of n uniform counts in a square about (8/3) ln n are
  expected outside their hull (Renyi & Sulanke 1963, Z. Wahrsch. 2, 75; Efron 1965, Biometrika 52,
  331); far more say that the field of view ends there.
- In connected empty cells, from fine to coarse cells. A given set of cells that expects m counts is
  empty with probability exp(-m), and there are at most N 4.06^c connected sets of c cells among N
  (the growth of lattice animals, Jensen & Guttmann 2000, J. Phys. A 33, L257): the sum of m - 1.4
  over the cells of a set, less ln N, is its evidence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from ..core.halo import HaloFit, fit_halo
from .noise import Scatter, scatter

#: Share of the smooth model that is believed: gas is lopsided, and falls faster than extrapolated.
BELIEVED = 0.5
#: ln of the growth of the number of connected sets with their cells.
ENTROPY = 1.4
#: Scatter over that of counts from which pixels are taken for multiples of counts.
NOISY = 1.3
#: Evidence from which zeros are not observed [ln of odds].
EVIDENCE = 16.0
#: Largest side on which zeros are looked for [cell]: larger images are binned.
LARGEST = 1024
#: Side of the grid on which the smooth model is fitted [cell].
FITTED = 96
#: Fewest cells along an image.
FEWEST = 8


def find_unobserved(
    counts: NDArray[np.float64], exposure: NDArray[np.float64], noise: Scatter | None = None
) -> NDArray[np.bool_]:
    """Pixels without counts where counts are expected, although the exposure says nothing of it.

    Parameters
    ----------
    counts : ndarray, shape (H, W)
        Counts; may be fractional. Where some are negative, pixels that are exactly zero are
        compared with the number of those that are not.
    exposure : ndarray, shape (H, W)
        Relative exposure as far as it is known; 0 where nothing was observed.
    noise : Scatter, optional
        Of the counts, where it is known already.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    seen = exposure > 0
    events = (counts != 0).astype(float) if counts.min() < 0 else counts
    if noise is None or events is not counts:
        noise = scatter(events, seen)
    if noise.above(NOISY):  # each event counts several times
        events = events / noise.ratio
    zero = (events == 0) & seen
    if not zero.any() or zero.sum() == seen.sum():
        return np.zeros(counts.shape, bool)
    step = -(-max(counts.shape) // LARGEST)
    events = events if seen.all() else np.where(seen, events, 0.0)
    grid = _Grid(_sums(events, step), _sums(exposure, step))
    grid.cut_hull()
    for size in _sizes(min(grid.counts.shape)):
        grid.cut_cells(size)
    if not grid.cut.any():
        return np.zeros(counts.shape, bool)
    found = _spread(grid.cut, step, counts.shape)
    if step > 1:  # joined pixels that the border runs through
        found = ndimage.binary_dilation(found, iterations=step)
    return found & zero


class _Grid:
    """Counts and exposure, and the part that was cut as not observed."""

    def __init__(self, counts: NDArray[np.float64], exposure: NDArray[np.float64]) -> None:
        self.counts = counts
        self.exposure = exposure
        self.cut = np.zeros(counts.shape, bool)

    def cut_hull(self) -> None:
        """Cut what lies outside the convex hull of all counts."""
        full = self.counts > 0
        outside = (self.exposure > 0) & ~convex_hull_image(full)
        if outside.mean() < 1e-3:
            return
        missing = BELIEVED * (self.expected(outside) * outside).sum()
        if missing > EVIDENCE + 4 * np.log(full.sum()):
            self.cut = outside

    def cut_cells(self, size: int) -> None:
        """Cut connected cells of some pixels a side that ought not to be empty."""
        exposure = _sums(np.where(self.cut, 0.0, self.exposure), size)
        counts = _sums(self.counts, size)
        empty = (counts == 0) & (exposure > 0)
        groups, number = ndimage.label(empty)
        if not number or not _may_be_cut(counts, exposure, groups):
            return
        pixels = _spread(empty, size, self.cut.shape)
        expected = _sums(self.expected(pixels | self.cut) * ~self.cut, size)
        evidence = np.clip(BELIEVED * expected - ENTROPY, 0, None)
        among = np.log(empty.size)
        each = ndimage.sum_labels(evidence, groups, np.arange(1, number + 1)) - among
        if each.clip(0).sum() < EVIDENCE:
            return
        chosen = np.flatnonzero(each > EVIDENCE / 5) + 1
        cells = _spread(np.isin(groups, chosen), size, self.cut.shape)
        self.cut |= self._grown(cells, size)

    def _grown(self, cells: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
        """Cells and the empty discs beside them: the border need not run along cells."""
        if size == 1:
            return cells
        radius = 0.75 * size
        # What lies outside the image is as empty as what was cut.
        empty = np.pad((self.counts == 0) | self.cut, size, constant_values=True)
        cells = np.pad(cells, size)
        near = ndimage.distance_transform_edt(~cells) < 1.5 * size
        middles = (ndimage.distance_transform_edt(empty) > radius) & near
        groups, _ = ndimage.label(middles)
        joined = np.unique(groups[cells & middles])
        discs = np.isin(groups, joined[joined > 0])
        grown = cells | (empty & (ndimage.distance_transform_edt(~discs) <= radius))
        return grown[size:-size, size:-size] & (self.counts == 0) & (self.exposure > 0)

    def expected(self, left_out: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Counts that the smooth model expects, fitted without some pixels, shape (H, W)."""
        size = -(-max(self.counts.shape) // FITTED)
        used = np.where(left_out | self.cut, 0.0, self.exposure)
        depth = _sums(used, size) / size**2
        counts = _sums(np.where(used > 0, self.counts, 0.0), size)
        if not (depth > 0).any() or not counts.any():
            return np.zeros(self.counts.shape)
        fit = fit_halo(counts[None], depth[None])
        y, x = ((np.arange(n) + 0.5) / size - 0.5 for n in self.counts.shape)
        return self.exposure * surface(fit, x[None], y[:, None]) / size**2


def surface(fit: HaloFit, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth model of the first image of a fit at any place, at exposure 1 and without background.

    Parameters
    ----------
    fit : HaloFit
    x, y : ndarray
        Places [pixel of the fitted image], broadcast against each other.
    """
    p = fit.parameters[0]
    u, v = x - p["x"], y - p["y"]
    r2 = np.maximum((1 - p["e1"]) * u * u + (1 + p["e1"]) * v * v - 2 * p["e2"] * u * v, 0.0)
    total = np.exp(p["log_constant"])
    for k in (1, 2):
        q = r2 * np.exp(-2 * p[f"log_core_{k}"])
        total = total + np.exp(p[f"log_amplitude_{k}"] - np.exp(p[f"log_slope_{k}"]) * np.log1p(q))
    return np.asarray(total)


def _may_be_cut(
    counts: NDArray[np.float64], exposure: NDArray[np.float64], groups: NDArray[np.int_]
) -> bool:
    """Whether any group of empty cells has well filled neighbours, before a model is fitted."""
    near = ndimage.maximum_filter(groups, 3) * (counts > 0) * (exposure > 0)
    sizes = np.bincount(groups.ravel())
    some = (near > 0) & (sizes[near] > 1)
    return bool(some.any() and np.quantile(counts[some], 0.75) > ENTROPY / BELIEVED)


def _sizes(side: int) -> Iterator[int]:
    """Sides of cells: 1, 2, 3, 4, 6, 8, 12 ... as long as there are some along the image."""
    yield 1
    size = 2
    while side // size >= FEWEST:
        yield size
        if side // (size * 3 // 2) >= FEWEST:
            yield size * 3 // 2
        size *= 2


def _spread(cells: NDArray[np.bool_], size: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Each cell on its size x size pixels, of an image of a shape."""
    y, x = (np.arange(side) // size for side in shape)
    return np.asarray(cells[np.ix_(y, x)])


def _sums(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Sums over size x size pixels; the last may be of fewer."""
    if size == 1:
        return np.asarray(image, float)
    rows, columns = (np.arange(0, side, size) for side in image.shape)
    return np.asarray(np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1))
