"""Algebra of processes: Choi matrices, Pauli transfer matrices, and numbers that follow.

All matrices are complex128 arrays, batched over leading axes. The Choi matrix is
``J = sum_ij |i><j| (x) E(|i><j|)``, input first, of trace d, as qutip's `to_choi` has it; a process
preserves the trace where the partial trace over the output is the identity.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physml.exceptions import InputError

from ..operators import hermitian_basis

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

#: How far a matrix may be from unitary, or from a process.
TOLERANCE = 1e-6
_R = 0.5**0.5
_CX = np.eye(4)[[0, 1, 3, 2]]
#: Gates by name; qubit 0 is the leftmost factor and controls.
GATES: dict[str, Complex] = {
    name: np.asarray(matrix, np.complex128)
    for name, matrix in {
        "i": np.eye(2),
        "x": [[0, 1], [1, 0]],
        "y": [[0, -1j], [1j, 0]],
        "z": [[1, 0], [0, -1]],
        "h": [[_R, _R], [_R, -_R]],
        "s": [[1, 0], [0, 1j]],
        "sdg": [[1, 0], [0, -1j]],
        "t": [[1, 0], [0, np.exp(0.25j * np.pi)]],
        "sx": [[0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j]],
        "ii": np.eye(4),
        "cx": _CX,
        "cnot": _CX,
        "cz": np.diag([1, 1, 1, -1]),
        "swap": np.eye(4)[[0, 2, 1, 3]],
        "iswap": [[1, 0, 0, 0], [0, 0, 1j, 0], [0, 1j, 0, 0], [0, 0, 0, 1]],
    }.items()
}


def choi_of_kraus(kraus: Complex) -> Complex:
    """Choi matrix (..., d^2, d^2) of Kraus operators (..., k, d, d)."""
    columns = np.swapaxes(kraus, -1, -2).reshape(*kraus.shape[:-2], -1)
    return np.asarray(np.swapaxes(columns, -1, -2) @ columns.conj())


def kraus_of_choi(choi: Complex) -> Complex:
    """Kraus operators (..., d^2, d, d), the one of the largest weight first."""
    values, vectors = np.linalg.eigh(choi)
    columns = vectors * np.sqrt(np.clip(values, 0, None))[..., None, :]
    d = side(choi)
    kraus = np.swapaxes(columns, -1, -2).reshape(*choi.shape[:-2], d * d, d, d)
    return np.asarray(np.swapaxes(kraus, -1, -2)[..., ::-1, :, :])


def side(choi: Complex) -> int:
    """Dimension d of the states that a Choi matrix (..., d^2, d^2) acts on."""
    return round(choi.shape[-1] ** 0.5)


def transform(choi: Complex, rho: Complex) -> Complex:
    """States (..., d, d) after the process."""
    d = side(choi)
    j = choi.reshape(*choi.shape[:-2], d, d, d, d)
    return np.asarray(np.einsum("...iajb,...ij->...ab", j, rho))


def output_trace(choi: Complex) -> Complex:
    """Partial trace (..., d, d) over the output; the identity where the trace is preserved."""
    d = side(choi)
    return np.asarray(np.einsum("...iaja->...ij", choi.reshape(*choi.shape[:-2], d, d, d, d)))


@lru_cache(maxsize=4)
def _paulis(d: int) -> Complex:
    return np.asarray(hermitian_basis(d).numpy())


def pauli_transfer(choi: Complex) -> Floats:
    """Pauli transfer matrix (..., d^2, d^2), R_ab = tr P_a E(P_b) / d, in the order II, IX, ..."""
    basis = _paulis(side(choi))
    j = choi.reshape(*choi.shape[:-2], *[len(basis[0])] * 4)
    moved = np.einsum("...iajk,bij->...bak", j, basis)
    return np.asarray(np.einsum("...bak,cka->...cb", moved, basis).real)


def process_fidelity(choi: Complex, unitary: Complex) -> Floats:
    """Overlap of the Choi state with that of a unitary (d, d), in [0, 1]."""
    phi = unitary.T.reshape(-1)
    return np.asarray(np.einsum("i,...ij,j->...", phi.conj(), choi, phi).real / len(phi))


def average_gate_fidelity(choi: Complex, unitary: Complex) -> Floats:
    """Fidelity to a unitary, averaged over pure inputs: (d F + 1) / (d + 1), F of the process.

    M. A. Nielsen, Phys. Lett. A 303, 249 (2002).
    """
    d = len(unitary)
    return (d * process_fidelity(choi, unitary) + 1) / (d + 1)


def unitarity(choi: Complex) -> Floats:
    """Unitarity tr R_u^T R_u / (d^2 - 1), R_u the transfer of traceless operators.

    J. Wallman, C. Granade, R. Harper, S. T. Flammia, New J. Phys. 17, 113020 (2015).
    """
    inner = pauli_transfer(choi)[..., 1:, 1:]
    return np.asarray(np.square(inner).sum((-2, -1)) / inner.shape[-1])


def choi_of_unitary(unitary: Complex) -> Complex:
    """Choi matrix (d^2, d^2) of a unitary."""
    return choi_of_kraus(np.asarray(unitary)[None])


def as_unitary(given: Any, n_qubits: int, place: str = "target=") -> Complex:
    """Unitary (d, d) of a gate's name, an array, or an operator of qutip.

    Raises
    ------
    InputError
        No such gate, or no unitary of that many qubits.
    """
    d = 1 << n_qubits
    if isinstance(given, str):
        if given.lower() not in GATES or len(GATES[given.lower()]) != d:
            names = [name for name, matrix in GATES.items() if len(matrix) == d]
            raise InputError.expected(place, f"one of {', '.join(names)}", repr(given)[:40])
        return GATES[given.lower()]
    try:
        array = np.asarray(given.full() if hasattr(given, "full") else given, np.complex128)
    except (TypeError, ValueError) as error:
        raise InputError.expected(place, "a unitary matrix", repr(given)[:60]) from error
    if array.shape != (d, d):
        raise InputError.expected(place, f"a matrix ({d}, {d})", f"shape {array.shape}")
    far = np.abs(array.conj().T @ array - np.eye(d)).max()
    if not far <= TOLERANCE:
        raise InputError.expected(place, "a unitary matrix", f"one that is off by {far:.2g}")
    return array


def check_choi(given: ArrayLike, place: str = "choi") -> Complex:
    """A Choi matrix, made sure to be one of a trace-preserving process; InputError otherwise."""
    array = np.asarray(given, np.complex128)
    if array.ndim != 2 or array.shape not in ((4, 4), (16, 16)):
        raise InputError.expected(place, "a matrix (4, 4) or (16, 16)", f"shape {array.shape}")
    if not np.isfinite(array).all() or np.abs(array - array.conj().T).max() > TOLERANCE:
        raise InputError.expected(place, "a Hermitian matrix of finite numbers", "another")
    lowest = float(np.linalg.eigvalsh(array)[0])
    if lowest < -TOLERANCE:
        raise InputError.expected(place, "a positive matrix", f"an eigenvalue of {lowest:.2g}")
    far = np.abs(output_trace(array) - np.eye(side(array))).max()
    if far > TOLERANCE:
        raise InputError.expected(
            place, "tr_out J = 1 (input first, trace d)", f"one that is off by {far:.2g}"
        )
    return array
