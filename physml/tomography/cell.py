"""The particle cell of Quek, Fort, Ng (npj Quantum Information 7, 105, 2021).

A bank of weighted particles, each a candidate state, goes round a recurrent cell. A block of copies
is measured; one small network, the same for each particle, compares the observed histogram with
that of the particle and gives its weight and the size of its moves; each particle proposes moves of
this size and keeps the best. A second small network makes the estimate and a confidence of it.

The paper does not tell layers, loss, prior or proposals. Ours: the networks are sums over outcomes,
so that one set of weights serves every measurement and no order of the outcomes matters; particles
start from the rank-adaptive prior; the best is the one of the largest likelihood of all data; the
unit of a move is a standard deviation of the state as the data's Fisher information gives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from physml.tomography.design import expected_infidelity
from physml.tomography.operators import from_coordinates, to_coordinates
from physml.tomography.particle_moves import (
    TAU_MAX,
    gaussian,
    principal_logarithms,
    roots,
)
from physml.tomography.tally import Tally, fisher_information, log_likelihood

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

#: Numbers held at once for likelihoods.
CHUNK = 2_000_000
#: Numbers that the particle network is told of each outcome, and of each particle beside them.
OUTCOME, SUMMARY = 3, 4
#: Numbers that the head is told.
OVERVIEW = 6


@dataclass(frozen=True)
class Bank:
    """Weighted particles of S experiments.

    Attributes
    ----------
    roots
        (S, P, d, d) complex128: the particle is B B^+, of trace one.
    log_weight
        (S, P) float64, logarithm of weights that sum to one.
    """

    roots: Tensor
    log_weight: Tensor

    @classmethod
    def draw(cls, n_states: int, n_particles: int, d: int, rng: np.random.Generator) -> Bank:
        """Equal weights; particles of the rank-adaptive prior."""
        shape = (n_states, n_particles)
        b = roots(gaussian((*shape, d, d), rng), torch.as_tensor(rng.uniform(0, TAU_MAX, shape)))
        return cls(unit(b), -torch.full(shape, float(n_particles)).double().log())

    def coordinates(self) -> Tensor:
        """(S, P, d * d); see `operators.hermitian_basis`."""
        return to_coordinates(self.roots @ self.roots.mH)

    def mean(self) -> Tensor:
        """Weighted mean (S, d * d), in coordinates."""
        return (self.log_weight.exp()[:, None] @ self.coordinates())[:, 0]

    def covariance(self) -> Tensor:
        """Weighted covariance (S, d * d - 1, d * d - 1), without the coordinate of the trace."""
        x, weight = self.coordinates(), self.log_weight.exp()
        off = (x - (weight[:, None] @ x))[..., 1:]
        return off.mT @ (off * weight[..., None])

    def detach(self) -> Bank:
        """The same numbers without their history."""
        return Bank(self.roots.detach(), self.log_weight.detach())


@dataclass(frozen=True)
class Outlook:
    """What the second network says.

    Attributes
    ----------
    state
        (S, d, d) estimate.
    log_infidelity
        (S,) logarithm of the infidelity expected of it: the smaller, the more confident.
    """

    state: Tensor
    log_infidelity: Tensor


def unit(b: Tensor) -> Tensor:
    """B over the root of tr B B^+, (..., d, d)."""
    return b / torch.linalg.matrix_norm(b)[..., None, None]


class ParticleNetwork(nn.Module):
    """From the observed and the own histogram to a weight and the size of moves, each particle.

    Parameters
    ----------
    width
        Numbers in a layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.outcome = nn.Sequential(nn.Linear(OUTCOME, width), nn.GELU(), nn.Linear(width, width))
        self.whole = nn.Sequential(
            nn.Linear(width + SUMMARY, width), nn.GELU(), nn.Linear(width, 3)
        )
        self.double()
        # Nothing learned yet: weights are likelihoods, moves are of one unit.
        last = self.whole[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=1e-2)
        nn.init.zeros_(last.bias)

    def forward(self, outcome: Tensor, summary: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of normalised weights and of the sizes of moves.

        Parameters
        ----------
        outcome : (S, P, k, OUTCOME)
        summary : (S, P, SUMMARY)
        gap : (S, P)
            Log-likelihood less that of the best particle.

        Returns
        -------
        log_weight, log_size : (S, P)
        """
        inside = self.outcome(outcome).mean(-2)
        power, prior, size = self.whole(torch.cat([inside, summary], -1)).unbind(-1)
        # A particle far off needs long moves: one unit changes the likelihood by about one half.
        log_size = 0.5 * torch.log1p(-gap) + size.clamp(-6, 3)
        log_weight = torch.log_softmax(power.clamp(-3, 3).exp() * gap + prior, -1)
        return log_weight, log_size


class Head(nn.Module):
    """From a bank's overview to a share of white noise and a confidence.

    Parameters
    ----------
    width
        Numbers in a layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(OVERVIEW, width), nn.GELU(), nn.Linear(width, 2))
        self.double()
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=1e-2)
        last.bias.data = torch.tensor([-3.0, 0.0], dtype=torch.float64)

    def forward(self, overview: Tensor) -> tuple[Tensor, Tensor]:
        """Share of its largest value (0 to 1) and shift of the log infidelity, (S,) each."""
        share, shift = self.layers(overview).unbind(-1)
        return torch.sigmoid(share), shift.clamp(-6, 6)


