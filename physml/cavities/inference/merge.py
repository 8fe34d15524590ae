"""Detections at several binnings of one image, joined into one list of cavities.

A cavity of 12 input pixels is seen at binnings 1, 2 and 3, one of 60 pixels at 3, 4 and 6. Each
binning is a look of its own at nearly the same photons. A cavity is kept once, with the shape from
the binning that resolves it best. Its *support* is a mean over all binnings that could have seen
it, weighted by how well they resolve it, of an order so high that it lies near the largest: a
binning that resolves a cavity badly, or sees it beside structure that another leaves out, says
little against it. (A plain mean loses a tenth of the cavities at the same rate of false alarms.)
The support is compared with the detector's threshold; the probability is the support, calibrated
on 1,200 simulated images of 384 pixels with systems 1 to 3 times as large as those of the training
(calibration error 0.02; 6.6 % of those without cavities get a confident false one).
``benchmarks/cavities_merging.py`` prints what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table

from ..core.ellipse import Ellipse, overlap
from .fields import Field

#: Radius at which the network resolves a cavity best [field pixel]: mid-range of its training.
BEST_RADIUS = 14.0
#: Spread of ln(radius) about it.
RADIUS_SPREAD = 0.4
#: Order of the mean over binnings: 1 the plain mean, infinity the largest.
ORDER = 4.0
#: Probability where a binning that sees the place reports nothing (its list ends at 0.05).
SILENCE = 0.02
#: Offset and slope from the logit of that mean to the logit of the joint probability.
CALIBRATION = (-0.5, 1.2)
#: Intersection over union from which two ellipses are one cavity: the usual match criterion.
SAME_IOU = 0.3
#: Part of the smaller ellipse inside the larger one from which they are one cavity ...
SAME_PART = 0.6
#: ... if their radii agree within this factor: old cavities are seen through and around young ones
#: (NGC 5813 has three generations on one axis), and must not vanish in them.
SAME_RATIO = 2.5


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
        After merging, the mean of the probabilities of all binnings before its calibration:
        comparable to the detector's threshold.
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


def resolution_weight(radius: float, scale: int) -> float:
    """Resolution of a cavity of `radius` input pixels at a binning, 0 to 1."""
    return float(np.exp(-0.5 * (np.log(radius / scale / BEST_RADIUS) / RADIUS_SPREAD) ** 2))


def sees(field: Field, candidate: Candidate) -> bool:
    """Whether the whole ellipse lies in the field."""
    width, height = candidate.half_extent()
    corners = np.array([[-1, -1], [1, 1]]) * (width, height) + (candidate.x, candidate.y)
    return bool(np.all(field.contains(corners[:, 0], corners[:, 1])))


def merge(fields: Sequence[Field], found: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """One list of cavities from the detections at all binnings, most probable first.

    Parameters
    ----------
    fields : sequence of Field
        The fields that were searched.
    found : sequence of lists of Candidate
        Detections in each, in input pixels.
    """
    waiting = [c for detections in found for c in detections]
    waiting.sort(key=lambda c: -c.probability * resolution_weight(c.radius, c.scale))
    heads: list[Candidate] = []
    for candidate in waiting:
        best, index = 0.0, -1
        for i, head in enumerate(heads):
            # Two labels of one binning are two cavities: the network has told them apart.
            if head.scale == candidate.scale:
                continue
            iou, part = overlap(head, candidate)
            ratio = max(head.radius, candidate.radius) / min(head.radius, candidate.radius)
            same = iou >= SAME_IOU or (part >= SAME_PART and ratio <= SAME_RATIO)
            if same and iou + part > best:
                best, index = iou + part, i
        if index < 0:
            heads.append(candidate)
        else:
            head = heads[index]
            heads[index] = replace(head, members=(*head.members, candidate))
    merged = [_joint(head, fields) for head in heads]
    return sorted(merged, key=lambda c: -c.probability)


def _joint(head: Candidate, fields: Sequence[Field]) -> Candidate:
    """Cavity with the support and the probability of all binnings that could have seen it."""
    reported: dict[int, float] = {head.scale: head.probability}
    for member in head.members:
        reported[member.scale] = max(reported.get(member.scale, 0.0), member.probability)
    total = weights = 0.0
    seen = []
    for field_ in fields:
        if field_.scale not in reported and not sees(field_, head):
            continue
        seen.append(field_.scale)
        weight = resolution_weight(head.radius, field_.scale)
        # The kept one always counts, however far from the best radius it lies.
        weight = max(weight, 1e-3) if field_.scale == head.scale else weight
        total += weight * reported.get(field_.scale, SILENCE) ** ORDER
        weights += weight
    support = min((total / weights) ** (1 / ORDER), 1 - 1e-9)
    probability = support
    if len(seen) > 1:  # one binning alone is calibrated already
        offset, slope = CALIBRATION
        logit = offset + slope * np.log(support / (1 - support))
        probability = float(1 / (1 + np.exp(-logit)))
    return replace(head, support=support, probability=probability, seen_at=tuple(seen))
