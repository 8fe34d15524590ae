"""Functionals of simulated experiments, which intervals are learned from.

Each moment gives one example of each kind. Targets of fidelities are those of laboratories: the
state that was aimed at, which is the largest eigenvector of the true one, or one near it; or any
other. Observables are random Hermitian matrices and Pauli strings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ..core.operators import concurrence, entropy, hermitian_basis, purity, random_gaussian
from ..inference.neural.corrector import Corrector
from ..inference.neural.draws import Draws
from ..inference.neural.intervals import KINDS, error_of, extra_inputs
from .calibration_moments import Moments, corrections
from .quantile_training import Examples
from .replay import Arrays

#: Draws about an estimate, of which the spread is taken; and moments worked on together.
DRAWS, CHUNK = 64, 2_000
#: Shares of the targets that were met, that were nearly met, and of any others; and by how much
#: the second kind is off.
TARGETS, OFF = (0.4, 0.3, 0.3), 0.3
#: Share of Pauli strings among the observables.
PAULIS = 0.5

Function = Callable[[Tensor], Tensor]
Bounds = tuple[Tensor, Tensor]


def examples_of(
    network: Corrector, arrays: Arrays, moments: Moments, rng: Generator
) -> tuple[Examples, NDArray[np.int64]]:
    """Examples of all kinds of functionals, and the number of the experiment of each."""
    parts: list[tuple[Tensor, Tensor, NDArray, NDArray, NDArray]] = []
    for start in range(0, len(moments), CHUNK):
        chosen = moments.rows(np.arange(start, min(start + CHUNK, len(moments))))
        made, root, inputs = corrections(network, arrays, chosen.row)
        draws = Draws(made, DRAWS, rng)
        states, truth = draws.states(), root @ root.mH
        for number, (kind, (f, (low, high))) in enumerate(functionals(root, rng).items()):
            value = f(draws.estimate[:, None])[:, 0]
            more, unit = extra_inputs(kind, f(states), value, low, high)
            found = error_of(f(truth[:, None])[:, 0], value, unit)
            group = chosen.kind * len(KINDS) + number
            parts.append(
                (torch.cat([inputs, more], 1), found, group, chosen.mark, chosen.experiment)
            )
    x, y = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
    group, mark, experiment = (np.concatenate(list(z)) for z in list(zip(*parts, strict=True))[2:])
    return Examples.of(x.numpy(), y.numpy(), group, mark), experiment


def functionals(root: Tensor, rng: Generator) -> dict[str, tuple[Function, Bounds]]:
    """A functional of each kind for each true state B B^+, B (S, d, d), with its bounds (S,).

    Functions take states (S, M, d, d) and give numbers (S, M).
    """
    n, d = root.shape[:2]
    one = torch.ones(n, dtype=torch.float64)
    target, matrix = targets(root, rng), observables(n, d, rng)
    ends = torch.linalg.eigvalsh(matrix)[:, [0, -1]]
    place = torch.from_numpy(rng.integers(0, d, n))
    found: dict[str, tuple[Function, Bounds]] = {
        "purity": (_each(purity), (one / d, one)),
        "entropy": (_each(entropy), (0 * one, one * (d.bit_length() - 1))),
        "fidelity": (_expectation(target[:, :, None] * target[:, None, :].conj()), (0 * one, one)),
        "observable": (_expectation(matrix), (ends[:, 0], ends[:, 1])),
        "eigenvalue": (_eigenvalue(place), (0 * one, one)),
    }
    if d == 4:
        turn = entangled_frames(root, rng)
        found["concurrence"] = (_each(concurrence, turn), (0 * one, one))
    return {kind: found[kind] for kind in KINDS if kind in found}


def targets(root: Tensor, rng: Generator) -> Tensor:
    """Vectors (S, d) that a laboratory may have aimed at."""
    n, d = root.shape[:2]
    met = torch.linalg.svd(root)[0][:, :, 0]
    other = random_gaussian((n, d), rng)
    other = other / other.norm(dim=1, keepdim=True)
    near = met + OFF * torch.from_numpy(rng.random((n, 1))) * other
    kind = torch.from_numpy(rng.choice(3, n, p=TARGETS))
    found = torch.stack([met, near, other])[kind, torch.arange(n)]
    return found / found.norm(dim=1, keepdim=True)


def observables(n: int, d: int, rng: Generator) -> Tensor:
    """Hermitian matrices (n, d, d) of norm one: Pauli strings in random frames, and any."""
    gauss = random_gaussian((n, d, d), rng)
    any_ = gauss + gauss.mH
    any_ = any_ / torch.linalg.eigvalsh(any_).abs().amax(1)[:, None, None]
    # Products of Pauli matrices, of norm 1, but for the identity.
    strings = hermitian_basis(d)[torch.from_numpy(rng.integers(1, d * d, n))] * d**0.5
    return torch.where(torch.from_numpy(rng.random(n) < PAULIS)[:, None, None], strings, any_)


def entangled_frames(root: Tensor, rng: Generator) -> Tensor:
    """Frames (S, 4, 4) in which the largest eigenvector of each true state is entangled.

    Moments are kept in the frame of the estimate, where qubits have no meaning. One is given to
    them: the largest eigenvector becomes a|00> + b|11>, which is maximally entangled for half of
    the states; all else is at random. Local unitaries change no concurrence.
    """
    n = len(root)
    angle = np.where(rng.random(n) < 0.5, np.pi / 4, rng.uniform(0, np.pi / 2, n))
    wanted = torch.zeros(n, 4, dtype=torch.complex128)
    wanted[:, 0] = torch.from_numpy(np.cos(angle)).to(wanted)
    wanted[:, 3] = torch.from_numpy(np.sin(angle)).to(wanted)
    here = _completed(torch.linalg.svd(root)[0][:, :, 0], rng)
    return _completed(wanted, rng) @ here.mH


def _completed(vector: Tensor, rng: Generator) -> Tensor:
    """Unitaries (S, d, d) whose first columns are these vectors (S, d), the rest at random."""
    n, d = vector.shape
    columns = torch.cat([vector[..., None], random_gaussian((n, d, d - 1), rng)], -1)
    q, r = torch.linalg.qr(columns)
    first = r[:, 0, 0] / r[:, 0, 0].abs()
    return torch.cat([q[..., :1] * first[:, None, None], q[..., 1:]], -1)


def _each(f: Function, frame: Tensor | None = None) -> Function:
    def of(rho: Tensor) -> Tensor:
        seen = rho if frame is None else frame[:, None] @ rho @ frame[:, None].mH
        return f(seen.flatten(0, 1)).reshape(rho.shape[:2])

    return of


def _expectation(matrix: Tensor) -> Function:
    def of(rho: Tensor) -> Tensor:
        return torch.einsum("sij,smji->sm", matrix, rho).real

    return of


def _eigenvalue(place: Tensor) -> Function:
    def of(rho: Tensor) -> Tensor:
        values = torch.linalg.eigvalsh(rho).flip(-1)
        return values.gather(-1, place[:, None, None].expand(-1, values.shape[1], 1))[..., 0]

    return of
