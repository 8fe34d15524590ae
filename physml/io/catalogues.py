"""Tables of results as ECSV or FITS with units, and regions for DS9."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.atomic import atomic_path
from physml.io.files import require_file

if TYPE_CHECKING:
    from astropy.table import QTable, Table
    from regions import Region

MAX_BYTES = 256 << 20


def _format(path: Path) -> str:
    if path.suffix == ".ecsv":
        return "ecsv"
    if path.suffix in (".fits", ".fit"):
        return "fits"
    raise InputError.expected(
        path, "a name that ends in .ecsv or .fits", path.suffix or "no suffix"
    )


def write_catalogue(
    path: str | PathLike[str],
    table: Table,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a table atomically; the suffix chooses ECSV or FITS.

    Parameters
    ----------
    path : path
        Where to, ``.ecsv`` or ``.fits``.
    table : Table
        Columns with units; not changed.
    provenance : mapping, optional
        Run record: in ECSV's header, or FITS's extension ``PROVENANCE``.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        Another suffix.
    OutputError
        The file exists, or there is no room.
    """
    target = Path(path)
    form = _format(target)
    from astropy.io import fits
    from astropy.table import QTable

    from physml.io.fits import write_hdus

    copy = QTable(table, copy=True)
    if form == "ecsv":
        # As one text: ECSV's YAML would turn it into ordered-dictionary tags.
        copy.meta = {str(k): prov.jsonable(v) for k, v in copy.meta.items()}
        if provenance:
            copy.meta[prov.KEY] = prov.dumps(provenance)
        with atomic_path(target, overwrite) as temporary:
            copy.write(temporary, format="ascii.ecsv")
        return
    # A header card holds one short value; everything else is in the PROVENANCE table.
    copy.meta = {
        str(k).upper()[:8]: v
        for k, v in copy.meta.items()
        if isinstance(v, str | int | float) and len(str(v)) < 60
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(copy)])
        hdus[1].name = "CATALOGUE"
        if provenance:
            for name, value, comment in prov.fits_cards(provenance):
                hdus[0].header[name] = (value, comment)
            hdus.append(prov.fits_table(provenance))
        write_hdus(target, hdus, overwrite)


def read_ecsv(path: str | PathLike[str]) -> QTable:
    """Table in ECSV format, of which the text is given to astropy, not the file.

    Astropy would unpack a file that begins like a packed one, whatever its name, to any size.
    """
    from astropy.table import QTable

    return QTable.read(Path(path).read_text(encoding="utf-8").splitlines(), format="ascii.ecsv")


def read_catalogue(path: str | PathLike[str]) -> QTable:
    """Read a table from ECSV or FITS (the first table in it).

    Raises
    ------
    InputError
        No such file, too large, or not a table.
    """
    from astropy.table import QTable

    source = require_file(path, "a table", MAX_BYTES)
    if _format(source) == "fits":
        from astropy.io import fits

        from physml.io.fits import open_hdus

        with open_hdus(source) as hdus:
            for hdu in hdus:
                if isinstance(hdu, fits.BinTableHDU) and hdu.name != prov.FITS_EXTENSION:
                    try:
                        return QTable.read(hdu)
                    except Exception as error:  # as below
                        raise InputError.expected(
                            source, "a readable FITS table", f"a damaged one ({error})"
                        ) from error
        raise InputError.expected(source, "a FITS table", "none in it")
    try:
        # ECSV is read by astropy's safe YAML loader: known types only.
        table = read_ecsv(source)
    except Exception as error:  # the reader raises errors of many kinds on foreign text
        detail = " ".join(str(error).split())[:200]
        raise InputError.expected(source, "a table in ECSV format", detail) from error
    for name in table.colnames:
        # An empty text comes back as a missing one.
        if table[name].dtype.kind == "U" and hasattr(table[name], "mask"):
            table[name] = table[name].filled("")
    return table


def write_regions(
    path: str | PathLike[str], regions: Iterable[Region], overwrite: bool = False
) -> None:
    """Write regions for DS9 atomically.

    Parameters
    ----------
    path : path
        Where to, usually ``.reg``.
    regions : iterable of Region
        All in sky or all in pixel coordinates; their ``meta`` gives labels and tags, their
        ``visual`` colours.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OutputError
        The file exists, or there is no room.
    """
    from regions import Regions

    items = list(regions)
    text = (
        Regions(items).serialize(format="ds9", precision=8)
        if items
        else "# Region file format: DS9\n"
    )
    with atomic_path(path, overwrite) as temporary:
        temporary.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
