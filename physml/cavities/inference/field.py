"""One field of the network's size, and where it lies in the input image.

All positions here are 0-based with pixel centres at integers, so that the centre of field pixel X
lies at input pixel::

    x = x0 + k X + (k - 1) / 2

(x0: input pixel of the field's first column). Forgetting the last term is the half-pixel error
that shifts a rebinned image on the sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Field:
    """One field: what the detector is given, and where it lies in the input image.

    Attributes
    ----------
    scale : int
        Input pixels joined along each axis.
    x0, y0 : int
        Input pixel of the field's first column and row; negative where it is padded.
    counts : ndarray, shape (S, S)
        Sum over the joined pixels [counts].
    exposure : ndarray, shape (S, S)
        Mean over the joined pixels, relative to the largest exposure of the whole image.
    background : ndarray, shape (S, S), or None
        Sum over the joined pixels [expected counts].
    invalid : ndarray of bool, shape (S, S)
        Without exposure, outside the image, or filled in place of a masked source.
    centre : tuple of float
        Cluster centre (X, Y) in field pixels.
    """

    scale: int
    x0: int
    y0: int
    counts: NDArray[Any]
    exposure: NDArray[Any]
    background: NDArray[Any] | None
    invalid: NDArray[Any]
    centre: tuple[float, float]

    @property
    def total(self) -> float:
        """Counts in the field."""
        return float(self.counts.sum())

    def to_image(
        self, x: ArrayLike, y: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Field position to input position [pixel]."""
        half = (self.scale - 1) / 2
        return (
            self.x0 + self.scale * np.asarray(x) + half,
            self.y0 + self.scale * np.asarray(y) + half,
        )

    def from_image(
        self, x: ArrayLike, y: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Input position to field position [pixel]."""
        half = (self.scale - 1) / 2
        return (
            (np.asarray(x) - self.x0 - half) / self.scale,
            (np.asarray(y) - self.y0 - half) / self.scale,
        )

    def contains(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Whether input positions lie in the field."""
        height, width = self.counts.shape
        right = self.x0 - 0.5 + self.scale * width
        top = self.y0 - 0.5 + self.scale * height
        x, y = np.asarray(x), np.asarray(y)
        return (x > self.x0 - 0.5) & (x < right) & (y > self.y0 - 0.5) & (y < top)

    def spread(self, field: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
        """Put a field image on the input pixels, each block of k x k given its field pixel's value.

        Parameters
        ----------
        field : ndarray, shape (S, S)
            Image on field pixels.
        shape : tuple of int
            Shape of the input image.

        Returns
        -------
        ndarray, shape `shape`
            0 outside the field.
        """
        out = np.zeros(shape, dtype=field.dtype)
        size = tuple(self.scale * side for side in field.shape)
        there, here = window_overlap(self.x0, self.y0, size, shape)
        rows, columns = (np.arange(part.start, part.stop) // self.scale for part in here)
        out[there] = field[np.ix_(rows, columns)]
        return out

    def spread_mask(
        self, mask: NDArray[np.bool_], shape: tuple[int, int]
    ) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
        """`spread` of a mask, on no more of the input image than its bounding box.

        Returns
        -------
        window : tuple of slice
            Rows and columns of the input image.
        inside : ndarray of bool
            The mask there.
        """
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool)
        part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        x0, y0 = self.x0 + self.scale * int(columns[0]), self.y0 + self.scale * int(rows[0])
        there, here = window_overlap(x0, y0, tuple(self.scale * n for n in part.shape), shape)
        y, x = (np.arange(span.start, span.stop) // self.scale for span in here)
        return there, part[np.ix_(y, x)]

    def window(self, shape: tuple[int, int], rows: slice = slice(None)) -> tuple[slice, slice]:
        """Rows and columns of the input image that the field covers.

        Parameters
        ----------
        shape : tuple of int
            Shape of the input image.
        rows : slice, optional
            Rows that are wanted; all by default.
        """
        size = tuple(self.scale * side for side in self.counts.shape)
        high, wide = window_overlap(self.x0, self.y0, size, shape)[0]
        first, last, _ = rows.indices(shape[0])
        first = max(first, high.start)
        return slice(first, max(first, min(last, high.stop))), wide

    def interpolate(
        self,
        field: NDArray[Any],
        shape: tuple[int, int],
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> NDArray[Any]:
        """Put a smooth field image on the input pixels, bilinear; edge values outside the field.

        Parameters
        ----------
        field : ndarray of float, shape (S, S)
            Image on field pixels.
        shape : tuple of int
            Shape of the input image.
        rows, columns : slice, optional
            Part of the input image that is wanted; all by default.

        Returns
        -------
        ndarray
            Of the field image's type.
        """
        X, Y = self.from_image(np.arange(shape[1])[columns], np.arange(shape[0])[rows])
        rows_done = _between(np.asarray(field), Y, 0)
        return _between(rows_done, X, 1)


def _between(image: NDArray[Any], positions: NDArray[Any], axis: int) -> NDArray[Any]:
    """Linear interpolation along an axis; edge values outside."""
    size = image.shape[axis]
    place = np.clip(positions, 0, size - 1)
    low = np.minimum(place.astype(int), max(size - 2, 0))
    part = (place - low).astype(image.dtype)
    if size == 1:
        return np.take(image, low, axis)
    out = np.take(np.diff(image, axis=axis), low, axis)
    out *= part[:, None] if axis == 0 else part
    out += np.take(image, low, axis)
    return out


def window_overlap(
    x0: int, y0: int, size: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Parts of an image and of a window in it that coincide.

    Parameters
    ----------
    x0, y0 : int
        First column and row of the window, in pixels of the image; negative where it begins before.
    size, shape : tuple of int
        Rows and columns of the window, and of the image.

    Returns
    -------
    there, here : tuple of slice
        Rows and columns of the image, and of the window.
    """
    low_y, high_y = max(y0, 0), max(0, y0, min(y0 + size[0], shape[0]))
    low_x, high_x = max(x0, 0), max(0, x0, min(x0 + size[1], shape[1]))
    there = slice(low_y, high_y), slice(low_x, high_x)
    here = slice(low_y - y0, high_y - y0), slice(low_x - x0, high_x - x0)
    return there, here
