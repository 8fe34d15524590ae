"""Limits that physics sets: asymptotic lines of the mean infidelity against the number of copies.

For many copies N an efficient estimate has 1 - F = tr(G I^-1) / N with the Bures metric G and the
Fisher information I of one copy. Bayesian estimates may be better than the lines at finite N near
the boundary of the states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .basis_choice import infidelity_metric
from .likelihood import fisher_information
from .operators import to_coordinates

Floats = NDArray[np.float64]

#: N times the infidelity, median over an ensemble of two-qubit states, as measured by
#: benchmarks/tomography_limits.py: the best set of bases and of product bases for each of 40
#: states, with the best shares of copies; two fixed sets with equal shares, of 5,000 states. Of the
#: states of an ensemble the middle half spans a factor of 2 (HS) to 7 (Bures, fixed sets).
TWO_QUBITS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "hs": {"any basis": 20.6, "product bases": 40.5, "MUB": 39.7, "Pauli": 50.7},
        "bures": {"any basis": 20.8, "product bases": 84.7, "MUB": 113.0, "Pauli": 142.0},
        "pure_white_1": {"any basis": 21.2, "product bases": 51.5, "MUB": 580.0, "Pauli": 623.0},
    }
)

#: Pure qubits measured along X, Y, Z: the infidelity falls as this over sqrt N.
STATIC_PURE_QUBIT = 0.21


def gill_massar(d: int, copies: ArrayLike) -> Floats:
    """Least mean infidelity of full-rank states, copies measured one by one.

    (d^2 - 1)(d + 1) / 4N; Gill, Massar, PRA 61, 042312 (2000).
    """
    return (d * d - 1) * (d + 1) / (4 * np.asarray(copies, np.float64))


def gill_massar_pure(d: int, copies: ArrayLike) -> Floats:
    """As `gill_massar`, where the state is known to be pure: (d - 1) / N."""
    return (d - 1) / np.asarray(copies, np.float64)


def holevo(rho: Tensor, copies: ArrayLike = 1) -> Floats:
    """Least infidelity where all copies are measured together.

    ``[d^2 - 1 + 2 sum_{j<k} |l_j - l_k| / (l_j + l_k)] / 4N`` with the eigenvalues l.

    Parameters
    ----------
    rho : Tensor (S, d, d)
    copies : array (m,) or number

    Returns
    -------
    ndarray (S, m), or (S,)
    """
    values = torch.linalg.eigvalsh(rho).numpy()
    values[values < 1e-14] = 0  # rounding errors, whose ratios would mean nothing
    d = values.shape[-1]
    j, k = np.triu_indices(d, 1)
    total = values[:, j] + values[:, k]
    gap = np.abs(values[:, j] - values[:, k])
    # Of two eigenvalues that are both 0 nothing is to be told apart.
    ratio = np.divide(gap, total, out=np.zeros_like(gap), where=total > 0)
    least = (d * d - 1 + 2 * ratio.sum(-1)) / 4
    n = np.asarray(copies, np.float64)
    return least[:, None] / n if n.ndim else least / n


def static_xyz(length: ArrayLike, copies: ArrayLike) -> Floats:
    """One qubit measured along X, Y, Z with N / 3 copies each, mean over directions.

    (3 / 4N) [3 - r^2 + (r^2 - 3 r^4 / 5) / (1 - r^2)] for Bloch length r < 1; it diverges at r = 1.
    """
    r2 = np.asarray(length, np.float64) ** 2
    with np.errstate(divide="ignore"):
        pole = (r2 - 0.6 * r2**2) / (1 - r2)
    return 3 / (4 * np.asarray(copies, np.float64)) * (3 - r2 + pole)


def lines(name: str, n_qubits: int) -> dict[str, Callable[[ArrayLike], Floats]]:
    """Reference lines of an ensemble for a plot: name -> function of the number of copies.

    For ensembles that are not in `TWO_QUBITS` only the general limits are known.
    """
    d = 1 << n_qubits
    out: dict[str, Callable[[ArrayLike], Floats]] = {}
    if name in ("pure", "r_1"):
        out["Gill-Massar, known pure"] = lambda copies: gill_massar_pure(d, copies)
        if n_qubits == 1:
            out["static X, Y, Z"] = lambda n: STATIC_PURE_QUBIT / np.sqrt(np.asarray(n, np.float64))
        return out
    out["Gill-Massar"] = lambda copies: gill_massar(d, copies)
    if n_qubits == 1 and name.startswith("r_"):
        r = float(name[2:])
        out["Holevo, collective"] = lambda n: (3 + 2 * r) / (4 * np.asarray(n, np.float64))
        out["static X, Y, Z"] = lambda copies: static_xyz(r, copies)
    if n_qubits == 2 and name in TWO_QUBITS:
        for design, value in TWO_QUBITS[name].items():
            out[design] = lambda n, v=value: v / np.asarray(n, np.float64)  # type: ignore[misc]
    return out


def asymptotic(
    settings: Sequence[Tensor] | Tensor, rho: Tensor, shares: ArrayLike | None = None
) -> Tensor:
    """N times the infidelity, for large N, of a fixed list of settings.

    Parameters
    ----------
    settings : sequence of Tensor (k, d, d)
    rho : Tensor (S, d, d)
        Full rank.
    shares : array, optional
        Shares of the copies of each setting; equal by default.

    Returns
    -------
    Tensor (S,)
    """
    share = np.full(len(settings), 1 / len(settings)) if shares is None else np.asarray(shares)
    parts, x = zip(settings, share / share.sum(), strict=True), to_coordinates(rho)
    total = sum(
        float(s) * fisher_information(to_coordinates(effects), 1.0, x) for effects, s in parts
    )
    solved = torch.linalg.solve(torch.as_tensor(total), infidelity_metric(rho))
    return torch.diagonal(solved, dim1=-2, dim2=-1).sum(-1)
