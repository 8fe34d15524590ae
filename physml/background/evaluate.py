"""Evaluate trained weights: on the test split, on the frozen sets, and on the Geant4 set.

Each set is judged once, by the network and by all rivals, on identical events at natural rates.
Photons are weighted to the energies of the background. Two kinds of numbers come of it: what goes
where exactly so many photons stay (thresholds set on these very events, alike for every method),
and what goes and stays by the cuts that were fixed on validation data before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physml.random import stream

from . import judges, metrics
from .housing import ENOUGH, Housing
from .inputs import particle_rate
from .judges import CONTEXT, KNOWN, LOCAL, MODEL, MODEL_BAND, OTHER, TREES, Cut, Trained
from .metrics import BANDS, WIDE, Events, Resampling

if TYPE_CHECKING:
    from .detect import BackgroundDetector, Classified
    from .events import Found
    from .frames import Frames
    from .rivals import Rival
    from .settings import BackgroundSettings, EvaluateSettings

log = logging.getLogger(__name__)

GEANT4 = "geant4"
KEPT_AT = 0.98  # retention at which the kept photons are looked at
WINDOWS = 20_000  # frames that the source method is shown


@dataclass
class Judged:
    """A set with what everybody says of its events.

    Attributes
    ----------
    frames : Frames
    found : Found
    events : Events
        Those that passed grading.
    classified : Classified
        The network's answer.
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
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
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


def find(frames: Frames, bad: NDArray[np.bool_] | None = None, keep_border: bool = False) -> Found:
    """Find events with the thresholds of the frames' exposures, which have to agree."""
    from .events import EVENT_THRESHOLD, SPLIT, find_events

    split = SPLIT
    if frames.exposures is not None:
        levels = np.unique(frames.exposures["threshold"])
        if len(levels) > 1:
            raise ValueError(f"expected exposures of one split threshold, found {levels} keV")
        split = float(levels[0])
    event = max(EVENT_THRESHOLD, split)
    return find_events(frames, split=split, event=event, bad=bad, keep_border=keep_border)


