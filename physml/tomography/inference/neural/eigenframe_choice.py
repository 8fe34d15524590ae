"""Adaptive bases chosen in the eigenframe of the filter, by what they leave of the infidelity.

Candidates are compared as in `basis_choice`, by the fall of tr(G C), with two differences. What is
left to gain in each eigenvalue and each pair of eigenvectors is what the corrector expects: it has
learned what positivity and the prior tell already, so that nothing is spent on that; the
correlations are those of the filter. And the outcomes of a candidate are taken one by one, so that
all the candidates of all experiments are compared by one product of matrices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...core.basis import Basis, BasisKind, basis_effects
from ...core.basis_choice import product_candidates
from ...core.eigenframe import metric, vec
from .corrector import Correction, CovarianceSummary
from .information_filter import InformationFilter

#: Unbiased bases with random phases among the global candidates.
FLAT = 8
#: Eigenvalues to design for are raised by that of so many copies: an expectation close to zero is
#: no reason not to look.
FEWEST = 0.05
#: Copies at which corrector and covariance count alike in what is left to gain.
#: A design for the likeliest kind of state alone is a poor one for the others, and early on any
#: state may be of any kind. These three define the design that histories are trained on: they
#: are no calibration of weights, and other ones need a training.
EARLY = 200.0


def choose(
    kind: BasisKind,
    posterior: InformationFilter,
    covariance: Tensor,
    made: Correction,
    rng: np.random.Generator,
    shots: float,
) -> Basis:
    """Best candidate of each experiment.

    Parameters
    ----------
    kind : {"global", "product"}
        ``"global"`` or ``"product"``.
    posterior : InformationFilter
        Its eigenvectors and copies are used.
    covariance : Tensor (S, d * d, d * d)
        Of the filter in its eigenframe, scaled.
    made : Correction
        Eigenvalues to expect, in the order of the filter's eigenvectors, and parts of the
        infidelity.
    rng : Generator
        Randomness of the candidates, the same for all experiments where they are global.
    shots : float
        Copies to be measured.
    """
    copies = posterior.copies[:, None]
    values = made.values + FEWEST / (copies + 10)
    values = values / values.sum(-1, keepdim=True)
    plain = CovarianceSummary.of(posterior.values, covariance).parts
    weight = copies / (copies + EARLY)
    prospect = expected_covariance(covariance, made.parts**weight * plain ** (1 - weight))
    unit = metric(values).rsqrt()
    if kind == "global":
        bases = torch.cat([fixed_bases(posterior.d), flat_bases(FLAT, posterior.d, rng)])
        rows = vec(basis_effects(bases)).flatten(0, 1)[None]
        best = gains(rows, values, unit, prospect, shots).argmax(-1)
        return Basis(posterior.vectors @ bases[best])
    local = product_candidates(posterior.matrix(), rng)
    n_states, m = local.shape[:2]
    basis = Basis.product(local.flatten(0, 1)).unitary.reshape(n_states, m, *values.shape[1:] * 2)
    rows = vec(basis_effects(posterior.vectors.mH[:, None] @ basis)).flatten(1, 2)
    best = gains(rows, values, unit, prospect, shots).argmax(-1)
    at = torch.arange(n_states)
    return Basis(basis[at, best], local[at, best])


def expected_covariance(covariance: Tensor, parts: Tensor) -> Tensor:
    """Covariance (S, d * d, d * d) whose trace is the infidelity to be expected.

    The correlations are those given; the variances are the parts of the infidelity, that of a pair
    shared between its real and its imaginary part as given.
    """
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    d = math.isqrt(variance.shape[-1])
    own, both = parts.split([d, parts.shape[-1] - d], -1)
    real, imaginary = variance[..., d:].chunk(2, -1)
    share = real / (real + imaginary)
    wanted = torch.cat([own, both * share, both * (1 - share)], -1)
    stretch = (wanted / variance).sqrt()
    return covariance * stretch[..., :, None] * stretch[..., None, :]


def gains(rows: Tensor, values: Tensor, unit: Tensor, covariance: Tensor, shots: float) -> Tensor:
    """Expected fall of the infidelity by each candidate, (S, m).

    Parameters
    ----------
    rows : Tensor (S or 1, m * d, d * d)
        Coordinates of the outcomes in the eigenframe.
    values : Tensor (S, d)
        Eigenvalues of the state.
    unit : Tensor (S, d * d)
        Elements per root of infidelity.
    covariance : Tensor (S, d * d, d * d)
        In these units; its trace is the infidelity.
    shots : float
        Copies to be measured.
    """
    d = values.shape[-1]
    p = (rows[..., :d] @ values[..., None])[..., 0].clamp(min=1e-300)
    scaled = rows * unit[:, None, :]
    half = scaled @ covariance
    known = (half * scaled).sum(-1)
    each = half.square().sum(-1) / (p / shots + known)
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
