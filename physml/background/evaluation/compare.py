"""Comparison of the network with all rivals: on the test split, frozen sets, and the Geant4 set.

Each set is scored once, by the network and by all rivals, on identical events at natural rates.
Photons are weighted to the energies of the background. Two kinds of numbers come of it: what goes
where exactly so many photons stay (thresholds set on these very events, alike for every method),
and what goes and stays by the cuts that were fixed on validation data before.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physml.evaluation.sealed import remark
from physml.parallel.tasks import in_order
from physml.random import stream

from ..core.frames import Frames
from ..inference.cuts import nearest
from ..inference.detector import BackgroundDetector
from ..inference.inputs import LOG_STANDOFF, RATE, STANDOFF
from ..learning.calibrate import as_members
from ..learning.event_sets import EventSets
from ..settings import EvaluateSettings
from . import methods, metrics
from .exposure_saved import Telescope, worked_example
from .lessons import Course, Lessons, courses
from .methods import KNOWN, MODEL, OTHER, TREES, Trained
from .metrics import BANDS, WIDE, Events, Resampling
from .rivals import BoostedTrees, Rival, SelfAntiCoincidence
from .scored_set import ScoredSet, add_ablations, score_set, with_exchanged_frames
from .set_metrics import (
    KEPT_AT,
    cross_geometry,
    housing_metrics,
    set_metrics,
    source_method,
    with_border,
)
from .sets import (
    GEOMETRIES,
    RIVALS,
    SEALED_RIVALS,
    evaluation_set,
    geant4_folder,
    geant4_set,
)
from .stress import BAD_COLUMNS, CONDITIONS, bad_columns, without

log = logging.getLogger(__name__)

#: Name of the Geant4 set.
GEANT4 = "geant4"
#: Memory of a process that measures a set, MB.
SET_MB = 3_000


def test_metrics(
    data: Path, detector: BackgroundDetector, retention: Sequence[float], replicas: int, seed: int
) -> dict[str, Any]:
    """Calibration and promises on the test split of the training data: all conditions mixed.

    Parameters
    ----------
    data : Path
        Folder that `preprocess.run` wrote.
    detector : BackgroundDetector
    retention : sequence of float
    replicas, seed : int
        Bootstrap.
    """
    sets = EventSets.read(Path(data) / "test.h5")
    m = as_members(sets)
    # The stand-off of each exposure is taken as known, as far as there are cuts for it.
    true = STANDOFF * 10.0 ** m.feature[:, LOG_STANDOFF].astype(np.float64)
    taken = np.array([nearest(detector.standoffs, s) for s in np.unique(true)])
    taken = taken[np.unique(true, return_inverse=True)[1]]
    m.feature[:, LOG_STANDOFF] = np.log10(detector.standoffs[taken] / STANDOFF)
    logit, _ = detector.logits(m)
    a = sets.arrays
    use = a["event"] & a["query"]
    events = Events(
        energy=a["energy"][use].astype(np.float64),
        background=a["label"][use] == 1,
        weight=a["weight"][use].astype(np.float64),
        frame=a["frame"][use],
        x=np.zeros(int(use.sum())),
        y=np.zeros(int(use.sum())),
        origin=np.zeros(int(use.sum()), np.int64),
        row=np.flatnonzero(use),
    )
    p = 1 / (1 + np.exp(-detector.calibrated(logit[use])))
    rate = 10.0 ** a["feature"][use, RATE].astype(np.float64)
    resampling = Resampling(events.frame, replicas, np.random.default_rng(seed))
    fixed = {}
    for r in retention:
        rejected = np.zeros(len(events), bool)
        for k, standoff in enumerate(detector.standoffs):
            mine = taken[use] == k
            cut = detector.at(standoff).threshold(events.energy[mine], r, rate=rate[mine])
            rejected[mine] = p[mine] > cut
        fixed[metrics.key(r)] = metrics.at_threshold(events, rejected, resampling)
    return {
        "exposures": len(np.unique(a["exposure"])),
        **events.numbers(),
        "fixed": fixed,
        "at_retention": metrics.at_retention(events, p, retention, replicas=replicas, seed=seed),
        "calibration": metrics.calibration(events, p, events.matched(BANDS[WIDE]), resampling),
    }


def stress_condition(
    name: str, detector: BackgroundDetector, settings: EvaluateSettings, seed: int
) -> dict[str, Any]:
    """Promises under one condition of the stress list.

    Parameters
    ----------
    name : str
        One of `stress.CONDITIONS`.
    detector : BackgroundDetector
    settings : EvaluateSettings
    seed : int

    Returns
    -------
    dict
        ``photons``, ``background``, ``fixed`` (retention -> ``retention``, ``removed`` in
        0.3-10 keV), ``at_retention``, ``calibration_error``, ``housing``.
    """
    s = settings
    frames, bad = evaluation_set(name, s.stress_exposures, s.hits), None
    if name == BAD_COLUMNS:
        bad = bad_columns(frames.shape, stream(seed, "evaluate", 2))
        frames = without(frames, bad)
    scored = score_set(
        frames, detector, retention=s.retention, bad=bad, housing_events=s.housing_events
    )
    events = scored.events
    resampling = Resampling(events.frame, s.bootstrap, np.random.default_rng(seed))
    found = {
        **events.numbers(),
        "fixed": {
            metrics.key(r): metrics.at_threshold(events, cut, resampling, (WIDE,))[WIDE]
            for r, cut in scored.cuts[MODEL].items()
        },
        "at_retention": metrics.at_retention(
            events,
            scored.scores[MODEL],
            s.retention,
            replicas=s.bootstrap,
            seed=seed,
            bands=(WIDE,),
        )[WIDE],
        "calibration_error": metrics.calibration(
            events, scored.scores[MODEL], events.matched(BANDS[WIDE]), resampling
        )["error"],
        "housing": housing_metrics(scored),
    }
    kept = {r: f["retention"]["value"] for r, f in found["fixed"].items()}
    log.info("%s: kept %s", name, kept)
    return found


def sensitivity(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Worked example in 2-7 keV with the rates and cuts measured on a set.

    Parameters
    ----------
    numbers : mapping
        Of one set, from `set_metrics`.
    """
    band = "2-7"
    low, high = BANDS[band]
    rate = numbers["rates"][band]["graded"]["value"] * (high - low)
    cuts = {}
    for retention, removed in numbers["methods"][MODEL]["at_retention"][band].items():
        if removed["value"] is not None:
            ends = [removed[k] if removed[k] is not None else np.nan for k in ("low", "high")]
            cuts[float(retention)] = (removed["value"], *ends)
    return worked_example(rate, cuts, Telescope(band=BANDS[band])) | {"band": band}


