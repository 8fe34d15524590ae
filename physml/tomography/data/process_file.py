"""Files of process tomography, JSON or CSV, told apart by their content."""

from __future__ import annotations

from os import PathLike

from .json_file import read_json_or_csv
from .process_csv import read_process_csv
from .process_records import ProcessRecords, process_records_from

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
    return read_json_or_csv(
        path, "a file of process tomography", MAX_BYTES, process_records_from, read_process_csv
    )
