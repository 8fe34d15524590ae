"""Markov moves of particles which the prior of the particle filter leaves invariant.

A particle is a complex Gaussian matrix A and a log ratio tau, uniform in [0, TAU_MAX] (or 0
throughout): its state is rho = B B^+ / tr with B = A diag(1, exp(-tau), ..., exp(-tau)). A move
proposes a new (A, tau) and says the Hastings ratio of the prior; the likelihood, which depends on
rho only, is left to the caller. Two moves keep rho: they cost nothing and mix what the likelihood
does not see. Pure states, with or without white noise, have an A of one column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ...core.operators import from_coordinates, to_coordinates
from ...core.states import LARGEST_TAU, WHITE_NOISE

#: Range of tau of the rank-adaptive prior, rho ~ a_0 a_0^+ + exp(-2 tau) sum_k a_k a_k^+.
TAU_MAX = LARGEST_TAU
#: Range of tau of pure states with white noise, whose share exp(-tau) is log-uniform.
FADED = -math.log(WHITE_NOISE[1]), -math.log(WHITE_NOISE[0])


@dataclass(frozen=True)
class Proposal:
    """Proposed particles of s experiments.

    Attributes
    ----------
    a : Tensor (s, P, d, d), complex128
    tau : Tensor (s, P)
    log_ratio : Tensor (s, P)
        Logarithm of the prior density of the new over the old, with the Jacobian.
    """

    a: Tensor
    tau: Tensor
    log_ratio: Tensor


@dataclass(frozen=True)
class Move:
    """A kind of move.

    Attributes
    ----------
    propose : callable
        Function (a, tau, step (s,), directions, rng) -> `Proposal`; `directions` is what
        `principal_logarithms` gives.
    keeps_state : bool
        Whether rho stays as it is.
    acceptance : float
        What the step is steered to: 0.234 for steps in many dimensions, 0.44 in one (Roberts,
        Rosenthal, Stat. Sci. 16, 351, 2001).
    first, largest : float
        First and largest step.
    """

    propose: Callable[[Tensor, Tensor, Tensor, Tensor, np.random.Generator], Proposal]
    keeps_state: bool
    acceptance: float
    first: float
    largest: float


def gaussian(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Complex numbers whose real and imaginary parts have unit variance."""
    return torch.view_as_complex(torch.as_tensor(rng.standard_normal((*shape, 2))))


def roots(a: Tensor, tau: Tensor) -> Tensor:
    """B with rho = B B^+ / tr, (..., d, d)."""
    return a * _scale(tau, a.shape[-1])[..., None, :]


def coordinates_of(a: Tensor, tau: Tensor) -> Tensor:
    """Coordinates (..., d * d) of the states."""
    b = roots(a, tau)
    x = to_coordinates(b @ b.mH)
    return x / (x[..., :1] * a.shape[-2] ** 0.5)


def principal_logarithms(mean: Tensor, covariance: Tensor) -> Tensor:
    """Hermitian matrices (s, d * d - 1, d, d) along which a posterior is wide.

    For each principal direction v of the covariance (times its spread) the matrix L / 2, where L is
    the logarithmic derivative of the mean: L mean + mean L = 2 v. Then exp(L / 2) mean exp(L / 2)
    is mean + v to first order, and it stays a state however long the step.

    Parameters
    ----------
    mean : Tensor (s, d, d)
        Density matrices.
    covariance : Tensor (s, d * d - 1, d * d - 1)
        Of the coordinates without the trace.
    """
    values, directions = torch.linalg.eigh(covariance)
    scaled = directions * values.clamp(min=0).sqrt()[:, None]
    change = from_coordinates(torch.cat([torch.zeros_like(scaled[:, :1]), scaled], 1).mT)
    spectrum, frame = torch.linalg.eigh(mean)
    inside = frame.mH[:, None] @ change @ frame[:, None]
    both = (spectrum[:, :, None] + spectrum[:, None, :]).clamp(min=1e-300)
    return frame[:, None] @ (inside / both[:, None]) @ frame.mH[:, None]


def mix(
    a: Tensor, tau: Tensor, step: Tensor, directions: Tensor, rng: np.random.Generator
) -> Proposal:
    """Replace a share of A by a fresh Gaussian matrix: the prior cannot tell (pCN)."""
    share = step[:, None, None, None]
    new = (1 - share.square()).sqrt() * a + share * gaussian(tuple(a.shape), rng)
    return Proposal(new, tau, torch.zeros_like(tau))


