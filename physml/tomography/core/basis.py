"""Orthonormal bases to measure in, one an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .operators import kron_all

#: Which bases an adaptive design may choose from.
BasisKind = Literal["global", "product"]


def basis_effects(basis: Tensor) -> Tensor:
    """Projectors onto the columns of unitaries: (..., d, d) to (..., d, d, d)."""
    columns = basis.mT
    return columns.unsqueeze(-1) * columns.conj().unsqueeze(-2)


@dataclass(frozen=True)
class Basis:
    """One von Neumann measurement an experiment.

    Attributes
    ----------
    unitary : Tensor (S, d, d), complex128
        The columns are the basis vectors.
    local : Tensor (S, n, 2, 2), complex128, optional
        The unitary of each qubit, qubit 0 leftmost; None where the basis is not a product.
    """

    unitary: Tensor
    local: Tensor | None = None

    @classmethod
    def product(cls, local: Tensor) -> Basis:
        """Product basis of the local unitaries (S, n, 2, 2)."""
        return cls(kron_all(local), local)

    @property
    def effects(self) -> Tensor:
        """Projectors on the basis vectors, (S, d, d, d): experiment, outcome, matrix."""
        return basis_effects(self.unitary)
