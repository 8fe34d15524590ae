"""Energies of the events of a list: by the unit of a column, or by the law of its channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physml.exceptions import InputError

from ...core.arrays import Bools, Floats, Rows
from ..account import Account
from .instruments import Channels, Instrument

#: A median energy beyond it is none in keV: no X-ray camera sees it [keV].
NOT_KEV = 100.0
_KEV = {"kev": 1.0, "ev": 1e-3}
_CHANNEL = ("", "chan", "channel", "channels")
_ADU = ("adu", "dn", "count", "counts", "ct")
#: Columns that may hold energies, in order.
COLUMNS = ("ENERGY", "PI", "SIGNAL")


@dataclass(frozen=True)
class Column:
    """A column of a table and what its cards tell of it.

    Attributes
    ----------
    name : str
    values : ndarray, shape (m,)
        With scale and zero point applied.
    unit : str
        TUNIT, as it is written.
    null : float or None
        TNULL, with scale and zero point applied.
    low, high : float or None
        TLMIN and TLMAX.
    """

    name: str
    values: Rows
    unit: str = ""
    null: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def undefined(self) -> Bools:
        """Rows without a value: TNULL, NaN, or outside of TLMIN to TLMAX."""
        values = self.values.astype(np.float64)
        bad = ~np.isfinite(values)
        if self.null is not None:
            bad |= np.isclose(values, self.null, rtol=1e-12, atol=0.0)
        if self.low is not None and self.high is not None and self.low < self.high:
            with np.errstate(invalid="ignore"):
                bad |= (values < self.low) | (values > self.high)
        return bad


@dataclass(frozen=True)
class Energies:
    """Energies, and the channels that they came from or that go with them.

    Attributes
    ----------
    energy : ndarray of float64, shape (m,)
        keV, nan where the list has none.
    channels : tuple of int, or None
        First and last channel of PI, where it holds channels.
    """

    energy: Floats
    channels: tuple[int, int] | None = None


def energies_of(
    path: Path,
    column: Callable[[str], Column | None],
    instrument: Instrument,
    account: Account,
    width: float | None = None,
) -> Energies:
    """Energies of the events of a list.

    Parameters
    ----------
    path : Path
        For messages.
    column : callable
        Gives a column by its name.
    instrument : Instrument
    account : Account
    width : float, optional
        Width of a PI channel that the user tells, keV; channel 0 begins at 0.

    Raises
    ------
    InputError
        No column tells energies, its unit is none of energy, the numbers cannot be in it, or the
        width contradicts it.
    """
    if width is not None and not (np.isfinite(width) and 0 < width < 1):
        raise InputError(f"channel=: expected a width in keV, from 0 to 1, found {width}")
    found = [c for c in map(column, COLUMNS) if c is not None]
    if not found:
        raise InputError.expected(
            path, "a column ENERGY or PI (or SIGNAL)", "none of them",
            "PHA without its gain is no energy.",
        )  # fmt: skip
    chosen = next((c for c in found if _tells(c)), None)
    if chosen is not None:
        if width is not None:
            raise InputError.expected(
                "channel=",
                "a list whose PI is in channels",
                f"{chosen.name} in {chosen.unit or 'keV'} in {path}",
                "Leave the width of a channel out.",
            )
        energy = _by_unit(path, chosen, account)
    else:
        chosen = next((c for c in found if c.name == "PI"), found[0])
        energy = _by_channel(path, chosen, instrument, account, width)
    energy[chosen.undefined] = np.nan
    _check(path, chosen, energy, width)
    pi = column("PI")
    return Energies(energy, None if pi is None else channels_of(pi, instrument.channels))


def channels_of(pi: Column, law: Channels | None) -> tuple[int, int] | None:
    """First and last channel of PI: by TLMIN and TLMAX, else by the instrument; None if unknown."""
    if pi.unit.lower() in _KEV or pi.values.dtype.kind not in "ui":
        return None
    limits = (pi.low, pi.high)
    if limits[0] is None or limits[1] is None:
        if law is None:
            return None
        limits = (law.first, law.last)
    first, last = int(limits[0] or 0), int(limits[1] or 0)
    return (first, last) if 0 <= first < last < 1 << 16 else None


def _tells(column: Column) -> bool:
    """Whether a column holds energies: by its unit; ENERGY and SIGNAL without one as well."""
    unit = column.unit.lower()
    if unit in _KEV:
        return True
    if column.name == "PI":
        return unit not in (*_CHANNEL, *_ADU)
    return unit not in _ADU


def _by_unit(path: Path, column: Column, account: Account) -> Floats:
    unit = column.unit
    factor = _KEV.get(unit.lower(), 1.0 if not unit else None)
    if factor is None:
        raise InputError.expected(path, f"{column.name} in keV or eV", f"the unit {unit!r}")
    if unit:
        account.read("energies", f"{column.name} in {unit}")
    else:
        account.assume(f"{column.name} has no unit: keV is assumed", "energies")
    out: Floats = column.values.astype(np.float64) * factor
    return out


def _by_channel(
    path: Path, column: Column, instrument: Instrument, account: Account, width: float | None
) -> Floats:
    law = None if column.unit.lower() in _ADU else instrument.channels
    if width is not None:
        if law is not None and not np.isclose(width, law.width, rtol=1e-3):
            account.assume(
                f"channels are taken as {width:g} keV wide, as told; those of {instrument.name} "
                f"are {law.width:g} keV",
                "energies",
            )
        law = Channels(width) if law is None or not np.isclose(width, law.width) else law
    if law is None:
        raise InputError.expected(
            path,
            "energies, or PI of an instrument whose channels are known",
            f"{column.name} in {column.unit or 'channels'} of {instrument.name}",
            "Give the width of a channel in keV (channel=).",
        )
    account.read(
        "energies", f"{column.name} x {1e3 * law.width:g} eV"
        + (f" + {1e3 * law.zero:g} eV" if law.zero else "")
    )  # fmt: skip
    # The middle of a channel; numbers with a fraction are not cut to channels.
    half = 0.5 if column.values.dtype.kind in "ui" else 0.0
    out: Floats = law.zero + law.width * (column.values.astype(np.float64) + half)
    return out


def _check(path: Path, column: Column, energy: Floats, width: float | None) -> None:
    """Refuse energies that are none in keV."""
    known = energy[np.isfinite(energy)]
    if len(known) == 0:
        if len(energy):
            raise InputError.expected(path, f"finite energies in {column.name}", "none")
        return
    hint = "Its TUNIT is wrong." if column.unit else "Give the column its unit: TUNITn = 'eV'."
    if width is not None or (column.name == "PI" and column.unit.lower() not in _KEV):
        hint = "Check the width of a PI channel (channel=, in keV)."
    middle = float(np.median(np.abs(known)))
    if middle > NOT_KEV:
        raise InputError.expected(
            path, "energies in keV", f"a median of {middle:.4g}: this looks like eV", hint
        )
