"""Matches between predicted and true cavities.

Candidates are taken in order of falling probability; each takes the free true cavity with which
it overlaps best, if it overlaps enough. In this order the matches above any threshold are a part
of the matches above a lower one, so that one matching serves every threshold: a true cavity is
found at threshold t when the candidate matched to it has a probability of at least t.

Two rules stand side by side. ``STRICT`` is ours: intersection over union of at least 0.3, and one
detection in an image without cavities is a false alarm. ``LENIENT`` is that of Plsek et al.
(2024, MNRAS 527, 3315): 5 % of the true area covered make a hit, and an image without cavities
is a false alarm only from two detections on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .energetics import volume

#: Probability of a further cavity in an image that has a sure one: more likely than not. A
#: definition, for any weights, since probabilities are calibrated; see `decision_scores`.
COMPANION = 0.5

#: Candidates and true cavities that share a pixel, by their rows.
PAIR_DTYPE = np.dtype([("candidate", "i8"), ("cavity", "i8"), ("iou", "f8"), ("covered", "f8")])
#: Candidates of a set; the score is a probability.
CANDIDATE_DTYPE = np.dtype(
    [("image", "i8"), ("label", "i8")]
    + [(name, "f8") for name in ("score", "x", "y", "radius", "radius_err", "volume")]
)


@dataclass(frozen=True)
class Rule:
    """Definition of a hit and of a false alarm.

    Attributes
    ----------
    name : str
    measure : {"iou", "covered"}
        Intersection over union, or share of the true area that is covered.
    minimum : float
        Smallest value of the measure that makes a hit.
    alarm : int
        Number of detections from which an image without cavities is a false alarm.
    """

    name: str
    measure: Literal["iou", "covered"]
    minimum: float
    alarm: int


STRICT = Rule("strict", "iou", 0.3, 1)
LENIENT = Rule("lenient", "covered", 0.05, 2)


@dataclass(frozen=True)
class ScoredSet:
    """Truth and candidates of one evaluation set, and how they overlap.

    Attributes
    ----------
    counts : ndarray, shape (n,)
        Total counts of each image.
    cavities : structured ndarray, shape (t,)
        True cavities that are present and visible: ``image``, ``label`` and the columns of the
        simulator's table.
    candidates : structured ndarray, shape (c,)
        `CANDIDATE_DTYPE`; ``score`` is the probability.
    pairs : structured ndarray
        `PAIR_DTYPE`: rows of ``candidates`` and ``cavities`` that share a pixel.
    companion : float, optional
        The detector's rule for further cavities in an image, see `decision_scores`.
    """

    counts: NDArray[np.float64]
    cavities: NDArray[Any]
    candidates: NDArray[Any]
    pairs: NDArray[Any]
    companion: float | None = None

    @cached_property
    def decision(self) -> NDArray[np.float64]:
        """Highest threshold at which each candidate is a detection, shape (c,)."""
        c = self.candidates
        return decision_scores(c["score"], c["image"], self.companion)

    def detected(self, threshold: float | NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether candidates are detections at a threshold, for all or each image, shape (c,)."""
        limit = np.broadcast_to(np.asarray(threshold, np.float64), (self.n_images,))
        return self.decision >= limit[self.candidates["image"]]

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.counts)

    def subset(self, keep: NDArray[np.bool_]) -> ScoredSet:
        """Only the images for which ``keep`` (n,) is true, renumbered."""
        number = np.cumsum(keep) - 1
        tables, rows = {}, {}
        for name in ("cavities", "candidates"):
            table = getattr(self, name)
            stays = keep[table["image"]]
            rows[name] = np.where(stays, np.cumsum(stays) - 1, -1)
            tables[name] = table[stays].copy()
            tables[name]["image"] = number[tables[name]["image"]]
        pairs = self.pairs.copy()
        pairs["candidate"] = rows["candidates"][pairs["candidate"]]
        pairs["cavity"] = rows["cavities"][pairs["cavity"]]
        pairs = pairs[pairs["candidate"] >= 0]
        return replace(self, counts=self.counts[keep], pairs=pairs, **tables)


