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
    return (x.to(torch.complex128) @ _units(d).to(x.device)).reshape(*x.shape[:-1], d, d)


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
    d = vectors.shape[-1]
    first, second, weight, units = _turned(d)
    # Elements on and above the diagonal of U H U^+, for all matrix units H that are not Hermitian.
    left = vectors.index_select(-2, first)
    right = vectors.index_select(-2, second).conj() * weight[:, None]
    product = torch.view_as_real(left[..., :, None] * right[..., None, :]).flatten(-3)
    out = (product @ units).unflatten(-1, (2, d * d))
    return torch.cat([out[..., 0, :], out[..., d:, 1, :]], -2)


@lru_cache(maxsize=16)
def _turned(d: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Constants of `rotation`.

    Rows and columns of the elements on, then above the diagonal; their factors in `vec`; and the
    matrix (2 d * d, 2 d * d) from the (re, im) pairs of ``U_ia U*_jb`` to the real, then the
    imaginary parts of element i, j of U H U^+ for the unit H of each coordinate.
    """
    j, k = pairs(d)
    one = torch.arange(d)
    first, second = torch.cat([one, j]), torch.cat([one, k])
    weight = torch.full((len(first),), math.sqrt(2), dtype=torch.complex128)
    weight[:d] = 1
    units = _units(d).T
    # re = z_re h_re - z_im h_im; im = z_re h_im + z_im h_re
    of_real = torch.cat([units.real, units.imag], 1)
    of_imaginary = torch.cat([-units.imag, units.real], 1)
    return first, second, weight, torch.stack([of_real, of_imaginary], 1).flatten(0, 1)


def scales(values: Tensor) -> Tensor:
    """Elements per unit of scaled coordinates, sqrt(l_j l_k): (..., d) to (..., d * d)."""
    j, k = pairs(values.shape[-1])
    above = (values[..., j] * values[..., k]).sqrt()
    return torch.cat([values, above, above], -1)


def metric(values: Tensor) -> Tensor:
    """As `scaled_metric`, for coordinates that are not scaled."""
    j, k = pairs(values.shape[-1])
    above = 0.5 / (values[..., j] + values[..., k])
    return torch.cat([0.25 / values, above, above], -1)


def scaled_metric(values: Tensor) -> Tensor:
    """Diagonal of the metric: 1 - F = sum_a h_a y_a^2, to second order; (..., d * d).

    In the eigenframe the infidelity is ``sum_jk |delta_jk|^2 / (2 (l_j + l_k))``; see
    Huebner, Phys. Lett. A 163, 239 (1992).
    """
    j, k = pairs(values.shape[-1])
    one, other = values[..., j], values[..., k]
    above = one * other / (one + other) / 2
    return torch.cat([values / 4, above, above], -1)
