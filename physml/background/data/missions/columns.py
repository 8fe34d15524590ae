"""Columns of an event list by name, whatever the case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ...core.arrays import Ints, Rows
from .cards import number
from .energies import Column

#: Columns with one number for each event.
NUMBERS = (
    *("TIME", "ENERGY", "PI", "SIGNAL", "GRADE", "PATTERN", "PAT_TYP", "TYPE"),
    *("RAWX", "CHIPX", "RAWY", "CHIPY", "DETX", "DETY", "X", "Y", "PHA", "FRAME"),
)
#: Columns without which a list is none: they are refused where they hold no numbers.
NEEDED = frozenset(("TIME", "ENERGY", "PI", "GRADE", "PATTERN"))


class Columns:
    """Columns of a table, read when they are asked for.

    Parameters
    ----------
    path : Path
        For messages.
    hdu : BinTableHDU
    """

    def __init__(self, path: Path, hdu: Any) -> None:
        self.path, self.hdu = path, hdu
        self.names = [str(name) for name in hdu.columns.names]
        self._known: dict[str, str] = {}
        for name in self.names:
            self._known.setdefault(name.upper(), name)
        self._read: dict[str, Rows] = {}
        self.order: Ints | None = None

    def __contains__(self, name: str) -> bool:
        return name.upper() in self._known

    def number_of(self, name: str) -> int:
        """Place of a column, from 1, as its cards have it."""
        return self.names.index(self._known[name.upper()]) + 1

    def get(self, *names: str) -> Rows | None:
        """First of some columns that there is, in the order of time; None without any.

        Raises
        ------
        InputError
            The column is damaged, or one of `NEEDED` holds no number for each event.
        """
        name = next((n for n in names if n in self), None)
        if name is None:
            return None
        if name not in self._read:
            values = self._stored(name)
            if name in NUMBERS and (values.ndim != 1 or values.dtype.kind not in "uif"):
                if name in NEEDED:
                    raise InputError.expected(
                        self.path,
                        f"a number for each event in {name}",
                        f"{values.dtype}, {values.ndim} axes",
                    )
                return None
            self._read[name] = values
        values = self._read[name]
        return values if self.order is None else values[self.order]

    def _stored(self, name: str) -> Rows:
        try:
            values = np.asarray(self.hdu.data[self._known[name.upper()]])
        except Exception as error:  # astropy's tables fail in many ways on damaged bytes
            raise InputError.expected(
                self.path, "readable tables", f"damaged ones ({error})"
            ) from error
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def unit(self, name: str) -> str:
        """TUNIT as it is written; an empty text without one."""
        value = self.hdu.header.get(f"TUNIT{self.number_of(name)}")
        return value.strip() if isinstance(value, str) else ""

    def described(self, name: str) -> Column | None:
        """Column with what its cards tell of it; None where there is none."""
        values = self.get(name)
        if values is None:
            return None
        k, header = self.number_of(name), self.hdu.header
        null = number(header, f"TNULL{k}")
        if null is not None:
            scale, zero = number(header, f"TSCAL{k}"), number(header, f"TZERO{k}")
            null = null * (1.0 if scale is None else scale) + (zero or 0.0)
        return Column(
            name, values, self.unit(name), null,
            number(header, f"TLMIN{k}"), number(header, f"TLMAX{k}"),
        )  # fmt: skip
