"""Damped Fisher scoring of the halo's correction and all candidates of a field together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from .likelihood import information, log_likelihood, score
from .model import Model

Array = NDArray[np.float64]

#: Most steps of a fit, and the gain below which it ends.
STEPS, ENOUGH = 30, 0.02


@dataclass(frozen=True)
class Fitted:
    """Mode of the posterior.

    Attributes
    ----------
    theta : ndarray, shape (p,)
    value : float
        ln of likelihood and priors of the free parameters there, up to a constant of the data.
    curvature : ndarray, shape (p, p)
        Fisher information with that of the priors.
    """

    theta: Array
    value: float
    curvature: Array


def posterior(
    model: Model, theta: Array, free: NDArray[np.bool_], without: Sequence[int] = ()
) -> tuple[float, Array, Array]:
    """Value, gradient and Fisher information of ln L with priors; (p,) and (p, p), all parameters.

    Parameters
    ----------
    model : Model
    theta : ndarray, shape (p,)
    free : ndarray of bool, shape (p,)
        Parameters whose priors count.
    without : sequence of int
        Candidates that are left out.
    """
    mu, slopes = model.jacobian(theta, without)
    counts, phi = model.cells.counts, model.phi
    pull = np.where(free, (theta - model.mean) / model.width, 0.0)
    value = float(log_likelihood(counts, mu, phi)) - 0.5 * float(pull @ pull)
    gradient = slopes.T @ score(counts, mu, phi) - pull / model.width
    weighted = slopes * np.sqrt(information(mu, phi))[:, None]
    curvature = weighted.T @ weighted
    curvature[np.diag_indices(len(theta))] += model.width**-2
    return value, gradient, curvature


def fit(
    model: Model,
    theta: Array,
    free: NDArray[np.bool_] | None = None,
    without: Sequence[int] = (),
    steps: int = STEPS,
) -> Fitted:
    """Mode of the posterior from a start.

    Parameters
    ----------
    model : Model
    theta : ndarray, shape (p,)
        Start.
    free : ndarray of bool, shape (p,), optional
        Parameters that move; all by default.
    without : sequence of int
        Candidates that are left out.
    steps : int
        At most.
    """
    free = np.ones(len(theta), bool) if free is None else free.copy()
    for k in without:
        free[model.of(k)] = False
    theta = np.clip(theta, model.low, model.high)
    rows = np.flatnonzero(free)
    damping = 1e-2
    value, gradient, curvature = posterior(model, theta, free, without)
    for _ in range(steps):
        part = curvature[np.ix_(rows, rows)]
        damped = part + damping * np.diag(np.diag(part))
        step = cho_solve(cho_factor(damped, check_finite=False), gradient[rows])
        trial = theta.copy()
        trial[rows] += step
        trial = np.clip(trial, model.low, model.high)
        new = posterior(model, trial, free, without)
        gain = new[0] - value
        if gain > 0:
            theta, (value, gradient, curvature) = trial, new
            damping = max(damping / 5, 1e-6)
            if gain < ENOUGH:
                break
        else:
            damping *= 8
            if damping > 1e5 or gain > -1e-9:
                break
    return Fitted(theta, value, curvature)
