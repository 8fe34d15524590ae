"""File of an event list as it is, byte for byte: what is given back with our columns added."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header

from physml.exceptions import InputError
from physml.io.fits import MAX_BYTES, headers

from ...core.arrays import Rows
from ..frames.unpacked import Unpacked
from .cards import text

#: Names of the extension with the events, those first that are meant by it.
EVENTS = ("EVENTS", "EVENT", "EVTS")
#: Cards of one column of a table.
COLUMN_CARD = re.compile(r"T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM|BCOL)(\d+)$")


@dataclass
class Container:
    """A FITS file in memory.

    Attributes
    ----------
    path : Path
        For messages.
    raw : bytes
        All of it, unpacked.
    headers : list of Header
    spans : list of tuple of int
        Where each extension begins, where its data begin, and where it ends.
    at : int
        Number of the extension with the events.
    """

    path: Path
    raw: bytes = field(repr=False)
    headers: list[Header] = field(repr=False)
    spans: list[tuple[int, int, int]]
    at: int

    @contextlib.contextmanager
    def open(self) -> Iterator[fits.HDUList]:
        """Open the extensions for reading.

        Raises
        ------
        InputError
            A header is damaged beyond what was checked.
        """
        with warnings.catch_warnings():
            # Old telescopes' headers break the standard in harmless ways.
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            warnings.filterwarnings("ignore", message=".*truncated.*")
            try:
                raw = io.BytesIO(self.raw[: self.spans[-1][2]])
                hdus = fits.open(raw, memmap=False, lazy_load_hdus=False)
                for hdu in hdus:  # cards are parsed when they are looked at: all here and now
                    list(hdu.header.values())
                    _ = hdu.shape if hdu.is_image else hdu.columns
            except Exception as error:  # astropy's parser fails in many ways on hostile cards
                raise InputError.expected(
                    self.path, "a FITS file", f"a damaged one ({error})"
                ) from error
            try:
                yield hdus
            except fits.VerifyError as error:
                raise InputError.expected(
                    self.path, "a readable FITS header", f"a damaged one ({error})"
                ) from error
            finally:
                hdus.close()

    @property
    def header(self) -> Header:
        """Header of the events."""
        return self.headers[self.at]

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return int(self.header["NAXIS1"])

    @property
    def rows(self) -> Rows:
        """Rows of the table as they are stored, shape (m,), a void of `width` bytes each."""
        n, start = int(self.header["NAXIS2"]), self.spans[self.at][1]
        if n == 0 or self.width == 0:
            return np.zeros(n, f"V{max(self.width, 1)}")
        return np.frombuffer(self.raw, f"V{self.width}", n, start)

    @property
    def heap(self) -> bytes:
        """Bytes behind the rows: vectors of variable length."""
        start = self.spans[self.at][1] + self.width * int(self.header["NAXIS2"])
        return self.raw[start : start + int(self.header.get("PCOUNT", 0))]

    def others(
        self, *, before: bool, without: tuple[str, ...] = ()
    ) -> list[tuple[Header, bytes, bytes]]:
        """Extensions before or behind the events: header, its bytes, and those of the data.

        Parameters
        ----------
        before : bool
        without : tuple of str
            Names of those that are left out.
        """
        chosen = range(self.at) if before else range(self.at + 1, len(self.spans))
        found = []
        for k in chosen:
            begin, start, end = self.spans[k]
            if text(self.headers[k], "EXTNAME").upper() not in without:
                data = padded(self.raw[start:end])
                found.append((self.headers[k], self.raw[begin:start], data))
        return found


def padded(part: bytes) -> bytes:
    """Bytes up to a whole number of FITS blocks."""
    return part + bytes(-len(part) % 2880)


def open_container(path: Path) -> Container:
    """Read a file with an event list.

    Raises
    ------
    InputError
        Not FITS, truncated, or without an extension of events.
    """
    raw = _read(path)
    found: list[Header] = []
    spans: list[tuple[int, int, int]] = []
    begin = 0
    for header, start, end in headers(path, io.BytesIO(raw)):
        found.append(header)
        spans.append((begin, start, end))
        begin = end
    at = _events(found)
    if at is None:
        names = [text(h, "EXTNAME") or "an unnamed table" for h in found if _is_table(h)]
        raise InputError.expected(path, "an extension EVENTS", ", ".join(names) or "no table")
    return Container(path, raw, found, spans, at)


def _read(path: Path) -> bytes:
    """Bytes of the file, unpacked within the limit."""
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise InputError.expected(path, f"at most {MAX_BYTES} bytes", f"{path.stat().st_size}")
    with Unpacked(path, MAX_BYTES).open() as file:
        return file.read()


def _is_table(header: Header) -> bool:
    return text(header, "XTENSION") == "BINTABLE"


def _events(found: list[Header]) -> int | None:
    """Number of the extension with the events: by its name, else by its class."""
    names = [text(h, "EXTNAME").upper() if _is_table(h) else None for h in found]
    for name in EVENTS:
        if name in names:
            return names.index(name)
    for k, header in enumerate(found):
        if _is_table(header) and text(header, "HDUCLAS1").upper() == "EVENTS":
            return k
    return None


def add_columns(header: Header, columns: list[tuple[dict[str, Any], str]], row: int) -> Header:
    """Header of the same table with more columns behind its own.

    Parameters
    ----------
    header : Header
        That of the table; all its cards stay as they are.
    columns : list of (dict, str)
        Cards of each column by keyword without its number (``TTYPE``, ``TFORM`` ...), and the
        comment of its name.
    row : int
        Bytes of a row with all columns.
    """
    out: Header = header.copy()
    n = int(out["TFIELDS"])
    if "THEAP" in out:
        gap = int(out["THEAP"]) - int(out["NAXIS1"]) * int(out["NAXIS2"])
        out["THEAP"] = row * int(out["NAXIS2"]) + gap
    out["NAXIS1"] = row
    out["TFIELDS"] = n + len(columns)
    places = [k for k, card in enumerate(out.cards) if COLUMN_CARD.match(card.keyword)]
    place = places[-1] if places else out.index("TFIELDS")
    for number, (cards, comment) in enumerate(columns, start=n + 1):
        for key, value in cards.items():
            note = comment[:47] if key == "TTYPE" else ""
            out.insert(place, (f"{key}{number}", value, note), after=True)
            place += 1
    return out
