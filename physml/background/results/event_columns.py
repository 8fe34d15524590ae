"""Columns of the event list of frames: positions on the sky, limits."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.arrays import Floats
from ..data.stream import FrameStream
from .event_rows import DESCRIPTIONS, N_CHANNELS, UNITS, WEIGHTED_ROW
from .ogip import ColumnCards


class Sky:
    """Sky pixels X, Y of detector positions: north up, the same scale, a tangential projection.

    Without a celestial WCS in the input, X and Y are the detector's own.

    Parameters
    ----------
    stream : FrameStream
    """

    def __init__(self, stream: FrameStream) -> None:
        ny, nx = stream.camera.shape
        self.matrix: Floats | None = None
        self.cards: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        self._limits = ((0.5, nx + 0.5), (0.5, ny + 0.5))
        self._read(stream)

    def _read(self, stream: FrameStream) -> None:
        header = stream.header
        if header is None or not any(str(header.get(f"CTYPE{i}", "")) for i in (1, 2)):
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FITSFixedWarning)
                wcs = WCS(header)
                if not wcs.has_celestial:
                    return
                wcs = wcs.celestial
                matrix = np.asarray(wcs.pixel_scale_matrix)
                scale = float(np.sqrt(abs(np.linalg.det(matrix))))
                kinds = [str(t) for t in wcs.wcs.ctype]
        except Exception as error:  # wcslib has a family of errors of its own
            detail = " ".join(str(error).split())
            raise InputError.expected(
                stream.source.label, "usable celestial coordinates", f"a WCS that fails ({detail})"
            ) from error
        if scale <= 0 or not np.isfinite(scale) or not kinds[0].endswith("TAN"):
            stream.inspector.remark(f"celestial coordinates {kinds[0]} are not carried over")
            return
        # Intermediate world coordinates are matrix (p - crpix); east is to the left.
        flip = np.array([[-1.0], [1.0]]) / scale
        self.matrix = flip * matrix
        self.reference = np.asarray(wcs.wcs.crpix, float)
        self.cards = tuple(  # type: ignore[assignment]
            {
                "TCTYP": kinds[i],
                "TCRPX": float(self.reference[i]),
                "TCRVL": float(wcs.wcs.crval[i]),
                "TCDLT": (-scale, scale)[i],
                "TCUNI": "deg",
            }
            for i in (0, 1)
        )
        corners = np.array([[x, y] for x in self._limits[0] for y in self._limits[1]])
        x, y = self(corners[:, 0], corners[:, 1])
        self._limits = (
            (float(np.floor(x.min())), float(np.ceil(x.max()))),
            (float(np.floor(y.min())), float(np.ceil(y.max()))),
        )

    @property
    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Smallest and largest X, and Y."""
        return self._limits

    def __call__(
        self, x: NDArray[np.floating], y: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """X and Y of detector positions, pixels from 1."""
        if self.matrix is None:
            return x, y
        points = np.stack([x, y]).astype(np.float64) - self.reference[:, None]
        sky = self.matrix @ points + self.reference[:, None]
        return sky[0], sky[1]


def standard_cards() -> dict[str, ColumnCards]:
    """Cards of the columns of our own lists."""
    cards = {
        name: ColumnCards(UNITS.get(name, ""), DESCRIPTIONS[name])
        for name in WEIGHTED_ROW.names or ()
    }
    for name, low, high in (
        ("PHA", 0, N_CHANNELS - 1),
        ("PI", 0, N_CHANNELS - 1),
        ("PATTERN", 0, 12),
        ("GRADE", 0, 7),
        ("P_BKG", 0.0, 1.0),
        ("P_FRAME", 0.0, 1.0),
    ):
        cards[name].low, cards[name].high = low, high
    return cards


def frame_columns(stream: FrameStream, sky: Sky) -> dict[str, ColumnCards]:
    """Cards of the columns of events found in frames."""
    cards = standard_cards()
    ny, nx = stream.camera.shape
    side = stream.camera.pixel_um / 1000
    for raw, det, n in (("RAWX", "DETX", nx), ("RAWY", "DETY", ny)):
        cards[raw].low, cards[raw].high = 1, n
        cards[det].low, cards[det].high = 0.5, n + 0.5
        cards[det].extra = {
            "TCTYP": det,
            "TCRPX": (n + 1) / 2,
            "TCRVL": 0.0,
            "TCDLT": side,
            "TCUNI": "mm",
        }
    for name, limits, extra in zip("XY", sky.limits, sky.cards, strict=True):
        cards[name].low, cards[name].high = limits
        cards[name].extra = extra
    return cards
