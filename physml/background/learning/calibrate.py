"""Calibration on validation exposures: probabilities, cuts that keep promises, event lists."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.evaluation.calibration import fit_platt
from physml.random import stream

from ..core.arrays import Bools, Floats, Ints, bin_of
from ..inference.cuts import CutTables, Scores, Thresholds, fit_thresholds
from ..inference.detector import BackgroundDetector
from ..inference.event_level import EventLevel, fit_event_level
from ..inference.injection import make_library, put
from ..inference.inputs import LOG_STANDOFF, RATE, STANDOFF, Members
from ..settings import BackgroundSettings, CalibrateSettings
from .energy_matching import energy_matching
from .event_sets import BAND, ENERGY_BINS, EventSets
from .observations import calibrate_observations
from .prepared import NO_EVENT

log = logging.getLogger(__name__)


#: Most bins of the particle rate.
RATE_BINS = 4
#: Distance in log10(stand-off) of exposures from which cuts for a stand-off are made.
NEAR = 0.2
#: Fewest exposures; where fewer are near, all are taken.
FEWEST = 10
#: X-rays to an energy bin that injections are drawn from.
LIBRARY = 4096
#: Injected X-rays in memory at once.
CHUNK = 20_000


def as_members(sets: EventSets) -> Members:
    """Preprocessed sets as the detector takes them."""
    a = sets.arrays
    none = np.full(len(a["set"]), -1)
    return Members(
        a["feature"],
        a["patch"].astype(np.float32),
        a["place"],
        none,
        none,
        a["query"],
        sets.start,
        a["frame"][sets.start[:-1]],
    )


def calibrate(
    detector: BackgroundDetector, valid: EventSets, settings: BackgroundSettings
) -> dict[str, Any]:
    """Calibrate a detector in place.

    Parameters
    ----------
    detector : BackgroundDetector
        Trained.
    valid : EventSets
        Validation exposures.
    settings : BackgroundSettings

    Returns
    -------
    dict
        ``calibration``, ``thresholds``, ``event_level`` and ``observations`` for the card.
    """
    m = as_members(valid)
    logit, _ = detector.logits(m)
    calibration = calibrate_probability(logit, valid)
    detector.card["calibration"] = calibration
    log.info("calibration: %s", calibration)
    detector.cuts = make_cuts(detector, valid, m, settings.train.calibrate, settings.seed)
    detector.event_level = calibrate_events(valid)
    made = {
        "calibration": calibration,
        "thresholds": detector.cuts.as_dict(),
        "event_level": detector.event_level.as_dict(),
    }
    detector.card |= made
    return made | calibrate_observations(detector, settings)


def calibrate_probability(logit: NDArray, valid: EventSets) -> dict[str, float]:
    """Platt scaling of the events' logits, and what calibration error is left.

    Returns
    -------
    dict
        ``slope``, ``offset``; ``ece`` (expected calibration error in 20 bins) before and after.
    """
    weight = valid.event_weight
    used = weight > 0
    x, y = logit[used].astype(np.float64), valid.arrays["label"][used].astype(float)
    # As many pseudo-counts as events, not as the weights' arbitrary unit.
    w = weight[used].astype(np.float64) * used.sum() / weight[used].sum()
    slope, offset = 1.0, 0.0
    if len(np.unique(y)) == 2:
        fit = fit_platt(x, y, w)
        # A network trained for seconds may say nothing; that must not be turned over.
        if fit.slope > 0:
            slope, offset = fit.slope, fit.offset
    return {
        "slope": float(slope),
        "offset": float(offset),
        "ece_before": calibration_error(x, y, w),
        "ece": calibration_error(slope * x + offset, y, w),
    }


def calibration_error(logit: NDArray, outcome: NDArray, weight: NDArray, bins: int = 20) -> float:
    """Weighted expected calibration error of probabilities given as logits."""
    p = 1 / (1 + np.exp(-logit))
    place = np.minimum((p * bins).astype(int), bins - 1)
    gap = np.bincount(place, weight * (p - outcome), minlength=bins)
    return float(np.abs(gap).sum() / weight.sum())


def make_cuts(
    detector: BackgroundDetector,
    valid: EventSets,
    m: Members,
    settings: CalibrateSettings,
    seed: int,
) -> CutTables:
    """Cuts for each stand-off, from validation exposures with about that stand-off.

    The network is told the stand-off that the cuts are for, as it is when they are used.
    """
    standoffs = np.sort(np.asarray(settings.standoffs, float))
    true = m.feature[:, LOG_STANDOFF].astype(np.float64)
    tables = []
    for k, standoff in enumerate(standoffs):
        wanted = np.log10(standoff / STANDOFF)
        near = np.abs(true - wanted) < NEAR
        if len(np.unique(valid.arrays["exposure"][near])) < FEWEST:
            near = np.ones(len(true), bool)
        feature = m.feature.copy()
        feature[:, LOG_STANDOFF] = wanted
        log.info("thresholds for a stand-off of %g mm", standoff)
        told = replace(m, feature=feature)
        rng = stream(seed, "train", 2**31 + k)  # numbers of epochs are smaller
        tables.append(make_thresholds(detector, valid, told, near, settings, rng))
    return CutTables(standoffs, tuple(tables))


def make_thresholds(
    detector: BackgroundDetector,
    valid: EventSets,
    m: Members,
    use: Bools,
    settings: CalibrateSettings,
    rng: np.random.Generator,
) -> Thresholds:
    """Cuts by energy and particle rate from X-rays injected into validation frames.

    Each X-ray of the validation data stands for where X-rays come: its frame holds, beside it,
    what frames hold. It is replaced by one X-ray after another from a library, anywhere on the
    detector. So there are as many as the promise needs, of all energies.
    """
    edges = np.asarray(settings.energies, float)
    library = make_library(dict(valid.arrays), LIBRARY * (len(edges) - 1), edges, rng)
    photon = np.flatnonzero(
        valid.arrays["event"] & valid.arrays["query"] & (valid.arrays["label"] == 0) & use
    )
    weight = valid.arrays["weight"][photon].astype(np.float64)
    # Each exposure counts alike: bright sources must not decide for the faint ones.
    _, number = np.unique(valid.arrays["exposure"][photon], return_inverse=True)
    weight /= np.bincount(number, weight)[number]
    rate = 10.0 ** m.feature[photon, RATE].astype(np.float64)
    rates = rate_edges(rate)
    wanted = settings.photons * (len(edges) - 1)
    draws = []
    for k in range(len(rates) - 1):
        inside = (rate >= rates[k]) & (rate <= rates[k + 1])
        chosen = rng.choice(photon[inside], 2 * wanted, p=weight[inside] / weight[inside].sum())
        draws.append(_scores(detector, m, library, chosen, photon, weight, rng))
    halves = [Scores.join(drawn[half::2] for drawn in draws) for half in (0, 1)]
    background = (valid.event_weight > 0) & (valid.arrays["label"] == 1)
    made = fit_thresholds(
        *halves,
        retention=settings.retention,
        energy_edges=edges,
        rate_edges=rates,
        spectrum=(valid.arrays["energy"][background], valid.arrays["weight"][background]),
    )
    worst = np.abs(made.measured - made.retention[:, None, None]).max((1, 2))
    log.info(
        "thresholds: %d X-rays in each of %d bins of rate; largest differences from %s: %s",
        wanted,
        len(rates) - 1,
        made.retention.tolist(),
        np.round(worst, 4).tolist(),
    )
    return made


def rate_edges(rate: NDArray) -> Floats:
    """Edges of bins in the particle rate, with equal numbers of different exposures in each."""
    different = np.unique(rate)
    bins = int(np.clip(len(different) // 3, 1, RATE_BINS))
    edges = np.exp(np.quantile(np.log(different), np.linspace(0, 1, bins + 1)))
    edges[0], edges[-1] = edges[0] * (1 - 1e-6), edges[-1] * (1 + 1e-6)
    if not (np.diff(edges) > 0).all():
        edges = np.array([edges[0], edges[-1]])
    return edges


def _scores(
    detector: BackgroundDetector,
    m: Members,
    library: Any,
    chosen: Ints,
    photon: Ints,
    weight: NDArray,
    rng: np.random.Generator,
) -> Scores:
    """Scores of injected X-rays, but for those that fell onto a cluster."""
    sets = np.searchsorted(m.start, chosen, side="right") - 1
    which = rng.integers(0, len(library), len(chosen))
    # Places of other X-rays: anywhere that X-rays come, on a detector of whatever size.
    where = m.place[rng.choice(photon, len(chosen), p=weight / weight.sum()), :2]
    _, inverse, count = np.unique(m.frame, return_inverse=True, return_counts=True)
    whole = count[inverse[sets]] == 1
    # In a frame of several sets the members of each are near each other.
    where = np.where(whole[:, None], where, m.place[chosen, :2])
    logit, free = np.empty(len(chosen)), np.empty(len(chosen), bool)
    for first in range(0, len(chosen), CHUNK):
        part = slice(first, first + CHUNK)
        injected = put(
            m,
            sets[part],
            (chosen - m.start[sets])[part],
            library,
            which[part],
            where[part],
            m.feature[chosen[part], RATE],
            m.feature[chosen[part], LOG_STANDOFF],
        )
        logit[part] = detector.injected_logits(injected)
        free[part] = injected.free
    rate = 10.0 ** m.feature[chosen, RATE].astype(np.float64)
    return Scores(logit, library.energy[which], rate)[free]


def calibrate_events(valid: EventSets) -> EventLevel:
    """Event-level model from all events up to 15 keV, valid or not."""
    a = valid.arrays
    some = (a["grade"] != NO_EVENT) & a["query"] & (a["energy"] <= BAND[1])
    label, weight = a["label"][some], a["weight"][some].astype(np.float64)
    # Spectra of what passes as an X-ray are made equal; the rest counts as it then does.
    passing = energy_matching(
        a["energy"][some], label, weight * a["event"][some], band=BAND, bins=ENERGY_BINS
    )
    factor = _factor(a["energy"][some], label, a["event"][some], weight, passing)
    return fit_event_level(
        a["energy"][some], a["grade"][some], a["pattern"][some], label, weight * factor
    )


def _factor(
    energy: NDArray, label: NDArray, valid: NDArray, weight: NDArray, matched: NDArray
) -> Floats:
    """Factors of energy matching, carried over from valid events to all of their energy."""
    edges = np.geomspace(*BAND, ENERGY_BINS + 1)
    place = bin_of(edges, energy)
    photon = valid & (label == 0)
    before = np.bincount(place[photon], weight[photon], minlength=ENERGY_BINS)
    after = np.bincount(place[photon], matched[photon], minlength=ENERGY_BINS)
    ratio = np.divide(after, before, out=np.zeros(ENERGY_BINS), where=before > 0)
    inside = (energy >= BAND[0]) & (energy < BAND[1])
    return np.where(inside, np.where(label == 0, ratio[place], 1.0), 0.0)
