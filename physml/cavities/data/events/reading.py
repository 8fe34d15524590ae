"""Event lists on disk: found, checked, and read in blocks that fit in memory."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.files import require_file
from physml.io.fits import claimed_bytes, headers

Rows = NDArray[Any]

#: Rows of a block.
BLOCK = 1 << 20
#: Largest event list, unpacked.
MAX_BYTES = 32 << 30
#: Largest packed list that is unpacked into memory.
IN_MEMORY = 256 << 20
#: Bytes of a packed file in which its first table has to begin.
_PEEK = 4 << 20
_BLOCK = 2880
_GZIP = b"\x1f\x8b"
_NAMES = re.compile(r"(STD)?EV(EN)?TS?\d*$")
CHIPS = ("CCD_ID", "CCDNR", "TM_NR", "CCDID", "DETID", "CHIP_ID")


def is_event_list(given: Any, hdu: int | str | None = None) -> bool:
    """Whether a file, or an open one, holds events and no image before them.

    Parameters
    ----------
    given : object
        Path or HDUList; nothing else is an event list.
    hdu : int or str, optional
        Extension that was asked for.
    """
    if isinstance(given, fits.HDUList):
        kinds = [(h.header, isinstance(h, fits.BinTableHDU)) for h in given]
    elif isinstance(given, str | PathLike) and Path(given).is_file():
        try:
            kinds = [(h, h.get("XTENSION", "") == "BINTABLE") for h in first_headers(Path(given))]
        except InputError:  # another reader says what is wrong with it
            return False
    else:
        return False
    for number, (header, table) in enumerate(kinds):
        if hdu is not None and not _is_named(header, number, hdu):
            continue
        if table and _has_events(header):
            return True
        if hdu is not None or (not table and _has_pixels(header)):
            return False
    return False


def _is_named(header: Any, number: int, hdu: int | str) -> bool:
    if isinstance(hdu, int) or str(hdu).isdigit():
        return number == int(hdu)
    return str(header.get("EXTNAME", "")).strip().upper() == str(hdu).strip().upper()


def _has_events(header: Any) -> bool:
    """Whether a table has positions of events on the sky."""
    columns = {str(header[card]).strip().upper() for card in header if card.startswith("TTYPE")}
    named = bool(_NAMES.match(str(header.get("EXTNAME", "")).strip().upper()))
    named |= str(header.get("HDUCLAS1", "")).strip().upper() == "EVENTS"
    return {"X", "Y"} <= columns and (named or bool(columns & {"TIME", "PI", "ENERGY"}))


def _has_pixels(header: Any) -> bool:
    return int(header.get("NAXIS", 0)) > 1 and "ZIMAGE" not in header


def first_headers(path: Path) -> list[Any]:
    """Headers of a file; of a packed one those that begin early."""
    with path.open("rb") as file:
        if file.read(2) != _GZIP:
            file.seek(0)
            return [header for header, _, _ in headers(path, file)]
        file.seek(0)
        worker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            start = worker.decompress(file.read(_PEEK), _PEEK)
        except zlib.error as error:
            raise InputError.expected(path, "a gzip file", "a damaged one") from error
    found = []
    position = 0
    while position < len(start):
        rest = io.BytesIO(start[position:])
        try:
            header = fits.Header.fromfile(rest, endcard=True)
            list(header.values())  # cards are parsed when they are looked at
            claimed = claimed_bytes(header)
        except Exception:  # astropy's parser fails in many ways on what is cut or hostile
            break
        found.append(header)
        position += rest.tell() + -(-claimed // _BLOCK) * _BLOCK
    return found


@dataclass
class EventFile:
    """An event list that is open.

    Attributes
    ----------
    path : Path or str
        For messages.
    table : BinTableHDU
        Its events.
    times : list of BinTableHDU
        Its good time intervals.
    others : list of str
        Names of further tables of events, which are not read.
    file : binary file or None
        Unpacked, read block by block; None for a list that is in memory.
    """

    path: Path | str
    table: Any
    times: list[Any]
    others: list[str]
    file: BinaryIO | None = None

    def __post_init__(self) -> None:
        """Look up the columns.

        Raises
        ------
        InputError
            They cannot be read.
        """
        try:
            names = list(self.table.columns.names)
        except Exception as error:  # astropy's tables fail in many ways on hostile cards
            raise InputError.expected(
                self.path, "a table of events", f"a damaged one ({error!r})"
            ) from error
        self.columns = {str(name).upper(): str(name) for name in names}

    @property
    def header(self) -> Any:
        """Header of the events."""
        return self.table.header

    def __len__(self) -> int:
        """Return the number of events."""
        return int(self.header["NAXIS2"])

    @property
    def chip_column(self) -> str | None:
        """Name of the column that tells the chip."""
        return next((name for name in CHIPS if name in self.columns), None)

    def unit(self, column: str) -> str:
        """Unit of a column; nothing where it has none."""
        return str(self.table.columns[self.columns[column]].unit or "").strip()

    def blocks(self) -> Iterator[Callable[[str], Rows | None]]:
        """Yield a function for each block of rows, which gives its columns by name."""
        if self.file is None:
            for start in range(0, len(self), BLOCK):
                yield self._reader(self._guarded(start), scaled=True)
            return
        # Ordinary reads: the pages of a map would count as memory of the process.
        try:
            dtype = self.table.columns.dtype.newbyteorder(">")
        except Exception as error:  # columns without a name, or two of one name
            raise InputError.expected(
                self.path, "a name and a format for each column", f"other columns ({error})"
            ) from error
        if dtype.itemsize != int(self.header["NAXIS1"]):
            raise InputError.expected(
                self.path, f"rows of {dtype.itemsize} bytes", f"{self.header['NAXIS1']}"
            )
        begin = int(self.table.fileinfo()["datLoc"])
        for start in range(0, len(self), BLOCK):
            self.file.seek(begin + start * dtype.itemsize)
            number = min(BLOCK, len(self) - start)
            raw = self.file.read(number * dtype.itemsize)
            if len(raw) < number * dtype.itemsize:
                raise InputError.expected(self.path, f"{len(self)} rows of events", "fewer")
            yield self._reader(np.frombuffer(raw, dtype), scaled=False)

    def _guarded(self, start: int) -> Any:
        try:
            return self.table.data[start : start + BLOCK]
        except Exception as error:  # astropy's tables fail in many ways on damaged bytes
            raise InputError.expected(
                self.path, "readable events", f"damaged ones ({error})"
            ) from error

    def _reader(self, rows: Any, scaled: bool) -> Callable[[str], Rows | None]:
        def read(name: str) -> Rows | None:
            if name not in self.columns:
                return None
            values = np.asarray(rows[self.columns[name]])
            if values.dtype.kind not in "buif" or (values.ndim != 1 and name != "STATUS"):
                raise InputError.expected(
                    self.path,
                    f"a number for each event in {name}",
                    f"{values.dtype}, {values.ndim} axes",
                )
            values = values.astype(values.dtype.newbyteorder("="), copy=False)
            column = self.table.columns[self.columns[name]]
            factor, offset = column.bscale or 1, column.bzero or 0
            if scaled or (factor, offset) == (1, 0):
                return values
            return values * float(factor) + float(offset)

        return read


@contextlib.contextmanager
def open_events(given: Any, hdu: int | str | None = None) -> Iterator[EventFile]:
    """Open an event list; a packed one is unpacked first.

    Raises
    ------
    InputError
        It has no events, is truncated or too large.
    """
    if isinstance(given, fits.HDUList):
        yield _events("event list", given, hdu)
        return
    path = require_file(given, "an event list (FITS)", MAX_BYTES)
    with contextlib.ExitStack() as stack:
        file: Any = stack.enter_context(path.open("rb"))
        if file.read(2) == _GZIP:
            # In memory while it is small, in a temporary file beyond.
            plain = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=IN_MEMORY))
            file.seek(0)
            _unpack(path, file, plain)
            file = plain
        for _ in headers(path, file):  # all of them, compared with the bytes there are
            pass
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old telescopes' headers break the standard
            try:
                hdus = stack.enter_context(fits.open(file, memmap=False, lazy_load_hdus=False))
                for one in hdus:  # cards are parsed when they are looked at: all here and now
                    list(one.header.values())
                    _ = one.shape if one.is_image else one.columns
            except Exception as error:  # astropy's parser fails in many ways on hostile cards
                raise InputError.expected(
                    path, "a FITS file", f"a damaged one ({error})"
                ) from error
            yield _events(path, hdus, hdu, file)


def _unpack(path: Path, packed: BinaryIO, out: Any) -> None:
    left = MAX_BYTES
    worker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        while data := packed.read(1 << 20):
            while data:
                if worker.eof:  # gzip files may be concatenated
                    worker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                left -= out.write(worker.decompress(data, 1 << 24))
                if left < 0:
                    raise InputError.expected(
                        path, f"at most {MAX_BYTES} bytes when unpacked", "more"
                    )
                data = worker.unconsumed_tail or worker.unused_data
    except zlib.error as error:
        raise InputError.expected(path, "a gzip file", f"a damaged one ({error})") from error
    if not worker.eof:
        raise InputError.expected(path, "a complete gzip file", "a truncated one")


def _events(
    path: Path | str, hdus: Any, hdu: int | str | None, file: BinaryIO | None = None
) -> EventFile:
    """Tables of an event list."""
    tables = [(number, h) for number, h in enumerate(hdus) if isinstance(h, fits.BinTableHDU)]
    events = [
        h for number, h in tables
        if _has_events(h.header) and (hdu is None or _is_named(h.header, number, hdu))
    ]  # fmt: skip
    if not events:
        names = ", ".join(h.name or "an unnamed table" for _, h in tables) or "no table"
        raise InputError.expected(path, "a table of events with X and Y on the sky", names)
    times = [
        h for _, h in tables
        if re.match(r"(STD)?GTI", h.name)
        or str(h.header.get("HDUCLAS1", "")).strip().upper() == "GTI"
    ]  # fmt: skip
    return EventFile(path, events[0], times, [h.name for h in events[1:]], file)
