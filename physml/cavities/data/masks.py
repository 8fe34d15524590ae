"""Masks of point sources: region files of DS9, CIAO and XMM, FITS region tables and images."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.files import require_file
from physml.io.fits import open_hdus, open_image

from .mask_image import read_mask_image
from .regions.algebra import cover
from .regions.frames import Placer
from .regions.table import is_region_table, read_table
from .regions.text import read_text
from .sky import Sky

#: Largest region file in text.
MAX_BYTES = 16 << 20
_FITS = (b"SIMPLE  =", b"\x1f\x8b")


class Mask(NamedTuple):
    """Sources to fill.

    Attributes
    ----------
    pixels : ndarray of bool, shape (H, W)
    remarks : list of str
        What was assumed or left out.
    """

    pixels: NDArray[np.bool_]
    remarks: list[str]


def read_mask(
    path: str | PathLike[str], counts: NDArray[Any], wcs: WCS | None, header: Any = None
) -> Mask:
    """Pixels of the sources that a file lists, by their centres.

    Parameters
    ----------
    path : path
        A DS9 region file (image, physical or celestial coordinates), a CIAO one (physical without
        saying so), a FITS region table, a FITS image of 0 and 1, or text with ``x y radius`` on
        each line in 1-based pixels, as the XMM source lists have it.
    counts : ndarray, shape (H, W)
        The image.
    wcs : WCS or None
        Celestial WCS of the image, for regions in sky coordinates.
    header : mapping, optional
        FITS header, for the physical coordinates (LTM and LTV, or a WCS named PHYSICAL).

    Raises
    ------
    InputError
        For shapes or frames that are not understood, with the line; for sky coordinates without
        a WCS; for a file without regions, or with none on the image; for what has two meanings.
    """
    file = require_file(path, "a region file")
    with file.open("rb") as stream:
        head = stream.read(9)
    shape = (counts.shape[0], counts.shape[1])
    placer = Placer(Sky(wcs, header), header)
    if head.startswith(_FITS):
        with open_hdus(file) as hdus:
            table = next((hdu for hdu in hdus if is_region_table(hdu)), None)
            components = None if table is None else read_table(file, table, placer)
        if components is None:
            return Mask(*read_mask_image(file, open_image(file), counts, wcs))
    else:
        components = read_text(file, _text(file), placer)
    pixels, remarks = cover(str(file), components, shape)
    return Mask(pixels, [f"mask: {text}" for text in [*sorted(placer.remarks), *remarks]])


def _text(file: Path) -> str:
    require_file(file, "a region file", MAX_BYTES)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.expected(
            file,
            "a region file in text form, a FITS region table or a FITS mask",
            "other binary data",
            hint="Save it from DS9 as .reg.",
        ) from error
