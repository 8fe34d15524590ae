"""Factors by which intervals of the diamond distance are stretched, from drawn processes.

The processes are of one continuous family (`simulator.processes.drifting`), measured with all
inputs and Pauli settings and a random number of copies. Each tells the least factor at which its
interval holds the truth; the factor that is used is their conformal quantile (V. Vovk,
A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, 2005).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physml.random import stream

from ..inference.process.fit import fit_process
from ..inference.process.functionals import (
    DIAMOND,
    Drawn,
    Quantity,
    corrected,
    interval,
    quantities,
)
from ..simulator.processes import drifting
from .processes import Row, fixed

#: Seed of the drawn processes, unlike that of the sealed ones.
SEED = 31_662_904
#: Copies by the number of qubits, log-uniform.
COPIES = {1: (1e3, 1e5), 2: (3e3, 1e5)}
#: Probability that the intervals are made for.
SHARE = 0.9
#: Largest factor; an interval that does not hold the truth then never does.
LARGEST = 30.0


def needed(quantity: Quantity, drawn: Drawn, truth: float, level: float = SHARE) -> float:
    """Least factor at which the interval holds the truth, or `LARGEST`."""

    def holds(factor: float) -> bool:
        found = interval(quantity, drawn, level, factor)
        return found.low <= truth <= found.high

    low, high = 0.0, LARGEST
    if holds(low):
        return low
    for _ in range(30):  # the interval grows with the factor
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def one(n_qubits: int, number: int) -> Row:
    """One drawn process: copies, the factor that its interval needs, and its plain interval.

    Parameters
    ----------
    n_qubits, number : int
        The number counts the processes.
    """
    rng = stream(SEED, "train", 1000 * n_qubits + number)
    truth, meant = drifting(1 << n_qubits, rng)
    low, high = np.log(COPIES[n_qubits])
    copies = int(np.exp(rng.uniform(low, high)))
    found = fit_process(fixed(truth, n_qubits, copies, rng), "bayes", number)
    quantity = next(q for q in quantities(n_qubits, meant) if q.name == DIAMOND)
    drawn = corrected(quantity, found.mean, found.samples.choi)
    true = float(quantity.function(truth[None])[0])
    plain = interval(quantity, drawn, SHARE)
    return {
        "copies": copies,
        "needed": needed(quantity, drawn, true),
        "truth": true,
        "value": plain.value,
        "low": plain.low,
        "high": plain.high,
        "r_hat": found.samples.agreement,
    }


def quantile(factors: Sequence[float], share: float = SHARE) -> float:
    """Conformal quantile: the k-th smallest of n, k = ceil(share (n + 1)); `LARGEST` beyond n."""
    k = int(np.ceil(share * (len(factors) + 1)))
    return float(np.sort(factors)[k - 1]) if k <= len(factors) else LARGEST