class Cell(nn.Module):
    """The recurrent cell: `forward` takes a bank round once.

    Parameters
    ----------
    width
        Numbers in a layer of both networks.
    rounds
        Rounds of moves a block.
    proposals
        Moves of each of two kinds among which a particle chooses in each round.
    """

    def __init__(self, width: int = 32, rounds: int = 2, proposals: int = 3) -> None:
        super().__init__()
        self.particle, self.head = ParticleNetwork(width), Head(width)
        self.rounds, self.proposals = rounds, proposals

    def forward(
        self, bank: Bank, tally: Tally, block: tuple[Tensor, Tensor], rng: np.random.Generator
    ) -> Bank:
        """Take in a block of copies.

        Parameters
        ----------
        bank
            Particles before.
        tally
            All data, this block included.
        block
            Coordinates (S, k, d * d) of its effects, and its counts (S, k).
        rng
            Randomness of the moves.
        """
        value = likelihood(tally, bank.coordinates())
        _, log_size = self.particle(*compare(bank, tally, block, value))
        around = Surroundings.of(bank, tally)
        b = bank.roots
        for _ in range(self.rounds):
            b, value = keep_best(b, value, log_size.exp(), around, tally, self.proposals, rng)
        moved = Bank(b, bank.log_weight)
        log_weight, _ = self.particle(*compare(moved, tally, block, value))
        return Bank(b, log_weight)

    def outlook(self, bank: Bank, tally: Tally) -> Outlook:
        """Estimate and confidence."""
        d, copies = tally.d, tally.copies()
        overview, expected = look(bank, tally)
        share, shift = self.head(overview)
        # The white noise of a hedge that counts for at most d^2 copies; see Blume-Kohout, PRL 105,
        # 200504 (2010).
        white = share * d * d / (copies + d * d)
        mean = bank.mean()
        state = torch.cat([mean[:, :1], (1 - white)[:, None] * mean[:, 1:]], 1)
        return Outlook(from_coordinates(state), expected + shift)


