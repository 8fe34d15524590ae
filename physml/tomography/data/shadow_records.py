"""Shots of many qubits, each in a product basis: for observables without a density matrix.

CSV, a line for each shot, or for each outcome with its counts (qubit 0 is the first letter)::

    axes,outcome            axes,outcome,counts
    XZZY,0110               XZZY,0110,3

or wide as for states (`records_csv`). JSON is an object with ``measurements``, each with ``axes``,
or with ``local``, the basis of each qubit as a matrix of pairs [real, imaginary] whose columns are
its vectors, and with ``counts`` by outcome, or one ``outcome``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.measurements import MAX_COUNT, check_unitary
from .json_file import measurement_list, read_json_or_csv

MAX_BYTES = 1 << 30
#: More qubits than anybody has; what is computed grows with the observables only.
MAX_QUBITS = 1000
_AXES = ("axes", "basis", "setting")
_COUNTS = ("counts", "count")
_VECTORS = np.eye(3)


@dataclass(frozen=True, eq=False)
class ShadowRecords:
    """Outcomes of product measurements.

    Attributes
    ----------
    bloch : ndarray (M, n, 3)
        Bloch vector of each qubit's outcome, one row for each outcome of each measurement.
    counts : ndarray (M,), int64
        How often.
    measurement : ndarray (M,), int64
        Number of the measurement, which is one choice of bases.
    axes : ndarray (M, n), int64, or None
        Pauli axis of each qubit (0, 1, 2 for X, Y, Z); None where a basis is another.
    name : str
    files : dict
    remarks : list of str
    """

    bloch: NDArray[np.float64]
    counts: NDArray[np.int64]
    measurement: NDArray[np.int64]
    axes: NDArray[np.int64] | None = None
    name: str = "records"
    files: dict[str, Path] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self.bloch.shape[1]

    @property
    def copies(self) -> int:
        """All counts."""
        return int(self.counts.sum())

    @property
    def signs(self) -> NDArray[np.float64]:
        """Outcome of each qubit as +1 and -1, (M, n); of Pauli measurements."""
        assert self.axes is not None
        return np.take_along_axis(self.bloch, self.axes[..., None], -1)[..., 0]


def load_shadow_records(path: str | PathLike[str]) -> ShadowRecords:
    """Read CSV or JSON, told apart by the content.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        For everything that is not as it has to be.
    """
    return read_json_or_csv(path, "a file of shots", MAX_BYTES, shadow_records_from, _read_csv)


class _Rows:
    """Outcomes as they are read."""

    def __init__(self, place: str) -> None:
        self.place, self.n = place, 0
        self.bases: list[Any] = []
        self.bits: list[str] = []
        self.counts: list[int] = []
        self.measurement: list[int] = []

    def add(self, where: str, basis: Any, outcome: str, count: Any, measurement: int) -> None:
        """Add one outcome, checked; InputError otherwise."""
        n = len(basis)
        if not self.n:
            self.n = n
            if not 1 <= n <= MAX_QUBITS:
                raise InputError.expected(where, f"1 to {MAX_QUBITS} qubits", str(n))
        if n != self.n:
            raise InputError.expected(where, f"axes of {self.n} qubits", f"of {n}")
        bits = outcome.replace(" ", "")
        if len(bits) != n or set(bits) - {"0", "1"}:
            raise InputError.expected(
                where, f"an outcome of {n} digits 0 and 1", repr(outcome)[:60]
            )
        if isinstance(count, bool) or count != int(count) or not 0 <= count <= MAX_COUNT:
            raise InputError.expected(where, "a whole number of counts", f"{count!r:.40}")
        if count:
            self.bases.append(basis)
            self.bits.append(bits)
            self.counts.append(int(count))
            self.measurement.append(measurement)

    def records(self, name: str, files: Mapping[str, Path], remarks: list[str]) -> ShadowRecords:
        """All outcomes; InputError where there are none."""
        if not self.counts:
            raise InputError.expected(self.place, "counts", "none")
        signs = 1 - 2 * np.array([[int(b) for b in bits] for bits in self.bits])
        axes = None
        if all(isinstance(basis, str) for basis in self.bases):
            axes = np.array([["XYZ".index(a) for a in basis] for basis in self.bases])
            bloch = _VECTORS[axes]
        else:
            bloch = np.stack([_first_vectors(basis) for basis in self.bases])
        return ShadowRecords(
            bloch * signs[..., None],
            np.array(self.counts, np.int64),
            np.array(self.measurement, np.int64),
            axes,
            name,
            dict(files),
            remarks,
        )


def _first_vectors(basis: Any) -> NDArray[np.float64]:
    """Bloch vectors (n, 3) of outcome 0 of each qubit."""
    if isinstance(basis, str):
        return np.asarray(_VECTORS[["XYZ".index(a) for a in basis]])
    v = basis[:, :, 0]
    cross = 2 * v[:, 0].conj() * v[:, 1]
    return np.stack([cross.real, cross.imag, np.abs(v[:, 0]) ** 2 - np.abs(v[:, 1]) ** 2], -1)


def _axes(text: Any, where: str) -> str:
    letters = str(text).strip().upper()
    if not letters or set(letters) - set("XYZ"):
        raise InputError.expected(where, "axes such as 'XZZY'", repr(text)[:60])
    return letters


def shadow_records_from(
    data: Any, place: str, files: Mapping[str, Path] | None = None
) -> ShadowRecords:
    """Records from what JSON holds; InputError otherwise."""
    rows = _Rows(place)
    for k, m in enumerate(measurement_list(data, place)):
        where = f"{place}, measurement {k}"
        if not isinstance(m, dict):
            raise InputError.expected(where, "an object", type(m).__name__)
        if "axes" in m:
            basis: Any = _axes(m["axes"], where)
        elif "local" in m:
            try:
                array = np.asarray(m["local"], np.float64)
            except (TypeError, ValueError):
                array = np.zeros(())
            if array.ndim != 4 or array.shape[1:] != (2, 2, 2):
                raise InputError.expected(where, "local of shape (n, 2, 2, 2)", f"{array.shape}")
            basis = check_unitary(array[..., 0] + 1j * array[..., 1], where)
        else:
            raise InputError.expected(where, "axes or local", f"{list(m)[:6]}")
        counts = m.get("counts", {m.get("outcome"): 1} if "outcome" in m else None)
        if not isinstance(counts, dict) or not counts:
            raise InputError.expected(where, "an outcome, or counts by outcome", f"{counts!r:.60}")
        for outcome, count in counts.items():
            if not isinstance(count, int | float):
                raise InputError.expected(where, "a number of counts", f"{count!r:.40}")
            rows.add(where, basis, str(outcome), count, k)
    return rows.records(Path(place).stem, files or {}, [])


def _read_csv(path: Path) -> ShadowRecords:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.expected(path, "JSON or CSV", "another kind of file") from error
    kept = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    separator = max(";\t,", key=kept[0].count) if kept else ","
    table = list(csv.reader(io.StringIO("\n".join(kept)), delimiter=separator))
    columns = [name.strip().lower() for name in table[0]] if table else []
    axes = next((columns.index(name) for name in _AXES if name in columns), None)
    if axes is None or len(set(columns)) < len(columns):
        raise InputError.expected(path, "a column 'axes', each column once", f"{columns[:8]}")
    column = next((columns.index(name) for name in _COUNTS if name in columns), None)
    rows, remarks = _Rows(str(path)), []
    seen: dict[tuple[str, ...], int] = {}
    for k, cells in enumerate(table[1:]):
        where = f"{path}, row {k + 1}"
        if len(cells) != len(columns):
            raise InputError.expected(where, f"{len(columns)} cells", str(len(cells)))
        basis = _axes(cells[axes], where)
        if "outcome" not in columns:
            for name, cell in zip(columns, cells, strict=True):
                if name not in (*_AXES, "id", "time", "shots"):
                    rows.add(where, basis, name, _whole(cell, where), k)
            continue
        outcome = cells[columns.index("outcome")].strip()
        if column is None:  # a shot a row: each row is a choice of bases of its own
            rows.add(where, basis, outcome, 1, k)
            continue
        key = (cells[columns.index("id")] if "id" in columns else "", basis)
        if (*key, outcome) in seen:
            raise InputError.expected(
                where, f"outcome {outcome} of {basis} once", "again", "Give repeats an id each."
            )
        seen[(*key, outcome)] = k
        rows.add(where, basis, outcome, _whole(cells[column], where), seen.setdefault(key, k))
    if "outcome" in columns and column is None:
        remarks.append("there is no column of counts: each row was taken as one shot")
    return rows.records(path.stem, {"records": path}, remarks)


def _whole(text: str, where: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError.expected(where, "a whole number of counts", repr(text)[:40])
    return value
