"""A list of targets: one row an image, with its maps, its redshift and its options."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from astropy import units as u
from astropy.table import QTable

from physml.exceptions import InputError
from physml.io.atomic import write_text

from .tables import cell, read_table

#: Columns that name files; relative ones are looked for beside the list.
FILES = (
    *("image", "exposure", "background", "mask", "pressure"),
    *("hard", "hard_exposure", "hard_background"),
)
#: Columns that are no option of the search by themselves.
OWN = ("name", "image", "x", "y", "literature")
#: Other names of columns.
ALIASES = {
    "target": "name",
    "center": "centre",
    "z": "redshift",
    "scale": "scales",
    "file": "image",
}
#: Likeness from which an unknown column is taken for a misspelt one.
LIKE = 0.8

TEMPLATE = """\
# %ECSV 1.0
# ---
# datatype:
# - {name: name, datatype: string, description: 'of the target; free, each once'}
# - {name: image, datatype: string, description: 'FITS image of counts; relative to this list'}
# - {name: exposure, datatype: string, description: 'exposure map, or empty'}
# - {name: background, datatype: string, description: 'expected background counts, or empty'}
# - {name: mask, datatype: string, description: 'regions of point sources, or empty'}
# - {name: pressure, datatype: string, description: 'pressure profile (ECSV), or empty'}
# - {name: redshift, datatype: float64, description: 'adds sizes in kpc'}
# - {name: ra, unit: deg, datatype: float64, description: 'centre, or empty: the brightest place'}
# - {name: dec, unit: deg, datatype: float64, description: 'centre'}
# - {name: scales, datatype: string, description: 'binnings, such as 1 2 4; empty: auto'}
# - {name: literature, datatype: string, description: 'name in the literature table, if another'}
name image exposure background mask pressure redshift ra dec scales literature
"NGC 5813" ngc5813.fits ngc5813_exp.fits "" ngc5813.reg "" 0.006525 225.29679 1.70195 "" ""
"Abell 1835" a1835.fits "" "" "" "" 0.2532 "" "" "1 2 4" A1835
"""


@dataclass(frozen=True)
class Target:
    """One row of a list.

    Attributes
    ----------
    name : str
    folder : str
        Name of its folder of results: the name with what no file name should hold replaced.
    image : Path
        Image, or a folder of one telescope's products.
    options : dict
        Arguments of `CavityPredictor.predict` that the row gives.
    literature : str
        Its name in a table of the literature.
    carried : dict
        Values of the columns that are none of ours, as they were.
    """

    name: str
    folder: str
    image: Path
    options: dict[str, Any] = field(default_factory=dict)
    literature: str = ""
    carried: dict[str, Any] = field(default_factory=dict)


def read_targets(path: str | PathLike[str], options: Collection[str]) -> list[Target]:
    """Targets of a list.

    Parameters
    ----------
    path : path
        CSV, ECSV or FITS table with a column `image`, and as many as one likes of `name`, ``x``
        and ``y`` (centre, 0-based pixels), ``literature`` and the options of a search.
    options : collection of str
        Names of these options.

    Returns
    -------
    list of Target
        In the order of the list. Whether the files are there is not looked at.

    Raises
    ------
    InputError
        No such table, no column ``image``, a misspelt column, an empty image, or a name that
        stands twice.
    """
    source = Path(path)
    table = read_table(source, "a list of targets")
    columns = _columns(source, table, {*OWN, *options})
    if "image" not in columns.values():
        raise InputError.expected(
            source,
            "a column 'image' with the file of each target",
            ", ".join(table.colnames),
            hint="`physml cavities survey --template targets.ecsv` writes a list to fill in.",
        )
    out: list[Target] = []
    folders: set[str] = set()
    for number, row in enumerate(table, start=1):
        given = {known: cell(row[name]) for name, known in columns.items() if known}
        carried = {name: cell(row[name]) for name, known in columns.items() if not known}
        target = _target(source, number, given, carried, folders)
        folders.add(target.folder.lower())
        out.append(target)
    names = [target.name for target in out]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError.expected(source, "each name once", f"twice: {', '.join(twice)}")
    return out


def write_template(path: str | PathLike[str], overwrite: bool = False) -> None:
    """Write a list of two targets (ECSV) to be changed, each of its columns explained.

    Raises
    ------
    InputError
        The name does not end in ``.ecsv``.
    OutputError
        The file exists.
    """
    if Path(path).suffix != ".ecsv":
        raise InputError.expected(path, "a name that ends in .ecsv", Path(path).suffix or "none")
    write_text(path, TEMPLATE, overwrite)


def _columns(source: Path, table: QTable, known: set[str]) -> dict[str, str]:
    """What each column of the list is: one of ours by name, or empty."""
    found: dict[str, str] = {}
    for name in table.colnames:
        plain = name.strip().lower().replace(" ", "_").replace("-", "_")
        plain = ALIASES.get(plain, plain)
        if plain not in known:
            like = difflib.get_close_matches(plain, sorted(known), 1, LIKE)
            # A letter is like any other; what is as short as that is somebody else's.
            if like and len(plain) > 3:
                raise InputError.expected(
                    source, f"column {like[0]!r}", repr(name), "Rename it, or leave it out."
                )
            plain = ""
        elif plain in found.values():
            raise InputError.expected(source, f"one column for {plain!r}", f"two, one is {name!r}")
        found[name] = plain
    return found


def _target(
    source: Path, number: int, given: dict[str, Any], carried: dict[str, Any], folders: set[str]
) -> Target:
    place = f"{source}, row {number}"
    if given.get("image") is None:
        raise InputError.expected(place, "the file of an image", "an empty cell")
    options = {name: value for name, value in given.items() if name not in OWN}
    options = {name: value for name, value in options.items() if value is not None}
    for name in FILES:
        if given.get(name) is not None:
            options[name] = source.parent / str(given[name])
    image = options.pop("image")
    name = str(given.get("name") or image.name.split(".")[0])
    if ("x" in given or "y" in given) and given.get("x") is not None:
        if given.get("y") is None:
            raise InputError.expected(place, "x and y of the centre", "x alone")
        options["centre"] = (_number(place, "x", given["x"]), _number(place, "y", given["y"]))
    elif "centre" in options:
        parts = re.split(r"[,\s]+", str(options["centre"]).strip("()[] "))
        if len(parts) != 2:
            raise InputError.expected(place, "a centre 'x y' [pixel]", repr(options["centre"]))
        options["centre"] = tuple(_number(place, "centre", part) for part in parts)
    for option in ("ra", "dec"):
        if isinstance(options.get(option), u.Quantity):
            options[option] = float(options[option].to_value(u.deg))
    for option, value in options.items():
        if isinstance(value, u.Quantity):
            options[option] = float(value.to_value(u.dimensionless_unscaled))
    for option in ("redshift", "threshold"):
        if option in options:
            options[option] = _number(place, option, options[option])
    folder = _folder(name, folders)
    return Target(name, folder, image, options, str(given.get("literature") or name), carried)


def _number(place: str, column: str, value: Any) -> float:
    try:
        return float(getattr(value, "value", value))
    except (TypeError, ValueError) as error:
        raise InputError.expected(place, f"a number in column {column!r}", repr(value)) from error


def _folder(name: str, taken: set[str]) -> str:
    """Name of a folder: letters, digits, and what is harmless, no other folder's."""
    base = re.sub(r"[^\w.+-]+", "_", name, flags=re.ASCII).strip("._")[:80] or "target"
    folder, number = base, 2
    while folder.lower() in taken:
        folder, number = f"{base}_{number}", number + 1
    return folder
