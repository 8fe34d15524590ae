"""Extensions of a FITS file: their headers, compared with the bytes there are, before any data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.fits import Header

from physml.exceptions import InputError
from physml.io.fits import headers

from .unpacked import Unpacked

_CODES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


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
        return self._is_binary and not self.is_tiled

    @property
    def is_tiled(self) -> bool:
        """An image in packed tiles, as fpack writes it."""
        return self._is_binary and bool(self.header.get("ZIMAGE", False))

    @property
    def _is_binary(self) -> bool:
        return str(self.header.get("XTENSION", "")).strip() == "BINTABLE"

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
