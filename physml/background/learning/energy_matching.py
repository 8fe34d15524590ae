"""Shares of the background that go for shares of the photons, at equal energies.

A source has another spectrum than the background. A score that only knows energies would look
good against one source and harm the next. So photons are weighted until their energies are
distributed as those of the background that survived grading, and what a score removes then is
due to something else.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physml.evaluation.bootstrap import LEVEL, REPLICAS, Interval, percentile_interval

from ..core.arrays import Floats, Ints, bin_of

log = logging.getLogger(__name__)

BINS = 24
_ROUNDING = 1e-9  # of the photons: sums in another order must not move a cut
_CHUNK_ELEMENTS = 4_000_000


def energy_matching(
    energy: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    band: tuple[float, float] = (0.3, 10.0),
    bins: int = BINS,
) -> Floats:
    """Weights that give the photons of a band the energies of its background.

    Parameters
    ----------
    energy : array_like, shape (m,)
        keV.
    label : array_like of int, shape (m,)
        0 photon, 1 background.
    weight : array_like, shape (m,), optional
        Weights that the events have for other reasons; 1 by default.
    band : tuple of float
        keV, from and up to below; events outside get no weight.
    bins : int
        Bins, uniform in the logarithm.

    Returns
    -------
    ndarray of float64, shape (m,)
        In each bin photons weigh as much as background. A bin that has only one of the two gets
        no weight; if that takes more than 1 % of the background, it is logged.

    Raises
    ------
    ValueError
        Shapes differ, or the band is none.
    """
    energy, label = np.asarray(energy, np.float64), np.asarray(label)
    given = np.ones(energy.shape) if weight is None else np.asarray(weight, np.float64)
    if not energy.shape == label.shape == given.shape or energy.ndim != 1:
        raise ValueError(
            f"expected one energy, label and weight for each event, found shapes {energy.shape}, "
            f"{label.shape}, {given.shape}"
        )
    low, high = band
    if not 0 < low < high:
        raise ValueError(f"expected 0 < low < high, found the band {low:g} to {high:g} keV")
    edges = np.geomspace(low, high, bins + 1)
    place = bin_of(edges, energy)
    given = np.where((energy >= low) & (energy < high), given, 0.0)
    photon = label == 0
    photons = np.bincount(place[photon], given[photon], minlength=bins)
    background = np.bincount(place[~photon], given[~photon], minlength=bins)
    both = (photons > 0) & (background > 0)
    lost = background[~both].sum()
    if lost > 0.01 * background.sum():
        log.warning(
            "%.1f %% of the background between %g and %g keV has no photons of its energy and is "
            "left out",
            100 * lost / background.sum(),
            low,
            high,
        )
    ratio = np.divide(background, photons, out=np.zeros(bins), where=both)
    return given * np.where(photon, ratio[place], both[place].astype(np.float64))


class _Ranking:
    """Events in order of falling score, those of equal score together."""

    def __init__(self, score: ArrayLike, label: ArrayLike, weight: ArrayLike) -> None:
        score = np.asarray(score, np.float64)
        label, weight = np.asarray(label), np.asarray(weight, np.float64)
        if not score.shape == label.shape == weight.shape or score.ndim != 1:
            raise ValueError(
                f"expected one score, label and weight for each event, found shapes "
                f"{score.shape}, {label.shape}, {weight.shape}"
            )
        used = np.flatnonzero(weight > 0)
        if np.isnan(score[used]).any():
            raise ValueError("expected a score for each event that has weight, found NaN")
        self.order = used[np.argsort(-score[used], kind="stable")]
        falling = score[self.order]
        self.photon = np.where(label[self.order] == 0, weight[self.order], 0.0)
        self.background = weight[self.order] - self.photon
        last = np.append(falling[:-1] != falling[1:], True)[: len(falling)]
        self.end = np.flatnonzero(last)  # last event of each score
        self.score = falling[self.end]

    def lost(self, repeats: Floats | None = None) -> tuple[NDArray, NDArray]:
        """Shares of photons and background from each score on, shape (..., scores + 1).

        Parameters
        ----------
        repeats : ndarray, shape (..., events in order), optional
            How often each event counts.
        """
        shares = []
        for weights in (self.photon, self.background):
            values = weights if repeats is None else repeats * weights
            sums = np.cumsum(values, axis=-1)[..., self.end]
            sums = np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)
            with np.errstate(invalid="ignore"):
                shares.append(sums / sums[..., -1:])
        return shares[0], shares[1]


def _cut(lost: Floats, retention: float) -> Ints:
    """Number of scores that can go, shape (...)."""
    return (lost <= 1 - retention + _ROUNDING).sum(axis=-1) - 1


def _checked(retention: float) -> float:
    if not 0 < retention <= 1:
        raise ValueError(f"expected a retention above 0 and up to 1, found {retention:g}")
    return float(retention)


def threshold_at_retention(
    score: ArrayLike, label: ArrayLike, weight: ArrayLike, retention: float
) -> float:
    """Lowest score from which on events can be rejected while enough photons stay.

    Parameters
    ----------
    score : array_like, shape (m,)
        Higher: more like background.
    label : array_like of int, shape (m,)
        0 photon, 1 background.
    weight : array_like, shape (m,)
        0 leaves an event out.
    retention : float
        Share of the photons' weight that has to stay, in (0, 1].

    Returns
    -------
    float
        Reject ``score >= threshold``; inf if nothing can go. Events of equal score go together,
        so that at least the promised share stays.
    """
    ranking = _Ranking(score, label, weight)
    k = int(_cut(ranking.lost()[0], _checked(retention)))
    return float(ranking.score[k - 1]) if k > 0 else np.inf


def operating_curve(
    score: ArrayLike, label: ArrayLike, weight: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Retention and removed background for every threshold there is.

    Returns
    -------
    threshold, retention, removed : ndarray, shape (scores + 1,)
        From the threshold inf, at which all stays, down. See `threshold_at_retention`.
    """
    ranking = _Ranking(score, label, weight)
    photons, background = ranking.lost()
    return np.append(np.inf, ranking.score), 1 - photons, background


