"""Rows of coincidence tables: what every kind of table is read into."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ...core.operators import PAULI

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

#: Directions on the Bloch sphere that differ by less are the same.
SAME = 1e-4
#: Times, s, and counts that are taken for such.
SHORTEST, LONGEST, MOST = 1e-9, 1e12, float(1 << 53)
#: Purity from which a matrix is taken for a projector.
_PURE = 1 - 1e-6


@dataclass(frozen=True, eq=False)
class Row:
    """One row: `counts` of one projector (1,), or of all outcomes of a basis (2^n,).

    Attributes
    ----------
    line : int
        Number of the row, from 1 on.
    name : str
        Of its states, as "HV"; may be empty.
    seconds : float
    timed : bool
        Whether the time was given.
    counts : ndarray (K,)
    states : ndarray (n, 2, 2)
        Density matrices that the first outcome of each photon stands for; of trace 1.
    singles : ndarray (S,), optional
    intensity : float
        Relative rate of the source.
    detectors : tuple of int, optional
        Numbers of the detectors that were used.
    accidentals : ndarray (K,), optional
        Accidental coincidences expected in the row, where the file says so.
    """

    line: int
    name: str
    seconds: float
    timed: bool
    counts: Floats
    states: Complex
    singles: Floats | None = None
    intensity: float = 1.0
    detectors: tuple[int, ...] | None = None
    accidentals: Floats | None = None

    @property
    def label(self) -> str:
        """Number and name, for messages."""
        return f"row {self.line} ({self.name})" if self.name else f"row {self.line}"

    @property
    def pure(self) -> bool:
        """Whether all its states are pure."""
        return bool(np.einsum("qij,qji->q", self.states, self.states).real.min() > _PURE)

    @property
    def bloch(self) -> Floats:
        """Bloch vectors (n, 3) of its states."""
        found: Floats = np.einsum("aij,qji->qa", PAULI[1:].numpy(), self.states).real
        return found

    @property
    def effect(self) -> Complex:
        """Product of its states, (d, d)."""
        return reduce(np.kron, list(self.states))


@dataclass
class Table:
    """Rows of a file and what it says of its detectors; see `read_coincidences`."""

    source: Path
    rows: list[Row]
    detectors: int = 1
    window: Any = None
    efficiency: Any = None
    crosstalk: Any = None
    rate: Any = None
    remarks: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Photons."""
        return len(self.rows[0].states)

    @property
    def outcomes(self) -> int:
        """Counts of a row, 1 or 2^n."""
        return len(self.rows[0].counts)


def projectors(vectors: NDArray[Any], source: Path, line: int) -> Complex:
    """Density matrices (n, 2, 2) of vectors (n, 2) of any length > 0."""
    if np.abs(vectors).max() > 1e100:
        raise InputError.expected(source, "states of any usual length", f"another in row {line}")
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if norm.min() < 1e-6:
        raise InputError.expected(source, "states of length > 0", f"another in row {line}")
    v = vectors / norm
    return np.asarray(np.einsum("qi,qj->qij", v, v.conj()), np.complex128)


def make_row(
    seconds: complex,
    counts: NDArray[Any],
    states: Complex,
    source: Path,
    line: int,
    singles: NDArray[Any] | None = None,
    **more: Any,
) -> Row:
    """Row of numbers that are checked; InputError otherwise."""
    real = np.concatenate([[seconds], counts])
    if np.abs(real.imag).max() > 0 or counts.real.min() < 0 or not real[0].real > 0:
        raise InputError.expected(
            source, "a time > 0 and counts >= 0", f"{[complex(v) for v in real]} in row {line}"
        )
    if not SHORTEST <= real[0].real <= LONGEST or np.abs(counts).max() > MOST:
        raise InputError.expected(
            source,
            f"times from {SHORTEST:g} to {LONGEST:g} s and counts up to 2^53",
            f"{[v.real for v in real]} in row {line}",
        )
    own = None
    if singles is not None and len(singles):
        if np.abs(singles.imag).max() > 0 or singles.real.min() < 0 or singles.real.max() > MOST:
            raise InputError.expected(
                source, "singles from 0 to 2^53", f"{[complex(v) for v in singles]} in row {line}"
            )
        own = singles.real.astype(np.float64)
    values = counts.real.astype(np.float64)
    more = {"name": "", "timed": True, **more}
    return Row(line, seconds=float(real[0].real), counts=values, states=states, singles=own, **more)


def number(cell: Any, source: Path, line: int) -> complex:
    """A finite number, also of a text as "0.5i"; InputError otherwise."""
    try:
        value = complex(cell.strip().replace("i", "j") if isinstance(cell, str) else cell)
    except (TypeError, ValueError, OverflowError):
        value = complex("nan")
    if isinstance(cell, bool) or not (math.isfinite(value.real) and math.isfinite(value.imag)):
        where = f" in row {line}" if line else ""
        raise InputError.expected(source, "finite numbers", f"{str(cell)[:40]!r}{where}")
    return value


def positive(value: Any, source: Path, what: str, least: float = 0.0) -> Floats:
    """Array of finite real numbers >= `least`; InputError otherwise."""
    try:
        flat = np.asarray(value, dtype=object)
        shape = flat.shape
        numbers = np.array([number(v, source, 0) for v in flat.ravel()], np.complex128)
    except ValueError as error:
        raise InputError.expected(source, what, "lists of different lengths") from error
    real = bool(numbers.size) and np.abs(numbers.imag).max() == 0
    if not real or not least <= numbers.real.min() or numbers.real.max() > MOST:
        raise InputError.expected(source, what, str(value)[:80])
    return numbers.real.reshape(shape)
