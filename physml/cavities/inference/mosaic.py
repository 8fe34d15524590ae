"""Maps of all binnings of one image, joined on its own pixels.

Made in bands of rows, each field only where it lies, so that neither time nor memory grow with the
number of binnings: the maps of a field take a quarter of those of one twice as coarse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from .candidate import Candidate
from .field import Field

#: Pixels of a map that are made together.
BAND_PIXELS = 1 << 20
#: Weight of a field at its border, relative to that in its middle: no edge of a field shows, and
#: places that only a border sees have a value.
BORDER = 0.02
#: Weight of a field where it sees no candidate, relative to its weight at a sure one.
ELSEWHERE = 0.05


def join_probabilities(
    shape: tuple[int, int],
    fields: Sequence[Field],
    maps: Sequence[NDArray[Any]],
    candidates: Sequence[Candidate],
) -> NDArray[np.float32]:
    """Probability that a pixel lies in a cavity, on input pixels.

    The mean over the binnings that cover a pixel. Near a candidate, the binning that resolves it
    counts most, with a soft edge at 1.5 of its ellipse.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    fields : sequence of Field
    maps : sequence of ndarray, each shape (S, S)
        Probabilities on the pixels of each field.
    candidates : sequence of Candidate
        Merged cavities.

    Returns
    -------
    ndarray of float32, shape `shape`
    """
    out = np.zeros(shape, np.float32)
    own = [[c for c in candidates if c.scale == field.scale] for field in fields]
    for rows in _bands(shape):
        total = np.zeros_like(out[rows])
        for field, image, mine in zip(fields, maps, own, strict=True):
            part, columns = field.window(shape, rows)
            if part.start >= part.stop:
                continue
            weight = _weight(field, shape, part, columns, mine)
            total[_within(part, rows), columns] += weight
            weight *= field.interpolate(image.astype(np.float32), shape, part, columns)
            out[part, columns] += weight
        np.divide(out[rows], total, out=out[rows], where=total > 0)
    return out.clip(0, 1, out=out)


def join_models(
    shape: tuple[int, int],
    fields: Sequence[Field],
    models: Sequence[NDArray[Any]],
    exposure: NDArray[Any],
) -> NDArray[np.float64]:
    """Smooth model of the image without cavities, on input pixels [expected counts].

    Each binning fits its own field. From the finest one outwards each goes over softly into the
    next, so that no seam shows; what no field covers has the values at the coarsest one's edge.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    fields : sequence of Field
    models : sequence of ndarray, each shape (S, S)
        Expected counts on the pixels of each field.
    exposure : ndarray, shape `shape`
        Relative exposure.

    Returns
    -------
    ndarray, shape `shape`
    """
    ordered = sorted(zip(fields, models, strict=True), key=lambda pair: pair[0].scale)
    rates = []
    for field, model in ordered:
        depth = np.where(field.exposure > 0.05, field.exposure, np.nan)
        whole = fill_undefined(np.asarray(model, float) / depth) / field.scale**2
        rates.append((field, whole.astype(np.float32)))
    out = np.empty(shape)
    for rows in _bands(shape):
        band = np.zeros(out[rows].shape, np.float32)
        left = np.ones_like(band)
        for field, rate in rates[:-1]:
            part, columns = field.window(shape, rows)
            if part.start >= part.stop:
                continue
            here = _within(part, rows), columns
            weight: NDArray[np.float32] = left[here] * taper(field, shape, part, columns)
            left[here] -= weight
            weight *= field.interpolate(rate, shape, part, columns)
            band[here] += weight
        field, rate = rates[-1]
        left *= field.interpolate(rate, shape, rows)
        band += left
        out[rows] = band * exposure[rows]
    return out


def join_labels(
    shape: tuple[int, int],
    fields: Sequence[Field],
    labels: Sequence[NDArray[Any]],
    candidates: Sequence[Candidate],
) -> NDArray[np.int32]:
    """Labels on input pixels: k for the k-th candidate, 0 outside.

    Where two overlap, the pixel goes to the more probable one.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    fields : sequence of Field
    labels : sequence of ndarray, each shape (S, S)
        Labels on the pixels of each field.
    candidates : sequence of Candidate

    Returns
    -------
    ndarray of int32, shape `shape`
    """
    out = np.zeros(shape, dtype=np.int32)
    order = sorted(enumerate(candidates, start=1), key=lambda pair: pair[1].probability)
    at = {field.scale: k for k, field in enumerate(fields)}
    for number, candidate in order:
        k = at[candidate.scale]
        own = np.asarray(labels[k]) == candidate.row + 1
        window, mask = fields[k].spread_mask(own, shape)
        out[window][mask] = number
    for number, candidate in order:
        if not np.any(out[candidate.window(shape, 3.0)] == number) and not np.any(out == number):
            # Hidden wholly under another, or smaller than a pixel: it still is in the list.
            rows, columns = candidate.window(shape)
            y, x = np.mgrid[rows, columns]
            out[rows, columns][candidate.inside(x, y)] = number
    return out


def taper(
    field: Field, shape: tuple[int, int], rows: slice, columns: slice, border: float = 0.0
) -> NDArray[np.float32]:
    """1 in the inner half of a field, falling to 0 at its border; on a part of the input.

    The smooth step of the product of two ramps, 3 r^2 - 2 r^3, is a sum of products as well.

    Parameters
    ----------
    field : Field
    shape : tuple of int
        Shape of the input image.
    rows, columns : slice
        Part of it, within the field.
    border : float
        Added everywhere.
    """
    X, Y = field.from_image(np.arange(shape[1])[columns], np.arange(shape[0])[rows])
    down, across = (
        np.clip((1 - np.abs(positions - (size - 1) / 2) / (size / 2)) / 0.4, 0, 1)
        for positions, size in zip((Y, X), field.counts.shape, strict=True)
    )
    left = np.stack([3 * down**2, -2 * down**3, np.full_like(down, border)], 1)
    right = np.stack([across**2, across**3, np.ones_like(across)])
    return left.astype(np.float32) @ right.astype(np.float32)


def fill_undefined(image: NDArray[Any]) -> NDArray[Any]:
    """Image whose undefined pixels have the value of the nearest defined one."""
    bad = ~np.isfinite(image)
    if not bad.any():
        return image
    if bad.all():
        return np.zeros_like(image)
    nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def _weight(
    field: Field,
    shape: tuple[int, int],
    rows: slice,
    columns: slice,
    candidates: Sequence[Candidate],
) -> NDArray[np.float32]:
    """Weight of a field in the map of probabilities, on a part of the input that it covers."""
    soft = taper(field, shape, rows, columns, BORDER)
    weight = ELSEWHERE * soft
    for candidate in candidates:
        high, wide = candidate.window(shape, 2.0)
        first, last = max(high.start, rows.start), min(high.stop, rows.stop)
        begin, end = max(wide.start, columns.start), min(wide.stop, columns.stop)
        if first >= last or begin >= end:
            continue
        y, x = np.ogrid[first:last, begin:end]
        rho = np.sqrt(candidate.squared_radius(x, y))
        here = (
            slice(first - rows.start, last - rows.start),
            slice(begin - columns.start, end - columns.start),
        )
        near = np.clip((1.8 - rho) / 0.6, 0, 1).astype(np.float32)
        weight[here] += near * candidate.probability * soft[here]
    return weight


def _bands(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of an image, a million pixels at a time: bounds the memory for large images."""
    step = max(1, BAND_PIXELS // shape[1])
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def _within(part: slice, rows: slice) -> slice:
    """Rows of a band, counted from its first."""
    return slice(part.start - rows.start, part.stop - rows.start)
