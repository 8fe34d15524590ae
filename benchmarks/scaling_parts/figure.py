"""What growing costs, drawn: measured points, the lines through them, and where they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from physml.evaluation import figures

from .jobs import overhead
from .plan import plan
from .recipes import RECIPES, STAGES
from .rows import Rows
from .tables import number
from .workers import speed_up, throughput

COLOUR = dict(
    zip(STAGES, (figures.COLOURS[name] for name in ("blue", "green", "vermilion")), strict=True)
)
MARKER = dict(zip(STAGES, "osD", strict=True))
LARGEST = 1e6
TICKS = {1 / 3600: "1 s", 1 / 60: "1 min", 1.0: "1 h", 24.0: "1 day", 24 * 30: "30 days"}


def draw(rows: Rows, out: Path) -> None:
    """Draw everything that was measured.

    Parameters
    ----------
    rows : Rows
    out : Path
        PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in RECIPES if rows.of("size", pipeline=name)]
    with figures.style():
        canvas = Figure(figsize=(4.2 * len(names), 8.8))
        FigureCanvasAgg(canvas)
        grid = canvas.add_gridspec(3, len(names), height_ratios=(3.2, 2.6, 0.9))
        for column, name in enumerate(names):
            _growth(canvas.add_subplot(grid[0, column]), rows, name, first=column == 0)
            _workers(canvas.add_subplot(grid[1, column]), rows, name, first=column == 0)
        _jobs(canvas.add_subplot(grid[2, :]), rows)
        canvas.suptitle(
            f"{rows.machine['processor']}, {rows.machine['cores']} cores", fontsize=10, color="0.35"
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(out)


def _growth(ax: Any, rows: Rows, pipeline: str, first: bool) -> None:
    """Processor time of the recipe against the number of samples."""
    smallest = min(row["n"] for row in rows.of("size", pipeline=pipeline))
    sizes = np.unique(np.geomspace(smallest, LARGEST, 41).round().astype(int))
    plans = [plan(rows, pipeline, int(n), 2) for n in sizes]
    ends = []
    for stage in STAGES:
        hours = np.array([p.stages[stage].core_s for p in plans]) / 3600
        beyond = np.array([p.stages[stage].extrapolated for p in plans])
        style = {"color": COLOUR[stage]}
        # The last measured point belongs to both parts, so that there is no gap.
        last = int(np.argmax(beyond)) if beyond.any() else len(beyond)
        ax.plot(sizes[:last], hours[:last], **style)
        ax.plot(sizes[max(0, last - 1) :], hours[max(0, last - 1) :], "--", **style)
        found = rows.of("size", pipeline=pipeline, stage=stage)
        # Points of a training are not of the whole recipe: they are not on its line.
        if stage != "train":
            ax.plot(
                [row["n"] for row in found],
                [row["cpu_s"] / 3600 for row in found],
                MARKER[stage],
                **style,
            )
        ends.append((float(np.log10(hours[-1])), stage))
    ax.set(xscale="log", yscale="log", title=pipeline, xlabel=RECIPES[pipeline].samples)
    ax.set_yticks(list(TICKS), TICKS.values())
    ax.minorticks_off()
    ax.set(xlim=(smallest / 1.5, LARGEST * 1.3), ylim=(0.5 / 3600, 1000))
    for height, stage in _apart(ends):
        where = (LARGEST, 10**height)
        text = {"textcoords": "offset points", "va": "center", "color": COLOUR[stage]}
        ax.annotate(stage, where, (9, 0), annotation_clip=False, **text)
    if first:
        ax.set_ylabel("processor time (one core)")
        ax.plot([], [], "ko", label="measured")
        ax.plot([], [], "k--", label="extrapolated")
        ax.legend(loc="upper left")


def _apart(ends: list[tuple[float, str]], least: float = 0.33) -> list[tuple[float, str]]:
    """Heights of labels, moved up until they do not touch."""
    placed: list[tuple[float, str]] = []
    for height, name in sorted(ends):
        below = placed[-1][0] + least if placed else height
        placed.append((max(height, below), name))
    return placed


def _workers(ax: Any, rows: Rows, pipeline: str, first: bool) -> None:
    """Throughput relative to one worker, with samples a second written on the bars."""
    places = [("here", 1), ("here", 2), ("slurm", 2)]
    labels = ["1 worker", "2 workers", "2 Slurm jobs"]
    shades = ["0.75", "0.5", "0.25"]
    for i, stage in enumerate(STAGES):
        found = {(r["where"], r["workers"]): r for r in rows.of("workers", pipeline=pipeline)
                 if r["stage"] == stage}  # fmt: skip
        for k, place in enumerate(places):
            x = i + 0.28 * (k - 1)
            row, one = found.get(place), found.get(places[0])
            if row is None or one is None:
                ax.text(x, 0.05, "none", ha="center", fontsize=8, color="0.4", rotation=90)
                continue
            height = speed_up(one, row)
            ax.bar(x, height, 0.26, color=shades[k], label=labels[k] if i == 0 else None)
            ax.text(x, height + 0.03, number(throughput(row)[0]), ha="center", fontsize=7)
    ax.axhline(1, color="0.6", lw=0.8, zorder=0)
    recipe = RECIPES[pipeline]
    learned = f"\n({recipe.learned})" if recipe.learned not in ("", recipe.samples) else ""
    ax.set_xticks(range(len(STAGES)), [f"{s}{learned if s == 'train' else ''}" for s in STAGES])
    ax.set(xlim=(-0.5, len(STAGES) - 0.5), ylim=(0, 2.6), title=f"{recipe.samples} a second")
    ax.grid(visible=False, axis="x")
    if first:
        ax.set_ylabel("times as fast as one")
    if first and ax.patches:
        ax.legend(loc="upper center", ncols=3, fontsize=8, columnspacing=0.8, handlelength=1)


def _jobs(ax: Any, rows: Rows) -> None:
    """Processor time that a job costs besides its work."""
    names = {"here": "Snakemake,\nlocal", "slurm": "Snakemake\nover Slurm"}
    shown = [(name, overhead(rows, where)) for where, name in names.items()]
    for y, (_, added) in enumerate(shown):
        if added is None:
            ax.text(0.02, y, "not measured", va="center", color="0.4")
            continue
        ax.barh(y, added["cpu_s"], 0.6, color="0.5")
        text = f"{added['cpu_s']:.2f} CPU-s, {added['wall_s']:.2f} s of wall time"
        ax.text(added["cpu_s"], y, f"  {text} with {added['slots']} slots", va="center")
    ax.set_yticks(range(len(shown)), [name for name, _ in shown])
    most = max((added["cpu_s"] for _, added in shown if added), default=1.0)
    ax.set(
        xlim=(0, 2 * most),
        ylim=(1.5, -0.5),
        title="What the chain adds to a job",
        xlabel="CPU-s a job",
    )
    ax.grid(visible=False, axis="y")
