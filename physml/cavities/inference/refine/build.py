"""The model of a field, from its image and the candidates on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...core.ellipse import Ellipse
from .cavity import Cavity
from .cells import REACH, Cells, FieldImage, gather
from .likelihood import size
from .model import Model
from .null import Null
from .shapes import Start
from .shares import Shares

Array = NDArray[np.float64]

#: Significance of single cells far above the halo from which they are left out: sources that
#: nobody masked.
OUTLIER = 6.0
#: Bounds of a candidate's parameters about its start: centre, ln radius, shape; then depth factor,
#: offset and rim.
BOUNDS = (
    *((-0.6, 0.6), (-0.6, 0.6), (-0.6, 0.5), (-0.6, 0.6), (-0.6, 0.6)),
    *((0.02, 1.6), (0.0, 3.0), (0.0, 1.0)),
)


@dataclass(frozen=True)
class Widths:
    """Gaussian priors of a candidate about what the network says.

    Attributes
    ----------
    place : float
        Of its centre along each axis, in radii.
    radius, shape : float
        Of ln(radius) and of each component of its shape.
    depth, depth_spread : float
        Mean and standard deviation of the depth factor: evacuated fraction, depth and offset from
        the plane of the sky cannot be told apart.
    offset, rim : float
        Of the squared offset over the distance, and of the excess in a rim; none is negative.
    """

    place: float = 0.3
    radius: float = 0.5
    shape: float = 0.2
    depth: float = 0.8
    depth_spread: float = 0.5
    offset: float = 0.5
    rim: float = 0.12


#: The priors of a search.
STANDARD = Widths()


def build(image: FieldImage, ellipses: Sequence[Ellipse], widths: Widths = STANDARD) -> Model:
    """Model of a field with candidates.

    Parameters
    ----------
    image : FieldImage
    ellipses : sequence of Ellipse
        Candidates on the field's pixels.
    widths : Widths
    """
    cells = gather(image, ellipses)
    null = Null.of(cells, image.centre)
    starts = [Start.of(e) for e in ellipses]
    smooth, w = len(null.width), widths
    low, high = np.array(BOUNDS).T
    width = np.array(
        [w.place, w.place, w.radius, w.shape, w.shape, w.depth_spread, w.offset, w.rim]
    )
    means = [np.array([0.0, 0.0, 0.0, s.g1, s.g2, w.depth, 0.0, 0.0]) for s in starts]
    return Model(
        cells,
        null,
        *_placed(cells, starts, image),
        np.concatenate([np.zeros(smooth), *means]),
        np.concatenate([null.width, *[width] * len(starts)]),
        np.concatenate([np.full(smooth, -3.0), *[low] * len(starts)]),
        np.concatenate([np.full(smooth, 3.0), *[high] * len(starts)]),
    )


def without_outliers(model: Model, theta: Array, image: FieldImage) -> Model | None:
    """Model without the cells that stand far above it; None where there are none."""
    mu = model.expected(theta)
    noise = np.sqrt(mu + mu**2 / size(model.cells.pixels))
    keep = model.cells.counts - mu < OUTLIER * noise + 1
    if keep.all():
        return None
    cells = model.cells.take(np.flatnonzero(keep))
    return Model(
        cells,
        Null.of(cells, image.centre),
        *_placed(cells, [c.start for c in model.cavities], image),
        *(model.mean, model.width, model.low, model.high),
    )


def _placed(
    cells: Cells, starts: Sequence[Start], image: FieldImage
) -> tuple[list[Cavity], list[NDArray[np.int64]]]:
    """Candidates on the cells near them, and which cells these are."""
    near = [_near(cells, s.first) for s in starts]
    middles = [Shares.of(image.halo, np.array([s.x]), np.array([s.y])) for s in starts]
    cavities = [
        Cavity.of(s, cells.take(rows), image.centre, middle)
        for s, rows, middle in zip(starts, near, middles, strict=True)
    ]
    return cavities, near


def _near(cells: Cells, ellipse: Ellipse) -> NDArray[np.int64]:
    """Cells that a candidate's shadow can reach; about as far as they are small for it."""
    wide = replace(
        ellipse, semi_major=ellipse.semi_major + 1.5, semi_minor=ellipse.semi_minor + 1.5
    )
    return np.flatnonzero(wide.squared_radius(cells.x, cells.y) < REACH**2)
