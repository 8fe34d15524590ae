"""The data of a batch of experiments, in real coordinates.

An effect E and a state rho have the coordinates g and x in an orthonormal basis of Hermitian
matrices, so that the Born rule is the real product p = g . x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.estimator import batched
from ...core.operators import to_coordinates


class Tally:
    """All effects and counts so far.

    Counts of a measurement that all experiments share are added to those of the same measurement
    before, so that static designs need no more memory or time with more blocks.

    Parameters
    ----------
    n_states : int
        Number of experiments S.
    d : int
        Dimension of the Hilbert space.
    """

    def __init__(self, n_states: int, d: int) -> None:
        self.n_states, self.d = n_states, d
        self._shared: list[Tensor] = []
        self._shared_counts: list[Tensor] = []
        self._own: list[Tensor] = []
        self._own_counts: list[Tensor] = []
        self._stack: tuple[Tensor, Tensor, Tensor] | None = None

    def add(self, effects: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Take in one measurement of each experiment; see `estimator.batched`.

        Returns
        -------
        coordinates
            (S, k, d * d) float64 of these effects.
        counts
            (S, k) float64.
        """
        shared = effects.ndim == 3
        wide, counts = batched(effects, counts, self.n_states)
        coordinates = to_coordinates(wide[:1] if shared else wide)
        self._stack = None
        if not shared:
            self._own.append(coordinates)
            self._own_counts.append(counts)
            return coordinates, counts
        for i, known in enumerate(self._shared):
            if known.shape == coordinates.shape and torch.equal(known, coordinates):
                self._shared_counts[i] = self._shared_counts[i] + counts
                break
        else:
            self._shared.append(coordinates)
            self._shared_counts.append(counts)
        return coordinates.expand(self.n_states, -1, -1), counts

    def stacked(self) -> tuple[Tensor, Tensor, Tensor]:
        """All data side by side, with M outcomes an experiment.

        Returns
        -------
        coordinates
            (S, M, d * d) of the effects.
        counts
            (S, M).
        shots
            (S, M) copies of the measurement to which each outcome belongs.
        """
        if self._stack is None:
            shape = (self.n_states, -1, -1)
            parts = [g.expand(*shape) for g in self._shared] + self._own
            counts = self._shared_counts + self._own_counts
            shots = [c.sum(-1, keepdim=True).expand_as(c) for c in counts]
            if parts:
                self._stack = torch.cat(parts, 1), torch.cat(counts, 1), torch.cat(shots, 1)
            else:
                none = torch.zeros(self.n_states, 0, dtype=torch.float64)
                self._stack = torch.zeros(*none.shape, self.d**2, dtype=none.dtype), none, none
        return self._stack

    def copies(self) -> Tensor:
        """Copies (S,) spent so far."""
        return self.stacked()[1].sum(-1)
