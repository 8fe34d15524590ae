"""Linear inversion: the state whose probabilities are nearest to the observed frequencies."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.estimator import Estimator, batched
from ...core.operators import from_coordinates, project_to_states, to_coordinates

#: Directions with less than this share of the largest information count as not measured.
RANK_TOLERANCE = 1e-10


class LinearInversion(Estimator):
    """Least squares of the frequencies, then the nearest density matrix.

    Minimises sum over settings of ``n_s |f_s - tr(E_s rho)|^2`` over Hermitian matrices of
    trace one; unbiased where the design is fixed and complete. Directions that nothing has
    measured stay at those of the maximally mixed state. The memory does not grow with the data.

    References
    ----------
    Smolin, Gambetta, Smith, PRL 108, 070502 (2012), for the projection.
    """

    name: ClassVar[str] = "linear"

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Begin; nothing is random. See `Estimator.start`."""
        self.n_states, self.d = n_states, d
        size = d * d - 1
        self._normal = torch.zeros(n_states, size, size, dtype=torch.float64)
        self._right = torch.zeros(n_states, size, dtype=torch.float64)

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Add to the normal equations. See `Estimator.update`."""
        # Shared effects need their products only once, whatever the number of experiments.
        one = 1 if effects.ndim == 3 else self.n_states
        effects, counts = batched(effects, counts, self.n_states)
        g = to_coordinates(effects[:one])
        shots = counts.sum(-1, keepdim=True)
        # The trace fixes the first coordinate at 1 / sqrt d.
        rest = counts - shots * g[..., 0] / self.d**0.5
        g = g[..., 1:]
        self._normal += shots[..., None] * (g.mT @ g)
        self._right += (rest[:, None] @ g)[:, 0]

    def raw(self) -> Tensor:
        """Hermitian matrices (S, d, d) of trace one before the projection: maybe not positive."""
        inverse = torch.linalg.pinv(self._normal, rtol=RANK_TOLERANCE, hermitian=True)
        x = (inverse @ self._right[..., None])[..., 0]
        first = torch.full((self.n_states, 1), self.d**-0.5, dtype=x.dtype)
        return from_coordinates(torch.cat([first, x], -1))

    def estimate(self) -> Tensor:
        """Nearest density matrices (S, d, d) in the Frobenius norm."""
        return project_to_states(self.raw())
