"""Maximum likelihood by an accelerated projected gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.estimator import Estimator
from ...core.likelihood import TINY, fisher_information
from ...core.operators import from_coordinates, project_to_states, to_coordinates
from .tally import Tally

#: The certified distance from the largest log-likelihood at which the search may stop.
TOLERANCE = 1e-3
MAX_ITERATIONS = 4000
#: Iterations between two looks at the certificate.
CHECK_EVERY = 10
SHRINK, GROW = 0.5, 1.1


def maximum_likelihood(
    coordinates: Tensor,
    counts: Tensor,
    start: Tensor,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[Tensor, Tensor]:
    """Density matrices of the largest likelihood, all experiments at once.

    The log-likelihood is concave, so the largest eigenvalue of R = sum_k c_k / (N p_k) E_k bounds
    what is left to gain: N (lambda_max(R) - 1). Each experiment stops by that certificate.

    Parameters
    ----------
    coordinates : Tensor (S, M, d * d) or (M, d * d)
        Of the effects; all experiments may have the same ones, which is several times faster.
    counts : Tensor (S, M)
    start : Tensor (S, d, d)
        States of full rank at which to begin.
    tolerance : float
        Log-likelihood that may be missed.
    max_iterations : int
        After so many steps the best state so far is returned.

    Returns
    -------
    density_matrices
        (S, d, d).
    gap
        (S,) certified upper bound of the log-likelihood missed.

    References
    ----------
    Shang, Zhang, Ng, PRA 95, 062336 (2017); O'Donoghue, Candes, Found. Comput. Math. 15, 715
    (2015) for the restarts.
    """
    copies = counts.sum(-1)
    frequencies = counts / copies.clamp(min=1)[:, None]
    best = to_coordinates(start)
    gap = torch.full_like(copies, torch.inf)
    active = torch.arange(len(copies))[copies > 0]
    gap[copies == 0] = 0
    shared = coordinates.ndim == 2
    g, f = coordinates if shared else coordinates[active], frequencies[active]
    x = y = best[active]
    value = _cost(g, f, x)
    theta, step = torch.ones_like(value), torch.full_like(value, 1.0)
    for iteration in range(max_iterations):
        if iteration % CHECK_EVERY == 0:
            left = copies[active] * (_eigenvalue(_gradient(g, f, x)) - 1)
            best[active], gap[active] = x, left.clamp(min=0)
            go = left > tolerance
            if not bool(go.any()):
                break
            if not bool(go.all()):
                active, f, x, y = active[go], f[go], x[go], y[go]
                g = g if shared else g[go]
                value, theta, step = value[go], theta[go], step[go]
        slope = _gradient(g, f, y)
        at_y = _cost(g, f, y)
        new = to_coordinates(project_to_states(from_coordinates(y - step[:, None] * slope)))
        new_value = _cost(g, f, new)
        move = new - y
        model = at_y + (slope * move).sum(-1) + (move * move).sum(-1) / (2 * step)
        # Rounding of the cost must not shrink the step for ever close to the optimum.
        fits = new_value <= model + 1e-15 * at_y.abs()
        better = new_value <= value
        # A step too long is tried again, shorter; one that is uphill restarts the momentum, at x.
        next_theta = 0.5 * (1 + (1 + 4 * theta * theta).sqrt())
        ahead = new + ((theta - 1) / next_theta)[:, None] * (new - x)
        ahead = torch.where(_positive(g, f, ahead)[:, None], ahead, new)
        good = fits & better
        restart = fits & ~better
        y = torch.where(good[:, None], ahead, torch.where(restart[:, None], x, y))
        x = torch.where(good[:, None], new, x)
        value = torch.where(good, new_value, value)
        theta = torch.where(good, next_theta, torch.where(restart, torch.ones_like(theta), theta))
        # A restart that follows a restart has only rounding left to gain.
        step = torch.where(fits, GROW * step, SHRINK * step)
    return from_coordinates(best), gap


def _probabilities(g: Tensor, x: Tensor) -> Tensor:
    return x @ g.mT if g.ndim == 2 else (g @ x[..., None])[..., 0]


def _cost(g: Tensor, f: Tensor, x: Tensor) -> Tensor:
    """Minus the log-likelihood of one copy, (S,)."""
    return -(f * _probabilities(g, x).clamp(min=TINY).log()).sum(-1)


def _gradient(g: Tensor, f: Tensor, x: Tensor) -> Tensor:
    """Gradient (S, d * d) of the cost."""
    ratio = f / _probabilities(g, x).clamp(min=TINY)
    return -(ratio @ g if g.ndim == 2 else (g.mT @ ratio[..., None])[..., 0])


def _eigenvalue(gradient: Tensor) -> Tensor:
    """Largest eigenvalue of R = - gradient, (S,)."""
    return torch.linalg.eigvalsh(from_coordinates(-gradient))[..., -1]


def _positive(g: Tensor, f: Tensor, x: Tensor) -> Tensor:
    """Whether all outcomes that were seen have a positive probability, (S,)."""
    return ((_probabilities(g, x) > 0) | (f == 0)).all(-1)


class MaximumLikelihood(Estimator):
    """The state under which the data are the most probable.

    Parameters
    ----------
    tolerance : float
        Log-likelihood that may be missed.
    """

    name: ClassVar[str] = "maximum_likelihood"

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        self.tolerance = tolerance

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Begin; nothing is random. See `Estimator.start`."""
        self.n_states, self.d = n_states, d
        self.tally = Tally(n_states, d)
        self._found: Tensor | None = None

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Keep the data. See `Estimator.update`."""
        self.tally.add(effects, counts)
        self._found = None

    def estimate(self) -> Tensor:
        """Density matrices (S, d, d)."""
        if self._found is None:
            mixed = torch.eye(self.d, dtype=torch.complex128) / self.d
            coordinates, counts, _ = self.tally.stacked()
            self._found, self.gap = maximum_likelihood(
                coordinates, counts, mixed.expand(self.n_states, -1, -1), self.tolerance
            )
        return self._found

    def covariance(self) -> Tensor:
        """Inverse of the Fisher information at a smoothed estimate; see `Estimator.covariance`."""
        return fisher_covariance(self.tally, self.estimate())


def fisher_covariance(tally: Tally, estimate: Tensor) -> Tensor:
    """Covariance (S, d * d - 1, d * d - 1) from the Fisher information of the data.

    The estimate is mixed with d white copies, because zero eigenvalues, frequent in maximum
    likelihood, would promise infinite information; and the state is known beforehand to the width
    of the set of states, about 1 / d in each coordinate.
    """
    d = tally.d
    coordinates, _, shots = tally.stacked()
    x = to_coordinates(estimate)
    weight = (d / (tally.copies() + d))[:, None]
    white = torch.zeros_like(x)
    white[:, 0] = d**-0.5
    information = fisher_information(coordinates, shots, (1 - weight) * x + weight * white)
    prior = d * d * torch.eye(d * d - 1, dtype=information.dtype)
    return torch.linalg.inv(information + prior)
