"""The stages of a pipeline, run as their commands and measured, each on several amounts."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from physml.config import upstream

from . import recipes
from .measure import PHYSML, environment, run, size
from .recipes import Point, Recipe
from .rows import Row, Rows, key


class Bench:
    """One pipeline on this machine.

    Parameters
    ----------
    pipeline
    recipe : Recipe
    rows : Rows
    folder : Path
        For the data; what is there is taken as it is.
    config : Path, optional
        The user's settings over those of the recipe.
    say : callable
        Takes a line of progress.
    """

    def __init__(
        self,
        pipeline: str,
        recipe: Recipe,
        rows: Rows,
        folder: Path,
        config: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.pipeline, self.recipe, self.rows, self.say = pipeline, recipe, rows, say
        self.folder, self.config = folder / pipeline, config

    def settings(self, point: Point, shard_size: int | None = None) -> Any:
        """All settings of a measurement; one shard unless told otherwise."""
        simulate = {"n_samples": point.n, "shard_size": shard_size or point.n}
        return recipes.settings(
            self.pipeline,
            self.config,
            simulate=simulate,
            preprocess=point.preprocess,
            train=point.train,
        )

    def key(self, kind: str, stage: str, settings: Any, **case: Any) -> str:
        """Name of the row of a measurement."""
        return key(kind, self.pipeline, stage, {"settings": upstream(settings, stage), **case})

    def place(self, stage: str, settings: Any) -> Path:
        """Where the result of a stage with these settings lies."""
        return self.folder / self.key("data", stage, settings).replace(" ", "-")

    def command(self, stage: str, settings: Any, *arguments: object) -> list[str]:
        """Command line of a stage."""
        given = json.dumps(settings.model_dump(mode="json"))
        stem = [*PHYSML, "-q", self.pipeline, stage, "--settings", given]
        return [*stem, *map(str, arguments)]

    def raw(self, settings: Any) -> Path:
        """Shard of all samples; made unless it is there."""
        out = self.place("simulate", settings).with_suffix(".h5")
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            run(self.command("simulate", settings, "-o", out), env=environment())
        return out

    def data(self, settings: Any) -> Path:
        """Training data; made unless they are there."""
        out = self.place("preprocess", settings)
        if not out.exists():
            raw = self.raw(settings)
            run(
                self.command("preprocess", settings, "--threads", 1, "-o", out, raw),
                env=environment(),
            )
        return out

    def all(self) -> None:
        """Measure every stage on every amount that the recipe names."""
        for point in self.recipe.preparations:
            self.simulate(Point(point.n))
        for point in self.recipe.preparations:
            self.preprocess(point)
        for point in self.recipe.trainings:
            self.train(point)

    def _measured(
        self,
        stage: str,
        settings: Any,
        out: Path,
        command: Callable[[], list[str]],
        more: Callable[[], Row] = dict,
    ) -> Row:
        """Measure the command of a stage; `more` says what else is known once it has ended."""

        def make() -> Row:
            _remove(out)
            out.parent.mkdir(parents=True, exist_ok=True)
            row = self._row("size", stage, settings)
            what = [f"{value:,.0f} {name}" for name, value in row["amounts"].items()]
            arguments = command()
            self.say(f"{self.pipeline} {stage}: {', '.join(what)}")
            return row | run(arguments, env=environment()).row() | {"bytes": size(out)} | more()

        return self.rows.get(self.key("size", stage, settings), make)

    def _row(self, kind: str, stage: str, settings: Any) -> Row:
        return {
            "kind": kind,
            "pipeline": self.pipeline,
            "stage": stage,
            "n": settings.simulate.n_samples,
            "amounts": recipes.amounts(self.pipeline, stage, settings),
            "memory_amounts": recipes.memory_amounts(self.pipeline, stage, settings),
        }

    def simulate(self, point: Point) -> Row:
        """Simulate one shard."""
        s = self.settings(point)
        out = self.place("simulate", s).with_suffix(".h5")
        return self._measured("simulate", s, out, lambda: self.command("simulate", s, "-o", out))

    def preprocess(self, point: Point) -> Row:
        """Preprocess one shard in one process."""
        s = self.settings(point)
        out = self.place("preprocess", s)

        def command() -> list[str]:
            return self.command("preprocess", s, "--threads", 1, "-o", out, self.raw(s))

        return self._measured("preprocess", s, out, command)

    def train(self, point: Point) -> Row:
        """Train in one process, on a GPU where there is one."""
        s = self.settings(point)
        out = self.place("train", s).with_suffix(".safetensors")
        state = out.with_name(out.name + ".state")

        def command() -> list[str]:
            _remove(state)
            return self.command("train", s, "--threads", 1, "--data", self.data(s), "-o", out)

        def more() -> Row:
            return {
                "bytes": size(out, state),
                "device": self.rows.machine["gpu"] or "cpu",
                "loop": loop_rate(state / self.recipe.history),
            }

        return self._measured("train", s, out, command, more)


def loop_rate(folder: Path) -> float:
    """Samples a second that the training loop noted, in its last epoch."""
    with open(folder / "history.csv", encoding="utf-8", newline="") as file:
        return float([*csv.DictReader(file)][-1]["images_per_second"])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
