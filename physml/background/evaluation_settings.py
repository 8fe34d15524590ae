"""Settings of evaluation and report."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import Field

from physml.config import ResourceSettings, StageSettings

Retention = Annotated[float, Field(gt=0, lt=1)]


class EvaluateSettings(StageSettings):
    """Evaluation on the test split, on frozen sets, and on the Geant4 set where it is there."""

    exposures: int = Field(
        24, description="Exposures of each frozen set, about 65 survivors of grading each", ge=2
    )
    stress_exposures: int = Field(
        6, description="Exposures of each condition of the stress list; 0 leaves it out", ge=0
    )
    rival_exposures: int = Field(
        36, description="Exposures of each geometry that rivals learn from", ge=3
    )
    hits: int = Field(4_000, description="Cosmic rays through the silicon in an exposure", ge=50)
    housing_events: int = Field(
        15_000, description="Events of a set that the stand-off is measured on, at most", ge=1
    )
    geant4: bool = Field(
        True, description="Use the Geant4 set too, where it is found in the shared data"
    )
    geant4_seconds: float = Field(
        1080.0, description="Exposure taken from the Geant4 set, s (it has 1,080)", gt=0, le=1080
    )
    retention: Annotated[tuple[Retention, ...], Len(1)] = Field(
        (0.99, 0.98, 0.95, 0.90), description="Shares of X-rays that are promised to stay"
    )
    bootstrap: int = Field(400, description="Resamples of frames for the intervals", ge=50)
    # Matrices are small: a second thread waits more than it works.
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=6000, runtime_min=120, gpu=0)


class ReportSettings(StageSettings):
    """The shipped weights on an example observation."""

    example: Literal["extended_source"] = Field(
        "extended_source", description="Simulated observation that is cleaned"
    )
    seconds: float = Field(60.0, description="Its exposure, s", gt=0)
    retention: Retention = Field(0.98, description="Share of X-rays that is promised to stay")
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=4000, runtime_min=30, gpu=0)
