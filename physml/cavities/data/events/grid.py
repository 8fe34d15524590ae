"""Pixels of the image that events are binned into, and their place on the sky."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.celestial import read_celestial

from .reading import EventFile

#: Longest side of an image whose bin was not chosen by hand, shortest side of any [pixel].
LONGEST, SHORTEST = 4096, 128
MAX_PIXELS = 1 << 26
#: Cards of a column's coordinates and those of an image's axis; and XMM's older ones.
_OF_COLUMN = {"TCTYP": "CTYPE", "TCRPX": "CRPIX", "TCRVL": "CRVAL", "TCDLT": "CDELT",
              "TCUNI": "CUNIT", "TCROT": "CROTA"}  # fmt: skip
_OF_SAS = {"CTYP": "CTYPE", "CRPX": "CRPIX", "CRVL": "CRVAL", "CDLT": "CDELT", "CUNI": "CUNIT"}
_SYSTEM = ("RADESYS", "RADECSYS", "EQUINOX")
_KEPT = ("OBJECT", "TELESCOP", "INSTRUME", "DETNAM", "FILTER", "OBS_ID", "DATE-OBS", "DATE-END",
         "EXPOSURE", "ONTIME", "LIVETIME")  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """Square pixels over a part of the plane of X and Y.

    Attributes
    ----------
    low : tuple of float
        Lower edges of the first pixel in X and Y.
    bin : float
        Side of a pixel.
    shape : tuple of int
        (H, W).
    """

    low: tuple[float, float]
    bin: float
    shape: tuple[int, int]

    def numbers(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.int64]:
        """Flat number of the pixel of each event; -1 outside of the image."""
        column = np.floor((x.astype(np.float64) - self.low[0]) / self.bin)
        row = np.floor((y.astype(np.float64) - self.low[1]) / self.bin)
        height, width = self.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        return np.where(inside, row * width + column, -1).astype(np.int64)


def choose_grid(
    events: EventFile,
    bounds: tuple[float, float, float, float],
    chosen: float | None,
    arcsec: float | None,
) -> Grid:
    """Grid that holds all selected events.

    Parameters
    ----------
    events : EventFile
    bounds : tuple of float
        Smallest and largest X, smallest and largest Y of the selected events.
    chosen : float or None
        Side of a pixel that the user wants [pixel of the list].
    arcsec : float or None
        Size of a pixel that suits the telescope.

    Raises
    ------
    InputError
        Too many pixels, or a part of a pixel of whole numbers.
    """
    side = chosen
    if side is None:
        wcs = sky_of(events)
        scale = None if wcs is None else float(np.mean(proj_plane_pixel_scales(wcs))) * 3600
        side = max(1.0, np.round(arcsec / scale)) if scale and arcsec else 1.0
        while max(_sides(bounds, side)) > LONGEST:
            side *= 2
    elif side != round(side) and all(_is_whole(events, name) for name in ("X", "Y")):
        raise InputError.expected(
            events.path, "a whole number as bin, as X and Y are whole numbers", f"{side:g}"
        )
    width, height = _sides(bounds, side)
    if width * height > MAX_PIXELS:
        raise InputError.expected(
            events.path,
            f"an image of at most {MAX_PIXELS} pixels",
            f"{width} x {height} with pixels of {side:g}",
            hint="Choose a larger bin.",
        )
    # The first edge is one of a fixed row of edges, however the events are cut.
    low = [np.floor((bounds[k] - 0.5) / side) * side + 0.5 for k in (0, 2)]
    if chosen is None:  # room around the few events of a small list
        more = [max(0, SHORTEST - n) for n in (width, height)]
        low = [edge - side * (m // 2) for edge, m in zip(low, more, strict=True)]
        width, height = width + more[0], height + more[1]
    return Grid((float(low[0]), float(low[1])), float(side), (int(height), int(width)))


def _sides(bounds: tuple[float, float, float, float], side: float) -> tuple[int, int]:
    """Width and height [pixel]."""
    width, height = (
        int(np.floor((bounds[k + 1] - 0.5) / side) - np.floor((bounds[k] - 0.5) / side)) + 1
        for k in (0, 2)
    )
    return width, height


def _is_whole(events: EventFile, column: str) -> bool:
    columns = events.table.columns[events.columns[column]]
    return columns.dtype.kind in "iu" and columns.bscale in (None, "", 1)


def sky_of(events: EventFile) -> WCS | None:
    """Celestial coordinates of X and Y, 1-based; None where the header has none."""
    cards = _image_cards(events)
    return read_celestial(str(events.path), cards) if cards is not None else None


def _image_cards(events: EventFile) -> fits.Header | None:
    """Coordinates of the columns X and Y as those of an image's axes."""
    numbers = [1 + list(events.columns).index(name) for name in ("X", "Y")]
    cards = fits.Header()
    for axis, number in enumerate(numbers, start=1):
        for column, image in _OF_COLUMN.items():
            _take(events, f"{column}{number}", cards, f"{image}{axis}")
        for other, of_other in enumerate(numbers, start=1):
            for column, image in (("TPC", "PC"), ("TP", "PC"), ("TCD", "CD"), ("TC", "CD")):
                _take(events, f"{column}{number}_{of_other}", cards, f"{image}{axis}_{other}")
    if "CTYPE1" not in cards or not re.match(r"RA|DEC|.LON|.LAT", str(cards["CTYPE1"]).upper()):
        cards = fits.Header()
        for axis, name in ((1, "REFX"), (2, "REFY")):
            for theirs, image in _OF_SAS.items():
                _take(events, f"{name}{theirs}", cards, f"{image}{axis}")
    if "CTYPE1" not in cards or "CTYPE2" not in cards:
        return None
    for card in _SYSTEM:
        _take(events, card, cards, card)
    return cards


def _take(events: EventFile, card: str, cards: fits.Header, name: str) -> None:
    """Put a card of the events, if there is one, into other cards under some name."""
    if card not in events.header:
        return
    value = events.header[card]
    if isinstance(value, float) and not np.isfinite(value):  # no header can hold it
        raise InputError.expected(events.path, f"a number in {card}", str(value))
    cards[name] = value


def image_header(events: EventFile, grid: Grid) -> fits.Header:
    """Header of the image: sky, physical pixels (those of the list), and the observation."""
    cards = fits.Header()
    for card in _KEPT:
        _take(events, card, cards, card)
    cards["BUNIT"] = "count"
    cards["CONTENT"] = ("IMAGE", "binned events")
    for axis, low in enumerate(grid.low, start=1):
        cards[f"LTM{axis}_{axis}"] = 1 / grid.bin
        cards[f"LTV{axis}"] = 0.5 - low / grid.bin
    wcs = sky_of(events)
    if wcs is not None:
        wcs.wcs.crpix = (wcs.wcs.crpix - np.array(grid.low)) / grid.bin + 0.5
        if wcs.wcs.has_cd():
            wcs.wcs.cd = wcs.wcs.cd * grid.bin
        else:
            wcs.wcs.cdelt = wcs.wcs.cdelt * grid.bin
        wcs.wcs.set()
        cards.update(wcs.to_header())
    return cards
