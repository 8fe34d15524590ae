"""Detectors: their settings, and the files of those that come with the package."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy import float64
from numpy.typing import NDArray
from pydantic import Field

from physml.config import KiloElectronVolt, Micrometres, Seconds, Settings, Unit, load_settings
from physml.exceptions import InputError

#: Mean energy of an electron-hole pair in silicon, keV, and Fano factor.
PAIR, FANO = 3.71e-3, 0.118

Volts = Annotated[float, Unit("V")]
Kelvin = Annotated[float, Unit("K")]

_BOLTZMANN = 8.617333e-5  # eV / K


class DetectorSettings(Settings):
    """A pixel detector of silicon that reads whole frames."""

    name: str = Field("wfi", description="What it is called")
    ny: int = Field(512, description="Rows", ge=8, le=8192)
    nx: int = Field(512, description="Columns", ge=8, le=8192)
    pixel_um: Micrometres = Field(130.0, description="Side of a pixel, um", ge=1)
    thickness_um: Micrometres = Field(450.0, description="Depleted silicon, um", ge=10)
    lit: Literal["back", "front"] = Field(
        "back", description="Side that light comes from: that of the readout is the front"
    )
    field_free_um: Micrometres = Field(
        0.0,
        description="Silicon without a field behind the depleted layer, um: charge gets out of it "
        "by diffusion",
        ge=0,
        le=1000,
    )
    diffusion_um: Micrometres = Field(
        500.0, description="Diffusion length of electrons in it, um", ge=1
    )
    frame_time: Seconds = Field(5e-3, description="Time of a frame, s", gt=0)
    enc: float = Field(3.0, description="Readout noise, electrons rms", ge=0)
    sigma0_um: Micrometres = Field(
        5.0, description="Width of a charge cloud that has not drifted, um", gt=0
    )
    bias_V: Volts = Field(100.0, description="Voltage across the silicon", gt=0)
    temperature_K: Kelvin = Field(210.0, description="Of the silicon", gt=0)
    split_keV: KiloElectronVolt = Field(0.05, description="Split threshold, keV", gt=0)
    event_keV: KiloElectronVolt = Field(0.1, description="Event threshold, keV", gt=0)
    upper_keV: KiloElectronVolt = Field(
        15.0, description="Largest energy of an event that may be an X-ray, keV", gt=0
    )

    @property
    def area_cm2(self) -> float:
        """Sensitive area."""
        return self.ny * self.nx * (self.pixel_um * 1e-4) ** 2

    @property
    def silicon_um(self) -> float:
        """Thickness of all the silicon, um."""
        return self.thickness_um + self.field_free_um

    @property
    def noise_keV(self) -> float:
        """Readout noise, keV rms."""
        return self.enc * PAIR

    def width(self, drift: NDArray[float64]) -> NDArray[float64]:
        """Width of charge clouds that drifted over distances in um, um."""
        # No cloud drifts further than the field reaches.
        drift = np.minimum(drift, self.thickness_um) if self.field_free_um > 0 else drift
        volt = _BOLTZMANN * self.temperature_K
        squared: NDArray[float64] = self.sigma0_um**2 + 2 * volt / self.bias_V * drift**2
        return squared**0.5


@lru_cache(maxsize=1)
def detector_names() -> list[str]:
    """Names of the detectors that come with the package."""
    folder = resources.files("physml.background.core") / "detector_files"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")


def load_detector(name: str | PathLike[str]) -> DetectorSettings:
    """Load a detector by its name, or from a YAML file of one's own.

    Raises
    ------
    InputError
        Neither a known name nor a file.
    SettingsError
        The file has unknown or bad settings.
    """
    if isinstance(name, str) and name in detector_names():
        place = resources.files("physml.background.core") / "detector_files" / f"{name}.yaml"
        with resources.as_file(place) as path:
            return load_settings(DetectorSettings, path)
    path = Path(name)
    if path.suffix not in (".yaml", ".yml", ".json") or not path.is_file():
        raise InputError.expected(
            "detector=", f"one of {', '.join(detector_names())}, or a YAML file", repr(str(name))
        )
    return load_settings(DetectorSettings, path)
