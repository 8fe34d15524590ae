"""Constants of the refinement by likelihood, fitted for one set of weights.

Images of the training's simulator, with numbers of their own and a cavity in each, are searched,
and what is listed is refined. How network and fit are joined is what gives the smallest mean error
of ln R; errors are scaled so that 68 % of the intervals hold.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.random import stream

from ..core.ellipse import Ellipse, overlap
from ..core.matching import COMPANION, STRICT
from ..inference.detector import OUTLINE, CavityDetector, Detection, relative
from ..inference.refine.cells import FieldImage
from ..inference.refine.constants import Constants, support
from ..inference.refine.refine import Refinement, refine
from ..inference.search import LISTED
from ..settings import SimulateSettings
from ..simulator.batch import Batch, simulate_batch
from .prepared import fill_masked

log = logging.getLogger(__name__)

#: Number of the first image that only fits the refinement.
REFINE_FIRST = 30_000_000
#: Images for the merging of binnings over those for the refinement, in a training.
REFINED = 4
#: Images searched together.
TOGETHER = 16
#: Values that are tried.
INFLATE = (1.0, 1.5, 2.0, 3.0, 5.0)
LEAST = (0.02, 0.04, 0.06, 0.08, 0.11, 0.15, 0.25)
SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
#: Share of true cavities that the cut on the ratio of evidences may flag, and share of those that
#: are not their image's best under the cut on evidence beside it.
FLAGGED, BESIDE = 0.02, 0.2
#: Share of the true cavities that may be left without the likelihood's support.
UNSUPPORTED = 0.05
#: Fewest cavities from which constants are fitted.
FEWEST = 20


@dataclass(frozen=True)
class Pairs:
    """Listed candidates that are true cavities, one entry each, shape (m,).

    Attributes
    ----------
    image : ndarray of int
    network, fit : ndarray
        ln(R / R_true) of network and fit.
    network_err, fit_err : ndarray
        Their errors as they stand.
    at_bound : ndarray of bool
        Depth factor of the fit.
    place_network, place_fit, place_err : ndarray, shape (m, 2)
        Offsets of the centres from the truth, and the walk's errors [pixel].
    flexible, rigid, best : ndarray
        Evidence of the candidate with both nulls, and that of the image's best.
    depth : ndarray
        Depth factor of the fit.
    """

    image: NDArray[np.int64]
    network: NDArray[np.float64]
    fit: NDArray[np.float64]
    network_err: NDArray[np.float64]
    fit_err: NDArray[np.float64]
    at_bound: NDArray[np.bool_]
    place_network: NDArray[np.float64]
    place_fit: NDArray[np.float64]
    place_err: NDArray[np.float64]
    flexible: NDArray[np.float64]
    rigid: NDArray[np.float64]
    best: NDArray[np.float64]
    depth: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.image)

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]]) -> Pairs:
        """Pairs from tuples of the fields."""
        columns: list[Any] = list(zip(*rows, strict=True)) or [()] * 13
        kinds = {0: np.int64, 5: np.bool_}
        made: list[Any] = [np.array(c, kinds.get(k, np.float64)) for k, c in enumerate(columns)]
        for k in (6, 7, 8):
            made[k] = made[k].reshape(-1, 2)
        return cls(*made)


def calibrate_refining(
    detector: CavityDetector, simulate: SimulateSettings, seed: int, images: int
) -> dict[str, Any]:
    """Fit the refinement for a calibrated detector, and put it into the detector's card.

    Parameters
    ----------
    detector : CavityDetector
        With thresholds.
    simulate : SimulateSettings
        Of the images that it was trained with.
    seed : int
        Root of the random streams.
    images : int
        Number of simulated images; none of their numbers belongs to another set.

    Returns
    -------
    dict
        ``refine`` for the card.
    """
    before, detector.precision = detector.precision, None  # rounding is no error of a radius
    try:
        pairs = measure(detector, simulate, seed, range(REFINE_FIRST, REFINE_FIRST + images))
    finally:
        detector.precision = before
    constants = fit_constants(pairs)
    card: dict[str, Any] = {**constants.card(), "images": images, "cavities": len(pairs)}
    if len(pairs):
        card["after"] = check(pairs, constants)
    detector.card["refine"] = card
    log.info("refinement: %s", card)
    return card


def measure(
    detector: CavityDetector, simulate: SimulateSettings, seed: int, numbers: Iterable[int]
) -> Pairs:
    """Simulate, search and refine images with cavities."""
    cavities = simulate.cavities.model_copy(update={"none": 0.0})
    settings = simulate.model_copy(update={"cavities": cavities})
    rows: list[tuple[Any, ...]] = []
    waiting = iter(numbers)
    done = 0
    while chunk := list(itertools.islice(waiting, TOGETHER)):
        batch = simulate_batch(settings, seed, chunk)
        streams = [stream(seed, "preprocess", n) for n in chunk]
        counts = fill_masked(batch.counts, batch.exposure, batch.invalid, streams)
        # Half of the images come with their background map, as in training.
        known = np.array([s.random() < 0.5 for s in streams])
        for has in (False, True):
            some = np.flatnonzero(known == has)
            if len(some):
                rows += _refined(detector, batch, counts, some, has)
        done += len(chunk)
        log.info("refinement: %d images, %d cavities", done, len(rows))
    return Pairs.of(rows)


def _refined(
    detector: CavityDetector, batch: Batch, counts: NDArray[Any], some: NDArray[Any], known: bool
) -> list[tuple[Any, ...]]:
    exposure = np.asarray(batch.exposure[some], np.float32)
    background = np.asarray(batch.background[some], np.float32) if known else None
    invalid = batch.invalid[some] > 0
    found = detector.detect(counts[some], exposure, background, invalid)
    rows = []
    for k, (row, detection) in enumerate(zip(some, found, strict=True)):
        listed = listed_rows(detection)
        if not len(listed):
            continue
        image = FieldImage(
            counts[row],
            relative(exposure[k]),
            None if background is None else background[k],
            invalid[k] | (exposure[k] <= 0),
            detection.halo,
        )
        ellipses = [ellipse_of(detection.table[i]) for i in listed]
        table = batch.cavities[row]
        true = [
            Ellipse(*(float(one[n]) for n in ("x", "y", "a", "b", "theta")))
            for one in table[table["visible"]]
        ]
        refined = refine(image, ellipses)
        best = max(r.delta_lnl for r in refined)
        rows += [
            _pair(int(batch.index[row]), detection.table[listed[i]], ellipses[i], true[j], r, best)
            for i, j, r in _matched(ellipses, true, refined)
        ]
    return rows


def listed_rows(detection: Detection) -> NDArray[np.int64]:
    """Rows of a detection that a catalogue of it alone would list, most probable first."""
    p = np.asarray(detection.table["probability"], float)
    least = COMPANION if (p >= detection.threshold).any() else LISTED
    return np.flatnonzero((p >= detection.threshold) | (p >= least))


def ellipse_of(row: Any) -> Ellipse:
    """Ellipse of a row, its axes stretched to its radius."""
    x, y, a, b, theta = (float(row[name]) for name in OUTLINE)
    stretch = float(row["radius"]) / np.sqrt(a * b)
    return Ellipse(x, y, stretch * max(a, b), stretch * min(a, b), theta)


def _matched(
    ellipses: Sequence[Ellipse], true: Sequence[Ellipse], refined: Sequence[Refinement]
) -> list[tuple[int, int, Refinement]]:
    """Candidates and true cavities, one to one in the order of the candidates."""
    free, pairs = set(range(len(true))), []
    for i, one in enumerate(ellipses):
        shared = {j: overlap(one, true[j])[0] for j in free}
        best = max(shared, key=lambda j: shared[j], default=None)
        if best is not None and shared[best] >= STRICT.minimum:
            pairs.append((i, best, refined[i]))
            free.discard(best)
    return pairs


def _pair(
    image: int, row: Any, network: Ellipse, true: Ellipse, one: Refinement, best: float
) -> tuple[Any, ...]:
    def radius(e: Ellipse) -> float:
        return float(np.log(e.semi_major * e.semi_minor) / 2)

    place = np.sqrt(np.diag(one.covariance)[:2])
    return (
        image,
        radius(network) - radius(true),
        radius(one.ellipse) - radius(true),
        float(row["radius_err"]) / float(row["radius"]),
        one.log_radius_err,
        one.at_bound,
        (network.x - true.x, network.y - true.y),
        (one.ellipse.x - true.x, one.ellipse.y - true.y),
        tuple(place),
        one.delta_lnl,
        one.delta_lnl_rigid,
        best,
        one.depth,
    )


def joined(pairs: Pairs, constants: Constants) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Errors of the printed ln R, and whether it is joined (else the network's)."""
    ratio = pairs.fit - pairs.network
    used = constants.believed(ratio, pairs.at_bound)
    weight = constants.weight(pairs.network_err, pairs.fit_err)
    return pairs.network + np.where(used, constants.offset + weight * ratio, 0.0), used


