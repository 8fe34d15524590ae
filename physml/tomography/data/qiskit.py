"""Counts of qiskit.

Qubit 0 is the leftmost factor here. In qiskit it is the last character of a bit string or of a
Pauli label; both are turned round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.measurements import Setting, pauli_setting


def qiskit_counts(
    counts: Mapping[Any, Any], n: int, place: str = "qiskit counts"
) -> NDArray[np.int64]:
    """Counts of qiskit as an array.

    Parameters
    ----------
    counts : mapping
        Bit string ("01", "0 1" of two registers), hexadecimal ("0x1") or number -> count. The
        last bit is qubit 0.
    n : int
        Number of qubits.
    place : str
        Name of the counts in errors.

    Returns
    -------
    ndarray (2^n,), int64
        Qubit 0 is the first binary digit of the place.

    Raises
    ------
    InputError
        Bits of another number, or counts that are not whole numbers >= 0.
    """
    if not isinstance(counts, Mapping):
        raise InputError.expected(place, "a mapping of bits to counts", type(counts).__name__)
    out = np.zeros(1 << n, np.int64)
    for key, value in counts.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or not 0 <= value <= 1 << 53:
            raise InputError.expected(place, f"a whole number >= 0 for {key!r}", repr(value))
        out[int(_bits(key, n, place)[::-1], 2)] += int(value)
    return out


def _bits(key: Any, n: int, place: str) -> str:
    """Bits of a key, as qiskit writes them."""
    bits = ""
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool) and key >= 0:
        bits = format(int(key), f"0{n}b")
    elif isinstance(key, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", key):
        bits = format(int(key, 16), f"0{n}b")
    elif isinstance(key, str) and re.fullmatch(r"[01 ]{1,64}", key):
        bits = key.replace(" ", "")
    if len(bits) != n:
        raise InputError.expected(place, f"{n} bits", repr(key)[:80])
    return bits


def from_qiskit(
    results: Mapping[str, Mapping[Any, Any]],
) -> list[tuple[Setting, NDArray[np.int64]]]:
    """Settings and counts of circuits that end in Pauli measurements.

    Parameters
    ----------
    results : mapping
        Label, one of X, Y, Z for each qubit, of which the last is qubit 0 -> counts as for
        `qiskit_counts`.

    Returns
    -------
    list of (Setting, ndarray (2^n,))
        The id of a setting is its label with qubit 0 first.

    Raises
    ------
    InputError
        Labels of other letters or of different lengths, a setting without counts, or bad counts.
    """
    if not isinstance(results, Mapping) or not results:
        raise InputError.expected("qiskit results", "counts by label", repr(results)[:80])
    out = []
    lengths = {len(label) for label in results if isinstance(label, str)}
    for label, counts in results.items():
        if not isinstance(label, str) or not re.fullmatch(r"[XYZ]{1,5}", label):
            raise InputError.expected("qiskit results", "labels of X, Y, Z", repr(label)[:80])
        if len(lengths) > 1:
            raise InputError.expected(
                "qiskit results", "labels of one length", str(sorted(lengths))
            )
        name = label[::-1]
        values = qiskit_counts(counts, len(name), f"counts of {label}")
        if not values.sum():
            raise InputError.expected(f"counts of {label}", "at least one", "none")
        out.append((replace(pauli_setting(name), shots=int(values.sum())), values))
    return out