def removed_at_retention(
    score: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike,
    retention: float | Sequence[float],
    *,
    frame: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
    replicas: int = REPLICAS,
    level: float = LEVEL,
) -> list[Interval]:
    """Share of the background that goes while a promised share of photons stays.

    Parameters
    ----------
    score, label, weight : array_like, shape (m,)
        See `threshold_at_retention`; weights usually from `energy_matching`.
    retention : float or sequence of float
        In (0, 1].
    frame : array_like of int, shape (m,), optional
        Frame of each event, or whatever else is independent. Without it there are no intervals.
    rng : numpy.random.Generator, optional
        For the bootstrap; needed with `frame`.
    replicas, level : int, float
        Bootstrap samples of frames, and the probability content of the intervals.

    Returns
    -------
    list of Interval
        One for each retention; NaN where there are no photons or no background. The threshold is
        set anew in each bootstrap sample, so that its uncertainty is in the interval.
    """
    wanted = [_checked(r) for r in np.atleast_1d(retention)]
    ranking = _Ranking(score, label, weight)
    if ranking.photon.sum() == 0 or ranking.background.sum() == 0:
        return [Interval(np.nan, np.nan, np.nan) for _ in wanted]
    if frame is None:
        return [Interval(v, np.nan, np.nan) for v in _removed(ranking, wanted)]
    if rng is None:
        raise ValueError("a bootstrap needs a random generator")
    values, drawn = _drawn(ranking, wanted, frame, rng, replicas)
    return [percentile_interval(v, d, level) for v, d in zip(values, drawn, strict=True)]


def removed_resamples(
    score: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike,
    retention: Sequence[float],
    *,
    frame: ArrayLike,
    rng: np.random.Generator,
    replicas: int = REPLICAS,
) -> tuple[Floats, Floats]:
    """Shares that `removed_at_retention` gives, and those of each bootstrap sample.

    With generators of one seed the samples of two scores of the same events are the same: their
    differences, sample by sample, are those of a paired comparison.

    Returns
    -------
    value : ndarray, shape (number of retentions,)
    drawn : ndarray, shape (number of retentions, replicas)
        NaN where there are no photons or no background.
    """
    wanted = [_checked(r) for r in retention]
    ranking = _Ranking(score, label, weight)
    if ranking.photon.sum() == 0 or ranking.background.sum() == 0:
        return np.full(len(wanted), np.nan), np.full((len(wanted), replicas), np.nan)
    values, drawn = _drawn(ranking, wanted, frame, rng, replicas)
    return np.array(values), np.array(drawn)


def _removed(ranking: _Ranking, wanted: Sequence[float]) -> list[float]:
    photons, background = ranking.lost()
    return [float(background[_cut(photons, r)]) for r in wanted]


def _drawn(
    ranking: _Ranking,
    wanted: Sequence[float],
    frame: ArrayLike,
    rng: np.random.Generator,
    replicas: int,
) -> tuple[list[float], list[Floats]]:
    """Removed shares of all events, and of resamples of their frames; for each retention."""
    values = _removed(ranking, wanted)
    _, place = np.unique(np.asarray(frame)[ranking.order], return_inverse=True)
    drawn: list[list[Floats]] = [[] for _ in wanted]
    for repeats in _resampled(int(place.max()) + 1, replicas, rng, len(place)):
        photons, background = ranking.lost(repeats[:, place])
        for k, r in enumerate(wanted):
            cut = _cut(photons, r)
            removed = np.take_along_axis(background, np.maximum(cut, 0)[:, None], axis=1)[:, 0]
            drawn[k].append(np.where(cut < 0, np.nan, removed))  # no photon was drawn
    return values, [np.concatenate(d) for d in drawn]


def _resampled(n: int, replicas: int, rng: np.random.Generator, columns: int):
    """Numbers of times that n frames are drawn, in chunks of replicas, shape (chunk, n).

    Drawn frame by frame: with 1e5 of them this is ten times as fast as a multinomial.
    """
    chunk = max(1, _CHUNK_ELEMENTS // max(n, columns))
    for start in range(0, replicas, chunk):
        rows = min(chunk, replicas - start)
        drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