def judge(
    frames: Frames,
    detector: BackgroundDetector,
    trained: Sequence[Trained] = (),
    *,
    retention: Sequence[float],
    bad: NDArray[np.bool_] | None = None,
    housing_events: int = ENOUGH,
) -> Judged:
    """Let the network and all rivals judge the events of a set.

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
    found = find(frames, bad)
    between = time.process_time()
    rate = particle_rate(found, frames)
    detector, housing = detector.settled([(frames, found, rate)], enough=housing_events)
    ready = time.process_time()
    classified = detector.classify(frames, found)
    ended = time.process_time()
    events = metrics.valid_events(found, frames)
    made = Judged(frames, found, events, classified, detector, housing)
    n = max(len(frames), 1)
    made.milliseconds = {
        "events": 1e3 * (between - began) / n,
        "housing": 1e3 * (ready - between) / n,
        "network": 1e3 * (ended - ready) / n,
    }
    made.scores[MODEL] = classified.p_bkg[events.row]
    made.cuts[MODEL], made.cuts[MODEL_BAND] = {}, {}
    for r in retention:
        each, whole = judges.network_cuts(detector, classified, events, r)
        made.cuts[MODEL][r], made.cuts[MODEL_BAND][r] = each, whole
    for one in trained:
        score = one.rival.score(frames, found)[events.row]
        made.scores[one.rival.name] = score
        made.cuts[one.rival.name] = {r: one.cut(score, r) for r in retention}
    return made


def add_ablations(judged: Judged, seed: int) -> None:
    """Judge by the event alone, and by its context alone."""
    rows, detector = judged.events.row, judged.detector
    alone = detector.classify(judged.frames, judged.found, context=False)
    judged.scores[LOCAL] = alone.p_bkg[rows]
    rng = stream(seed, "evaluate", 0)
    judged.scores[CONTEXT] = judges.context_only(detector, judged.frames, judged.found, rng)[rows]


def with_strangers(
    judged: Judged,
    trees: Any | None,
    *,
    retention: float,
    replicas: int,
    seed: int,
) -> dict[str, Any]:
    """Put each event into another frame: what context gave must then be gone.

    Parameters
    ----------
    judged : Judged
        With its ablations.
    trees : Rival or None
        Trees on all features, judged alike.
    retention : float
    replicas, seed : int

    Returns
    -------
    dict
        For the network (and trees): ``own``, ``strangers``, ``local`` (removed at the retention
        in 0.3-10 keV, for the network), ``difference`` (strangers' minus local, paired).
    """
    from .ablation import event_rows, isolated, strangers_context

    rng = stream(seed, "evaluate", 1)
    alone = isolated(judged.found, judged.events)
    events = judged.events[alone]
    moved, of = strangers_context(judged.frames, judged.found, events, rng)
    found = find(moved)
    rows = event_rows(moved, found, events[of], judged.found)
    there = rows >= 0
    events = events[of][there]
    scores = {"strangers": judged.detector.classify(moved, found).p_bkg[rows[there]]}
    for name, method in (("own", MODEL), ("local", LOCAL)):
        scores[name] = judged.scores[method][alone][of][there]
    if trees is not None:
        scores["trees_strangers"] = trees.score(moved, found)[rows[there]]
        scores["trees_own"] = judged.scores[trees.name][alone][of][there]
    out: dict[str, Any] = {"events": len(events), "retention": retention}
    for name, score in scores.items():
        found_at = metrics.at_retention(events, score, (retention,), replicas=replicas, seed=seed)
        out[name] = found_at[WIDE][metrics.key(retention)]
    resampling = Resampling(events.frame, replicas, np.random.default_rng(seed))
    out["difference"] = metrics.removed_difference(
        events, scores["strangers"], scores["local"], retention, WIDE, resampling
    )
    return out


# ------------------------------------------------------------------------------------- all numbers


def set_metrics(
    judged: Judged, *, retention: Sequence[float], replicas: int, seed: int
) -> dict[str, Any]:
    """All numbers about one set.

    Parameters
    ----------
    judged : Judged
    retention : sequence of float
    replicas, seed : int
        Bootstrap.
    """
    events = judged.events
    resampling = Resampling(events.frame, replicas, np.random.default_rng(seed))
    inside = events.within(BANDS[WIDE])
    out: dict[str, Any] = {
        "frames": len(judged.frames),
        "live_s": judged.live_s,
        "area_cm2": judged.area_cm2,
        "photons": int((inside & ~events.background).sum()),
        "background": int((inside & events.background).sum()),
        "milliseconds_per_frame": judged.milliseconds,
        "housing": housing_metrics(judged),
        "methods": {},
    }
    for method, score in judged.scores.items():
        out["methods"][method] = {
            "at_retention": metrics.at_retention(
                events, score, retention, replicas=replicas, seed=seed
            )
        }
    for method, by_retention in judged.cuts.items():
        entry = out["methods"].setdefault(method, {})
        entry["fixed"] = {
            metrics.key(r): metrics.at_threshold(events, cut, resampling)
            for r, cut in by_retention.items()
        }
    gone = {r: cut[WIDE] for r, cut in judged.cuts[MODEL].items()}
    out["rates"] = metrics.rates(events, gone, judged.live_s, judged.area_cm2, resampling)
    out["calibration"] = metrics.calibration(
        events, judged.scores[MODEL], events.matched((0.3, 10.0)), resampling
    )
    out["frames_with_particle"] = found_frames(judged, replicas, seed)
    nearest = min(gone, key=lambda r: abs(r - KEPT_AT))
    out["bias"] = bias(judged, gone[nearest], resampling) | {"retention": nearest}
    out["origins"] = by_origin(events, gone[nearest], resampling)
    out["companions"] = by_companion(judged, gone[nearest], resampling)
    return out


def housing_metrics(judged: Judged) -> dict[str, Any]:
    """Stand-off of a set, true and measured, mm."""
    assert judged.frames.exposures is not None
    low, high = judged.housing.interval
    return {
        "true": float(np.median(judged.frames.exposures["standoff"])),
        "measured": judged.housing.standoff,
        "interval": [low, high],
        "taken": judged.detector.standoff,
        "events": judged.housing.events,
    }


def found_frames(judged: Judged, replicas: int, seed: int) -> dict[str, Any]:
    """How many frames with a particle are found, by grading and by the network."""
    from .frame_class import classes

    frames, found = judged.frames, judged.found
    place = frames.position(found.clusters["frame"])
    # An event that is not valid, or too bright: what grading itself calls a particle.
    invalid = np.zeros(len(found.clusters), bool)
    invalid[found.events["cluster"][~found.events["valid"]]] = True
    graded = np.bincount(place, invalid | found.clusters["particle"], minlength=len(frames)) > 0
    p = judged.classified.p_frame
    p = np.where(np.isfinite(p), p, [1.0, 0.0, 0.0])  # an empty frame holds no particle
    return metrics.frame_metrics(
        classes(frames.position(frames.pixels["frame"]), frames.pixels, len(frames)),
        frames.weight.astype(np.float64),
        graded,
        p,
        replicas=replicas,
        seed=seed,
    )


def bias(judged: Judged, rejected: NDArray[np.bool_], resampling: Resampling) -> dict[str, Any]:
    """Which photons are lost: by energy, by place, by what else is in the frame."""
    events, shape = judged.events, judged.frames.shape
    distance = judged.classified.d_mip[events.row]
    return {
        "energy": metrics.kept_in_bins(
            events, rejected, events.energy, metrics.ENERGY_EDGES, resampling
        ),
        "border": metrics.kept_in_bins(
            events,
            rejected,
            metrics.border_distance(events, shape),
            metrics.BORDER_EDGES,
            resampling,
        ),
        "particle_distance": metrics.kept_in_bins(
            events, rejected, distance, metrics.DISTANCE_EDGES, resampling
        ),
        "map": metrics.kept_map(events, rejected, shape),
    }


def by_origin(
    events: Events, rejected: NDArray[np.bool_], resampling: Resampling
) -> dict[str, dict[str, Any]]:
    """Where the background comes from, and how much of each kind is removed (0.3-10 keV)."""
    from .frames import ORIGINS

    weight = events.weight * (events.background & events.within(BANDS[WIDE]))
    out = {}
    for k, name in enumerate(ORIGINS):
        mine = weight * (events.origin == k)
        out[name] = {
            "share": metrics.summarise(resampling.ratio(mine, weight)),
            "removed": metrics.summarise(resampling.ratio(mine * rejected, mine)),
        }
    return out


def by_companion(
    judged: Judged, rejected: NDArray[np.bool_], resampling: Resampling
) -> dict[str, dict[str, Any]]:
    """Whether the background's own primaries left a track in the frame (0.3-10 keV).

    What came alone has no context that could tell it: the share with a track bounds what any use
    of context can remove at no loss.

    Returns
    -------
    dict
        ``track`` (a cluster above the upper limit by the same primary) and ``alone``: ``share`` of
        the background, ``removed`` of it.
    """
    from .events import truth

    events, pixels = judged.events, judged.frames.pixels
    cluster = judged.found.pixel_cluster
    in_track = np.zeros(len(pixels), bool)
    on = cluster >= 0
    in_track[on] = judged.found.clusters["particle"][cluster[on]]
    # Sources are rows of the table of particles: each belongs to one frame.
    tracks = np.unique(pixels["source"][in_track & (pixels["source"] >= 0)])
    source = truth(judged.found, judged.frames)["source"][events.row]
    with_track = np.isin(source, tracks)
    weight = events.weight * (events.background & events.within(BANDS[WIDE]))
    out = {}
    for name, which in (("track", with_track), ("alone", ~with_track)):
        mine = weight * which
        out[name] = {
            "share": metrics.summarise(resampling.ratio(mine, weight)),
            "removed": metrics.summarise(resampling.ratio(mine * rejected, mine)),
        }
    return out


def cross_geometry(
    judged: Mapping[str, Judged], retention: Sequence[float], replicas: int, seed: int
) -> dict[str, Any]:
    """Loss of the trees when they learnt from the other geometry, in points of removed share."""
    out: dict[str, Any] = {}
    for name, one in judged.items():
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
    learn: Frames,
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
    frames, learn : Frames
        The set, and exposures of its geometry that the trees learn from.
    detector : BackgroundDetector
    retention : sequence of float
    replicas, seed : int
        Bootstrap.
    own : bool
        Let trees learn from the other half of the set as well.

    Returns
    -------
    dict
        ``background``, ``photons``, and ``methods``: method -> ``at_retention``.
    """
    from .rivals import BoostedTrees, SelfAntiCoincidence

    found = find(frames, keep_border=True)
    events = metrics.valid_events(found, frames)
    scores = {MODEL: detector.classify(frames, found).p_bkg[events.row]}
    teacher = find(learn, keep_border=True)
    rivals: list[Rival] = [SelfAntiCoincidence(), BoostedTrees("both", seed=seed)]
    for one in judges.train(rivals, learn, teacher, retention):
        scores[one.rival.name] = one.rival.score(frames, found)[events.row]
    if own:
        trees = BoostedTrees("both", seed=seed)
        scores[TREES + KNOWN] = judges.crossed(trees, frames, found, events)
    inside = events.within(BANDS[WIDE])
    return {
        "photons": int((inside & ~events.background).sum()),
        "background": int((inside & events.background).sum()),
        "methods": {
            name: {
                "at_retention": metrics.at_retention(
                    events, score, retention, replicas=replicas, seed=seed, bands=("2-7", WIDE)
                )
            }
            for name, score in scores.items()
        },
    }


# --------------------------------------------------------------------------------- source method


def source_method(
    weights: Path, judged: Judged, rng: np.random.Generator
) -> list[dict[str, Any]] | None:
    """Two headline figures of the source paper's network on a set; None if it was not trained."""
    from physml.io.weights import load_weights

    from .learning_settings import SourceMethodSettings
    from .source_method import SourceNet, headline_figures

    state, card = load_weights(weights)
    if "source_method" not in card:
        return None
    network = SourceNet(SourceMethodSettings(**card["source_method"]["network"]))
    part = SourceNet.part
    network.load_state_dict(
        {k.removeprefix(part): v for k, v in state.items() if k.startswith(part)}
    )
    return headline_figures(network, _windows(judged, rng), rng)


def _windows(judged: Judged, rng: np.random.Generator) -> Any:
    """Windows of a set: all of its frames with a candidate, and as many of the others as fit."""
    from dataclasses import replace

    from .preprocess import exposures_of
    from .source_method import Windows

    frames = judged.frames
    busy = np.zeros(len(frames), bool)
    busy[frames.position(judged.events.frame[judged.events.background])] = True
    share = min(1.0, WINDOWS / max(len(frames) - busy.sum(), 1))
    chosen = busy | (rng.random(len(frames)) < share)
    weight = np.where(busy, frames.weight, frames.weight / share).astype(np.float32)
    some = replace(frames, weight=weight).select(chosen)
    parts = [Windows.cut(one, find(one), rng).arrays for _, one in exposures_of(some) if len(one)]
    return Windows({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


# ------------------------------------------------------------------------------------ other sets


def test_metrics(
    data: Path, detector: BackgroundDetector, retention: Sequence[float], replicas: int, seed: int
) -> dict[str, Any]:
    """Calibration and promises on the test split of the training data: all conditions mixed."""
    from .calibrate import as_members
    from .inputs import FEATURES, STANDOFF
    from .thresholds import nearest
    from .training_data import EventSets

    sets = EventSets.read(Path(data) / "test.h5")
    m = as_members(sets)
    # The stand-off of each exposure is taken as known, as far as there are cuts for it.
    column = FEATURES.index("log_standoff")
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
    rate = 10.0 ** a["feature"][use, FEATURES.index("log_rate")].astype(np.float64)
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
    from .sets import evaluation_set
    from .stress import BAD_COLUMNS, CONDITIONS, bad_columns, without

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
    from .sensitivity import Telescope, worked_example

    low, high = BANDS[band]
    rate = numbers["rates"][band]["graded"]["value"] * (high - low)
    cuts = {}
    for retention, removed in numbers["methods"][MODEL]["at_retention"][band].items():
        if removed["value"] is not None:
            ends = [removed[k] if removed[k] is not None else np.nan for k in ("low", "high")]
            cuts[float(retention)] = (removed["value"], *ends)
    return worked_example(rate, cuts, Telescope(band=BANDS[band])) | {"band": band}


# ------------------------------------------------------------------------------------- everything


def train_rivals(
    learn: Mapping[str, Frames], retention: Sequence[float], seed: int
) -> dict[str, list[Trained]]:
    """Rivals that learnt from simulations of each geometry, by its name."""
    from .rivals import BoostedTrees, SelfAntiCoincidence

    out = {}
    for name, frames in learn.items():
        rivals: list[Rival] = [
            SelfAntiCoincidence(),
            BoostedTrees("local", seed=seed),
            BoostedTrees("context", seed=seed),
            BoostedTrees("both", seed=seed),
        ]
        out[name] = judges.train(rivals, frames, find(frames), retention)
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
    from .rivals import BoostedTrees
    from .sets import GEOMETRIES, RIVALS, evaluation_set, geant4_set

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

    from .detect import BackgroundDetector
    from .plots import figures

    torch.set_num_threads(threads)
    detector = BackgroundDetector.load(weights)
    s = settings.evaluate
    judged, result = evaluate_all(detector, Path(weights), s, settings.seed)
    result["test"] = test_metrics(data, detector, s.retention, s.bootstrap, settings.seed)
    record = provenance.record(
        "evaluate", upstream(settings, "evaluate"), {"data": data, "weights": weights}
    )
    write_evaluation(out, result, figures(judged, result), record)
