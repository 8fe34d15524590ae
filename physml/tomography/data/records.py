"""Measurements of a state: settings, counts, times, calibration; as Python and JSON have them.

What a laboratory writes is untrusted: each reader checks everything before anything is used, and
says which line or measurement is at fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.checks import check_counts, check_id, check_qubits, check_time
from ..core.measurements import Setting, pauli_setting
from ..core.readout import Readout, estimate_confusion
from .calibration_table import bit_order, calibration_counts

FORMAT = "physml tomography records 1"
MAX_MEASUREMENTS = 200_000


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

    def to_dict(self) -> dict[str, Any]:
        """Measurement as JSON can hold it."""
        out: dict[str, Any] = {
            "setting": self.setting.to_dict(),
            "counts": [int(c) for c in self.counts],
        }
        return out if self.time is None else {**out, "time": self.time}


@dataclass(frozen=True, eq=False)
class Records:
    """Measurements of one state.

    Attributes
    ----------
    n_qubits : int
    measurements : list of Measurement
        In the order of the file.
    readout : Readout, optional
        Confusion of the detectors.
    calibration : ndarray (d, d), int64, optional
        Counts of each outcome (columns) for each prepared basis state (rows); the readout follows
        from them where it is not given.
    name : str
        For titles.
    files : dict
        What was read, by role.
    remarks : list of str
        What was done to the data and the user should know.
    frame : ndarray (d, d), complex128, optional
        Positive matrix K. The settings are measurements of a state rho', and the state that was
        made is rho = K rho' K / tr (K rho' K): so it is where outcomes are lost with a
        probability that depends on the state; see `photonic.poisson`. Without it they are
        the same.
    """

    n_qubits: int
    measurements: list[Measurement]
    readout: Readout | None = None
    calibration: NDArray[np.int64] | None = None
    name: str = "records"
    files: dict[str, Path] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    frame: NDArray[np.complex128] | None = None

    def __post_init__(self) -> None:
        place = str(self.files.get("records", self.name))
        check_qubits(self.n_qubits, place)
        if self.calibration is not None and len(self.calibration) != 1 << self.n_qubits:
            raise InputError.expected(
                place,
                f"calibration counts of {1 << self.n_qubits} states",
                str(len(self.calibration)),
            )
        if self.calibration is not None and self.readout is None:
            readout = estimate_confusion(self.calibration)
            object.__setattr__(self, "readout", readout)
            self.remarks.extend(text for text in readout.notes if text not in self.remarks)
        if self.readout is not None and len(self.readout.confusion) != self.n_qubits:
            raise InputError.expected(
                place,
                f"readout errors of {self.n_qubits} qubits",
                f"of {len(self.readout.confusion)}",
            )
        check_dimensions(self.n_qubits, [m.setting for m in self.measurements], place)
        if self.frame is not None:
            check_frame(self.frame, self.n_qubits, place)

    @property
    def copies(self) -> int:
        """All counts."""
        return sum(int(m.counts.sum()) for m in self.measurements)

    def __repr__(self) -> str:
        return (
            f"<Records {self.name}: {self.n_qubits} qubits, {len(self.measurements)} measurements, "
            f"{self.copies} copies>"
        )


def check_frame(frame: NDArray[np.complex128], n_qubits: int, place: str) -> None:
    """InputError where the frame of records is no positive matrix of these qubits."""
    d = 1 << n_qubits
    good = frame.shape == (d, d) and bool(np.isfinite(frame).all())
    if not (
        good
        and np.abs(frame - frame.conj().T).max() < 1e-8
        and float(np.linalg.eigvalsh(frame).min()) > 0
    ):
        raise InputError.expected(place, f"a frame, a positive matrix ({d}, {d})", "another")


def check_dimensions(n_qubits: int, settings: Sequence[Setting], place: str) -> None:
    """InputError where a setting is not of that many qubits."""
    for setting in settings:
        if setting.dimension != 1 << n_qubits:
            raise InputError.expected(
                place,
                f"settings of {n_qubits} qubits, of dimension {1 << n_qubits}",
                f"{setting.id!r} of dimension {setting.dimension}",
            )


def as_measurement(data: Any, place: str, number: int = 0) -> Measurement:
    """One measurement as JSON has it, checked; InputError otherwise.

    Either ``setting`` (as `Setting.to_dict` writes it), or ``axes``, a text of X, Y, Z for each
    qubit; ``counts``, as a list or by outcome; ``id`` and ``time``.
    """
    where = f"{place}, measurement {number}"
    if not isinstance(data, dict):
        raise InputError.expected(where, "an object", type(data).__name__)
    if "counts" not in data:
        raise InputError.expected(where, "counts", f"only {', '.join(map(str, data))[:80]}")
    if "setting" in data:
        try:
            setting = Setting.from_dict(data["setting"])
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        name = setting.id or data.get("id") or f"{number:06d}"
    elif isinstance(data.get("axes"), str):
        setting = axes_setting(data["axes"], where)
        name = data.get("id") or f"{number:06d}"
    else:
        raise InputError.expected(where, "a setting, or axes such as 'XZ'", "neither")
    name = check_id(name, f"{where}, id")
    counts = check_counts(data["counts"], setting, f"{where}, counts of {name!r}")
    time = check_time(data.get("time"), f"{where}, time")
    return Measurement(_named(setting, name, counts), counts, time)


def axes_setting(axes: str, place: str) -> Setting:
    """Pauli setting of a text of X, Y and Z, qubit 0 first; InputError otherwise."""
    text = axes.strip().upper()
    if not text or set(text) - set("XYZ"):
        raise InputError.expected(place, "axes such as 'XZ'", repr(axes)[:40])
    check_qubits(len(text), f"{place}, axes {text[:20]!r}")
    return pauli_setting(text)


def _named(setting: Setting, name: str, counts: NDArray[np.int64]) -> Setting:
    shots = setting.shots if setting.id else int(counts.sum())
    return replace(setting, id=name, shots=shots)


def records_from(data: Any, place: str, files: Mapping[str, Path] | None = None) -> Records:
    """Records from what JSON holds; InputError otherwise."""
    if not isinstance(data, dict) or not isinstance(data.get("measurements"), list):
        raise InputError.expected(
            place, "an object with a list of measurements", type(data).__name__
        )
    given = data["measurements"]
    if not 0 < len(given) <= MAX_MEASUREMENTS:
        raise InputError.expected(place, f"1 to {MAX_MEASUREMENTS} measurements", str(len(given)))
    measurements = [as_measurement(m, place, k) for k, m in enumerate(given)]
    n = data.get("n_qubits")
    if n is None:
        n = measurements[0].setting.dimension.bit_length() - 1
    try:
        readout = Readout.from_dict(data["readout"]) if data.get("readout") else None
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    order = data.get("bit_order")
    order = None if order is None else bit_order(order, f"{place}, bit_order")
    remarks: list[str] = []
    calibration = data.get("calibration")
    if calibration is not None:
        calibration, remarks = calibration_counts(calibration, f"{place}, calibration", order)
    return Records(
        check_qubits(n, f"{place}, n_qubits"),
        measurements,
        readout,
        calibration,
        Path(place).stem,
        dict(files or {}),
        remarks,
        None if data.get("frame") is None else _frame(data["frame"], place),
    )


def _frame(data: Any, place: str) -> NDArray[np.complex128]:
    try:
        pairs = np.asarray(data, np.float64)
    except (TypeError, ValueError, OverflowError):
        pairs = np.zeros(())
    if pairs.ndim != 3 or pairs.shape[-1] != 2:
        raise InputError.expected(place, "a frame of pairs [real, imaginary]", "another")
    return cast("NDArray[np.complex128]", pairs[..., 0] + 1j * pairs[..., 1])


def check_calibration(data: Any, place: str) -> NDArray[np.int64] | None:
    """Calibration counts (d, d) as integers, or None; InputError otherwise."""
    return None if data is None else calibration_counts(data, f"{place}, calibration")[0]


def read_strict_json(path: Path) -> Any:
    """JSON without NaN, infinity and keys that are there twice; InputError otherwise."""

    def constant(name: str) -> Any:
        raise InputError.expected(path, "finite numbers", name)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            raise InputError.expected(path, "each key once in an object", f"{pairs[0][0]!r} ...")
        return out

    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, parse_constant=constant, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InputError.expected(path, "JSON", f"something else ({error})"[:200]) from error


def records_to_dict(records: Records) -> dict[str, Any]:
    """Records as `save_records` writes them as JSON."""
    out: dict[str, Any] = {"format": FORMAT, "n_qubits": records.n_qubits}
    if records.calibration is not None:
        out["calibration"] = cast("list[Any]", records.calibration.tolist())
    if records.readout is not None and records.calibration is None:
        out["readout"] = records.readout.to_dict()
    if records.frame is not None:
        out["frame"] = np.stack([records.frame.real, records.frame.imag], -1).tolist()
    return {**out, "measurements": [m.to_dict() for m in records.measurements]}
