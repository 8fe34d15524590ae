"""Two-stage tomography: a fixed design first, then bases adapted once to what it found."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError

from ...core.basis import Basis, BasisKind
from ...core.basis_choice import choose_basis
from ...core.fixed_measurements import mub_bases
from ...core.likelihood import fisher_information
from ...core.measurements import pauli_local
from ...core.operators import n_qubits, random_unitary, to_coordinates
from .likelihood import TOLERANCE, MaximumLikelihood, fisher_covariance

#: Bases of the second stage; enough of them for the shares of the optimal design.
SECOND_BLOCKS = 24


class TwoStage(MaximumLikelihood):
    """Maximum likelihood with bases that adapt once.

    The first stage measures mutually unbiased bases (Haar random ones for more than two qubits), or
    Pauli bases where bases have to be products. In the second stage the bases are A-optimal (see
    `basis_choice`) at the estimate of the first stage, with the covariance that its and the later
    settings promise there. Both stages count in the final estimate.

    Parameters
    ----------
    total : int
        Copies N of the whole experiment: the method has to know them beforehand.
    share : float
        Share of the first stage.
    tolerance : float
        Log-likelihood that may be missed.

    References
    ----------
    Mahler et al., PRL 111, 183601 (2013), for one step of adaptation.
    """

    name: ClassVar[str] = "two_stage"

    def __init__(
        self, total: int | None = None, share: float = 0.5, tolerance: float = TOLERANCE
    ) -> None:
        super().__init__(tolerance)
        if (total is not None and total < 1) or not 0 < share < 1:
            raise InputError.expected(
                "two stages", "total >= 1 and 0 < share < 1", f"{total} and {share}"
            )
        self.total, self.share = None if total is None else int(total), share

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Begin. See `Estimator.start`."""
        super().start(n_states, d, rng)
        self._asked = self._measured = 0
        self._first: Tensor | None = None
        self._before = 0.0

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Keep the data. See `Estimator.update`."""
        super().update(effects, counts)
        self._measured += 1

    def schedule(self, kind: BasisKind, d: int) -> list[int]:
        """Blocks of the whole experiment: one a basis; InputError where nobody knows its copies."""
        if self.total is None:
            raise InputError.expected("total=", "the copies of the whole experiment", "none")
        first = max(1, round(self.share * self.total))
        return _split(first, _bases(kind, d)) + _split(self.total - first, SECOND_BLOCKS)

    def next_basis(self, kind: BasisKind, rng: np.random.Generator, shots: float = 1.0) -> Basis:
        """Next of the fixed bases, or the best one at the estimate of the first stage."""
        copies = float(self.tally.copies().max())
        if self._in_first_stage(kind, copies):
            # A session that is carried on has measured what was not asked for here.
            self._asked = max(self._asked, self._measured) + 1
            return self._fixed(kind, rng)
        if self._first is None or (self.total is None and self._before < self.share * copies):
            self._before = copies if self.total is None else self.share * self.total
            self._first = self.estimate()
            self._information = torch.linalg.inv(fisher_covariance(self.tally, self._first))
        covariance = torch.linalg.inv(self._information)
        smoothed = self._smoothed()
        basis = choose_basis(kind, smoothed, covariance, rng, shots)
        self._information = self._information + self._promise(basis, smoothed, shots)
        return basis

    def _in_first_stage(self, kind: BasisKind, copies: float) -> bool:
        if self.total is None:
            return self._measured < _bases(kind, self.d)
        return copies < round(self.share * self.total)

    def _smoothed(self) -> Tensor:
        """Estimate of the stage before with d white copies, as in `fisher_covariance`."""
        assert self._first is not None
        weight = self.d / (self._before + self.d)
        white = torch.eye(self.d, dtype=torch.complex128) / self.d
        return (1 - weight) * self._first + weight * white

    def _promise(self, basis: Basis, state: Tensor, shots: float) -> Tensor:
        """Fisher information (S, d * d - 1, d * d - 1) that a block will bring."""
        g = to_coordinates(basis.effects)
        number = torch.full(g.shape[:2], float(shots), dtype=torch.float64)
        return fisher_information(g, number, to_coordinates(state))

    def _fixed(self, kind: BasisKind, rng: np.random.Generator) -> Basis:
        """Basis of the first stage, the same for all experiments unless random."""
        n = n_qubits(self.d)
        if kind == "product":
            strings = pauli_local(n)
            local = strings[(self._asked - 1) % len(strings)]
            return Basis.product(local.expand(self.n_states, -1, -1, -1))
        if n > 2:
            return Basis(random_unitary(self.n_states, self.d, rng))
        bases = mub_bases(n)
        return Basis(bases[(self._asked - 1) % len(bases)].expand(self.n_states, -1, -1))


def _bases(kind: BasisKind, d: int) -> int:
    """Number of bases of the first stage."""
    return 3 ** n_qubits(d) if kind == "product" else d + 1


def _split(total: int, parts: int) -> list[int]:
    """Split copies as evenly as can be; empty parts are left out."""
    each, rest = divmod(total, parts)
    return [size for size in ([each + 1] * rest + [each] * (parts - rest)) if size]
