"""Measurements that do not adapt: Pauli bases, SIC, mutually unbiased bases, pairwise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from .operators import PAULI, kron_all

#: Names of the three axes, in the order of `BASES`.
AXES = "XYZ"

#: Eigenvectors of X, Y, Z in columns, that of +1 first: (3, 2, 2).
BASES = torch.tensor(
    [
        [[0.5**0.5, 0.5**0.5], [0.5**0.5, -(0.5**0.5)]],
        [[0.5**0.5, 0.5**0.5], [0.5**0.5 * 1j, -(0.5**0.5) * 1j]],
        [[1, 0], [0, 1]],
    ],
    dtype=torch.complex128,
)

#: Bloch vectors of a regular tetrahedron, one along +Z.
_TETRAHEDRON = torch.tensor(
    [
        [0, 0, 1],
        [8**0.5 / 3, 0, -1 / 3],
        [-(2**0.5) / 3, (2 / 3) ** 0.5, -1 / 3],
        [-(2**0.5) / 3, -((2 / 3) ** 0.5), -1 / 3],
    ],
    dtype=torch.float64,
)

#: A vector whose 16 images under shift and clock of Z_4 have equal overlaps of 1/5. It was found by
#: least squares on the overlaps, which hold to the last digit.
_FIDUCIAL = (
    0.7502848558532067,
    0.06890996895949703 + 0.48079909639623813j,
    0.2980292031827012 + 0.2680634754635478j,
    0.19915350650405095 - 0.028543443725732698j,
)

#: The 15 products of Pauli matrices in five sets of three that commute; two of each are named, the
#: third is their product. The joint eigenbases are mutually unbiased.
_COMMUTING = (("ZI", "IZ"), ("XI", "IX"), ("YI", "IY"), ("XY", "YZ"), ("YX", "ZY"))


def tensor_effects(factors: Sequence[Tensor]) -> Tensor:
    """All products of effects of each party: (k_q, d_q, d_q) each to (prod k, prod d, prod d)."""
    out = factors[0]
    for factor in factors[1:]:
        d = out.shape[-1] * factor.shape[-1]
        grid = torch.einsum("kab,lcd->klacbd", out, factor)
        out = grid.reshape(len(out) * len(factor), d, d)
    return out


@lru_cache(maxsize=16)
def sic_effects(n: int, joint: bool = False) -> Tensor:
    """Symmetric informationally complete effects; do not change them in place.

    Renes et al., J. Math. Phys. 45, 2171 (2004).

    Parameters
    ----------
    n : int
        Number of qubits.
    joint : bool
        For two qubits: the SIC of d = 4, with the shift and clock matrices of Z_4, which measures
        both together. Otherwise the tetrahedron on each qubit.

    Returns
    -------
    Tensor (4^n, d, d)
    """
    if n < 1 or (joint and n > 2):
        raise ValueError(f"expected {'1 or 2 qubits' if joint else 'at least 1 qubit'}, got {n}")
    if joint and n == 2:
        return _shift_clock_sic()
    one = 0.25 * (PAULI[0] + torch.einsum("ka,aij->kij", _TETRAHEDRON.to(PAULI), PAULI[1:]))
    return tensor_effects([one] * n)


def _shift_clock_sic() -> Tensor:
    psi = torch.tensor(_FIDUCIAL, dtype=torch.complex128)
    phase = torch.tensor([1, 1j, -1, -1j], dtype=torch.complex128)
    rows = [torch.roll(phase**b * psi, a) for a in range(4) for b in range(4)]
    vectors = torch.stack(rows) / psi.norm()
    return 0.25 * vectors.unsqueeze(-1) * vectors.conj().unsqueeze(-2)


@lru_cache(maxsize=16)
def mub_bases(n: int) -> Tensor:
    """Mutually unbiased bases in columns, (d + 1, d, d); 1 or 2 qubits.

    For one qubit X, Y, Z; for two the product bases ZZ, XX, YY and two of entangled vectors.
    Bandyopadhyay et al., Algorithmica 34, 512 (2002). Do not change them in place.
    """
    if n == 1:
        return BASES
    if n != 2:
        raise ValueError(f"mutually unbiased bases are made for 1 or 2 qubits, got {n}")
    matrices = dict(zip("IXYZ", PAULI, strict=True))
    out = []
    for first, second in _COMMUTING:
        a, b = (kron_all([matrices[p] for p in name]) for name in (first, second))
        # Eigenvalues -3, -1, 1, 3: no two are the same, so that the vectors are those of both.
        vectors = torch.linalg.eigh(-2 * a - b).eigenvectors
        # Their phases are the library's choice; the first entry that is not small is made real.
        pivot = (vectors.abs() > 0.1).to(torch.int8).argmax(0, keepdim=True)
        entry = vectors.gather(0, pivot)
        out.append(vectors * (entry.conj() / entry.abs()))
    return torch.stack(out)


@lru_cache(maxsize=16)
def pairwise_effects(n: int) -> Tensor:
    """Basis states and their superpositions in pairs, as one measurement of 2 d^2 - d outcomes.

    The effects are ``|j><j|`` (d of them), then for each pair j < k the projectors onto
    ``(|j> + s |k>) / sqrt 2`` with s = 1, -1, i, -i, all over 2 d - 1. For one qubit these are the
    six outcomes of X, Y and Z chosen at random. Do not change them in place.

    Returns
    -------
    Tensor (2 d^2 - d, d, d)
    """
    d = 1 << n
    vectors = [torch.eye(d, dtype=torch.complex128)]
    for j in range(d):
        for k in range(j + 1, d):
            pair = torch.zeros(4, d, dtype=torch.complex128)
            pair[:, j] = 0.5**0.5
            pair[:, k] = 0.5**0.5 * torch.tensor([1, -1, 1j, -1j], dtype=torch.complex128)
            vectors.append(pair)
    rows = torch.cat(vectors)
    return rows.unsqueeze(-1) * rows.conj().unsqueeze(-2) / (2 * d - 1)
