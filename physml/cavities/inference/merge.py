"""Detections at several binnings of one image, joined into one list of cavities.

A cavity of 12 input pixels is seen at binnings 1, 2 and 3, one of 60 pixels at 3, 4 and 6. Each
binning is a look of its own at nearly the same photons. A cavity is kept once, with the shape from
the binning that resolves it best. Its *support* is a mean over all binnings that could have seen
it, weighted by how well they resolve it, of an order so high that it lies near the largest: a
binning that resolves a cavity badly, or sees it beside structure that another leaves out, says
little against it. (A plain mean loses a tenth of the cavities at the same rate of false alarms.)
The support is compared with the detector's threshold; the probability is the support, calibrated.

How the answers of several binnings go together depends on the networks: `Merging` holds what was
fitted for one set of weights, on simulated images wider than a field (`learning.merging`), and is
read from their card. ``benchmarks/cavities_merging.py`` prints what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.table import Table

from physml.exceptions import InputError

from ..core.ellipse import Ellipse, overlap
from .fields import Field

#: Radius at which the network resolves a cavity best [field pixel]: about the geometric mean of the
#: radii that it is trained with (3 to 40), towards the larger, which show more of their shape.
BEST_RADIUS = 14.0
#: Spread of ln(radius) about it: a factor 1.5, so that neighbouring binnings share a cavity.
RADIUS_SPREAD = 0.4
#: Intersection over union from which two ellipses are one cavity: the usual match criterion.
SAME_IOU = 0.3
#: Part of the smaller ellipse inside the larger one from which they are one cavity if their radii
#: agree within `Merging.same_ratio`: more than half, as a definition of "the same place".
SAME_PART = 0.6


@dataclass(frozen=True)
class Merging:
    """Constants of the merging that belong to one set of weights.

    Attributes
    ----------
    order : float
        Order of the mean over binnings: 1 the plain mean, infinity the largest.
    silence : float
        Probability where a binning that sees the place reports nothing (its list ends at 0.05).
    same_ratio : float
        Largest ratio of the radii of two detections, one in the other, that are one cavity: old
        cavities are seen through and around young ones, and must not vanish in them.
    offset, slope : float
        From the logit of the support to the logit of the joint probability.
    fitted : bool
        Whether these were fitted for the weights, or are what stands here.
    """

    order: float = 4.0
    silence: float = 0.02
    same_ratio: float = 2.5
    offset: float = 0.0
    slope: float = 1.0
    fitted: bool = False

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Merging:
        """Constants from a card; without calibration where it has none.

        Raises
        ------
        InputError
            Numbers are missing or out of range.
        """
        given = card.get("merging")
        if given is None:
            return cls()
        names = ("order", "silence", "same_ratio", "offset", "slope")
        try:
            own = cls(**{name: float(given[name]) for name in names}, fitted=True)
        except (KeyError, TypeError, ValueError):
            own = None
        sound = own is not None and (
            np.isfinite([getattr(own, name) for name in names]).all()
            and own.order > 0
            and 0 < own.silence < 1
            and own.same_ratio >= 1
            and own.slope > 0
        )
        if own is None or not sound:
            raise InputError.expected(
                "weights", f"'merging' with sound numbers {', '.join(names)}", repr(given)
            )
        return own

    def probability(self, support: float) -> float:
        """Probability of a cavity that several binnings could have seen."""
        logit = self.offset + self.slope * np.log(support / (1 - support))
        return float(1 / (1 + np.exp(-logit)))


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


def merge(
    fields: Sequence[Field],
    found: Sequence[Sequence[Candidate]],
    merging: Merging = Merging(),
) -> list[Candidate]:
    """One list of cavities from the detections at all binnings, most probable first.

    Parameters
    ----------
    fields : sequence of Field
        The fields that were searched.
    found : sequence of lists of Candidate
        Detections in each, in input pixels.
    merging : Merging
        Constants of the weights.
    """
    merged = [joint(head, fields, merging) for head in group(found, merging.same_ratio)]
    return sorted(merged, key=lambda c: -c.probability)


def group(found: Sequence[Sequence[Candidate]], same_ratio: float) -> list[Candidate]:
    """Detections that are one cavity, each time as members of the one that resolves it best.

    Parameters
    ----------
    found : sequence of lists of Candidate
        Detections in each field, in input pixels.
    same_ratio : float
        See `Merging`.
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
            same = iou >= SAME_IOU or (part >= SAME_PART and ratio <= same_ratio)
            if same and iou + part > best:
                best, index = iou + part, i
        if index < 0:
            heads.append(candidate)
        else:
            head = heads[index]
            heads[index] = replace(head, members=(*head.members, candidate))
    return heads


def joint(head: Candidate, fields: Sequence[Field], merging: Merging) -> Candidate:
    """Cavity with the support and the probability of all binnings that could have seen it.

    Parameters
    ----------
    head : Candidate
        From `group`.
    fields : sequence of Field
        The fields that were searched.
    merging : Merging
        Constants of the weights.
    """
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
        total += weight * reported.get(field_.scale, merging.silence) ** merging.order
        weights += weight
    support = min((total / weights) ** (1 / merging.order), 1 - 1e-9)
    # One binning alone is calibrated already.
    probability = merging.probability(support) if len(seen) > 1 else support
    return replace(head, support=support, probability=probability, seen_at=tuple(seen))