def fit_constants(pairs: Pairs) -> Constants:
    """Constants that fit these cavities best; the standard ones where there are too few."""
    standard = Constants()
    if len(pairs) < FEWEST:
        return standard
    best, least = standard, np.inf
    for inflate, floor in itertools.product(INFLATE, LEAST):
        trial = replace(standard, inflate=inflate, least=floor)
        error, used = joined(pairs, trial)
        offset = -float(np.median(error[used])) if used.any() else 0.0
        trial = replace(trial, offset=offset)
        error, _ = joined(pairs, trial)
        mean = float(np.abs(error).mean())
        if mean < least:
            best, least = trial, mean
    error, used = joined(pairs, best)
    level, slope = _errors(np.abs(error[used]), pairs.network_err[used])
    best = replace(best, error=level, error_slope=slope)
    if (~used).sum() >= FEWEST // 2:
        pull = np.abs(pairs.network[~used]) / pairs.network_err[~used]
        best = replace(best, error_fallback=_level(pull))
    weight = best.weight(pairs.network_err, pairs.fit_err)[:, None]
    place = (1 - weight) * pairs.place_network + weight * pairs.place_fit
    best = replace(best, place=_level((np.abs(place) / pairs.place_err)[used]))
    ratio = pairs.flexible / np.maximum(pairs.rigid, 1e-3)
    beside = (pairs.flexible / np.maximum(pairs.best, 1e-3))[pairs.flexible < pairs.best]
    cut = float(np.clip(np.quantile(ratio, FLAGGED), 0.02, 0.5))
    low = float(np.clip(np.quantile(beside, BESIDE), 0.05, 0.5)) if len(beside) else best.beside
    least_support = float(np.quantile(support(pairs.flexible, pairs.depth), UNSUPPORTED))
    return replace(best, ratio=cut, beside=low, support=least_support, fitted=True)


