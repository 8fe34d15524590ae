"""The contract of a pipeline and the registry of those that are installed.

A pipeline is its settings and five stage functions. Everything is named by import strings, so
that listing pipelines imports none of them. Any installed package can add one through the
entry-point group ``physml.pipelines``; it then has all commands and all rules.

Signatures of the stage functions (all arguments by keyword)::

    simulate(*, settings, shard, out)                        -> one raw shard (HDF5)
    preprocess(*, settings, raw, out, threads, mem_mb)       -> out/{train,valid,test}.h5
    train(*, settings, data, out, threads, time_limit_s)     -> out (safetensors), out.md
    evaluate(*, settings, data, weights, out, threads)       -> out/metrics.json, out/figures/*.png
    report(*, settings, evaluation, weights, out, threads)   -> out/summary.json, out/index.html

settings : PipelineSettings
    All settings of the pipeline, checked.
shard : int
    Number of the shard, from 0.
raw : sequence of Path
    Raw shards; their order does not matter.
data, evaluation : Path
    Folders that `preprocess` and `evaluate` wrote.
weights : Path
    Trained weights; a report applies them only where none are shipped.
out : Path
    File or folder to write, as a whole or not at all, with the run record. Where it exists already
    the stage may refuse; the command line has checked this before.
threads, mem_mb : int
    CPU threads (of `preprocess`, local workers), and the memory of all workers together, MB.
time_limit_s : float or None
    The training stops in time with a checkpoint, by raising `Checkpointed`. Whether stopped or
    killed, the same call continues it: its state lies beside the weights, in ``<out>.state``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from physml.exceptions import InputError, PhysmlError

log = logging.getLogger(__name__)

GROUP = "physml.pipelines"

#: The stages in the order in which they run.
STAGES = ("simulate", "preprocess", "train", "evaluate", "report")


def load_object(target: str) -> Any:
    """Import ``"package.module:name"``.

    Raises
    ------
    PhysmlError
        The string is malformed, or the module or the name does not exist.
    """
    module, _, name = target.partition(":")
    if not module or not name:
        raise PhysmlError(f"expected an import string 'package.module:name', found {target!r}")
    try:
        value: Any = import_module(module)
    except ModuleNotFoundError as error:
        # Only the missing target itself is ours to explain; a missing dependency speaks for itself.
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            raise PhysmlError(f"{target}: there is no module {error.name}") from error
        raise
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            raise PhysmlError(f"{target}: module {module} has no {name}") from error
    return value


@dataclass(frozen=True)
class Pipeline:
    """One pipeline: names and import strings only.

    Attributes
    ----------
    name : str
        As on the command line; lower-case letters, digits, ``-`` and ``_``.
    title : str
        One line for the help.
    settings : str
        ``"module:Class"`` of its `PipelineSettings`.
    simulate, preprocess, train, evaluate, report : str
        ``"module:function"`` of each stage.
    predictor : str, optional
        ``"module:Class"`` with a classmethod ``load(path=None)``; what `physml.load` gives.
    cli : str, optional
        ``"module:app"`` of a typer app whose commands join the pipeline's own (``predict``).
    versions : mapping of int
        Version of each stage, 1 where not given: raised when a change of the program changes
        results, so that a workflow runs the stage again.
    """

    name: str
    title: str
    settings: str
    simulate: str
    preprocess: str
    train: str
    evaluate: str
    report: str
    predictor: str | None = None
    cli: str | None = None
    versions: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The name becomes part of commands and paths.
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", self.name):
            raise PhysmlError(
                f"pipeline name {self.name!r}: expected lower-case letters, digits, - and _"
            )
        unknown = set(self.versions) - set(STAGES)
        if unknown:
            raise PhysmlError(f"pipeline {self.name}: versions of unknown stages {sorted(unknown)}")

    def settings_model(self) -> Any:
        """Class of the settings."""
        return load_object(self.settings)

    def stage(self, name: str) -> Callable[..., Any]:
        """Import the function of one stage.

        Raises
        ------
        InputError
            No such stage.
        """
        if name not in STAGES:
            raise InputError.expected(None, f"a stage ({', '.join(STAGES)})", repr(name))
        function: Callable[..., Any] = load_object(getattr(self, name))
        return function

    def version(self, stage: str) -> int:
        """Version of one stage."""
        return int(self.versions.get(stage, 1))

    def predictor_class(self) -> Any:
        """Class that applies trained weights to observations.

        Raises
        ------
        InputError
            The pipeline has none.
        """
        if self.predictor is None:
            raise InputError(f"pipeline {self.name} has no predictor")
        return load_object(self.predictor)

    def cli_app(self) -> Any:
        """Typer app of the extra commands, or None."""
        return load_object(self.cli) if self.cli is not None else None


@lru_cache(maxsize=1)
def _entries() -> dict[str, EntryPoint]:
    """Entry points by name; the first of a name counts."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            log.warning(
                "two packages offer a pipeline %r: %s is used, %s is not",
                entry.name,
                other.value,
                entry.value,
            )
    return found


def pipeline_names() -> list[str]:
    """Names of the installed pipelines; imports none of them."""
    return sorted(_entries())


def _load(entry: EntryPoint) -> Pipeline:
    try:
        pipeline = entry.load()
    except Exception as error:  # a package that is not ours may fail in any way
        raise PhysmlError(
            f"pipeline {entry.name!r} ({entry.value}) cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(pipeline, Pipeline):
        raise PhysmlError(
            f"pipeline {entry.name!r}: expected {entry.value} to be a physml.pipeline.Pipeline, "
            f"found {type(pipeline).__name__}"
        )
    if pipeline.name != entry.name:
        raise PhysmlError(
            f"pipeline {entry.name!r}: its entry point and its own name {pipeline.name!r} differ"
        )
    return pipeline


def pipelines() -> dict[str, Pipeline]:
    """All installed pipelines by name; one that cannot be imported is left out with a warning."""
    found: dict[str, Pipeline] = {}
    for name, entry in sorted(_entries().items()):
        try:
            found[name] = _load(entry)
        except PhysmlError as error:
            log.warning("%s", error)
    return found


def get_pipeline(name: str) -> Pipeline:
    """One pipeline by name.

    Raises
    ------
    InputError
        No such pipeline; the message lists those there are.
    PhysmlError
        It is installed but broken.
    """
    entry = _entries().get(name)
    if entry is None:
        raise InputError.expected(
            None, f"one of the pipelines {', '.join(pipeline_names())}", repr(name)
        )
    return _load(entry)