@torch.no_grad()
def likelihood(tally: Tally, x: Tensor) -> Tensor:
    """Log-likelihood (S, P) of all data for particles of coordinates x, some experiments a time."""
    g, counts, _ = tally.stacked()
    size = max(1, CHUNK // max(1, x.shape[1] * g.shape[1]))
    parts = [
        log_likelihood(g[i : i + size], counts[i : i + size], x[i : i + size])
        for i in range(0, len(x), size)
    ]
    return torch.cat(parts)


@torch.no_grad()
def compare(
    bank: Bank, tally: Tally, block: tuple[Tensor, Tensor], value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What `ParticleNetwork` is told: observed and own histograms of the block, and of all data.

    Of the histograms of all data, which are as many as there were blocks, only their distance: the
    deviance, and the gap to the best particle.
    """
    g, counts = block
    shots = counts.sum(-1)[:, None, None]
    seen = (counts / counts.sum(-1, keepdim=True).clamp(min=1))[:, None]
    own = (bank.coordinates() @ g.mT).clamp(min=0)
    pull = (seen - own) * shots / (own * shots + 1).sqrt()
    outcome = torch.stack([seen.expand_as(own).sqrt(), own.sqrt(), torch.asinh(pull)], -1)
    _, all_counts, all_shots = tally.stacked()
    best_fit = torch.xlogy(all_counts, all_counts / all_shots.clamp(min=1)).sum(-1)[:, None]
    gap = value - value.amax(1, keepdim=True)
    deviance = (2 * (best_fit - value)).clamp(min=0)
    total = tally.copies()[:, None].expand_as(gap)
    summary = [
        torch.log1p(-gap),
        torch.log1p(deviance) - torch.log1p(torch.as_tensor(all_counts.shape[1]).double()),
        torch.log10(total + 1) / 5,
        torch.log10(shots[..., 0] + 1).expand_as(gap) / 5,
    ]
    return outcome, torch.stack(summary, -1), gap


def centre(bank: Bank, tally: Tally) -> Tensor:
    """Mean (S, d * d) with the white noise of d copies: of full rank."""
    d, copies = tally.d, tally.copies()[:, None]
    mean = bank.mean().detach()
    return torch.cat([mean[:, :1], mean[:, 1:] * (copies / (copies + d))], 1)


def posterior_covariance(bank: Bank, tally: Tally) -> Tensor:
    """Covariance (S, d * d - 1, d * d - 1) by the data's Fisher information at the mean.

    The prior counts with the covariance of Haar-random pure states, 1 / (d (d + 1)).
    """
    g, _, shots = tally.stacked()
    d = tally.d
    prior = d * (d + 1) * torch.eye(d * d - 1, dtype=torch.float64)
    return torch.linalg.inv(fisher_information(g, shots, centre(bank, tally)) + prior)


@torch.no_grad()
def posterior_directions(bank: Bank, tally: Tally) -> Tensor:
    """Moves of one standard deviation (S, d * d - 1, d, d); see `principal_logarithms`."""
    covariance = posterior_covariance(bank, tally)
    return principal_logarithms(from_coordinates(centre(bank, tally)), covariance)


@dataclass(frozen=True)
class Surroundings:
    """What the moves of S experiments are made with.

    Attributes
    ----------
    directions
        (S, D, d, d) Hermitian, of `posterior_directions`.
    middle
        (S, d, d) root of a state of full rank in the midst of the bank.
    scale
        (S,) share of it that is worth one unit.
    """

    directions: Tensor
    middle: Tensor
    scale: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, bank: Bank, tally: Tally) -> Surroundings:
        """From a bank and all data."""
        middle = torch.linalg.cholesky(from_coordinates(centre(bank, tally)))
        scale = (tally.d / (tally.copies() + tally.d)).sqrt()
        return cls(posterior_directions(bank, tally), middle, scale)


def keep_best(
    b: Tensor,
    value: Tensor,
    size: Tensor,
    around: Surroundings,
    tally: Tally,
    proposals: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Each particle proposes moves and becomes the best of them, or stays if none is better.

    There are two kinds, half of the moves each, which lead from states to states however long they
    are. One multiplies the root by exp(s H), H a random mixture of the directions. The other
    replaces a share of the root by a random one of the midst of the bank: without it particles
    close to pure could never get any rank. The choice has no gradient; the chosen move has one to
    its size.

    Parameters
    ----------
    b
        (S, P, d, d) roots.
    value
        (S, P) log-likelihoods.
    size
        (S, P) sizes of the moves.
    around
        What they are made with.
    tally
        All data.
    proposals
        Moves of each kind.
    rng
        Randomness.

    Returns
    -------
    b, value
        As given, after the move; no value is smaller than before.
    """
    n_states, n_particles, d = b.shape[:3]
    # A direction is drawn for all particles of an experiment, its length for each.
    z = torch.as_tensor(rng.standard_normal((n_states, proposals, around.directions.shape[1])))
    z = (z / z.norm(dim=-1, keepdim=True)).to(b.dtype)
    h = (z @ around.directions.flatten(2)).reshape(n_states, proposals, d, d)
    values, frame = torch.linalg.eigh(h)
    length = torch.as_tensor(rng.standard_normal((n_states, n_particles, proposals)))
    fresh = around.middle[:, None, None] @ gaussian((*length.shape, d, d), rng) / (2 * d) ** 0.5
    share = (size * around.scale[:, None])[..., None] * length.abs()
    with torch.no_grad():
        power = (size[..., None] * length)[..., None] * values[:, None]
        trial = torch.cat(
            [_stretched(b[:, :, None], power, frame[:, None]), _mixed(b[:, :, None], share, fresh)],
            2,
        )
        x = to_coordinates(trial @ trial.mH).flatten(1, 2)
        worth = likelihood(tally, x).reshape(n_states, n_particles, -1)
        best, which = worth.max(-1)
        better = best > value
    stretches = which < proposals
    which = which % proposals
    rows, columns = torch.arange(n_states)[:, None], torch.arange(n_particles)
    power = (size * length[rows, columns, which])[..., None] * values[rows, which]
    new = torch.where(
        stretches[..., None, None],
        _stretched(b, power, frame[rows, which]),
        _mixed(b, share[rows, columns, which], fresh[rows, columns, which]),
    )
    # Where it stays it is the same to the last bit.
    return torch.where(better[..., None, None], new, b), torch.where(better, best, value)


def _mixed(b: Tensor, share: Tensor, fresh: Tensor) -> Tensor:
    """Root with a share of another one, of unit norm; see `particle_moves.mix`."""
    angle = share.clamp(max=0.5 * torch.pi)[..., None, None]
    return unit(angle.cos() * b + angle.sin() * fresh)


def _stretched(b: Tensor, power: Tensor, frame: Tensor) -> Tensor:
    """Root times the exponential of a Hermitian matrix of eigenvalues `power`, of unit norm."""
    # Beyond this the exponential only makes numbers that no data could accept.
    stretch = power.clamp(-20, 20).exp().to(b.dtype)
    return unit(frame @ (stretch[..., None] * (frame.mH @ b)))


@torch.no_grad()
def look(bank: Bank, tally: Tally) -> tuple[Tensor, Tensor]:
    """What `Head` is told, (S, OVERVIEW), and the log infidelity (S,) by Fisher's information."""
    middle = from_coordinates(centre(bank, tally))
    floor = 1e-15
    expected = expected_infidelity(middle, posterior_covariance(bank, tally)).clamp(floor).log()
    spread = expected_infidelity(middle, bank.covariance()).clamp(floor).log()
    weight = bank.log_weight.exp()
    size = 1 / weight.square().sum(-1)
    smallest = torch.linalg.eigvalsh(middle)[:, 0].clamp(floor).log()
    purity = bank.mean().square().sum(-1)
    copies = torch.log10(tally.copies() + 1)
    overview = [
        copies / 5,
        (spread - expected) / 5,
        size.log() / 5,
        smallest / 10,
        purity,
        expected / 10,
    ]
    return torch.stack(overview, -1), expected
