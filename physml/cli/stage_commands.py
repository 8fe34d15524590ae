"""The stage commands of every pipeline, made from the registry.

What stands behind ``physml <pipeline> <stage>``: load the settings, check inputs and output before
hours of work, set the number of threads, call the stage.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from physml.exceptions import SettingsError
from physml.pipeline import STAGES, Pipeline, get_pipeline

from .messages import adjust_logging, rank
from .options import (
    ConfigFiles,
    Dask,
    Data,
    Memory,
    Output,
    Overwrite,
    Quiet,
    SettingsJson,
    Threads,
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
    pipeline, stage
        What to run.
    settings
        Checked settings of the pipeline.
    out
        Output file or folder.
    threads
        Threads of the numerical libraries, and of the stage if it takes them.
    overwrite
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


# ------------------------------------------------------------------------------- the five commands


def _simulate(pipeline: Pipeline) -> Callable[..., None]:
    def simulate(
        ctx: typer.Context,
        output: Output,
        shard: Annotated[int, typer.Option("--shard", min=0, help="Number of the shard.")] = 0,
        settings: SettingsJson = None,
        config: ConfigFiles = None,
        threads: Threads = None,
        overwrite: Overwrite = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
    ) -> None:
        """Simulate one shard of samples."""
        adjust_logging(ctx, verbose, quiet)
        checked = read_settings(pipeline, config, settings)
        checked.simulate.indices(shard)
        run_stage(
            pipeline,
            "simulate",
            settings=checked,
            out=output,
            threads=threads or checked.simulate.resources.threads,
            overwrite=overwrite,
            shard=shard,
        )

    return simulate


def _preprocess(pipeline: Pipeline) -> Callable[..., None]:
    def preprocess(
        ctx: typer.Context,
        raw: Annotated[list[Path], typer.Argument(help="Shards that simulate made.")],
        output: Output,
        settings: SettingsJson = None,
        config: ConfigFiles = None,
        threads: Threads = None,
        mem_mb: Memory = None,
        dask: Dask = None,
        overwrite: Overwrite = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
    ) -> None:
        """Turn raw shards into training, validation and test sets."""
        adjust_logging(ctx, verbose, quiet)
        checked = _placed(read_settings(pipeline, config, settings), dask)
        for path in raw:
            need(path, False, "a shard that simulate made")
        resources = checked.preprocess.resources
        run_stage(
            pipeline,
            "preprocess",
            settings=checked,
            out=output,
            overwrite=overwrite,
            threads=threads or resources.threads,
            raw=raw,
            mem_mb=mem_mb or resources.mem_mb,
        )

    return preprocess


def _train(pipeline: Pipeline) -> Callable[..., None]:
    def train(
        ctx: typer.Context,
        data: Data,
        output: Output,
        settings: SettingsJson = None,
        config: ConfigFiles = None,
        threads: Threads = None,
        time_limit: Annotated[
            str | None,
            typer.Option(
                "--time-limit",
                metavar="MINUTES",
                help="Stop in time, with exit code 75; also '2 h'. Run again to carry on.",
            ),
        ] = None,
        overwrite: Overwrite = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
    ) -> None:
        """Train; killed or stopped, the same command carries on."""
        adjust_logging(ctx, verbose, quiet)
        limit = _seconds_left(time_limit)
        checked = read_settings(pipeline, config, settings)
        need(data, True, "the folder that preprocess made")
        run_stage(
            pipeline,
            "train",
            settings=checked,
            out=output,
            overwrite=overwrite,
            threads=threads or checked.train.resources.threads,
            data=data,
            time_limit_s=limit,
        )

    return train


def _evaluate(pipeline: Pipeline) -> Callable[..., None]:
    def evaluate(
        ctx: typer.Context,
        data: Data,
        weights: Weights,
        output: Output,
        settings: SettingsJson = None,
        config: ConfigFiles = None,
        threads: Threads = None,
        overwrite: Overwrite = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
    ) -> None:
        """Measure trained weights on the test set."""
        adjust_logging(ctx, verbose, quiet)
        checked = read_settings(pipeline, config, settings)
        need(data, True, "the folder that preprocess made")
        need(weights, False, "weights in safetensors format")
        run_stage(
            pipeline,
            "evaluate",
            settings=checked,
            out=output,
            overwrite=overwrite,
            threads=threads or checked.evaluate.resources.threads,
            data=data,
            weights=weights,
        )

    return evaluate


def _report(pipeline: Pipeline) -> Callable[..., None]:
    def report(
        ctx: typer.Context,
        evaluation: Annotated[
            Path, typer.Option("--evaluation", help="Folder that evaluate made.")
        ],
        weights: Weights,
        output: Output,
        settings: SettingsJson = None,
        config: ConfigFiles = None,
        threads: Threads = None,
        overwrite: Overwrite = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
    ) -> None:
        """Apply trained weights to an example and gather what a reader wants to see."""
        adjust_logging(ctx, verbose, quiet)
        checked = read_settings(pipeline, config, settings)
        need(evaluation, True, "the folder that evaluate made")
        need(weights, False, "weights in safetensors format")
        run_stage(
            pipeline,
            "report",
            settings=checked,
            out=output,
            overwrite=overwrite,
            threads=threads or checked.report.resources.threads,
            evaluation=evaluation,
            weights=weights,
        )

    return report


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


_MAKERS: Mapping[str, Callable[[Pipeline], Callable[..., None]]] = {
    "simulate": _simulate,
    "preprocess": _preprocess,
    "train": _train,
    "evaluate": _evaluate,
    "report": _report,
}


def stage_command(pipeline: Pipeline, stage: str) -> Any:
    """Command of one stage, as typer's group wants it."""
    app = typer.Typer(add_completion=False)
    app.command(stage)(_MAKERS[stage](pipeline))
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
