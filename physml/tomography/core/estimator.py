"""Interface of every estimator of a density matrix, learned or not.

An estimator follows ``S`` independent experiments at once: it is told effects and counts, block by
block, and says at any time what it believes and which basis it would measure next. One experiment
is a batch of one. Everything is complex128 or float64, so that 1e12 copies lose nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError

from .basis import Basis, BasisKind
from .basis_choice import choose_basis


def batched(effects: Tensor, counts: Tensor, n_states: int) -> tuple[Tensor, Tensor]:
    """Check effects and counts and give both the axis of the experiments.

    Parameters
    ----------
    effects : Tensor (S, k, d, d)
        Or (k, d, d) where all experiments share the measurement.
    counts : Tensor (S, k)
        Or (k,) for one experiment; not negative and finite.
    n_states : int
        ``S``.

    Returns
    -------
    effects
        (S, k, d, d) complex128; an expanded view where it was shared.
    counts
        (S, k) float64.

    Raises
    ------
    InputError
        Where the shapes do not fit, or counts are negative or not finite.
    """
    effects = torch.as_tensor(effects).to(torch.complex128)
    counts = torch.as_tensor(counts).to(torch.float64)
    if counts.ndim == 1:
        counts = counts[None]
    if effects.ndim == 3:
        effects = effects.expand(n_states, *effects.shape)
    if effects.ndim != 4 or effects.shape[0] != n_states:
        raise InputError.expected(
            "effects=", f"(k, d, d) or ({n_states}, k, d, d)", str(tuple(effects.shape))
        )
    if counts.shape != effects.shape[:2]:
        raise InputError.expected(
            "counts=", str(tuple(effects.shape[:2])), str(tuple(counts.shape))
        )
    if not bool(torch.isfinite(counts).all()) or bool((counts < 0).any()):
        raise InputError.expected("counts=", "numbers >= 0", "negative or not finite ones")
    return effects, counts


class Estimator(ABC):
    """Batch of experiments, their data so far, and what follows from them."""

    #: Name in tables and settings.
    name: ClassVar[str]

    n_states: int
    d: int

    @abstractmethod
    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Forget everything and begin `n_states` experiments of dimension `d`.

        Parameters
        ----------
        n_states : int
            ``S`` >= 1.
        d : int
            Dimension of the Hilbert space, 2^n.
        rng : Generator
            Source of all random numbers of the estimator itself (particles, moves).
        """

    @abstractmethod
    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Take in the counts of one measurement of each experiment; see `batched`."""

    @abstractmethod
    def estimate(self) -> Tensor:
        """Density matrices (S, d, d), complex128: Hermitian, positive, of trace one."""

    def covariance(self) -> Tensor | None:
        """Covariance (S, d*d - 1, d*d - 1) of the coordinates of the state, if it is known.

        Coordinates are those of `operators.hermitian_basis` without the first (the trace).
        """
        return None

    def spread(self) -> Tensor | None:
        """Infidelity (S,) that the estimator expects of its estimate, if it knows."""
        return None

    def next_basis(self, kind: BasisKind, rng: np.random.Generator, shots: float = 1.0) -> Basis:
        """Basis to measure next.

        Parameters
        ----------
        kind : {"global", "product"}
            ``"global"``: any basis of the whole space; ``"product"``: one basis of each qubit.
        rng : Generator
            Source of the random candidates.
        shots : float
            Copies about to be spent in it: with many, a basis soon has nothing left to tell.
        """
        return choose_basis(kind, self.estimate(), self.covariance(), rng, shots)
