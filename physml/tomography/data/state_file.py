"""States as files have them: JSON, CSV, NumPy, HDF5, and the folder that `predict -o` writes.

- CSV: ``row,column,real,imaginary`` with rows and columns as bits, qubit 0 first, as `predict`
  writes it; or a matrix of numbers such as ``0.5+0.1j``, a line for each row.
- JSON: a vector or a matrix of numbers, of pairs [real, imaginary] or of texts ``"0.5+0.1j"``,
  alone or as ``density_matrix`` or ``state`` (so in estimate.json); or ``real`` and ``imag``.
- ``.npy``: a vector or a matrix; HDF5: a dataset ``density_matrix`` or ``state``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError, PhysmlError
from physml.io.files import require_file
from physml.io.shards import Spec, read_shard

from ..core.qobj import as_density_matrix
from .counts.tables import cells_of, number_of, read_text, rows_of
from .json_file import looks_like_json, read_strict_json

#: How far a state that was rounded when it was written may be from one.
ROUNDED = 5e-3
MAX_BYTES = 16 << 20
_HDF5 = b"\x89HDF\r\n\x1a\n"
_NAMES = ("density_matrix", "state")


def read_state(path: Path, n_qubits: int, remarks: list[str] | None = None) -> Tensor:
    """Density matrix (d, d), complex128, of a file or of a folder of `predict -o`.

    Parameters
    ----------
    path : Path
    n_qubits : int
    remarks : list of str, optional
        Gets what was done to a state that was rounded.

    Raises
    ------
    InputError
        It holds no state of that many qubits.
    """
    if path.is_dir():
        path = path / "estimate.json"
    source = require_file(path, "a state", MAX_BYTES)
    with open(source, "rb") as file:
        start = file.read(64)
    if start.startswith(_HDF5):
        array = _hdf5(source, 1 << n_qubits)
    elif start.startswith(b"\x93NUMPY"):
        array = _numpy(source)
    elif looks_like_json(start):
        array = _json(source, n_qubits)
    else:
        array = _table(source)
    array = _unpaired(array, 1 << n_qubits, source)
    return _state(array, n_qubits, source, remarks)


def _state(
    array: NDArray[np.complex128], n_qubits: int, path: Path, remarks: list[str] | None
) -> Tensor:
    """The state; that next to it where it was rounded when it was written."""
    try:
        return as_density_matrix(array, n_qubits, str(path))
    except InputError:
        if array.shape != (1 << n_qubits,) * 2 or not np.isfinite(array).all():
            raise
        hermitian = 0.5 * (array + array.conj().T)
        values, vectors = np.linalg.eigh(hermitian)
        skew = np.abs(array - hermitian).max()
        off = max(skew, abs(values.sum() - 1), -values.min())
        if off > ROUNDED:
            raise
    values = values.clip(min=0)
    near = (vectors * (values / values.sum())) @ vectors.conj().T
    if remarks is not None:
        remarks.append(f"{path.name} was rounded and made a state again: off by {off:.1g}")
    return torch.from_numpy(0.5 * (near + near.conj().T))


def _unpaired(array: NDArray[Any], d: int, path: Path) -> NDArray[np.complex128]:
    """Complex numbers, where there may be pairs [real, imaginary].

    A matrix (2, 2) that is the pairs of a vector of one qubit is no state as a matrix, or else
    the same pure state.
    """
    if np.iscomplexobj(array):
        return array.astype(np.complex128)
    pairs = array.shape in ((d, 2), (d, d, 2))
    if pairs and array.shape == (2, 2):
        symmetric = np.abs(array - array.T).max() <= ROUNDED
        pairs = not (symmetric and abs(np.trace(array) - 1) <= ROUNDED)
    if pairs:
        return np.asarray(array[..., 0] + 1j * array[..., 1], np.complex128)
    if array.ndim > 2:
        raise InputError.expected(path, "a vector or a matrix", f"shape {array.shape}")
    return array.astype(np.complex128)


def _numpy(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError.expected(path, "an array of numbers", str(error)[:80]) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iufc":
        raise InputError.expected(path, "an array of numbers", "another")
    return array


def _hdf5(path: Path, d: int) -> NDArray[Any]:
    for name in _NAMES:
        for shape in ((d, d), (d,)):
            try:
                return np.asarray(read_shard(path, {name: Spec("c16", shape)})[name])
            except PhysmlError:
                continue
    raise InputError.expected(
        path,
        f"a complex dataset {' or '.join(_NAMES)} of shape ({d}, {d})",
        "none",
        "records.h5 holds settings and counts: the state is in density_matrix.csv and "
        "estimate.json beside it.",
    )


def _json(path: Path, n_qubits: int) -> NDArray[Any]:
    data = read_strict_json(path)
    if isinstance(data, Mapping) and (name := next((k for k in _NAMES if k in data), None)):
        data = data[name]
    if isinstance(data, Mapping):
        parts = [data[k] for names in (("real", "re"), ("imag", "im")) for k in names if k in data]
        if len(parts) != 2:
            raise InputError.expected(
                path, "a vector or a matrix, as density_matrix or state", f"{list(data)!r:.60}"
            )
        real, imaginary = (_numbers(part, path) for part in parts)
        if real.shape != imaginary.shape:
            raise InputError.expected(
                path, "parts of one shape", f"{real.shape} and {imaginary.shape}"
            )
        return real + 1j * imaginary
    return _numbers(data, path)


def _numbers(data: Any, path: Path) -> NDArray[Any]:
    """Array of nested lists of numbers, or of texts such as "0.5-0.1j"."""
    try:
        array = np.asarray(data, dtype=object)
        if any(isinstance(x, bool) or x is None for x in array.ravel()):
            raise ValueError("truth values, or none")
        if any(isinstance(x, str) for x in array.ravel()):
            flat = [_complex(x) if isinstance(x, str) else complex(x) for x in array.ravel()]
            return np.array(flat, np.complex128).reshape(array.shape)
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError.expected(path, "numbers", str(error)[:80]) from error


def _complex(text: str) -> complex:
    """Number such as 0.5, 0.1j or 0.5-0.1i; ValueError otherwise."""
    return complex(re.sub(r"[\s()]", "", text).replace("i", "j").replace("*", ""))


def _table(path: Path) -> NDArray[Any]:
    rows = list(rows_of(path, read_text(path, "a state: JSON, CSV, NumPy or HDF5")))
    if not rows:
        raise InputError.expected(path, "a state", "nothing")
    columns = [name.lower() for name in rows[0][1]]
    if {"row", "column", "real", "imaginary"} <= set(columns):
        return _elements(path, rows[1:], columns)
    try:
        table = [[_complex(cell) for cell in row] for _, row in rows]
    except ValueError as error:
        raise InputError.expected(
            path,
            "columns row, column, real, imaginary, or a matrix of numbers",
            str(error)[:60],
            "As a target, give the state, not the counts." if "axes" in columns else None,
        ) from error
    if len({len(row) for row in table}) != 1:
        raise InputError.expected(path, "rows of one length", "others")
    array = np.array(table, np.complex128)
    return array if np.abs(array.imag).max() > 0 else np.asarray(array.real)


def _elements(
    path: Path, rows: list[tuple[int, list[str]]], columns: list[str]
) -> NDArray[np.complex128]:
    """Matrix of lines row, column, real, imaginary; each element once."""
    found: dict[tuple[str, str], complex] = {}
    lines: dict[tuple[str, str], int] = {}
    for line, row in rows:
        cells = cells_of(path, line, row, columns)
        key = (cells["row"], cells["column"])
        if key in found:
            raise InputError.expected(
                path, f"element {key} once", f"in line {lines[key]} and again in line {line}"
            )
        parts = [float(number_of(path, line, k, cells[k])) for k in ("real", "imaginary")]
        found[key], lines[key] = complex(*parts), line
    names = sorted({name for key in found for name in key}, key=lambda x: (len(x), x))
    size = len(names)
    n = size.bit_length() - 1
    bits = [format(k, f"0{n}b") for k in range(size)]
    numbers = [str(k) for k in range(size)]
    if len(found) != size * size or size < 2 or size & (size - 1):
        raise InputError.expected(path, "each element of a matrix of 2^n rows", f"{len(found)}")
    if names not in (bits, sorted(numbers, key=lambda x: (len(x), x))):
        raise InputError.expected(
            path, f"rows and columns as {n} bits, or as numbers from 0 to {size - 1}", names[-1]
        )
    return np.array([[found[a, b] for b in names] for a in names], np.complex128)
