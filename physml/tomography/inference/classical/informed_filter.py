"""Particle filter whose prior is a mixture of ensembles, as that of a network's training is.

These ensembles are of different dimension: states of full rank, pure states, pure states with
white noise. Each ensemble has a particle filter of its own, which also
finds the evidence of the data under it; the posterior of the mixture is that of the filters,
weighted by share times evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError

from ...core.basis_choice import expected_infidelity
from ...core.operators import from_coordinates, to_coordinates
from .particle_filter import ParticleFilter
from .particle_priors import KNOWN_MIXTURE, PRIORS, FullRank, Prior

#: An ensemble whose posterior share falls below this is not followed any more. Under the ensemble
#: itself that happens with a probability of no more than this, over its share in the prior.
DEAD = 1e-7


class InformedFilter(ParticleFilter):
    """Bayesian model average of particle filters.

    Parameters
    ----------
    parts : mapping
        Ensemble, one of `particle_priors.PRIORS`, to its share; the training draws from further
        ones that have no density here.
    n_particles : int
        Of each filter. Hilbert-Schmidt and Bures measure, which differ by a density, share one.
    moves : int
    threshold : float
        See `ParticleFilter`.
    """

    name: ClassVar[str] = "informed_filter"

    def __init__(
        self,
        parts: Mapping[str, float] = KNOWN_MIXTURE,
        n_particles: int = 200,
        moves: int = 10,
        threshold: float = 0.5,
    ) -> None:
        priors = priors_of(parts)
        self.filters = [ParticleFilter(n_particles, p, moves, threshold) for p in priors]
        shares = torch.tensor(list(priors.values()), dtype=torch.float64)
        self._log_share = (shares / shares.sum()).log()
        self.n_particles, self.moves, self.threshold = n_particles, moves, threshold

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Draw the particles of all filters. See `Estimator.start`."""
        self.n_states, self.d = n_states, d
        for one, own in zip(self.filters, rng.spawn(len(self.filters)), strict=True):
            one.start(n_states, d, own)

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Take in counts. See `Estimator.update`."""
        for one in self.filters:
            one.update(effects, counts)
        likely = self.shares() > DEAD
        for one, still in zip(self.filters, likely.T, strict=True):
            one.live = one.live & still

    def shares(self) -> Tensor:
        """Posterior shares (S, filters) of the filters; 0 where one is not followed any more."""
        evidence = torch.stack([one.log_evidence for one in self.filters], 1) + self._log_share
        live = torch.stack([one.live for one in self.filters], 1)
        return evidence.masked_fill(~live, -torch.inf).softmax(1)

    def estimate(self) -> Tensor:
        """Posterior mean (S, d, d)."""
        return from_coordinates(self._mean())

    def covariance(self) -> Tensor:
        """Covariance of all particles; see `Estimator.covariance`."""
        off = (to_coordinates(self.particles()) - self._mean()[:, None])[..., 1:]
        return off.mT @ (off * self.weights()[..., None])

    def spread(self) -> Tensor:
        """Expected infidelity (S,) of the posterior mean, to second order."""
        return expected_infidelity(self.estimate(), self.covariance())

    def weights(self) -> Tensor:
        """Normalised weights (S, P) of the particles of all filters."""
        each = torch.stack([one.weights() for one in self.filters], 1)
        return (self.shares()[..., None] * each).flatten(1)

    def particles(self) -> Tensor:
        """Density matrices (S, P, d, d) of all filters."""
        return torch.cat([one.particles() for one in self.filters], 1)

    def effective_size(self) -> Tensor:
        """Effective number of particles (S,): 1 / sum of the squared weights."""
        return 1 / self.weights().square().sum(1)

    def _mean(self) -> Tensor:
        means = torch.stack([to_coordinates(one.estimate()) for one in self.filters], 1)
        return (self.shares()[:, None] @ means)[:, 0]


def priors_of(parts: Mapping[str, float]) -> dict[Prior, float]:
    """Priors and their shares, of the shares of ensembles.

    Raises
    ------
    InputError
        An ensemble that has no prior here, or no share above 0.
    """
    given = {name: float(share) for name, share in parts.items() if share > 0}
    unknown = sorted(set(given) - set(PRIORS))
    if unknown or not given:
        raise InputError.expected(
            "parts=", f"shares of {', '.join(PRIORS)}", ", ".join(unknown) or "none above 0"
        )
    full = given.pop("hs", 0.0), given.pop("bures", 0.0)
    found: dict[Prior, float] = {PRIORS[name](): share for name, share in given.items()}
    if total := sum(full):
        found[FullRank(bures=full[1] / total)] = total
    return found
