"""Orthonormal bases to measure in, one an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

#: Which bases an adaptive design may choose from.
BasisKind = Literal["global", "product"]


@dataclass(frozen=True)
class Basis:
    """One von Neumann measurement an experiment.

    Attributes
    ----------
    unitary
        (S, d, d) complex128; the columns are the basis vectors.
    local
        (S, n, 2, 2) complex128, the unitary of each qubit, qubit 0 leftmost; None where the basis
        is not a product.
    """

    unitary: Tensor
    local: Tensor | None = None

    @classmethod
    def product(cls, local: Tensor) -> Basis:
        """Product basis of the local unitaries (S, n, 2, 2)."""
        unitary = local[:, 0]
        for qubit in range(1, local.shape[1]):
            unitary = torch.einsum("sab,scd->sacbd", unitary, local[:, qubit])
            side = unitary.shape[1] * unitary.shape[2]
            unitary = unitary.reshape(-1, side, side)
        return cls(unitary, local)

    @property
    def effects(self) -> Tensor:
        """Projectors on the basis vectors, (S, d, d, d): experiment, outcome, matrix."""
        columns = self.unitary.mT
        return columns[..., :, None] * columns[..., None, :].conj()
