"""Cameras: what is around and between detectors, and how they are read.

Everything is off by default: one detector, all pixels of which begin and end to collect at once,
in a housing that is the same on all sides.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from physml.config import KiloElectronVolt, Millimetres, Settings

from .arrays import Floats, Ints
from .detectors import DetectorSettings
from .plane import Plane


class FluorescenceLine(Settings):
    """Line of an element of the housing.

    Energies: Al K 1.487, Si K 1.740, Au M 2.12, Cr K 5.41, Fe K 6.40, Ni K 7.47, Cu K 8.04,
    Zn K 8.63, Au L 9.71 and 11.44 keV (Bearden 1967, Rev. Mod. Phys. 39, 78); these are the lines
    that cameras in orbit see (Katayama et al. 2004, A&A 414, 767; Bartalucci et al. 2014,
    A&A 566, A25).
    """

    energy: KiloElectronVolt = Field(description="Energy of the line, keV", gt=0.3, lt=100)
    photons: float = Field(
        description="Line photons that leave the surface at each crossing of a particle through it",
        ge=0,
        le=10,
    )


class CameraSettings(Settings):
    """Camera of one or more detectors in one housing."""

    across: int = Field(1, description="Detectors side by side", ge=1, le=8)
    down: int = Field(1, description="Rows of detectors, one above the other", ge=1, le=8)
    gap: Millimetres = Field(
        0.0, description="Insensitive strip between neighbouring detectors, mm", ge=0, le=50
    )
    rolling: bool = Field(
        False, description="Rows are read one after the other, each once a frame time"
    )
    order: Literal["up", "inward", "outward"] = Field(
        "up",
        description="Row that is read first: the lowest of each detector, or, in both halves of "
        "the camera, the outermost, or that at the middle",
    )
    cycles: tuple[PositiveFloat, ...] = Field(
        (),
        description="Frame times of which an exposure has one, ms, instead of those of "
        "`conditions.frame_time`",
    )
    neighbours: int = Field(
        0,
        description="Frames before and after each frame kept that are kept with it, at weight 0",
        ge=0,
        le=4,
    )
    light_side: Millimetres | None = Field(
        None,
        description="Detector to housing (or filter wheel) on the side that light comes from, mm; "
        "the stand-off by default",
        gt=0,
        le=1000,
    )
    opening: float = Field(
        0.0,
        description="Share of the housing's face on the side of the light that is open: a "
        "rectangle in its middle",
        ge=0,
        lt=1,
    )
    yield_light: float = Field(
        1.0, description="Electrons from the face on the side of the light, over aluminium's", ge=0
    )
    yield_board: float = Field(
        1.0, description="Electrons from the face behind the detectors, over aluminium's", ge=0
    )
    yield_sides: float = Field(
        1.0, description="Electrons from the faces at the sides, over aluminium's", ge=0
    )
    lines: tuple[FluorescenceLine, ...] = Field((), description="Fluorescence of the housing")
    common_mode: float = Field(
        0.0, description="Noise that all pixels of a row share, electrons rms", ge=0, le=100
    )
    crosstalk: float = Field(
        0.0, description="Share of a pixel's signal that its neighbours show as well", ge=0, le=0.2
    )
    crosstalk_to: Literal["columns", "next row"] = Field(
        "columns",
        description="Neighbours that do: the pixels on both sides in the row, or the one that is "
        "read next in the column",
    )
    cti: float = Field(
        0.0, description="Share of the charge that each transfer to the next row leaves behind",
        ge=0, le=1e-2,
    )  # fmt: skip
    transfer: float = Field(
        0.0,
        description="Share of the frame time in which the image is moved under the light: what "
        "comes then is shown in a wrong row",
        ge=0,
        le=0.5,
    )

    @property
    def number(self) -> int:
        """Number of detectors."""
        return self.across * self.down

    def plane(self, detector: DetectorSettings) -> Plane:
        """Places of the detectors."""
        return Plane(detector, self.across, self.down, 1e3 * self.gap)

    def phase(self, detector: DetectorSettings, quadrant: Ints, y: Ints) -> Floats:
        """Times at which rows are read, as shares of the frame time; 0 where all are at once."""
        if not self.rolling:
            return np.zeros(np.shape(y))
        upper = 2 * (quadrant // self.across) >= self.down
        backwards = {"up": np.zeros_like(upper), "inward": upper, "outward": ~upper}[self.order]
        place = np.where(backwards, detector.ny - 1 - y, y)
        phase: Floats = (place + 0.5) / detector.ny
        return phase
