"""Prepared data: states and counts that were checked, with what they are looked up by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError
from physml.io.shards import Shard, Spec, open_shard, read_shard

Arrays = dict[str, NDArray[Any]]

#: Contents of a raw shard.
RAW = {
    "index": Spec(np.int64, (None,)),
    "n_qubits": Spec(np.int8, (None,)),
    "ensemble": Spec(np.int8, (None,)),
    "state": Spec(np.float64, (None, None, None, 2)),
    "confusion": Spec(np.float64, (None, None, 2, 2)),
    "drift": Spec(np.float64, (None,)),
    "counts": Spec(np.int64, (None, None, None)),
}
#: Contents of a prepared file; see `describe` for what is added.
PREPARED = RAW | {
    "eigenvalues": Spec(np.float64, (None, None)),
    "purity": Spec(np.float64, (None,)),
    "copies": Spec(np.int64, (None,)),
}

#: How far a state may be from Hermitian, positive and of trace one.
TOLERANCE = 1e-9
#: Largest prepared file, bytes.
MAX_BYTES = 8 << 30


def describe(arrays: Arrays, place: Path) -> Arrays:
    """Check states and counts, and add what they are looked up by.

    Parameters
    ----------
    arrays : dict of ndarray
        As in `sample.Batch`.
    place : Path
        Named in errors.

    Returns
    -------
    dict
        The same, with eigenvalues (S, d), falling, zero beyond a state's dimension; purity (S,);
        copies (S,), the sum of the counts.

    Raises
    ------
    InputError
        A matrix is no density matrix of its number of qubits, or counts are negative.
    """
    state = arrays["state"][..., 0] + 1j * arrays["state"][..., 1]
    size, largest = state.shape[:2]
    dimension = 1 << arrays["n_qubits"].astype(np.int64)
    if size and (arrays["n_qubits"].min() < 1 or dimension.max() > largest):
        raise InputError.expected(place, f"states of at most d = {largest}", "larger ones")
    beyond = np.arange(largest) >= dimension[:, None]
    values = np.linalg.eigvalsh(0.5 * (state + state.conj().swapaxes(-1, -2)))[:, ::-1]
    faults = {
        "Hermitian matrices": np.abs(state - state.conj().swapaxes(-1, -2)).max((1, 2)),
        "matrices of trace one": np.abs(np.einsum("sii->s", state) - 1),
        "positive matrices": -values.min(-1),
        "zeros beyond the dimension of a state": np.abs(
            state * (beyond[:, :, None] | beyond[:, None, :])
        ).max((1, 2)),
    }
    for wanted, amount in faults.items():
        if size and amount.max() > TOLERANCE:
            number = int(arrays["index"][amount.argmax()])
            raise InputError.expected(place, wanted, f"state {number}, off by {amount.max():.2g}")
    if size and arrays["counts"].min() < 0:
        raise InputError.expected(place, "counts >= 0", str(arrays["counts"].min()))
    return arrays | {
        "eigenvalues": np.where(beyond, 0, np.clip(values, 0, None)),
        "purity": np.square(np.abs(state)).sum((1, 2)),
        "copies": arrays["counts"].sum((1, 2)),
    }


def prepare(path: Path, first: int, last: int) -> Arrays:
    """Samples of a raw shard, checked and described; see `describe`.

    Parameters
    ----------
    path : Path
    first, last : int
        Rows, without the last.
    """
    with open_shard(path, RAW) as shard:
        return describe({name: shard.read(name, slice(first, last)) for name in RAW}, path)


def states_of(arrays: Mapping[str, NDArray[Any]] | Shard, n_qubits: int) -> Tensor:
    """States (S, d, d), complex128, of one number of qubits in the arrays of a file."""
    d = 1 << n_qubits
    chosen = arrays["state"][arrays["n_qubits"] == n_qubits, :d, :d]
    return torch.view_as_complex(torch.from_numpy(np.ascontiguousarray(chosen)))


def read_states(path: Path, n_qubits: int) -> Tensor:
    """True states (S, d, d) of a prepared file.

    Parameters
    ----------
    path : Path
    n_qubits : int

    Raises
    ------
    InputError
        It is not such a file, or it has none of so many qubits.
    """
    found = states_of(read_shard(path, PREPARED, max_bytes=MAX_BYTES), n_qubits)
    if not len(found):
        raise InputError.expected(path, f"states of {n_qubits} qubits", "none")
    return found
