"""Images of events: on which grid, what is counted in its pixels, and where they are in the sky."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Bools, Floats, Rows, Singles
from .event_rows import MISSING, REJECTED, counted
from .result import BackgroundResult

#: Largest side of the images of lists [pixel]; sky pixels are binned to it.
MAX_IMAGE = 2048


def selected(result: BackgroundResult, rejected: bool | None) -> Iterator[tuple[Rows, Floats]]:
    """Rows of the kept or rejected events (None: both) with the weights of their frames."""
    for every in result.store.chunks():
        rows = every[counted(every)]
        if rejected is not None:
            rows = rows[((rows["FLAG"] & REJECTED) > 0) == rejected]
        if "W_FRAME" in (rows.dtype.names or ()):
            yield rows, rows["W_FRAME"].astype(np.float64)
        else:
            yield rows, np.ones(len(rows))


@dataclass(frozen=True)
class Grid:
    """Pixels of an image of events.

    Attributes
    ----------
    columns : tuple of str
        Columns of the positions, x and y.
    low : tuple of float
        Smallest x and y, at the edge of the first pixel.
    step : int
        Side of a pixel of the image, in units of the columns.
    shape : tuple of int
        Rows and columns of the image.
    """

    columns: tuple[str, str]
    low: tuple[float, float]
    step: int
    shape: tuple[int, int]

    def place(self, rows: Rows) -> tuple[Bools, Rows, Rows]:
        """Events that lie in the image, as a mask, and their rows and columns."""
        x, y = (np.asarray(rows[name], np.float64) for name in self.columns)
        with np.errstate(invalid="ignore"):
            i, j = (y - self.low[1]) // self.step, (x - self.low[0]) // self.step
        inside = (i >= 0) & (i < self.shape[0]) & (j >= 0) & (j < self.shape[1])
        return inside, i[inside].astype(int), j[inside].astype(int)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge."""
        (x, y), (ny, nx) = self.low, self.shape
        return x, x + nx * self.step, y, y + ny * self.step


def grid(result: BackgroundResult) -> Grid:
    """Image of the whole detector, or of the part of the sky where a list has events."""
    if result.camera is not None:
        return Grid(("RAWX", "RAWY"), (0.5, 0.5), 1, result.camera.shape)
    for columns in (("X", "Y"), ("DETX", "DETY"), ("RAWX", "RAWY")):
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        for rows in result.store.chunks():
            values = np.stack([rows[name].astype(np.float64) for name in columns])
            values = values[:, np.isfinite(values).all(axis=0) & (values > MISSING).all(axis=0)]
            if values.size:
                low, high = np.minimum(low, values.min(1)), np.maximum(high, values.max(1))
        if np.isfinite(low).all():
            low = np.floor(low - 0.5) + 0.5
            size = np.floor(high - low) + 1
            step = max(1, int(-(-size.max() // MAX_IMAGE)))
            nx, ny = (int(-(-n // step)) for n in size)
            return Grid(columns, (float(low[0]), float(low[1])), step, (ny, nx))
    return Grid(("X", "Y"), (0.5, 0.5), 1, (1, 1))


def images(result: BackgroundResult) -> dict[str, Singles]:
    """Expected background and counts by pixel: BACKGROUND, RESIDUAL, KEPT, REJECTED.

    BACKGROUND is the sum of P_BKG over all events, RESIDUAL that over the kept ones. P_BKG holds
    at equal numbers of X-rays and background, and where sources are fainter or brighter than that
    the sums are off by the same token: they tell where background lies, not how much of it.
    """
    pixels = grid(result)
    found = {
        name: np.zeros(pixels.shape) for name in ("BACKGROUND", "RESIDUAL", "KEPT", "REJECTED")
    }
    for rows, weight in selected(result, None):
        inside, i, j = pixels.place(rows)
        p, w = rows["P_BKG"][inside].astype(float), weight[inside]
        kept = (rows["FLAG"][inside] & REJECTED) == 0
        for name, value in (
            ("BACKGROUND", w * p),
            ("RESIDUAL", w * p * kept),
            ("KEPT", w * kept),
            ("REJECTED", w * ~kept),
        ):
            np.add.at(found[name], (i, j), value)
    return {name: image.astype(np.float32) for name, image in found.items()}


def sky_cards(result: BackgroundResult) -> dict[str, Any]:
    """World coordinates of the images: physical ones, and the sky's where the input has them."""
    g = grid(result)
    cards: dict[str, Any] = {}
    for axis, low in ((1, g.low[0]), (2, g.low[1])):
        # Image pixel = LTM x column + LTV, as DS9 knows it.
        cards[f"LTM{axis}_{axis}"] = 1 / g.step
        cards[f"LTV{axis}"] = 0.5 - low / g.step
    if result.camera is not None:
        if result.header is not None and result.columns["X"].extra:
            from astropy.wcs import WCS

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cards |= dict(WCS(result.header).celestial.to_header())
        return cards
    extras = [result.columns[name].extra for name in g.columns]
    if all({"TCTYP", "TCRPX", "TCRVL", "TCDLT"} <= set(extra) for extra in extras):
        for axis, (extra, low) in enumerate(zip(extras, g.low, strict=True), start=1):
            cards[f"CTYPE{axis}"] = extra["TCTYP"]
            cards[f"CRVAL{axis}"] = extra["TCRVL"]
            cards[f"CRPIX{axis}"] = (extra["TCRPX"] - low) / g.step + 0.5
            cards[f"CDELT{axis}"] = extra["TCDLT"] * g.step
            cards[f"CUNIT{axis}"] = extra.get("TCUNI", "deg")
    return cards
