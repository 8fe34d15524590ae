"""What a run of so many samples needs, from what was measured on fewer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physml.exceptions import InputError

from . import recipes
from .fit import Line, amdahl, fit, shared_time
from .jobs import overhead
from .recipes import RECIPES, STAGES
from .rows import Row, Rows
from .workers import speed_up

ROOM = 1.3  # asked for, over what is expected
SHORT_S = 60.0  # jobs below this are not worth splitting


@dataclass(frozen=True)
class Stage:
    """What one stage needs.

    Attributes
    ----------
    name
    jobs
    core_s
        Processor time of all jobs.
    wall_s
        From the first job's start to the last one's end, with the cores that there are.
    gpu_s
        Of that, on GPUs; 0 for what runs on processors.
    bytes
        Of its results.
    job_s
        Longest job.
    peak_mb
        Memory of the largest job.
    extrapolated
        More samples than were measured, or more of something else that costs time.
    """

    name: str
    jobs: int
    core_s: float
    wall_s: float
    gpu_s: float
    bytes: float
    job_s: float
    peak_mb: float
    extrapolated: bool


@dataclass(frozen=True)
class Plan:
    """What a run needs.

    Attributes
    ----------
    pipeline, n, cores
        What was asked.
    stages : dict
        By name, with ``snakemake``, what the chain itself adds, where that was measured.
    advice : list of str
        What to set.
    """

    pipeline: str
    n: int
    cores: int
    stages: Mapping[str, Stage]
    advice: list[str] = field(default_factory=list)

    def total(self, what: str) -> float:
        """Sum over the stages: ``core_s``, ``wall_s``, ``gpu_s``, ``bytes``."""
        return float(sum(getattr(stage, what) for stage in self.stages.values()))

    @property
    def extrapolated(self) -> bool:
        """Whether any part goes beyond what was measured."""
        return any(stage.extrapolated for stage in self.stages.values())


def line(rows: Rows, pipeline: str, stage: str, what: str) -> Line:
    """Line through the rows of a stage: ``cpu_s``, ``wall_s``, ``bytes`` or ``peak_mb``.

    Raises
    ------
    InputError
        Too little was measured.
    """
    found = rows.of("size", pipeline=pipeline, stage=stage)
    values = [float(row[what]) for row in found]
    # Of a training only weights and state are left behind.
    of_set = what == "peak_mb" or (stage, what) == ("train", "bytes")
    amounts = [row["memory_amounts" if of_set else "amounts"] for row in found]
    if of_set and found and all(row == amounts[0] for row in amounts):
        # Of one size of set, as with --quick: the largest.
        return Line(max(values), {}, amounts[0], len(found), 0.0)
    try:
        return fit(amounts, values)
    except ValueError as error:
        raise InputError.expected(
            rows.path, f"measurements of {pipeline} {stage} (scaling.py makes them)", str(error)
        ) from error


def seconds(rows: Rows, pipeline: str, stage: str, amounts: Mapping[str, float]) -> float:
    """Wall time of a stage in one process.

    Of one thread on a processor that is its processor time, which does not depend on what else
    the machine did while it was measured.
    """
    return line(rows, pipeline, stage, _clock(rows, pipeline, stage)).at(amounts)


def _clock(rows: Rows, pipeline: str, stage: str) -> str:
    return "wall_s" if on_gpu(rows, pipeline, stage) else "cpu_s"


def on_gpu(rows: Rows, pipeline: str, stage: str) -> bool:
    """Whether a stage was measured on a GPU."""
    found = rows.of("size", pipeline=pipeline, stage=stage)
    return any(row.get("device", "cpu") != "cpu" for row in found)


def largest(rows: Rows, pipeline: str, stage: str) -> int:
    """Largest number of samples that a stage was measured on."""
    return max((row["n"] for row in rows.of("size", pipeline=pipeline, stage=stage)), default=0)


def not_shared(rows: Rows, pipeline: str, stage: str) -> float:
    """Part of a stage that a second worker does not make faster; 1 where that is not known."""
    found = {
        row["workers"]: row
        for row in rows.of("workers", pipeline=pipeline, stage=stage)
        if row["where"] == "here"
    }
    if not {1, 2} <= set(found):
        return 1.0
    return amdahl(speed_up(found[1], found[2]), 2)


def plan(
    rows: Rows,
    pipeline: str,
    n: int,
    cores: int,
    config: Path | None = None,
    slurm: bool = False,
) -> Plan:
    """Plan a run.

    Parameters
    ----------
    rows : Rows
        What was measured.
    pipeline
    n
        Samples.
    cores
        That jobs can have at the same time.
    config : Path, optional
        The user's settings over those of the recipe.
    slurm
        The jobs are Slurm's, which adds to each of them.

    Raises
    ------
    InputError
        Too little was measured, or there is no such pipeline.
    """
    if pipeline not in RECIPES:
        raise InputError.expected(None, f"one of {', '.join(RECIPES)}", repr(pipeline))
    s = recipes.settings(pipeline, config, simulate={"n_samples": n})
    added = overhead(rows, "slurm" if slurm else "here") or {"cpu_s": 0.0, "main_s": 0.0}
    made = {
        "simulate": _simulate(rows, pipeline, s, cores, added),
        "preprocess": _preprocess(rows, pipeline, s, cores),
        "train": _train(rows, pipeline, s),
    }
    jobs = sum(stage.jobs for stage in made.values())
    if added["cpu_s"]:
        core = jobs * added["cpu_s"] + added.get("start_s", 0.0)
        made["snakemake"] = Stage("snakemake", jobs, core, 0.0, 0.0, 0.0, 0.0, 0.0, False)
    return Plan(pipeline, n, cores, made, advice(s, made, cores, added))


def _simulate(rows: Rows, pipeline: str, s: Any, cores: int, added: Row) -> Stage:
    sim = s.simulate
    whole, rest = divmod(sim.n_samples, sim.shard_size)
    shards = [(whole, float(sim.shard_size)), (1 if rest else 0, float(rest))]

    def total(what: str) -> float:
        found = line(rows, pipeline, "simulate", what)
        return sum(number * found.at({"samples": size}) for number, size in shards if number)

    job = seconds(rows, pipeline, "simulate", recipes.amounts(pipeline, "simulate", s))
    job += added["cpu_s"] - added["main_s"]  # what happens in the job itself
    jobs = sim.n_shards
    return Stage(
        "simulate",
        jobs,
        total("cpu_s"),
        # Jobs go through the cores in turns, but not faster than Snakemake gives them out.
        max(math.ceil(jobs / cores) * job, jobs * added["main_s"]),
        0.0,
        total("bytes"),
        job,
        line(rows, pipeline, "simulate", "peak_mb").at(
            recipes.memory_amounts(pipeline, "simulate", s)
        ),
        sim.n_samples > largest(rows, pipeline, "simulate"),
    )


def _preprocess(rows: Rows, pipeline: str, s: Any, cores: int) -> Stage:
    amounts = recipes.amounts(pipeline, "preprocess", s)
    dask = s.preprocess.dask
    workers = dask.workers if dask.cluster == "slurm" else s.preprocess.resources.threads
    wall = shared_time(
        seconds(rows, pipeline, "preprocess", amounts),
        not_shared(rows, pipeline, "preprocess"),
        min(workers, cores),
    )
    memory = line(rows, pipeline, "preprocess", "peak_mb")
    return Stage(
        "preprocess",
        1,
        line(rows, pipeline, "preprocess", "cpu_s").at(amounts),
        wall,
        0.0,
        line(rows, pipeline, "preprocess", "bytes").at(amounts),
        wall,
        # Each worker holds a task, and has the program in memory.
        workers * memory.at(recipes.memory_amounts(pipeline, "preprocess", s)),
        s.simulate.n_samples > largest(rows, pipeline, "preprocess"),
    )


def _train(rows: Rows, pipeline: str, s: Any) -> Stage:
    amounts = recipes.amounts(pipeline, "train", s)
    processes = s.train.resources.shared_by
    alone = seconds(rows, pipeline, "train", amounts)
    by_part = line(rows, pipeline, "train", _clock(rows, pipeline, "train"))
    shared = sum(by_part.part(name, amounts) for name in RECIPES[pipeline].shared)
    loop = shared_time(alone * shared, not_shared(rows, pipeline, "train"), processes)
    wall = alone * (1 - shared) + loop
    cpu, memory = (line(rows, pipeline, "train", what) for what in ("cpu_s", "peak_mb"))
    return Stage(
        "train",
        1,
        cpu.at(amounts),
        wall,
        wall * max(1, s.train.resources.gpu) if on_gpu(rows, pipeline, "train") else 0.0,
        line(rows, pipeline, "train", "bytes").at(recipes.samples(s)),
        wall,
        processes * memory.at(recipes.memory_amounts(pipeline, "train", s)),
        cpu.beyond(amounts) or s.simulate.n_samples > largest(rows, pipeline, "train"),
    )


def advice(s: Any, stages: Mapping[str, Stage], cores: int, added: Row) -> list[str]:
    """What to set for such a run, where the settings do not do."""
    said = []
    simulate, sim = stages["simulate"], s.simulate
    if simulate.jobs < cores and sim.n_samples > simulate.jobs and simulate.job_s > SHORT_S:
        size = math.ceil(sim.n_samples / cores)
        said.append(
            f"simulate.shard_size: {size}  # {simulate.jobs} jobs leave cores idle; now {cores}"
        )
    elif simulate.jobs * added["main_s"] > math.ceil(simulate.jobs / cores) * simulate.job_s:
        size = math.ceil(sim.shard_size * 2 * cores * added["main_s"] / simulate.job_s)
        said.append(f"simulate.shard_size: {size}  # jobs end faster than Snakemake gives them out")
    for name in STAGES:
        stage, asked = stages[name], getattr(s, name).resources
        needed = _up(ROOM * stage.peak_mb, 500)
        processes = getattr(asked, "shared_by", 1)
        if stage.peak_mb > asked.mem_mb * processes:
            said.append(f"{name}.resources.mem_mb: {_up(needed / processes, 500)}")
        if ROOM * stage.job_s > 60 * asked.runtime_min:
            said.append(f"{name}.resources.runtime_min: {_up(ROOM * stage.job_s / 60, 30)}")
    return said


def _up(value: float, step: int) -> int:
    return step * math.ceil(value / step)
