"""Fields of the network's size, cut out of an observation at several binnings.

The network sees 128 x 128 pixels. A field of scale k covers 128 k input pixels and joins k x k of
them into one. All positions here are 0-based with pixel centres at integers, so that the centre
of field pixel X lies at input pixel::

    x = x0 + k X + (k - 1) / 2

(x0: input pixel of the field's first column). Forgetting the last term is the half-pixel error
that shifts a rebinned image on the sky.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

from physml.exceptions import InputError

from ..data.observation import Observation

#: Side of the network's field [pixel].
FIELD = 128
#: Binnings tried by `auto`: steps of 1.3 to 2, so that each size is well resolved at one.
LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


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
        fine = field.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        there, here = _overlap(self.x0, self.y0, fine.shape, shape)
        out[there] = fine[here]
        return out

    def interpolate(self, field: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
        """Put a smooth field image on the input pixels, bilinear; edge values outside the field."""
        y, x = np.arange(shape[0], dtype=float), np.arange(shape[1], dtype=float)
        X, Y = self.from_image(x, y)
        grid = np.meshgrid(Y, X, indexing="ij")
        return map_coordinates(np.asarray(field, dtype=float), grid, order=1, mode="nearest")


def choose_scales(
    observation: Observation, scales: str | int | Sequence[int] = "auto"
) -> tuple[int, ...]:
    """Binnings at which an image is searched.

    Parameters
    ----------
    observation : Observation
        The image; only its exposed part has to be covered.
    scales : "auto", int or sequence of int
        `auto` goes up the ladder until the field is as large as the exposed image, give or take
        an eighth of a field on each side.

    Raises
    ------
    InputError
        For anything but positive whole numbers up to the image's size over 16.
    """
    rows, columns = np.nonzero(observation.exposed)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    if isinstance(scales, str) and scales.strip().lower() == "auto":
        needed = max(1, int(np.ceil(extent / FIELD - 0.25)))
        chosen = [k for k in LADDER if k < needed]
        chosen += [k for k in LADDER if k >= needed][:1]
        return tuple(chosen)
    if isinstance(scales, str):
        parts: Sequence = [part for part in scales.replace(",", " ").split() if part]
    elif isinstance(scales, (int, np.integer)):
        parts = [scales]
    else:
        parts = list(scales)
    try:
        numbers = sorted({int(str(part)) for part in parts})
    except ValueError:
        numbers = []
    # Below 16 field pixels across the image, the fit of the halo has nothing to hold on to.
    largest = max(1, int(extent) // 16)
    if not numbers or numbers[0] < 1 or numbers[-1] > largest:
        raise InputError(
            f"scales=: expected 'auto' or whole numbers from 1 to {largest} such as 1,2,4; "
            f"found {scales!r}"
        )
    return tuple(numbers)


def cut_field(
    observation: Observation, scale: int, centre: tuple[float, float], field: int = FIELD
) -> Field:
    """Cut a field around the cluster centre and join scale x scale pixels.

    Counts and background are summed; exposure is averaged, pixels without exposure included, so
    that counts over exposure stays the same rate.

    Parameters
    ----------
    observation : Observation
        The image.
    scale : int
        Input pixels joined along each axis.
    centre : tuple of float
        Cluster centre (x, y) [input pixel].
    field : int
        Side of the field [joined pixels].
    """
    size = field * scale
    x0 = round(centre[0] - (size - 1) / 2)
    y0 = round(centre[1] - (size - 1) / 2)
    shape = observation.counts.shape
    there, here = _overlap(x0, y0, (size, size), shape)

    def block(image: NDArray[Any]) -> NDArray[Any]:
        """Sum of the joined pixels; nothing outside the image."""
        padded = np.zeros((size, size))
        padded[here] = image[there]
        return padded.reshape(field, scale, field, scale).sum((1, 3))

    exposure = block(observation.relative_exposure) / scale**2
    background = None if observation.background is None else block(observation.background)
    # Filled pixels hold made-up counts: a joined pixel that is mostly made up tells nothing.
    filled = block(observation.filled.astype(float)) / scale**2
    half = (scale - 1) / 2
    return Field(
        scale=scale,
        x0=x0,
        y0=y0,
        counts=block(observation.counts),
        exposure=exposure,
        background=background,
        invalid=(exposure <= 0.02) | (filled > 0.5),
        centre=((centre[0] - x0 - half) / scale, (centre[1] - y0 - half) / scale),
    )


def _overlap(
    x0: int, y0: int, size: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of an image of `shape`, and of a window of `size` at (x0, y0), that coincide."""
    low_y, high_y = max(y0, 0), max(0, y0, min(y0 + size[0], shape[0]))
    low_x, high_x = max(x0, 0), max(0, x0, min(x0 + size[1], shape[1]))
    there = slice(low_y, high_y), slice(low_x, high_x)
    here = slice(low_y - y0, high_y - y0), slice(low_x - x0, high_x - x0)
    return there, here
