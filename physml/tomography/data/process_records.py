"""Measurements of a process: inputs, settings, counts; from JSON and CSV, checked.

JSON is an object with ``measurements``, each with an ``input``, with ``axes`` or ``setting`` and
``counts`` as for states (`records.as_measurement`), and with ``readout`` or ``calibration`` where
there are. An input is a label such as "0+" (`preparations.input_names`), a vector (d, 2), or a
density matrix (d, d, 2), of pairs [real, imaginary]. For CSV see `process_csv`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.process.preparations import input_names, input_state
from ..core.qobj import as_density_matrix
from ..core.readout import Readout, estimate_confusion
from .json_file import measurement_list
from .records import Measurement, as_measurement, check_calibration

#: Process tomography is of that many qubits at most: a process of three has 4032 parameters.
MAX_QUBITS = 2
MAX_MEASUREMENTS = 100_000


@dataclass(frozen=True, eq=False)
class ProcessMeasurement:
    """One input, one setting, and its counts.

    Attributes
    ----------
    label : str
        Name of the input.
    state : ndarray (d, d), complex128
        The input.
    measurement : Measurement
        Of the output.
    """

    label: str
    state: NDArray[np.complex128]
    measurement: Measurement

    @property
    def name(self) -> str:
        """Input and setting, for messages."""
        return f"{self.label} > {self.measurement.setting.id}"


@dataclass(frozen=True, eq=False)
class ProcessRecords:
    """Measurements of one process.

    Attributes
    ----------
    n_qubits : int
        1 or 2.
    measurements : list of ProcessMeasurement
    readout : Readout, optional
        Confusion of the detectors.
    name : str
        For titles.
    files : dict
        What was read, by role.
    remarks : list of str
        What was assumed and the user should know.
    """

    n_qubits: int
    measurements: list[ProcessMeasurement]
    readout: Readout | None = None
    name: str = "records"
    files: dict[str, Path] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        place = str(self.files.get("records", self.name))
        check_process_qubits(self.n_qubits, place)
        if not self.measurements:
            raise InputError.expected(place, "counts of at least one setting", "none")
        for each in self.measurements:
            sizes = (each.measurement.setting.dimension, len(each.state))
            if sizes != (1 << self.n_qubits,) * 2:
                raise InputError.expected(
                    place,
                    f"inputs and settings of {self.n_qubits} qubits",
                    f"{each.name!r} of dimensions {sizes[1]} and {sizes[0]}",
                )
        if self.readout is not None and len(self.readout.confusion) != self.n_qubits:
            raise InputError.expected(
                place,
                f"readout errors of {self.n_qubits} qubits",
                f"of {len(self.readout.confusion)}",
            )

    @property
    def copies(self) -> int:
        """All counts."""
        return sum(int(each.measurement.counts.sum()) for each in self.measurements)

    def __repr__(self) -> str:
        return (
            f"<ProcessRecords {self.name}: {self.n_qubits} qubits, {len(self.measurements)} "
            f"measurements, {self.copies} copies>"
        )


def check_process_qubits(n: Any, place: str) -> int:
    """One or two; InputError otherwise."""
    if isinstance(n, bool) or n not in (1, 2):
        raise InputError.expected(place, "a process of 1 or 2 qubits", f"{n!r:.40}")
    return int(n)


def as_process_measurement(
    data: Any, place: str, number: int = 0, n_qubits: int | None = None
) -> ProcessMeasurement:
    """One measurement as JSON has it, checked; InputError otherwise."""
    where = f"{place}, measurement {number}"
    if not isinstance(data, dict) or "input" not in data:
        raise InputError.expected(where, "an object with an input", f"{data!r:.60}")
    if data.get("id") is None and isinstance(data.get("axes"), str):
        data = {**data, "id": data["axes"].strip().upper() or None}
    measurement = as_measurement(data, place, number)
    n = check_process_qubits(measurement.setting.dimension.bit_length() - 1, where)
    if n_qubits is not None and n != n_qubits:
        raise InputError.expected(where, f"a setting of {n_qubits} qubits", f"of {n}")
    shots = data.get("shots")
    if shots is not None and shots != int(measurement.counts.sum()):
        raise InputError.expected(
            where,
            f"counts that add up to its {shots!r:.20} shots",
            f"{int(measurement.counts.sum())}",
            "Add what is missing, or leave out the shots where copies were lost.",
        )
    label, state = _input(data["input"], n, f"{where}, input")
    return ProcessMeasurement(label, state, measurement)


def _input(given: Any, n: int, place: str) -> tuple[str, NDArray[np.complex128]]:
    if isinstance(given, dict):
        given = given.get("state", given.get("density_matrix", given.get("label")))
    if isinstance(given, str):
        names = input_names(given, n, place)
        return ",".join(names), input_state(names)
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError.expected(place, "a label, or numbers", f"{given!r:.60}") from error
    d = 1 << n
    if array.shape not in ((d, 2), (d, d, 2)):
        raise InputError.expected(
            place,
            f"a label, a vector ({d}, 2) or a matrix ({d}, {d}, 2) of pairs [real, imaginary]",
            f"shape {array.shape}",
        )
    state = as_density_matrix(array[..., 0] + 1j * array[..., 1], n, place)
    return "state", np.asarray(state.numpy())


def process_records_from(
    data: Any, place: str, files: Mapping[str, Path] | None = None
) -> ProcessRecords:
    """Records from what JSON holds; InputError otherwise."""
    given = measurement_list(data, place)
    if not 0 < len(given) <= MAX_MEASUREMENTS:
        raise InputError.expected(place, f"1 to {MAX_MEASUREMENTS} measurements", str(len(given)))
    n = data.get("n_qubits")
    n = None if n is None else check_process_qubits(n, f"{place}, n_qubits")
    measurements = [as_process_measurement(m, place, k, n) for k, m in enumerate(given)]
    calibration = check_calibration(data.get("calibration"), place)
    readout = None
    if data.get("readout"):
        readout = Readout.from_dict(data["readout"])
    elif calibration is not None:
        readout = estimate_confusion(calibration)
    ids = [m.get("id") for m in given if isinstance(m, dict) and m.get("id") is not None]
    return ProcessRecords(
        measurements[0].measurement.setting.dimension.bit_length() - 1,
        measurements,
        readout,
        Path(place).stem,
        dict(files or {}),
        check_repeats(measurements, ids, place),
    )


def check_repeats(
    measurements: Sequence[ProcessMeasurement], ids: Sequence[Any], place: str
) -> list[str]:
    """Remarks on repeats; InputError where an id is there twice."""
    if len(set(map(str, ids))) < len(ids):
        twice = next(i for i in ids if list(ids).count(i) > 1)
        raise InputError.expected(place, "each id once", f"{twice!r:.60} again")
    seen: dict[tuple[bytes, bytes, bytes], str] = {}
    remarks: list[str] = []
    for each in measurements:
        m = each.measurement
        key = (each.state.tobytes(), m.setting.effects.tobytes(), m.counts.tobytes())
        if key in seen and not remarks:
            remarks = [
                f"{each.name} is there again with the very same counts: it was taken for a "
                "repetition; take it out if it is a copy"
            ]
        seen[key] = each.name
    return remarks
