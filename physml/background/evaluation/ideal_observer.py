r"""Bound on what context tells: the likelihood ratio with the simulator's own kernel.

Of the background that passes grading, a part :math:`f_0(E)` comes from primaries that left no
track in view. The rest comes with a track, at an offset whose density :math:`\kappa` depends on the
track's length and direction, on the energies, and on the housing. X-rays fall anywhere. For an
event of energy E in a frame with tracks t, the ratio of the likelihoods of background and X-rays of
the same energies is

.. math:: L = f_0(E) + \sum_t \frac{\kappa(\Delta_t, E \mid t)}{\lambda_\gamma(E)}

By Neyman and Pearson no cut on what is known of offset, energy and track removes more at the same
loss. The terms of the sum are densities of pairs: how much more often an event and a track of this
offset are those of one primary than an X-ray and a track that happen to share a frame. They are
learnt from simulated pairs, of which there are thousands in a few hundred exposures, by boosted
trees with nine inputs; a method that learns from whole frames has to find the sum out as well.

What the event's own pixels tell is another factor, taken to be independent of the context: the odds
of trees that see these pixels alone. It is a method's, not an ideal observer's; the bound with it
is one for methods that read the pixels no better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from ..core.arrays import Bools, Floats, Ints, Singles
from ..core.clusters import half_angle
from ..core.events import Found, leading_sources, truth
from ..core.frames import Frames
from ..core.records import Records
from .features import local_features
from .metrics import BANDS, WIDE, Events, valid_events

#: Inputs of the density of pairs; distances in pixels.
PAIR = (
    *("distance", "along", "across", "length", "width"),
    *("log_track_energy", "track_pixels", "track_border", "log_energy"),
)
#: Bins of energy in which the share of background without a track is counted.
BINS = 10
_LEAST = 1e-3  # keV


@dataclass(frozen=True)
class Pairs(Records):
    """Events beside the tracks of their frames, one entry a pair.

    Attributes
    ----------
    feature : ndarray of float32, shape (k, 9)
        `PAIR`.
    event : ndarray of int64, shape (k,)
        Row of the events.
    own : ndarray of bool, shape (k,)
        Event and track are of one primary particle.
    """

    feature: Singles
    event: Ints
    own: Bools


@dataclass(frozen=True)
class Sample(Records):
    """Events with truth, their local features and the exposure of each.

    Attributes
    ----------
    energy, weight : ndarray of float64, shape (m,)
    background : ndarray of bool, shape (m,)
    paired : ndarray of bool, shape (m,)
        Background whose primary left a track in view.
    local : ndarray of float32, shape (m, 16)
        `features.LOCAL`.
    exposure : ndarray of int64, shape (m,)
    """

    energy: Floats
    weight: Floats
    background: Bools
    paired: Bools
    local: Singles
    exposure: Ints

    def events(self) -> Events:
        """Energies, truth and weights, with exposures for frames."""
        zero, whole = np.zeros(len(self)), np.zeros(len(self), np.int64)
        return Events(
            energy=self.energy,
            background=self.background,
            weight=self.weight,
            frame=self.exposure,
            x=zero,
            y=zero,
            origin=whole,
            row=np.arange(len(self)),
        )


def pairs_of(found: Found, frames: Frames, events: Events) -> Pairs:
    """Pair events with all tracks of their frames.

    Parameters
    ----------
    found : Found
    frames : Frames
        With truth.
    events : Events
        Of `found`.
    """
    c = found.clusters
    track = np.flatnonzero(c["particle"])
    order = track[np.argsort(c["frame"][track], kind="stable")]
    begin = np.searchsorted(c["frame"][order], events.frame, "left")
    number = np.searchsorted(c["frame"][order], events.frame, "right") - begin
    event = np.repeat(np.arange(len(events)), number)
    within = np.arange(len(event)) - np.repeat(np.cumsum(number) - number, number)
    row = order[begin[event] + within]
    e = found.events[events.row[event]]
    t = c[row]
    cos, sin = half_angle(t["cos2"], t["sin2"])
    dx = e["xc"].astype(np.float64) - t["xc"]
    dy = e["yc"].astype(np.float64) - t["yc"]
    columns = (
        np.hypot(dx, dy),
        np.abs(dx * cos + dy * sin),
        np.abs(dy * cos - dx * sin),
        t["length"],
        t["width"],
        np.log10(np.maximum(t["energy"], _LEAST)),
        t["n_pixels"],
        t["border"],
        np.log10(np.maximum(e["energy"], _LEAST)),
    )
    feature = np.stack([np.asarray(v, np.float32) for v in columns], 1)
    source = truth(found, frames)["source"][events.row[event]].astype(np.int64)
    of_track = leading_sources(found, frames)[row]
    own = events.background[event] & (source >= 0) & (source == of_track)
    # Of a track in several pieces the nearest one counts.
    first = np.lexsort((feature[:, 0], ~own, event))
    again = np.zeros(len(event), bool)
    again[first[1:]] = (event[first[1:]] == event[first[:-1]]) & own[first[1:]]
    return Pairs(feature, event, own & ~again)


def sample_of(frames: Frames, found: Found, exposure: int) -> tuple[Sample, Pairs]:
    """Events and pairs of one exposure, as the observer learns from them.

    Parameters
    ----------
    frames : Frames
        With truth.
    found : Found
    exposure : int
        Its number.
    """
    events = valid_events(found, frames)
    events = events[events.within(BANDS[WIDE])]
    pairs = pairs_of(found, frames, events)
    paired = np.zeros(len(events), bool)
    paired[pairs.event[pairs.own]] = True
    sample = Sample(
        events.energy,
        events.weight,
        events.background,
        paired,
        local_features(found)[events.row],
        np.full(len(events), exposure, np.int64),
    )
    return sample, pairs


def joined(parts: Sequence[tuple[Sample, Pairs]]) -> tuple[Sample, Pairs]:
    """Events and pairs of several exposures in one."""
    sizes = [len(sample) for sample, _ in parts]
    first = np.cumsum([0, *sizes[:-1]])
    pairs = [
        Pairs(p.feature, p.event + start, p.own) for (_, p), start in zip(parts, first, strict=True)
    ]
    return Sample.join([sample for sample, _ in parts]), Pairs.join(pairs)


class IdealObserver:
    """Likelihood ratio of background and X-rays, learnt from simulated exposures of one camera.

    Parameters
    ----------
    sample : Sample
    pairs : Pairs
        Of its events.
    seed : int
    """

    def __init__(self, sample: Sample, pairs: Pairs, seed: int = 0) -> None:
        events = sample.events()
        weight = events.matched(BANDS[WIDE])
        background = sample.background
        log_energy = np.log10(sample.energy)
        total = weight * background
        self._edges = np.quantile(log_energy[total > 0], np.linspace(0, 1, BINS + 1)[1:-1])
        place = np.digitize(log_energy, self._edges)
        alone = np.bincount(place, total * ~sample.paired, minlength=BINS)
        self._alone = alone / np.maximum(np.bincount(place, total, minlength=BINS), 1e-30)
        # Pairs of one primary against X-rays and whatever tracks are in their frames.
        use = pairs.own | ~background[pairs.event]
        self._pair = _Odds(seed).fit(
            pairs.feature[use],
            pairs.own[use],
            weight[pairs.event[use]],
            sample.exposure[pairs.event[use]],
        )
        self._local = _Odds(seed).fit(sample.local, background, weight, sample.exposure)
        #: Number of trees for pairs and for pixels, chosen on exposures apart.
        self.trees = (self._pair.trees, self._local.trees)

    def context(self, energy: Floats, pairs: Pairs) -> Floats:
        """Ratio of the likelihoods by what else is in the frame, shape (m,).

        Parameters
        ----------
        energy : ndarray, shape (m,)
            keV.
        pairs : Pairs
            Of these events; their truth is not looked at.
        """
        place = np.digitize(np.log10(energy), self._edges)
        each = self._pair(pairs.feature)
        return self._alone[place] + np.bincount(pairs.event, each, minlength=len(energy))

    def local(self, local: Singles) -> Floats:
        """Odds by the events' own pixels, shape (m,)."""
        return self._local(local)


