"""Retention against energy and particle rate: what a cut takes from the effective area.

A cut on P_BKG also loses X-rays. How many is measured on events that are put into other frames of
the same observation (`adapted_cuts`); without that number no flux can be had from what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..core.arrays import Bools, Floats, bin_of
from .cuts import Thresholds


@dataclass(frozen=True)
class Correction:
    """Measured retention of X-rays at one promised retention.

    Attributes
    ----------
    promised : float
        The retention asked for.
    energy : ndarray, shape (k + 1,)
        Edges of energy bins, keV.
    rate : ndarray, shape (r + 1,)
        Edges of bins of particle tracks per frame.
    retention, error : ndarray, shape (r, k)
        Share of photons that stay, and its statistical error.
    cut : ndarray, shape (r, k)
        Events with P_BKG above it are rejected.
    """

    promised: float
    energy: Floats
    rate: Floats
    retention: Floats
    error: Floats
    cut: Floats

    @classmethod
    def from_thresholds(cls, table: Thresholds, retention: float) -> Correction:
        """Take it from the table that the cuts come from, between the retentions measured there.

        Raises
        ------
        ValueError
            The retention is outside of the table.
        """
        levels = np.asarray(table.retention, float)
        if not levels[0] <= retention <= levels[-1]:
            raise ValueError(f"retention must lie in {levels[0]:g} to {levels[-1]:g}")
        upper = int(np.clip(np.searchsorted(levels, retention), 1, len(levels) - 1))
        low, high = levels[upper - 1], levels[upper]
        part = (retention - low) / (high - low)

        def between(values: Floats) -> Floats:
            mixed: Floats = (1 - part) * values[upper - 1] + part * values[upper]
            return mixed.T

        # What was measured at the shares beside it differs from them by much less than they
        # differ from each other: so the differences are interpolated.
        measured = np.asarray(table.measured, float)
        off = measured - levels[:, None, None]
        return cls(
            promised=retention,
            energy=np.asarray(table.energy_edges, float),
            rate=np.asarray(table.rate_edges, float),
            retention=np.clip(retention + between(off), 1e-6, 1.0),
            error=between(np.asarray(table.error, float)),
            cut=1 / (1 + np.exp(-between(np.asarray(table.cut, float)))),
        )

    @classmethod
    def nothing_cut(cls) -> Correction:
        """Of a list from which nothing is taken."""
        one = np.ones((1, 1))
        return cls(1.0, np.array([0.1, 15.0]), np.array([0.0, np.inf]), one, 0 * one, one)

    def at(self, energy: ArrayLike, rate: ArrayLike) -> Floats:
        """Retention at energies (keV) and rates (tracks per frame); the nearest bin outside."""
        e, r = np.broadcast_arrays(np.asarray(energy, float), np.asarray(rate, float))
        return self.retention[bin_of(self.rate, r), bin_of(self.energy, e)]

    def covers(self, energy: ArrayLike) -> Bools:
        """Energies (keV) that the cut was made for, as a mask."""
        e = np.asarray(energy, float)
        inside: Bools = (e >= self.energy[0]) & (e <= self.energy[-1])
        return inside

    def mean(self, table: Floats, rates: ArrayLike) -> Floats:
        """Mean of a table like `retention` over the rates of equal parts of an observation."""
        return self._share(rates) @ table

    def of(self, rates: ArrayLike) -> tuple[Floats, Floats]:
        """Retention by energy, and its error, shape (k,), for the rates of an observation.

        Parameters
        ----------
        rates : array_like, shape (n,)
            Tracks per frame of equal parts of it.
        """
        share = self._share(rates)
        return share @ self.retention, np.sqrt(share**2 @ self.error**2)

    def _share(self, rates: ArrayLike) -> Floats:
        place = bin_of(self.rate, np.atleast_1d(np.asarray(rates, float)))
        share = np.bincount(place, minlength=len(self.rate) - 1)
        return share / max(share.sum(), 1)

    def bands(self, rates: ArrayLike) -> list[tuple[tuple[float, float], float, float]]:
        """Retention in the usual bands: ((low, high), retention, error), flat in log energy."""
        value, error = self.of(rates)
        found = []
        for low, high in BANDS:
            width = np.diff(np.log(np.clip(self.energy, low, high)))
            if width.sum() <= 0:
                continue
            width = width / width.sum()
            found.append(((low, high), float(width @ value), float(np.sqrt(width**2 @ error**2))))
        return found


#: Energy bands of the summary, keV.
BANDS = ((0.3, 2.0), (2.0, 7.0), (7.0, 10.0), (0.3, 10.0))
