"""CSV files of Pauli measurements, as they come out of a spreadsheet.

Wide, a line for each setting, the outcomes as columns (qubit 0 is the first digit)::

    axes,00,01,10,11
    XX,251,262,244,243

or long, a line for each outcome::

    axes,outcome,counts
    XX,00,251

with the columns ``id`` and ``time`` (seconds) where one has them. Without ``id`` a long file has
each setting once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from physml.exceptions import InputError
from physml.io.atomic import write_text

from ..core.measurements import pauli_setting
from .records import MAX_MEASUREMENTS, Measurement, Records, as_measurement, axes_setting

_AXES = ("axes", "basis", "setting")
_COUNTS = ("counts", "count")


def read_csv(path: Path) -> Records:
    """Read a CSV file.

    Raises
    ------
    InputError
        It is no such file; the line is named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.expected(
            path, "JSON, CSV, HDF5 or a session of measurements", "another kind of file"
        ) from error
    rows = _rows(path, text)
    columns = [name.strip().lower() for name in next(rows, (0, []))[1]]
    axes = next((columns.index(name) for name in _AXES if name in columns), None)
    if axes is None:
        raise InputError.expected(
            path, "JSON, HDF5, or CSV with a column 'axes'", f"columns {columns[:8]}"
        )
    if len(set(columns)) < len(columns):
        raise InputError.expected(path, "each column once", f"{columns[:16]}")
    long = "outcome" in columns
    measurements = _long(path, rows, columns, axes) if long else _wide(path, rows, columns, axes)
    if not measurements:
        raise InputError.expected(path, "lines of counts", "only the head")
    n = measurements[0].setting.dimension.bit_length() - 1
    return Records(n, measurements, name=path.stem, files={"records": path})


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not empty nor comments, with their numbers; one kind of separator."""
    head = next((line for line in text.splitlines() if line.strip() and line[0] != "#"), "")
    separator = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not row[0].startswith("#"):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise InputError.expected(path, "CSV", f"line {reader.line_num}: {error}") from error


def _cells(path: Path, line: int, row: list[str], columns: list[str]) -> dict[str, str]:
    if len(row) != len(columns):
        raise InputError.expected(path, f"{len(columns)} cells in line {line}", str(len(row)))
    return dict(zip(columns, row, strict=True))


def _number(path: Path, line: int, column: str, text: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise InputError.expected(
            path, f"a number as {column!r} in line {line}", repr(text[:40])
        ) from None


def _measurement(
    path: Path, line: int, number: int, cells: dict[str, str], axes: str, counts: dict[str, float]
) -> Measurement:
    data: dict[str, object] = {"axes": axes, "counts": counts, "id": cells.get("id") or None}
    if cells.get("time"):
        data["time"] = _number(path, line, "time", cells["time"])
    return as_measurement(data, f"{path}, line {line}", number)


def _wide(
    path: Path, rows: Iterator[tuple[int, list[str]]], columns: list[str], axes: int
) -> list[Measurement]:
    known = {columns[axes], "id", "time", "shots"}
    outcomes = [name for name in columns if name not in known]
    out: list[Measurement] = []
    for line, row in rows:
        cells = _cells(path, line, row, columns)
        counts = {name: _number(path, line, name, cells[name]) for name in outcomes}
        setting = axes_setting(cells[columns[axes]], f"{path}, line {line}")
        missing = [name for name in setting.outcomes if name not in counts]
        if missing:
            raise InputError.expected(path, f"a column for outcome {missing[0]}", f"{outcomes[:8]}")
        out.append(_measurement(path, line, len(out), cells, cells[columns[axes]], counts))
        _check_number(path, len(out))
    return out


def _long(
    path: Path, rows: Iterator[tuple[int, list[str]]], columns: list[str], axes: int
) -> list[Measurement]:
    column = next((name for name in _COUNTS if name in columns), None)
    if column is None:
        raise InputError.expected(path, "a column 'counts'", f"columns {columns[:8]}")
    groups: dict[tuple[str, str], tuple[int, dict[str, str], dict[str, float]]] = {}
    for line, row in rows:
        cells = _cells(path, line, row, columns)
        key = (cells.get("id", ""), cells[columns[axes]].upper())
        counts = groups.setdefault(key, (line, cells, {}))[2]
        outcome = cells["outcome"]
        if outcome in counts:
            raise InputError.expected(
                path,
                f"outcome {outcome!r} of {key[1]} once",
                f"again in line {line}",
                "Give repeated settings an id each.",
            )
        counts[outcome] = _number(path, line, column, cells[column])
        _check_number(path, len(groups))
    return [
        _measurement(path, line, k, cells, axes_text, counts)
        for k, ((_, axes_text), (line, cells, counts)) in enumerate(groups.items())
    ]


def _check_number(path: Path, number: int) -> None:
    if number > MAX_MEASUREMENTS:
        raise InputError.expected(path, f"at most {MAX_MEASUREMENTS} settings", "more")


def write_csv(records: Records, path: Path, overwrite: bool = False) -> None:
    """Write Pauli measurements in the wide form.

    Raises
    ------
    InputError
        A setting is no Pauli setting, or there are readout errors: CSV has no place for them.
    """
    if records.readout is not None:
        raise InputError.expected(path, "records without readout errors", "some", "Use .json.")
    names = list(records.measurements[0].setting.outcomes)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    timed = any(m.time is not None for m in records.measurements)
    writer.writerow(["id", "axes", *names, *(["time"] if timed else [])])
    for m in records.measurements:
        axes = axes_of(m)
        if axes is None:
            raise InputError.expected(
                path, "Pauli settings", f"{m.setting.id!r}, which is none", "Use .json or .h5."
            )
        time = [] if not timed else ["" if m.time is None else repr(m.time)]
        writer.writerow([m.setting.id, axes, *m.counts.tolist(), *time])
    write_text(path, text.getvalue(), overwrite)


def axes_of(measurement: Measurement) -> str | None:
    """Axes of a Pauli setting, such as XZ; None for others."""
    setting = measurement.setting
    if setting.local is None:
        return None
    single = {axis: pauli_setting(axis).effects for axis in "XYZ"}
    found = ""
    for local in setting.local:
        effects = np.einsum("ik,jk->kij", local, local.conj())
        match = [a for a, e in single.items() if np.abs(e - effects).max() < 1e-8]
        found += match[0] if match else "?"
    return None if "?" in found else found
