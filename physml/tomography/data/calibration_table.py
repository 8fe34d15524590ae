"""Counts of a readout calibration: tables, and counts by the bits that were prepared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.calibration import reversed_bits
from ..core.readout import check_calibration_counts

#: Qubit 0 is the first bit, or the last one.
FIRST, QISKIT = "first", "qiskit"
_ORDERS = {
    FIRST: (FIRST, "physml", "big", "big-endian", "msb"),
    QISKIT: (QISKIT, "last", "little", "little-endian", "lsb"),
}


def bit_order(value: Any, place: str) -> str:
    """Bit order of a word: `FIRST` or `QISKIT`; InputError otherwise."""
    for order, names in _ORDERS.items():
        if isinstance(value, str) and value.strip().lower() in names:
            return order
    raise InputError.expected(
        place, "first (qubit 0 is the first bit) or qiskit (it is the last)", repr(value)[:40]
    )


def calibration_counts(
    data: Any, place: str, order: str | None = None
) -> tuple[NDArray[np.int64], list[str]]:
    """Calibration counts (d, d), prepared in rows, qubit 0 the first bit; and remarks.

    Parameters
    ----------
    data : list of lists, or mapping
        A table, or counts by outcome for each prepared state.
    place : str
        Name in errors.
    order : str, optional
        `FIRST` or `QISKIT`; where nobody says, the former, with a remark for mappings.

    Raises
    ------
    InputError
    """
    if isinstance(data, Mapping):
        counts = by_prepared(data, place, order or FIRST)
        text = (
            "prepared and read bits are taken with qubit 0 first; were they qiskit's, the "
            'calibration needs "bit_order": "qiskit"'
        )
        return counts, [] if order or len(counts) < 4 else [text]
    try:
        values = np.asarray(data, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError.expected(place, "a table of counts", str(error)) from error
    if values.ndim != 2 or not np.isfinite(values).all():
        raise InputError.expected(place, "a table of counts", f"shape {values.shape}, or NaN")
    if (values < 0).any() or (values != np.floor(values)).any() or (values > 1 << 53).any():
        raise InputError.expected(place, "whole numbers from 0 on", "others")
    table = check_calibration_counts(values).astype(np.int64)
    if order == QISKIT:
        places = reversed_bits(len(table).bit_length() - 1)
        table = table[np.ix_(places, places)]
    return table, []


def by_prepared(data: Mapping[Any, Any], place: str, order: str) -> NDArray[np.int64]:
    """Calibration counts (d, d) from counts by outcome for each prepared bit string."""
    names = [name for name in data if isinstance(name, str) and re.fullmatch("[01]{1,6}", name)]
    lengths = {len(name) for name in names}
    if len(names) != len(data) or len(lengths) != 1:
        raise InputError.expected(
            place, "counts by prepared bits of one length", repr(list(data))[:80]
        )
    n = lengths.pop()
    table = np.zeros((1 << n, 1 << n), np.int64)
    for name in names:
        table[_place(name, n, place, order)] = _read(
            data[name], n, f"{place}, prepared {name}", order
        )
    check_calibration_counts(table)
    return table


def _read(counts: Any, n: int, place: str, order: str) -> NDArray[np.int64]:
    """Counts (2^n,) of one prepared state from a mapping of bits to counts."""
    if not isinstance(counts, Mapping):
        raise InputError.expected(place, "a mapping of bits to counts", type(counts).__name__)
    out = np.zeros(1 << n, np.int64)
    for key, value in counts.items():
        number = isinstance(value, int | float | np.integer | np.floating)
        if (
            isinstance(value, bool)
            or not number
            or not 0 <= value <= 1 << 53
            or value != value // 1
        ):
            raise InputError.expected(place, f"a whole number >= 0 for {key!r}", repr(value)[:40])
        out[_place(key, n, place, order)] += int(value)
    return out


def _place(key: Any, n: int, place: str, order: str) -> int:
    """Place of an outcome, qubit 0 first, from "01", "0 1", "0x1" or a number."""
    bits = ""
    if isinstance(key, int | np.integer) and not isinstance(key, bool) and key >= 0:
        bits = format(int(key), f"0{n}b")
    elif isinstance(key, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", key):
        bits = format(int(key, 16), f"0{n}b")
    elif isinstance(key, str) and re.fullmatch(r"[01 ]{1,64}", key):
        bits = key.replace(" ", "")
    if len(bits) != n:
        raise InputError.expected(place, f"{n} bits", repr(key)[:80])
    return int(bits[::-1] if order == QISKIT else bits, 2)
