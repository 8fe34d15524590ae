"""Extensions of a FITS file: their headers, compared with the bytes there are, before any data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.fits import Header

from physml.exceptions import InputError
from physml.io.fits import headers

from ...core.arrays import Floats, Rows
from .unpacked import Unpacked

_CODES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
#: Formats of columns that hold one number: letter -> type.
_COLUMNS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "L": "u1"}
_WIDTHS = {**{k: np.dtype(v).itemsize for k, v in _COLUMNS.items()}, "A": 1, "C": 8, "M": 16}
_WIDTHS |= {"P": 8, "Q": 16}
_TFORM = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])")


@dataclass(frozen=True)
class Extension:
    """One extension of a FITS file.

    Attributes
    ----------
    number : int
        0 is the primary.
    header : Header
    start : int
        Where its data begin, bytes.
    """

    number: int
    header: Header
    start: int

    @property
    def name(self) -> str:
        """EXTNAME in capitals, or an empty text."""
        return str(self.header.get("EXTNAME", "")).strip().upper()

    @property
    def is_table(self) -> bool:
        """A binary table that is not a packed image."""
        kind = str(self.header.get("XTENSION", "")).strip()
        return kind == "BINTABLE" and not self.is_tiled

    @property
    def is_tiled(self) -> bool:
        """An image in packed tiles, as fpack writes it."""
        return bool(self.header.get("ZIMAGE", False))

    @property
    def axes(self) -> tuple[int, ...]:
        """Lengths of the axes of the image, the slowest first; without leading ones of length 1."""
        z = "Z" if self.is_tiled else ""
        number = min(int(self.header.get(f"{z}NAXIS", 0)), 100)
        lengths = [int(self.header[f"{z}NAXIS{i + 1}"]) for i in range(number)][::-1]
        while len(lengths) > 3 and lengths[0] == 1:
            lengths = lengths[1:]
        return tuple(lengths)

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a table."""
        number = int(self.header.get("TFIELDS", 0))
        return [str(self.header.get(f"TTYPE{i}", "")).strip() for i in range(1, number + 1)]


@dataclass
class FitsFile:
    """A FITS file, packed or not, of which all headers were read.

    Attributes
    ----------
    path : Path
    data : Unpacked
    extensions : list of Extension
    """

    path: Path
    data: Unpacked
    extensions: list[Extension]

    @classmethod
    def read(cls, path: Path, data: Unpacked | None = None) -> FitsFile:
        """Read all headers.

        Raises
        ------
        InputError
            Truncated, or a damaged header.
        """
        data = data or Unpacked(path)
        found = []
        with data.open() as file:
            for number, (header, start, _) in enumerate(headers(path, file)):
                extension = Extension(number, header, start)
                try:
                    list(header.values())  # cards are parsed when they are looked at
                    if len(extension.axes) > 99:
                        raise ValueError(f"{len(extension.axes)} axes")
                except Exception as error:  # astropy's parser fails in many ways on hostile cards
                    raise InputError.expected(
                        path, "a readable FITS header", f"a damaged one ({error})"
                    ) from error
                found.append(extension)
        return cls(path, data, found)

    @property
    def tables(self) -> list[Extension]:
        """Binary tables."""
        return [e for e in self.extensions if e.is_table]

    @property
    def primary(self) -> Header:
        """Header of the primary."""
        return self.extensions[0].header if self.extensions else Header()

    def whole_header(self, extension: Extension) -> Header:
        """Header of an extension, with the cards of the primary that it lacks."""
        header = extension.header.copy()
        if extension.number:
            own = set(header)
            for card in self.primary.cards:
                if card.keyword not in own and card.keyword not in ("", "COMMENT", "HISTORY"):
                    header.append(card)
        return header


def number_type(header: Header, tiled: bool = False) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Types of the numbers of an image: as they are stored, and as they are meant.

    Raises
    ------
    ValueError
        BSCALE or BZERO is no number.
    """
    stored = np.dtype(_CODES[int(header["ZBITPIX" if tiled else "BITPIX"])])
    scale, zero = scaling(header)
    whole = stored.kind in "ui" and scale == 1 and zero == int(zero)
    dtype = np.dtype("i8" if whole and zero else stored if whole else "f4").newbyteorder("=")
    if (
        whole
        and stored.kind == "i"
        and stored.itemsize < 8
        and zero == 2 ** (8 * stored.itemsize - 1)
    ):
        dtype = np.dtype(f"u{stored.itemsize}")  # how FITS stores unsigned numbers
    return stored, dtype


def scaling(header: Header) -> tuple[float, float]:
    """BSCALE and BZERO.

    Raises
    ------
    ValueError
        They are no finite numbers.
    """
    try:
        scale, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    except (TypeError, ValueError):
        scale = zero = float("nan")
    if not (np.isfinite([scale, zero]).all() and abs(zero) < 1 << 63):
        raise ValueError("no numbers as BSCALE and BZERO")
    return scale, zero


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
