"""Adaptive bases chosen in the eigenframe of the filter, by what they leave of the infidelity.

Candidates are judged as in `design`, by the fall of tr(G C), with two differences. The covariance
has the hedge's curvature at the corrected eigenvalues, which says that elements of a positive
matrix cannot be larger than its eigenvalues let them: for pure states nothing is then spent on what
positivity tells already. And the outcomes of a candidate are taken one by one, so that all the
candidates of all experiments are judged by one product of matrices.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from physml.tomography.design import product_candidates
from physml.tomography.eigenframe import scaled_metric, scales, vec
from physml.tomography.estimator import Basis, BasisKind
from physml.tomography.information import inverse, scaled_information

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from torch import Tensor

    from physml.tomography.information import InformationFilter

#: Unbiased bases with random phases among the global candidates.
FLAT = 8
#: Strength of the hedge in the covariance of the design.
HEDGE = 1.0
#: Eigenvalues to design for are raised by this share of the hedged ones, and by that of one copy:
#: an expectation close to zero is no reason not to look.
DOUBT, FEWEST = 0.1, 0.1


def choose(
    kind: BasisKind,
    posterior: InformationFilter,
    values: Tensor,
    rng: np.random.Generator,
    shots: float,
) -> Basis:
    """Best candidate of each experiment.

    Parameters
    ----------
    kind
        ``"global"`` or ``"product"``.
    posterior
        Its eigenvectors, information and copies are used.
    values
        (S, d) eigenvalues to expect, in the order of the filter's eigenvectors.
    rng
        Randomness of the candidates, the same for all experiments where they are global.
    shots
        Copies to be measured.
    """
    least = FEWEST / (posterior.copies[:, None] + 10)
    values = values + DOUBT * posterior.values + least
    values = values / values.sum(-1, keepdim=True)
    scale = scales(values)
    covariance = inverse(scaled_information(posterior.information(), posterior.frame, scale, HEDGE))
    if kind == "global":
        bases = torch.cat([fixed_bases(posterior.d), flat_bases(FLAT, posterior.d, rng)])
        rows = vec(_effects(bases)).flatten(0, 1)[None]
        best = gains(rows, values, scale, covariance, shots).argmax(-1)
        return Basis(posterior.vectors @ bases[best])
    local = product_candidates(posterior.matrix(), rng)
    n_states, m = local.shape[:2]
    basis = Basis.product(local.flatten(0, 1)).unitary.reshape(n_states, m, *values.shape[1:] * 2)
    rows = vec(_effects(posterior.vectors.mH[:, None] @ basis)).flatten(1, 2)
    best = gains(rows, values, scale, covariance, shots).argmax(-1)
    at = torch.arange(n_states)
    return Basis(basis[at, best], local[at, best])


def gains(rows: Tensor, values: Tensor, scale: Tensor, covariance: Tensor, shots: float) -> Tensor:
    """Expected fall of the infidelity by each candidate, (S, m).

    Parameters
    ----------
    rows
        (S or 1, m * d, d * d) coordinates of the outcomes in the eigenframe.
    values, scale, covariance
        (S, d), (S, d * d), (S, d * d, d * d) of the state in scaled coordinates.
    shots
        Copies to be measured.
    """
    d = values.shape[-1]
    p = (rows[..., :d] @ values[..., None])[..., 0].clamp(min=1e-300)
    scaled = rows * scale[:, None, :]
    half = scaled @ covariance
    fall = (half.square() @ scaled_metric(values)[..., None])[..., 0]
    known = (half * scaled).sum(-1)
    each = fall / (p / shots + known)
    return each.reshape(len(values), -1, d).sum(-1)


@lru_cache(maxsize=8)
def fixed_bases(d: int) -> Tensor:
    """The eigenbasis, and sums and differences of pairs of its vectors, (m, d, d).

    For up to four dimensions all ways to form pairs, each pair with the phase 1 or i; above, the
    pairs j, j xor m with one phase for all.
    """
    out = [torch.eye(d, dtype=torch.complex128)]
    if d <= 4:
        pairings = list(_pairings(list(range(d))))
        choices = [
            (pairing, phases)
            for pairing in pairings
            for phases in itertools.product((1, 1j), repeat=d // 2)
        ]
    else:
        pairings = [[(j, j ^ m) for j in range(d) if j < j ^ m] for m in range(1, d)]
        choices = [(pairing, (z,) * (d // 2)) for pairing in pairings for z in (1, 1j)]
    for pairing, phases in choices:
        basis = torch.zeros(d, d, dtype=torch.complex128)
        for column, ((j, k), z) in enumerate(zip(pairing, phases, strict=True)):
            basis[j, 2 * column : 2 * column + 2] = 0.5**0.5
            basis[k, 2 * column], basis[k, 2 * column + 1] = z * 0.5**0.5, -z * 0.5**0.5
        out.append(basis)
    return torch.stack(out)


def flat_bases(n: int, d: int, rng: np.random.Generator) -> Tensor:
    """Bases unbiased to the eigenbasis: Hadamard's with random phases, (n, d, d)."""
    angle = torch.as_tensor(rng.uniform(0, 2 * torch.pi, (n, d, 1)))
    return torch.polar(torch.ones_like(angle), angle) * _hadamard(d)


@lru_cache(maxsize=8)
def _hadamard(d: int) -> Tensor:
    one = torch.tensor([[1, 1], [1, -1]], dtype=torch.complex128) * 0.5**0.5
    out = one
    while len(out) < d:
        out = torch.kron(out, one)
    return out


def _pairings(rest: list[int]) -> Iterator[list[tuple[int, int]]]:
    """All ways to form pairs of an even number of things."""
    if not rest:
        yield []
        return
    first, *others = rest
    for other in others:
        for tail in _pairings([x for x in others if x != other]):
            yield [(first, other), *tail]


def _effects(bases: Tensor) -> Tensor:
    columns = bases.mT
    return columns[..., :, None] * columns[..., None, :].conj()
