"""The stage commands of every pipeline, made from the registry.

What stands behind ``physml <pipeline> <stage>``: load the settings, check inputs and output before
hours of work, set the number of threads, call the stage.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import typer

from physml.exceptions import SettingsError
from physml.pipeline import STAGES, Pipeline, get_pipeline

from .messages import adjust_logging, rank
from .options import (
    ConfigFiles,
    Dask,
    Data,
    Evaluation,
    Memory,
    Output,
    Overwrite,
    Quiet,
    Raw,
    SettingsJson,
    Shard,
    Threads,
    TimeLimit,
    Verbose,
    Weights,
    limit_threads,
    need,
)

log = logging.getLogger(__name__)

_STARTED = time.monotonic()


def read_settings(pipeline: Pipeline, config: Sequence[Path] | None, settings: str | None) -> Any:
    """Read the settings of a pipeline from files and then from a JSON text, over the defaults.

    Raises
    ------
    SettingsError
        Not JSON, or settings that are refused.
    """
    from physml.config import load_settings

    sources: list[Path | Mapping[str, Any]] = list(config or [])
    if settings is not None:
        try:
            given = json.loads(settings)
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"--settings: expected JSON ({error})") from error
        if not isinstance(given, dict):
            raise SettingsError(f"--settings: expected a JSON object, found {given!r}")
        sources.append(given)
    return load_settings(pipeline.settings_model(), *sources)


def _placed(checked: Any, dask: str | None) -> Any:
    """Settings in which the tasks of the preprocessing are done where `dask` says."""
    from physml.parallel.settings import PreprocessBase

    if dask is None:
        return checked
    if not isinstance(checked.preprocess, PreprocessBase):
        raise SettingsError("--dask: the preprocessing of this pipeline has no such choice")
    given: Any = dask
    if dask.lstrip().startswith("{"):
        try:
            given = json.loads(dask)
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"--dask: expected local, slurm or JSON ({error})") from error
    from physml.config import load_settings

    where = load_settings(type(checked.preprocess), {"dask": given}).dask
    placed = checked.preprocess.model_copy(update={"dask": where})
    return checked.model_copy(update={"preprocess": placed})


def run_stage(
    pipeline: Pipeline,
    stage: str,
    *,
    settings: Any,
    out: Path,
    threads: int,
    overwrite: bool = False,
    **arguments: Any,
) -> None:
    """Run one stage with everything around it.

    Parameters
    ----------
    pipeline : Pipeline
    stage : str
        Which one to run.
    settings : PipelineSettings
        Checked settings of the pipeline.
    out : Path
        Output file or folder.
    threads : int
        Threads of the numerical libraries, and of the stage if it takes them.
    overwrite : bool
        Replace `out`. The old result is put aside and comes back if the stage fails.
    **arguments
        The rest of the stage's own arguments.

    Raises
    ------
    OutputError
        `out` exists and may not be replaced.
    """
    from contextlib import nullcontext

    from physml import provenance
    from physml.io.atomic import refuse_existing, refuse_foreign, set_aside

    makes_folder = stage in ("preprocess", "evaluate", "report")
    if not overwrite:
        refuse_existing(out)
    elif makes_folder:
        refuse_foreign(out)
    limit_threads(threads)
    function = pipeline.stage(stage)
    # A pipeline from another package reports its progress as ours do.
    package = function.__module__.partition(".")[0]
    logging.getLogger(package).setLevel(logging.getLogger("physml").level)
    limit_threads(threads)  # again: importing the stage may have brought torch
    if stage != "simulate":  # one shard is one thread's work; many shards run side by side
        arguments["threads"] = threads
    started = time.monotonic()
    log.info("%s %s -> %s", pipeline.name, stage, out)
    # One of the processes that share a training looks after the old result.
    aside = set_aside(out) if overwrite and rank() == 0 else nullcontext()
    with provenance.run(), aside:
        function(settings=settings, out=out, **arguments)
    log.info("%s %s done in %.1f s", pipeline.name, stage, time.monotonic() - started)


#: Help of each command.
_HELP = {
    "simulate": "Simulate one shard of samples.",
    "preprocess": "Turn raw shards into training, validation and test sets.",
    "train": "Train; killed or stopped, the same command carries on.",
    "evaluate": "Measure trained weights on the test set.",
    "report": "Apply trained weights to an example and gather what a reader wants to see.",
}
#: Arguments of each command beside those of all: type and default, none where it has to be given.
_OWN: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "simulate": {"shard": (Shard, 0)},
    "preprocess": {"raw": (Raw,), "mem_mb": (Memory, None), "dask": (Dask, None)},
    "train": {"data": (Data,), "time_limit": (TimeLimit, None)},
    "evaluate": {"data": (Data,), "weights": (Weights,)},
    "report": {"evaluation": (Evaluation,), "weights": (Weights,)},
}
_COMMON: Mapping[str, tuple[Any, ...]] = {
    "output": (Output,),
    "settings": (SettingsJson, None),
    "config": (ConfigFiles, None),
    "threads": (Threads, None),
    "overwrite": (Overwrite, False),
    "verbose": (Verbose, 0),
    "quiet": (Quiet, False),
}
#: Inputs that have to be there: whether folders, and what is expected.
_INPUTS = {
    "raw": (False, "a shard that simulate made"),
    "data": (True, "the folder that preprocess made"),
    "evaluation": (True, "the folder that evaluate made"),
    "weights": (False, "weights in safetensors format"),
}


def _run(pipeline: Pipeline, stage: str, ctx: typer.Context, **given: Any) -> None:
    """Check everything that can be checked before hours of work, then run the stage."""
    adjust_logging(ctx, given.pop("verbose"), given.pop("quiet"))
    if "time_limit" in given:
        given["time_limit_s"] = _seconds_left(given.pop("time_limit"))
    checked = read_settings(pipeline, given.pop("config"), given.pop("settings"))
    if stage == "simulate":
        checked.simulate.indices(given["shard"])
    if stage == "preprocess":
        checked = _placed(checked, given.pop("dask"))
        given["mem_mb"] = given["mem_mb"] or checked.preprocess.resources.mem_mb
    for name, (folder, what) in _INPUTS.items():
        paths = given.get(name, [])
        for path in paths if isinstance(paths, list) else [paths]:
            need(path, folder, what)
    threads = given.pop("threads") or getattr(checked, stage).resources.threads
    out = given.pop("output")
    run_stage(pipeline, stage, settings=checked, out=out, threads=threads, **given)


def _seconds_left(limit: str | None) -> float | None:
    """Time limit of the job in seconds, less what starting the program has taken."""
    if limit is None:
        return None
    from physml.config import Unit

    try:
        minutes = float(Unit("min").parse(limit))
    except ValueError as error:
        raise SettingsError(f"--time-limit: {error}") from error
    if not 0 < minutes < 1e6:
        raise SettingsError(f"--time-limit: expected a time above 0, found {limit!r}")
    return max(0.0, 60.0 * minutes - (time.monotonic() - _STARTED))


def stage_command(pipeline: Pipeline, stage: str) -> Any:
    """Command of one stage, as typer's group wants it."""

    def command(**given: Any) -> None:
        _run(pipeline, stage, **given)

    arguments = {"ctx": (typer.Context,), **_OWN[stage], **_COMMON}
    command.__annotations__ = {name: kind for name, (kind, *_) in arguments.items()}
    command.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for name, (kind, default) in (
                (name, (value[0], value[1] if len(value) > 1 else Parameter.empty))
                for name, value in arguments.items()
            )
        ]
    )
    app = typer.Typer(add_completion=False)
    app.command(stage, help=_HELP[stage])(command)
    return typer.main.get_group(app).commands[stage]


