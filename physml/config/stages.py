"""Base models of a pipeline's settings, one for each stage, and what a stage depends on."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, Field

from physml.exceptions import SettingsError
from physml.pipeline import STAGES

from .types import Count, Settings


class Provision(Settings):
    """Base of settings that say with what a stage is run; they change no result."""


class ResourceSettings(Provision):
    """What a job of this stage asks for; changes no result."""

    threads: Count = Field(1, description="CPU threads of the job")
    mem_mb: Count = Field(2000, description="Memory of the job, MB")
    runtime_min: Count = Field(60, description="Longest run of the job, minutes")
    gpu: int = Field(0, description="GPUs of the job", ge=0)


class StageSettings(Settings):
    """Base of the settings of one stage."""

    resources: ResourceSettings = Field(
        ResourceSettings(), description="What a job of this stage asks for; changes no result"
    )


class SimulateBase(StageSettings):
    """What the simulation of every pipeline has."""

    n_samples: int = Field(1000, description="Number of samples", gt=0)
    shard_size: int = Field(500, description="Samples in a file; changes no sample", gt=0)

    @property
    def n_shards(self) -> int:
        """Number of files; the last one may be smaller."""
        return math.ceil(self.n_samples / self.shard_size)

    def indices(self, shard: int) -> range:
        """Return the indices of the samples in one file.

        Raises
        ------
        SettingsError
            No such shard.
        """
        if not 0 <= shard < self.n_shards:
            raise SettingsError(
                f"no shard {shard}: {self.n_samples} samples in shards of {self.shard_size} "
                f"make shards 0 to {self.n_shards - 1}"
            )
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.n_samples))


class PipelineSettings(Settings):
    """Base of the settings of a pipeline: a seed and one model for each stage."""

    seed: int = Field(0, description="Root of all random streams", ge=0)
    simulate: SimulateBase = SimulateBase()
    preprocess: StageSettings = StageSettings()
    train: StageSettings = StageSettings()
    evaluate: StageSettings = StageSettings()
    report: StageSettings = StageSettings()


def _without_provision(settings: BaseModel) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    dumped = settings.model_dump(mode="json")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Provision):
            continue
        kept[name] = _without_provision(value) if isinstance(value, BaseModel) else dumped[name]
    return kept


def upstream(settings: PipelineSettings, stage: str) -> dict[str, Any]:
    """Collect what the result of a stage depends on: its settings, all before it, and the seed.

    `Provision` is left out, since it changes no result. Two runs with equal upstream settings
    (and stage versions) give the same artefact; a workflow re-runs a stage when this changes.

    Returns
    -------
    dict
        Plain JSON values; `load_settings` accepts it.
    """
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}: expected one of {', '.join(STAGES)}")
    needed = STAGES[: STAGES.index(stage) + 1]
    everything = _without_provision(settings)
    return {
        name: value for name, value in everything.items() if name in needed or name not in STAGES
    }
