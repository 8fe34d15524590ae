"""Settings of evaluation and report."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import Field

from physml.config import ResourceSettings, StageSettings


class EvaluateSettings(StageSettings):
    """Infidelity, coverage and latency of all methods on the frozen lists."""

    states: int = Field(160, description="States of each frozen list", ge=2, le=160)
    copies: int = Field(100_000, description="Copies of an experiment", ge=100)
    methods: Annotated[tuple[str, ...], Len(1)] = Field(
        ("neural", "particle_filter", "maximum_likelihood", "linear"),
        description="Estimators that are compared",
    )
    level: float = Field(0.9, description="Level of the regions", gt=0, lt=1)
    bootstrap: int = Field(400, description="Resamples of states for the intervals", ge=50)
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=2000, runtime_min=120, gpu=0)


class ReportSettings(StageSettings):
    """The shipped weights on an example experiment."""

    copies: int = Field(10_000, description="Copies of the example", ge=100)
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=2000, runtime_min=30, gpu=0)
