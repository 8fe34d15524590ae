"""The best that sets of bases can do for a known state: lines that no adaptive design can beat.

The design is found for the true state, which nobody knows: an experiment that adapts gets there in
the limit of many copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from numpy.random import Generator
from torch import Tensor

from ..core.basis import basis_effects
from ..core.basis_choice import infidelity_metric
from ..core.likelihood import fisher_information
from ..core.operators import kron_all, n_qubits, random_gaussian, to_coordinates


@dataclass(frozen=True)
class BestBases:
    """A set of bases for each state.

    Attributes
    ----------
    value : Tensor (S,)
        N times the infidelity.
    floor : Tensor (S,)
        No set of bases of this kind has less, as far as the search for a better basis went.
    bases : Tensor (S, B, d, d)
        Basis vectors in columns.
    shares : Tensor (S, B)
        Shares of the copies.
    """

    value: Tensor
    floor: Tensor
    bases: Tensor
    shares: Tensor


def best_bases(
    rho: Tensor,
    kind: Literal["global", "product"],
    rng: Generator,
    n_bases: int = 16,
    steps: int = 500,
) -> BestBases:
    """Find bases and shares of copies that make tr(G I^-1) least.

    All are changed together by gradient descent. The function is convex in the shares over all
    bases, so that the best basis that could be added bounds what is left to gain: with
    t = max_b tr(I^-1 G I^-1 I_b) no set has less than value^2 / t.

    Parameters
    ----------
    rho : Tensor (S, d, d)
        Full rank.
    kind : {"global", "product"}
    rng : Generator
        Of the bases to start from.
    n_bases : int
        Bases for each state.
    steps : int
        Steps of the descent.
    """
    metric = infidelity_metric(rho)
    raw = _start(rho, kind, n_bases, rng)
    logits = torch.zeros(len(rho), n_bases, dtype=torch.float64, requires_grad=True)
    _descend(
        [raw, logits],
        steps,
        lambda: _value(raw, logits, kind, rho, metric)[0].log().sum(),
        betas=(0.9, 0.99),
    )
    with torch.no_grad():
        value, weight = _value(raw, logits, kind, rho, metric)
        shares = logits.softmax(-1)
        bases = _bases(raw, kind)
    gain = _largest_gain(bases, weight, kind, rho, rng)
    return BestBases(value, value.square() / torch.maximum(gain, value), bases, shares)


def _descend(
    parameters: list[Tensor], steps: int, loss: Callable[[], Tensor], **options: Any
) -> None:
    """Steps of Adam with a falling rate."""
    optimiser = torch.optim.Adam(parameters, lr=0.05, **options)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, 1e-4)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        schedule.step()


def _start(rho: Tensor, kind: str, n_bases: int, rng: Generator) -> Tensor:
    """Matrices whose QR factors are the bases: half of them random, half near good guesses."""
    d = rho.shape[-1]
    n = n_qubits(d)
    shape = (n, 2, 2) if kind == "product" else (d, d)
    raw = random_gaussian((len(rho), n_bases, *shape), rng)
    if kind == "global":
        # Eigenvectors turned by angles from a percent to a radian.
        size = torch.logspace(-2, 0, n_bases // 2, dtype=torch.float64)
        vectors = torch.linalg.eigh(rho).eigenvectors.unsqueeze(1)
        raw[:, : n_bases // 2] = vectors + size[:, None, None] * raw[:, : n_bases // 2]
    return raw.requires_grad_()


def _bases(raw: Tensor, kind: str) -> Tensor:
    unitary = torch.linalg.qr(raw).Q
    return kron_all(unitary) if kind == "product" else unitary


def _information(bases: Tensor, rho: Tensor) -> Tensor:
    """Information of one copy in each basis, (S, B, d * d - 1, d * d - 1)."""
    g = to_coordinates(basis_effects(bases))
    return fisher_information(g, 1.0, to_coordinates(rho)[:, None])


def _value(
    raw: Tensor, logits: Tensor, kind: str, rho: Tensor, metric: Tensor
) -> tuple[Tensor, Tensor]:
    """tr(G I^-1), and I^-1 G I^-1, for each state."""
    each = _information(_bases(raw, kind), rho)
    total = (logits.softmax(-1)[..., None, None] * each).sum(1)
    solved = torch.linalg.solve(total, metric)
    value = torch.diagonal(solved, dim1=-2, dim2=-1).sum(-1)
    return value, torch.linalg.solve(total, solved.mT)


def _largest_gain(
    bases: Tensor, weight: Tensor, kind: Literal["global", "product"], rho: Tensor, rng: Generator
) -> Tensor:
    """Largest tr(I^-1 G I^-1 I_b) over bases, from many starts by gradient ascent."""
    raw = _start(rho, kind, 32, rng)

    def gain(of: Tensor) -> Tensor:
        return torch.einsum("sab,scba->sc", weight, _information(of, rho))

    _descend([raw], 150, lambda: -gain(_bases(raw, kind)).log().sum())
    with torch.no_grad():
        return torch.cat([gain(_bases(raw, kind)), gain(bases)], 1).amax(1)
