"""Constants of the merging of several binnings, fitted for one set of weights.

Images wider than the network's field are simulated for this alone and searched as a user's image
is. The joint probability is a logistic regression on the evidence of the binnings (`merge`), by
maximum likelihood under one condition: a binning that is sure stays believed where all others are
silent. How the detections are grouped, and what silence is worth (`Merging.same_ratio`, `silence`)
is what gives the best average precision of the merged list; one choice gives way to another only
where that is better by a thousandth and by the standard error of the difference. Beside the
constants the card keeps what was seen with them: calibration error, false alarms, how often those
candidates are cavities that are listed without being sure, and those that one binning alone sees.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize
from scipy.special import expit

from physml.random import stream

from ..inference.candidate import Candidate
from ..inference.detector import CavityDetector
from ..inference.evidence import Merging, evidence
from ..inference.merge import group, joint, looks
from ..settings import SimulateSettings
from .judged import average_precision, check, judge, match, merge_all, shared_with_truth
from .wide_images import Searched, search_wide

log = logging.getLogger(__name__)

#: Number of the first image that only calibrates the merging.
MERGING_FIRST = 20_000_000
#: Values that are tried; the first are the standard ones.
SILENCES = (0.02, 0.005, 0.01, 0.05)
RATIOS = (2.5, 2.0, 1.5, 1.25, 3.5, 5.0)
#: Smallest gain in average precision for which another choice is taken.
MATTERS = 0.001
#: Resamples of whole images for the standard error of a difference.
RESAMPLES = 200
#: Probability, printed as 1.00, of a binning that is sure, and the least that is left of it where
#: all others are silent.
ALONE, LEFT = 0.995, 0.9
#: Offset, slope and dissent before anything was seen, the surest binning's own evidence, and the
#: width of their prior: where hardly anything was found, nothing is learned.
START, PRIOR = np.array([0.0, 1.0, 0.0]), 2.0


def calibrate_merging(
    detector: CavityDetector, simulate: SimulateSettings, seed: int, images: int
) -> dict[str, Any]:
    """Fit the merging for a calibrated detector, and put it into the detector's card.

    Parameters
    ----------
    detector : CavityDetector
        Calibrated on single fields, with thresholds.
    simulate : SimulateSettings
        Of the images that it was trained with.
    seed : int
        Root of the random streams.
    images : int
        Number of simulated images; none of their numbers belongs to another set.

    Returns
    -------
    dict
        ``merging`` for the card.
    """
    numbers = range(MERGING_FIRST, MERGING_FIRST + images)
    searched = list(search_wide(detector, simulate, seed, numbers))
    merging = fit_merging(searched, seed)
    card = {
        **merging.constants(),
        "images": images,
        "before": check(merge_all(searched, replace(merging, offset=0.0, slope=1.0))),
        "after": check(merge_all(searched, merging)),
    }
    detector.card["merging"] = card
    log.info("merging: %s", card)
    return card


def fit_merging(searched: Sequence[Searched], seed: int) -> Merging:
    """Constants that merge the detections of these images best.

    Parameters
    ----------
    searched : sequence of Searched
    seed : int
        Of the resamples for the standard error.
    """
    draws = stream(seed, "bootstrap", MERGING_FIRST).multinomial(
        len(searched), np.full(len(searched), 1 / len(searched)), RESAMPLES
    )
    weights = np.concatenate([np.ones((1, len(searched))), draws])
    number = np.array([len(one.cavities) for one in searched], float)
    best: Merging | None = None
    first = reached = np.zeros(len(weights))
    for ratio in RATIOS:
        heads = [group(one.found, ratio) for one in searched]
        shared = shared_with_truth(searched, heads)
        for silence in SILENCES:
            start = Merging(silence=silence, same_ratio=ratio, dissent=0.0, fitted=True)
            merging = fit_evidence(searched, heads, shared, start)
            merged = judge(searched, heads, shared, merging)
            precision = average_precision(merged, weights, number)
            if best is None:
                best, first, reached = merging, precision, precision
            gain = precision - reached
            if gain[0] > max(MATTERS, float(gain[1:].std())):
                best, reached = merging, precision
    assert best is not None
    log.info("merging: average precision %.4f, at first %.4f: %s", reached[0], first[0], best)
    return best


def fit_evidence(
    searched: Sequence[Searched],
    heads: Sequence[list[Candidate]],
    shared: Sequence[NDArray[np.float64]],
    merging: Merging,
) -> Merging:
    """Offset, slope and dissent of the joint log odds, for one grouping and value of silence.

    The likelihood is the greatest under the condition that a probability of `ALONE` is left at
    `LEFT` or more by binnings that are silent; where not even agreement makes as much of it,
    nothing is taken off. Which candidates are true depends on their order, and so on the fit: it
    is made twice.

    Parameters
    ----------
    searched : sequence of Searched
    heads : sequence of lists of Candidate
        Each image's from `group`.
    shared : sequence of ndarray
        Intersection over union of each image's candidates with its true cavities.
    merging : Merging
        Gives grouping and silence, and where the fit starts.
    """
    seen = [
        [looks(head, one.fields, merging.silence) for head in of_image]
        for one, of_image in zip(searched, heads, strict=True)
    ]
    columns = np.array(
        [(1.0, *evidence(p, w)) for of_image in seen for _, p, w in of_image], float
    ).reshape(-1, 3)
    several = np.array([len(scales) > 1 for of_image in seen for scales, _, _ in of_image], bool)
    if not several.any():
        return merging
    surest, shortfall = evidence(np.array([ALONE, merging.silence]), np.array([0.0, 1.0]))
    left = LinearConstraint([[1.0, surest, shortfall]], lb=np.log(LEFT / (1 - LEFT)))
    for _ in range(2):
        true = np.concatenate(
            [
                match(np.array([joint(h, one.fields, merging).support for h in of_image]), iou)
                for one, of_image, iou in zip(searched, heads, shared, strict=True)
            ]
        )
        signed = np.where(true[several], 1.0, -1.0)[:, None] * columns[several]
        at = _most_likely(signed, 0.0)
        if (left.A @ at >= left.lb).all():
            at = _most_likely(signed, np.inf, left)
        offset, slope, dissent = (float(a) for a in at)
        merging = replace(merging, offset=offset, slope=slope, dissent=dissent)
    return merging


def _most_likely(
    signed: NDArray[np.float64], most: float, *conditions: LinearConstraint
) -> NDArray[np.float64]:
    """Offset, slope and dissent, the last at most so large, of a logistic regression.

    Parameters
    ----------
    signed : ndarray, shape (m, 3)
        1, the surest's log odds, and the shortfall; times -1 for candidates that are false.
    most : float
    *conditions : LinearConstraint
    """

    def cost(a: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = signed @ a
        prior = (a - START) / PRIOR
        slopes = -(signed * expit(-margin)[:, None]).sum(0) + prior / PRIOR
        return float(np.logaddexp(0, -margin).sum() + 0.5 * (prior**2).sum()), slopes

    bounds = Bounds([-np.inf, 0.1, 0.0], [np.inf, np.inf, most])
    fit = minimize(cost, START, jac=True, method="SLSQP", bounds=bounds, constraints=conditions)
    return np.asarray(fit.x)
