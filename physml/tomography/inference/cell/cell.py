"""The particle cell of Quek, Fort, Ng (npj Quantum Information 7, 105, 2021).

A bank of weighted particles, each a candidate state, goes round a recurrent cell. A block of copies
is measured; one small network, the same for each particle, compares the observed histogram with
that of the particle and gives its weight and the size of its moves; each particle proposes moves of
this size and keeps the best. A second small network makes the estimate and a confidence of it.

The paper does not tell layers, loss, prior or proposals. Ours: a particle is a Hermitian matrix B,
whose state is B^2, so that every move leads to a state and rank can come and go; particles start
from the rank-adaptive prior; the best is the one of the largest likelihood of all data. A move of
size e keeps a share sqrt(1 - e^2) of the particle's distance from the midst of the bank and adds e
times a random step, drawn for it alone, of the Gaussian that the data's Fisher information tells:
moves fit the posterior however elongated it is, and size 1 is a particle drawn anew. (With steps
in a direction common to all particles, about each of them, mixed states got stuck.) The head
changes eigenvalues of the bank's mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from ...core.basis_choice import expected_infidelity
from ...core.likelihood import TINY, fisher_information, log_likelihood
from ...core.operators import from_coordinates, hermitian_basis, to_coordinates
from ..classical.particle_moves import TAU_MAX, gaussian, roots
from ..classical.tally import Tally
from .networks import Head, ParticleNetwork

#: Precision of a root's coordinates before any data: they are those of a unit vector.
PRIOR = 16.0
#: White noise of so many copies' worth, times d, keeps the midst of a bank of full rank.
HEDGE = 0.25
#: Smallest eigenvalue whose logarithm is taken.
FLOOR = 1e-12


@cache
def _products(d: int) -> Tensor:
    """Coordinates (d^2, d^2, d^2) of the symmetric products of basis matrices."""
    basis = hermitian_basis(d)
    both = torch.einsum("iab,jbc->ijac", basis, basis)
    return torch.einsum("kab,ijba->ijk", basis, 0.5 * (both + both.transpose(0, 1))).real


def square(b: Tensor) -> Tensor:
    """Coordinates (..., d * d) of B^2 from those of a Hermitian B."""
    matrix = from_coordinates(b)
    return to_coordinates(matrix @ matrix)


def slope(b: Tensor, d: int) -> Tensor:
    """Derivative (S, d * d, d * d) of `square` at b (S, d * d): rows are coordinates of B^2."""
    return 2 * torch.einsum("ijk,sj->ski", _products(d), b)


def square_root(x: Tensor) -> Tensor:
    """Coordinates (..., d * d) of the positive root of a state of coordinates x."""
    values, vectors = torch.linalg.eigh(from_coordinates(x))
    scaled = vectors * values.clamp(min=0).sqrt()[..., None, :].to(vectors.dtype)
    return unit(to_coordinates(scaled @ vectors.mH))


def unit(b: Tensor) -> Tensor:
    """Vectors (..., d * d) at length one: the state has trace one."""
    return b / b.norm(dim=-1, keepdim=True)


@dataclass(frozen=True)
class Bank:
    """Weighted particles of S experiments.

    Attributes
    ----------
    roots : Tensor (S, P, d * d), float64
        Unit vectors: coordinates of Hermitian B; the particle is B^2.
    log_weight : Tensor (S, P), float64
        Logarithm of weights that sum to one.
    d : int
        Dimension of the Hilbert space.
    """

    roots: Tensor
    log_weight: Tensor
    d: int

    @classmethod
    def draw(cls, n_states: int, n_particles: int, d: int, rng: np.random.Generator) -> Bank:
        """Equal weights; particles of the rank-adaptive prior."""
        shape = (n_states, n_particles)
        a = roots(gaussian((*shape, d, d), rng), torch.as_tensor(rng.uniform(0, TAU_MAX, shape)))
        root = square_root(to_coordinates(a @ a.mH))
        return cls(root, -torch.full(shape, float(n_particles)).double().log(), d)

    def coordinates(self) -> Tensor:
        """States (S, P, d * d); see `operators.hermitian_basis`."""
        return square(self.roots)

    def mean(self) -> Tensor:
        """Weighted mean (S, d * d), in coordinates."""
        return (self.log_weight.exp()[:, None] @ self.coordinates())[:, 0]

    def covariance(self) -> Tensor:
        """Weighted covariance (S, d * d - 1, d * d - 1), without the coordinate of the trace."""
        x, weight = self.coordinates(), self.log_weight.exp()
        off = (x - (weight[:, None] @ x))[..., 1:]
        return off.mT @ (off * weight[..., None])

    def effective_size(self) -> Tensor:
        """Effective number of particles (S,)."""
        return 1 / (2 * self.log_weight).exp().sum(-1)

    def detach(self) -> Bank:
        """The same numbers without their history."""
        return Bank(self.roots.detach(), self.log_weight.detach(), self.d)


@dataclass(frozen=True)
class CellEstimate:
    """Estimate of the second network, with its confidence.

    Attributes
    ----------
    state : Tensor (S, d, d)
        Estimate.
    log_infidelity : Tensor (S,)
        Logarithm of the infidelity expected of it: the smaller, the more confident.
    """

    state: Tensor
    log_infidelity: Tensor


class Cell(nn.Module):
    """The recurrent cell: `forward` takes a bank round once.

    Parameters
    ----------
    width : int
        Numbers in a layer of both networks.
    rounds : int
        Rounds of moves a block.
    proposals : int
        Moves among which a particle chooses in each round.
    """

    part = "cell."

    def __init__(self, width: int = 32, rounds: int = 2, proposals: int = 3) -> None:
        super().__init__()
        self.sizes = {"width": width, "rounds": rounds, "proposals": proposals}
        self.particle, self.head = ParticleNetwork(width), Head(width)
        self.rounds, self.proposals = rounds, proposals

    def forward(
        self, bank: Bank, tally: Tally, block: tuple[Tensor, Tensor], rng: np.random.Generator
    ) -> Bank:
        """Take in a block of copies.

        Parameters
        ----------
        bank : Bank
            Particles before.
        tally : Tally
            All data, this block included.
        block : (Tensor, Tensor)
            Coordinates (S, k, d * d) of its effects, and its counts (S, k).
        rng : Generator
            Randomness of the moves.
        """
        value = likelihood(tally, bank.coordinates())
        for _ in range(self.rounds):
            around = Midst.of(bank, tally)
            log_weight, size = self.particle(*compare(bank, around, tally, block, value))
            around = Midst.of(Bank(bank.roots, log_weight, bank.d), tally)
            b, value = keep_best(bank.roots, value, size, around, tally, self.proposals, rng)
            bank = Bank(b, log_weight, bank.d)
        around = Midst.of(bank, tally)
        log_weight, _ = self.particle(*compare(bank, around, tally, block, value))
        return Bank(bank.roots, log_weight, bank.d)

    def estimate(self, bank: Bank, tally: Tally) -> CellEstimate:
        """Estimate and confidence."""
        mean = bank.mean()
        hedged = from_coordinates(hedge(mean, tally))
        with torch.no_grad():
            values, frame = torch.linalg.eigh(hedged)
            covariance = posterior_covariance(hedge(mean, tally), tally)
            each, overview, expected = look(bank, tally, hedged, values, frame, covariance)
        change, trust = self.head(each, overview)
        inside = frame.mH @ hedged @ frame
        now = torch.diagonal(inside, dim1=-2, dim2=-1).real.clamp(min=FLOOR)
        new = torch.softmax(now.log() + change, -1)
        # To first order a change of the mean that turns the frame turns that of the estimate, by
        # the ratio of differences of eigenvalues. Its value is zero, its gradient is not.
        with torch.no_grad():
            gaps = values[:, :, None] - values[:, None]
            ratio = (new[:, :, None] - new[:, None]) / torch.where(gaps.abs() < FLOOR, 1.0, gaps)
            ratio = ratio.clamp(0, 3).to(inside.dtype)
        turned = ratio * (inside - torch.diag_embed(torch.diagonal(inside, dim1=-2, dim2=-1)))
        state = frame @ (torch.diag_embed(new.to(inside.dtype)) + turned) @ frame.mH
        return CellEstimate(0.5 * (state + state.mH), expected + trust)


@torch.no_grad()
def likelihood(tally: Tally, x: Tensor) -> Tensor:
    """Log-likelihood (S, P) of all data for particles of coordinates x (S, P, d * d)."""
    g, counts, _ = tally.stacked()
    return log_likelihood(g, counts, x)


def hedge(mean: Tensor, tally: Tally) -> Tensor:
    """Coordinates (S, d * d) with a little white noise: of full rank."""
    copies, noise = tally.copies()[:, None], HEDGE * tally.d
    return torch.cat([mean[:, :1], mean[:, 1:] * (copies / (copies + noise))], 1)


def posterior_covariance(centre: Tensor, tally: Tally) -> Tensor:
    """Covariance (S, d * d - 1, d * d - 1) by the data's Fisher information at `centre`.

    The prior counts with the covariance of Haar-random pure states, 1 / (d (d + 1)).
    """
    g, _, shots = tally.stacked()
    d = tally.d
    prior = d * (d + 1) * torch.eye(d * d - 1, dtype=torch.float64)
    return torch.linalg.inv(fisher_information(g, shots, centre) + prior)


@dataclass(frozen=True)
class Midst:
    """Middle of a bank and width of the posterior, with which moves are made.

    Attributes
    ----------
    root : Tensor (S, d * d)
        Of a state of full rank in the midst of the bank.
    precision : Tensor (S, d * d, d * d)
        Of the roots' coordinates.
    spread : Tensor (S, d * d, d * d)
        Square root of its inverse.
    """

    root: Tensor
    precision: Tensor
    spread: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, bank: Bank, tally: Tally) -> Midst:
        """From a bank and all data: Fisher's information on the coordinates of the root."""
        g, _, shots = tally.stacked()
        x = hedge(bank.mean(), tally)
        root = square_root(x)
        p = (g @ x[..., None])[..., 0].clamp(min=TINY)
        inner = g @ slope(root, bank.d)
        eye = torch.eye(bank.d**2, dtype=torch.float64)
        precision = inner.mT @ (inner * (shots / p)[..., None]) + PRIOR * eye
        return cls(root, precision, torch.linalg.cholesky(torch.linalg.inv(precision)))

    def distance_squared(self, b: Tensor) -> Tensor:
        """Squared distances (S, P) of roots (S, P, d * d), in standard deviations."""
        off = b - self.root[:, None]
        return ((off @ self.precision) * off).sum(-1)