def _errors(error: NDArray[np.float64], network_err: NDArray[np.float64]) -> tuple[float, float]:
    """Error and slope: the likeliest (Laplace) slope, and the level at which 68 % hold."""
    best, least = (0.07, 1.0), np.inf
    for slope in SLOPES:
        shape = (network_err / 0.07) ** slope
        scaled = error / shape
        cost = float(np.log(scaled.mean()) + np.log(shape).mean())
        if cost < least:
            best, least = (_level(scaled), slope), cost
    return best


def _level(absolute: NDArray[np.float64]) -> float:
    """Value under which 68.3 % lie."""
    return max(float(np.quantile(absolute, 0.683)), 1e-3) if absolute.size else 1.0


def check(pairs: Pairs, constants: Constants) -> dict[str, float]:
    """Scatter and bias of ln R of network and printed radius, and intervals that hold.

    Returns
    -------
    dict
        ``scatter`` (half of the central 68 %) and ``bias`` (median) of the network and of what is
        printed, the share ``covered`` of 68 % intervals, and the shares that are ``joined`` and
        ``flagged`` as asymmetry.
    """
    error, used = joined(pairs, constants)
    sigma = np.where(
        used,
        constants.log_error(pairs.network_err),
        constants.error_fallback * pairs.network_err,
    )
    unsupported = support(pairs.flexible, pairs.depth) < constants.support
    flagged = [
        constants.asymmetric(*row)
        for row in zip(pairs.flexible, pairs.rigid, pairs.best, strict=True)
    ]

    def scatter(x: NDArray[np.float64]) -> float:
        low, high = np.quantile(x, [0.1587, 0.8413])
        return float(high - low) / 2

    return {
        "scatter_network": scatter(pairs.network),
        "scatter": scatter(error),
        "bias_network": float(np.median(pairs.network)),
        "bias": float(np.median(error)),
        "covered": float((np.abs(error) <= sigma).mean()),
        "joined": float(used.mean()),
        "flagged": float(np.mean(flagged)),
        "unsupported": float(np.mean(unsupported)),
    }
