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
    pauli_transfer,
    process_fidelity,
    unitarity,
)
from ...core.process.diamond import diamond_bounds
from ..answers import Interval
from .unbiased import LeastSquares, fidelity_weights

DIAMOND = "diamond distance"
#: Steps of the diamond distance of samples, and of the estimate.
STEPS = (12, 60)

#: Factors of intervals, by number of qubits and name: the conformal quantile, rounded up to a
#: tenth, over processes of a continuous family (`evaluation.process_stretch`), which
#: ``python benchmarks/tomography_processes`` draws.
STRETCH: dict[int, dict[str, float]] = {
    1: {DIAMOND: 1.1},
    2: {DIAMOND: 1.3},
}


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
    target : ndarray (d, d), optional
        Of a fidelity.
    """

    name: str
    function: Callable[[Complex], Floats]
    bounds: tuple[float, float]
    target: Complex | None = None


def quantities(n_qubits: int, target: Complex | None) -> list[Quantity]:
    """Numbers to report: unitarity; with a target fidelities and the diamond distance to it."""
    d = 1 << n_qubits
    out = [Quantity("unitarity", unitarity, (0.0, 1.0))]
    if target is None:
        return out
    return [
        Quantity(
            "average gate fidelity",
            partial(average_gate_fidelity, unitary=target),
            (1 / (d + 1), 1.0),
            target,
        ),
        Quantity("process fidelity", partial(process_fidelity, unitary=target), (0.0, 1.0), target),
        *out,
        Quantity(DIAMOND, partial(_diamond, target=choi_of_unitary(target)), (0.0, 1.0)),
    ]


def _diamond(choi: Complex, target: Complex) -> Floats:
    low, high = diamond_bounds(choi - target, STEPS[0 if len(choi) > 1 else 1])
    return 0.5 * (low + high)


@dataclass(frozen=True)
class Drawn:
    """A quantity of an estimate and of the posterior's samples.

    Attributes
    ----------
    value : float
    values : ndarray (S,)
    """

    value: float
    values: Floats


def corrected(quantity: Quantity, estimate: Complex, samples: Complex) -> Drawn:
    """Quantity of an estimate and of samples, without what scatter adds to a distance.

    Parameters
    ----------
    quantity : Quantity
    estimate : ndarray (d^2, d^2)
        Of the process.
    samples : ndarray (S, d^2, d^2)

    Returns
    -------
    Drawn
        The scatter of the samples about their mean adds to a distance, as the error of the mean
        adds to that of the mean. So the difference of the median to the distance of the mean is
        taken off the value once, and off the samples twice.
    """
    values = quantity.function(samples)
    value = float(quantity.function(estimate[None])[0])
    if quantity.name == DIAMOND:
        own = float(quantity.function(samples.mean(0)[None])[0])
        excess = max(float(np.median(values)) - own, 0.0)
        values, value = values - 2 * excess, value - excess
    return Drawn(value, values)


def interval(quantity: Quantity, drawn: Drawn, level: float, stretch: float = 1.0) -> Interval:
    """Value at the estimate, and the interval between equal tails of the samples.

    Parameters
    ----------
    quantity : Quantity
    drawn : Drawn
    level : float
        Probability that the true value lies between the ends.
    stretch : float
        Factor of both sides of the median.

    Returns
    -------
    Interval
        An end that is nearer to a bound than half the interval is long moves to the bound: no
        sample ever is an exact unitary.
    """
    tails = np.quantile(drawn.values, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return stretched(quantity, drawn.value, tails, level, stretch)


def stretched(
    quantity: Quantity, value: float, tails: Floats, level: float, stretch: float
) -> Interval:
    """See `interval`; of the lower tail, the median and the upper tail (3,)."""
    low, middle, high = tails
    low, high = middle - stretch * (middle - low), middle + stretch * (high - middle)
    half = 0.5 * (high - low)
    if low - quantity.bounds[0] < half:
        low = quantity.bounds[0]
    if quantity.bounds[1] - high < half:
        high = quantity.bounds[1]
    value = min(max(value, quantity.bounds[0]), quantity.bounds[1])
    return Interval(quantity.name, value, min(float(low), value), max(float(high), value), level)


def calibrated(
    quantity: Quantity,
    estimate: Complex,
    drawn: Drawn,
    level: float,
    squares: LeastSquares | None,
    widened: float = 1.0,
) -> Interval:
    """The interval that is reported.

    Of fidelities and the unitarity, that of least squares, which no prior enters
    (`unbiased`); it is made to contain the value of the estimate. Of the diamond distance, and of
    all where the measurements do not determine the process, that of the samples, the former
    stretched by `STRETCH`; see `interval`.

    Parameters
    ----------
    quantity : Quantity
    estimate : ndarray (d^2, d^2)
    drawn : Drawn
    level : float
    squares : LeastSquares, optional
        None where the measurements do not determine the process.
    widened : float
        Factor of both sides, where the counts do not fit.
    """
    n = round(np.log2(len(estimate))) // 2
    stretch = STRETCH[n].get(quantity.name, 1.0) * widened
    plain = interval(quantity, drawn, level, stretch)
    if squares is None or quantity.name == DIAMOND:
        return plain
    if quantity.target is None:
        found = squares.unitarity(pauli_transfer(estimate), level)
    else:
        d = len(quantity.target)
        weights = fidelity_weights(quantity.target)
        average = quantity.name.startswith("average")
        scale, offset = (d / (d + 1), 1 / (d + 1)) if average else (1.0, 0.0)
        found = squares.linear(scale * weights, offset, level)
    middle, low, high = found
    least, most = quantity.bounds
    low = max(min(middle + widened * (low - middle), plain.value), least)
    high = min(max(middle + widened * (high - middle), plain.value), most)
    return Interval(quantity.name, plain.value, low, high, level)
