"""CSV files of process tomography.

Wide, a line for each input and setting, the outcomes as columns (qubit 0 is the first digit)::

    input,axes,00,01,10,11
    0+,XX,251,262,244,243

or long, a line for each outcome::

    input,axes,outcome,counts
    0+,XX,00,251

with the columns ``id``, ``shots`` and ``time`` (seconds) where one has them.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from physml.exceptions import InputError

from .process_records import (
    MAX_MEASUREMENTS,
    ProcessMeasurement,
    ProcessRecords,
    as_process_measurement,
    check_repeats,
)

_INPUTS = ("input", "preparation", "state", "prep")
_AXES = ("axes", "basis", "setting", "measurement")
_COUNTS = ("counts", "count")
_OWN = ("id", "shots", "time")


def read_process_csv(path: Path) -> ProcessRecords:
    """Read a CSV file; InputError, which names the line, where it is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.expected(path, "JSON or CSV", "another kind of file") from error
    lines = _lines(path, text)
    if len(lines) < 2:
        raise InputError.expected(path, "a head and lines of counts", f"{len(lines)} lines")
    columns = [name.lower() for name in lines[0][1]]
    if len(set(columns)) < len(columns):
        raise InputError.expected(path, "each column once", f"{columns[:16]}")
    named = [next((n for n in names if n in columns), None) for names in (_INPUTS, _AXES)]
    if None in named:
        raise InputError.expected(
            path, "columns 'input' and 'axes'", f"columns {columns[:8]}", "For JSON see the help."
        )
    rows = []
    for line, cells in lines[1:]:
        if len(cells) != len(columns):
            raise InputError.expected(path, f"{len(columns)} cells in line {line}", str(len(cells)))
        rows.append((line, dict(zip(columns, cells, strict=True))))
    given, axes = str(named[0]), str(named[1])
    remarks: list[str] = []
    if "outcome" in columns:
        found = _long(path, rows, columns, given, axes, remarks)
    else:
        found = _wide(path, rows, columns, given, axes)
    if len(found) > MAX_MEASUREMENTS:
        raise InputError.expected(path, f"at most {MAX_MEASUREMENTS} settings", str(len(found)))
    measurements: list[ProcessMeasurement] = []
    for line, data in found:
        n = len(data["axes"].strip())
        first = measurements[0].measurement.setting.dimension if measurements else 1 << n
        if 1 << n != first:
            raise InputError.expected(
                f"{path}, line {line}", f"axes of {first.bit_length() - 1} qubits", data["axes"]
            )
        measurements.append(as_process_measurement(data, f"{path}, line {line}", 0))
    ids = [data["id"] for _, data in found if data.get("id")]
    remarks += check_repeats(measurements, ids, str(path))
    n = measurements[0].measurement.setting.dimension.bit_length() - 1
    return ProcessRecords(n, measurements, name=path.stem, files={"records": path}, remarks=remarks)


def _lines(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Lines that are not empty nor comments, with their numbers."""
    head = next((line for line in text.splitlines() if line.strip() and line[0] != "#"), "")
    separator = max(";\t,", key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    out = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not row[0].startswith("#"):
                out.append((reader.line_num, [cell.strip() for cell in row]))
    except csv.Error as error:
        raise InputError.expected(path, "CSV", f"line {reader.line_num}: {error}") from error
    return out


Rows = list[tuple[int, dict[str, str]]]
Found = list[tuple[int, dict[str, Any]]]


def _body(path: Path, line: int, cells: dict[str, str], given: str, axes: str) -> dict[str, Any]:
    data: dict[str, Any] = {"input": cells[given], "axes": cells[axes]}
    if cells.get("id"):
        data["id"] = cells["id"]
    for name in ("shots", "time"):
        if cells.get(name):
            data[name] = _number(path, line, name, cells[name])
    return data


def _wide(path: Path, rows: Rows, columns: list[str], given: str, axes: str) -> Found:
    outcomes = [name for name in columns if name not in (given, axes, *_OWN)]
    found: Found = []
    for line, cells in rows:
        n = len(cells[axes])
        wanted = [format(k, f"0{n}b") for k in range(1 << n)] if 0 < n <= 8 else []
        if wanted and sorted(outcomes) != wanted:
            raise InputError.expected(path, f"columns {wanted[:4]} of outcomes", f"{outcomes[:8]}")
        counts = {name: _number(path, line, name, cells[name]) for name in outcomes}
        found.append((line, {**_body(path, line, cells, given, axes), "counts": counts}))
    return found


def _long(
    path: Path, rows: Rows, columns: list[str], given: str, axes: str, remarks: list[str]
) -> Found:
    column = next((name for name in _COUNTS if name in columns), None)
    if column is None:
        raise InputError.expected(path, "a column 'counts'", f"columns {columns[:8]}")
    groups: dict[tuple[str, ...], tuple[int, dict[str, Any]]] = {}
    for line, cells in rows:
        key = (cells.get("id", ""), cells[given].lower(), cells[axes].upper())
        if key not in groups:
            groups[key] = (line, {**_body(path, line, cells, given, axes), "counts": {}})
        counts = groups[key][1]["counts"]
        if cells["outcome"] in counts:
            raise InputError.expected(
                path,
                f"outcome {cells['outcome']!r} of {' > '.join(key[1:])} once",
                f"again in line {line}",
                "Give repeated settings an id each.",
            )
        counts[cells["outcome"]] = _number(path, line, column, cells[column])
    lacking = [k for k, (_, data) in groups.items() if len(data["counts"]) < 1 << len(k[2])]
    if lacking:
        remarks.append(
            f"{len(lacking)} settings have no line for some outcomes (the first is "
            f"{' > '.join(lacking[0][1:])}): these were taken as never seen"
        )
    return list(groups.values())


def _number(path: Path, line: int, column: str, text: str) -> float | int:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise InputError.expected(path, f"a number as {column!r} in line {line}", repr(text[:40]))
