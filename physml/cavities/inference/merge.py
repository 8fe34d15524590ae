"""Detections at several binnings of one image, joined into one list of cavities.

A cavity of 12 input pixels is seen at binnings 1, 2 and 3, one of 60 pixels at 3, 4 and 6. Each
binning is a look of its own at nearly the same photons. A cavity is kept once, with the shape from
the binning that resolves it best. Its probability is that of all binnings that could have seen it:
the evidence (log odds) of the surest, less a part of how far the others fall short of it, weighted
by how well they resolve the place. The part is fitted, and so small that a binning that is sure
stays believed where all others are silent: a cavity blurred in one binning, or lost there beside
structure that another leaves out, is no less a cavity. A mean of probabilities cannot do both: the
plain one halves the probability of a cavity that one of two binnings misses, one of high order
takes no notice of the other.

How the answers of several binnings go together depends on the networks: `Merging` holds what was
fitted for one set of weights, on simulated images wider than a field (`learning.merging`), and is
read from their card. Cards of before that rule have no `dissent`; with them the *support* is a mean
of the probabilities, of some order, and the probability the support, calibrated.
``benchmarks/cavities_merging.py`` prints what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

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
#: Log odds at most, either way, that count: beyond 0.001 and 0.999 probabilities tell nothing more.
LARGEST_LOGIT = float(np.log(999))


@dataclass(frozen=True)
class Merging:
    """Constants of the merging that belong to one set of weights.

    Attributes
    ----------
    order : float
        Order of the mean over binnings: 1 the plain mean, infinity the largest. Without `dissent`
        only.
    silence : float
        Probability where a binning that sees the place reports nothing (its list ends at 0.05).
    same_ratio : float
        Largest ratio of the radii of two detections, one in the other, that are one cavity: old
        cavities are seen through and around young ones, and must not vanish in them.
    offset, slope : float
        From the logit of the largest probability (of the support, without `dissent`) to the logit
        of the joint one.
    fitted : bool
        Whether these were fitted for the weights, or are what stands here.
    dissent : float or None
        Share of the others' mean shortfall in log odds that is taken off; None for the mean of
        probabilities.
    """

    order: float = 4.0
    silence: float = 0.02
    same_ratio: float = 2.5
    offset: float = 0.0
    slope: float = 1.0
    fitted: bool = False
    dissent: float | None = None

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
        # Cards of before hold the order of a mean of probabilities.
        how = "dissent" if isinstance(given, Mapping) and "dissent" in given else "order"
        names = ("silence", "same_ratio", "offset", "slope", how)
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
            and (own.dissent is None or own.dissent >= 0)
        )
        if own is None or not sound:
            raise InputError.expected(
                "weights", f"'merging' with sound numbers {', '.join(names)}", repr(given)
            )
        return own

    def constants(self) -> dict[str, float]:
        """Constants as a card holds them; `of` reads it."""
        how = ("order",) if self.dissent is None else ("dissent",)
        return {n: getattr(self, n) for n in (*how, "silence", "same_ratio", "offset", "slope")}

    def support(self, said: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
        """Mean of the probabilities of several binnings, of some order, before its calibration.

        Parameters
        ----------
        said : ndarray, shape (k,)
            Probability at each binning that could have seen the place.
        weight : ndarray, shape (k,)
            How well each resolves it.
        """
        mean = (weight * said**self.order).sum() / weight.sum()
        return float(min(mean ** (1 / self.order), 1 - 1e-9))

    def probability(self, said: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
        """Probability of a cavity that several binnings could have seen; see `support`."""
        if self.dissent is None:
            support = self.support(said, weight)
            joint_logit = self.offset + self.slope * np.log(support / (1 - support))
        else:
            surest, shortfall = evidence(said, weight)
            joint_logit = self.offset + self.slope * surest + self.dissent * shortfall
        return float(1 / (1 + np.exp(-joint_logit)))


def evidence(said: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Log odds of the surest binning, and the mean of all binnings' log odds less that.

    Parameters
    ----------
    said, weight : ndarray, shape (k,)
        See `Merging.support`.

    Returns
    -------
    surest, shortfall : float
        The second is 0 where all agree, else negative.
    """
    p = np.clip(said, 1e-12, 1 - 1e-12)
    logits = np.clip(np.log(p / (1 - p)), -LARGEST_LOGIT, LARGEST_LOGIT)
    surest = logits.max()
    return float(surest), float((weight * (logits - surest)).sum() / weight.sum())


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
    seen, said, weight = looks(head, fields, merging.silence)
    # One binning alone is calibrated already.
    probability = merging.probability(said, weight) if len(seen) > 1 else float(said[0])
    support = merging.support(said, weight) if merging.dissent is None else probability
    return replace(head, support=support, probability=probability, seen_at=seen)


def looks(
    head: Candidate, fields: Sequence[Field], silence: float
) -> tuple[tuple[int, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Evidence for a cavity from all binnings that could have seen it.

    Parameters
    ----------
    head : Candidate
        From `group`.
    fields : sequence of Field
        The fields that were searched.
    silence : float
        Probability where a binning reports nothing.

    Returns
    -------
    seen : tuple of int
        The binnings.
    said : ndarray, shape (k,)
        Probability at each.
    weight : ndarray, shape (k,)
        How well each resolves it.
    """
    reported: dict[int, float] = {head.scale: head.probability}
    for member in head.members:
        reported[member.scale] = max(reported.get(member.scale, 0.0), member.probability)
    seen = tuple(f.scale for f in fields if f.scale in reported or sees(f, head))
    said = np.array([reported.get(k, silence) for k in seen])
    weight = np.array([resolution_weight(head.radius, k) for k in seen])
    # The kept one always counts, however far from the best radius it lies.
    own = seen.index(head.scale)
    weight[own] = max(weight[own], 1e-3)
    return seen, said, weight
