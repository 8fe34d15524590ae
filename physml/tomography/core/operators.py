"""Algebra of density matrices, batched over states.

All matrices are complex128 tensors of shape (..., d, d). Qubit 0 is the leftmost tensor factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

#: Eigenvalues below this times the largest are rounding errors: their roots would not be small.
_ROUNDING = 8 * torch.finfo(torch.float64).eps

PAULI = torch.tensor(
    [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]],
    dtype=torch.complex128,
)


def n_qubits(d: int) -> int:
    """Number of qubits of dimension `d`; ValueError where that is no power of two."""
    n = d.bit_length() - 1
    if n < 1 or 1 << n != d:
        raise ValueError(f"the dimension must be a power of two from 2 on, got {d}")
    return n


def hermitian(a: Tensor) -> Tensor:
    """Hermitian part of (..., d, d)."""
    return 0.5 * (a + a.mH)


def kron_all(factors: Tensor | Sequence[Tensor]) -> Tensor:
    """Tensor product of matrices, batched.

    Parameters
    ----------
    factors : sequence of Tensor (..., a_q, b_q), or Tensor (..., n, a, b)
        The first is the leftmost factor.

    Returns
    -------
    Tensor (..., prod a_q, prod b_q)
    """
    parts = list(factors.unbind(-3)) if isinstance(factors, Tensor) else list(factors)
    if not parts:
        raise ValueError("a tensor product needs at least one factor")
    out = parts[0]
    for part in parts[1:]:
        product = torch.einsum("...ab,...cd->...acbd", out, part)
        out = product.flatten(-4, -3).flatten(-2, -1)
    return out


@lru_cache(maxsize=16)
def hermitian_basis(d: int) -> Tensor:
    """Orthonormal basis of Hermitian matrices, tr A_i A_j = delta_ij; do not change it in place.

    Products of Pauli matrices over sqrt d, in the order II, IX, IY, IZ, XI, ...; the first is
    1 / sqrt d.

    Returns
    -------
    Tensor (d * d, d, d), complex128
    """
    basis = PAULI
    for _ in range(n_qubits(d) - 1):
        basis = torch.einsum("iab,jcd->ijacbd", basis, PAULI).reshape(
            len(basis) * 4, basis.shape[1] * 2, basis.shape[1] * 2
        )
    return basis / d**0.5


def to_coordinates(h: Tensor) -> Tensor:
    """Real coordinates of Hermitian matrices: (..., d, d) to (..., d * d), float64."""
    d = h.shape[-1]
    basis = hermitian_basis(d).to(h.device)
    # tr A H = sum_ij A_ji H_ij, and A_ji is the conjugate of A_ij.
    return (h.reshape(*h.shape[:-2], d * d) @ basis.conj().reshape(d * d, d * d).mT).real


def from_coordinates(x: Tensor) -> Tensor:
    """Hermitian matrices from their coordinates: (..., d * d) to (..., d, d)."""
    d = round(x.shape[-1] ** 0.5)
    if d * d != x.shape[-1]:
        raise ValueError(f"the number of coordinates must be a square, got {x.shape[-1]}")
    basis = hermitian_basis(d).to(x.device)
    return (x.to(basis.dtype) @ basis.reshape(d * d, d * d)).reshape(*x.shape[:-1], d, d)


def project_to_simplex(values: Tensor) -> Tensor:
    """Nearest probability vector to each (..., d) real vector in the Euclidean norm.

    The common shift is found from the sorted values; see Held, Wolfe, Crowder (1974).
    """
    ordered = values.sort(dim=-1, descending=True).values
    count = torch.arange(1, values.shape[-1] + 1, device=values.device, dtype=values.dtype)
    shifts = (ordered.cumsum(-1) - 1) / count
    last = (ordered > shifts).sum(-1, keepdim=True) - 1
    return (values - shifts.gather(-1, last)).clamp(min=0)


def project_to_states(h: Tensor) -> Tensor:
    """Density matrix nearest to each Hermitian matrix (..., d, d) in the Frobenius norm.

    Eigenvectors stay, eigenvalues go to the nearest point of the simplex; see Smolin, Gambetta,
    Smith, PRL 108, 070502 (2012).
    """
    values, vectors = torch.linalg.eigh(hermitian(h))
    return from_eigen(project_to_simplex(values), vectors)


def from_eigen(values: Tensor, vectors: Tensor) -> Tensor:
    """Hermitian matrices of eigenvalues (..., d) and eigenvectors in columns (..., d, d)."""
    return (vectors * values.unsqueeze(-2)) @ vectors.mH


def root(rho: Tensor) -> Tensor:
    """A with A A^+ = rho, of exactly the rank of rho."""
    values, vectors = torch.linalg.eigh(rho)
    floor = _ROUNDING * values[..., -1:].clamp(min=0)
    return vectors * torch.where(values > floor, values, 0).sqrt().unsqueeze(-2)


def fidelity(rho: Tensor, sigma: Tensor) -> Tensor:
    """Uhlmann-Jozsa fidelity (tr sqrt(sqrt rho sigma sqrt rho))^2.

    It is the squared sum of the singular values of A^+ B with rho = A A^+ and sigma = B B^+. No
    root of a small difference is taken, so that rank-deficient states give it to rounding.

    Parameters
    ----------
    rho, sigma : Tensor (..., d, d)
        Density matrices; the leading axes are broadcast.

    Returns
    -------
    Tensor (...), float64, in [0, 1]
    """
    product = root(rho).mH @ root(sigma)
    return torch.linalg.svdvals(product).sum(-1).square().clamp(max=1)


def infidelity(rho: Tensor, sigma: Tensor) -> Tensor:
    """1 - fidelity, in [0, 1]."""
    return 1 - fidelity(rho, sigma)


def trace_distance(rho: Tensor, sigma: Tensor) -> Tensor:
    """Half the sum of the absolute eigenvalues of the difference, in [0, 1]."""
    return 0.5 * torch.linalg.eigvalsh(rho - sigma).abs().sum(-1)


def purity(rho: Tensor) -> Tensor:
    """Purity tr rho^2, in [1 / d, 1]."""
    return (rho.real.square() + rho.imag.square()).sum((-2, -1))


def entropy(rho: Tensor) -> Tensor:
    """Von Neumann entropy -tr rho log2 rho in bits, in [0, n] for n qubits."""
    values = torch.linalg.eigvalsh(rho).clamp(min=1e-300)
    return -(values * values.log2()).sum(-1)


def concurrence(rho: Tensor) -> Tensor:
    """Concurrence of two qubits, in [0, 1]; Wootters, PRL 80, 2245 (1998).

    The square roots of the eigenvalues of rho (Y x Y) rho* (Y x Y) are the singular values of the
    symmetric matrix A^T (Y x Y) A with rho = A A^+.
    """
    if rho.shape[-1] != 4:
        raise ValueError(f"concurrence is of two qubits (d = 4), got d = {rho.shape[-1]}")
    flip = kron_all([PAULI[2], PAULI[2]]).to(rho.device)
    a = root(rho)
    values = torch.linalg.svdvals(a.mT @ flip @ a)
    return (2 * values[..., 0] - values.sum(-1)).clamp(0, 1)


def partial_trace(rho: Tensor, keep: Sequence[int]) -> Tensor:
    """State of some of the qubits.

    Parameters
    ----------
    rho : Tensor (..., d, d)
    keep : sequence of int
        Qubits that stay, each once; 0 is the leftmost factor. They come in this order.
    """
    n = n_qubits(rho.shape[-1])
    if len(set(keep)) != len(keep) or not all(0 <= q < n for q in keep):
        raise ValueError(f"expected different qubits from 0 to {n - 1}, got {tuple(keep)}")
    lead = rho.dim() - 2
    rest = [q for q in range(n) if q not in keep]
    order = [*keep, *rest]
    axes = [lead + q for q in order] + [lead + n + q for q in order]
    split = rho.reshape(*rho.shape[:-2], *[2] * (2 * n)).permute(*range(lead), *axes)
    a, b = 1 << len(keep), 1 << len(rest)
    return torch.einsum("...abcb->...ac", split.reshape(*rho.shape[:-2], a, b, a, b))


def random_gaussian(shape: Sequence[int], rng: Generator) -> Tensor:
    """Complex Gaussian numbers of unit variance, complex128."""
    parts = rng.standard_normal((*shape, 2)) * 0.5**0.5
    return torch.view_as_complex(torch.from_numpy(parts))


def random_unitary(n: int, d: int, rng: Generator) -> Tensor:
    """Haar-random unitary matrices (n, d, d); Mezzadri, Notices AMS 54, 592 (2007)."""
    q, r = np.linalg.qr(random_gaussian((n, d, d), rng).numpy())
    # QR leaves the phases of the columns to the algorithm: those of R's diagonal undo that.
    phase = np.diagonal(r, axis1=-2, axis2=-1)
    return torch.from_numpy(q * (phase / np.abs(phase))[:, None, :])
