"""A set of exposures with the scores that the network and its rivals give its events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physml.random import stream

from ..core.arrays import Bools, Floats
from ..core.events import Found, find_in_exposures
from ..core.frames import Frames
from ..inference.detector import BackgroundDetector, Classified
from ..inference.housing import ENOUGH, Housing
from ..inference.inputs import particle_rate
from . import methods, metrics
from .context_ablation import event_rows, exchange_frames, isolated
from .methods import CONTEXT, LOCAL, MODEL, MODEL_BAND, Cut, Trained
from .metrics import WIDE, Events, Resampling


@dataclass
class ScoredSet:
    """Events of a set with their scores by each method.

    Attributes
    ----------
    frames : Frames
    found : Found
    events : Events
        Those that passed grading.
    classified : Classified
        Probabilities of the network.
    detector : BackgroundDetector
        The network, told the stand-off that it measured.
    housing : Housing
        The measurement.
    scores : dict of ndarray, shape (number of events,)
        Method -> score.
    cuts : dict
        Method -> retention -> band -> rejected by the cut fixed before.
    milliseconds : dict
        CPU time of a frame for ``events`` and ``network``, of the frames as they are held.
    """

    frames: Frames
    found: Found
    events: Events
    classified: Classified
    detector: BackgroundDetector
    housing: Housing
    scores: dict[str, Floats] = field(default_factory=dict)
    cuts: dict[str, dict[float, Cut]] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def live_s(self) -> float:
        """Time that the set stands for, s."""
        assert self.frames.exposures is not None
        return float(self.frames.exposures["live_s"].sum())

    @property
    def area_cm2(self) -> float:
        """Area of the detector, cm2."""
        assert self.frames.exposures is not None
        return float(self.frames.exposures["area_cm2"][0])


def score_set(
    frames: Frames,
    detector: BackgroundDetector,
    trained: Sequence[Trained] = (),
    *,
    retention: Sequence[float],
    bad: Bools | None = None,
    housing_events: int = ENOUGH,
) -> ScoredSet:
    """Let the network and all rivals score the events of a set.

    Parameters
    ----------
    frames : Frames
        With truth.
    detector : BackgroundDetector
    trained : sequence of Trained
        Rivals with their cuts.
    retention : sequence of float
        For which cuts are applied.
    bad : ndarray of bool, shape (ny, nx), optional
        Pixels to ignore.
    housing_events : int
        Events that the stand-off is measured on, at most.
    """
    began = time.process_time()
    found = find_in_exposures(frames, bad)
    between = time.process_time()
    rate = particle_rate(found, frames)
    detector, housing = detector.settled([(frames, found, rate)], enough=housing_events)
    ready = time.process_time()
    classified = detector.classify(frames, found)
    ended = time.process_time()
    events = metrics.valid_events(found, frames)
    made = ScoredSet(frames, found, events, classified, detector, housing)
    n = max(len(frames), 1)
    made.milliseconds = {
        "events": 1e3 * (between - began) / n,
        "housing": 1e3 * (ready - between) / n,
        "network": 1e3 * (ended - ready) / n,
    }
    made.scores[MODEL] = classified.p_bkg[events.row]
    made.cuts[MODEL], made.cuts[MODEL_BAND] = {}, {}
    for r in retention:
        each, whole = methods.network_cuts(detector, classified, events, r)
        made.cuts[MODEL][r], made.cuts[MODEL_BAND][r] = each, whole
    for one in trained:
        score = one.rival.score(frames, found)[events.row]
        made.scores[one.rival.name] = score
        made.cuts[one.rival.name] = {r: one.cut(score, r) for r in retention}
    return made


def add_ablations(scored: ScoredSet, seed: int) -> None:
    """Score by the events without their context, and by the context without their pixels."""
    rows, detector = scored.events.row, scored.detector
    local = detector.classify(scored.frames, scored.found, context=False)
    scored.scores[LOCAL] = local.p_bkg[rows]
    rng = stream(seed, "evaluate", 0)
    scored.scores[CONTEXT] = methods.context_only(detector, scored.frames, scored.found, rng)[rows]


def with_exchanged_frames(
    scored: ScoredSet, trees: Any | None, *, retention: float, replicas: int, seed: int
) -> dict[str, Any]:
    """Put each event into another frame: what context gave must then be gone.

    Parameters
    ----------
    scored : ScoredSet
        With its ablations.
    trees : Rival or None
        Trees on all features, scored alike.
    retention : float
    replicas, seed : int

    Returns
    -------
    dict
        For the network (and trees): ``own``, ``strangers``, ``local`` (removed at the retention
        in 0.3-10 keV, for the network), ``difference`` (strangers' minus local, paired).
    """
    rng = stream(seed, "evaluate", 1)
    chosen = isolated(scored.found, scored.events)
    events = scored.events[chosen]
    moved, of = exchange_frames(scored.frames, scored.found, events, rng)
    found = find_in_exposures(moved)
    rows = event_rows(moved, found, events[of], scored.found)
    there = rows >= 0
    events = events[of][there]
    scores = {"strangers": scored.detector.classify(moved, found).p_bkg[rows[there]]}
    for name, method in (("own", MODEL), ("local", LOCAL)):
        scores[name] = scored.scores[method][chosen][of][there]
    if trees is not None:
        scores["trees_strangers"] = trees.score(moved, found)[rows[there]]
        scores["trees_own"] = scored.scores[trees.name][chosen][of][there]
    out: dict[str, Any] = {"events": len(events), "retention": retention}
    for name, score in scores.items():
        found_at = metrics.at_retention(events, score, (retention,), replicas=replicas, seed=seed)
        out[name] = found_at[WIDE][metrics.key(retention)]
    resampling = Resampling(events.frame, replicas, np.random.default_rng(seed))
    out["difference"] = metrics.removed_difference(
        events, scores["strangers"], scores["local"], retention, WIDE, resampling
    )
    return out
