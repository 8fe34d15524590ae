"""Numbers of a set that was scored: what goes and what stays, and of which kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physml.models import read_weights

from ..core.arrays import Bools
from ..core.events import find_in_exposures, truth
from ..core.frame_class import classes
from ..core.frames import ORIGINS, Frames
from ..inference.detector import BackgroundDetector
from ..learning.prepared import exposures_of
from ..learning.source_method import SourceNet, Windows, headline_figures
from ..settings import SourceMethodSettings
from . import methods, metrics
from .lessons import Lessons
from .methods import KNOWN, MODEL, OTHER, TREES
from .metrics import BANDS, WIDE, Events, Resampling
from .rivals import BoostedTrees, Rival, SelfAntiCoincidence
from .scored_set import ScoredSet

#: Retention at which the kept photons are looked at.
KEPT_AT = 0.98
#: Frames that the source method is shown.
WINDOWS = 20_000


def set_metrics(
    scored: ScoredSet, *, retention: Sequence[float], replicas: int, seed: int
) -> dict[str, Any]:
    """Numbers of one set.

    Parameters
    ----------
    scored : ScoredSet
        With its ablations.
    retention : sequence of float
    replicas, seed : int
        Bootstrap.
    """
    events = scored.events
    resampling = Resampling(events.frame, replicas, np.random.default_rng(seed))
    out: dict[str, Any] = {
        "frames": len(scored.frames),
        "live_s": scored.live_s,
        "area_cm2": scored.area_cm2,
        **events.numbers(),
        "milliseconds_per_frame": scored.milliseconds,
        "housing": housing_metrics(scored),
        "methods": {},
    }
    out["methods"] = metrics.compared(
        events, scored.scores, MODEL, retention, replicas=replicas, seed=seed
    )
    for method, by_retention in scored.cuts.items():
        entry = out["methods"].setdefault(method, {})
        entry["fixed"] = {
            metrics.key(r): metrics.at_threshold(events, cut, resampling)
            for r, cut in by_retention.items()
        }
    gone = {r: cut[WIDE] for r, cut in scored.cuts[MODEL].items()}
    out["rates"] = metrics.rates(events, gone, scored.live_s, scored.area_cm2, resampling)
    out["calibration"] = metrics.calibration(
        events, scored.scores[MODEL], events.matched((0.3, 10.0)), resampling
    )
    out["frames_with_particle"] = found_frames(scored, replicas, seed)
    nearest = min(gone, key=lambda r: abs(r - KEPT_AT))
    out["bias"] = bias(scored, gone[nearest], resampling) | {"retention": nearest}
    out["origins"] = by_origin(events, gone[nearest], resampling)
    out["companions"] = by_companion(scored, gone[nearest], resampling)
    return out


def housing_metrics(scored: ScoredSet) -> dict[str, Any]:
    """Stand-off of a set, true and measured, mm."""
    assert scored.frames.exposures is not None
    low, high = scored.housing.interval
    return {
        "true": float(np.median(scored.frames.exposures["standoff"])),
        "measured": scored.housing.standoff,
        "interval": [low, high],
        "taken": scored.detector.standoff,
        "events": scored.housing.events,
    }


def found_frames(scored: ScoredSet, replicas: int, seed: int) -> dict[str, Any]:
    """Shares of the frames with a particle that are found, by grading and by the network."""
    frames, found = scored.frames, scored.found
    place = frames.position(found.clusters["frame"])
    # An event that is not valid, or too bright: what grading itself calls a particle.
    invalid = np.zeros(len(found.clusters), bool)
    invalid[found.events["cluster"][~found.events["valid"]]] = True
    graded = np.bincount(place, invalid | found.clusters["particle"], minlength=len(frames)) > 0
    p = scored.classified.p_frame
    p = np.where(np.isfinite(p), p, [1.0, 0.0, 0.0])  # an empty frame holds no particle
    return metrics.frame_metrics(
        classes(frames.position(frames.pixels["frame"]), frames.pixels, len(frames)),
        frames.weight.astype(np.float64),
        graded,
        p,
        replicas=replicas,
        seed=seed,
    )


def bias(scored: ScoredSet, rejected: Bools, resampling: Resampling) -> dict[str, Any]:
    """Photons lost by energy, by place, by nearness of a particle."""
    events, shape = scored.events, scored.frames.shape
    quantities = {
        "energy": (events.energy, metrics.ENERGY_EDGES),
        "border": (metrics.border_distance(events, shape), metrics.BORDER_EDGES),
        "particle_distance": (scored.classified.d_mip[events.row], metrics.DISTANCE_EDGES),
    }
    lost = {
        name: metrics.kept_in_bins(events, rejected, values, edges, resampling)
        for name, (values, edges) in quantities.items()
    }
    return {**lost, "map": metrics.kept_map(events, rejected, shape)}


def by_origin(events: Events, rejected: Bools, resampling: Resampling) -> dict[str, dict[str, Any]]:
    """Background of each origin: share of it, and how much of it is removed (0.3-10 keV)."""
    kinds = {name: events.origin == k for k, name in enumerate(ORIGINS)}
    return _of_kinds(events, kinds, rejected, resampling)


def _of_kinds(
    events: Events, kinds: Mapping[str, Bools], rejected: Bools, resampling: Resampling
) -> dict[str, dict[str, Any]]:
    weight = events.weight * (events.background & events.within(BANDS[WIDE]))
    return {
        name: {
            "share": metrics.summarise(resampling.ratio(weight * mine, weight)),
            "removed": metrics.summarise(resampling.ratio(weight * mine * rejected, weight * mine)),
        }
        for name, mine in kinds.items()
    }


def by_companion(
    scored: ScoredSet, rejected: Bools, resampling: Resampling
) -> dict[str, dict[str, Any]]:
    """Background with and without a track of its own primary in the frame (0.3-10 keV).

    What came alone has no context that could tell it: the share with a track bounds what any use
    of context can remove at no loss.

    Returns
    -------
    dict
        ``track`` (a cluster above the upper limit by the same primary) and ``alone``: ``share`` of
        the background, ``removed`` of it.
    """
    events, pixels = scored.events, scored.frames.pixels
    cluster = scored.found.pixel_cluster
    in_track = np.zeros(len(pixels), bool)
    on = cluster >= 0
    in_track[on] = scored.found.clusters["particle"][cluster[on]]
    # Sources are rows of the table of particles: each belongs to one frame.
    tracks = np.unique(pixels["source"][in_track & (pixels["source"] >= 0)])
    source = truth(scored.found, scored.frames)["source"][events.row]
    with_track = np.isin(source, tracks)
    kinds = {"track": with_track, "alone": ~with_track}
    return _of_kinds(events, kinds, rejected, resampling)


def cross_geometry(
    scored: Mapping[str, ScoredSet], retention: Sequence[float], replicas: int, seed: int
) -> dict[str, Any]:
    """Loss of the trees when they learnt from the other geometry, in points of removed share."""
    out: dict[str, Any] = {}
    for name, one in scored.items():
        if TREES + OTHER not in one.scores:
            continue
        resampling = Resampling(one.events.frame, replicas, np.random.default_rng(seed))
        out[name] = {
            metrics.key(r): metrics.removed_difference(
                one.events, one.scores[TREES], one.scores[TREES + OTHER], r, WIDE, resampling
            )
            for r in retention
        }
    return out


def with_border(
    frames: Frames,
    detector: BackgroundDetector,
    lessons: Lessons,
    *,
    retention: Sequence[float],
    replicas: int,
    seed: int,
    own: bool = False,
) -> dict[str, Any]:
    """Measure with events at the border accepted, as in figures made before.

    A particle that clips the detector's edge leaves little and is easily told. Where such events
    pass as X-rays, every method removes more: numbers with and without them are not comparable.

    Parameters
    ----------
    frames : Frames
        The set.
    detector : BackgroundDetector
    lessons : Lessons
        What the trees learn from: events of its geometry, those at the border among them.
    retention : sequence of float
    replicas, seed : int
        Bootstrap.
    own : bool
        Let trees learn from the other half of the set as well.

    Returns
    -------
    dict
        ``background``, ``photons``, and ``methods``: as from `metrics.compared`.
    """
    found = find_in_exposures(frames, keep_border=True)
    events = metrics.valid_events(found, frames)
    scores = {MODEL: detector.classify(frames, found).p_bkg[events.row]}
    rivals: list[Rival] = [SelfAntiCoincidence(), BoostedTrees("both", seed=seed)]
    for one in methods.train_on(rivals, lessons, retention):
        scores[one.rival.name] = one.rival.score(frames, found)[events.row]
    if own:
        trees = BoostedTrees("both", seed=seed)
        scores[TREES + KNOWN] = methods.crossed(trees, frames, found, events)
    return {
        **events.numbers(),
        "methods": metrics.compared(
            events, scores, MODEL, retention, replicas=replicas, seed=seed, bands=("2-7", WIDE)
        ),
    }


def source_method(
    weights: Path, scored: ScoredSet, rng: np.random.Generator
) -> list[dict[str, Any]] | None:
    """Headline figures of the source paper's network on a set; None if it was not trained.

    Parameters
    ----------
    weights : Path
    scored : ScoredSet
    rng : numpy.random.Generator
        Of the windows and the bootstrap.
    """
    found = read_weights("background", weights)
    if "source_method" not in found.card:
        return None
    network = SourceNet(SourceMethodSettings(**found.card["source_method"]["network"]))
    found.fill(network, SourceNet.part)
    return headline_figures(network, _windows(scored, rng), rng)


def _windows(scored: ScoredSet, rng: np.random.Generator) -> Any:
    """Windows of a set: all of its frames with a candidate, and as many of the others as fit."""
    frames = scored.frames
    busy = np.zeros(len(frames), bool)
    busy[frames.position(scored.events.frame[scored.events.background])] = True
    share = min(1.0, WINDOWS / max(len(frames) - busy.sum(), 1))
    chosen = busy | (rng.random(len(frames)) < share)
    weight = np.where(busy, frames.weight, frames.weight / share).astype(np.float32)
    some = replace(frames, weight=weight).select(chosen)
    parts = [
        Windows.cut(one, find_in_exposures(one), rng).arrays
        for _, one in exposures_of(some)
        if len(one)
    ]
    return Windows({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})