def train_rivals(
    learn: Mapping[str, Course], retention: Sequence[float], seed: int
) -> dict[str, list[Trained]]:
    """Rivals that learnt from simulations of each geometry, by its name.

    Parameters
    ----------
    learn : mapping of Course
    retention : sequence of float
    seed : int
    """
    out = {}
    for name, course in learn.items():
        rivals: list[Rival] = [
            SelfAntiCoincidence(),
            BoostedTrees("local", seed=seed),
            BoostedTrees("context", seed=seed),
            BoostedTrees("both", seed=seed),
        ]
        out[name] = methods.train_on(rivals, course.inside, retention)
    return out


def rival_courses(
    settings: EvaluateSettings, threads: int = 1, cache: Path | None = None
) -> dict[str, Course]:
    """Lessons of the rivals, for each geometry.

    Parameters
    ----------
    settings : EvaluateSettings
    threads : int
        Processes that simulate.
    cache : Path, optional
        See `lessons.courses`.
    """
    n = settings.rival_exposures
    return {
        g: courses(g + RIVALS, n, settings.hits, threads=threads, cache=cache) for g in GEOMETRIES
    }


def for_set(trained: Mapping[str, Sequence[Trained]], geometry: str) -> list[Trained]:
    """Rivals for a set of a geometry: those that learnt from it, and the trees of the others.

    Parameters
    ----------
    trained : mapping
        From `train_rivals`.
    geometry : str
    """
    out = list(trained[geometry])
    for name, others in trained.items():
        for one in others:
            if name != geometry and one.rival.name == TREES:
                rival = copy.copy(one.rival)
                rival.name = TREES + OTHER
                out.append(replace(one, rival=rival))
    return out


def measure_set(
    name: str,
    frames: Frames,
    detector: BackgroundDetector,
    trained: Sequence[Trained],
    settings: EvaluateSettings,
    seed: int,
    known: bool = False,
) -> tuple[ScoredSet, dict[str, Any]]:
    """Score one set by the network and all rivals, and measure.

    Parameters
    ----------
    name : str
        For the log.
    frames : Frames
    detector : BackgroundDetector
    trained : sequence of Trained
    settings : EvaluateSettings
    seed : int
    known : bool
        Let trees that learnt from the other parts of the set itself score it too.
    """
    scored = score_set(
        frames,
        detector,
        trained,
        retention=settings.retention,
        housing_events=settings.housing_events,
    )
    add_ablations(scored, seed)
    if known:
        own = BoostedTrees("both", seed=seed)
        scored.scores[TREES + KNOWN] = methods.crossed(
            own, scored.frames, scored.found, scored.events
        )
    trees = next((t.rival for t in trained if t.rival.name == TREES), None)
    numbers = set_metrics(
        scored, retention=settings.retention, replicas=settings.bootstrap, seed=seed
    )
    middle = min(settings.retention, key=lambda r: abs(r - KEPT_AT))
    numbers["strangers"] = with_exchanged_frames(
        scored, trees, retention=middle, replicas=settings.bootstrap, seed=seed
    )
    log.info(
        "%s: %d background events, %d photons; removed at %g %%: %s",
        name,
        numbers["background"],
        numbers["photons"],
        100 * middle,
        numbers["methods"][MODEL]["at_retention"][WIDE][metrics.key(middle)]["value"],
    )
    return scored, numbers


