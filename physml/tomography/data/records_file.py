"""Files of measurements: JSON, CSV, HDF5 and sessions, told apart by their content.

What a laboratory writes is untrusted: each reader checks everything before anything is used, and
says which line or measurement is at fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from physml.exceptions import InputError
from physml.io.atomic import write_json
from physml.io.files import require_file

from ..core.checks import check_counts, check_qubits, check_time
from ..core.measurements import Setting
from ..core.readout import Readout
from .counts.marginals import marginal
from .counts.outcomes import Measured
from .counts.whole import compare_shots
from .json_file import looks_like_json, read_strict_json
from .records import (
    Measurement,
    Records,
    planned,
    records_from,
    records_to_dict,
)
from .records_csv import read_csv, write_csv
from .records_foreign import KINDS, kind_of, read_foreign
from .records_hdf5 import read_hdf5, write_hdf5
from .session import is_session, read_session

#: Largest text file that is read.
MAX_BYTES = 256 << 20

_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_records(
    path: str | PathLike[str],
    kind: str = "auto",
    repeats: int = 1,
    rounded: bool = False,
    *,
    window: float | None = None,
    accidental_rate: float | None = None,
    measured: Sequence[int] | None = None,
) -> Records:
    """Read measurements from a JSON, CSV, HDF5 or session file, told apart by their content.

    Parameters
    ----------
    path : path
    kind : str
        "records" for files of our own forms, "qiskit" for its counts, "photonic" for coincidence
        tables, "pygsti" for its data sets; "auto" finds out. A CSV file of the kind "qiskit" has
        qubit 0 last in its axes and outcomes.
    repeats : int
        Runs of which the counts of a coincidence table are means.
    rounded : bool
        Round these means.
    window, accidental_rate : float, optional
        Coincidence window, ns, or accidental coincidences a second of a coincidence table.
    measured : sequence of int, optional
        Bits of an outcome that belong to the qubits of a setting, where there are more bits; where
        there are not, the qubits that are wanted: the others are left out. Bit 0 and qubit 0 are
        the first in our own files and the last in those of qiskit.

    Raises
    ------
    InputError
        For everything that is not as it has to be.
    """
    source = require_file(path, "a file of measurements")
    if window is not None or accidental_rate is not None:
        whose = kind_of(source) if kind == "auto" else kind
        if whose != "photonic":
            raise InputError.expected(
                "window=" if accidental_rate is None else "accidental_rate=",
                "a coincidence table",
                f"{source.name}, a file of another kind",
            )
    choice = Measured.of(measured)
    records = _read(source, kind, repeats, rounded, window, accidental_rate, choice)
    if choice.places is None or choice.used:
        return records
    return marginal(records, choice.places)


def _read(
    source: Path,
    kind: str,
    repeats: int,
    rounded: bool,
    window: float | None,
    accidental_rate: float | None,
    measured: Measured,
) -> Records:
    with open(source, "rb") as file:
        start = file.read(512)
    if start.startswith(_HDF5):
        return read_hdf5(source)
    if is_session(source):
        return records_of_session(read_session(source), source)
    require_file(source, "a file of measurements", MAX_BYTES)
    if kind not in KINDS:
        raise InputError.expected("kind=", f"one of {', '.join(KINDS)}", repr(kind))
    whose = kind_of(source) if kind == "auto" else kind
    json = looks_like_json(start)
    if whose == "qiskit" and not json:
        return read_csv(source, measured, last=True)
    if whose == "qiskit":
        # It takes its marginals itself: what is a bit and what a qubit is said by its labels.
        return read_foreign(source, whose, measured=measured)
    if whose != "records":
        return read_foreign(source, whose, repeats, rounded, window, accidental_rate, measured)
    if json:
        data = read_strict_json(source)
        return records_from(data, str(source), {"records": source}, measured)
    return read_csv(source, measured)


def records_of_session(events: Sequence[Mapping[str, Any]], path: Path) -> Records:
    """Records of all that was answered in a session; InputError otherwise."""
    header = events[0]
    settings: dict[str, Setting] = {}
    measurements = []
    for event in events[1:]:
        try:
            if "setting" in event:
                setting = Setting.from_dict(event["setting"])
                settings[setting.id] = setting
            if event["event"] == "counts":
                setting = settings[event["id"]]
                counts = check_counts(event["counts"], setting)
                measurements.append(Measurement(setting, counts, check_time(event.get("time"))))
        except (KeyError, TypeError) as error:
            raise InputError.expected(
                path, f"a whole event {event.get('n')}", f"none of its {error}"
            ) from error
    readout = header.get("readout")
    claims = [(m.setting.id, planned(m.setting.shots), int(m.counts.sum())) for m in measurements]
    return Records(
        check_qubits(header.get("n_qubits"), f"{path}, n_qubits"),
        measurements,
        None if readout is None else Readout.from_dict(readout),
        name=path.stem,
        files={"records": path},
        remarks=compare_shots(claims, str(path), strict=False),
    )


def save_records(records: Records, path: str | PathLike[str], overwrite: bool = False) -> None:
    """Write measurements; the ending says how: .json, .csv (Pauli settings only), .h5 or .hdf5.

    Raises
    ------
    InputError
        Another ending, or settings that a CSV file cannot hold.
    OutputError
        There is something of that name already, or no room.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending == ".json":
        write_json(target, records_to_dict(records), overwrite)
    elif ending == ".csv":
        write_csv(records, target, overwrite)
    elif ending in (".h5", ".hdf5"):
        write_hdf5(records, target, overwrite)
    else:
        raise InputError.expected(target, "a name that ends in .json, .csv or .h5", repr(ending))
