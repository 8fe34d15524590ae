"""Pauli observables of many qubits from product measurements.

Two ways. *Compatible shots* of Pauli measurements: the mean of a Pauli observable over all shots
whose bases contain it. No matter how the bases were chosen (drawn, derandomised, or a few known
settings) it has no bias, and its shots are coin throws, whose interval by Clopper and Pearson
(Biometrika 26, 404, 1934) is exact. *Classical shadows*: bases drawn uniformly, of Pauli axes or
given unitaries; each shot is the snapshot ``prod (1 + 3 r . sigma) / 2`` with the Bloch vectors r
of its outcomes, and estimates are medians of means (H.-Y. Huang, R. Kueng, J. Preskill, Nature
Phys. 16, 1050 (2020)). The variance of a snapshot's Pauli observable of weight k is at most 3^k
(4^k times the squared norm for other observables of k qubits), and with N shots in
K = 2 ln(2 M / delta) groups all M errors are below sqrt(34 K 3^k / N) with probability 1 - delta.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, chi2

from physml.exceptions import InputError

from ...core.checks import check_probability
from ...core.stabilisers import check_observable
from ...data.shadow_records import ShadowRecords

METHODS = ("compatible", "median_of_means")
#: Probability below which bases are said not to be drawn uniformly.
UNIFORM = 1e-4
Array = NDArray[np.float64]


@dataclass(frozen=True)
class ShadowEstimate:
    """A number of a state of many qubits.

    Attributes
    ----------
    name : str
    value, low, high : float
    level : float
        Probability that all true values of one call lie between their ends.
    copies : int
        Shots that it rests on.
    variance_bound : float or None
        Of one shot: 3^k for Pauli observables of weight k by classical shadows, 1 for compatible
        shots; None where there is none.
    method : str
        How the ends were found.
    """

    name: str
    value: float
    low: float
    high: float
    level: float
    copies: int
    variance_bound: float | None
    method: str

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def observables(
    records: ShadowRecords,
    names: Sequence[str],
    level: float = 0.9,
    method: str = "compatible",
) -> list[ShadowEstimate]:
    """Means of Pauli observables; the level is that of all of them together (Bonferroni).

    Parameters
    ----------
    records : ShadowRecords
    names : sequence of str
        Such as "ZZIII".
    level : float
    method : str
        "compatible" or "median_of_means"; only the latter can be had of bases that are no Pauli's.

    Raises
    ------
    InputError
        No such observable or method, no compatible shot, or bases that were not drawn uniformly.
    """
    level = check_probability(level, "level=")
    wanted = [check_observable(name, records.n_qubits) for name in names]
    if not wanted:
        raise InputError.expected("observable", "at least one", "none")
    if method not in METHODS:
        raise InputError.expected("method", f"one of {', '.join(METHODS)}", repr(method)[:40])
    delta = (1 - level) / len(wanted)
    if method == "median_of_means":
        check_uniform(records)
        return [_median_of_means(records, name, level, delta) for name in wanted]
    if records.axes is None:
        raise InputError.expected(
            "method=compatible", "Pauli bases", "others", "Use median_of_means."
        )
    return [_compatible(records, name, level, delta) for name in wanted]


def compatible_signs(records: ShadowRecords, name: str) -> tuple[NDArray[np.bool_], Array]:
    """Which rows have bases that contain an observable, and its sign in these."""
    assert records.axes is not None
    at = [q for q, letter in enumerate(name) if letter != "I"]
    axes = np.array(["XYZ".index(name[q]) for q in at], np.int64)
    fits = (records.axes[:, at] == axes).all(1)
    return fits, records.signs[np.ix_(fits, at)].prod(1)


def _compatible(records: ShadowRecords, name: str, level: float, delta: float) -> ShadowEstimate:
    fits, signs = compatible_signs(records, name)
    total, n = float(records.counts[fits] @ signs), float(records.counts[fits].sum())
    if n == 0:
        raise InputError.expected(
            f"observable {name}", "shots whose bases contain it", "none", "Measure such a setting."
        )
    plus = (n + total) / 2
    low = 0.0 if plus == 0 else float(beta.ppf(delta / 2, plus, n - plus + 1))
    high = 1.0 if plus == n else float(beta.ppf(1 - delta / 2, plus + 1, n - plus))
    return ShadowEstimate(
        name, total / n, 2 * low - 1, 2 * high - 1, level, int(n), 1.0, "compatible, exact"
    )


def check_uniform(records: ShadowRecords) -> None:
    """InputError where bases are not independent, uniform draws, as classical shadows need.

    Pauli axes of each qubit and of each pair of neighbours are tested by chi squared over the
    measurements; a measurement of several shots is one draw.
    """
    first = np.unique(records.measurement, return_index=True)[1]
    if len(first) < 20:
        raise InputError.expected(
            "bases", "at least 20 draws of bases", f"{len(first)}", "Use the method compatible."
        )
    if records.axes is None:
        return
    axes = records.axes[first]
    n = axes.shape[1]
    tests = [np.bincount(axes[:, q], minlength=3) for q in range(n)]
    if len(first) >= 90:
        tests += [np.bincount(3 * axes[:, q] + axes[:, q + 1], minlength=9) for q in range(n - 1)]
    for q, seen in enumerate(tests):
        expected = len(first) / len(seen)
        p = float(chi2.sf(np.square(seen - expected).sum() / expected, len(seen) - 1))
        if p < UNIFORM / len(tests):
            raise InputError.expected(
                "bases",
                "axes drawn uniformly and independently",
                f"qubit {q % n} with {seen.tolist()} (p = {p:.1g})",
                "Use the method compatible.",
            )


def _by_measurement(records: ShadowRecords, values: Array) -> tuple[Array, Array]:
    """Sums of values times counts, and counts, of each measurement."""
    _, place = np.unique(records.measurement, return_inverse=True)
    weights = records.counts.astype(np.float64)
    return np.asarray(np.bincount(place, values * weights)), np.asarray(np.bincount(place, weights))


def _median_of_means(
    records: ShadowRecords, name: str, level: float, delta: float
) -> ShadowEstimate:
    at = [q for q, letter in enumerate(name) if letter != "I"]
    axes = ["XYZ".index(name[q]) for q in at]
    values = (3 * records.bloch[:, at, axes]).prod(1)
    sums, counts = _by_measurement(records, values)
    # Shots of one choice of bases are not independent: a choice counts as one snapshot.
    snapshots = sums / counts
    groups = min(max(1, math.ceil(2 * math.log(2 / delta))), len(snapshots))
    middle = float(np.median([part.mean() for part in np.array_split(snapshots, groups)]))
    bound = 3.0 ** len(at)
    radius = math.sqrt(34 * groups * bound / len(snapshots))
    return ShadowEstimate(
        name,
        middle,
        max(-1.0, middle - radius),
        min(1.0, middle + radius),
        level,
        int(records.copies),
        bound,
        f"median of {groups} means, bound of Huang, Kueng, Preskill",
    )
