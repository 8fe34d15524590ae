"""Evaluate trained weights: on the test split, on the frozen sets, and on the Geant4 set.

Each set is judged once, by the network and by all rivals, on identical events at natural rates.
Photons are weighted to the energies of the background. Two kinds of numbers come of it: what goes
where exactly so many photons stay (thresholds set on these very events, alike for every method),
and what goes and stays by the cuts that were fixed on validation data before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physml.random import stream

from .core.events import find_in_exposures
from .evaluation import methods as judges
from .evaluation import metrics
from .evaluation.methods import KNOWN, MODEL, OTHER, TREES, Trained
from .evaluation.metrics import BANDS, WIDE, Events, Resampling
from .evaluation.scored_set import Judged, add_ablations, judge, with_strangers
from .evaluation.set_metrics import (
    KEPT_AT,
    cross_geometry,
    housing_metrics,
    set_metrics,
    source_method,
    with_border,
)
from .inference.housing import ENOUGH

if TYPE_CHECKING:
    from .core.frames import Frames
    from .evaluation.rivals import Rival
    from .inference.detector import BackgroundDetector
    from .settings import BackgroundSettings, EvaluateSettings

log = logging.getLogger(__name__)

GEANT4 = "geant4"


def test_metrics(
    data: Path, detector: BackgroundDetector, retention: Sequence[float], replicas: int, seed: int
) -> dict[str, Any]:
    """Calibration and promises on the test split of the training data: all conditions mixed."""
    from .inference.cuts import nearest
    from .inference.inputs import LOG_STANDOFF, RATE, STANDOFF
    from .learning.calibrate import as_members
    from .learning.event_sets import EventSets

    sets = EventSets.read(Path(data) / "test.h5")
    m = as_members(sets)
    # The stand-off of each exposure is taken as known, as far as there are cuts for it.
    column = LOG_STANDOFF
    true = STANDOFF * 10.0 ** m.feature[:, column].astype(np.float64)
    taken = np.array([nearest(detector.standoffs, s) for s in np.unique(true)])
    taken = taken[np.unique(true, return_inverse=True)[1]]
    m.feature[:, column] = np.log10(detector.standoffs[taken] / STANDOFF)
    logit, _ = detector.judge(m)
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
    inside = events.within(BANDS[WIDE])
    return {
        "exposures": len(np.unique(a["exposure"])),
        "photons": int((inside & ~events.background).sum()),
        "background": int((inside & events.background).sum()),
        "fixed": fixed,
        "at_retention": metrics.at_retention(events, p, retention, replicas=replicas, seed=seed),
        "calibration": metrics.calibration(events, p, events.matched(BANDS[WIDE]), resampling),
    }


def stress_metrics(
    detector: BackgroundDetector,
    exposures: int,
    hits: int,
    *,
    retention: Sequence[float],
    replicas: int,
    seed: int,
    housing_events: int = ENOUGH,
) -> dict[str, Any]:
    """Promises under each condition of the stress list.

    Returns
    -------
    dict
        Condition -> ``photons``, ``background``, ``fixed`` (retention -> ``retention``,
        ``removed`` in 0.3-10 keV), ``at_retention``, ``calibration_error``.
    """
    from .evaluation.sets import evaluation_set
    from .evaluation.stress import BAD_COLUMNS, CONDITIONS, bad_columns, without

    out = {}
    for name in CONDITIONS:
        frames, bad = evaluation_set(name, exposures, hits), None
        if name == BAD_COLUMNS:
            bad = bad_columns(frames.shape, stream(seed, "evaluate", 2))
            frames = without(frames, bad)
        judged = judge(
            frames, detector, retention=retention, bad=bad, housing_events=housing_events
        )
        events = judged.events
        resampling = Resampling(events.frame, replicas, np.random.default_rng(seed))
        inside = events.within(BANDS[WIDE])
        out[name] = {
            "photons": int((inside & ~events.background).sum()),
            "background": int((inside & events.background).sum()),
            "fixed": {
                metrics.key(r): metrics.at_threshold(events, cut, resampling, (WIDE,))[WIDE]
                for r, cut in judged.cuts[MODEL].items()
            },
            "at_retention": metrics.at_retention(
                events, judged.scores[MODEL], retention, replicas=replicas, seed=seed, bands=(WIDE,)
            )[WIDE],
            "calibration_error": metrics.calibration(
                events, judged.scores[MODEL], events.matched(BANDS[WIDE]), resampling
            )["error"],
            "housing": housing_metrics(judged),
        }
        log.info("%s: kept %s", name, _kept(out[name]["fixed"]))
    return out


def _kept(fixed: Mapping[str, Any]) -> str:
    """What was kept of what was promised, for the log."""
    kept = {r: f["retention"]["value"] for r, f in fixed.items()}
    return ", ".join(f"{'-' if k is None else format(k, '.4f')} of {r}" for r, k in kept.items())


def sensitivity(numbers: Mapping[str, Any], band: str = "2-7") -> dict[str, Any]:
    """Worked example with the rates and cuts measured on a set.

    Parameters
    ----------
    numbers : mapping
        Of one set, from `set_metrics`.
    band : str
        One of `BANDS`.
    """
    from .evaluation.exposure_saved import Telescope, worked_example

    low, high = BANDS[band]
    rate = numbers["rates"][band]["graded"]["value"] * (high - low)
    cuts = {}
    for retention, removed in numbers["methods"][MODEL]["at_retention"][band].items():
        if removed["value"] is not None:
            ends = [removed[k] if removed[k] is not None else np.nan for k in ("low", "high")]
            cuts[float(retention)] = (removed["value"], *ends)
    return worked_example(rate, cuts, Telescope(band=BANDS[band])) | {"band": band}


def train_rivals(
    learn: Mapping[str, Frames], retention: Sequence[float], seed: int
) -> dict[str, list[Trained]]:
    """Rivals that learnt from simulations of each geometry, by its name."""
    from .evaluation.rivals import BoostedTrees, SelfAntiCoincidence

    out = {}
    for name, frames in learn.items():
        rivals: list[Rival] = [
            SelfAntiCoincidence(),
            BoostedTrees("local", seed=seed),
            BoostedTrees("context", seed=seed),
            BoostedTrees("both", seed=seed),
        ]
        out[name] = judges.train(rivals, frames, find_in_exposures(frames), retention)
    return out


def for_set(trained: Mapping[str, Sequence[Trained]], geometry: str) -> list[Trained]:
    """Rivals for a set of a geometry: those that learnt from it, and the trees of the others."""
    import copy
    from dataclasses import replace

    out = list(trained[geometry])
    for name, others in trained.items():
        for one in others:
            if name != geometry and one.rival.name == TREES:
                rival = copy.copy(one.rival)
                rival.name = TREES + OTHER
                out.append(replace(one, rival=rival))
    return out


def judge_set(
    name: str,
    frames: Frames,
    detector: BackgroundDetector,
    trained: Sequence[Trained],
    settings: EvaluateSettings,
    seed: int,
) -> tuple[Judged, dict[str, Any]]:
    """Judge one set by everybody, and measure.

    Parameters
    ----------
    name : str
        For the log.
    frames : Frames
    detector : BackgroundDetector
    trained : sequence of Trained
    settings : EvaluateSettings
    seed : int
    """
    judged = judge(
        frames,
        detector,
        trained,
        retention=settings.retention,
        housing_events=settings.housing_events,
    )
    add_ablations(judged, seed)
    trees = next((t.rival for t in trained if t.rival.name == TREES), None)
    numbers = set_metrics(
        judged, retention=settings.retention, replicas=settings.bootstrap, seed=seed
    )
    middle = min(settings.retention, key=lambda r: abs(r - KEPT_AT))
    numbers["strangers"] = with_strangers(
        judged, trees, retention=middle, replicas=settings.bootstrap, seed=seed
    )
    log.info(
        "%s: %d background events, %d photons; removed at %g %%: %s",
        name,
        numbers["background"],
        numbers["photons"],
        100 * middle,
        numbers["methods"][MODEL]["at_retention"][WIDE][metrics.key(middle)]["value"],
    )
    return judged, numbers


def evaluate_all(
    detector: BackgroundDetector, weights: Path, settings: EvaluateSettings, seed: int
) -> tuple[dict[str, Judged], dict[str, Any]]:
    """Judge and measure all sets: both geometries, the Geant4 set where it is found, stress.

    Parameters
    ----------
    detector : BackgroundDetector
    weights : Path
        Its file, which may also hold the network of the source method.
    settings : EvaluateSettings
    seed : int

    Returns
    -------
    judged : dict
        Set -> what everybody said.
    result : dict
        Ready for JSON: ``sets``, ``border``, ``cross_geometry``, ``source_method``, ``stress``,
        ``sensitivity``.
    """
    from .evaluation.rivals import BoostedTrees
    from .evaluation.sets import GEOMETRIES, RIVALS, evaluation_set, geant4_set

    s = settings
    learn = {g: evaluation_set(g + RIVALS, s.rival_exposures, s.hits) for g in GEOMETRIES}
    trained = train_rivals(learn, s.retention, seed)
    frames = {name: evaluation_set(name, s.exposures, s.hits) for name in GEOMETRIES}
    measured = geant4_set(s.geant4_seconds) if s.geant4 else None
    if measured is not None:
        frames[GEANT4] = measured
    judged: dict[str, Judged] = {}
    result: dict[str, Any] = {
        "confidence": metrics.LEVEL,
        "retention": list(s.retention),
        "bands": dict(BANDS),
        "sets": {},
        "border": {},
        "source_method": {},
    }
    for name, part in frames.items():
        rivals = for_set(trained, "far" if name == GEANT4 else name)
        judged[name], result["sets"][name] = judge_set(name, part, detector, rivals, s, seed)
        if name == GEANT4:
            one = judged[name]
            score = judges.crossed(
                BoostedTrees("both", seed=seed), one.frames, one.found, one.events
            )
            one.scores[TREES + KNOWN] = score
            result["sets"][name]["methods"][TREES + KNOWN] = {
                "at_retention": metrics.at_retention(
                    one.events, score, s.retention, replicas=s.bootstrap, seed=seed
                )
            }
        result["border"][name] = with_border(
            part,
            judged[name].detector,
            learn["far" if name == GEANT4 else name],
            retention=s.retention,
            replicas=s.bootstrap,
            seed=seed,
            own=name == GEANT4,
        )
        headline = source_method(weights, judged[name], stream(seed, "bootstrap", len(judged)))
        if headline is not None:
            result["source_method"][name] = headline
    result["cross_geometry"] = cross_geometry(judged, s.retention, s.bootstrap, seed)
    if s.stress_exposures:
        result["stress"] = stress_metrics(
            detector,
            s.stress_exposures,
            s.hits,
            retention=s.retention,
            replicas=s.bootstrap,
            seed=seed,
            housing_events=s.housing_events,
        )
    best = GEANT4 if GEANT4 in judged else "far"
    result["sensitivity"] = sensitivity(result["sets"][best]) | {"set": best}
    return judged, result


def run(
    *, settings: BackgroundSettings, data: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Evaluate weights and write metrics.json and figures.

    Parameters
    ----------
    settings : BackgroundSettings
    data : Path
        Folder of `preprocess.run`; its test split is evaluated beside the frozen sets.
    weights : Path
        Trained weights.
    out : Path
        Folder to write.
    threads : int
        Threads of the network.
    """
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.evaluation.products import write_evaluation

    from .evaluation.plots import figures
    from .inference.detector import BackgroundDetector

    torch.set_num_threads(threads)
    detector = BackgroundDetector.load(weights)
    s = settings.evaluate
    judged, result = evaluate_all(detector, Path(weights), s, settings.seed)
    result["test"] = test_metrics(data, detector, s.retention, s.bootstrap, settings.seed)
    record = provenance.record(
        "evaluate", upstream(settings, "evaluate"), {"data": data, "weights": weights}
    )
    write_evaluation(out, result, figures(judged, result), record)
