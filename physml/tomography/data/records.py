"""Measurements of a state: settings, counts, times, calibration; as Python and JSON have them.

What a laboratory writes is untrusted: each reader checks everything before anything is used, and
says which line or measurement is at fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.checks import check_qubits
from ..core.measurements import Setting, check_shots
from ..core.readout import Readout, estimate_confusion
from .calibration_table import bit_order, calibration_counts
from .counts.outcomes import Measured
from .counts.whole import compare_shots, without_copies
from .measurement import Measurement as Measurement
from .measurement import as_measurement as as_measurement
from .measurement import axes_setting as axes_setting
from .measurement import planned as planned

FORMAT = "physml tomography records 1"
MAX_MEASUREMENTS = 200_000


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
    places : sequence of str
        Where each measurement stands in the file, for messages.
    frame : ndarray (d, d), complex128, optional
        Positive matrix K. The settings are measurements of a state rho', and the state that was
        made is rho = K rho' K / tr (K rho' K): so it is where outcomes are lost with a
        probability that depends on the state; see `photonic.poisson`. Without it they are
        the same.

    Raises
    ------
    InputError
        Measurements of other qubits; or two of one id that differ. Of two that are the same to
        the last count one is kept, and a remark names both.
    """

    n_qubits: int
    measurements: list[Measurement]
    readout: Readout | None = None
    calibration: NDArray[np.int64] | None = None
    name: str = "records"
    files: dict[str, Path] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    frame: NDArray[np.complex128] | None = None
    places: Sequence[str] = ()

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
        places = list(self.places)
        if len(places) != len(self.measurements):
            places = [f"measurement {k}" for k in range(len(self.measurements))]
        kept, places, remarks = without_copies(self.measurements, places, place)
        object.__setattr__(self, "measurements", kept)
        object.__setattr__(self, "places", places)
        new = [remark for remark in remarks if remark not in self.remarks]
        object.__setattr__(self, "remarks", [*self.remarks, *new])

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


def records_from(
    data: Any,
    place: str,
    files: Mapping[str, Path] | None = None,
    measured: Measured | None = None,
) -> Records:
    """Records from what JSON holds; InputError otherwise.

    Parameters
    ----------
    data : dict
        ``measurements``, each as `as_measurement` reads them; ``shots`` of each or of all,
        ``n_qubits``, ``readout``, ``calibration``.
    place : str
        For errors.
    files : mapping, optional
        What was read, by role.
    measured : Measured, optional
        Which bits of an outcome belong to the qubits, where there are more.
    """
    data = {"measurements": data} if data and isinstance(data, list) else data
    if not isinstance(data, dict) or not isinstance(data.get("measurements"), list):
        found = f"keys {list(data)!r:.60}" if isinstance(data, dict) else type(data).__name__
        raise InputError.expected(
            place,
            "an object with a list of measurements, or counts by label as qiskit has them",
            found,
        )
    given = data["measurements"]
    if not 0 < len(given) <= MAX_MEASUREMENTS:
        raise InputError.expected(place, f"1 to {MAX_MEASUREMENTS} measurements", str(len(given)))
    remarks: list[str] = []
    measurements = [as_measurement(m, place, k, remarks, measured) for k, m in enumerate(given)]
    claims = [
        (m.setting.id, _shots_of(g, data, f"{place}, measurement {k}"), int(m.counts.sum()))
        for k, (g, m) in enumerate(zip(given, measurements, strict=True))
    ]
    remarks += compare_shots(claims, place)
    n = data.get("n_qubits")
    if n is None:
        n = measurements[0].setting.dimension.bit_length() - 1
    try:
        readout = Readout.from_dict(data["readout"]) if data.get("readout") else None
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    order = data.get("bit_order")
    order = None if order is None else bit_order(order, f"{place}, bit_order")
    calibration = data.get("calibration")
    if calibration is not None:
        calibration, said = calibration_counts(calibration, f"{place}, calibration", order)
        remarks += said
    return Records(
        check_qubits(n, f"{place}, n_qubits"),
        measurements,
        readout,
        calibration,
        Path(place).stem,
        dict(files or {}),
        summed_up(remarks),
        None if data.get("frame") is None else _frame(data["frame"], place),
    )


def _shots_of(measurement: Any, data: dict[str, Any], place: str) -> int | None:
    """Shots that a file says of a measurement, or of all; None where it does not."""
    setting = measurement.get("setting")
    given = planned(setting["shots"]) if isinstance(setting, dict) else None
    said = [x for x in (measurement.get("shots"), given, data.get("shots")) if x is not None]
    return check_shots(said[0], f"{place}, shots", 0) if said else None


def summed_up(remarks: Sequence[str]) -> list[str]:
    """Each remark once; of those that differ only behind their colon the first, and how many."""
    groups: dict[str, list[str]] = {}
    for remark in dict.fromkeys(remarks):
        groups.setdefault(remark.partition(": ")[0], []).append(remark)
    return [g[0] + (f", and {len(g) - 1} more" if len(g) > 1 else "") for g in groups.values()]


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