def true_cavities(table: NDArray[Any], mask: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """Cavities that an observer could see.

    Parameters
    ----------
    table : structured ndarray, shape (n, k)
        The simulator's table of cavities; row k of image i is instance k + 1 of its mask.
    mask : ndarray of int, shape (n, H, W)
        Instance mask.

    Returns
    -------
    structured ndarray, shape (t,)
        The rows that are present, visible and own a pixel, with ``image`` and ``label`` before
        their columns.
    """
    instances = range(1, table.shape[1] + 1)
    owned = np.stack([(mask == k).any(axis=(1, 2)) for k in instances], axis=1)
    image, row = np.nonzero(table["present"] & table["visible"] & owned)
    dtype = np.dtype([("image", "i8"), ("label", "i8"), *table.dtype.descr])
    out = np.empty(len(image), dtype)
    out["image"], out["label"] = image, row + 1
    for name in table.dtype.names or ():
        out[name] = table[name][image, row]
    return out


def overlaps(
    predicted: NDArray[np.integer[Any]], true: NDArray[np.integer[Any]]
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Overlap of all instances of one image.

    Parameters
    ----------
    predicted, true : ndarray of int, shape (H, W)
        Instance images, 0 outside.

    Returns
    -------
    labels : ndarray, shape (m, 2)
        Predicted and true label of each pair that shares a pixel.
    iou, covered : ndarray, shape (m,)
        Intersection over union, and intersection over true area.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if predicted.shape != true.shape:
        raise ValueError(f"label images of shapes {predicted.shape} and {true.shape}")
    p, t = predicted.ravel().astype(np.int64), true.ravel().astype(np.int64)
    area_p, area_t = np.bincount(p), np.bincount(t)
    both = (p > 0) & (t > 0)
    pairs, common = np.unique(np.stack([p[both], t[both]], axis=1), axis=0, return_counts=True)
    a, b = area_p[pairs[:, 0]], area_t[pairs[:, 1]]
    return pairs, common / (a + b - common), common / b


def scored_set(
    counts: NDArray[Any],
    cavities: NDArray[Any],
    true: NDArray[np.integer[Any]],
    candidates: NDArray[Any],
    predicted: NDArray[np.integer[Any]],
    companion: float | None = None,
) -> ScoredSet:
    """Truth and candidates of a set, and how they overlap.

    Parameters
    ----------
    counts : ndarray, shape (n,)
    cavities : structured ndarray, shape (t,)
        From `true_cavities`.
    true, predicted : ndarray of int, shape (n, H, W)
        Instance images.
    candidates : structured ndarray, shape (c,)
        `CANDIDATE_DTYPE`; ``label`` refers to ``predicted``.
    companion : float, optional
        See `decision_scores`.
    """
    row_of: dict[tuple[str, int, int], int] = {}
    for kind, table in (("candidate", candidates), ("cavity", cavities)):
        places = table[["image", "label"]].tolist()
        row_of |= {(kind, *place): row for row, place in enumerate(places)}
    pairs = []
    for i in np.unique(cavities["image"]).tolist():
        labels, iou, covered = overlaps(predicted[i], true[i])
        for (p, t), u, c in zip(labels.tolist(), iou, covered, strict=True):
            rows = row_of.get(("candidate", i, p)), row_of.get(("cavity", i, t))
            if None not in rows:
                pairs.append((*rows, u, c))
    return ScoredSet(
        np.asarray(counts, np.float64), cavities, candidates, np.array(pairs, PAIR_DTYPE), companion
    )


def decision_scores(
    score: NDArray[np.float64], image: NDArray[np.int64], companion: float | None
) -> NDArray[np.float64]:
    """Highest threshold at which each candidate is a detection.

    Without a rule for companions that is its score. With one, a candidate of at least that
    score is detected as soon as the best one of its image is: the threshold guards images
    without cavities, and where one is sure, the next is a matter of more likely than not.

    Parameters
    ----------
    score, image : ndarray, shape (c,)
        Probability, and number of the image.
    companion : float or None
        Smallest probability of a further detection.
    """
    if companion is None or len(score) == 0:
        return np.asarray(score, np.float64)
    best = np.full(image.max() + 1, -np.inf)
    np.maximum.at(best, image, score)
    return np.where(score >= companion, best[image], score)


def match(scored: ScoredSet, rule: Rule = STRICT) -> NDArray[np.int64]:
    """Match candidates to true cavities, one to one.

    Returns
    -------
    ndarray of int, shape (c,)
        Row of the true cavity that each candidate found, -1 for a false one.
    """
    pairs = scored.pairs[scored.pairs[rule.measure] >= rule.minimum]
    score = scored.candidates["score"][pairs["candidate"]]
    found = np.full(len(scored.candidates), -1, np.int64)
    taken = np.zeros(len(scored.cavities), bool)
    for p in np.lexsort((-pairs[rule.measure], -score)):
        candidate, cavity = pairs["candidate"][p], pairs["cavity"][p]
        if found[candidate] < 0 and not taken[cavity]:
            found[candidate] = cavity
            taken[cavity] = True
    return found


def matched(
    scored: ScoredSet, threshold: float | NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of the true cavities that are found at a threshold, and of what found them."""
    pair = match(scored)
    used = (pair >= 0) & scored.detected(threshold)
    return scored.cavities[pair[used]], scored.candidates[used]


def candidates_of(tables: Iterable[Table]) -> NDArray[Any]:
    """Candidates of a set (`CANDIDATE_DTYPE`) from the table of each of its images.

    Parameters
    ----------
    tables : iterable of Table
        Row k of the table of image i is instance k + 1 of its label image.
    """
    columns = ("probability", "x", "y", "radius", "radius_err")
    rows = [
        (i, k, *(row[c] for c in columns), volume(row["semi_major"], row["semi_minor"]))
        for i, table in enumerate(tables)
        for k, row in enumerate(table, start=1)
    ]
    return np.array(rows, CANDIDATE_DTYPE)
