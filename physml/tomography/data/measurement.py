"""One measurement, its setting and its counts, as Python and JSON have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.checks import check_counts, check_id, check_qubits, check_time
from ..core.measurements import Setting, check_shots, pauli_setting
from .counts.outcomes import Measured, read_outcomes
from .counts.rounding import mended


@dataclass(frozen=True, eq=False)
class Measurement:
    """One setting and its counts.

    Attributes
    ----------
    setting : Setting
    counts : ndarray (k,), int64
    time : float, optional
        Seconds since any moment; all of a file since the same.
    """

    setting: Setting
    counts: NDArray[np.int64]
    time: float | None = None

    @property
    def shots(self) -> int:
        """Shots of the setting; where more were counted than it was planned with, these."""
        return max(int(self.setting.shots), int(self.counts.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Measurement as JSON can hold it; with no fewer shots than counts."""
        out: dict[str, Any] = {
            "setting": {**self.setting.to_dict(), "shots": self.shots},
            "counts": [int(c) for c in self.counts],
        }
        return out if self.time is None else {**out, "time": self.time}


def as_measurement(
    data: Any,
    place: str,
    number: int = 0,
    remarks: list[str] | None = None,
    measured: Measured | None = None,
) -> Measurement:
    """One measurement as JSON has it, checked; InputError otherwise.

    Parameters
    ----------
    data : dict
        Either ``setting`` (as `Setting.to_dict` writes it), or ``axes``, a text of X, Y, Z for
        each qubit; ``counts``, as a list or by outcome; ``id`` and ``time``.
    place : str
        For errors.
    number : int
        Of the measurement, its id where it has none.
    remarks : list of str, optional
        Gets what was assumed.
    measured : Measured, optional
        Which bits of an outcome belong to the qubits, where there are more.
    """
    where = f"{place}, measurement {number}"
    if not isinstance(data, dict):
        raise InputError.expected(where, "an object", type(data).__name__)
    if "counts" not in data:
        raise InputError.expected(where, "counts", f"only {', '.join(map(str, data))[:80]}")
    said: list[str] = []
    if "setting" in data:
        try:
            given, off = mended(data["setting"])
            setting = Setting.from_dict(given)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        name = setting.id or data.get("id") or f"{number:06d}"
        if off is not None:
            said.append(f"settings were rounded and made exact again: {name!r}, {off}")
    elif isinstance(data.get("axes"), str):
        setting = axes_setting(data["axes"], where)
        name = data.get("id") or f"{number:06d}"
    else:
        raise InputError.expected(where, "a setting, or axes such as 'XZ'", "neither")
    name = check_id(name, f"{where}, id")
    values = data["counts"]
    if isinstance(values, Mapping) and not set(values) <= set(setting.outcomes):
        values = _by_bits(values, setting, f"{where}, counts of {name!r}", said, measured)
    counts = check_counts(values, setting, f"{where}, counts of {name!r}")
    if remarks is not None:
        remarks += said
    time = check_time(data.get("time"), f"{where}, time")
    shots = check_shots(data["shots"], f"{where}, shots", 0) if data.get("shots") else None
    return Measurement(_named(setting, name, counts, shots), counts, time)


def _by_bits(
    values: Mapping[Any, Any],
    setting: Setting,
    place: str,
    said: list[str],
    measured: Measured | None,
) -> Mapping[Any, Any]:
    """Counts by the outcomes of a basis, where they were named otherwise."""
    n = setting.dimension.bit_length() - 1
    plain = setting.outcomes == tuple(format(i, f"0{n}b") for i in range(1 << n))
    if not plain or not all(isinstance(name, str) for name in values):
        return values
    bits, remark = read_outcomes(values, n, place, measured)
    said += [] if remark is None else [remark]
    out: dict[str, Any] = {}
    for name, value in values.items():
        # Checked one by one: the sum of a fraction and another may be whole.
        check_counts([value] + [1] * (len(setting.outcomes) - 1), setting, place)
        out[bits[name]] = out.get(bits[name], 0) + value
    return out


def planned(shots: int) -> int | None:
    """Shots of a setting in a file; None for 1, which stands in settings that nobody planned."""
    return shots if shots > 1 else None


def axes_setting(axes: str, place: str) -> Setting:
    """Pauli setting of a text of X, Y and Z, qubit 0 first; InputError otherwise."""
    text = axes.strip().upper()
    if not text or set(text) - set("XYZ"):
        raise InputError.expected(place, "axes such as 'XZ'", repr(axes)[:40])
    check_qubits(len(text), f"{place}, axes {text[:20]!r}")
    return pauli_setting(text)


def _named(setting: Setting, name: str, counts: NDArray[np.int64], shots: int | None) -> Setting:
    if shots is None:
        shots = planned(setting.shots) or int(counts.sum())
    return replace(setting, id=name, shots=shots)
