"""Checks of what a laboratory hands in: counts, identifiers, times.

Wrong counts do not stop an estimator, they only make its results worthless; hence nothing is
repaired here, everything that cannot be what a detector counted is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from .measurements import MAX_COUNT, Setting

#: Longest identifier of a measurement, characters.
MAX_ID = 200

#: Beyond, a state has more than a thousand real numbers to be found.
MAX_QUBITS = 5


def check_counts(counts: Any, setting: Setting, place: str | None = None) -> NDArray[np.int64]:
    """Counts of one measurement as integers.

    Parameters
    ----------
    counts : sequence of k numbers, or mapping of outcome to number
        In a mapping, outcomes that are not named were not seen.
    setting : Setting
        What was measured.
    place : str, optional
        What to call it in messages; by default the setting's id.

    Returns
    -------
    ndarray (k,), int64

    Raises
    ------
    InputError
        They are not k whole numbers from 0 to 2^53, or all are zero.
    """
    where = place or f"counts of setting {setting.id!r}"
    if isinstance(counts, Mapping):
        counts = _by_name(counts, setting, where)
    if hasattr(counts, "detach"):
        counts = counts.detach().cpu().numpy()
    k = len(setting.effects)
    try:
        # As objects: numpy would make numbers of truth values, and integers of floats.
        values = np.asarray(counts, dtype=object)
    except ValueError:
        values = np.empty((0, 0), dtype=object)
    if values.shape != (k,):
        shape = f"{len(values)} numbers" if values.ndim == 1 else f"shape {values.shape}"
        raise InputError.expected(where, f"{k} numbers, one for each outcome", shape)
    out = np.array([_count(value, where) for value in values], dtype=np.int64)
    total = sum(int(value) for value in out)  # of Python, which does not overflow
    if total > MAX_COUNT:
        raise InputError.expected(where, f"at most {MAX_COUNT} counts", str(total))
    if total == 0:
        raise InputError.expected(
            where, "a setting that was measured", "no counts at all", "Leave it out."
        )
    return out


def _count(value: Any, where: str) -> int:
    if not _is_number(value):
        raise InputError.expected(where, "whole numbers", repr(value)[:80])
    # Integers of Python may be too large for a float: they are compared as they are.
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        raise InputError.expected(where, "whole numbers", "NaN or infinity")
    if value < 0:
        raise InputError.expected(where, "counts of 0 or more", str(value)[:40])
    if value > MAX_COUNT:
        raise InputError.expected(where, f"at most {MAX_COUNT} counts", str(value)[:40])
    if value != int(value):
        raise InputError.expected(
            where,
            "whole numbers",
            f"{value:g}",
            "Rates and averages are no counts: multiply by the time or the repetitions.",
        )
    return int(value)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating)
    return number and not isinstance(value, bool)


def _by_name(counts: Mapping[Any, Any], setting: Setting, where: str) -> list[Any]:
    unknown = [str(name) for name in counts if name not in setting.outcomes]
    if unknown:
        raise InputError.expected(
            where, f"outcomes of {', '.join(setting.outcomes[:16])}", f"{unknown[0][:40]!r}"
        )
    return [counts.get(name, 0) for name in setting.outcomes]


def check_id(value: Any, place: str = "id") -> str:
    """An identifier: a text that is not empty, not long, and of one line; InputError otherwise."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InputError.expected(place, "a text of printable characters", repr(value)[:80])
    if len(value) > MAX_ID:
        raise InputError.expected(place, f"at most {MAX_ID} characters", f"{len(value)}")
    return value


def check_time(value: Any, place: str = "time") -> float | None:
    """Seconds since any moment, or None; InputError otherwise."""
    if value is None:
        return None
    if not _is_number(value) or not abs(value) < 1e300:  # nor NaN
        raise InputError.expected(place, "a time in seconds", repr(value)[:80])
    return float(value)


def check_qubits(value: Any, place: str = "n_qubits=") -> int:
    """A number of qubits; InputError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError.expected(place, "a number of qubits", repr(value)[:80])
    if not 1 <= value <= MAX_QUBITS:
        raise InputError.expected(place, f"1 to {MAX_QUBITS} qubits", str(value))
    return int(value)


def check_probability(value: Any, place: str) -> float:
    """A number strictly between 0 and 1; InputError otherwise."""
    if not _is_number(value) or not 0 < value < 1:
        raise InputError.expected(place, "a number between 0 and 1", repr(value)[:80])
    return float(value)
