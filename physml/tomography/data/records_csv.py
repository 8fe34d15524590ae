"""CSV files of Pauli measurements, as they come out of a spreadsheet.

Wide, a line for each setting, the outcomes as columns (qubit 0 is the first digit)::

    axes,00,01,10,11
    XX,251,262,244,243

or long, a line for each outcome::

    axes,outcome,counts
    XX,00,251

or a line for each shot, with the bits in one column or in one of each qubit (q0, q1, ...)::

    axes,outcome
    XX,00

with the columns ``id``, ``time`` (seconds) and ``shots`` where one has them. Without ``id`` a long
file has each setting once. Other names of columns and outcomes: `_AXES`, `_COUNTS`, `_OUTCOME` and
`counts.outcomes`; separators: `counts.tables`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from physml.exceptions import InputError
from physml.io.atomic import write_text

from ..core.measurements import check_shots, pauli_setting
from .counts.outcomes import Measured, read_outcomes
from .counts.tables import cells_of, count_of, number_of, read_text, rows_of, same_names
from .counts.whole import compare_shots
from .records import (
    MAX_MEASUREMENTS,
    Measurement,
    Records,
    as_measurement,
    axes_setting,
    summed_up,
)

_AXES = ("axes", "basis", "bases", "setting", "pauli", "label")
_COUNTS = ("counts", "count")
_OUTCOME = ("outcome", "outcomes", "bits", "bitstring", "result")
_SHOT = ("shot", "shot_number", "index")
_QUBIT = re.compile(r"q(?:ubit)?[ _]?(\d+)")

# A setting as it stands in a file: line, its cells, counts by the name of the outcome.
_Found = list[tuple[int, dict[str, str], dict[str, float]]]


def read_csv(path: Path, measured: Measured | None = None, last: bool = False) -> Records:
    """Read a CSV file.

    Parameters
    ----------
    path : Path
    measured : Measured, optional
        Which bits of an outcome belong to the qubits, where there are more.
    last : bool
        Whether qubit 0 is the last letter of the axes and the last bit, as in qiskit.

    Raises
    ------
    InputError
        It is no such file; the line is named.
    """
    rows = rows_of(path, read_text(path, "JSON, CSV, HDF5 or a session of measurements"))
    columns = [name.strip().lower() for name in next(rows, (0, []))[1]]
    axes = next((name for name in _AXES if name in columns), None)
    if axes is None:
        raise InputError.expected(
            path, "JSON, HDF5, or CSV with a column 'axes'", f"columns {columns[:8]}"
        )
    if twice := same_names(columns):
        raise InputError.expected(path, "each column once", f"{twice[0]!r} twice")
    remarks: list[str] = []
    outcome = next((name for name in _OUTCOME if name in columns), None)
    count = next((name for name in _COUNTS if name in columns), None)
    qubits = [name for name in columns if _QUBIT.fullmatch(name)]
    if outcome is not None and count is not None:
        found = _long(path, rows, columns, axes, outcome, count, remarks)
    elif outcome is not None or qubits:
        found = _shots(path, rows, columns, axes, outcome, qubits, remarks)
    else:
        found = _wide(path, rows, columns, axes)
    if not found:
        raise InputError.expected(path, "lines of counts", "only the head")
    measurements = _measurements(path, found, axes, remarks, measured, last)
    claims = [
        (cells[axes], _shots_of(path, line, cells), int(m.counts.sum()))
        for (line, cells, _), m in zip(found, measurements, strict=True)
    ]
    remarks += compare_shots(claims, str(path))
    return Records(
        measurements[0].setting.dimension.bit_length() - 1,
        measurements,
        name=path.stem,
        files={"records": path},
        remarks=summed_up(remarks),
        places=[f"line {line}" for line, _, _ in found],
    )


def _shots_of(path: Path, line: int, cells: dict[str, str]) -> int | None:
    """Shots of a line, where they are said; InputError where they are no whole number."""
    if not cells.get("shots"):
        return None
    place = f"{path}, line {line}, shots"
    return check_shots(count_of(path, line, "shots", cells["shots"]), place, 0)


def _measurements(
    path: Path,
    found: _Found,
    column: str,
    remarks: list[str],
    measured: Measured | None,
    last: bool,
) -> list[Measurement]:
    """Checked measurements of what stands in a file."""
    names = list(dict.fromkeys(name for _, _, counts in found for name in counts))
    known: dict[int, dict[str, str]] = {}
    out: list[Measurement] = []
    for line, cells, counts in found:
        where = f"{path}, line {line}"
        axes = cells[column]
        n = axes_setting(axes, where).dimension.bit_length() - 1
        if n not in known:
            # Of qiskit's bits the last is that of qubit 0: turned round, it is the first.
            turned = {name[::-1] if last else name: name for name in names}
            bits, remark = read_outcomes(turned, n, f"{where}, outcomes", measured)
            known[n] = {turned[name]: b for name, b in bits.items()}
            remarks += [] if remark is None else [remark]
        data: dict[str, object] = {
            "axes": axes[::-1] if last else axes,
            "counts": _summed(where, known[n], counts),
            "id": cells.get("id") or None,
            "shots": _shots_of(path, line, cells),
        }
        if cells.get("time"):
            data["time"] = number_of(path, line, "time", cells["time"])
        out.append(as_measurement(data, where, len(out)))
    return out


def _summed(where: str, bits: dict[str, str], counts: dict[str, float]) -> dict[str, float]:
    """Counts by bits; of several names with the same bits the sum, checked before."""
    out: dict[str, float] = {}
    for name, value in counts.items():
        if len(bits) > len(set(bits.values())) and (value != value // 1 or value < 0):
            raise InputError.expected(f"{where}, {name!r}", "a whole number from 0 on", f"{value}")
        out[bits[name]] = out.get(bits[name], 0) + value
    return out


def _wide(
    path: Path, rows: Iterator[tuple[int, list[str]]], columns: list[str], axes: str
) -> _Found:
    known = {axes, "id", "time", "shots"}
    outcomes = [name for name in columns if name not in known]
    out: _Found = []
    for line, row in rows:
        cells = cells_of(path, line, row, columns)
        counts = {name: count_of(path, line, name, cells[name]) for name in outcomes}
        n = axes_setting(cells[axes], f"{path}, line {line}").dimension.bit_length() - 1
        if len(outcomes) < 1 << n:
            missing = [name for k in range(1 << n) if (name := format(k, f"0{n}b")) not in counts]
            raise InputError.expected(path, f"a column for outcome {missing[0]}", f"{outcomes[:8]}")
        out.append((line, cells, counts))
        _check_number(path, len(out))
    return out


def _long(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    columns: list[str],
    axes: str,
    outcome: str,
    count: str,
    remarks: list[str],
) -> _Found:
    groups: dict[tuple[str, str], tuple[int, dict[str, str], dict[str, float]]] = {}
    lines: dict[tuple[str, str, str], tuple[int, dict[str, str]]] = {}
    copies = []
    for line, row in rows:
        cells = cells_of(path, line, row, columns)
        key = (cells.get("id", ""), cells[axes].upper())
        first, head, counts = groups.setdefault(key, (line, cells, {}))
        name = cells[outcome]
        before, same = lines.setdefault((*key, name), (line, cells))
        if before != line and key[0] and same == cells:
            copies.append(f"line {before} in line {line}")
            continue
        if before != line:
            raise InputError.expected(
                path,
                f"outcome {name!r} of {key[1]} once",
                f"in line {before} and again in line {line}",
                "Give repeated settings an id each.",
            )
        if cells.get("shots") != head.get("shots"):
            raise InputError.expected(
                path,
                f"the same shots in all lines of {key[1]}",
                f"{head.get('shots')!r} in line {first} and {cells.get('shots')!r} in line {line}",
            )
        counts[name] = count_of(path, line, count, cells[count])
        _check_number(path, len(groups))
    if copies:
        more = f" and {len(copies) - 4} more" if len(copies) > 4 else ""
        remarks.append(f"counted once, though in the file twice: {', '.join(copies[:4])}{more}")
    return list(groups.values())


def _shots(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    columns: list[str],
    axes: str,
    outcome: str | None,
    qubits: list[str],
    remarks: list[str],
) -> _Found:
    """A line for each shot; the shots of a setting are counted together."""
    number = next((name for name in _SHOT if name in columns), None)
    bits = [outcome] if outcome is not None else sorted(qubits, key=_number_of)
    known = {axes, "id", "time", *_SHOT, *bits}
    if odd := [name for name in columns if name not in known]:
        raise InputError.expected(
            path, "a column 'counts', or lines of one shot each", f"a column {odd[0]!r}"
        )
    groups: dict[tuple[str, str], tuple[int, dict[str, str], dict[str, float]]] = {}
    seen: dict[tuple[str, str, str], int] = {}
    for line, row in rows:
        cells = cells_of(path, line, row, columns)
        key = (cells.get("id", ""), cells[axes].upper())
        if number is not None:
            before = seen.setdefault((*key, cells[number]), line)
            if before != line:
                raise InputError.expected(
                    path,
                    f"shot {cells[number]!r} of {key[1]} once",
                    f"in line {before} and again in line {line}",
                )
        counts = groups.setdefault(key, (line, {**cells, "time": ""}, {}))[2]
        name = "".join(cells[column] for column in bits)
        if outcome is None and not set(name) <= {"0", "1"}:
            raise InputError.expected(f"{path}, line {line}", "0 or 1 of each qubit", repr(name))
        counts[name] = counts.get(name, 0) + 1
        _check_number(path, len(groups))
    total = int(sum(sum(counts.values()) for _, _, counts in groups.values()))
    remarks.append(f"{total:,} lines of one shot each were counted by their setting")
    if "time" in columns:
        remarks.append("times of single shots were not used: repeat settings to see a drift")
    return list(groups.values())


def _number_of(column: str) -> int:
    """Number of a qubit in the name of its column."""
    found = _QUBIT.fullmatch(column)
    return int(found[1]) if found else 0


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
