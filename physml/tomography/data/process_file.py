"""Files of process tomography, JSON or CSV, told apart by their content."""

from __future__ import annotations

from os import PathLike

from physml.io.files import require_file

from .process_csv import read_process_csv
from .process_records import ProcessRecords, process_records_from
from .records import read_strict_json

MAX_BYTES = 256 << 20


def load_process_records(path: str | PathLike[str]) -> ProcessRecords:
    """Read a file of process tomography, JSON or CSV, told apart by its content.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        For everything that is not as it has to be.
    """
    source = require_file(path, "a file of process tomography", MAX_BYTES)
    with open(source, "rb") as file:
        start = file.read(256)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return process_records_from(read_strict_json(source), str(source), {"records": source})
    return read_process_csv(source)
