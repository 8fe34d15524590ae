"""Settings of evaluation and report."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import Field

from physml.config import ResourceSettings, StageSettings

Retention = Annotated[float, Field(gt=0, lt=1)]


class EvaluateSettings(StageSettings):
    """Evaluation on the test split, on frozen sets, and on the Geant4 set where it is there."""

    frames: int = Field(
        150_000, description="Simulated frames of each frozen set of one geometry", ge=1000
    )
    stress_frames: int = Field(
        30_000, description="Simulated frames of each condition of the stress list; 0: none", ge=0
    )
    rival_frames: int = Field(
        150_000, description="Simulated frames of each geometry that rivals learn from", ge=1000
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
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=6000, runtime_min=120, gpu=0)


class ReportSettings(StageSettings):
    """The shipped weights on an example observation."""

    example: Literal["extended_source"] = Field(
        "extended_source", description="Simulated observation that is cleaned"
    )
    frames: int = Field(20_000, description="Frames of the example", ge=500)
    retention: Retention = Field(0.98, description="Share of X-rays that is promised to stay")
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=4000, runtime_min=30, gpu=0)
