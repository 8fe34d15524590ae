"""Pressure profiles of the gas around cavities, read from tables with units and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.catalogues import read_ecsv
from physml.io.files import require_file
from physml.io.fits import open_hdus

from ..core.energetics import PARTICLES, GasProfile

#: Columns of a profile, for messages.
COLUMNS = (
    "radius (kpc or arcsec), and either pressure (erg/cm3, keV/cm3 or Pa) or n_e (1/cm3) with "
    "kT (keV); errors optional as <column>_err"
)


def read_profile(path: str | PathLike[str], scale: u.Quantity) -> GasProfile:
    """Read a pressure profile.

    Parameters
    ----------
    path : path
        ECSV (or FITS) table with units: `radius`, and `pressure` or `n_e` and `kT`; with
        `pressure` alone the clocks stay empty, as they need `kT`. Errors as `<column>_err`.
    scale : Quantity
        kpc per arcsec, for radii given as angles.

    Raises
    ------
    InputError
        For a file that is no such table, columns or units that are missing, values that are not
        positive, radii that do not increase.
    """
    file = Path(path)
    table = _read_table(file)
    names = set(table.colnames)
    missing = {"radius"} - names
    if not missing and "pressure" not in names and not {"n_e", "kT"} <= names:
        missing = {"pressure", "n_e", "kT"} - names
    if missing:
        order = [name for name in ("radius", "pressure", "n_e", "kT") if name in missing]
        columns, hint = ", ".join(table.colnames), f"Missing: {', '.join(order)}."
        raise InputError.expected(file, f"the columns {COLUMNS}", columns, hint)
    if len(table) == 0:
        raise InputError.expected(file, "at least one radius", "an empty table")
    read = _Columns(file, table)
    equivalent = [(u.arcsec, u.kpc, lambda a: a * scale.value, lambda k: k / scale.value)]
    radius, _ = read.positive("radius", u.kpc, equivalent)
    if np.any(np.diff(radius) <= 0):
        raise InputError.expected(file, "radii that increase", f"{radius[:5].tolist()} kpc ...")
    kT = kT_err = None
    if "kT" in names:
        kT, kT_err = read.positive("kT", u.keV, u.temperature_energy())
    if "pressure" in names:
        pressure, pressure_err = read.positive("pressure", u.erg / u.cm**3)
    else:
        assert kT is not None
        assert kT_err is not None
        density, density_err = read.positive("n_e", u.cm**-3)
        pressure = PARTICLES * density * kT * u.keV.to(u.erg)
        pressure_err = pressure * np.hypot(density_err / density, kT_err / kT)
    return GasProfile(radius, pressure, pressure_err, kT, kT_err, file)


def _read_table(file: Path) -> Table:
    require_file(file, "a table of the pressure profile", 64 << 20)
    try:
        if file.name.lower().endswith((".fits", ".fit", ".fits.gz")):
            with open_hdus(file) as hdus:
                return QTable.read(hdus, format="fits")
        return read_ecsv(file)
    except Exception as error:  # the readers raise whatever their parsers do
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError.expected(
            file,
            "an ECSV table of the pressure profile",
            f"something else ({first})",
            hint="Make one with astropy: QTable(...).write('profile.ecsv').",
        ) from error


@dataclass(frozen=True)
class _Columns:
    """Columns of a table, in the units that are wanted."""

    file: Path
    table: Table

    def positive(
        self, name: str, unit: u.UnitBase, equivalencies: Sequence[Any] = ()
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positive finite values of a column, and their errors; zeros where it has none."""
        values = self._in_unit(name, unit, equivalencies)
        good = np.isfinite(values) & (values > 0)
        if not good.all():
            wanted, found = f"positive numbers in column {name}", f"{values[~good][0]}"
            raise InputError.expected(self.file, wanted, found)
        if f"{name}_err" not in self.table.colnames:
            return values, np.zeros(len(values))
        errors = self._in_unit(f"{name}_err", unit, equivalencies)
        if not (np.isfinite(errors) & (errors >= 0)).all():
            wanted = f"finite errors >= 0 in column {name}_err"
            raise InputError.expected(self.file, wanted, "others")
        return values, errors

    def _in_unit(
        self, name: str, unit: u.UnitBase, equivalencies: Sequence[Any]
    ) -> NDArray[np.float64]:
        column = self.table[name]
        given = getattr(column, "unit", None)
        if given in (None, u.dimensionless_unscaled):
            wanted, hint = f"column {name} with a unit, such as {unit}", f"Columns: {COLUMNS}."
            raise InputError.expected(self.file, wanted, "no unit", hint)
        try:
            values = u.Quantity(np.ma.filled(column, np.nan)).to_value(unit, list(equivalencies))
        except (u.UnitConversionError, TypeError, ValueError) as error:
            wanted = f"column {name} in {unit} or alike"
            raise InputError.expected(self.file, wanted, f"{given}") from error
        return np.atleast_1d(np.asarray(values, dtype=float))
