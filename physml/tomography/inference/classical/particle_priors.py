"""Priors of particle filters: laws of the matrices (A, tau), and the states that they stand for.

See `particle_moves` for the parameters. A move leaves the law of (A, tau) invariant; where the
prior is not that law, `log_density` says the density of one relative to the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from ...core.operators import from_coordinates, random_unitary
from ...core.states import bures
from .particle_moves import FADED, TAU_MAX, coordinates_of, gaussian

#: Eigenvalues count as at least this: states that rounding took to the border have a density, too.
SMALLEST = 1e-16


class Prior(Protocol):
    """Prior of states in terms of particles (A, tau).

    Attributes
    ----------
    kinds : tuple of str
        Moves of one round; see `particle_moves.MOVES`.
    """

    kinds: ClassVar[tuple[str, ...]]

    def start(
        self, shape: tuple[int, int], d: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draws A (S, P, d, m) and tau (S, P)."""

    def coordinates(self, a: Tensor, tau: Tensor) -> Tensor:
        """Coordinates (S, P, d * d) of the states."""

    def log_density(self, x: Tensor) -> Tensor | float:
        """Logarithm of the density (S, P) relative to the law that moves leave invariant."""


@dataclass(frozen=True)
class RankAdaptive:
    """From the Hilbert-Schmidt measure, tau = 0, to nearly pure states; tau is uniform.

    Attributes
    ----------
    largest : float
        Of tau.
    """

    largest: float = TAU_MAX
    kinds: ClassVar[tuple[str, ...]] = ("stretch", "slide", "turn", "mix")

    def start(
        self, shape: tuple[int, int], d: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """See `Prior.start`."""
        a = gaussian((*shape, d, d), rng)
        return a, torch.as_tensor(rng.uniform(0, self.largest, shape))

    def coordinates(self, a: Tensor, tau: Tensor) -> Tensor:
        """See `Prior.coordinates`."""
        return coordinates_of(a, tau)

    def log_density(self, x: Tensor) -> Tensor | float:
        """See `Prior.log_density`."""
        return 0.0


@dataclass(frozen=True)
class FullRank(RankAdaptive):
    """Hilbert-Schmidt measure, a share of the Bures measure, or both.

    Attributes
    ----------
    largest : float
        0.
    bures : float
        Share of the Bures measure.
    """

    largest: float = 0.0
    bures: float = 0.0
    kinds: ClassVar[tuple[str, ...]] = ("stretch", "mix")

    def start(
        self, shape: tuple[int, int], d: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """See `Prior.start`."""
        a, tau = super().start(shape, d, rng)
        if self.bures:
            other = torch.as_tensor(rng.random(shape)) < self.bures
            n = int(other.sum())
            # A = sqrt(rho) V s: a Gaussian matrix of the same law but for its state.
            values, vectors = torch.linalg.eigh(bures(n, d, rng))
            root = vectors * values.clamp(min=0).sqrt()[:, None]
            size = torch.as_tensor(rng.chisquare(2 * d * d, n)).sqrt()
            a[other] = size[:, None, None] * (root @ random_unitary(n, d, rng))
        return a, tau

    def log_density(self, x: Tensor) -> Tensor | float:
        """See `Prior.log_density`."""
        if not self.bures:
            return 0.0
        ratio = log_bures_over_hs(torch.linalg.eigvalsh(from_coordinates(x)))
        known = math.log(self.bures)
        if self.bures == 1:
            return ratio
        return torch.logaddexp(ratio + known, torch.full_like(ratio, math.log1p(-self.bures)))


@dataclass(frozen=True)
class Pure:
    """Haar-random pure states: A has one column."""

    kinds: ClassVar[tuple[str, ...]] = ("stretch", "mix")

    def start(
        self, shape: tuple[int, int], d: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """See `Prior.start`."""
        return gaussian((*shape, d, 1), rng), torch.zeros(shape, dtype=torch.float64)

    def coordinates(self, a: Tensor, tau: Tensor) -> Tensor:
        """See `Prior.coordinates`."""
        return coordinates_of(a, tau)

    def log_density(self, x: Tensor) -> Tensor | float:
        """See `Prior.log_density`."""
        return 0.0


@dataclass(frozen=True)
class PureWhite(Pure):
    """Pure states with a share exp(-tau) of white noise, log-uniform."""

    kinds: ClassVar[tuple[str, ...]] = ("stretch", "fade", "mix")

    def start(
        self, shape: tuple[int, int], d: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """See `Prior.start`."""
        a, _ = super().start(shape, d, rng)
        return a, torch.as_tensor(rng.uniform(*FADED, shape))

    def coordinates(self, a: Tensor, tau: Tensor) -> Tensor:
        """See `Prior.coordinates`."""
        x = coordinates_of(a, tau)
        x[..., 1:] *= -torch.expm1(-tau)[..., None]
        return x


#: Priors by name, as ensembles of `core.states`.
PRIORS: Mapping[str, Callable[[], Prior]] = MappingProxyType(
    {
        "hs": FullRank,
        "bures": lambda: FullRank(bures=1.0),
        "rank_adaptive": RankAdaptive,
        "pure": Pure,
        "pure_white": PureWhite,
    }
)

#: Shares of a mixture of these: from the Hilbert-Schmidt measure to pure states, with white noise
#: or without. The training draws from further ensembles, whose densities nobody knows.
KNOWN_MIXTURE: Mapping[str, float] = MappingProxyType(
    {"rank_adaptive": 0.3, "hs": 0.2, "bures": 0.05, "pure": 0.15, "pure_white": 0.3}
)


def log_bures_over_hs(values: Tensor) -> Tensor:
    """Logarithm of the density of the Bures measure relative to that of Hilbert-Schmidt.

    Parameters
    ----------
    values : Tensor (..., d)
        Eigenvalues of states.

    References
    ----------
    Sommers, Zyczkowski, J. Phys. A 36, 10083 (2003), for the constants.
    """
    d = values.shape[-1]
    l = values.clamp(min=SMALLEST)  # noqa: E741
    j, k = torch.triu_indices(d, d, 1)
    ratio = -0.5 * l.log().sum(-1) - (l[..., j] + l[..., k]).log().sum(-1)
    hs = math.lgamma(d * d) - sum(math.lgamma(i) + math.lgamma(i + 1) for i in range(1, d + 1))
    of_bures = (d * d - d) * math.log(2) + math.lgamma(d * d / 2) - d / 2 * math.log(math.pi)
    of_bures -= sum(math.lgamma(i + 1) for i in range(1, d + 1))
    return ratio + of_bures - hs
