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

How the answers of several binnings go together depends on the networks, see `evidence.Merging`.
``benchmarks/cavities_merging.py`` prints what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..core.ellipse import overlap
from .candidate import Candidate
from .evidence import UNFITTED, Merging
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
    merging: Merging = UNFITTED,
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
