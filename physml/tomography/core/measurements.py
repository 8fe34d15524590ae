"""Measurements: what a laboratory is told to do, and the effects that follow from it.

Functions that end in `effects` or `basis` work on complex128 tensors and are batched; the others
make instances of `Setting`. Outcome k of a product measurement has the outcomes of the qubits as
its binary digits, qubit 0 first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from physml.exceptions import InputError

from .basis import basis_effects
from .fixed_measurements import AXES, BASES, mub_bases, pairwise_effects, sic_effects
from .operators import kron_all, n_qubits

Complex = NDArray[np.complex128]

#: More are refused: the effects of a product basis are 8^n numbers.
LARGEST_QUBITS = 6

#: Counts up to here are exact as float64.
MAX_COUNT = 1 << 53

#: How far effects may be from Hermitian, positive and complete.
TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class Setting:
    """One measurement.

    Attributes
    ----------
    effects : ndarray (k, d, d), complex128
        Positive matrices that sum to the identity.
    shots : int
        Copies to be measured.
    id : str
        Name of this measurement; counts are recorded under it, once.
    local : ndarray (n, 2, 2), complex128, or None
        Where each qubit is measured by itself: unitaries whose columns are its basis vectors. The
        laboratory applies the conjugate transpose of each, then measures 0 and 1.
    outcomes : tuple of str
        Names of the k outcomes.
    basis : ndarray (d, d), complex128, or None
        Where the effects project onto a basis: its vectors in the columns.
    """

    effects: Complex
    shots: int
    id: str = ""
    local: Complex | None = None
    outcomes: tuple[str, ...] = ()
    basis: Complex | None = None

    def __post_init__(self) -> None:
        if not self.outcomes:
            object.__setattr__(self, "outcomes", outcome_names(*self.effects.shape[:2]))

    @property
    def dimension(self) -> int:
        """Dimension d of the states that are measured."""
        return int(self.effects.shape[-1])

    def to_dict(self) -> dict[str, Any]:
        """Setting as JSON can hold it; complex numbers are pairs [real, imaginary].

        Effects of a basis are left out: they follow from it.
        """
        out: dict[str, Any] = {
            "id": self.id,
            "shots": int(self.shots),
            "outcomes": list(self.outcomes),
        }
        if self.local is not None:
            out["local"] = _pairs(self.local)
        elif self.basis is not None:
            out["basis"] = _pairs(self.basis)
        else:
            out["effects"] = _pairs(self.effects)
        return out

    @classmethod
    def from_dict(cls, data: Any) -> Setting:
        """The setting of `to_dict`, checked; InputError for anything else."""
        if not isinstance(data, dict):
            raise InputError.expected("setting", "an object", type(data).__name__)
        name, shots = data.get("id", ""), data.get("shots")
        if not isinstance(name, str):
            raise InputError.expected("setting", "a string as id", repr(name))
        place = f"setting {name!r}"
        if not isinstance(shots, int):
            raise InputError.expected(place, "shots, a whole number", repr(shots)[:80])
        shots = check_shots(shots, f"{place}, shots", 0)
        local = basis = None
        if "local" in data:
            local = check_unitary(_complex(data["local"], 3, place), place)
            _check_local(local, place)
            basis = local_basis(local)
        elif "basis" in data:
            basis = check_unitary(_complex(data["basis"], 2, place), place)
        if basis is not None:
            effects = np.einsum("ik,jk->kij", basis, basis.conj())
        elif "effects" in data:
            effects = check(_complex(data["effects"], 3, place), place)
        else:
            raise InputError.expected(place, "one of local, basis, effects", "none of them")
        outcomes = data.get("outcomes") or outcome_names(*effects.shape[:2])
        if (
            not isinstance(outcomes, (list, tuple))
            or not all(isinstance(o, str) for o in outcomes)
            or len(set(outcomes)) != len(effects)
            or len(outcomes) != len(effects)
        ):
            raise InputError.expected(
                place, f"different names of {len(effects)} outcomes", f"{str(outcomes)[:80]!r}"
            )
        return cls(effects, shots, name, local, tuple(outcomes), basis)


def check_shots(shots: Any, place: str = "shots=", least: int = 1) -> int:
    """Number of copies as an integer; InputError otherwise.

    Parameters
    ----------
    shots : int
        Or another number that is whole.
    place : str
        Name in errors.
    least : int
        Smallest number.
    """
    whole = isinstance(shots, int | float | np.integer | np.floating) and shots == shots // 1
    if isinstance(shots, bool) or not whole or not least <= shots <= MAX_COUNT:
        raise InputError.expected(
            place, f"a whole number from {least} to {MAX_COUNT}", repr(shots)[:80]
        )
    return int(shots)


def check(effects: ArrayLike, place: str = "effects") -> Complex:
    """Effects as an array (k, d, d), made sure to be a measurement.

    Raises
    ------
    InputError
        Where they are not finite, not Hermitian, not positive, or do not sum to the identity
        (`TOLERANCE`), or where d is no power of two.
    """
    array = np.asarray(effects)
    if array.ndim != 3 or array.shape[1] != array.shape[2] or array.shape[0] < 1:
        raise InputError.expected(place, "effects of shape (k, d, d)", f"shape {array.shape}")
    d = array.shape[1]
    if d < 2 or d & (d - 1) or d > 1 << LARGEST_QUBITS:
        raise InputError.expected(
            place, f"a dimension of 2, 4, 8, ... {1 << LARGEST_QUBITS}", f"d = {d}"
        )
    if array.dtype.kind not in "biufc":
        raise InputError.expected(place, "complex numbers", f"numbers of type {array.dtype}")
    array = array.astype(np.complex128)
    if not np.isfinite(array).all():
        raise InputError.expected(place, "finite numbers", "NaN or infinity")
    skew = np.abs(array - array.conj().swapaxes(-1, -2)).max()
    if skew > TOLERANCE:
        raise InputError.expected(place, "Hermitian effects", f"one that is off by {skew:.2g}")
    lowest = np.linalg.eigvalsh(array).min(-1)
    if lowest.min() < -TOLERANCE:
        raise InputError.expected(
            place,
            "positive effects",
            f"an eigenvalue of {lowest.min():.2g} in effect {int(lowest.argmin())}",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        gap = np.abs(array.sum(0) - np.eye(d)).max()
    if not gap <= TOLERANCE:
        raise InputError.expected(
            place, "effects that sum to the identity", f"a sum that is off by {gap:.2g}"
        )
    return 0.5 * (array + array.conj().swapaxes(-1, -2))


def check_unitary(matrices: ArrayLike, place: str = "basis") -> Complex:
    """Unitary matrices (..., m, m), m a power of two; InputError where they are not."""
    array = np.asarray(matrices, np.complex128)
    m = array.shape[-1] if array.ndim >= 2 else 0
    if array.ndim < 2 or array.shape[-2] != m or m < 2 or m & (m - 1) or not array.size:
        raise InputError.expected(place, "square matrices of 2, 4, 8, ...", f"shape {array.shape}")
    if m > 1 << LARGEST_QUBITS:
        raise InputError.expected(place, f"at most {LARGEST_QUBITS} qubits", f"d = {m}")
    with np.errstate(over="ignore", invalid="ignore"):
        gap = np.abs(array.conj().swapaxes(-1, -2) @ array - np.eye(m)).max()
    if not gap <= TOLERANCE:
        raise InputError.expected(place, "orthonormal columns", f"products off by {gap:.2g}")
    return array


def pauli_local(n: int) -> Tensor:
    """Local bases of all strings of X, Y, Z, in this order: (3^n, n, 2, 2)."""
    return torch.stack([torch.stack(list(axes)) for axes in product(BASES, repeat=n)])


def pauli_effects(n: int) -> Tensor:
    """Projectors of all Pauli settings: (3^n, 2^n, d, d)."""
    return basis_effects(kron_all(pauli_local(n)))


def local_basis(local: ArrayLike) -> Complex:
    """Joint basis (d, d), in columns, of local ones (n, 2, 2)."""
    return cast("Complex", kron_all(torch.as_tensor(np.asarray(local, np.complex128))).numpy())


def product_setting(
    local: ArrayLike | Tensor, shots: int, id: str = "", outcomes: Sequence[str] = ()
) -> Setting:
    """Measure each qubit in a basis of its own; `local` is (n, 2, 2), bases in columns."""
    array = check_unitary(_array(local), "local=")
    _check_local(array, "local=")
    basis = local_basis(array)
    effects = np.einsum("ik,jk->kij", basis, basis.conj())
    return Setting(effects, check_shots(shots, least=0), id, array, tuple(outcomes), basis)


def global_setting(
    unitary: ArrayLike | Tensor, shots: int, id: str = "", outcomes: Sequence[str] = ()
) -> Setting:
    """Measure all qubits together in the basis in the columns of `unitary` (d, d)."""
    basis = check_unitary(_array(unitary), "unitary=")
    if basis.ndim != 2:
        raise InputError.expected("unitary=", "one matrix (d, d)", f"shape {basis.shape}")
    effects = np.einsum("ik,jk->kij", basis, basis.conj())
    return Setting(effects, check_shots(shots, least=0), id, None, tuple(outcomes), basis)


def from_effects(
    effects: ArrayLike | Tensor, shots: int, id: str = "", outcomes: Sequence[str] = ()
) -> Setting:
    """Any measurement, given as its effects (k, d, d)."""
    checked = check(_array(effects))
    if outcomes and len(outcomes) != len(checked):
        raise InputError.expected(
            "outcomes=", f"names of {len(checked)} outcomes", f"{len(outcomes)} names"
        )
    return Setting(checked, check_shots(shots, least=0), id, None, tuple(outcomes))


@lru_cache(maxsize=4096)
def pauli_setting(label: str) -> Setting:
    """Setting of a string of X, Y, Z, qubit 0 first, which is its id; of one copy."""
    return product_setting(BASES[[AXES.index(axis) for axis in label]], 1, label)


def pauli_settings(n: int, shots: int = 1) -> list[Setting]:
    """All strings of X, Y, Z; the string is the id, for instance "XZ"."""
    labels = map("".join, product(AXES, repeat=n))
    return [replace(pauli_setting(label), shots=check_shots(shots, least=0)) for label in labels]


def sic(n: int, shots: int = 1, joint: bool = False, id: str = "") -> Setting:
    """SIC measurement: a tetrahedron on each qubit, or (joint, n = 2) that of d = 4."""
    return from_effects(sic_effects(n, joint), shots, id or ("SIC4" if joint else "SIC"))


def mub(n: int, shots: int = 1) -> list[Setting]:
    """Mutually unbiased bases of 1 or 2 qubits, "MUB0" to "MUBd"."""
    return [global_setting(u, shots, f"MUB{i}") for i, u in enumerate(mub_bases(n))]


def pairwise(n: int, shots: int = 1, id: str = "pairwise") -> Setting:
    """Basis states and superpositions of all pairs of them; see `pairwise_effects`."""
    return from_effects(pairwise_effects(n), shots, id)


def outcome_names(k: int, d: int) -> tuple[str, ...]:
    """Binary digits where there are as many outcomes as basis states, else numbers."""
    if k == d and d & (d - 1) == 0:
        return tuple(format(i, f"0{n_qubits(d)}b") for i in range(k))
    return tuple(str(i) for i in range(k))


def _check_local(array: Complex, place: str) -> None:
    if array.ndim != 3 or array.shape[-1] != 2 or len(array) > LARGEST_QUBITS:
        raise InputError.expected(
            place, f"bases of shape (n, 2, 2), n <= {LARGEST_QUBITS}", f"shape {array.shape}"
        )


def _array(x: ArrayLike | Tensor) -> NDArray[Any]:
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)


def _pairs(x: Complex) -> list[Any]:
    return cast("list[Any]", np.stack([x.real, x.imag], -1).tolist())


def _complex(data: Any, ndim: int, place: str) -> Complex:
    try:
        array = np.asarray(data, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(())
    if array.ndim != ndim + 1 or array.shape[-1] != 2 or not array.size:
        raise InputError.expected(
            place, f"{ndim} axes of pairs [real, imaginary]", f"an array of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise InputError.expected(place, "finite numbers", "NaN or infinity")
    return cast("Complex", array[..., 0] + 1j * array[..., 1])
