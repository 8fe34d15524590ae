"""Samples of processes from the exact likelihood, by Hamiltonian Monte Carlo on many chains.

The mass matrix is the Fisher information plus that of the prior, averaged over the chains and
renewed while they warm up (a constant metric: Girolami, Calderhead, J. R. Stat. Soc. B 73, 123,
2011), so that a step moves well-known and unknown directions by their own errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ...core.process.channels import Complex, Floats
from .latent import Latent

TINY = 1e-12
#: Angle of a trajectory where the posterior is normal; a quarter turn is independent.
ANGLE = 0.5 * np.pi
#: Share of accepted proposals that the step is tuned to.
ACCEPTED = 0.8
#: Longest trajectory in steps.
LONGEST = 24


@dataclass(frozen=True)
class Samples:
    """Posterior samples of a process.

    Attributes
    ----------
    choi : ndarray (S, d^2, d^2), complex128
    deviance : ndarray (S,)
        2 sum n log(n / (N p)) of each.
    accepted : float
        Share of accepted proposals.
    agreement : float
        Largest split R-hat of log-likelihood and of packed Choi matrices: 1 where chains agree.
    """

    choi: Complex
    deviance: Floats
    accepted: float
    agreement: float


class Target:
    """Posterior density of the numbers of a `Latent`.

    Parameters
    ----------
    latent : Latent
    design : ndarray (M, d^4)
        Rows of `Latent.design`.
    counts, shots : ndarray (M,)
        Counts of each row, and copies of the setting it belongs to.
    """

    def __init__(self, latent: Latent, design: Floats, counts: Floats, shots: Floats) -> None:
        self.latent, self.counts, self.shots, self.rows = latent, counts, shots, design
        seen = counts > 0  # the other rows do not enter the likelihood
        self.design, self.seen = np.ascontiguousarray(design[seen].T), counts[seen]
        ratio = self.seen / shots[seen]
        self.saturated = float((self.seen * np.log(ratio)).sum())

    def __call__(self, x: Floats) -> tuple[Floats, ...]:
        """Log density (n,), gradient (n, size), packed Choi matrices, log-likelihood."""
        parts = self.latent.parts(x)
        packed = self.latent.pack(parts["choi"])
        p = np.maximum(packed @ self.design, TINY)
        likelihood = np.log(p) @ self.seen
        value, gradient = self.latent.log_prior(x, parts)
        gradient = gradient + self.latent.pull(x, parts, (self.seen / p) @ self.design.T)
        return value + likelihood, gradient, packed, likelihood

    def information(self, x: Floats) -> Floats:
        """Fisher information of one point (size,) with that of the prior, (size, size)."""
        latent = self.latent
        parts = latent.parts(x[None])
        p = np.maximum(self.rows @ latent.pack(parts["choi"])[0], 0.1 / self.shots)
        many = {name: np.repeat(part, latent.d**4, 0) for name, part in parts.items()}
        jacobian = latent.pull(np.repeat(x[None], latent.d**4, 0), many, np.eye(latent.d**4))
        scaled = (self.rows * (self.shots / p)[:, None] ** 0.5) @ jacobian
        return np.asarray(scaled.T @ scaled + np.eye(latent.size))


def sample(
    target: Target,
    start: Floats,
    rng: Generator,
    warm_up: int = 100,
    kept: int = 100,
) -> Samples:
    """Run chains from their starts.

    Parameters
    ----------
    target : Target
    start : ndarray (n, size)
        One row a chain.
    rng : Generator
    warm_up, kept : int
        Trajectories of each chain that are thrown away, and that are kept.

    Returns
    -------
    Samples
        Of all chains, in the order of the trajectories.
    """
    x = start.copy()
    state = target(x)
    step, taken, kept_packed, kept_likelihood = 0.1, [], [], []
    renew = {int(share * warm_up) for share in (0, 0.15, 0.4, 0.7)}
    for k in range(warm_up + kept):
        if k in renew:
            inverse, root = _mass(target, x)
            step = 0.15
        accepted, x, state = _trajectory(target, x, state, inverse, root, step, rng)
        if k < warm_up:
            step *= float(np.exp(0.25 * (accepted - ACCEPTED)))
            step = min(max(step, 1e-3), 1.0)
        else:
            taken.append(accepted)
            kept_packed.append(state[2])
            kept_likelihood.append(state[3])
    packed, likelihood = np.stack(kept_packed), np.stack(kept_likelihood)
    agreement = max(_split(likelihood[..., None]).max(), np.quantile(_split(packed), 0.95))
    return Samples(
        unpack(packed.reshape(-1, packed.shape[-1])),
        2 * (target.saturated - likelihood.reshape(-1)),
        float(np.mean(taken)),
        float(agreement),
    )


def _mass(target: Target, x: Floats) -> tuple[Floats, Floats]:
    """Inverse of the mass matrix, and a root of the mass matrix."""
    chosen = x[: min(len(x), 6)]
    mass = np.mean([target.information(row) for row in chosen], 0)
    root = np.linalg.cholesky(mass)
    inverse = np.linalg.inv(root)
    return np.asarray(inverse.T @ inverse), root


def _trajectory(
    target: Target,
    x: Floats,
    state: tuple[Floats, ...],
    inverse: Floats,
    root: Floats,
    step: float,
    rng: Generator,
) -> tuple[float, Floats, tuple[Floats, ...]]:
    """Mean acceptance, places and their densities after one trajectory of all chains."""
    momentum = rng.standard_normal(x.shape) @ root.T
    steps = int(np.clip(round(ANGLE * rng.uniform(0.6, 1.2) / step), 1, LONGEST))
    before = state[0] - 0.5 * np.einsum("ni,ni->n", momentum @ inverse, momentum)
    place, now, moved = x, state, momentum
    for _ in range(steps):
        moved = moved + 0.5 * step * now[1]
        place = place + step * (moved @ inverse)
        now = target(place)
        moved = moved + 0.5 * step * now[1]
    after = now[0] - 0.5 * np.einsum("ni,ni->n", moved @ inverse, moved)
    # A path that overflowed ends in no number: it is refused, and the chain stays where it was.
    chance = np.exp(np.minimum(np.nan_to_num(after - before, nan=-np.inf), 0))
    take = rng.uniform(size=len(x)) < chance
    mixed = tuple(np.where(take.reshape(-1, *[1] * (new.ndim - 1)), new, old)
                  for new, old in zip(now, state, strict=True))  # fmt: skip
    return float(chance.mean()), np.where(take[:, None], place, x), mixed


def _split(values: Floats) -> Floats:
    """Split R-hat of (draws, chains, numbers); Gelman et al., Bayesian Data Analysis (2013)."""
    half = len(values) // 2
    parts = np.concatenate([values[:half], values[half : 2 * half]], 1)
    within = parts.var(0, ddof=1).mean(0)
    between = parts.mean(0).var(0, ddof=1)
    return np.asarray(np.sqrt((half - 1) / half + between / np.maximum(within, 1e-300)))


def unpack(packed: Floats) -> Complex:
    """Choi matrices (n, d^2, d^2) of packed numbers (n, d^4); see `Latent.pack`."""
    side = round(packed.shape[-1] ** 0.5)
    upper = np.triu_indices(side, 1)
    pairs = len(upper[0])
    off = packed[:, side : side + pairs] + 1j * packed[:, side + pairs :]
    out = np.zeros((len(packed), side, side), np.complex128)
    out[:, upper[0], upper[1]] = off
    out[:, upper[1], upper[0]] = off.conj()
    out[:, np.arange(side), np.arange(side)] = packed[:, :side]
    return out
