"""Real coordinates of Hermitian matrices in the frame of a state, and scaled by it.

Matrix units serve as the basis: d diagonal elements, then sqrt 2 times the real parts above the
diagonal, then sqrt 2 times the imaginary parts. tr A B is the dot product of the coordinates.
Unlike in the Pauli basis, an element of the vector is an element of the matrix in the eigenframe,
so eigenvalues and coherences between pairs of eigenvectors can be told apart.

With rho = U diag(l) U^+, an increment U sqrt(l) Y sqrt(l) U^+ has *scaled* coordinates y = vec Y:
the barrier -log det has the identity as its Hessian there, and rho + increment is positive as long
as 1 + Y is.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def pairs(d: int) -> tuple[Tensor, Tensor]:
    """Indices j < k of the elements above the diagonal, each (d (d - 1) / 2,)."""
    j, k = torch.triu_indices(d, d, 1)
    return j, k


def vec(matrix: Tensor) -> Tensor:
    """Coordinates (..., d * d), float64, of Hermitian matrices (..., d, d)."""
    j, k = pairs(matrix.shape[-1])
    above = matrix[..., j, k] * math.sqrt(2)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    return torch.cat([diagonal.real, above.real, above.imag], -1)


def unvec(x: Tensor) -> Tensor:
    """Hermitian matrices (..., d, d) of coordinates (..., d * d)."""
    d = math.isqrt(x.shape[-1])
    return (x.to(torch.complex128) @ _units(d)).reshape(*x.shape[:-1], d, d)


@lru_cache(maxsize=16)
def _units(d: int) -> Tensor:
    """Matrix of each coordinate, flat: (d * d, d * d) complex128."""
    j, k = pairs(d)
    m = len(j)
    units = torch.zeros(d * d, d, d, dtype=torch.complex128)
    one = torch.arange(d)
    units[one, one, one] = 1
    at = torch.arange(m)
    half = math.sqrt(0.5)
    units[d + at, j, k] = units[d + at, k, j] = half
    turned = torch.tensor(1j * half, dtype=units.dtype)
    units[d + m + at, j, k], units[d + m + at, k, j] = turned, -turned
    return units.flatten(1)


def rotation(vectors: Tensor) -> Tensor:
    """Orthogonal matrices Q (..., d * d, d * d) with vec(U H U^+) = Q vec(H).

    Parameters
    ----------
    vectors : Tensor (..., d, d)
        Unitary U; its columns are the vectors of the frame.
    """
    j, k = pairs(vectors.shape[-1])
    columns = vectors.mT
    own = columns[..., :, :, None] * columns[..., :, None, :].conj()
    cross = columns[..., j, :, None] * columns[..., k, None, :].conj()
    # vec is real-linear in Hermitian matrices only: real and imaginary unit are made first.
    half = math.sqrt(0.5)
    real = (cross + cross.mH) * half
    imaginary = (cross - cross.mH) * (1j * half)
    return vec(torch.cat([own, real, imaginary], -3)).mT


def scales(values: Tensor) -> Tensor:
    """Elements per unit of scaled coordinates, sqrt(l_j l_k): (..., d) to (..., d * d)."""
    j, k = pairs(values.shape[-1])
    above = (values[..., j] * values[..., k]).sqrt()
    return torch.cat([values, above, above], -1)


def scaled_metric(values: Tensor) -> Tensor:
    """Diagonal of the metric: 1 - F = sum_a h_a y_a^2, to second order; (..., d * d).

    In the eigenframe the infidelity is ``sum_jk |delta_jk|^2 / (2 (l_j + l_k))``; see
    Huebner, Phys. Lett. A 163, 239 (1992).
    """
    j, k = pairs(values.shape[-1])
    one, other = values[..., j], values[..., k]
    above = one * other / (one + other) / 2
    return torch.cat([values / 4, above, above], -1)