def stretch(
    a: Tensor, tau: Tensor, step: Tensor, directions: Tensor, rng: np.random.Generator
) -> Proposal:
    """Multiply A from the left by exp(z H), with H one random mixture of the `directions`.

    H is common to the particles of an experiment and z is symmetric about 0, so the way back is as
    probable; without a trace of H the Jacobian is one.
    """
    z = torch.as_tensor(rng.standard_normal((len(a), 1, directions.shape[1])))
    z = (z / z.norm(dim=-1, keepdim=True)).to(a.dtype)
    h = (z @ directions.flatten(2)).reshape(-1, *directions.shape[2:])
    values, frame = torch.linalg.eigh(h)
    values = values - values.mean(-1, keepdim=True)
    amount = step[:, None] * torch.as_tensor(rng.standard_normal(tau.shape))
    # Beyond this the exponential only makes numbers that no data could accept.
    power = (amount[..., None] * values[:, None]).clamp(-30, 30).exp()
    inner = frame.mH[:, None] @ a
    new = frame[:, None] @ (power[..., None] * inner)
    return Proposal(new, tau, 0.5 * (_norm_squared(a) - _norm_squared(new)))


def slide(
    a: Tensor, tau: Tensor, step: Tensor, directions: Tensor, rng: np.random.Generator
) -> Proposal:
    """Change tau, and A so that rho stays."""
    d = a.shape[-1]
    amount = step[:, None] * torch.as_tensor(rng.standard_normal(tau.shape))
    new_tau = _reflect(tau + amount, TAU_MAX)
    change = new_tau - tau
    new = a / _scale(change, d)[..., None, :]
    # d (d - 1) complex numbers were stretched by exp(change): twice as many real ones.
    jacobian = 2 * d * (d - 1) * change
    return Proposal(new, new_tau, 0.5 * (_norm_squared(a) - _norm_squared(new)) + jacobian)


def turn(
    a: Tensor, tau: Tensor, step: Tensor, directions: Tensor, rng: np.random.Generator
) -> Proposal:
    """Turn the first column of B and a random mixture of the others into each other; rho stays.

    The angle is in proportion to exp(-tau): what a turn brings into the small columns of B has to
    be small, as those of A are blown up by exp(tau). Turns among the small ones change nothing.
    """
    d = a.shape[-1]
    scale = _scale(tau, d)[..., None, :]
    mixture = gaussian((*tau.shape, d - 1, 1), rng)
    mixture = mixture / mixture.abs().square().sum(-2, keepdim=True).sqrt()
    angle = step[:, None] * torch.exp(-tau) * torch.as_tensor(rng.standard_normal(tau.shape))
    cos, sin = angle.cos()[..., None, None], angle.sin()[..., None, None]
    b = a * scale
    first, other = b[..., :1], b[..., 1:] @ mixture
    change = (cos - 1) * other - sin * first
    new = torch.cat([cos * first + sin * other, b[..., 1:] + change @ mixture.mH], -1) / scale
    return Proposal(new, tau, 0.5 * (_norm_squared(a) - _norm_squared(new)))


def fade(
    a: Tensor, tau: Tensor, step: Tensor, directions: Tensor, rng: np.random.Generator
) -> Proposal:
    """Change the share exp(-tau) of the white noise; tau is uniform in `FADED`."""
    low, high = FADED
    amount = step[:, None] * torch.as_tensor(rng.standard_normal(tau.shape))
    return Proposal(a, low + _reflect(tau - low + amount, high - low), torch.zeros_like(tau))


#: All moves by name.
MOVES: Mapping[str, Move] = MappingProxyType(
    {
        "mix": Move(mix, False, 0.234, 0.5, 0.9),
        "stretch": Move(stretch, False, 0.44, 2.0, 4.0),
        "slide": Move(slide, True, 0.44, 0.5, 2.5),
        "turn": Move(turn, True, 0.44, 0.5, 2.0),
        "fade": Move(fade, False, 0.44, 1.0, 4.0),
    }
)


def _scale(tau: Tensor, d: int) -> Tensor:
    """(1, exp(-tau), ..., exp(-tau)), (..., d)."""
    out = torch.ones(*tau.shape, d, dtype=torch.float64)
    out[..., 1:] = torch.exp(-tau)[..., None]
    return out


def _norm_squared(a: Tensor) -> Tensor:
    return (a.real.square() + a.imag.square()).sum((-2, -1))


def _reflect(value: Tensor, high: float) -> Tensor:
    """Fold real numbers into [0, high]: a symmetric walk stays symmetric."""
    folded = value.remainder(2 * high)
    return torch.where(folded > high, 2 * high - folded, folded)
