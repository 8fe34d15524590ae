"""Numbers that follow from a process, with intervals from posterior samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...core.process.channels import (
    Complex,
    Floats,
    average_gate_fidelity,
    choi_of_unitary,
    process_fidelity,
    unitarity,
)
from ...core.process.diamond import diamond_bounds
from ..answers import Interval

#: Steps of the diamond distance of samples, and of the estimate.
STEPS = (12, 60)

#: Factors of intervals, by number of qubits and name: measured on simulated processes.
STRETCH: dict[int, dict[str, float]] = {1: {}, 2: {}}


@dataclass(frozen=True)
class Quantity:
    """A number that follows from a process.

    Attributes
    ----------
    name : str
    function : callable
        From Choi matrices (S, d^2, d^2) to numbers (S,).
    bounds : tuple of float
        Least and largest value.
    """

    name: str
    function: Callable[[Complex], Floats]
    bounds: tuple[float, float]


def quantities(n_qubits: int, target: Complex | None) -> list[Quantity]:
    """What is reported: unitarity; with a target the fidelities and the diamond distance to it."""
    d = 1 << n_qubits
    out = [Quantity("unitarity", unitarity, (0.0, 1.0))]
    if target is None:
        return out
    return [
        Quantity(
            "average gate fidelity",
            partial(average_gate_fidelity, unitary=target),
            (1 / (d + 1), 1.0),
        ),
        Quantity("process fidelity", partial(process_fidelity, unitary=target), (0.0, 1.0)),
        *out,
        Quantity("diamond distance", partial(_diamond, target=choi_of_unitary(target)), (0.0, 1.0)),
    ]


def _diamond(choi: Complex, target: Complex) -> Floats:
    low, high = diamond_bounds(choi - target, STEPS[0 if len(choi) > 1 else 1])
    return 0.5 * (low + high)


def interval(
    quantity: Quantity, estimate: Complex, samples: Complex, level: float, stretch: float = 1.0
) -> Interval:
    """Value at the estimate, and the interval between equal tails of the samples.

    Parameters
    ----------
    quantity : Quantity
    estimate : ndarray (d^2, d^2)
        Of the process.
    samples : ndarray (S, d^2, d^2)
    level : float
        Probability that the true value lies between the ends.
    stretch : float
        Factor of both sides of the median.

    Returns
    -------
    Interval
        An end that is nearer to a bound than half the interval is long moves to the bound: no
        sample ever is an exact unitary. A distance is corrected first: the scatter of the samples
        about their mean adds to it, as the error of the mean adds to that of the mean. So the
        difference of the median to the distance of the mean is taken off the value once, and off
        the samples twice.
    """
    values = quantity.function(samples)
    value = float(quantity.function(estimate[None])[0])
    if quantity.name == "diamond distance":
        own = float(quantity.function(samples.mean(0)[None])[0])
        excess = max(float(np.median(values)) - own, 0.0)
        values, value = values - 2 * excess, value - excess
    low, middle, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
    low, high = middle - stretch * (middle - low), middle + stretch * (high - middle)
    half = 0.5 * (high - low)
    if low - quantity.bounds[0] < half:
        low = quantity.bounds[0]
    if quantity.bounds[1] - high < half:
        high = quantity.bounds[1]
    value = min(max(value, quantity.bounds[0]), quantity.bounds[1])
    return Interval(quantity.name, value, min(float(low), value), max(float(high), value), level)


def calibrated(
    quantity: Quantity, estimate: Complex, samples: Complex, level: float, widened: float = 1.0
) -> Interval:
    """The interval, stretched as `STRETCH` has it and by a factor more; see `interval`."""
    n = round(np.log2(len(estimate))) // 2
    stretch = STRETCH[n].get(quantity.name, 1.0) * widened
    return interval(quantity, estimate, samples, level, stretch)
