"""Settings of evaluation and report."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import AfterValidator, Field

from physml.config import ResourceSettings, StageSettings

#: Rows that the learned estimator can have: its name and the design of the measurements.
NEURAL = tuple(
    f"neural, {design}"
    for design in (
        *("global", "product", "random_global", "random_product"),
        *("pauli", "mub", "sic", "sic_joint", "pairwise"),
    )
)
#: Rows that the particle cell can have, where the weights have one.
CELL = tuple(f"particle cell, {design}" for design in ("global", "product", "pauli", "mub", "sic"))
#: Rows of everybody else, see baselines.py.
RIVALS = (
    "linear, pauli",
    "maximum likelihood, pauli",
    "two-stage, global",
    "two-stage, product",
    "particle filter (HS), global",
    "particle filter, global",
    "particle filter, product",
)
COMPARED = ("neural, global", "neural, product", "neural, pauli", *RIVALS)


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    all_names = (*NEURAL, *CELL, *RIVALS)
    unknown = sorted(set(names) - set(all_names))
    if unknown:
        raise ValueError(f"unknown methods {unknown}: known are {', '.join(all_names)}")
    if len(set(names)) != len(names):
        raise ValueError("each method is named once")
    return names


class EvaluateSettings(StageSettings):
    """Infidelity, coverage and latency of all methods on the frozen lists."""

    states: int = Field(160, description="States of each frozen list", ge=2, le=160)
    copies: int = Field(100_000, description="Copies of an experiment", ge=100)
    methods: Annotated[tuple[str, ...], Len(1), AfterValidator(_known)] = Field(
        COMPARED, description="Estimators that are compared, each with its measurements"
    )
    level: float = Field(0.9, description="Level of the regions", gt=0, lt=1)
    bootstrap: int = Field(400, description="Resamples of states for the intervals", ge=50)
    test: int = Field(
        160, description="States of the test split that the learned estimator is judged on", ge=2
    )
    batch: int = Field(
        40, description="States that are worked on together; others meet other luck", gt=0
    )
    timed: int = Field(
        100_000, description="Copies of the experiment whose updates are timed", ge=100
    )
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=3000, runtime_min=360, gpu=0)


class ReportSettings(StageSettings):
    """The shipped weights on an example experiment."""

    example: Literal["auto", "twin_photons", "simulated"] = Field(
        "auto",
        description="Measured photon pairs, or simulated ones; auto: simulated ones where the data "
        "are not at hand",
    )
    copies: int = Field(10_000, description="Photon pairs of the simulated example", ge=100)
    level: float = Field(0.9, description="Level of region and intervals", gt=0, lt=1)
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=2000, runtime_min=30, gpu=0)
