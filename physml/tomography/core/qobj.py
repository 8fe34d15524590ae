"""States to and from qutip's objects, arrays and tensors, with the checks that they are states.

Qubit 0 is the leftmost factor, here as in qutip.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physml.exceptions import InputError

from .operators import n_qubits

if TYPE_CHECKING:
    import qutip

#: How far a density matrix may be from Hermitian, positive and of trace one.
TOLERANCE = 1e-6


def check_state(rho: ArrayLike | Tensor, d: int | None = None, place: str = "state") -> Tensor:
    """A density matrix or a vector as a density matrix (d, d), complex128.

    Parameters
    ----------
    rho : array or Tensor (d, d), (d,), or (d, 1)
    d : int, optional
        The dimension it has to have.
    place : str
        What to call it in errors.

    Raises
    ------
    InputError
        Not finite, not a state, or of another dimension.
    """
    array = rho.detach().cpu().numpy() if isinstance(rho, Tensor) else np.asarray(rho)
    if array.dtype.kind not in "biufc":
        raise InputError.expected(place, "numbers", f"type {array.dtype}")
    array = array.astype(np.complex128)
    if not np.isfinite(array).all():
        raise InputError.expected(place, "finite numbers", "NaN or infinity")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1:
        array = array[:, None] * array.conj()
    size = array.shape[0] if array.ndim == 2 else 0
    if array.ndim != 2 or array.shape[1] != size or size < 2 or size & (size - 1):
        raise InputError.expected(place, "a matrix of 2^n rows", f"shape {np.shape(rho)}")
    if d is not None and size != d:
        raise InputError.expected(
            place, f"{n_qubits(d)} qubits (d = {d})", f"{n_qubits(size)} (d = {size})"
        )
    hermitian = 0.5 * (array + array.conj().T)
    lowest = np.linalg.eigvalsh(hermitian)[0]
    if np.abs(array - hermitian).max() > TOLERANCE:
        raise InputError.expected(place, "a Hermitian matrix", "another")
    if abs(np.trace(hermitian) - 1) > TOLERANCE:
        raise InputError.expected(place, "trace 1", f"{np.trace(hermitian).real:.6g}")
    if lowest < -TOLERANCE:
        raise InputError.expected(place, "a positive matrix", f"an eigenvalue of {lowest:.3g}")
    return torch.from_numpy(hermitian)


def to_qutip(rho: Tensor | ArrayLike) -> qutip.Qobj:
    """Density matrix (d, d) as a qutip object of n qubits."""
    import qutip

    array = rho.detach().cpu().numpy() if isinstance(rho, Tensor) else np.asarray(rho)
    return qutip.Qobj(array, dims=_dimensions(n_qubits(array.shape[-1])))


@lru_cache(maxsize=16)
def _dimensions(n: int) -> Any:
    """Dimensions [[2] * n, [2] * n]: parsing the lists anew takes longer than all the rest."""
    from qutip.core.dimensions import Dimensions

    return Dimensions([[2] * n, [2] * n])


def as_density_matrix(given: Any, n_qubits: int, place: str = "target=") -> Tensor:
    """State (d, d) of qutip's object, of an array or of a tensor.

    Parameters
    ----------
    given : Qobj, array or Tensor
        A ket, a bra or a density matrix; (d, d), or a vector (d,) of any length but zero.
    n_qubits : int
    place : str
        What to call it in errors.

    Raises
    ------
    InputError
        It is no state of that many qubits.
    """
    d = 1 << n_qubits
    if hasattr(given, "full"):  # qutip, without importing it
        kind = str(getattr(given, "type", type(given).__name__))
        if kind not in ("ket", "bra", "oper"):
            raise InputError.expected(place, "a ket, a bra or a density matrix", kind)
        return check_state(given.full().conj().T if kind == "bra" else given.full(), d, place)
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    try:
        array = np.asarray(given, np.complex128)
    except (TypeError, ValueError) as error:
        raise InputError.expected(place, "a state", repr(given)[:60]) from error
    if array.ndim == 1 and np.isfinite(array).all():
        norm = np.linalg.norm(array)
        if norm == 0:
            raise InputError.expected(place, "a vector that is not zero", "zero")
        array = array / norm
    return check_state(array, d, place)
