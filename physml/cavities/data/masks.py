"""Masks of point sources: DS9 and CIAO region files, and plain tables of circles.

A region file that is read half is worse than none: a source left in looks like a bright rim, one
masked at the wrong place like nothing at all. So each line is understood or refused by number.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from regions import PixCoord, PixelRegion, Regions, SkyRegion

from physml.exceptions import InputError
from physml.io.files import require_file

#: Largest region file.
MAX_BYTES = 16 << 20
_SKY = {"fk4", "b1950", "fk5", "j2000", "icrs", "galactic", "ecliptic"}
_FRAMES = _SKY | {"image", "physical"}
_AREA = ("circle", "ellipse", "box", "rotbox", "polygon", "annulus", "rectangle")

Positions = NDArray[np.float64]
Grid = Callable[[Positions, Positions], tuple[Positions, Positions]]


def read_mask(
    path: str | PathLike[str], shape: tuple[int, int], wcs: WCS | None, header: Any = None
) -> NDArray[np.bool_]:
    """Pixels whose centres lie in the regions of a file.

    Parameters
    ----------
    path : path
        A DS9 region file (image, physical or celestial coordinates), a CIAO one (physical
        without saying so), or text with ``x y radius`` on each line in 1-based pixels, as the
        XMM source lists have it.
    shape : tuple of int
        Shape of the image.
    wcs : WCS or None
        Celestial WCS of the image, for regions in sky coordinates.
    header : mapping, optional
        FITS header, for the physical coordinates (LTV, LTM).

    Returns
    -------
    ndarray of bool, shape `shape`

    Raises
    ------
    InputError
        For shapes or frames that are not understood, with the line; for sky coordinates without
        a WCS; for a file without regions.
    """
    file = require_file(path, "a region file", MAX_BYTES)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError.expected(
            file, "a region file in text form", "binary data", hint="Save it from DS9 as .reg."
        ) from error
    mask = np.zeros(shape, dtype=bool)
    signs = set()
    for number, frame, statement in _statements(file, text):
        where = f"{file}, line {number}"
        signs.add(not statement.startswith("-"))
        _paint(mask, where, frame, statement.lstrip("+-! "), wcs, header)
    if not signs:
        raise InputError.expected(file, "at least one region", "none")
    if len(signs) == 2:
        raise InputError.expected(
            file,
            "regions of sources to mask",
            "both included and excluded (-) regions",
            hint="Keep only the sources in the file.",
        )
    return mask


def _statements(file: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, frame, statement) for each region of a file."""
    frame: str | None = None
    table_row = re.compile(r"^[-+.\deE]+([,\s]+[-+.\deE]+){2}$")
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#") or line.lower().startswith("global"):
            continue
        if table_row.match(line):
            try:
                x, y, radius = map(float, re.split(r"[,\s]+", line))
            except ValueError:
                radius = -1.0
            if not radius > 0:
                raise InputError.expected(
                    f"{file}, line {number}", "x y radius with radius > 0", repr(line[:80])
                )
            yield number, "image", f"circle({x:.9f},{y:.9f},{radius:.9f})"
            continue
        for part in line.split("#", 1)[0].split(";"):
            statement = part.strip().rstrip("|").strip()
            if not statement:
                continue
            if statement.lower() in _FRAMES:
                frame = statement.lower()
                continue
            shape = re.match(r"^[-+!]?\s*([A-Za-z_]\w*)\s*[( ]", statement)
            if not shape or shape.group(1).lower() not in _AREA:
                raise InputError.expected(
                    f"{file}, line {number}",
                    f"a region with an area ({', '.join(_AREA)}) or a coordinate frame "
                    f"({', '.join(sorted(_FRAMES))})",
                    repr(statement[:80]),
                )
            # CIAO writes no frame: sexagesimal positions are sky, numbers are physical.
            yield number, frame or ("fk5" if ":" in statement else "physical"), statement


def _paint(
    mask: NDArray[np.bool_], where: str, frame: str, statement: str, wcs: WCS | None, header: Any
) -> None:
    """Add one region to the mask."""
    if frame in _SKY and wcs is None:
        raise InputError.expected(
            where, "image coordinates, as the image has no celestial WCS", f"{frame} coordinates"
        )
    # `rotbox` is CIAO's name of a rotated box.
    statement = re.sub(r"^(rotbox|rectangle)", "box", statement, flags=re.IGNORECASE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parsed = Regions.parse(
                f"{'image' if frame == 'physical' else frame}\n{statement}", format="ds9"
            )
        except Exception as error:  # the parser raises errors of many kinds
            detail = " ".join(str(error).split())[:200] or type(error).__name__
            found = f"{statement[:80]!r} ({detail})"
            raise InputError.expected(where, "a region", found) from error
    if len(parsed) != 1:
        reason = f" ({caught[0].message})" if caught else ""
        raise InputError.expected(where, "a region", f"{statement[:80]!r}{reason}")
    region: Any = parsed[0]
    try:
        if isinstance(region, SkyRegion):
            region = region.to_pixel(wcs)
        box = region.bounding_box
        edges = np.array([box.ixmin, box.ixmax, box.iymin, box.iymax], dtype=float)
    except Exception:  # behind the sky of a projection its scale is no number
        edges = np.array([np.nan])
    if not (np.abs(edges) < 1e9).all():  # also false for NaN
        raise InputError.expected(where, "a region on the sky of the image", repr(statement[:80]))
    to_region, to_image = _physical(header) if frame == "physical" else (_same, _same)
    _paint_pixels(mask, region, to_region, to_image)


def _paint_pixels(
    mask: NDArray[np.bool_], region: PixelRegion, to_region: Grid, to_image: Grid
) -> None:
    box = region.bounding_box
    x, y = to_image(
        np.array([box.ixmin - 1.0, box.ixmax + 1.0]), np.array([box.iymin - 1.0, box.iymax + 1.0])
    )
    height, width = mask.shape
    low_x, high_x = np.clip([np.floor(min(x)), np.ceil(max(x)) + 1], 0, width).astype(int)
    low_y, high_y = np.clip([np.floor(min(y)), np.ceil(max(y)) + 1], 0, height).astype(int)
    if low_x >= high_x or low_y >= high_y:
        return
    Y, X = np.mgrid[low_y:high_y, low_x:high_x].astype(float)
    mask[low_y:high_y, low_x:high_x] |= region.contains(PixCoord(*to_region(X, Y)))


def _same(x: Positions, y: Positions) -> tuple[Positions, Positions]:
    return x, y


def _physical(header: Any) -> tuple[Grid, Grid]:
    """Image to physical pixels and back, both shifted to 0-based as `regions` reads them.

    image = LTM physical + LTV in 1-based pixels; Chandra's sky pixels are such physical ones.
    """
    header = header if header is not None else {}
    ltm = np.array([header.get("LTM1_1", 1.0), header.get("LTM2_2", 1.0)], dtype=float)
    ltv = np.array([header.get("LTV1", 0.0), header.get("LTV2", 0.0)], dtype=float)

    def to_physical(x: Positions, y: Positions) -> tuple[Positions, Positions]:
        return (x + 1 - ltv[0]) / ltm[0] - 1, (y + 1 - ltv[1]) / ltm[1] - 1

    def to_image(x: Positions, y: Positions) -> tuple[Positions, Positions]:
        return ltm[0] * (x + 1) + ltv[0] - 1, ltm[1] * (y + 1) + ltv[1] - 1

    return to_physical, to_image
