"""Cavities of a published table, to be compared with those that a survey finds.

Tables of cavities name their columns as they like. Those of Shin, Woo & Mulchaey (2016, ApJS 227,
31; CDS J/ApJS/227/31), for one, have the target, the size along both axes, the distance from the
centre and an angle. Columns are known here by what they are usually called (`KINDS`), or are
named one by one; units come from the file or from the names (``Dist_kpc``, ``a [arcsec]``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from astropy import units as u
from astropy.coordinates import Angle
from astropy.table import QTable

from physml.exceptions import InputError

from .tables import cell, read_table

log = logging.getLogger(__name__)

#: What is read, and what it is called, without case and marks.
KINDS: dict[str, tuple[str, ...]] = {
    "target": (
        *("target", "name", "cluster", "galaxy", "system", "object", "source", "host", "group"),
        *("sname", "objname", "targetname", "simbadname"),
    ),
    "cavity": ("cavity", "cav", "no", "id", "number", "ncav", "label"),
    "ra": ("racav", "ra", "raj2000", "raicrs", "radeg", "alpha"),
    "dec": ("deccav", "decav", "dec", "de", "dej2000", "deicrs", "decdeg", "dedeg", "delta"),
    "distance": ("distance", "dist", "separation", "sep", "rcentre", "rcenter", "d"),
    "azimuth": ("azimuth", "angle", "ang", "direction", "theta", "phi"),
    "radius": ("radius", "rad", "rcav", "rcavity", "meanradius"),
    "semi_major": ("semimajor", "semimaj", "semimajoraxis", "amaj", "smaj", "a", "rmaj", "rl"),
    "semi_minor": ("semiminor", "semimin", "semiminoraxis", "bmin", "smin", "b", "rmin", "rw"),
    "position_angle": ("positionangle", "pa", "orientation"),
    "redshift": ("redshift", "z"),
    "snr": ("snr", "sn", "signaltonoise", "significance"),
}
LENGTHS = ("distance", "radius", "semi_major", "semi_minor")
ANGLES = ("ra", "dec", "azimuth", "position_angle")
#: Texts of units in names of columns.
UNITS = {"arcsec": u.arcsec, "as": u.arcsec, "arcmin": u.arcmin, "kpc": u.kpc, "deg": u.deg}
_NAMED_UNIT = re.compile(
    rf"\s*(?:[\[({{]\s*([^\])}}]*?)\s*[\])}}]|[/_ ]({'|'.join(UNITS)}))\s*$", re.IGNORECASE
)


@dataclass(frozen=True)
class KnownCavity:
    """One cavity of the literature.

    Attributes
    ----------
    target : str
        Name as the table has it.
    number : str
        Its own name or number in the table.
    ra, dec : float or None
        Centre, ICRS [deg].
    distance : Quantity or None
        From the centre of its cluster [arcsec or kpc].
    azimuth : float or None
        Direction from there, east of north [deg].
    semi_major, semi_minor : Quantity or None
        Semi-axes [arcsec or kpc]; equal where the table has a radius.
    position_angle : float or None
        Of the semi-major axis, east of north [deg].
    redshift, snr : float or None
    """

    target: str
    number: str
    ra: float | None = None
    dec: float | None = None
    distance: u.Quantity | None = None
    azimuth: float | None = None
    semi_major: u.Quantity | None = None
    semi_minor: u.Quantity | None = None
    position_angle: float | None = None
    redshift: float | None = None
    snr: float | None = None

    def described(self) -> dict[str, Any]:
        """Its values as JSON can hold them."""
        return {
            name: [float(value.value), str(value.unit)] if isinstance(value, u.Quantity) else value
            for name, value in vars(self).items()
        }


def plain_name(name: str) -> str:
    """Name of a target without what differs between papers.

    Case, blanks and marks but signs and points, ``Abell`` or ``ACO`` for A, and zeros before a
    number: ``Abell 0133``, ``A133`` and ``ACO 133`` are one.
    """
    plain = re.sub(r"[\s_*]+", "", name.lower())
    plain = re.sub(r"^(abell|aco)(?=\d)", "a", plain)
    plain = re.sub(r"^messier(?=\d)", "m", plain)
    return re.sub(r"^([a-z]+)0+(?=\d)", r"\1", plain)


def read_literature(
    path: str | PathLike[str], columns: Mapping[str, str] | None = None
) -> list[KnownCavity]:
    """Cavities of a table of the literature.

    Parameters
    ----------
    path : path
        CSV, TSV (also VizieR's), ECSV, FITS, or a table of CDS or of the AAS journals (see
        `tables.read_table`): one row a cavity, with the target and either a position or distance
        and direction from the centre. Beside these, a position that all cavities of a target share
        is taken for that of the target.
    columns : mapping, optional
        Column of a kind (`KINDS`) where its name does not say so: ``{"distance": "R1"}``.

    Raises
    ------
    InputError
        No such table, no column of a kind that is needed, lengths without a unit, or positions of
        targets where those of cavities are needed.
    """
    source = Path(path)
    table = read_table(source, "a table of known cavities")
    found = _find_columns(source, table, dict(columns or {}))
    has_direction = {"distance", "azimuth"} <= found.keys()
    has_place = {"ra", "dec"} <= found.keys() or has_direction
    if "target" not in found or not has_place:
        known = ", ".join(f"{kind} = {name}" for kind, name in found.items()) or "none"
        raise InputError.expected(
            source,
            "columns of the target, and of ra and dec or of distance and azimuth",
            f"{', '.join(table.colnames)} (known of these: {known})",
            hint="Name them: --literature-columns 'target=Name,distance=Dist,azimuth=Angle'.",
        )
    left = [name for name in table.colnames if name not in found.values()]
    log.info(
        "%s: %s; columns not used: %s",
        source.name,
        ", ".join(f"{kind} = {name}" for kind, name in found.items()),
        ", ".join(left) or "none",
    )
    if not {"radius", "semi_major"} & found.keys():
        log.warning("%s: no column of sizes is known: they are guessed from distances", source.name)
    units = {kind: _unit(source, table, kind, name) for kind, name in found.items()}
    out, numbers = [], dict[str, int]()
    for row in table:
        values = {kind: cell(row[name]) for kind, name in found.items()}
        target = values.get("target")
        if target is None:
            continue
        plain = plain_name(str(target))
        numbers[plain] = numbers.get(plain, 0) + 1
        values["cavity"] = values.get("cavity") or numbers[plain]
        out.append(_cavity(values, units))
    shared = _positions_are_shared(out)
    if {"ra", "dec"} <= (columns or {}).keys():  # whoever names them knows
        return out
    if has_direction and shared is not False:
        return [replace(one, ra=None, dec=None) for one in out]
    if shared:
        raise InputError.expected(
            source,
            "ra and dec of each cavity, or its distance and azimuth from the centre of its target",
            f"{found['ra']} and {found['dec']} that all cavities of a target share: its centre",
        )
    return out


def _positions_are_shared(known: Iterable[KnownCavity]) -> bool | None:
    """Whether all cavities of a target have one position; None where no target has several."""
    several = [
        {(one.ra, one.dec) for one in same} for same in of_targets(known).values() if len(same) > 1
    ]
    several = [places for places in several if places != {(None, None)}]
    return all(len(places) == 1 for places in several) if several else None


def _find_columns(source: Path, table: QTable, named: dict[str, str]) -> dict[str, str]:
    strange = [kind for kind in named if kind not in KINDS]
    missing = [name for name in named.values() if name not in table.colnames]
    if strange or missing:
        raise InputError.expected(
            source,
            f"kinds of {', '.join(KINDS)} and columns of {', '.join(table.colnames)}",
            ", ".join(strange + missing),
        )
    plain: dict[str, str] = {}
    for name in table.colnames:
        if name not in named.values():
            plain.setdefault(re.sub(r"[^a-z0-9]", "", _NAMED_UNIT.sub("", name).lower()), name)
    found = dict(named)
    for kind, names in KINDS.items():
        match = next((plain[name] for name in names if name in plain), None)
        if kind not in found and match is not None:
            found[kind] = match
    if "distance" in found and "azimuth" not in found and "position_angle" in found:
        # With a distance and no other angle, this one is that of the cavity from the centre.
        found["azimuth"] = found.pop("position_angle")
    return {kind: found[kind] for kind in KINDS if kind in found}


def _unit(source: Path, table: QTable, kind: str, name: str) -> u.UnitBase | None:
    """Unit of a column: the file's, or that in its name; degrees for an angle without one."""
    unit = getattr(table[name], "unit", None)
    if unit is None:
        text = _NAMED_UNIT.search(name)
        unit = UNITS.get((text[1] or text[2]).lower()) if text else None
    if kind in ANGLES:
        return unit or u.deg
    if kind not in LENGTHS:
        return None
    if unit is None or not (unit.is_equivalent(u.arcsec) or unit.is_equivalent(u.kpc)):
        raise InputError.expected(
            source,
            f"a unit of angle or of length for column {name!r} ({kind})",
            "none" if unit is None else str(unit),
            hint=f"Call it '{name} [arcsec]' or '{name} [kpc]', or use ECSV.",
        )
    return u.arcsec if unit.is_equivalent(u.arcsec) else u.kpc


