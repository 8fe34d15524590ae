"""Counts of qiskit by their keys: bits of registers, hexadecimal or decimal numbers.

The last bit of a key is bit 0, and a number is the value of its bits. Spaces part registers, of
which the last one is the first of the circuit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ...core.measurements import MAX_COUNT
from .outcomes import Measured, read_outcomes

_MITIGATION = (
    "Give the counts that the detectors gave, and their errors with --readout: they enter the "
    "likelihood there."
)


def qiskit_counts(
    counts: Any,
    n: int,
    place: str = "qiskit counts",
    measured: Measured | None = None,
    every: Iterable[Any] = (),
    remarks: list[str] | None = None,
) -> NDArray[np.int64]:
    """Counts as an array.

    Parameters
    ----------
    counts : mapping
        Key -> count, a whole number, be it written 411.0. Keys are bits ("01", "0 1" of two
        registers), hexadecimal or binary numbers ("0x1", "0b1"), decimal numbers or integers.
    n : int
        Number of qubits.
    place : str
        Name of the counts in errors.
    measured : Measured, optional
        Which bits are of the qubits, where there are more; bit 0 is the last one.
    every : iterable
        Keys of all circuits: whether texts are decimal numbers is told by all together.
    remarks : list of str, optional
        Gets what was assumed.

    Returns
    -------
    ndarray (2^n,), int64
        Qubit 0 is the first binary digit of the place.

    Raises
    ------
    InputError
        Counts that are none, keys of other bits, or numbers that may be read in two ways.
    """
    if not isinstance(counts, Mapping):
        raise InputError.expected(place, "a mapping of bits to counts", type(counts).__name__)
    values = whole_counts(counts, place)
    out = np.zeros(1 << n, np.int64)
    said = [] if remarks is None else remarks
    keys = _bits(list(counts), n, place, measured or Measured(), every, said) if counts else {}
    for key, bits in keys.items():
        out[int(bits, 2)] += values[key]
    return out


def whole_counts(counts: Mapping[Any, Any], place: str) -> dict[Any, int]:
    """Counts as integers; InputError for quasi-probabilities and all else that is none."""
    numbers = {}
    for key, value in counts.items():
        good = isinstance(value, int | float | np.integer | np.floating)
        if not good or isinstance(value, bool) or not np.isfinite(float(value)):
            raise InputError.expected(place, f"a whole number >= 0 for {key!r}", f"{value!r:.40}")
        numbers[key] = value
    odd = next((key for key, value in numbers.items() if value < 0 or value != value // 1), None)
    if odd is not None:
        total = sum(map(float, numbers.values()))
        what = "which is no count"
        if min(numbers.values()) < 0 and any(value != value // 1 for value in numbers.values()):
            what = "a quasi-probability: mitigation of readout errors makes negative ones"
        elif abs(total - 1) < 0.01:
            what = "a probability: together they are 1, and the number of shots is lost"
        raise InputError.expected(
            place, f"a whole number >= 0 for {odd!r}", f"{numbers[odd]!r}, {what}", _MITIGATION
        )
    if any(value > MAX_COUNT for value in numbers.values()):
        raise InputError.expected(place, f"counts up to {MAX_COUNT}", "more")
    return {key: int(value) for key, value in numbers.items()}


def _bits(
    keys: list[Any],
    n: int,
    place: str,
    measured: Measured,
    every: Iterable[Any],
    remarks: list[str],
) -> dict[Any, str]:
    """Bits of each key, qubit 0 first."""
    values: dict[Any, int] = {}
    texts: dict[Any, str] = {}
    for key in keys:
        if isinstance(key, int | np.integer) and not isinstance(key, bool) and key >= 0:
            values[key] = int(key)
        elif isinstance(key, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", key):
            values[key] = int(key, 16)
        elif isinstance(key, str) and re.fullmatch(r"0b[01]{1,64}", key):
            values[key] = int(key, 2)
        elif isinstance(key, str) and re.fullmatch(r"[0-9 ]{1,80}", key) and key.strip():
            texts[key] = key.replace(" ", "")
        else:
            raise InputError.expected(place, f"{n} bits", repr(key)[:80])
    if values and texts:
        raise InputError.expected(
            place, "keys of one kind", f"{next(iter(values))!r} and {next(iter(texts))!r}"
        )
    if values:
        return _of_numbers(values, n, place, measured)
    turned = {key: text[::-1] for key, text in texts.items()}
    widths = {len(text) for text in turned.values()}
    if len(widths) == 1 and all(set(text) <= {"0", "1"} for text in turned.values()):
        width = widths.pop()
        if width >= n:
            chosen = measured.of_bits(width, n, place, "the last one")
            if chosen is None:
                return turned
            return {key: "".join(bits[k] for k in chosen) for key, bits in turned.items()}
    # Decimal numbers, which JSON makes of integers: their first digit stays the first.
    others = [key for key in every if isinstance(key, str) and re.fullmatch("[0-9]{1,80}", key)]
    bits, remark = read_outcomes([*texts.values(), *others], n, place)
    if remark is not None and remark not in remarks:
        remarks.append(remark)
    return {key: bits[text][::-1] for key, text in texts.items()}


def _of_numbers(values: dict[Any, int], n: int, place: str, measured: Measured) -> dict[Any, str]:
    """Bits of numbers, qubit 0 first."""
    width = max(n, *(value.bit_length() for value in values.values()))
    plain = [key for key in values if isinstance(key, int | np.integer)]
    looks = all(set(str(key)) <= {"0", "1"} and len(str(key)) <= n for key in plain)
    if plain and looks and max(plain) > 1:
        raise InputError.expected(
            place,
            "numbers that can be read in one way",
            f"{max(plain)}, which may be a decimal number or bits",
            'Write bits as text, such as "01".',
        )
    if width > n and measured.places is None and plain:
        raise InputError.expected(
            place,
            f"numbers below {1 << n}, for {n} bits",
            str(max(values.values())),
            "Integers are values of bits: 3 is the outcome 11. Choose bits with --measured.",
        )
    if measured.places is not None and len(measured.places) == n:
        # Nobody sees the width of a number: a choice of as many bits as qubits is one of bits.
        width = max(width, n + 1, max(measured.places) + 1)
    chosen = measured.of_bits(width, n, place, "the lowest") or tuple(range(n))
    return {key: "".join(str(value >> k & 1) for k in chosen) for key, value in values.items()}
