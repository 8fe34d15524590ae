"""Cuts that keep a promised share of the X-rays, by energy and by rate of particles.

A cut on P(background) keeps fewer X-rays where frames hold more particles, since more X-rays lie
near one by chance, and it keeps different shares at different energies. So a cut is a function of
both, made such that the same share is kept everywhere, or one number for a band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import Floats, Ints, bin_of
from ..core.records import Records, Stored

#: Rounds of the correction for what interpolation between knots changes.
ROUNDS = 8
LOGIT_RANGE = 30.0


@dataclass(frozen=True)
class Thresholds(Stored):
    """Table of cuts on the logit of P(background).

    Attributes
    ----------
    retention : ndarray, shape (r,)
        Shares kept, increasing.
    energy_edges, rate_edges : ndarray, shape (j + 1,), (l + 1,)
        Bins, keV and particles a frame.
    energy, rate : ndarray, shape (j,), (l,)
        Knots in the bins, increasing; constant beyond the first and the last.
    cut : ndarray, shape (r, j, l)
        Logits; events below it are kept.
    spectrum : ndarray, shape (j,)
        Background of validation data in each energy bin: the weights of energies in a band.
    measured, error : ndarray, shape (r, j, l)
        Shares kept of other X-rays than those the table was made from, with their error.
    """

    retention: Floats
    energy_edges: Floats
    rate_edges: Floats
    energy: Floats
    rate: Floats
    cut: Floats
    spectrum: Floats
    measured: Floats
    error: Floats

    def logit(
        self,
        energy: ArrayLike,
        retention: float,
        band: tuple[float, float] | None = None,
        rate: ArrayLike | None = None,
    ) -> Floats:
        """Cut on the logit for events of given energies, shape (m,).

        Parameters
        ----------
        energy : array_like, shape (m,)
            keV.
        retention : float
            Share of the X-rays to keep, within the range of the table.
        band : tuple of float, optional
            Edges in keV of a band that has one cut, which keeps the share of X-rays distributed
            in it as the background is. By default the share is kept at each energy.
        rate : array_like of shape (m,) or one number, optional
            Particles a frame; the middle of the table by default.

        Raises
        ------
        ValueError
            The retention is outside of the table.
        """
        low, high = self.retention[0], self.retention[-1]
        if not low <= retention <= high:
            raise ValueError(f"retention must lie in {low:g} to {high:g}, found {retention:g}")
        x = np.log(np.maximum(np.asarray(energy, float), 1e-6))
        middle = float(np.exp(np.log(self.rate).mean()))
        r = np.log(np.maximum(np.asarray(middle if rate is None else rate, float), 1e-6))
        if band is None:
            # Quantiles of a logistic tail are linear in the logit of their level.
            levels = _logit(self.retention)
            upper = int(np.clip(np.searchsorted(self.retention, retention), 1, len(levels) - 1))
            part = (_logit(retention) - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
            table = (1 - part) * self.cut[upper - 1] + part * self.cut[upper]
            return bilinear(np.log(self.energy), np.log(self.rate), table, x, r)
        by_rate = np.array([self._of_band(k, retention, band) for k in range(len(self.rate))])
        return np.broadcast_to(np.interp(r, np.log(self.rate), by_rate), x.shape).copy()

    def _of_band(self, rate: int, retention: float, band: tuple[float, float]) -> float:
        """One cut at one knot of the rate."""
        inside = (self.energy >= band[0]) & (self.energy <= band[1])
        if not inside.any():  # narrower than the knots
            inside = np.zeros(len(self.energy), bool)
            inside[np.argmin(np.abs(np.log(self.energy / np.sqrt(band[0] * band[1]))))] = True
        weight = np.maximum(self.spectrum[inside], 1e-12)
        knots = self.cut[:, inside, rate]
        low, high = float(knots.min()) - 1, float(knots.max()) + 1
        for _ in range(60):
            trial = 0.5 * (low + high)
            each = [_survival(np.array(trial), k, self.retention) for k in knots.T]
            if np.average(each, weights=weight) < retention:
                low = trial
            else:
                high = trial
        return 0.5 * (low + high)


@dataclass(frozen=True)
class CutTables:
    """Tables of cuts, one for each stand-off of the housing.

    Attributes
    ----------
    standoff : ndarray, shape (s,)
        mm, increasing.
    tables : tuple of Thresholds
    """

    standoff: Floats
    tables: tuple[Thresholds, ...]

    def at(self, standoff: float) -> Thresholds:
        """Table of the nearest stand-off [mm]."""
        return self.tables[nearest(self.standoff, standoff)]

    def as_dict(self) -> dict[str, Any]:
        """Return it for the metadata of a weights file."""
        return {
            "standoff": self.standoff.tolist(),
            "tables": [table.as_dict() for table in self.tables],
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> CutTables:
        """Take it back."""
        return cls(
            np.asarray(content["standoff"], float),
            tuple(Thresholds.from_dict(table) for table in content["tables"]),
        )


def _logit(p: ArrayLike) -> Floats:
    q = np.asarray(p, float)
    return np.log(q / (1 - q))


def _survival(logit: NDArray, knots: NDArray, retention: NDArray) -> Floats:
    """Share kept by a cut, from cuts at known shares; continued as a straight line in logits."""
    levels = _logit(retention)
    knots = np.maximum.accumulate(knots + 1e-9 * np.arange(len(knots)))
    inside = np.interp(logit, knots, levels)
    first = (levels[1] - levels[0]) / (knots[1] - knots[0])
    last = (levels[-1] - levels[-2]) / (knots[-1] - knots[-2])
    inside = np.where(logit < knots[0], levels[0] + first * (logit - knots[0]), inside)
    inside = np.where(logit > knots[-1], levels[-1] + last * (logit - knots[-1]), inside)
    return 1 / (1 + np.exp(-np.clip(inside, -LOGIT_RANGE, LOGIT_RANGE)))


def bilinear(x_knots: NDArray, y_knots: NDArray, table: NDArray, x: NDArray, y: NDArray) -> Floats:
    """Interpolate a table (j, l) linearly in both directions, constant outside; shape (m,)."""
    x, y = np.broadcast_arrays(x, y)

    def place(knots: NDArray, values: NDArray) -> tuple[NDArray, NDArray]:
        if len(knots) == 1:
            return np.zeros(values.shape, np.int64), np.zeros(values.shape)
        k = np.clip(np.searchsorted(knots, values) - 1, 0, len(knots) - 2)
        return k, np.clip((values - knots[k]) / (knots[k + 1] - knots[k]), 0, 1)

    i, u = place(x_knots, x)
    j, v = place(y_knots, y)
    i1, j1 = np.minimum(i + 1, len(x_knots) - 1), np.minimum(j + 1, len(y_knots) - 1)
    low = (1 - u) * table[i, j] + u * table[i1, j]
    high = (1 - u) * table[i, j1] + u * table[i1, j1]
    return (1 - v) * low + v * high


def fit_thresholds(
    xrays: Scores,
    others: Scores,
    *,
    retention: ArrayLike,
    energy_edges: ArrayLike,
    rate_edges: ArrayLike,
    spectrum: tuple[NDArray, NDArray],
) -> Thresholds:
    """Make the table from scores of X-rays that all count alike.

    Parameters
    ----------
    xrays, others : Scores
        Of X-rays as they occur at each energy and rate; the table is made from the first and
        measured with the second.
    retention : array_like, shape (r,)
    energy_edges, rate_edges : array_like, shape (j + 1,), (l + 1,)
        keV, and particles a frame.
    spectrum : tuple of ndarray, shape (b,)
        Energies and weights of background events.

    Raises
    ------
    ValueError
        A bin has no X-ray.
    """
    levels = np.sort(np.asarray(retention, float))
    edges, rates = np.asarray(energy_edges, float), np.asarray(rate_edges, float)
    knots = np.sqrt(edges[:-1] * edges[1:])
    in_rate = bin_of(rates, xrays.rate)
    rate_knots = np.array(
        [_middle(xrays.rate[in_rate == k], k, rates) for k in range(len(rates) - 1)]
    )
    x, r = np.log(knots), np.log(rate_knots)
    shape = (len(knots), len(rate_knots))
    cells = _cells(xrays, edges, rates)
    cut = np.zeros((len(levels), *shape))
    for table, level in zip(cut, levels, strict=True):
        for _ in range(ROUNDS):
            off = xrays.logit - bilinear(x, r, table, np.log(xrays.energy), np.log(xrays.rate))
            table += np.reshape([np.quantile(off[m], level) for m in cells], shape)
    # A larger share never has a lower cut, also where few X-rays decide.
    cut = np.maximum.accumulate(cut, 0)
    inside = (spectrum[0] >= edges[0]) & (spectrum[0] <= edges[-1])
    background = np.bincount(
        bin_of(edges, spectrum[0][inside]), spectrum[1][inside], minlength=len(knots)
    ).astype(np.float64)
    tests = _cells(others, edges, rates)
    measured = np.empty_like(cut)
    for table, out in zip(cut, measured, strict=True):
        off = others.logit - bilinear(x, r, table, np.log(others.energy), np.log(others.rate))
        out[...] = np.reshape([(off[m] < 0).mean() for m in tests], shape)
    number = np.reshape([len(m) for m in tests], shape)
    share = np.clip(measured, 1 / (number + 2), 1 - 1 / (number + 2))
    error = np.sqrt(share * (1 - share) / number)
    return Thresholds(levels, edges, rates, knots, rate_knots, cut, background, measured, error)


@dataclass(frozen=True)
class Scores(Records):
    """Scores of X-rays: logits, energies (keV) and particles a frame, each of shape (m,)."""

    logit: Floats
    energy: Floats
    rate: Floats


def _cells(scores: Scores, edges: NDArray, rates: NDArray) -> list[Ints]:
    """Rows of each bin of energy and rate."""
    number = bin_of(edges, scores.energy) * (len(rates) - 1) + bin_of(rates, scores.rate)
    cells = [np.flatnonzero(number == c) for c in range((len(edges) - 1) * (len(rates) - 1))]
    if min(map(len, cells)) == 0:
        raise ValueError("a bin of energy and particle rate has no X-ray")
    return cells


def _middle(values: NDArray, k: int, edges: NDArray) -> float:
    return float(np.median(values)) if len(values) else float(np.sqrt(edges[k] * edges[k + 1]))


def nearest(standoffs: Floats, standoff: float) -> int:
    """Number of the nearest of some stand-offs, by the logarithm."""
    return int(np.argmin(np.abs(np.log(standoffs) - np.log(standoff))))
