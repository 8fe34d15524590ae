"""Answers of a tomographer: regions, intervals, and functionals by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError

from ..core.operators import concurrence, entropy, fidelity, purity
from ..core.qobj import as_density_matrix

#: From density matrices (M, d, d) to numbers (M,).
Functional = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Region:
    """A ball of states about the estimate.

    Attributes
    ----------
    level : float
        Probability that the true state lies in it.
    infidelity : float
        Its radius as 1 - F to the estimate.
    bures : float
        The same as Bures distance, sqrt(2 (1 - sqrt F)).
    effective_size : float or None
        Independent posterior samples it rests on; None where it is calibrated instead: its radius
        then was measured on simulated experiments.
    complete : bool
        Whether the measurements determine the state (are informationally complete).
    notes : list of str
        What the user has to know about it.
    """

    level: float
    infidelity: float
    bures: float
    effective_size: float | None
    complete: bool
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, level: float, infidelity: float, *rest: Any) -> Region:
        """Region of a radius as infidelity; the Bures distance grows with it."""
        bures = math.sqrt(2 * (1 - math.sqrt(max(0.0, 1 - infidelity))))
        return cls(level, infidelity, bures, *rest)


@dataclass(frozen=True)
class Interval:
    """A number that follows from the state, with its interval.

    Attributes
    ----------
    name : str
    value : float
        Of the estimate.
    low, high : float
        Shortest interval of the posterior, long enough to contain the estimate.
    level : float
        Probability that the true value lies in it.
    """

    name: str
    value: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


ANY: tuple[float, float] = (-math.inf, math.inf)


def functional(
    given: Any, n_qubits: int, target: Any = None
) -> tuple[str, Functional, tuple[float, float]]:
    """Name, function and bounds of a functional; InputError otherwise.

    Parameters
    ----------
    given : str, callable, or a state
        "purity", "entropy" (in bits), "concurrence", "fidelity" (needs `target`); a function of
        density matrices
        (M, d, d), complex128 tensors, that gives (M,) numbers, with its `bounds` as an attribute
        where it has any; or a state, for the fidelity to it.
    n_qubits : int
    target : state, optional
        Density matrix (d, d) or vector (d,): a Qobj, array or tensor.
    """
    if callable(given) and not hasattr(given, "full"):
        return getattr(given, "__name__", "functional"), given, getattr(given, "bounds", ANY)
    if not isinstance(given, str):
        return functional("fidelity", n_qubits, given)
    if given == "purity":
        return given, kind_of("purity", purity), (0.5**n_qubits, 1.0)
    if given == "entropy":
        return given, kind_of("entropy", entropy), (0.0, float(n_qubits))
    if given == "concurrence":
        if n_qubits != 2:
            raise InputError.expected("concurrence", "2 qubits", str(n_qubits))
        return given, kind_of("concurrence", concurrence), (0.0, 1.0)
    if given == "fidelity":
        if target is None:
            raise InputError.expected("fidelity", "a target", "none")
        state = as_density_matrix(target, n_qubits)

        def to_target(rho: Tensor) -> Tensor:
            return fidelity(rho, state.expand_as(rho))

        return given, kind_of("fidelity", to_target), (0.0, 1.0)
    raise InputError.expected(
        "functional", "purity, entropy, concurrence, fidelity, a function or a state", repr(given)
    )


def kind_of(kind: str, function: Functional) -> Functional:
    """Function that tells its kind, by which its errors were learned; see `intervals.KINDS`."""

    def same(rho: Tensor) -> Tensor:
        return function(rho)

    same.kind = kind  # type: ignore[attr-defined]
    return same


def expectation(matrix: Any, n_qubits: int) -> Functional:
    """Expectation value of an observable, as a functional with its bounds.

    Parameters
    ----------
    matrix : array (d, d)
        Hermitian.
    n_qubits : int

    Raises
    ------
    InputError
        It is not Hermitian, or of another dimension.
    """
    d = 1 << n_qubits
    h = np.asarray(matrix.full() if hasattr(matrix, "full") else matrix, np.complex128)
    if h.shape != (d, d) or not np.isfinite(h).all() or np.abs(h - h.conj().T).max() > 1e-9:
        raise InputError.expected("observable", f"a Hermitian matrix {d} x {d}", f"{h.shape}")
    tensor = torch.from_numpy(np.ascontiguousarray(h))
    ends = torch.linalg.eigvalsh(tensor)

    def of(rho: Tensor) -> Tensor:
        return torch.einsum("ij,...ji->...", tensor, rho).real

    found = kind_of("observable", of)
    found.__name__ = "expectation"
    found.bounds = (float(ends[0]), float(ends[-1]))  # type: ignore[attr-defined]
    return found
