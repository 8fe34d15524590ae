"""Columns of binary tables in FITS, read row by row without the whole table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.fits import Header

from physml.exceptions import InputError

from ...core.arrays import Floats, Rows
from .fits_file import Extension, FitsFile

#: Formats of columns that hold one number: letter -> type.
_COLUMNS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "L": "u1"}
_WIDTHS = {**{k: np.dtype(v).itemsize for k, v in _COLUMNS.items()}, "A": 1, "C": 8, "M": 16}
_WIDTHS |= {"P": 8, "Q": 16}
_TFORM = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])")


@dataclass(frozen=True)
class Column:
    """A column of numbers of a binary table.

    Attributes
    ----------
    name, unit : str
    dtype : dtype
        As it is stored.
    offset : int
        Of the column in a row, bytes.
    scale, zero : float
        TSCAL and TZERO.
    null, low, high : float or None
        TNULL, TLMIN and TLMAX.
    """

    name: str
    unit: str
    dtype: np.dtype[Any]
    offset: int
    scale: float = 1.0
    zero: float = 0.0
    null: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers."""
        return (
            self.dtype.kind in "ui"
            and self.scale == 1
            and abs(self.zero) < 1 << 62
            and self.zero == int(self.zero)
        )


def columns_of(path: Path, extension: Extension) -> dict[str, Column]:
    """Columns of a table that hold one number a row, by name.

    Raises
    ------
    InputError
        A format that is none, or columns that do not fit in a row.
    """
    header, offset = extension.header, 0
    found: dict[str, Column] = {}
    for i, name in enumerate(extension.columns, start=1):
        form = _TFORM.match(str(header.get(f"TFORM{i}", "")))
        if form is None:
            raise InputError.expected(path, f"a format in TFORM{i}", repr(header.get(f"TFORM{i}")))
        count, letter = int(form[1] or 1), form[2]
        if letter in _COLUMNS and letter != "L" and count == 1 and name not in found:
            limits = (_card(header, f"{key}{i}") for key in ("TNULL", "TLMIN", "TLMAX"))
            found[name] = Column(
                name,
                str(header.get(f"TUNIT{i}", "") or "").strip(),
                np.dtype(_COLUMNS[letter]),
                offset,
                _card(header, f"TSCAL{i}") or 1.0,
                _card(header, f"TZERO{i}") or 0.0,
                *limits,
            )
        offset += -(-count // 8) if letter == "X" else count * _WIDTHS[letter]
    if offset > int(header["NAXIS1"]):
        raise InputError.expected(
            path, f"columns of {header['NAXIS1']} bytes in {extension.name}", f"{offset} bytes"
        )
    return found


def _card(header: Header, name: str) -> float | None:
    value = header.get(name)
    good = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    return value if good else None


def read_columns(
    file: FitsFile, extension: Extension, columns: dict[str, Column], a: int, b: int
) -> dict[str, Rows]:
    """Rows a to b of some columns: whole numbers as int64, others as float64, undefined ones NaN.

    Parameters
    ----------
    file : FitsFile
    extension : Extension
    columns : dict of Column
        By the name that they get in the answer.
    a, b : int
        Rows.

    Raises
    ------
    InputError
        The file ends before.
    """
    size = int(extension.header["NAXIS1"])
    with file.data.open() as opened:
        opened.seek(extension.start + a * size)
        raw = opened.read((b - a) * size)
    if len(raw) < (b - a) * size:
        raise InputError.expected(file.path, f"{b} rows in {extension.name}", "fewer")
    out: dict[str, Rows] = {}
    for key, column in columns.items():
        plan = np.dtype(
            {"names": ["v"], "formats": [column.dtype], "offsets": [column.offset],
             "itemsize": size}
        )  # fmt: skip
        stored = np.frombuffer(raw, plan)["v"]
        null = None if column.null is None else stored == column.null
        if column.whole:
            values: Rows = stored.astype(np.int64) + int(column.zero)
        else:
            values = stored.astype(np.float64) * column.scale + column.zero
        if null is not None and null.any():
            values = np.where(null, np.nan, values)
        out[key] = values
    return out


def read_intervals(file: FitsFile) -> Floats | None:
    """Good time intervals of all tables of them together, s, sorted and merged; None without.

    Raises
    ------
    InputError
        An interval that ends before it begins.
    """
    parts = []
    for extension in file.tables:
        if not extension.name.startswith(("GTI", "STDGTI")):
            continue
        known = {n.upper(): c for n, c in columns_of(file.path, extension).items()}
        if not {"START", "STOP"} <= set(known):
            continue
        wanted = {"start": known["START"], "stop": known["STOP"]}
        rows = read_columns(file, extension, wanted, 0, int(extension.header["NAXIS2"]))
        start, stop = (np.asarray(rows[n], np.float64) for n in ("start", "stop"))
        if not (np.isfinite(start).all() and np.isfinite(stop).all()) or (stop < start).any():
            raise InputError.expected(
                file.path, f"good times in {extension.name} that end after they begin", "others"
            )
        parts.append(np.column_stack([start, stop]))
    if not parts:
        return None
    every = np.concatenate(parts)
    if len(every) == 0:
        return every
    every = every[np.argsort(every[:, 0], kind="stable")]
    end = np.maximum.accumulate(every[:, 1])
    first = np.flatnonzero(np.append(True, every[1:, 0] > end[:-1]))
    return np.column_stack([every[first, 0], end[np.append(first[1:], len(every)) - 1]])
