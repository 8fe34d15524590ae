"""Tables that users bring (lists of targets, catalogues of the literature), read without guessing.

CSV, TSV (also VizieR's, with its lines of units and dashes), ECSV, FITS, and the tables of CDS and
of the AAS journals, whose columns a byte-by-byte description tells. What a cell may be empty of
(masked, NaN, no text, dashes) is one thing here: None.
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from physml.exceptions import InputError
from physml.io.catalogues import MAX_BYTES, read_catalogue
from physml.io.files import require_file

#: Endings of tables that can be read.
SUFFIXES = (".csv", ".tsv", ".ecsv", ".fits", ".fit", ".dat", ".mrt", ".txt")
#: Description of the tables in a folder of CDS.
README = "ReadMe"
#: Texts of a cell in which nothing was entered.
EMPTY = ("", "-", "--", "---", "nan", "none", "null", "n/a")
_DASHES = re.compile(r"[-\s]*-[-\s]*")


def read_table(path: str | PathLike[str], what: str) -> QTable:
    """Table of a user, its format chosen by the ending of its name.

    Parameters
    ----------
    path : path
        CSV or TSV (first line names, ``#`` comments), ECSV or FITS (first table in the file); a
        machine-readable table of the AAS journals (``.txt``, ``.mrt``), or one of CDS (``.dat``)
        with its ``ReadMe`` beside it.
    what : str
        Name of the table in messages, such as ``"a list of targets"``.

    Returns
    -------
    QTable
        Its units are those of the file; text columns hold str.

    Raises
    ------
    InputError
        No such file, another format, or a damaged or an empty table.
    """
    source = Path(path)
    if source.suffix.lower() not in SUFFIXES:
        raise InputError.expected(
            source, f"{what} whose name ends in {', '.join(SUFFIXES)}", source.suffix or "no ending"
        )
    require_file(source, what, MAX_BYTES)
    if source.suffix.lower() in (".csv", ".tsv"):
        table = _read_text(source, what)
    elif source.suffix.lower() in (".dat", ".mrt", ".txt"):
        table = _read_described(source, what)
    else:
        table = read_catalogue(source)
    for name in table.colnames:
        if getattr(table[name], "dtype", None) is not None and table[name].dtype.kind == "S":
            table[name] = np.char.decode(np.asarray(table[name]), "utf-8", "replace")
    if len(table) == 0:
        raise InputError.expected(source, f"{what} with at least one row", "an empty table")
    return table


def _read_text(source: Path, what: str) -> QTable:
    delimiter = "\t" if source.suffix.lower() == ".tsv" else ","
    try:
        text = source.read_text(encoding="utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
        units: list[str] = []
        # VizieR writes a line of units and one of dashes below the names.
        if len(lines) > 2 and all(map(_DASHES.fullmatch, lines[2].split(delimiter))):
            units = [unit.strip() for unit in lines[1].split(delimiter)]
            lines = [lines[0], *lines[3:]]
        form = "ascii.csv" if delimiter == "," else "ascii.tab"
        table = QTable.read(lines, format=form, guess=False)
    except Exception as error:  # the reader raises errors of many kinds on foreign text
        detail = " ".join(str(error).split())[:200]
        raise InputError.expected(source, f"{what} as text in columns", detail) from error
    for name, unit in zip(table.colnames, units, strict=False):
        if unit and table[name].dtype.kind in "fi":
            try:
                table[name].unit = u.Unit(unit)
            except ValueError as error:
                raise InputError.expected(
                    source, f"a unit that astropy knows for column {name}", repr(unit)
                ) from error
    return QTable(table)


def _read_described(source: Path, what: str) -> QTable:
    """Table whose columns are told byte by byte, in itself or in the ReadMe beside it."""
    described = source.with_name(README) if source.suffix.lower() == ".dat" else source
    require_file(described, f"the description of {source.name}", MAX_BYTES)
    readme = {"readme": str(described)} if described != source else {}
    try:
        # The reader looks the table's own name up in the description.
        return QTable(Table.read(str(source), format="ascii.cds", guess=False, **readme))
    except Exception as error:  # as above
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError.expected(
            source, f"{what} with a byte-by-byte description of its columns", detail
        ) from error


def cell(value: Any) -> Any:
    """Value of a cell as Python has it: text, number, Quantity, or None where it is empty."""
    if value is np.ma.masked or bool(np.all(getattr(value, "mask", False))):
        return None
    value = getattr(value, "unmasked", value)
    if isinstance(value, u.Quantity):
        if value.shape:
            return value
        return value if np.isfinite(value.value) else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        text = str(value).strip()
        return None if text.lower() in EMPTY else text
    if hasattr(value, "item") and np.ndim(value) == 0:
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
