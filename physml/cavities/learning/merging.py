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

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize
from scipy.special import expit

from physml.evaluation.calibration import FOREGROUND, Reliability
from physml.random import stream

from ..core.ellipse import Ellipse, overlap
from ..core.halo import find_centre
from ..core.matching import COMPANION, STRICT
from ..data.loading import load_observation
from ..data.observation import Observation
from ..inference.candidate import Candidate, from_table
from ..inference.detector import CavityDetector
from ..inference.evidence import Merging, evidence
from ..inference.fields import FIELD, Field, choose_scales
from ..inference.merge import group, joint, looks
from ..inference.search import LISTED, is_sure, search
from ..settings import SimulateSettings
from ..simulator.batch import POINT_SOURCE, simulate_batch

log = logging.getLogger(__name__)

#: Number of the first image that only calibrates the merging.
MERGING_FIRST = 20_000_000
#: Sides of the images in turn, in fields of the network: two, three and four binnings.
SIDES = (2, 3, 4)
#: Images searched together.
TOGETHER = 12
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
#: Probability from which a binning that alone sees a cavity is counted in `check`.
CLEAR = 0.9
#: Offset, slope and dissent before anything was seen, the surest binning's own evidence, and the
#: width of their prior: where hardly anything was found, nothing is learned.
START, PRIOR = np.array([0.0, 1.0, 0.0]), 2.0


@dataclass(frozen=True)
class Searched:
    """One simulated image after its search, before the merging.

    Attributes
    ----------
    fields : list of Field
        Where they lie; their maps are gone.
    found : list of lists of Candidate
        Detections in each.
    thresholds : dict of float
        The detector's threshold at each binning.
    cavities : list of Ellipse
        True cavities that can be seen.
    """

    fields: list[Field]
    found: list[list[Candidate]]
    thresholds: dict[int, float]
    cavities: list[Ellipse]


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


def wide_settings(simulate: SimulateSettings, fields: int) -> SimulateSettings:
    """Settings of images of so many fields a side, with systems up to as many times as large."""

    def stretched(limits: tuple[float, float]) -> tuple[float, float]:
        return limits[0], limits[1] * fields

    s = simulate
    wide = {
        "halo": ("core_radius", "inner_core_radius"),
        "cavities": ("distance", "radius"),
        "nuisance": ("front_radius", "slosh_height"),
    }
    changed: dict[str, Any] = {
        part: (prior := getattr(s, part)).model_copy(
            update={name: stretched(getattr(prior, name)) for name in names}
        )
        for part, names in wide.items()
    }
    return s.model_copy(update={"image_size": FIELD * fields, **changed})


def search_wide(
    detector: CavityDetector, simulate: SimulateSettings, seed: int, numbers: Iterable[int]
) -> Iterator[Searched]:
    """Simulate and search images wider than a field.

    Parameters
    ----------
    detector : CavityDetector
    simulate : SimulateSettings
        Of the detector's training.
    seed : int
    numbers : iterable of int
        Numbers of the images: each says the size and whether the background is known, too.
    """
    settings = {n: wide_settings(simulate, n) for n in SIDES}
    waiting = iter(numbers)
    done = 0
    while chunk := list(itertools.islice(waiting, TOGETHER)):
        made = [_observe(settings[SIDES[n % len(SIDES)]], seed, n) for n in chunk]
        observations = [observation for observation, _ in made]
        centres = [_centre(observation) for observation in observations]
        scales = [choose_scales(o, "auto", c) for o, c in zip(observations, centres, strict=True)]
        found = search(detector, observations, centres, scales)
        for one, (_, cavities) in zip(found, made, strict=True):
            tables = [d.table for d in one.detections]
            yield Searched(
                [_outline(f) for f in one.fields],
                [from_table(f, t) for f, t in zip(one.fields, tables, strict=True)],
                {f.scale: detector.threshold(f.total) for f in one.fields},
                cavities,
            )
        done += len(chunk)
        if done // TOGETHER % 10 == 1:
            log.info("merging: %d images searched", done)


def _observe(
    settings: SimulateSettings, seed: int, number: int
) -> tuple[Observation, list[Ellipse]]:
    """Simulated observation as a user would give it, and its visible cavities."""
    batch = simulate_batch(settings, seed, [number])
    known = number // len(SIDES) % 2 == 1
    observation = load_observation(
        batch.counts[0].astype(float),
        exposure=batch.exposure[0].astype(float),
        background=batch.background[0].astype(float) if known else None,
        mask=(batch.invalid[0] & POINT_SOURCE > 0) & (batch.exposure[0] > 0),
        seed=int(stream(seed, "preprocess", number).integers(1 << 31)),
    )
    table = batch.cavities[0]
    rows = table[table["visible"]]
    return observation, [
        Ellipse(*(float(row[n]) for n in ("x", "y", "a", "b", "theta"))) for row in rows
    ]


def _centre(observation: Observation) -> tuple[float, float]:
    x, y = find_centre(
        observation.counts[None], observation.relative_exposure[None], (~observation.exposed)[None]
    )[0]
    return float(x), float(y)


def _outline(field: Field) -> Field:
    """Field without its maps: where it lies."""
    nothing = np.broadcast_to(np.zeros(()), field.counts.shape)
    empty = np.broadcast_to(np.zeros((), bool), field.counts.shape)
    return replace(field, counts=nothing, exposure=nothing, background=None, invalid=empty)


def merge_all(searched: Sequence[Searched], merging: Merging) -> Merged:
    """Merge the detections of many images, and match them to the truth.

    Parameters
    ----------
    searched : sequence of Searched
    merging : Merging
    """
    heads = [group(one.found, merging.same_ratio) for one in searched]
    return _judge(searched, heads, _shared(searched, heads), merging)


def _shared(
    searched: Sequence[Searched], heads: Sequence[list[Candidate]]
) -> list[NDArray[np.float64]]:
    """Intersection over union of each image's candidates with its true cavities."""
    return [
        np.array([[overlap(c, t)[0] for t in one.cavities] for c in of_image], float).reshape(
            len(of_image), len(one.cavities)
        )
        for one, of_image in zip(searched, heads, strict=True)
    ]


def _judge(
    searched: Sequence[Searched],
    heads: Sequence[list[Candidate]],
    shared: Sequence[NDArray[np.float64]],
    merging: Merging,
) -> Merged:
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
        shared = _shared(searched, heads)
        for silence in SILENCES:
            start = Merging(silence=silence, same_ratio=ratio, dissent=0.0, fitted=True)
            merging = fit_evidence(searched, heads, shared, start)
            merged = _judge(searched, heads, shared, merging)
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
