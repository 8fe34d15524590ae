"""Numbers of an evaluation: background removed, X-rays kept, and whether promises hold.

All take the events that passed grading and event thresholds, weighted to natural rates. Whole
frames are resampled for the intervals: events of one primary share a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from physml.evaluation.bootstrap import LEVEL, Interval, percentile_interval
from physml.evaluation.calibration import BINS, calibration_error

from ..core.arrays import Bools, Floats, Ints, Rows
from ..core.events import Found, truth
from ..core.frames import Frames
from ..core.records import Records
from ..learning.energy_matching import energy_matching, removed_resamples, threshold_at_retention

#: Energy bands in keV, from and up to below.
BANDS: Mapping[str, tuple[float, float]] = {
    "0.3-2": (0.3, 2.0),
    "2-7": (2.0, 7.0),
    "7-10": (7.0, 10.0),
    "0.3-10": (0.3, 10.0),
}
WIDE = "0.3-10"
#: Edges of bins for the spectral bias, keV.
ENERGY_EDGES = (0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 4.5, 7.0, 10.0)
#: Distances from the border for the spatial bias, pixels.
BORDER_EDGES = (0, 4, 16, 40, 80, 160, 260)
#: Distances from the nearest particle, pixels.
DISTANCE_EDGES = (0, 10, 20, 40, 80, 160, 320, 730)
#: Cells along a side of the map of kept photons.
MAP = 8

Summary = dict[str, float | None]


@dataclass(frozen=True)
class Events(Records):
    """Events that passed grading, with truth.

    Attributes
    ----------
    energy : ndarray of float64, shape (m,)
        keV.
    background : ndarray of bool, shape (m,)
        A particle left most of it.
    weight : ndarray of float64, shape (m,)
        1 / (probability that its frame is held): sums are those of all frames.
    frame : ndarray of int64, shape (m,)
    x, y : ndarray of float64, shape (m,)
        Pixels.
    origin : ndarray of int64, shape (m,)
        Largest share of the energy: place in `frames.ORIGINS`.
    row : ndarray of int64, shape (m,)
        Row of `Found.events`.
    """

    energy: Floats
    background: Bools
    weight: Floats
    frame: Ints
    x: Floats
    y: Floats
    origin: Ints
    row: Ints
    _matched: dict[tuple[float, float], Floats] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def label(self) -> Ints:
        """0 photon, 1 background, shape (m,)."""
        return self.background.astype(np.int64)

    def within(self, band: tuple[float, float]) -> Bools:
        """Tell which lie in a band [keV], shape (m,)."""
        inside: Bools = (self.energy >= band[0]) & (self.energy < band[1])
        return inside

    def numbers(self) -> dict[str, int]:
        """Photons and background events in 0.3-10 keV."""
        inside = self.within(BANDS[WIDE])
        return {
            "photons": int((inside & ~self.background).sum()),
            "background": int((inside & self.background).sum()),
        }

    def matched(self, band: tuple[float, float]) -> Floats:
        """Weights in a band with the photons' energies matched to the background's, shape (m,)."""
        if band not in self._matched:
            weight = energy_matching(self.energy, self.label, self.weight, band=band)
            weight.setflags(write=False)
            self._matched[band] = weight
        return self._matched[band]


def valid_events(found: Found, frames: Frames) -> Events:
    """Take the events that passed grading, with what they are.

    Raises
    ------
    ValueError
        The frames have no truth.
    """
    known = truth(found, frames)
    row = np.flatnonzero(found.events["valid"])
    e, t = found.events[row], known[row]
    return Events(
        energy=e["energy"].astype(np.float64),
        background=t["label"] == 1,
        weight=frames.weight[frames.position(e["frame"])].astype(np.float64),
        frame=e["frame"].astype(np.int64),
        x=e["xc"].astype(np.float64),
        y=e["yc"].astype(np.float64),
        origin=t["share"].argmax(axis=1),
        row=row,
    )


class Resampling:
    """Numbers of times that each frame counts in each resample, Poisson of mean one.

    With many frames that is the bootstrap by frame, and frames without events need not be known.

    Parameters
    ----------
    frame : ndarray of int, shape (m,)
        Frame of each event.
    replicas : int
    rng : numpy.random.Generator
    """

    def __init__(self, frame: Rows, replicas: int, rng: np.random.Generator) -> None:
        values, self.place = np.unique(np.asarray(frame), return_inverse=True)
        self.n = len(values)
        self.repeats = np.empty((replicas, self.n), np.float32)
        for row in self.repeats:  # numbers are drawn as long integers: one row at a time
            row[:] = rng.poisson(1.0, self.n)

    def sums(self, values: Rows) -> Floats:
        """Sums over events, of the data themselves and of each resample.

        Parameters
        ----------
        values : ndarray, shape (m,) or (m, k)

        Returns
        -------
        ndarray, shape (1 + replicas,) or (1 + replicas, k)
        """
        columns = np.asarray(values, np.float64)
        columns = columns.reshape(len(columns), -1)
        frames = np.zeros((self.n, columns.shape[1]))
        for k, column in enumerate(columns.T):
            frames[:, k] = np.bincount(self.place, column, minlength=self.n)
        # Scaled to one, because the product is taken in single precision.
        scale = np.maximum(np.abs(frames).max(axis=0, initial=0), 1e-30)
        drawn = (self.repeats @ (frames / scale).astype(np.float32)) * scale
        both = np.concatenate([frames.sum(axis=0)[None], drawn])
        return both if np.ndim(values) > 1 else both[:, 0]

    def ratio(self, numerator: Rows, denominator: Rows) -> Floats:
        """Ratios of two sums, of the data themselves and of each resample."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums(numerator) / self.sums(denominator)


