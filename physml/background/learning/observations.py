"""Constants of the weights that say how far the network can be taken at its word.

Made on simulated observations that training never saw, each under conditions of its own, at its
natural rate: by how much a measured stand-off scatters about the truth beyond what its likelihood
says, and how well the tables of cuts hold on an observation for which nothing was moved.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physml.random import stream

from ..core.arrays import Floats, bin_of
from ..core.events import find_in_exposures
from ..inference.adapted_cuts import PSEUDO_XRAYS
from ..inference.cuts import bilinear, nearest
from ..inference.detector import BackgroundDetector
from ..inference.housing import (
    ELSEWHERE,
    LEVEL,
    Evidence,
    Housing,
    evidence,
    log_likelihood,
    mixture,
)
from ..inference.inputs import particle_rate
from ..settings import BackgroundSettings
from ..simulator.exposure import simulate_exposure

log = logging.getLogger(__name__)

#: Number of the first exposure; no training has as many.
FIRST = 3_000_000
#: Scatters in the logarithm of the stand-off that are tried, from none up.
SCATTERS = np.linspace(0.0, 2.0, 101)
#: Retention at which tables are compared with observations.
RETENTION = 0.98
#: Fewest X-rays in an energy bin of an observation that tell something of its table.
FEWEST = 30.0
#: Pseudo-events are looked for between these.
BOUNDS = (10.0, 20_000.0)


@dataclass(frozen=True)
class Observation:
    """Simulated observation with what the network says of its events.

    Attributes
    ----------
    true : float
        Stand-off of the housing, mm.
    evidence : Evidence
        Under each stand-off that there are cuts for.
    housing : Housing
        Measured, likelihoods at their word.
    """

    true: float
    evidence: Evidence
    housing: Housing


def observe(
    detector: BackgroundDetector, settings: BackgroundSettings, numbers: Sequence[int]
) -> Iterator[Observation]:
    """Simulate observations and let the network look at them.

    Parameters
    ----------
    detector : BackgroundDetector
        Calibrated, with its cuts.
    settings : BackgroundSettings
        The recipe; conditions are drawn as for training.
    numbers : sequence of int
        Of the observations; each is always the same.
    """
    c = settings.train.calibrate
    simulate = settings.simulate.model_copy(update={"keep": 1.0, "hits": c.observation_hits})
    for k in numbers:
        frames = simulate_exposure(simulate, settings.seed, FIRST + k)
        found = find_in_exposures(frames)
        made = evidence(
            detector,
            frames,
            found,
            particle_rate(found, frames),
            detector.standoffs,
            c.observation_events,
            ELSEWHERE,
            stream(0, "predict", 0),  # as `housing.measure` draws for its first part
        )
        assert frames.exposures is not None
        true = float(frames.exposures["standoff"][0])
        tried = log_likelihood(made) if len(made) else np.zeros(len(detector.standoffs))
        housing = Housing(detector.standoffs, tried, len(made))
        log.info("observation %d: %.3g mm, measured %.3g mm", k, true, housing.standoff)
        yield Observation(true, made, housing)


def calibrate_observations(
    detector: BackgroundDetector, settings: BackgroundSettings
) -> dict[str, Any]:
    """Fit the constants of a calibrated detector, and give them to it.

    Parameters
    ----------
    detector : BackgroundDetector
        With its cuts; its card gets the constants.
    settings : BackgroundSettings

    Returns
    -------
    dict
        ``observations`` for the card: ``number``, ``scatter``, ``pseudo_xrays``, ``coverage``
        (of the interval with that scatter, on the observations it was fitted on),
        ``coverage_before``.
        Without observations, nothing.
    """
    n = settings.train.calibrate.observations
    if n == 0:
        return {}
    seen = list(observe(detector, settings, range(n)))
    scatter = fit_scatter([o.housing for o in seen], [o.true for o in seen])
    known = {
        "number": n,
        "scatter": scatter,
        "pseudo_xrays": fit_pseudo_xrays(detector, seen),
        "coverage": coverage([replace(o.housing, scatter=scatter) for o in seen], seen),
        "coverage_before": coverage([o.housing for o in seen], seen),
    }
    log.info("observations: %s", known)
    detector.card["observations"] = known
    return {"observations": known}


def coverage(housings: Sequence[Housing], seen: Sequence[Observation]) -> float:
    """Share of the observations whose interval holds the true stand-off."""
    return float(
        np.mean([h.content_at(o.true) <= LEVEL for h, o in zip(housings, seen, strict=True)])
    )


def fit_scatter(housings: Sequence[Housing], true: Sequence[float]) -> float:
    """Least scatter under which intervals hold the truth as often as they say.

    Of n observations `LEVEL` (n + 1) have to be inside, rounded up: then those of a further
    observation drawn in the same way are right with at least that probability (conformal
    prediction, Vovk et al. 2005).

    Parameters
    ----------
    housings : sequence of Housing
    true : sequence of float
        Stand-offs, mm.
    """
    wanted = min(len(true), int(np.ceil(LEVEL * (len(true) + 1))))
    for scatter in SCATTERS:
        inside = [
            replace(h, scatter=float(scatter)).content_at(s) <= LEVEL
            for h, s in zip(housings, true, strict=True)
        ]
        if sum(inside) >= wanted:
            return float(scatter)
    log.warning("no scatter makes intervals that hold the true stand-off")
    return float(SCATTERS[-1])


def fit_pseudo_xrays(detector: BackgroundDetector, seen: Sequence[Observation]) -> float:
    """Number of X-rays that tell a share as well as the tables do on a new observation.

    The share that a table's cuts keep of the X-rays of an observation differs from what it
    promises, by chance and by what the table does not know of the observation. The second part
    of the variance, v, is that of p (1 - p) / v X-rays. By chance an event is kept in some of the
    frames that it is put into and lost in others: that variance is taken from the events.

    Parameters
    ----------
    detector : BackgroundDetector
        With its cuts.
    seen : sequence of Observation
    """
    assert detector.cuts is not None
    square, number, spread, weight = [], [], [], []
    for o in seen:
        e = o.evidence
        if len(e) == 0:
            continue
        taken = nearest(detector.standoffs, o.housing.standoff)
        for off, n, variance in _kept(detector, e, taken):
            square.append(off**2)
            number.append(n)
            spread.append(variance)
            weight.append(n / (n + PSEUDO_XRAYS))
    if not weight:
        return PSEUDO_XRAYS
    chance = np.average(spread, weights=number) / np.array(number)
    excess = float(np.average(np.array(square) - chance, weights=weight))
    return float(np.clip(RETENTION * (1 - RETENTION) / max(excess, 1e-9), *BOUNDS))


def _kept(
    detector: BackgroundDetector, e: Evidence, taken: int
) -> Iterator[tuple[float, float, float]]:
    """Kept minus promised share by the cuts of a table, in each of its energy bins.

    Beside it the effective number of events, and the variance of what is kept of one of them.

    Every event in another frame counts by its probability to be an X-ray where it is.
    """
    assert detector.cuts is not None
    table = detector.cuts.tables[taken]
    k = int(np.argmin(np.abs(table.retention - RETENTION)))
    _, xray = mixture(e.energy, e.weight, e.here[taken], e.elsewhere[taken])
    x = np.log(np.maximum(e.energy, 1e-6))
    r = np.log(np.maximum(e.rate, 1e-6))
    cut = bilinear(np.log(table.energy), np.log(table.rate), table.cut[k], x, r)
    logit: Floats = e.elsewhere[taken]
    known = np.isfinite(logit).any(axis=1)
    kept = np.zeros(len(e))
    kept[known] = np.nanmean(
        np.where(np.isfinite(logit), logit < cut[:, None], np.nan)[known], axis=1
    )
    place, w = bin_of(table.energy_edges, e.energy), e.weight * xray
    for j in np.unique(place):
        mine = known & (place == j)
        if w[mine].sum() == 0:
            continue
        number = w[mine].sum() ** 2 / (w[mine] ** 2).sum()
        if number >= FEWEST:
            share = float(np.average(kept[mine], weights=w[mine]))
            variance = float(np.average((kept[mine] - share) ** 2, weights=w[mine]))
            yield share - float(table.retention[k]), float(number), variance