def evaluate_all(
    detector: BackgroundDetector,
    weights: Path,
    settings: EvaluateSettings,
    seed: int,
    *,
    learn: Mapping[str, Course] | None = None,
    threads: int = 1,
) -> tuple[dict[str, ScoredSet], dict[str, Any]]:
    """Score and measure all sets: both geometries, the Geant4 set where it is found, stress.

    Parameters
    ----------
    detector : BackgroundDetector
    weights : Path
        Its file, which may also hold the network of the source method.
    settings : EvaluateSettings
    seed : int
    learn : mapping of Course, optional
        What rivals learn from, of each geometry; simulated by default.
    threads : int
        Processes that share the sets.

    Returns
    -------
    scored : dict of ScoredSet
    result : dict
        Ready for JSON: ``sets``, ``border``, ``cross_geometry``, ``source_method``, ``stress``,
        ``sensitivity``, ``sealed`` (what the ledger of test sets says of each set).
    """
    s = settings
    learn = rival_courses(s, threads) if learn is None else learn
    trained = train_rivals(learn, s.retention, seed)
    near = {name: name for name in GEOMETRIES}
    if s.geant4 and geant4_folder() is not None:
        near[GEANT4] = "far"
    scored: dict[str, ScoredSet] = {}
    result: dict[str, Any] = {
        "confidence": metrics.LEVEL,
        "retention": list(s.retention),
        "bands": dict(BANDS),
        "rival_exposures": s.rival_exposures,
        "sets": {},
        "border": {},
        "source_method": {},
        "sealed": {name: remark("background", name) for name in near},
    }
    tasks = [
        (name, detector, weights, for_set(trained, near[name]), learn[near[name]].border, s, seed)
        for name in near
    ]
    made = in_order(_one_set, tasks, threads=threads, mem_mb=threads * SET_MB)
    for name, (one, numbers, border, headline) in zip(near, made, strict=True):
        scored[name], result["sets"][name], result["border"][name] = one, numbers, border
        if headline is not None:
            result["source_method"][name] = headline
    result["cross_geometry"] = cross_geometry(scored, s.retention, s.bootstrap, seed)
    if s.stress_exposures:
        conditions = [(name, detector, s, seed) for name in CONDITIONS]
        under = in_order(stress_condition, conditions, threads=threads, mem_mb=threads * SET_MB)
        result["stress"] = dict(zip(CONDITIONS, under, strict=True))
    best = GEANT4 if GEANT4 in scored else "far"
    result["sensitivity"] = sensitivity(result["sets"][best]) | {"set": best}
    return scored, result


def _one_set(
    name: str,
    detector: BackgroundDetector,
    weights: Path,
    rivals: Sequence[Trained],
    border: Lessons,
    settings: EvaluateSettings,
    seed: int,
) -> tuple[ScoredSet, dict[str, Any], dict[str, Any], list[dict[str, Any]] | None]:
    """Score and measure one set; also with events at the border, and by the source method."""
    s = settings
    measured = geant4_set(s.geant4_seconds) if name == GEANT4 else None
    frames = evaluation_set(name, s.exposures, s.hits) if measured is None else measured
    known = name == GEANT4
    scored, numbers = measure_set(name, frames, detector, rivals, s, seed, known=known)
    with_it = with_border(
        frames,
        scored.detector,
        border,
        retention=s.retention,
        replicas=s.bootstrap,
        seed=seed,
        own=known,
    )
    headline = source_method(
        weights, scored, stream(seed, "bootstrap", 1 + (*GEOMETRIES, GEANT4).index(name))
    )
    return scored, numbers, with_it, headline


def sealed_sets(
    detector: BackgroundDetector,
    settings: EvaluateSettings,
    seed: int,
    *,
    learn: Mapping[str, Course] | None = None,
    threads: int = 1,
) -> dict[str, dict[str, Any]]:
    """Score and measure the sealed sets.

    Parameters
    ----------
    detector, settings, seed, learn, threads : BackgroundDetector, EvaluateSettings, ...
        See `evaluate_all`.

    Returns
    -------
    dict
        Set -> its numbers, as from `set_metrics.set_metrics`. Rivals learnt from exposures of the
        nearer of the two geometries.
    """
    learn = rival_courses(settings, threads) if learn is None else learn
    trained = train_rivals(learn, settings.retention, seed)
    tasks = [
        (name, detector, for_set(trained, near), settings, seed)
        for name, near in SEALED_RIVALS.items()
    ]
    made = in_order(_one_sealed, tasks, threads=threads, mem_mb=threads * SET_MB)
    return dict(zip(SEALED_RIVALS, made, strict=True))


def _one_sealed(
    name: str,
    detector: BackgroundDetector,
    trained: Sequence[Trained],
    settings: EvaluateSettings,
    seed: int,
) -> dict[str, Any]:
    s = settings
    scored = score_set(
        evaluation_set(name, s.exposures, s.hits),
        detector,
        trained,
        retention=s.retention,
        housing_events=s.housing_events,
    )
    return set_metrics(scored, retention=s.retention, replicas=s.bootstrap, seed=seed)
