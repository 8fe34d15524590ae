"""Merged detections beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physml.evaluation.calibration import FOREGROUND, Reliability

from ..core.ellipse import overlap
from ..core.matching import COMPANION, STRICT
from ..inference.candidate import Candidate
from ..inference.evidence import Merging
from ..inference.merge import group, joint
from ..inference.search import LISTED, is_sure
from .wide_images import Searched

#: Probability from which a binning that alone sees a cavity is counted in `check`.
CLEAR = 0.9


@dataclass(frozen=True)
class Merged:
    """Merged candidates of many images, one entry each.

    Attributes
    ----------
    image : ndarray of int, shape (m,)
        Number of the image.
    support, probability : ndarray, shape (m,)
    several : ndarray of bool, shape (m,)
        Whether several binnings could have seen it.
    alone : ndarray of bool, shape (m,)
        Whether one of them alone did, with a probability of at least `CLEAR`.
    true : ndarray of bool, shape (m,)
        Whether it is matched to a true cavity.
    sure : ndarray of bool, shape (m,)
        Whether it passes the detector's threshold, see `search.is_sure`.
    images, cavities, empty : int
        Numbers of images, of true cavities, and of images without any.
    """

    image: NDArray[np.int64]
    support: NDArray[np.float64]
    probability: NDArray[np.float64]
    several: NDArray[np.bool_]
    alone: NDArray[np.bool_]
    true: NDArray[np.bool_]
    sure: NDArray[np.bool_]
    images: int
    cavities: int
    empty: NDArray[np.bool_]


def merge_all(searched: Sequence[Searched], merging: Merging) -> Merged:
    """Merge the detections of many images, and match them to the truth.

    Parameters
    ----------
    searched : sequence of Searched
    merging : Merging
    """
    heads = [group(one.found, merging.same_ratio) for one in searched]
    return judge(searched, heads, shared_with_truth(searched, heads), merging)


def shared_with_truth(
    searched: Sequence[Searched], heads: Sequence[list[Candidate]]
) -> list[NDArray[np.float64]]:
    """Intersection over union of each image's candidates with its true cavities."""
    return [
        np.array([[overlap(c, t)[0] for t in one.cavities] for c in of_image], float).reshape(
            len(of_image), len(one.cavities)
        )
        for one, of_image in zip(searched, heads, strict=True)
    ]


def judge(
    searched: Sequence[Searched],
    heads: Sequence[list[Candidate]],
    shared: Sequence[NDArray[np.float64]],
    merging: Merging,
) -> Merged:
    """Merged detections of grouped candidates; the other arguments as `merge_all` makes them."""
    rows: list[tuple[float, ...]] = []
    for number, (one, of_image, iou) in enumerate(zip(searched, heads, shared, strict=True)):
        merged = [joint(head, one.fields, merging) for head in of_image]
        support = np.array([c.support for c in merged])
        true = match(support, iou)
        rows += [
            (
                number,
                c.support,
                c.probability,
                len(c.seen_at) > 1,
                len(c.seen_at) > 1 and len(c.found_at) == 1 and of_image[k].probability >= CLEAR,
                true[k],
                is_sure(c.probability, one.thresholds[c.scale]),
            )
            for k, c in enumerate(merged)
        ]
    columns = np.array(rows, float).reshape(-1, 7).T
    image, support, probability, several, alone, hit, sure = columns
    return Merged(
        image.astype(np.int64),
        support,
        probability,
        several > 0,
        alone > 0,
        hit > 0,
        sure > 0,
        len(searched),
        sum(len(one.cavities) for one in searched),
        np.array([not one.cavities for one in searched]),
    )


def match(score: NDArray[np.float64], iou: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether candidates of an image are true, matched one to one in the order of their scores.

    Parameters
    ----------
    score : ndarray, shape (m,)
    iou : ndarray, shape (m, t)
        With each true cavity.
    """
    true = np.zeros(len(score), bool)
    free = np.array(iou, float)
    for k in np.argsort(-score, kind="stable"):
        if free.shape[1] and free[k].max() >= STRICT.minimum:
            true[k] = True
            free[:, np.argmax(free[k])] = 0
    return true


def average_precision(
    merged: Merged, weights: NDArray[np.float64], cavities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area under precision against recall of the list of all candidates, by falling support.

    Parameters
    ----------
    merged : Merged
    weights : ndarray, shape (r, images)
        How often each image counts, in each of r samples.
    cavities : ndarray, shape (images,)
        True cavities of each image.

    Returns
    -------
    ndarray, shape (r,)
        0 where there is no cavity.
    """
    order = np.argsort(-merged.support, kind="stable")
    each = weights[:, merged.image[order]]
    hits = each * merged.true[order]
    total = np.maximum(each.cumsum(1), 1e-9)
    precision = hits.cumsum(1) / total
    return (precision * hits).sum(1) / np.maximum(weights @ cavities, 1)


def check(merged: Merged) -> dict[str, float]:
    """Calibration, false alarms and unsure candidates, as seen with some constants.

    Returns
    -------
    dict
        ``calibration_error`` of the candidates that several binnings could have seen, from 0.05
        on; their number ``candidates``; ``empty`` images and how many were ``alarmed`` by a sure
        candidate; and of candidates that are listed without being sure, their number and how many
        are true: ``listed`` (at least `LISTED`, nothing sure beside them) and ``companions``
        (at least `COMPANION`, beside a sure one); ``alone``, those that one binning of several
        sees, clearly, and how many of them are true.
    """
    m = merged
    bins = Reliability()
    bins.add(m.probability[m.several], m.true[m.several])
    sure_image = np.zeros(m.images, bool)
    sure_image[m.image[m.sure]] = True
    beside = sure_image[m.image]
    listed = ~m.sure & ~beside & (m.probability >= LISTED)
    companions = ~m.sure & beside & (m.probability >= COMPANION)
    error = bins.ece(FOREGROUND)
    return {
        "calibration_error": float(error) if np.isfinite(error) else 0.0,
        "candidates": int((m.several & (m.probability >= FOREGROUND)).sum()),
        "empty": int(m.empty.sum()),
        "alarmed": int((sure_image & m.empty).sum()),
        "listed": int(listed.sum()),
        "listed_true": int(m.true[listed].sum()),
        "companions": int(companions.sum()),
        "companions_true": int(m.true[companions].sum()),
        "alone": int(m.alone.sum()),
        "alone_true": int(m.true[m.alone].sum()),
    }
