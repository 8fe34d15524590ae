"""Every setting of the tomography pipeline, with its unit and range."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import AfterValidator, Field, model_validator

from physml.config import PipelineSettings, ResourceSettings, Settings, SimulateBase
from physml.parallel.settings import PreprocessBase

from .evaluation_settings import EvaluateSettings, ReportSettings
from .learning_settings import TrainSettings

__all__ = [
    "EvaluateSettings",
    "MixtureSettings",
    "PreprocessSettings",
    "ReportSettings",
    "SimulateSettings",
    "TomographySettings",
    "TrainSettings",
]

Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0)]
Qubits = Annotated[int, Field(ge=1, le=5)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the first end of a range is above the second")
    return value


def _once(value: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(value)) != len(value):
        raise ValueError("each number of qubits is named once")
    return value


Positive = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
    Len(2, 2),
    AfterValidator(_ordered),
]
Flips = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=0.5)], Annotated[float, Field(gt=0, lt=0.5)]],
    Len(2, 2),
    AfterValidator(_ordered),
]


class MixtureSettings(Settings):
    """Shares of the ensembles that states are drawn from (states.py); they need not sum to 1."""

    rank_adaptive: Share = Field(0.3, description="From Hilbert-Schmidt to nearly pure states")
    hs: Share = Field(0.2, description="Hilbert-Schmidt measure")
    bures: Share = Field(0.05, description="Bures measure")
    pure: Share = Field(0.15, description="Haar-random pure states")
    pure_white: Share = Field(0.3, description="Pure states with white noise, log-uniform")
    thermal: Share = Field(0.0, description="Gibbs states of random Hamiltonians")
    w: Share = Field(0.0, description="W states, local unitaries, white noise")
    ghz: Share = Field(0.0, description="GHZ states, local unitaries, white noise")

    @model_validator(mode="after")
    def _some(self) -> MixtureSettings:
        if not sum(self.parts.values()) > 0:
            raise ValueError("at least one share must be above 0")
        return self

    @property
    def parts(self) -> dict[str, float]:
        """Share of each ensemble, in the order of their numbers in a shard."""
        return {name: float(getattr(self, name)) for name in type(self).model_fields}


class SimulateSettings(SimulateBase):
    """Random states, and the counts that a laboratory would get with Pauli settings."""

    n_samples: int = Field(100_000, description="Number of states", gt=0)
    shard_size: int = Field(10_000, description="States in a file; changes no state", gt=0)
    n_qubits: Annotated[tuple[Qubits, ...], Len(1), AfterValidator(_once)] = Field(
        (1, 2), description="Numbers of qubits; the states take turns"
    )
    mixture: MixtureSettings = MixtureSettings()
    copies: Positive = Field(
        (1e2, 1e6), description="Copies that the counts of a state are of; log-uniform"
    )
    readout: Fraction = Field(0.3, description="Share of laboratories with readout errors")
    flips: Flips = Field(
        (1e-3, 5e-2), description="Their chance to misread a qubit, each way; log-uniform"
    )
    drift: Fraction = Field(0.1, description="Share of sources that drift while being measured")
    drift_size: Fraction = Field(
        0.2, description="Largest part of the state that a drift replaces by another; uniform"
    )
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=1500, runtime_min=60, gpu=0)


class PreprocessSettings(PreprocessBase):
    """Checks of states and counts, split by state."""

    valid: Fraction = Field(0.12, description="Share of states kept for validation")
    test: Fraction = Field(0.02, description="Share of states kept for testing")
    batch: int = Field(5_000, description="States a task works on; changes no result", gt=0)
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=1500, runtime_min=60, gpu=0)

    @model_validator(mode="after")
    def _some_left(self) -> PreprocessSettings:
        if self.valid + self.test >= 1:
            raise ValueError("nothing is left for training: valid + test must be below 1")
        return self


class TomographySettings(PipelineSettings):
    """Settings of the tomography pipeline."""

    seed: int = Field(20210607, description="Root of all random streams", ge=0)
    simulate: SimulateSettings = SimulateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
