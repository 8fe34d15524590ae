"""Cuts made to hold on the very frames they are used on.

The tables that come with the weights keep their promise on frames like those they were made from.
Other frames have more noise, a brighter source, a gain that is off, dead columns; there an X-ray
has other neighbours, and the cut keeps another share. But what an X-ray meets in these frames can
be seen: events are put into other frames than their own (`housing`), where they know as little of
the particles as an X-ray does. Cuts are moved until the promised share of those is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.arrays import Floats
from .cuts import Thresholds, bilinear

#: Rounds of the correction for what interpolation between knots changes.
ROUNDS = 5
#: So many X-rays tell a share as well as the tables do, of weights that do not say how well theirs
#: do: one that differs by 0.7 points at 98 % from one observation to another.
PSEUDO_XRAYS = 400.0


@dataclass(frozen=True)
class Xrays:
    """X-rays that were put into the frames of an observation.

    Attributes
    ----------
    logit : ndarray, shape (m, e)
        Calibrated logits in e other frames each; nan where one fell onto a cluster.
    energy, rate : ndarray, shape (m,)
        keV; particles a frame.
    weight : ndarray, shape (m,)
        How many X-rays each stands for.
    """

    logit: Floats
    energy: Floats
    rate: Floats
    weight: Floats


def adapt(table: Thresholds, xrays: Xrays, held: float = PSEUDO_XRAYS) -> Thresholds:
    """Move the cuts of a table until they keep what they promise of these X-rays.

    Where X-rays are few, cuts move by less. Half of the draws make the cuts, the other
    half measure what they keep.

    Parameters
    ----------
    table : Thresholds
    xrays : Xrays
        With at least two draws each.
    held : float
        So many X-rays tell a share as well as the table does: measured on simulated observations
        when the weights were calibrated (`learning.observations`).

    Returns
    -------
    Thresholds
        With `measured` and `error` of these X-rays.
    """
    make, test = xrays.logit[:, ::2], xrays.logit[:, 1::2]
    x, knots = np.log(np.maximum(xrays.energy, 1e-6)), np.log(table.energy)
    r, rates = np.log(np.maximum(xrays.rate, 1e-6)), np.log(table.rate)
    place = np.searchsorted(table.energy_edges, xrays.energy, side="right") - 1
    cells = [np.flatnonzero(place == j) for j in range(len(knots))]
    number = np.array([_effective(xrays.weight[cell], make[cell]) for cell in cells])
    trust = number / (number + held)
    cut, measured, error = table.cut.copy(), table.measured.copy(), table.error.copy()
    for k, level in enumerate(table.retention):
        off = make - bilinear(knots, rates, table.cut[k], x, r)[:, None]
        shift = np.zeros(len(knots))
        for _ in range(ROUNDS):
            left = off - np.interp(x, knots, shift)[:, None]
            for j, cell in enumerate(cells):
                if number[j] > 0:
                    shift[j] += _quantile(left[cell], xrays.weight[cell], level)
        cut[k] += (trust * shift)[:, None]
    # A larger share never has a lower cut, also where few X-rays decide.
    cut = np.maximum.accumulate(cut, 0)
    for k, level in enumerate(table.retention):
        kept = test < bilinear(knots, rates, cut[k], x, r)[:, None]
        for j, cell in enumerate(cells):
            known = np.isfinite(test[cell])
            n = _effective(xrays.weight[cell], test[cell])
            w = np.broadcast_to(xrays.weight[cell, None], known.shape)[known]
            share = np.average(kept[cell][known], weights=w) if n > 0 else level
            measured[k, j] = (n * share + held * level) / (n + held)
            error[k, j] = np.sqrt(level * (1 - level) / (n + held))
    return replace(table, cut=cut, measured=measured, error=error)


def _effective(weight: Floats, logit: Floats) -> float:
    """Kish's effective number of X-rays."""
    w = np.broadcast_to(weight[:, None], logit.shape)[np.isfinite(logit)]
    return float(w.sum() ** 2 / (w**2).sum()) if w.sum() > 0 else 0.0


def _quantile(values: Floats, weight: Floats, level: float) -> float:
    """Value below which a share of the weight lies."""
    known = np.isfinite(values)
    v, w = values[known], np.broadcast_to(weight[:, None], values.shape)[known]
    order = np.argsort(v)
    held = np.cumsum(w[order]) - 0.5 * w[order]
    return float(np.interp(level * w.sum(), held, v[order]))