def summarise(values: Floats | Interval, level: float = LEVEL) -> Summary:
    """Value and interval for JSON; None where not defined.

    Parameters
    ----------
    values : ndarray, shape (1 + replicas,), or Interval
        The value, then those of the resamples.
    level : float
    """
    if not isinstance(values, Interval):
        values = percentile_interval(float(values[0]), values[1:], level)
    ends = values._asdict().items()
    return {name: float(x) if np.isfinite(x) else None for name, x in ends}


def at_retention(
    events: Events,
    score: Floats,
    retention: Sequence[float],
    *,
    replicas: int,
    seed: int,
    bands: Sequence[str] = tuple(BANDS),
) -> dict[str, dict[str, Summary]]:
    """Share of the background removed in each band where exactly so many photons stay.

    The threshold is set on these very events, alike for every method, so that methods are compared
    at one loss. Photons have the energies of the background.

    Returns
    -------
    dict
        Band -> retention (as text) -> summary.
    """
    found = _resampled(events, score, retention, replicas, seed, bands)
    return {band: _summaries(retention, *drawn) for band, drawn in found.items()}


def compared(
    events: Events,
    scores: Mapping[str, Floats],
    best: str,
    retention: Sequence[float],
    *,
    replicas: int,
    seed: int,
    bands: Sequence[str] = tuple(BANDS),
) -> dict[str, dict[str, Any]]:
    """Shares that several methods remove of the same events, and by how much the best is ahead.

    Differences are paired: thresholds are set anew for both in each resample of the frames, and
    resamples are the same.

    Parameters
    ----------
    events : Events
    scores : mapping of ndarray, shape (m,)
        Method -> score.
    best : str
        Method that the others are compared with.
    retention : sequence of float
    replicas, seed : int
        Bootstrap.
    bands : sequence of str
        Of `BANDS`.

    Returns
    -------
    dict
        Method -> ``at_retention`` (as from `at_retention`), and but for the best itself ``behind``:
        band -> retention -> what the best removes minus what this method does.
    """
    top = _resampled(events, scores[best], retention, replicas, seed, bands)
    out: dict[str, dict[str, Any]] = {}
    for method, score in scores.items():
        found = top
        if method != best:
            found = _resampled(events, score, retention, replicas, seed, bands)
        out[method] = {
            "at_retention": {band: _summaries(retention, *drawn) for band, drawn in found.items()}
        }
        if method != best:
            out[method]["behind"] = {
                band: _summaries(retention, top[band][0] - value, top[band][1] - drawn)
                for band, (value, drawn) in found.items()
            }
    return out


def _resampled(
    events: Events,
    score: Floats,
    retention: Sequence[float],
    replicas: int,
    seed: int,
    bands: Sequence[str],
) -> dict[str, tuple[Floats, Floats]]:
    """Band -> shares removed, of all events and in each resample."""
    out = {}
    for name in bands:
        weight = events.matched(BANDS[name])
        used = weight > 0
        out[name] = removed_resamples(
            score[used],
            events.label[used],
            weight[used],
            retention,
            frame=events.frame[used],
            rng=np.random.default_rng(seed),  # the same resamples for every method
            replicas=replicas,
        )
    return out


def _summaries(retention: Sequence[float], value: Floats, drawn: Floats) -> dict[str, Summary]:
    return {
        key(r): summarise(percentile_interval(float(v), d, LEVEL))
        for r, v, d in zip(retention, value, drawn, strict=True)
    }


