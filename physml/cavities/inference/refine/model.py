"""Expected counts of a field: smooth halo, its correction, candidates; and all derivatives.

mu = gas exp(sum c B) prod(share that each candidate leaves) + rest
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cavity import Cavity
from .cells import Cells
from .likelihood import size
from .null import Null
from .shapes import NAMES

Array = NDArray[np.float64]

#: Numbers of a candidate.
EACH = len(NAMES)
#: Largest correction of the halo, as a logarithm.
LARGEST = 3.0


@dataclass(frozen=True)
class Model:
    """Model of a field.

    Attributes
    ----------
    cells : Cells
    null : Null
    cavities : list of Cavity
        Candidates.
    near : list of ndarray of int
        For each of them, the cells that its shadow can reach.
    mean, width : ndarray, shape (p,)
        Gaussian priors of all parameters: those of the null, then eight a candidate.
    low, high : ndarray, shape (p,)
        Their bounds.
    """

    cells: Cells
    null: Null
    cavities: Sequence[Cavity]
    near: Sequence[NDArray[np.int64]]
    mean: Array
    width: Array
    low: Array
    high: Array

    @property
    def smooth(self) -> int:
        """Number of parameters of the null."""
        return len(self.null.width)

    def of(self, k: int) -> slice:
        """Parameters of a candidate."""
        first = self.smooth + EACH * k
        return slice(first, first + EACH)

    @property
    def phi(self) -> Array:
        """Size of the negative binomial of each cell."""
        return size(self.cells.pixels)

    def gas(self, theta: Array) -> Array:
        """Emission with the null's correction, without cavities, shape (m,)."""
        correction = np.clip(self.null.basis @ theta[: self.smooth], -LARGEST, LARGEST)
        return self.cells.gas * np.exp(correction)

    def left(self, theta: Array, k: int) -> Array:
        """Share of the emission that a candidate leaves in the cells near it."""
        return self.cavities[k].left(theta[self.of(k)])

    def expected(self, theta: Array, without: Sequence[int] = ()) -> Array:
        """Expected counts of the cells, shape (m,); some candidates may be left out."""
        gas = self.gas(theta)
        for k in range(len(self.cavities)):
            if k not in without:
                gas[self.near[k]] *= self.left(theta, k)
        return gas + self.cells.rest

    def jacobian(self, theta: Array, without: Sequence[int] = ()) -> tuple[Array, Array]:
        """Expected counts (m,) and their derivatives by all parameters (m, p)."""
        gas = self.gas(theta)
        out = np.zeros((len(gas), len(theta)))
        pieces = []
        for k, (cavity, near) in enumerate(zip(self.cavities, self.near, strict=True)):
            if k in without:
                continue
            left, relative = cavity.slopes(theta[self.of(k)])
            gas[near] *= left
            pieces.append((k, near, relative))
        out[:, : self.smooth] = gas[:, None] * self.null.basis
        for k, near, relative in pieces:
            out[near, self.of(k)] = gas[near][:, None] * relative
        return gas + self.cells.rest, out
