"""FITS region tables, as CIAO's `dmmakereg`, source catalogues and SAS write them.

A row is a shape (SHAPE, with ``!`` before an excluded one); X and Y, R and ROTANG are its numbers
or lists of them; rows of one COMPONENT are joined by AND.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from .algebra import Component, Term
from .frames import Placer, Value
from .shapes import NAMES, PARAMETERS

#: Columns of positions, the first pair that is there counts: pixels, then degrees.
_POSITIONS = (("X", "Y"), ("RA", "DEC"))
_LENGTHS = {"deg": 3600.0, "degree": 3600.0, "degrees": 3600.0, "arcmin": 60.0, "arcsec": 1.0}


def is_region_table(hdu: Any) -> bool:
    """Whether an extension holds regions."""
    return hasattr(hdu, "columns") and "SHAPE" in _names(hdu)


def read_table(file: Path, hdu: Any, placer: Placer) -> list[Component]:
    """Components of a region table.

    Parameters
    ----------
    file : Path
        For messages.
    hdu : BinTableHDU
    placer : Placer
        Of the image.

    Raises
    ------
    InputError
        Columns that lack, or a row that is no region.
    """
    names = _names(hdu)
    pair = next((p for p in _POSITIONS if set(p) <= set(names)), None)
    if pair is None:
        raise InputError.expected(
            file, "a region table with the columns X, Y or RA, DEC", ", ".join(names.values())
        )
    try:
        rows = len(hdu.data)
        read = {name: hdu.data[names[name]] for name in ("SHAPE", *pair)}
        more = {n: hdu.data[names[n]] for n in ("R", "ROTANG", "COMPONENT") if n in names}
    except Exception as error:  # astropy's tables fail in many ways on damaged bytes
        raise InputError.expected(file, "a readable table", f"a damaged one ({error})") from error
    frame = _frame(file, hdu, names, pair)
    sizes = _unit(file, hdu, names.get("R"), "p" if frame == "physical" else "d")
    components: dict[Any, Component] = {}
    for row in range(rows):
        text = str(read["SHAPE"][row]).strip()
        try:
            excluded, kind = text.startswith("!"), text.lstrip("!").strip().lower()
            kind = {"npolygon": "polygon", "annuli": "annulus"}.get(kind, NAMES.get(kind, kind))
            if kind not in PARAMETERS:
                raise ValueError(f"a shape {text!r}")
            x, y = (_numbers(read[name][row]) for name in pair)
            radii, angles = (_numbers(more[n][row]) if n in more else [] for n in ("R", "ROTANG"))
            values = _in_order(kind, x, y, radii, angles, sizes)
            plane, shape = placer.place(kind, values, frame)
        except InputError:
            raise
        except Exception as error:  # astropy and regions raise errors of many kinds
            detail = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError.expected(
                f"{file}, row {row + 1}", "a region with an area", f"{text!r}: {detail}"
            ) from error
        key = int(more["COMPONENT"][row]) if "COMPONENT" in more else -1 - row
        term = Term(plane, shape, not excluded)
        components.setdefault(key, Component([], row + 1)).terms.append(term)
    return list(components.values())


def _names(hdu: Any) -> dict[str, str]:
    """Names of the columns by their names in capitals."""
    return {str(name).upper(): str(name) for name in hdu.columns.names}


def _frame(file: Path, hdu: Any, names: dict[str, str], pair: tuple[str, str]) -> str:
    """Frame of the positions: physical pixels, or ICRS where their unit is an angle."""
    units = {str(hdu.columns[names[name]].unit or "").strip().lower() for name in pair}
    if pair == ("RA", "DEC") or units & set(_LENGTHS):
        if not units <= {"", "deg", "degree", "degrees"}:
            raise InputError.expected(file, "positions in degrees", ", ".join(sorted(units)))
        system = str(hdu.header.get("RADESYS", hdu.header.get("RADECSYS", ""))).strip().lower()
        return system if system in ("fk4", "fk5") else "icrs"
    return "physical"


def _unit(file: Path, hdu: Any, name: str | None, default: str) -> tuple[float, str]:
    """Factor and unit of the sizes."""
    unit = str(hdu.columns[name].unit or "").strip().lower() if name else ""
    if unit in _LENGTHS:
        return _LENGTHS[unit], '"'
    if unit in ("", "pix", "pixel", "pixels"):
        return 1.0, "p" if unit else default
    raise InputError.expected(file, "sizes in pixels or angles", repr(unit))


def _numbers(cell: Any) -> list[float]:
    """Finite numbers of a cell."""
    values: NDArray[np.float64] = np.atleast_1d(np.asarray(cell, dtype=np.float64))
    return [float(v) for v in values.ravel() if np.isfinite(v)]


def _in_order(
    kind: str,
    x: list[float],
    y: list[float],
    radii: list[float],
    angles: list[float],
    unit: tuple[float, str],
) -> list[Value]:
    """Values in the order of the kind; cells are padded to the longest in the table."""
    factor, name = unit
    text = PARAMETERS[kind].split("[")[0].replace(" ", "").replace("?", "")
    if kind == "polygon":
        pairs = list(zip(x, y, strict=True))
        # Padding repeats the last vertex or is made of zeros.
        while len(pairs) > 3 and pairs[-1] in (pairs[-2], (0.0, 0.0)):
            pairs.pop()
        text = "c" * len(pairs)
    else:
        pairs = list(zip(x, y, strict=True))[: text.count("c")]
    places, lengths, turns = iter(pairs), iter(radii), iter(angles)
    values: list[Value] = []
    if kind in ("ellipse", "box") and angles:
        text += "a"
    try:
        for letter in text:
            if letter == "c":
                values += [Value(number, "") for number in next(places)]
            elif letter == "s":
                values.append(Value(next(lengths) * factor, name))
            else:
                values.append(Value(next(turns), ""))
    except StopIteration:
        raise ValueError("too few numbers") from None
    return values
