"""Adaptive Bayesian estimation by weighted samples of the posterior.

Each experiment has P particles: density matrices rho = A A^+ / tr with Gaussian matrices A, whose
law is the prior. Counts multiply the weights by the exact likelihood. Where too few particles
carry the weight, they are drawn anew and moved by Markov steps that leave the exact posterior of
all data so far invariant; a block of counts too large for one step is taken in by parts.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError

from ...core.basis_choice import expected_infidelity
from ...core.estimator import Estimator
from ...core.likelihood import log_likelihood
from ...core.operators import from_coordinates
from .particle_moves import MOVES, principal_logarithms
from .particle_priors import PRIORS, Prior
from .resampling import effective_size, largest_power, resampled
from .tally import Tally

#: So many halvings find parts as small as the ones that 1e12 copies at once require.
HALVINGS = 60


class ParticleFilter(Estimator):
    """Sequential Monte Carlo with the exact likelihood.

    Parameters
    ----------
    n_particles : int
        P.
    prior : str or Prior
        One of `particle_priors.PRIORS`, such as ``"hs"``, the Hilbert-Schmidt measure, or
        ``"rank_adaptive"``, from there to nearly pure states; or a prior.
    moves : int
        Rounds of Markov steps after each resampling; see `Prior.kinds`.
    threshold : float
        Effective share of the particles below which they are resampled.

    Attributes
    ----------
    log_evidence : Tensor (S,)
        Logarithm of the mean likelihood of all data so far under the prior, without the
        multinomial factor.
    live : Tensor (S,), bool
        Experiments that are followed; others keep their particles as they are.

    References
    ----------
    Huszar, Houlsby, PRA 85, 052120 (2012); Del Moral, Doucet, Jasra, J. R. Statist. Soc. B 68, 411
    (2006); Cotter, Roberts, Stuart, White, Stat. Sci. 28, 424 (2013) for the moves.
    """

    name: ClassVar[str] = "particle_filter"

    def __init__(
        self,
        n_particles: int = 300,
        prior: str | Prior = "rank_adaptive",
        moves: int = 10,
        threshold: float = 0.5,
    ) -> None:
        if isinstance(prior, str):
            if prior not in PRIORS:
                raise InputError.expected("prior=", f"one of {', '.join(PRIORS)}", repr(prior))
            prior = PRIORS[prior]()
        self.n_particles, self.prior = n_particles, prior
        self.moves, self.threshold = moves, threshold

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Draw the particles from the prior. See `Estimator.start`."""
        self.n_states, self.d, self._rng = n_states, d, rng
        self.tally = Tally(n_states, d)
        shape = (n_states, self.n_particles)
        self._a, self._tau = self.prior.start(shape, d, rng)
        self._x = self.prior.coordinates(self._a, self._tau)
        self._log_weight = torch.zeros(shape, dtype=torch.float64)
        first = torch.tensor([MOVES[name].first for name in self.prior.kinds]).double()
        self._step = first.expand(n_states, -1).clone()
        self.log_evidence = torch.zeros(n_states, dtype=torch.float64)
        self.live = torch.ones(n_states, dtype=torch.bool)

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Weigh the particles, moving them where needed. See `Estimator.update`."""
        g, counts = self.tally.add(effects, counts)
        value = log_likelihood(g, counts, self._x)
        done = (~self.live).double()
        enough = self.threshold * self.n_particles
        while True:
            part = largest_power(value, 1 - done, enough, self._log_weight, HALVINGS)
            before = self._log_weight.logsumexp(1)
            self._log_weight += part[:, None] * value
            self.log_evidence += self._log_weight.logsumexp(1) - before
            self._log_weight -= self._log_weight.amax(1, keepdim=True)
            done = done + part
            short = torch.nonzero(done < 1)[:, 0]
            if not len(short):
                return
            self._rejuvenate(short, g, counts, done)
            value[short] = log_likelihood(g[short], counts[short], self._x[short])

    def estimate(self) -> Tensor:
        """Posterior mean (S, d, d)."""
        return from_coordinates(self._mean())

    def covariance(self) -> Tensor:
        """Covariance of the particles; see `Estimator.covariance`."""
        off = (self._x - self._mean()[:, None])[..., 1:]
        return off.mT @ (off * self.weights()[..., None])

    def spread(self) -> Tensor:
        """Expected infidelity (S,) of the posterior mean, to second order."""
        return expected_infidelity(self.estimate(), self.covariance())

    def weights(self) -> Tensor:
        """Normalised weights (S, P)."""
        return torch.softmax(self._log_weight, 1)

    def particles(self) -> Tensor:
        """Density matrices (S, P, d, d)."""
        return from_coordinates(self._x)

    def effective_size(self) -> Tensor:
        """Effective number of particles (S,): 1 / sum of the squared weights."""
        return effective_size(self._log_weight)

    def _mean(self) -> Tensor:
        return (self.weights()[:, None] @ self._x)[:, 0]

    def _rejuvenate(self, which: Tensor, g: Tensor, counts: Tensor, done: Tensor) -> None:
        """Resample the experiments `which`, then move: `done` (S,) of the last block counts."""
        chosen = resampled(self._log_weight[which], self._rng)
        rows = which[:, None]
        a, tau, x = self._a[rows, chosen], self._tau[rows, chosen], self._x[rows, chosen]
        all_g, all_counts, _ = self.tally.stacked()
        data = all_g[which], all_counts[which]
        # The tally holds the whole of the block: what is not yet to count is taken off again.
        extra = g[which], counts[which] * (1 - done[which])[:, None]
        step = self._step[which]
        mean = from_coordinates(self._mean()[which])
        directions = principal_logarithms(mean, self.covariance()[which])
        value = self._target(data, extra, x)
        for _ in range(self.moves):
            for kind, name in enumerate(self.prior.kinds):
                move = MOVES[name]
                new = move.propose(a, tau, step[:, kind], directions, self._rng)
                new_x, new_value = x, value
                if not move.keeps_state:
                    new_x = self.prior.coordinates(new.a, new.tau)
                    new_value = self._target(data, extra, new_x)
                level = torch.as_tensor(self._rng.random(value.shape)).log()
                accept = level < new_value - value + new.log_ratio
                a = torch.where(accept[..., None, None], new.a, a)
                tau = torch.where(accept, new.tau, tau)
                x = torch.where(accept[..., None], new_x, x)
                value = torch.where(accept, new_value, value)
                factor = torch.exp(accept.double().mean(1) - move.acceptance)
                step[:, kind] = (step[:, kind] * factor).clamp(max=move.largest)
        self._a[which], self._tau[which], self._x[which] = a, tau, x
        self._step[which] = step
        self._log_weight[which] = 0

    def _target(
        self, data: tuple[Tensor, Tensor], extra: tuple[Tensor, Tensor], x: Tensor
    ) -> Tensor:
        """Log-likelihood (S, P) of all data but `extra`, and the rest of the prior."""
        likelihood = log_likelihood(*data, x) - log_likelihood(*extra, x)
        return likelihood + self.prior.log_density(x)
