"""A background map, judged by the image: its scale, and whether it holds light of the cluster.

A map that rises towards the cluster was made from an image with the cluster in it: a spline that
kept some of it, a blank field that is none. To subtract it is to cut the cluster's own light, and
the deeper the nearer to the centre. A map of the detector's and the sky's background can be written
as a E + b, with E the exposure: what is above that, where the cluster is bright, is suspicious.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..core.halo import fit_halo

#: Relative error of the scale of a background map that is expected: blank fields are scaled to
#: 3-10 % (Hickox & Markevitch 2006, ApJ 645, 95; Bartalucci et al. 2014, A&A 566, A25).
SCALE_ERROR = 0.1
#: Scales that are tried, natural logarithms.
TRIED = np.linspace(-1.2, 0.6, 19)
#: Side of the grids on which maps are compared [cell].
GRID = 64
#: Height over a E + b at the cluster from which a map is suspicious.
RISES = 1.4
#: Correlation of its pixels with the image's from which it follows them, and its standard errors.
FOLLOWS, ERRORS = 0.1, 6.0


@dataclass(frozen=True)
class Judgement:
    """A background map against its image.

    Attributes
    ----------
    rise : float
        Height over a E + b where the cluster is bright.
    shape : float
        Correlation of that height with the brightness of the cluster, from cell to cell.
    pixels : float
        Correlation of its scatter with that of the image, from pixel to pixel; 0 where it has none.
    """

    rise: float
    shape: float
    pixels: float

    @property
    def rises(self) -> bool:
        """Whether it rises towards the cluster."""
        return self.rise > RISES and self.shape > 0.4

    @property
    def follows(self) -> bool:
        """Whether it follows the image pixel by pixel."""
        return self.pixels > FOLLOWS


def judge_background(
    background: NDArray[np.float64], exposure: NDArray[np.float64], counts: NDArray[np.float64]
) -> Judgement:
    """Compare a background map with the image and the exposure.

    Parameters
    ----------
    background, exposure, counts : ndarray, shape (H, W)
        Expected background counts, relative exposure (0 where not observed), counts.
    """
    size = max(1, -(-max(counts.shape) // GRID))
    seen = _cells(exposure, size)
    area = _cells((exposure > 0).astype(float), size)
    used = area > 0.5 * size * size
    map_, image, seen = (
        _cells(np.where(exposure > 0, background, 0.0), size) / np.maximum(area, 1),
        _cells(np.where(exposure > 0, counts, 0.0), size),
        seen / np.maximum(area, 1),
    )
    pixels = _scatter_in_common(background, counts, exposure > 0)
    if used.sum() < 32 or not map_[used].any():
        return Judgement(1.0, 0.0, pixels)
    # Brightness of the cluster, smoothed to one or two cells, over that of the outer half.
    weight = ndimage.gaussian_filter(seen * area, 1.0)
    bright = ndimage.gaussian_filter(image, 1.0) / np.maximum(weight, 1e-12)
    level = float(np.quantile(bright[used], 0.5))
    outer = used & (bright <= level)
    inner = used & (bright > level)
    a, b = _straight(seen[outer], map_[outer])
    height = map_ / np.maximum(a * seen + b, 1e-12 + 0.05 * float(np.median(map_[used])))
    excess = np.where(inner, bright - level, 0.0) * seen
    if excess.sum() <= 0:
        return Judgement(1.0, 0.0, pixels)
    rise = float((excess * height)[used].sum() / excess[used].sum())
    shape = _correlation(np.log(height[inner].clip(1e-3)), np.log(bright[inner].clip(1e-12)))
    return Judgement(rise, shape, pixels)


def fit_scale(
    background: NDArray[np.float64], exposure: NDArray[np.float64], counts: NDArray[np.float64]
) -> float:
    """Factor that brings a background map to the image, with a prior of `SCALE_ERROR` about 1.

    The smooth model of the cluster is fitted beside the map at several factors; what is left of
    the image says which suits.

    Parameters
    ----------
    background, exposure, counts : ndarray, shape (H, W)
        See `judge_background`.
    """
    size = max(1, -(-max(counts.shape) // GRID))
    seen = exposure > 0
    image, map_ = (_cells(np.where(seen, part, 0.0), size) for part in (counts, background))
    depth = _cells(exposure, size) / size**2
    live = depth > 0.02 * depth.max()
    # Noise of a map made from events would pull its scale down.
    smooth = [ndimage.gaussian_filter(part, 3.0) for part in (map_, depth)]
    map_ = np.where(live, depth * smooth[0] / np.maximum(smooth[1], 1e-9), 0.0)
    if not map_[live].any():
        return 1.0
    n = len(TRIED)
    maps = np.exp(TRIED)[:, None, None] * map_
    fit = fit_halo(
        np.broadcast_to(image, (n, *image.shape)),
        np.broadcast_to(depth, (n, *image.shape)),
        maps,
        np.broadcast_to(~live, (n, *image.shape)),
    )
    mean = np.maximum(fit.model[:, live].astype(float), 1e-9)
    # As in the fit itself: a tempered chi^2 that neither cavities nor clumps pull.
    variance = mean + (0.08 * mean) ** 2 + 0.25
    misfit = 5 * np.log1p((image[live] - mean) ** 2 / variance / 4) + np.log(variance)
    cost = misfit.sum(1) + (TRIED / SCALE_ERROR) ** 2
    best = int(np.argmin(cost))
    if best in (0, n - 1):
        return float(np.exp(TRIED[best]))
    low, mid, high = cost[best - 1 : best + 2]
    step = TRIED[1] - TRIED[0]
    move = 0.5 * (low - high) / max(low - 2 * mid + high, 1e-12)
    return float(np.exp(TRIED[best] + step * np.clip(move, -0.5, 0.5)))


def _cells(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Sums over size x size pixels; the last may be of fewer."""
    rows, columns = (np.arange(0, side, size) for side in image.shape)
    return np.asarray(np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1))


def _straight(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Line y = a x + b with a, b >= 0, by least squares."""
    spread = float(x.var())
    a = float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 1e-6 else 0.0
    a = min(max(a, 0.0), float(y.mean() / max(x.mean(), 1e-12)))
    return a, float(y.mean() - a * x.mean())


def _scatter_in_common(
    background: NDArray[np.float64], counts: NDArray[np.float64], seen: NDArray[np.bool_]
) -> float:
    """Correlation of two maps' differences a - b - c + d of 2 x 2 pixels; 0 where there is none."""
    rows, columns = (side // 2 * 2 for side in counts.shape)

    def odd(image: NDArray[np.float64]) -> NDArray[np.float64]:
        part = image[:rows, :columns]
        return part[::2, ::2] - part[::2, 1::2] - part[1::2, ::2] + part[1::2, 1::2]

    whole = seen[:rows:2, :columns:2] & seen[1:rows:2, 1:columns:2]
    first, second = odd(background)[whole], odd(counts)[whole]
    # A smooth map has no scatter that could follow anything.
    if (first**2).sum() < 0.05 * 4 * background[seen].sum() * whole.sum() / max(seen.sum(), 1):
        return 0.0
    together = _correlation(first, second)
    return together if together * np.sqrt(max(len(first), 1)) > ERRORS else 0.0


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 8 or a.std() < 1e-9 or b.std() < 1e-12:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
