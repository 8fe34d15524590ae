"""The network that turns the filter's eigenframe into an estimate near the posterior mean.

Input: what the hedged maximum and its curvature say, in the eigenframe of the estimate and scaled
by it, so that numbers are of order one for any state and any number of copies. All inputs are
invariant under unitaries and under the free phases of the eigenvectors, so the estimate turns with
the state. Output: new eigenvalues, a rotation of the eigenvectors along the covariance between
coherences and eigenvalues, the infidelity to be expected, and what each eigenvalue and each pair of
eigenvectors will contribute to it: the design measures where most is left to gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core.eigenframe import pairs, scaled_metric, unvec

#: Eigenvalues in logarithms are at least this; 1e12 copies of a pure state go there.
FLOOR = 1e-14
#: Largest turn: the scaled coherence stays inside the positive matrices.
LARGEST_TURN = 0.5
#: Largest change of an eigenvalue's logarithm, in standard deviations.
LARGEST_SHIFT = 10.0
#: Largest logarithm of a part over what the covariance lets expect.
MOST_PART = 12.0
#: Numbers of copies above which the inputs say so many.
MOST_COPIES = 1e6


def n_features(d: int) -> int:
    """Number of inputs."""
    m = d * (d - 1) // 2
    return 3 * d + 2 + 4 * m


def n_outputs(d: int) -> int:
    """Number of raw outputs."""
    return 3 * d + 1 + d * (d - 1) // 2


def features(values: Tensor, covariance: Tensor, copies: Tensor) -> Tensor:
    """Inputs of the network.

    Parameters
    ----------
    values : Tensor (S, d)
        Eigenvalues of the hedged estimate, in descending order.
    covariance : Tensor (S, d * d, d * d)
        Inverse of the scaled information with its hedge, in the eigenframe.
    copies : Tensor (S,)

    Returns
    -------
    Tensor (S, n_features(d)), float32
    """
    d = values.shape[-1]
    j, k = pairs(d)
    m = len(j)
    logs = values.clamp(min=FLOOR).log()
    size = torch.log1p(copies.clamp(max=MOST_COPIES))[:, None]
    variance = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=FLOOR)
    own, real, imaginary = variance.split([d, m, m], -1)
    mutual = covariance[:, j, k] / (own[:, j] * own[:, k]).sqrt()
    both = real + imaginary
    a = torch.arange(m) + d
    skew = torch.hypot(real - imaginary, 2 * covariance[:, a, a + m]) / both
    # Phases of the eigenvectors turn real into imaginary parts; their sum of squares stays.
    with_own = covariance[:, d : d + m, :d].square() + covariance[:, d + m :, :d].square()
    coupling = (with_own / own[:, None, :]).sum(-1) / both
    return torch.cat(
        [
            0.25 * logs,
            0.2 * (logs + size),
            0.5 * own.log() + 0.2 * size,
            0.2 * size,
            (copies[:, None] + 10).rsqrt() * 3,
            mutual,
            0.5 * both.log() + 0.2 * size,
            skew,
            coupling.sqrt(),
        ],
        -1,
    ).float()


@dataclass(frozen=True)
class CovarianceSummary:
    """Estimate and covariance of the filter in its eigenframe, on which the outputs act.

    Attributes
    ----------
    values : Tensor (S, d)
        Eigenvalues of the hedged estimate.
    deviation : Tensor (S, d)
        Standard deviations of their logarithms.
    binding : Tensor (S, d * d - d, d)
        Mean shift of the scaled coherences for an eigenvalue one standard deviation higher.
    parts : Tensor (S, d + d * (d - 1) / 2)
        Infidelity that the covariance alone lets expect of each eigenvalue, then of each pair.
    """

    values: Tensor
    deviation: Tensor
    binding: Tensor
    parts: Tensor

    @property
    def level(self) -> Tensor:
        """Logarithm of the infidelity (S,) that the covariance alone lets expect."""
        return self.parts.sum(-1).log()

    @classmethod
    def of(cls, values: Tensor, covariance: Tensor) -> CovarianceSummary:
        """From the arguments of `features`."""
        d = values.shape[-1]
        variance = covariance.diagonal(dim1=-2, dim2=-1)
        deviation = variance[:, :d].clamp(min=FLOOR).sqrt()
        own, real, imaginary = (variance * scaled_metric(values)).split(
            [d, *[d * (d - 1) // 2] * 2], -1
        )
        parts = torch.cat([own, real + imaginary], -1).clamp(min=FLOOR)
        return cls(values, deviation, covariance[:, d:, :d] / deviation[:, None], parts)


@dataclass(frozen=True)
class Correction:
    """Corrected estimate, and the infidelity to be expected.

    Attributes
    ----------
    values : Tensor (S, d)
        Eigenvalues before the turn; they sum to one.
    root : Tensor (S, d, d), complex128
        A with estimate A A^+ / tr, in the eigenframe of the filter.
    log_infidelity : Tensor (S,)
        Logarithm of the infidelity to be expected.
    parts : Tensor (S, d + d * (d - 1) / 2)
        What each eigenvalue, then each pair of eigenvectors, is expected to contribute; see
        `contributions`.
    """

    values: Tensor
    root: Tensor
    log_infidelity: Tensor
    parts: Tensor

    def estimate(self) -> Tensor:
        """Density matrices (S, d, d) in the eigenframe of the filter."""
        rho = self.root @ self.root.mH
        return rho / rho.diagonal(dim1=-2, dim2=-1).real.sum(-1)[:, None, None]


class Corrector(nn.Module):
    """Residual perceptron on the inputs of `features`.

    Parameters
    ----------
    d : int
        Dimension of the Hilbert space.
    width, blocks : int
        Size of the network.
    """

    part = "corrector."
    shift: Tensor
    scale: Tensor

    def __init__(self, d: int, width: int = 96, blocks: int = 2) -> None:
        super().__init__()
        self.d, self.width, self.blocks = d, width, blocks
        self.enter = nn.Linear(n_features(d), width)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(2 * blocks))
        self.leave = nn.Linear(width, n_outputs(d))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.register_buffer("shift", torch.zeros(n_features(d)))
        self.register_buffer("scale", torch.ones(n_features(d)))

    def standardise(self, x: Tensor) -> None:
        """Fix the origin and the unit of the inputs from a sample (n, n_features)."""
        self.shift.copy_(x.mean(0))
        self.scale.copy_(x.std(0).clamp(min=1e-2))

    def forward(self, x: Tensor) -> Tensor:
        """Raw outputs (S, n_outputs)."""
        x = self.enter(((x - self.shift) / self.scale).clamp(-6, 6))
        for first, second in zip(self.inner[::2], self.inner[1::2], strict=True):
            x = x + second(nn.functional.silu(first(nn.functional.silu(x))))
        return self.leave(nn.functional.silu(x))


def correct(raw: Tensor, summary: CovarianceSummary) -> Correction:
    """Apply the raw outputs (S, n_outputs).

    All changes are in units of what the data leave open, so that they fade as copies come in,
    whatever the network says about numbers of copies that it never saw.
    """
    d = summary.values.shape[-1]
    shift, push, level, more = raw.double().split([d, d, 1, raw.shape[-1] - 2 * d - 1], -1)
    shift = summary.deviation * LARGEST_SHIFT * torch.tanh(shift / LARGEST_SHIFT)
    new = torch.softmax(summary.values.clamp(min=FLOOR).log() + shift, -1)
    # A push on the eigenvalues moves coherences as far as the data have bound them together.
    turn = (summary.binding @ push[..., None])[..., 0]
    turn = turn * (LARGEST_TURN / (LARGEST_TURN + turn.norm(dim=-1, keepdim=True)))
    above = unvec(torch.cat([torch.zeros_like(new), turn], -1))
    one = torch.eye(d, dtype=torch.complex128, device=raw.device)
    root = new.sqrt()[:, :, None].to(torch.complex128) * (one + 0.5 * above)
    log_infidelity = summary.level + level[..., 0]
    parts = summary.parts * more.clamp(-MOST_PART, MOST_PART).exp()
    return Correction(new, root, log_infidelity, parts)


def contributions(estimate: Tensor, truth: Tensor) -> Tensor:
    """Parts of the infidelity by eigenvalues and pairs, (S, d + d * (d - 1) / 2).

    To second order the infidelity is a sum over elements, ``|delta_jk|^2 / (2 (l_j + l_k))``. Where
    eigenvalues are nearly zero the order does not hold: a pure state that is turned by a small
    angle has, by the angle's square, other elements too. So matrices are taken apart as
    ``L D L^+``, from the largest eigenvalue down: each step takes away what the turn of one vector
    brings into the rest. D stands for the eigenvalues, L D for the elements beside the diagonal.
    Parts are then exact in both limits, full rank and pure.

    Parameters
    ----------
    estimate, truth : Tensor (S, d, d)
        In a frame where both are nearly diagonal, the largest element first.
    """
    d = estimate.shape[-1]
    j, k = pairs(d)
    one = torch.eye(d, device=estimate.device)
    whole = torch.linalg.cholesky(torch.stack([estimate, truth]) + 1e-12 * one)
    roots = whole.diagonal(dim1=-2, dim2=-1).real
    mine, true = roots
    both = mine.square() + true.square()
    off = whole[..., k, j] * roots[..., j]
    away = off[0] - off[1]
    mixed = 2 * (away.real.square() + away.imag.square())
    return torch.cat([(mine - true).square(), mixed / (both[..., j] + both[..., k])], -1)


def root_fidelity(root: Tensor, truth_root: Tensor) -> Tensor:
    """Square root of the fidelity of A A^+ / tr with B B^+, differentiable in A.

    It is the largest Re tr(W^+ B^+ A) over unitary W. At the maximum W does not depend on A to
    first order, so it is held fixed, and no derivative of a decomposition is needed: degenerate
    eigenvalues do no harm.
    """
    product = truth_root.mH @ root
    with torch.no_grad():
        u, _, vh = torch.linalg.svd(product)
        w = u @ vh
    overlap = (w.conj() * product).real.sum((-2, -1))
    norm = (root.real.square() + root.imag.square()).sum((-2, -1)).sqrt()
    return overlap / norm