class _Odds:
    """Odds of two classes by boosted trees, their number chosen on exposures apart."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, feature: Singles, label: Bools, weight: Floats, exposure: Ints) -> _Odds:
        apart = exposure % 8 == 7
        use = weight > 0
        best, least = 50, np.inf
        model = self._model(400)
        with threadpool_limits(1):
            part = use & ~apart
            model.fit(feature[part], label[part], weight[part])
            check = use & apart
            truth_ = label[check].astype(float)
            for number, p in enumerate(model.staged_predict_proba(feature[check]), start=1):
                q = np.clip(p[:, 1], 1e-7, 1 - 1e-7)
                log = truth_ * np.log(q) + (1 - truth_) * np.log(1 - q)
                loss = -float(weight[check] @ log)
                if loss < least:
                    best, least = number, loss
            self.model = self._model(best).fit(feature[use], label[use], weight[use])
        self.trees = best
        return self

    def _model(self, trees: int) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(
            max_iter=trees,
            learning_rate=0.05,
            max_leaf_nodes=15,
            min_samples_leaf=50,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self._seed,
        )

    def __call__(self, feature: Singles) -> Floats:
        if not len(feature):
            return np.zeros(0)
        with threadpool_limits(1):
            p = np.clip(self.model.predict_proba(feature)[:, 1], 1e-9, 1 - 1e-9)
        return np.asarray(p / (1 - p))
