"""States drawn about a learned estimate, as far from it as truth is found to be.

The estimate is ``L L^+`` with a triangular L in the eigenframe of the filter, the largest
eigenvalue first. Its diagonal holds the roots of the eigenvalues, the rest the turns of the
eigenvectors. The corrector has learned what each of these elements contributes to the infidelity
(`corrector.contributions`); draws scatter each by that much. Roots reach zero, so states of lower
rank are among the draws, and none leaves the positive matrices.

The draws say nothing of their own: `intervals` and `radii` are calibrated on simulations with them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.eigenframe import pairs
from ...core.operators import fidelity
from .corrector import Correction
from .quantiles import logit

#: Smallest root of an eigenvalue that carries turns of its vector.
TINY = 1e-9
#: Smallest root of the first eigenvalue, before the trace is set to one.
SMALLEST = 1e-3
#: Rounds in which distances of draws are brought to those of the radii, and the largest change.
ROUNDS, LARGEST = 4, 20.0


class Draws:
    """Draws about the estimates of S experiments.

    Parameters
    ----------
    made : Correction
        Of S experiments.
    number : int
        M draws of each.
    rng : Generator
    """

    def __init__(self, made: Correction, number: int, rng: np.random.Generator) -> None:
        self.estimate = made.estimate()
        n, d = self.estimate.shape[:2]
        self._j, self._k = pairs(d)
        m = len(self._j)
        triangle = torch.linalg.cholesky(self.estimate + TINY**1.5 * torch.eye(d))
        self._roots = triangle.diagonal(dim1=-2, dim2=-1).real[:, None]
        self._turns = (triangle[:, self._k, self._j] * self._roots[:, 0, self._j])[:, None]
        own, both = made.parts.split([d, m], -1)
        values = self._roots[:, 0].square()
        width = (both * (values[:, self._j] + values[:, self._k]) / 2).sqrt()
        z = torch.as_tensor(rng.standard_normal((n, number, d * d)))
        self._away = z[..., :d] * own.sqrt()[:, None]
        self._turned = torch.complex(z[..., d : d + m], z[..., d + m :]) * width[:, None]

    def states(self, scale: Tensor | float = 1.0) -> Tensor:
        """Density matrices (S, M, d, d) in the eigenframe, all steps times `scale` (S, M, 1)."""
        roots = (self._roots + self._away * scale).clamp(min=0)
        # Some eigenvalue has to be left.
        roots[..., 0] = roots[..., 0].clamp(min=SMALLEST)
        turns = self._turns + self._turned * scale
        half = torch.diag_embed(roots).to(torch.complex128)
        above = roots[..., self._j]
        half[..., self._k, self._j] = turns / above.clamp(min=TINY) * (above > TINY)
        rho = half @ half.mH
        return rho / rho.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]

    def matched(self, levels: NDArray, logs: NDArray) -> Tensor:
        """Draws whose infidelities to the estimate have given quantiles, (S, M, d, d).

        Parameters
        ----------
        levels : ndarray (q,)
        logs : ndarray (S, q)
            Logarithms of the radii of these levels.
        """
        scale = torch.ones(*self._away.shape[:2], 1, dtype=torch.float64)
        places = logit(levels)
        for _ in range(ROUNDS):
            states = self.states(scale)
            n, number = states.shape[:2]
            middle = self.estimate[:, None].expand_as(states)
            far = (1 - fidelity(states.flatten(0, 1), middle.flatten(0, 1))).reshape(n, number)
            far = far.clamp(min=1e-15)
            rank = (far.argsort(1).argsort(1).numpy() + 0.5) / number
            wanted = np.stack([_line(u, places, q) for u, q in zip(logit(rank), logs, strict=True)])
            step = torch.from_numpy(np.exp(0.5 * (wanted - far.log().numpy())))
            scale = scale * step.clamp(1 / LARGEST, LARGEST)[..., None]
        return self.states(scale)


def _line(x: NDArray, places: NDArray, values: NDArray) -> NDArray[np.float64]:
    """Piecewise linear function, its outermost pieces carried on."""
    k = np.clip(np.searchsorted(places, x), 1, len(places) - 1)
    part = (x - places[k - 1]) / (places[k] - places[k - 1])
    return np.asarray(values[k - 1] + part * (values[k] - values[k - 1]))
