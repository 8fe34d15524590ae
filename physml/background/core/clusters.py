"""Clusters of connected pixels: what a particle or a photon left in one place.

The tracks of particles are rejected as X-rays, but where they lie, how long they are and where
they point says which of the other events in the frame came with them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .arrays import Floats, Ints, Rows

#: Sum and brightest pixel (keV), number of pixels, energy centroid (pixels), extent along and
#: across the principal axis (pixels), direction of that axis (cos and sin of twice its angle to
#: the x axis; 0, 0 where there is none), whether it touches the border, holds a valid event, is a
#: particle (sum above the upper limit).
CLUSTER = np.dtype(
    [
        ("frame", "i8"),
        ("energy", "f4"),
        ("peak", "f4"),
        ("n_pixels", "i4"),
        ("xc", "f4"),
        ("yc", "f4"),
        ("length", "f4"),
        ("width", "f4"),
        ("cos2", "f4"),
        ("sin2", "f4"),
        ("border", "?"),
        ("valid", "?"),
        ("particle", "?"),
    ]
)
_ROUND = 1e-9  # pixel^2: below it two moments are equal but for rounding


def connected(key: Ints, stride: int) -> tuple[Ints, int]:
    """Label 4-connected pixels of all frames at once.

    Parameters
    ----------
    key : ndarray of int64, shape (n,)
        Increasing places of the pixels. Horizontal neighbours differ by 1 and vertical ones by
        `stride`; rows and frames are padded, so that no others do.
    stride : int

    Returns
    -------
    label : ndarray of int64, shape (n,)
        0, 1, ... in order of the clusters' first pixels.
    n : int
        Number of clusters.
    """
    n = len(key)
    if n == 0:
        return np.empty(0, np.int64), 0
    left = np.flatnonzero(np.diff(key) == 1)
    above = np.minimum(np.searchsorted(key, key + stride), n - 1)
    below = np.flatnonzero(key[above] == key + stride)
    one = np.concatenate([left, below])
    other = np.concatenate([left + 1, above[below]])
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(n, n))
    count, label = connected_components(graph, directed=False)
    return label.astype(np.int64), int(count)


def groups(label: Ints, n: int) -> tuple[NDArray[np.intp], Ints]:
    """Order that brings equal labels together, and where each begins in it.

    Every label 0 .. n - 1 has to occur; the order is stable.
    """
    size = np.bincount(label, minlength=n)
    return np.argsort(label, kind="stable"), np.cumsum(size) - size


def peaks(energy: NDArray[np.floating], order: NDArray[np.intp], start: Ints) -> NDArray[np.intp]:
    """Row of the brightest pixel of each group; among equals the first."""
    if len(start) == 0:
        return np.empty(0, np.intp)
    sorted_energy = energy[order]
    size = np.diff(np.append(start, len(order)))
    highest = np.repeat(np.maximum.reduceat(sorted_energy, start), size)
    group = np.repeat(np.arange(len(start)), size)
    at = np.flatnonzero(sorted_energy == highest)
    first = np.append(True, np.diff(group[at]) > 0)
    return order[at[first]]


def measure(
    frame: Ints,
    y: Floats,
    x: Floats,
    energy: Floats,
    label: Ints,
    n: int,
    shape: tuple[int, int],
    upper: float,
) -> tuple[Rows, NDArray[np.intp]]:
    """Properties of clusters.

    Parameters
    ----------
    frame, y, x, energy, label : ndarray, shape (n_pixels,)
        Pixels above the split threshold, and the cluster each belongs to.
    n : int
        Number of clusters; each has a pixel.
    shape : tuple of int
        Rows and columns of the detector.
    upper : float
        Sum above which a cluster is a particle, keV.

    Returns
    -------
    clusters : structured ndarray, shape (n,)
        `CLUSTER`; `valid` is False.
    peak : ndarray of int, shape (n,)
        Row of each cluster's brightest pixel.

    Notes
    -----
    The direction comes from second moments without energy weights: delta electrons and the
    fluctuations of the loss would turn it. `length` is the distance of the outermost pixel
    centres along the axis plus one pixel, `width` the same across it.
    """
    out = np.zeros(n, CLUSTER)
    if n == 0:
        return out, np.empty(0, np.intp)
    order, start = groups(label, n)
    peak = peaks(energy, order, start)

    def total(values: Rows) -> Floats:
        return np.asarray(np.bincount(label, values, minlength=n), np.float64)

    size = np.bincount(label, minlength=n)
    summed = total(energy)
    # Positions from the brightest pixel: moments of coordinates near 500 would lose digits.
    dx, dy = x - x[peak][label], y - y[peak][label]
    out["frame"] = frame[peak]
    out["energy"], out["peak"], out["n_pixels"] = summed, energy[peak], size
    out["xc"] = x[peak] + total(energy * dx) / summed
    out["yc"] = y[peak] + total(energy * dy) / summed
    mx, my = total(dx) / size, total(dy) / size
    vx, vy = total(dx * dx) / size - mx**2, total(dy * dy) / size - my**2
    cov = total(dx * dy) / size - mx * my
    spread = np.hypot(vx - vy, 2 * cov)
    has_axis = spread > _ROUND
    safe = np.where(has_axis, spread, 1.0)
    cos2, sin2 = np.where(has_axis, (vx - vy) / safe, 0), np.where(has_axis, 2 * cov / safe, 0)
    out["cos2"], out["sin2"] = cos2, sin2
    c, s = half_angle(cos2, sin2)
    along, across = dx * c[label] + dy * s[label], dy * c[label] - dx * s[label]
    for name, place in (("length", along[order]), ("width", across[order])):
        out[name] = np.maximum.reduceat(place, start) - np.minimum.reduceat(place, start) + 1
    edge = (y == 0) | (x == 0) | (y == shape[0] - 1) | (x == shape[1] - 1)
    out["border"] = total(edge) > 0
    # From the stored value, so that everybody who looks at the table decides alike.
    out["particle"] = out["energy"] > upper
    return out, peak


def half_angle(cos2: NDArray[np.floating], sin2: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Cosine and sine of an axis from those of twice its angle; the x axis where there is none."""
    angle = 0.5 * np.arctan2(np.asarray(sin2, np.float64), np.asarray(cos2, np.float64))
    return np.cos(angle), np.sin(angle)