class PipelineGroup(typer.core.TyperGroup):
    """Commands of one pipeline: the five stages, and its own, which are imported when needed."""

    pipeline: Pipeline

    def _own(self) -> dict[str, Any]:
        app = self.pipeline.cli_app()
        return {} if app is None else dict(typer.main.get_group(app).commands)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the stages and of the pipeline's own commands."""
        try:
            own = list(self._own())
        except Exception as error:  # the stages work without it
            log.warning("commands of %s cannot be listed: %s", self.pipeline.name, error)
            own = []
        return [*STAGES, *(name for name in own if name not in STAGES)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Command by name; importing the pipeline's own only for names that are no stage."""
        if cmd_name in STAGES:
            return stage_command(self.pipeline, cmd_name)
        return self._own().get(cmd_name)


def pipeline_group(name: str) -> Any:
    """Group of the commands of one pipeline.

    Raises
    ------
    PhysmlError
        The pipeline is installed but broken.
    """
    pipeline = get_pipeline(name)
    app = typer.Typer(cls=PipelineGroup, add_completion=False, no_args_is_help=True)

    @app.callback(help=f"{pipeline.title}.", short_help=pipeline.title)
    def group() -> None:
        """Do nothing: typer makes a group only where there is a callback."""

    made: Any = typer.main.get_group(app)
    made.pipeline, made.name = pipeline, name
    return made
