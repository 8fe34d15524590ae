"""Pixels joined into cells, so that a fit costs what its smallest cavity needs.

Near a cavity and near the halo's centre a cell is a pixel; elsewhere 2 x 2 or 4 x 4 of them. Cells
lie on a grid that the symmetries of the square leave as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.ellipse import Ellipse
from .shares import Shares

#: Radius about the halo's centre in which cells are single pixels, and 2 x 2 pixels [pixel].
INNER, MIDDLE = 10.0, 26.0
#: Largest radius of a cavity whose cells are single pixels, and 2 x 2 pixels [pixel].
SMALL, LARGE = 7.0, 15.0
#: Ellipses about a cavity within which cells are as small as it needs.
REACH = 1.8

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FieldImage:
    """Image of a field with its smooth halo, as `refine` takes it.

    Attributes
    ----------
    counts, depth : ndarray, shape (H, W)
        Counts, and relative exposure with a largest value of 1.
    known : ndarray, shape (H, W), or None
        Expected background counts, where they are known.
    invalid : ndarray of bool, shape (H, W)
        Pixels without information.
    halo : mapping or structured scalar
        `core.halo.PARAMETERS` of the fitted halo.
    """

    counts: NDArray[Any]
    depth: NDArray[Any]
    known: NDArray[Any] | None
    invalid: NDArray[np.bool_]
    halo: Any

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the halo, x, y [pixel]."""
        return float(self.halo["x"]), float(self.halo["y"])


@dataclass(frozen=True)
class Cells:
    """Cells of a field, one entry each, shape (m,).

    Attributes
    ----------
    counts, gas, rest : ndarray
        Counts, and what the smooth halo and all else (background) lead to expect.
    pixels : ndarray
        Valid pixels in it.
    x, y : ndarray
        Mean place of these [pixel].
    shares : Shares
        How the emission there is spread along the line of sight.
    """

    counts: Array
    gas: Array
    rest: Array
    pixels: Array
    x: Array
    y: Array
    shares: Shares

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.counts)

    def take(self, rows: NDArray[Any]) -> Cells:
        """Some of the cells."""
        return Cells(
            self.counts[rows],
            self.gas[rows],
            self.rest[rows],
            self.pixels[rows],
            self.x[rows],
            self.y[rows],
            self.shares.take(rows),
        )


def cell_side(
    shape: tuple[int, int], centre: tuple[float, float], ellipses: Sequence[Ellipse]
) -> NDArray[np.int64]:
    """Side of the cell in which each block of 4 x 4 pixels is cut: 1, 2 or 4.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the field.
    centre : tuple of float
        Centre of the halo [pixel].
    ellipses : sequence of Ellipse
        Candidates.

    Returns
    -------
    ndarray of int, shape (ceil(H/4), ceil(W/4))
    """
    rows, columns = (-(-n // 4) for n in shape)
    y, x = np.mgrid[:rows, :columns] * 4 + 1.5
    away = np.hypot(x - centre[0], y - centre[1])
    side = np.where(away < INNER, 1, np.where(away < MIDDLE, 2, 4))
    for one in ellipses:
        radius = np.sqrt(one.semi_major * one.semi_minor)
        own = 1 if radius < SMALL else 2 if radius < LARGE else 4
        # A block counts from its nearest corner, 2 pixels of which are within its middle.
        wide = Ellipse(one.x, one.y, one.semi_major + 2, one.semi_minor + 2, one.theta)
        near = wide.squared_radius(x, y) < REACH**2
        side = np.where(near, np.minimum(side, own), side)
    return side


def gather(image: FieldImage, ellipses: Sequence[Ellipse]) -> Cells:
    """Cells of a field for some candidates.

    Parameters
    ----------
    image : FieldImage
    ellipses : sequence of Ellipse
        Candidates, on the field's pixels.
    """
    counts = np.asarray(image.counts, float)
    h, w = counts.shape
    depth = np.asarray(image.depth, float)
    live = ~np.asarray(image.invalid, bool) & (depth > 0)
    side = cell_side((h, w), image.centre, ellipses)
    y, x = np.indices((h, w))
    fine = side[y // 4, x // 4]
    # Cells are numbered by their first pixel.
    number = (y - y % fine) * w + (x - x % fine)
    _, number = np.unique(number[live], return_inverse=True)
    shares = Shares.of(image.halo, x[live], y[live])
    gas = depth[live] * shares.surface
    rest = depth[live] * np.exp(float(image.halo["log_constant"]))
    if image.known is not None:
        rest = rest + np.asarray(image.known, float)[live]
    seen = counts[live]
    # An image with its background subtracted has more noise than its counts say: what was taken
    # off is put back at the size of the deepest pixel, on both sides.
    lowest = float(seen.min()) if seen.size else 0.0
    if lowest < 0:
        seen, rest = seen - lowest, rest - lowest

    def add(values: NDArray[Any]) -> Array:
        return np.bincount(number, values).astype(float)

    pixels = add(np.ones(len(seen)))
    mean_x, mean_y = add(x[live].astype(float)) / pixels, add(y[live].astype(float)) / pixels
    return Cells(
        add(seen),
        add(gas),
        np.maximum(add(rest), 1e-6),
        pixels,
        mean_x,
        mean_y,
        Shares.of(image.halo, mean_x, mean_y),
    )