def at_threshold(
    events: Events,
    rejected: Bools | Mapping[str, Bools],
    resampling: Resampling,
    bands: Sequence[str] = tuple(BANDS),
) -> dict[str, dict[str, Summary]]:
    """Photons kept and background removed in each band by a cut that was fixed before.

    Parameters
    ----------
    events : Events
    rejected : ndarray of bool, shape (m,), or mapping of them by band
    resampling : Resampling
    bands : sequence of str
        Some of `BANDS`.

    Returns
    -------
    dict
        Band -> ``retention``, ``removed``.
    """
    out = {}
    for name in bands:
        gone = rejected[name] if isinstance(rejected, Mapping) else rejected
        weight = events.matched(BANDS[name])
        photon, background = weight * ~events.background, weight * events.background
        sums = resampling.sums(
            np.column_stack([photon * ~gone, photon, background * gone, background])
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            out[name] = {
                "retention": summarise(sums[:, 0] / sums[:, 1]),
                "removed": summarise(sums[:, 2] / sums[:, 3]),
            }
    return out


def removed_difference(
    events: Events, one: Floats, other: Floats, retention: float, band: str, resampling: Resampling
) -> Summary:
    """Difference in the background that two scores remove on the same events.

    Thresholds are those of the whole set in every resample, so that the interval is that of the
    paired difference of the background.

    Parameters
    ----------
    events : Events
    one, other : ndarray, shape (m,)
    retention : float
    band : str
        One of `BANDS`.
    resampling : Resampling
    """
    weight = events.matched(BANDS[band])
    cut = [s >= threshold_at_retention(s, events.label, weight, retention) for s in (one, other)]
    background = weight * events.background
    gain = background * (cut[0].astype(np.float64) - cut[1])
    return summarise(resampling.ratio(gain, background))


def rates(
    events: Events,
    rejected: Mapping[float, Bools],
    live_s: float,
    area_cm2: float,
    resampling: Resampling,
) -> dict[str, dict[str, Summary]]:
    """Background that survives [counts /cm2/s/keV]: grading, then each cut.

    Returns
    -------
    dict
        Band -> ``graded`` and the retention of each cut (as text).
    """
    out: dict[str, dict[str, Summary]] = {}
    for name, band in BANDS.items():
        weight = events.weight * events.background * events.within(band)
        weight = weight / (live_s * area_cm2 * (band[1] - band[0]))
        out[name] = {"graded": summarise(resampling.sums(weight))}
        for retention, gone in rejected.items():
            out[name][key(retention)] = summarise(resampling.sums(weight * ~gone))
    return out


def calibration(
    events: Events, probability: Floats, weight: Floats, resampling: Resampling
) -> dict[str, Any]:
    """Compare probabilities with what happened, under given weights.

    Returns
    -------
    dict
        ``error`` (expected calibration error), and for each of 20 bins ``predicted``,
        ``observed`` (with interval) and ``count`` (events without weights).
    """
    place = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    bins = (place[:, None] == np.arange(BINS)) * weight[:, None]
    sums = resampling.sums(
        np.concatenate(
            [bins, bins * probability[:, None], bins * events.background[:, None]], axis=1
        )
    )
    count, predicted, observed = np.split(sums, 3, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = observed / count
        mean = predicted[0] / count[0]
    return {
        "error": summarise(calibration_error(sums)),
        "predicted": [None if np.isnan(v) else float(v) for v in mean],
        "observed": [summarise(column) for column in share.T],
        "count": np.bincount(place[weight > 0], minlength=BINS).tolist(),
    }


def kept_in_bins(
    events: Events, rejected: Bools, values: Floats, edges: Sequence[float], resampling: Resampling
) -> list[dict[str, Any]]:
    """Photons kept and background removed in bins of some quantity (0.3-10 keV).

    Returns
    -------
    list of dict
        ``low``, ``high``, ``photons`` (number), ``retention``, ``removed``.
    """
    out = []
    inside = events.within(BANDS[WIDE])
    for low, high in pairwise(edges):
        weight = events.weight * (inside & (values >= low) & (values < high))
        photon, background = weight * ~events.background, weight * events.background
        out.append(
            {
                "low": float(low),
                "high": float(high),
                "photons": int((photon > 0).sum()),
                "retention": summarise(resampling.ratio(photon * ~rejected, photon)),
                "removed": summarise(resampling.ratio(background * rejected, background)),
            }
        )
    return out


def border_distance(events: Events, shape: tuple[int, int]) -> Floats:
    """Distance of each event from the detector's border, pixels."""
    return np.minimum(
        np.minimum(events.x, shape[1] - 1 - events.x), np.minimum(events.y, shape[0] - 1 - events.y)
    )


def kept_map(events: Events, rejected: Bools, shape: tuple[int, int]) -> dict[str, Any]:
    """Retention over the detector, and whether it is the same everywhere.

    Returns
    -------
    dict
        ``retention`` (8 x 8 list, None without photons), ``overall``, ``chi2``, ``cells`` and
        ``p_value`` of an even loss, ``scatter`` (of the retention between cells beyond the
        expected one; 0 if there is less).

    Notes
    -----
    Variances are those of independent photons with their weights.
    """
    use = ~events.background & events.within(BANDS[WIDE])
    e, lost, w = events[use], rejected[use].astype(np.float64), events.weight[use]
    cell = [
        np.clip((v + 0.5) * MAP / size, 0, MAP - 1).astype(np.int64)
        for v, size in zip((e.y, e.x), shape, strict=True)
    ]
    place = cell[0] * MAP + cell[1]
    total, gone, square = (np.bincount(place, v, minlength=MAP**2) for v in (w, w * lost, w**2))
    share = float(gone.sum() / total.sum()) if total.sum() > 0 else np.nan
    filled = total > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = share * (1 - share) * square / total**2
        loss = gone / total
        pull = ((loss - share) ** 2 / variance)[filled]
    cells = int(filled.sum())
    some = 0 < share < 1 and cells > 1
    value = float(pull.sum()) if some else 0.0
    excess = float(((loss - share) ** 2 - variance)[filled].mean()) if some else 0.0
    return {
        "retention": [
            [None if np.isnan(v) else float(1 - v) for v in row] for row in loss.reshape(MAP, MAP)
        ],
        "overall": None if np.isnan(share) else 1 - share,
        "chi2": value,
        "cells": cells,
        "p_value": float(chi2.sf(value, cells - 1)) if some else None,
        "scatter": float(np.sqrt(max(excess, 0.0))),
    }


def frame_metrics(
    frame_class: NDArray[np.uint8],
    weight: Floats,
    graded: Bools,
    p_frame: Floats,
    *,
    kept: float = 0.98,
    replicas: int,
    seed: int,
) -> dict[str, Any]:
    """Shares of the frames with a particle that are found.

    Parameters
    ----------
    frame_class : ndarray of int, shape (n,)
        0 X-rays only, 1 particles only, 2 both; other frames do not count.
    weight : ndarray, shape (n,)
    graded : ndarray of bool, shape (n,)
        Frames with a cluster that grading or its energy gives away.
    p_frame : ndarray, shape (n, 3)
        Probabilities of the three classes.
    kept : float
        Share of frames with X-rays only that the last cut keeps.
    replicas, seed : int

    Returns
    -------
    dict
        For ``grading``, ``most_probable`` and ``at_loss``: ``found`` (of the frames with a
        particle), ``missed_found`` (of those that grading misses), ``false`` (of the frames with
        X-rays only).
    """
    particle = np.isin(frame_class, (1, 2))
    xray = frame_class == 0
    known = weight * (particle | xray)
    score = 1 - p_frame[:, 0]
    cut = threshold_at_retention(score, particle.astype(int), known, kept)
    rules = {
        "grading": graded,
        "most_probable": p_frame.argmax(axis=1) != 0,
        "at_loss": score >= cut,
    }
    # Frames that are alike in everything that is counted are drawn together.
    columns = np.column_stack([known, particle, graded, *rules.values()])
    kinds, number = np.unique(columns[known > 0], axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).poisson(number, (replicas, len(number)))
    counts = np.concatenate([number[None], drawn]) * kinds[:, 0]
    with_particle, seen = kinds[:, 1] > 0, kinds[:, 2] > 0

    def share(hit: Bools, among: Bools) -> Summary:
        with np.errstate(invalid="ignore", divide="ignore"):
            return summarise((counts * (hit & among)).sum(axis=1) / (counts * among).sum(axis=1))

    return {
        "frames": int((known > 0).sum()),
        "with_particle": int((particle & (known > 0)).sum()),
        "kept": kept,
        **{
            name: {
                "found": share(hit, with_particle),
                "missed_found": share(hit, with_particle & ~seen),
                "false": share(hit, ~with_particle),
            }
            for name, hit in zip(rules, kinds[:, 3:].T > 0, strict=True)
        },
    }


def key(retention: float) -> str:
    """Retention as a key of JSON: 0.98 -> "0.98"."""
    return f"{retention:g}"
