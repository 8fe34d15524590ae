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
from .records import Measurement, Records, read_strict_json, records_from, records_to_dict
from .records_csv import read_csv, write_csv
from .records_foreign import KINDS, kind_of, read_foreign
from .records_hdf5 import read_hdf5, write_hdf5
from .session import is_session, read_session

#: Largest text file that is read.
MAX_BYTES = 256 << 20

_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_records(
    path: str | PathLike[str], kind: str = "auto", repeats: int = 1, rounded: bool = False
) -> Records:
    """Read measurements from a JSON, CSV, HDF5 or session file, told apart by their content.

    Parameters
    ----------
    path : path
    kind : str
        "records" for files of our own forms, "qiskit" for its counts, "photonic" for coincidence
        tables; "auto" finds out.
    repeats : int
        Runs of which the counts of a coincidence table are means.
    rounded : bool
        Round these means.

    Raises
    ------
    InputError
        For everything that is not as it has to be.
    """
    source = require_file(path, "a file of measurements")
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
    if whose != "records":
        return read_foreign(source, whose, repeats, rounded)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return records_from(read_strict_json(source), str(source), {"records": source})
    return read_csv(source)


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
    return Records(
        check_qubits(header.get("n_qubits"), f"{path}, n_qubits"),
        measurements,
        None if readout is None else Readout.from_dict(readout),
        name=path.stem,
        files={"records": path},
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
