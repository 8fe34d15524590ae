"""Settings of where the tasks of a preprocessing are done."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from physml.config import Count, Provision, StageSettings


class DaskSettings(Provision):
    """Where the tasks of a preprocessing are done; changes no result.

    A text alone is the cluster: ``dask: slurm``.
    """

    shorthand: ClassVar[str | None] = "cluster"

    cluster: Literal["local", "slurm"] = Field(
        "local",
        description="local: in the job itself, with its threads and memory; slurm: in worker jobs "
        "that the job submits, on any node (needs physml[slurm])",
    )
    workers: Count = Field(4, description="slurm: worker jobs at a time, at most")
    mem_mb: Count = Field(2000, description="slurm: memory of a worker job, MB")
    runtime_min: Count = Field(60, description="slurm: longest run of a worker job, minutes")


class PreprocessBase(StageSettings):
    """What the preprocessing of every pipeline that uses Dask has."""

    dask: DaskSettings = Field(
        DaskSettings(), description="Where the tasks are done; changes no result"
    )
