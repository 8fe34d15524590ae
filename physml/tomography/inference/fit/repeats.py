"""Whether repeats of one setting agree with one another, whatever the state may be.

Counts of the same setting are compared before anybody adds them up. Under the hypothesis that all
repeats of a setting have the same probabilities, its table of counts (repeats x outcomes) has,
given its sums along both axes, a law without unknowns; tables are drawn from it, so that few counts
and outcomes that hardly occur do no harm. Two statistics: the likelihood ratio of any difference at
all, and the square of a trend along the copies, which finds a slow drift among many repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import random_table

from .grouping import key_of
from .tails import p_value

#: Tables drawn of each setting, at most and at least, and cells of all of them together.
MOST, LEAST, CELLS = 2000, 200, 4_000_000

Table = NDArray[np.int64]


@dataclass(frozen=True)
class Repeats:
    """Agreement of repeats.

    Attributes
    ----------
    statistic : float
        2 sum n log(n / expected) of all settings that were measured more than once.
    degrees_of_freedom : float
        Mean of the statistic where repeats agree.
    p_value : float
        Probability of repeats that differ as much, or have as much of a trend: twice the smaller
        of both.
    worst : list of str
        First ids of the settings whose repeats differ most.
    """

    statistic: float
    degrees_of_freedom: float
    p_value: float
    worst: list[str]


def compare_repeats(
    effects: Sequence[NDArray[np.complex128]],
    counts: Sequence[NDArray[np.int64]],
    names: Sequence[str],
    rng: Generator,
) -> Repeats | None:
    """Compare the repeats of each setting; None where no setting was measured twice.

    Parameters
    ----------
    effects : sequence of ndarray (k, d, d)
        Of each measurement, in the order of time.
    counts : sequence of ndarray (k,)
    names : sequence of str
        Of the settings.
    rng : Generator
        Of the tables.
    """
    tables = _tables(effects, counts, names)
    if not tables:
        return None
    cells = sum(table.size for _, table, _ in tables)
    number = int(np.clip(CELLS // cells, LEAST, MOST))
    found = np.zeros(2)
    drawn = np.zeros((2, number))
    excess = {}
    for name, table, moments in tables:
        law = random_table(table.sum(1), table.sum(0)).rvs(number, random_state=rng)
        own, others = _statistics(table[None], moments), _statistics(np.asarray(law), moments)
        found += own[:, 0]
        drawn += others
        excess[name] = (own[0, 0] - others[0].mean()) / max(float(others[0].std()), 1e-12)
    p = 2 * min(p_value(float(value), law) for value, law in zip(found, drawn, strict=True))
    return Repeats(
        statistic=float(found[0]),
        degrees_of_freedom=float(drawn[0].mean()),
        p_value=min(p, 1.0),
        worst=sorted(excess, key=lambda name: -excess[name])[:3],
    )


def _tables(
    effects: Sequence[NDArray[np.complex128]],
    counts: Sequence[NDArray[np.int64]],
    names: Sequence[str],
) -> list[tuple[str, Table, NDArray[np.float64]]]:
    """First id, counts (repeats, outcomes), and middles among the copies, of repeated settings."""
    rows: dict[bytes, list[tuple[str, NDArray[np.int64], float]]] = {}
    ends = np.cumsum([float(c.sum()) for c in counts])
    for e, c, name, end in zip(effects, counts, names, ends, strict=True):
        if c.sum() > 0:
            middle = (end - 0.5 * float(c.sum())) / ends[-1]
            rows.setdefault(key_of(e), []).append((name, c, middle))
    out = []
    for group in rows.values():
        table = np.stack([c for _, c, _ in group])
        table = table[:, table.sum(0) > 0]
        if len(table) > 1 and table.shape[1] > 1:  # else no table could differ
            out.append((group[0][0], table, np.array([m for _, _, m in group])))
    return out


def _statistics(tables: Table, moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Likelihood ratio and trend (2, S) of tables (S, repeats, outcomes) with the same sums."""
    c = tables.astype(np.float64)
    rows, columns = c[0].sum(1), c[0].sum(0)
    n = rows.sum()
    expected = rows[:, None] * columns / n
    ratio = 2 * (c * np.log(np.where(c > 0, c, 1) / expected)).sum((1, 2), where=c > 0)
    away = moments - (rows * moments).sum() / n
    spread = (rows * away**2).sum()
    if spread <= 0:
        return np.stack([ratio, np.zeros(len(c))])
    slopes = np.einsum("srk,r->sk", c, away)
    trend = (n - 1) * (slopes**2 / columns).sum(1) / spread
    return np.stack([ratio, trend])
