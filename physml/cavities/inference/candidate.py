"""A detection on the pixels of the input image, whatever the binning that it was made at."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table

from ..core.ellipse import Ellipse
from .fields import Field


@dataclass(frozen=True)
class Candidate(Ellipse):
    """A detection in input pixels.

    Attributes
    ----------
    radius, radius_err : float
        Size and its error [pixel]; for the rest see `Ellipse`.
    area : float
        Area of its label [pixel^2].
    decrement, snr, probability : float
        As the detector gives them; after merging, `probability` is that of all binnings.
    support : float
        After merging, what candidates are ranked by: the probability, or with cards without
        `dissent` the mean of the probabilities of all binnings before its calibration.
    position_err, decrement_err : float or None
        Errors of the centre along each axis [pixel] and of the decrement, where the detector
        measures them.
    scale : int
        Binning of the kept detection.
    row : int
        Row of the kept detection in that binning's table.
    members : tuple of Candidate
        Detections of the same cavity at other binnings.
    seen_at : tuple of int
        Binnings that could have seen it.
    """

    radius: float
    radius_err: float
    area: float
    decrement: float
    snr: float
    probability: float
    scale: int
    row: int
    support: float = 0.0
    position_err: float | None = None
    decrement_err: float | None = None
    members: tuple[Candidate, ...] = field(default=(), repr=False)
    seen_at: tuple[int, ...] = ()

    @property
    def found_at(self) -> tuple[int, ...]:
        """Binnings at which it was found."""
        return tuple(sorted({self.scale, *(m.scale for m in self.members)}))


def from_table(field: Field, table: Table) -> list[Candidate]:
    """Rows of a detector's table, moved from field to input pixels.

    Parameters
    ----------
    field : Field
    table : Table
        As in `Detection`.
    """
    out = []
    k = field.scale
    for row in range(len(table)):
        value = {name: float(table[name][row]) for name in table.colnames}
        x, y = field.to_image(value["x"], value["y"])
        # The radius is decoded with care, the axes give the shape: sqrt(ab) has to be the radius.
        stretch = value["radius"] / np.sqrt(value["semi_major"] * value["semi_minor"])
        axes = [stretch * value["semi_major"], stretch * value["semi_minor"]]
        position_err = value.get("position_err")
        out.append(
            Candidate(
                x=float(x),
                y=float(y),
                semi_major=k * max(axes),
                semi_minor=k * min(axes),
                radius=k * value["radius"],
                radius_err=k * value["radius_err"],
                area=k * k * value["area"],
                position_err=None if position_err is None else k * position_err,
                decrement_err=value.get("decrement_err"),
                theta=value["theta"],
                decrement=value["decrement"],
                snr=value["snr"],
                probability=value["probability"],
                scale=k,
                row=row,
            )
        )
    return out
