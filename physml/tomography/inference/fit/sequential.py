"""Test of the fit while a loop runs, at milliseconds a look, with few false alarms over all looks.

The statistic is 2 sum n log(n / (N p)), by measurement and, where settings are repeated, also by
distinct setting. It is first compared with data simulated at the estimate, which costs no fit. Only
where that is improbable the most likely state takes the place of the estimate: the statistic there
is at most that of the true state, so that data of a state are suspected no more often than a look
may, whatever estimator leads the loop. Look j spends 1 / (j (j + 1)) of the probability of a false
alarm, which adds up to all of it over any number of looks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ...core.operators import to_coordinates
from ..classical.likelihood import maximum_likelihood
from .grouping import key_of
from .tails import gamma_tail

#: Probability of a false alarm over a whole loop, before the bootstrap that confirms an alarm.
FALSE_ALARMS = 5e-3
#: Copies before the first look, and growth of the copies from one look to the next.
FIRST_COPIES, GROWTH = 50, 1.25
#: Simulated data sets of a look; of a look that these make suspicious; counts of all together.
FEW, MANY, CELLS = 40, 400, 8_000_000
#: Probability below which the few are followed by the many.
DOUBT = 0.02
#: Smallest probability of an outcome: what the estimate forbids is left to the most likely state.
SMALLEST = 1e-12
#: Log-likelihood that the fit may miss, and its most steps.
TOLERANCE, ITERATIONS = 0.05, 1000
WHITE = 1e-3


class SequentialFit:
    """Looks at growing data; it keeps what it has seen, so that a look costs little.

    Attributes
    ----------
    copies : int
        Taken in so far.
    looks : int
        Looks so far.
    """

    def __init__(self) -> None:
        self.looks = 0
        self.copies = 0
        self._next = FIRST_COPIES
        self._parts = _Parts(), _Parts()  # by measurement, by distinct setting
        self._place: dict[bytes, tuple[int, int]] = {}
        self._repeated = False

    def add(self, effects: NDArray[np.complex128], counts: NDArray[np.int64]) -> None:
        """Take in one measurement: effects (k, d, d) with the readout errors, and counts (k,)."""
        rows = to_coordinates(torch.from_numpy(effects)).numpy()
        each, distinct = self._parts
        each.append(rows, counts)
        key = key_of(effects)
        if key in self._place:
            distinct.counts[self._place[key][0]][self._place[key][1]] += counts
            self._repeated = True
        else:
            self._place[key] = distinct.append(rows, counts)
        self.copies += int(counts.sum())

    @property
    def due(self) -> bool:
        """Whether there are copies enough for another look."""
        return self.copies >= self._next

    @property
    def outcomes(self) -> int:
        """Outcomes of all distinct settings: what a fit takes time for."""
        return self._parts[1].outcomes

    def suspicious(self, estimate: Tensor, rng: Generator, allowed: float | None = None) -> bool:
        """Look: whether there is so little probability for data of a state.

        Parameters
        ----------
        estimate : Tensor (d, d)
            Of any estimator: where the data do not fit it, the most likely state is sought.
        rng : Generator
            Of simulated data.
        allowed : float, optional
            Probability of a false alarm of this look; by default its part of that of all.
        """
        self.looks += 1
        self._next = max(self._next, int(np.ceil(GROWTH * self.copies)))
        if allowed is None:
            allowed = FALSE_ALARMS / (self.looks * (self.looks + 1))
        if self._p_value(estimate, rng, FEW) >= DOUBT:
            return False
        d = estimate.shape[-1]
        white = torch.eye(d, dtype=torch.complex128) / d
        start = (1 - WHITE) * estimate.to(torch.complex128) + WHITE * white
        rows, counts = self._parts[1].flat()
        best = most_likely(rows, counts, start)
        return self._p_value(best, rng, MANY) < allowed

    def _p_value(self, state: Tensor, rng: Generator, replicates: int) -> float:
        """Smaller of the two probabilities, twice; or the one, where nothing was repeated."""
        x = to_coordinates(state).numpy()
        if not self._repeated:
            return self._parts[0].p_value(x, rng, replicates)
        return min(1.0, 2 * min(part.p_value(x, rng, replicates) for part in self._parts))


class _Parts:
    """Rows and counts of measurements, those with the same number of outcomes together."""

    def __init__(self) -> None:
        self.rows: dict[int, list[NDArray[np.float64]]] = {}
        self.counts: dict[int, list[NDArray[np.int64]]] = {}

    def append(self, rows: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[int, int]:
        """Add a measurement; its place."""
        k = len(counts)
        self.rows.setdefault(k, []).append(rows)
        self.counts.setdefault(k, []).append(counts.copy())
        return k, len(self.rows[k]) - 1

    @property
    def outcomes(self) -> int:
        """Number of outcomes."""
        return sum(k * len(part) for k, part in self.rows.items())

    def flat(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Rows (M, d * d) and counts (M,) of all outcomes."""
        rows = [row for part in self.rows.values() for row in part]
        counts = [count for part in self.counts.values() for count in part]
        return np.concatenate(rows), np.concatenate(counts)

    def p_value(self, state: NDArray[np.float64], rng: Generator, replicates: int) -> float:
        """Probability of counts as far from those of a state, which is given by coordinates."""
        found = 0.0
        number = int(np.clip(CELLS // self.outcomes, 30, replicates))
        drawn = np.zeros(number)
        for k, part in self.rows.items():
            p = np.maximum(np.stack(part) @ state, SMALLEST)
            p /= p.sum(1, keepdims=True)
            counts = np.stack(self.counts[k])
            n = counts.sum(1)
            expected = n[:, None] * p
            found += float(_ratio(counts[None], expected)[0])
            drawn += _ratio(rng.multinomial(n, p, size=(number, len(n))), expected)
        return gamma_tail(found, drawn)


def _ratio(counts: NDArray[np.int64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """2 sum n log(n / expected) of counts (S, M, k)."""
    c = counts.astype(np.float64)
    out: NDArray[np.float64] = 2 * (c * np.log(np.where(c > 0, c / expected, 1))).sum((1, 2))
    return out


def most_likely(rows: NDArray[np.float64], counts: NDArray[np.int64], start: Tensor) -> Tensor:
    """Most likely state (d, d) of counts (M,) of outcomes with coordinates (M, d * d)."""
    values = torch.from_numpy(counts.astype(np.float64))[None]
    states, _ = maximum_likelihood(
        torch.from_numpy(rows)[None], values, start[None], TOLERANCE, ITERATIONS
    )
    return states[0]