def _cavity(values: dict[str, Any], units: dict[str, u.UnitBase | None]) -> KnownCavity:
    length: dict[str, u.Quantity | None] = {}
    for kind in LENGTHS:
        value, unit = values.get(kind), units.get(kind)
        length[kind] = None
        if value is not None and unit is not None:
            length[kind] = u.Quantity(value, getattr(value, "unit", unit)).to(unit)
    major = length["radius"] if length["semi_major"] is None else length["semi_major"]
    minor = major if length["semi_minor"] is None else length["semi_minor"]
    if major is not None and minor is not None and minor > major:
        major, minor = minor, major  # some papers give axes along and across the direction
    angle = {kind: _angle(kind, values.get(kind), units.get(kind)) for kind in ANGLES}
    return KnownCavity(
        target=str(values["target"]),
        number=str(values["cavity"]),
        distance=length["distance"],
        semi_major=major,
        semi_minor=minor,
        redshift=_plain(values.get("redshift")),
        snr=_plain(values.get("snr")),
        **angle,
    )


def _angle(kind: str, value: Any, unit: u.UnitBase | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, str):
        sexagesimal = any(mark in value.strip() for mark in ": h")
        unit = u.hourangle if kind == "ra" and sexagesimal else u.deg
    return float(Angle(value, unit=getattr(value, "unit", unit)).deg)


def _plain(value: Any) -> float | None:
    return None if value is None else float(getattr(value, "value", value))


def of_targets(known: Iterable[KnownCavity]) -> dict[str, list[KnownCavity]]:
    """Cavities by the plain name of their target."""
    out: dict[str, list[KnownCavity]] = {}
    for one in known:
        out.setdefault(plain_name(one.target), []).append(one)
    return out
