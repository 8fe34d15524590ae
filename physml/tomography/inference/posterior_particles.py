"""Particles of the exact posterior, proposed by the learned estimate and its covariance.

A particle is rho = A S^2 A^+ / tr with positive S = 1 + Y / 2, where A A^+ is the estimate and
the scaled coordinates y of Y are Gaussian with the covariance of the filter. Its importance
weight is the exact likelihood times the prior over the density of the proposal. At few copies
weights alone would leave few particles, so they are taken in by powers, with resampling and
preconditioned Crank-Nicolson (pCN) moves in between: a step y' = sqrt(1 - b^2) y + b xi keeps the
proposal and is accepted by the ratio of the weights.

The prior depends on the spectrum only, and is near to what the estimate was trained on, with the
shares that the card of its weights tells: parts of the Hilbert-Schmidt measure, of the Bures
measure (prod l_j^(-1/2) prod_{j<k} (l_j + l_k)^-1 relative to it), and of states with impurity
r = 1 - max l_j of any order of magnitude: a density r^-(m^2 - 1/2) (1 - r)^-2m with m = d - 1,
under which r itself has about the density r^(-1/2). The training's is steeper still, nearly
log-uniform; but as r goes with the square of the coordinates below, a steeper one has a peak there
that no random step finds.

References
----------
Jacobian of S -> S^2: Mathai, Jacobians of Matrix Transformations (1997). Powers: Del Moral, Doucet,
Jasra, J. R. Statist. Soc. B 68, 411 (2006). pCN: Cotter et al., Stat. Sci. 28, 424 (2013).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.eigenframe import pairs, rotation, scales, unvec, vec
from ..core.states import MIXTURE
from .classical.resampling import largest_power, resampled
from .neural.estimator import NeuralEstimator
from .neural.information_filter import inverse, scaled_information

PARTICLES = 256
#: Proposals by which the spread of traces is judged.
PILOT = 128
#: Moves after each resampling, share of the particles that must stay effective, most powers.
MOVES, ENOUGH, POWERS = 6, 0.5, 40
#: Hedge of the covariance, and the factor on it: a proposal must be wider than what it proposes to.
#: Weights and moves make up for any value; these keep the effective sample size high.
HEDGE, WIDER = 0.3, 1.6
ACCEPTANCE = 0.25
SMALLEST = 1e-16
#: Parts of the prior, Hilbert-Schmidt, Bures, nearly pure: ensembles of the training that are of
#: the first two; all others are nearly pure.
PARTS: tuple[tuple[str, ...], ...] = (("hs", "thermal"), ("bures",))
#: Power of the impurity in the density of nearly pure states. It is a compromise by definition (see
#: above), and no constant of any weights.
UNEVEN = 0.5
FORBIDDEN = 1e9


@dataclass(frozen=True)
class Particles:
    """Weighted samples of the posteriors of S experiments.

    Attributes
    ----------
    states : Tensor (S, P, d, d)
    weights : Tensor (S, P)
        Normalised.
    effective : Tensor (S,)
        Effective sample size at the end.
    acceptance : Tensor (S,)
        Share of the pCN moves that were accepted.
    """

    states: Tensor
    weights: Tensor
    effective: Tensor
    acceptance: Tensor


def sample(
    estimator: NeuralEstimator, rng: np.random.Generator, particles: int = PARTICLES
) -> Particles:
    """Sample the posteriors of all experiments of an estimator.

    Parameters
    ----------
    estimator : NeuralEstimator
        After at least one update. The likelihood is exact where its filter kept all data; see
        `InformationFilter.log_likelihood`.
    rng : Generator
    particles : int
        P.
    """
    target = _Target(estimator, rng)
    shape = (estimator.n_states, particles, estimator.d**2)
    factor = torch.linalg.cholesky(target.covariance)

    def draw() -> Tensor:
        return torch.as_tensor(rng.standard_normal(shape)) @ factor.mT

    y = draw()
    value, states = target(y)
    power = torch.zeros(shape[0], dtype=torch.float64)
    log_weight = torch.zeros(shape[:2], dtype=torch.float64)
    size = torch.full((shape[0],), 0.5, dtype=torch.float64)
    accepted = torch.zeros(shape[0], dtype=torch.float64)
    tried = 0
    for _ in range(POWERS):
        step = largest_power(value, 1 - power, ENOUGH * particles)
        power = power + step
        log_weight = step[:, None] * value
        if bool((power >= 1).all()) and bool((step == 1).all()):
            break  # the proposal was good enough as it is
        chosen = resampled(log_weight, rng)
        y = y.gather(1, chosen[..., None].expand_as(y))
        states = states.gather(1, chosen[..., None].expand_as(states))
        value = value.gather(1, chosen)
        log_weight = torch.zeros_like(log_weight)
        for _ in range(MOVES):
            b = size[:, None, None]
            new = (1 - b.square()).sqrt() * y + b * draw()
            new_value, new_states = target(new)
            level = torch.as_tensor(rng.random(value.shape)).log()
            take = level < power[:, None] * (new_value - value)
            y = torch.where(take[..., None], new, y)
            states = torch.where(take[..., None], new_states, states)
            value = torch.where(take, new_value, value)
            share = take.double().mean(1)
            size = (size * torch.exp(share - ACCEPTANCE)).clamp(1e-3, 0.95)
            accepted, tried = accepted + share, tried + 1
        if bool((power >= 1).all()):
            break
    else:
        # What is left of the likelihood must not be dropped: the effective size will say so.
        log_weight = (1 - power)[:, None] * value
    weights = torch.softmax(log_weight, 1)
    matrices = (
        estimator.filter.vectors[:, None] @ unvec(states) @ estimator.filter.vectors.mH[:, None]
    )
    return Particles(matrices, weights, 1 / weights.square().sum(1), accepted / max(tried, 1))


class _Target:
    """Logarithm of the weight of scaled coordinates, and the states that they stand for."""

    def __init__(self, estimator: NeuralEstimator, rng: np.random.Generator) -> None:
        f = self.filter = estimator.filter
        # Around the corrected estimate: its own frame, so that A is the root of its eigenvalues.
        inside = estimator.correction()[1].estimate()
        values, vectors = torch.linalg.eigh(inside)
        self.root = vectors * values.clamp(min=SMALLEST).sqrt()[:, None]
        frame = f.frame @ rotation(vectors)
        information = scaled_information(
            f.information, frame, scales(values.clamp(min=SMALLEST)), HEDGE
        )
        self.covariance = WIDER * inverse(information)
        self.dd = estimator.d**2
        self.shares = shares_of(estimator.card)
        self._free_trace(rng, estimator.d)

    def _free_trace(self, rng: np.random.Generator, d: int) -> None:
        """Give the trace, which carries no information, a width of its own.

        It grows with the square of the coherences. Unless proposals can make up for that, a weight
        for the trace would suppress large coherences.
        """
        trial = torch.as_tensor(rng.standard_normal((len(self.root), PILOT, self.dd)))
        trial = trial @ torch.linalg.cholesky(self.covariance).mT
        size = self._matrix(trial)[1].log()
        self.middle = size.mean(1, keepdim=True)
        self.variance = size.var(1, keepdim=True)
        self.covariance[:, :d, :d] += self.variance[..., None]
        self.precision = inverse(self.covariance)

    def _matrix(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States (S, P, d, d), their traces before normalisation, and S."""
        s = 0.5 * unvec(y)
        s.diagonal(dim1=-2, dim2=-1).add_(1)
        a = self.root[:, None] @ s
        rho = a @ a.mH
        size = rho.diagonal(dim1=-2, dim2=-1).real.sum(-1)
        return rho / size[..., None, None], size, s

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Log weight (S, P), and coordinates (S, P, d * d) in the eigenframe of the filter."""
        d = self.root.shape[-1]
        rho, size, s = self._matrix(y)
        x = vec(rho)
        out = self.filter.log_likelihood(x @ self.filter.frame.mT)
        away = size.log() - self.middle
        out = out - 0.5 * away.square() / self.variance - self.dd * size.log()
        out = out + log_prior(torch.linalg.eigvalsh(rho).clamp(min=SMALLEST), self.shares)
        # Volume of S^2 over that of S, and the density that y was drawn from.
        e = torch.linalg.eigvalsh(s)
        # One root of each state counts, the positive one: the others lie far off and are no better.
        out = torch.where(e[..., 0] > 0, out, out - FORBIDDEN)
        e = e.clamp(min=SMALLEST)
        j, k = pairs(d)
        out = out + e.log().sum(-1) + 2 * (e[..., j] + e[..., k]).log().sum(-1)
        return out + 0.5 * ((y @ self.precision) * y).sum(-1), x


def shares_of(card: Mapping[str, Any]) -> tuple[float, float, float]:
    """Shares of the parts of the prior, from the mixture that weights were trained on.

    Parameters
    ----------
    card : mapping
        Of the weights; without their settings, the mixture is that of the default recipe.
    """
    settings = card.get("provenance", {}).get("settings", {})
    mixture = settings.get("simulate", {}).get("mixture", MIXTURE)
    total = sum(mixture.values())
    first, second = (sum(mixture.get(name, 0.0) for name in part) / total for part in PARTS)
    return first, second, 1 - first - second


def log_prior(values: Tensor, shares: tuple[float, float, float]) -> Tensor:
    """Logarithm of the prior relative to the Hilbert-Schmidt measure.

    Parameters
    ----------
    values : Tensor (..., d)
        Eigenvalues.
    shares : tuple of float
        See `shares_of`.

    Returns
    -------
    Tensor (...)
    """
    d = values.shape[-1]
    j, k = pairs(d)
    own, both = values.log().sum(-1), (values[..., j] + values[..., k]).log().sum(-1)
    most = values.amax(-1)
    rest = (1 - most).clamp(min=SMALLEST)
    pure = -_steepness(d) * rest.log() - 2 * (d - 1) * most.log()
    densities = torch.zeros_like(own), -0.5 * own - both, pure
    parts = [
        math.log(share) + density - norm
        for share, density, norm in zip(shares, densities, _norms(d), strict=True)
        if share > 0
    ]
    return torch.logsumexp(torch.stack(parts), 0)


def _steepness(d: int) -> float:
    """Power of the impurity in the density of nearly pure states."""
    return (d - 1) ** 2 - UNEVEN


@lru_cache(maxsize=8)
def _norms(d: int) -> tuple[float, float, float]:
    """Logarithms of the integrals of the parts of the prior over the Hilbert-Schmidt measure.

    Spectra of the Hilbert-Schmidt measure have the density prod (l_j - l_k)^2 on the simplex.
    Integrals are means over fixed samples: of Dirichlet laws, and for nearly pure states of
    spectra with the impurity r of density ~ r^(UNEVEN - 1) and the rest uniform.
    """
    rng = np.random.default_rng(0)
    n, m = 200_000, d - 1
    j, k = (i.numpy() for i in pairs(d))
    out = []
    for a, b in ((1.0, 0.0), (0.5, 1.0)):
        spectra = np.maximum(rng.dirichlet(np.full(d, a), n), 1e-300)
        ratio = (spectra[:, j] - spectra[:, k]) ** 2 / (spectra[:, j] + spectra[:, k]) ** b
        beta = d * math.lgamma(a) - math.lgamma(d * a)
        out.append(math.log(ratio.prod(1).mean()) + beta)
    most = 1 - 1 / d
    r = most * rng.random(n) ** (1 / UNEVEN)
    shape = rng.dirichlet(np.ones(m), n)
    minor = r[:, None] * shape
    # Differences with the largest eigenvalue, and those among the others without their powers of r.
    with_first = (1 - minor / (1 - r)[:, None]) ** 2
    jj, kk = np.triu_indices(m, 1)
    among = (shape[:, jj] - shape[:, kk]) ** 2
    density = with_first.prod(1) * among.prod(1) * (minor.max(1) <= 1 - r)
    # All powers of r cancel: of the Vandermonde factor, of the volume, of the density and of the
    # law that r was drawn from.
    scale = d * most**UNEVEN / UNEVEN / math.factorial(m - 1)
    out.append(math.log(scale * density.mean()))
    return out[0] - out[0], out[1] - out[0], out[2] - out[0]
