"""Every setting of the background pipeline, with its unit and range.

Conditions are drawn anew for each exposure, from ranges that are wide on purpose: a network that
saw one camera in one orbit is worth nothing in the next. Equal ends of a range fix a condition.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import AfterValidator, Field

from physml.config import PipelineSettings, ResourceSettings, Settings, SimulateBase

from .core.detectors import DetectorSettings, detector_names, load_detector
from .evaluation_settings import EvaluateSettings, ReportSettings
from .learning_settings import PreprocessSettings, TrainSettings

__all__ = [
    "BackgroundSettings",
    "ConditionsPrior",
    "DetectorSettings",
    "EvaluateSettings",
    "PreprocessSettings",
    "ReportSettings",
    "SimulateSettings",
    "TrainSettings",
    "detector_names",
    "load_detector",
]

Fraction = Annotated[float, Field(ge=0, le=1)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the first end of a range is above the second")
    return value


Range = Annotated[tuple[float, float], Len(2, 2), AfterValidator(_ordered)]
Positive = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
    Len(2, 2),
    AfterValidator(_ordered),
]
NotNegative = Annotated[
    tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]],
    Len(2, 2),
    AfterValidator(_ordered),
]


class ConditionsPrior(Settings):
    """What an exposure is taken under (prior.py)."""

    phi: Positive = Field((0.35, 0.8), description="Solar modulation, GV; 0.4 solar minimum")
    helium: Fraction = Field(0.10, description="Helium nuclei over protons, by number")
    standoff: Positive = Field(
        (3.0, 30.0), description="Slab to wall, above and below, mm; log-uniform"
    )
    gap: Positive = Field((3.0, 20.0), description="Slab to wall at the sides, mm; log-uniform")
    shield: Positive = Field((5.0, 40.0), description="Thickness of the wall (Al), mm; log-uniform")
    frame_time: Positive = Field(
        (0.4, 4.0), description="Times the detector's own frame time; log-uniform"
    )
    gain: Positive = Field((0.97, 1.03), description="Measured over true energy")
    column_gain: NotNegative = Field(
        (0.0, 0.003), description="Scatter of the gain from column to column"
    )
    offset: NotNegative = Field(
        (0.0, 0.004), description="Scatter of the pixels' offsets that is left, keV"
    )
    noise: Positive = Field((0.8, 2.0), description="Times the detector's own noise; log-uniform")
    threshold: Positive = Field(
        (1.0, 3.0), description="Times the detector's own split threshold; log-uniform"
    )
    nominal: Fraction = Field(
        0.5, description="Share of exposures whose noise and threshold are the detector's own"
    )
    lowest_threshold: float = Field(
        4.2, description="Split threshold in units of the noise, at least", gt=2
    )
    cloud: Positive = Field((0.8, 2.0), description="Times the detector's own sigma0; log-uniform")
    bias: Positive = Field((0.6, 1.6), description="Times the detector's own voltage; log-uniform")
    bad: Fraction = Field(0.3, description="Share of exposures with dead columns")
    bad_columns: int = Field(6, description="Largest number of dead columns", ge=1)
    flat: NotNegative = Field(
        (0.0, 4e-4),
        description="Events without context, flat in energy (scattered hard photons), 1/cm2/s/keV",
    )
    photons: Positive = Field((0.1, 2.0), description="X-rays a frame; log-uniform")
    bright: Fraction = Field(0.10, description="Share of exposures of a bright source")
    bright_photons: Positive = Field((2.0, 10.0), description="X-rays a frame there; log-uniform")
    spectrum: Range = Field((-0.5, 2.0), description="Photon index of the X-rays")
    energies: Positive = Field((0.2, 15.0), description="Energies of the X-rays, keV")
    spot: Fraction = Field(0.3, description="Share of exposures of a point-like source")
    spot_share: NotNegative = Field((0.3, 1.0), description="Share of the X-rays that are in it")
    spot_width: Positive = Field((0.8, 8.0), description="Its width, pixels; log-uniform")


class SimulateSettings(SimulateBase):
    """Simulated exposures: runs of consecutive frames under one set of conditions."""

    n_samples: int = Field(2_400, description="Number of exposures", gt=0)
    shard_size: int = Field(40, description="Exposures a shard", gt=0)
    detector: str = Field("wfi", description="Name of a detector, or a YAML file of one")
    hits: int = Field(
        5_000, description="Cosmic rays through the silicon in an exposure, about", ge=1
    )
    keep: float = Field(
        0.01, description="Share that is kept of the frames without a candidate event", gt=0, le=1
    )
    thorough: bool = Field(
        False,
        description="Work out frames in full also where nothing but tracks of primaries is in them",
    )
    conditions: ConditionsPrior = ConditionsPrior()
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=2500, runtime_min=60, gpu=0)


class BackgroundSettings(PipelineSettings):
    """Settings of the background pipeline."""

    seed: int = Field(20201203, description="Root of all random streams", ge=0)
    simulate: SimulateSettings = SimulateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
