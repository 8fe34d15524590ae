"""Probabilities from energy and grade without context, for lists without frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import Floats
from ..core.records import Stored

#: Energies of the table.
KNOTS = 24
#: Their ends, keV.
BAND = (0.2, 15.0)
#: Width of the average in ln(energy): far less than the spectrum or the grades change over.
SMOOTH = 0.12
#: Events of each kind at each knot, shared out over the grades as at all energies.
PRIOR = 2.0
#: Columns of the tables.
ASCA, EPIC = tuple(range(8)), (-1, *range(13))


@dataclass(frozen=True)
class EventLevel(Stored):
    """Table of log-odds of background by energy and grade, at equal numbers of both per energy.

    Attributes
    ----------
    energy : ndarray, shape (j,)
        Knots, keV.
    asca : ndarray, shape (j, 8)
    epic : ndarray, shape (j, 14)
        Columns: -1, 0, ..., 12.
    """

    energy: Floats
    asca: Floats
    epic: Floats

    def probability(self, energy: ArrayLike, grade: ArrayLike, convention: str = "asca") -> Floats:
        """Probability of background, shape (m,); constant in energy beyond the knots.

        Raises
        ------
        ValueError
            An unknown convention or grade.
        """
        tables = {"asca": (self.asca, ASCA), "epic": (self.epic, EPIC)}
        if convention not in tables:
            raise ValueError(f"expected 'asca' or 'epic', found {convention!r}")
        table, grades = tables[convention]
        wanted = np.asarray(grade)
        column = np.searchsorted(grades, wanted)
        known = np.asarray(grades)[np.minimum(column, len(grades) - 1)] == wanted
        if not known.all():
            raise ValueError(
                f"expected grades {grades[0]} to {grades[-1]} ({convention}), found "
                f"{np.unique(wanted[~known])[:5].tolist()}"
            )
        x = np.log(np.maximum(np.asarray(energy, float), 1e-6))
        knots = np.log(self.energy)
        place = np.clip(np.searchsorted(knots, x) - 1, 0, len(knots) - 2)
        part = np.clip((x - knots[place]) / (knots[place + 1] - knots[place]), 0, 1)
        logit = (1 - part) * table[place, column] + part * table[place + 1, column]
        return 1 / (1 + np.exp(-logit))


def fit_event_level(
    energy: NDArray, asca: NDArray, epic: NDArray, label: NDArray, weight: NDArray
) -> EventLevel:
    """Count grades of X-rays and background round each energy.

    Parameters
    ----------
    energy, asca, epic, label, weight : ndarray, shape (m,)
        Of events up to 15 keV, valid or not; label 1 for background.
    """
    knots = np.geomspace(*BAND, KNOTS)
    x = np.log(np.maximum(energy, 1e-6))
    used = (weight > 0) & (energy >= BAND[0]) & (energy <= BAND[1])
    # In units of events: the prior must not drown in, or drown, large weights.
    weight = np.where(used, weight, 0) * (used.sum() / max(weight[used].sum(), 1e-300))
    near = np.exp(-0.5 * ((np.log(knots)[:, None] - x[used]) / SMOOTH) ** 2)
    tables = []
    for grades, values in ((ASCA, asca), (EPIC, epic)):
        share = []
        for kind in (1, 0):
            mine = (label[used] == kind) * weight[used]
            counts = np.stack([near @ (mine * (values[used] == g)) for g in grades], 1)
            overall = np.array([(mine * (values[used] == g)).sum() + 0.5 for g in grades])
            counts += PRIOR * overall / overall.sum()
            share.append(counts / counts.sum(1, keepdims=True))
        tables.append(np.log(share[0] / share[1]))
    return EventLevel(knots, *tables)