@torch.no_grad()
def compare(
    bank: Bank, around: Midst, tally: Tally, block: tuple[Tensor, Tensor], value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of `ParticleNetwork`: observed and own histograms of the block, and of all data.

    Of the histograms of all data, which are as many as there were blocks, only their distance: the
    deviance, and the gaps to the best particle and to the midst of the bank. Also how far off the
    particle is, and how mixed.
    """
    g, counts = block
    x = bank.coordinates()
    shots = counts.sum(-1)[:, None, None]
    seen = (counts / counts.sum(-1, keepdim=True).clamp(min=1))[:, None]
    own = (x @ g.mT).clamp(min=0)
    pull = (seen - own) * shots / (own * shots + 1).sqrt()
    outcome = torch.stack([seen.expand_as(own).sqrt(), own.sqrt(), torch.asinh(pull)], -1)
    _, all_counts, all_shots = tally.stacked()
    best_fit = torch.xlogy(all_counts, all_counts / all_shots.clamp(min=1)).sum(-1)[:, None]
    gap = value - value.amax(1, keepdim=True)
    deviance = (2 * (best_fit - value)).clamp(min=0)
    middle = likelihood(tally, square(around.root[:, None]))
    likely = Bank(bank.roots, torch.log_softmax(value, -1), bank.d).effective_size()
    second, third = symmetric(x)
    copies = tally.copies()[:, None].expand_as(gap)
    summary = [
        torch.log1p(-gap),
        torch.asinh(value - middle),
        torch.log1p(deviance) - torch.log1p(torch.as_tensor(all_counts.shape[1]).double()),
        torch.log10(copies + 1) / 5,
        torch.log10(shots[..., 0] + 1).expand_as(gap) / 5,
        second.clamp(min=FLOOR).log() / 10,
        third.clamp(min=FLOOR).log() / 20,
        torch.log1p(around.distance_squared(bank.roots)),
        (likely.log() / 5)[:, None].expand_as(gap),
    ]
    return outcome, torch.stack(summary, -1), gap


def symmetric(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of products of two and of three eigenvalues of states (..., d * d): Newton's formulae.

    They are small where a state is close to rank one, and to rank two.
    """
    purity, cubes = x.square().sum(-1), (x * square(x)).sum(-1)
    return (1 - purity) / 2, (1 - 3 * purity + 2 * cubes) / 6


def keep_best(
    b: Tensor,
    value: Tensor,
    size: Tensor,
    around: Midst,
    tally: Tally,
    proposals: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Each particle proposes moves and becomes the best of them, or stays if none is better.

    The choice has no gradient; the chosen move has one to its size.

    Parameters
    ----------
    b : Tensor (S, P, d * d)
        Roots.
    value : Tensor (S, P)
        Log-likelihoods.
    size : Tensor (S, P)
        Sizes of the moves, 0 to 1.
    around : Midst
        What they are made with.
    tally : Tally
        All data.
    proposals : int
        Moves of each particle.
    rng : Generator
        Randomness.

    Returns
    -------
    b, value
        As given, after the move; no value is smaller than before.
    """
    n_states, n_particles, n = b.shape
    z = torch.as_tensor(rng.standard_normal((n_states, n_particles * proposals, n)))
    step = (z @ around.spread.mT).reshape(n_states, n_particles, proposals, n)
    middle = around.root[:, None]
    with torch.no_grad():
        trial = _moved(b[:, :, None], size[..., None], step, middle[:, None])
        worth = likelihood(tally, square(trial).flatten(1, 2))
        best, which = worth.reshape(n_states, n_particles, proposals).max(-1)
        better = best > value
    chosen = step.gather(2, which[..., None, None].expand(-1, -1, 1, n))[:, :, 0]
    new = _moved(b, size, chosen, middle)
    # Where it stays it is the same to the last bit.
    return torch.where(better[..., None], new, b), torch.where(better, best, value)


def _moved(b: Tensor, size: Tensor, step: Tensor, middle: Tensor) -> Tensor:
    """Part of the way to the midst, and a random step instead; of unit length."""
    share, size = (1 - size.square()).sqrt()[..., None], size[..., None]
    return unit(middle + share * (b - middle) + size * step)


def look(
    bank: Bank, tally: Tally, rho: Tensor, values: Tensor, frame: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of `Head`.

    Parameters
    ----------
    bank : Bank
    tally : Tally
    rho : Tensor (S, d, d)
        Hedged mean, with eigenvalues (S, d) and eigenvectors.
    values : Tensor (S, d)
    frame : Tensor (S, d, d)
    covariance : Tensor
        By Fisher's information.

    Returns
    -------
    each
        (S, d, EIGENVALUE).
    overview
        (S, OVERVIEW).
    expected
        (S,) log infidelity by Fisher's information.
    """
    copies = (tally.copies() + 1)[:, None]
    projectors = frame.mT[..., :, None] * frame.mT[..., None, :].conj()
    v = to_coordinates(projectors)[..., 1:]
    fisher = ((v @ covariance) * v).sum(-1).clamp(min=FLOOR**2).sqrt()
    cloud = bank.covariance()
    width = ((v @ cloud) * v).sum(-1).clamp(min=FLOOR**2).sqrt()
    values = values.clamp(min=FLOOR)
    each = [
        values.log() / 5,
        torch.log1p(values * copies) / 5,
        (fisher * copies).log() / 5,
        (width / fisher).log() / 2,
        torch.asinh(values / fisher) / 2,
        values,
    ]
    expected = expected_infidelity(rho, covariance).clamp(FLOOR).log()
    spread = expected_infidelity(rho, cloud).clamp(FLOOR).log()
    overview = [
        copies[:, 0].log10() / 5,
        (spread - expected) / 5,
        bank.effective_size().log() / 5,
        (expected + copies[:, 0].log()) / 5,
        values.square().sum(-1),
    ]
    return torch.stack(each, -1), torch.stack(overview, -1), expected
