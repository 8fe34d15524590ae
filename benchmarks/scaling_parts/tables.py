"""Tables of what was measured and of what follows from it, in Markdown or for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from common.tables import table as markdown_table
from rich.console import Console
from rich.table import Table

from .jobs import overhead
from .plan import Plan, line, plan
from .recipes import RECIPES, STAGES
from .rows import Rows
from .workers import speed_up, throughput

GROWTH = (1_000, 10_000, 100_000, 1_000_000)
MARK = "~"  # before what was not measured but follows from a line
MARKED = f"{MARK} extrapolated: from the line through the measured points"

#: Amounts in words.
UNITS = {
    "samples": "sample",
    "passes": "sample and epoch",
    "alarms": "image for the threshold",
    "windows": "window and epoch",
    "photons": "calibration photon",
    "experiments": "experiment",
    "calibrations": "calibration experiment",
    "cell": "experiment of the cell",
}

Lines = list[tuple[str, ...]]


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Examples
    --------
    >>> duration(42), duration(600), duration(7200), duration(4e6)
    ('42 s', '10 min', '2.0 h', '46 d')
    """
    for unit, size, until in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 48 * 3600)):
        if seconds < until:
            return number(seconds / size) + f" {unit}"
    return f"{number(seconds / 86400)} d"


def volume(size: float) -> str:
    """Bytes in the unit that suits them.

    Examples
    --------
    >>> volume(53), volume(25_000), volume(3.2e9)
    ('53 B', '25 kB', '3.2 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{number(size)} {unit}"
        size /= 1000
    return f"{number(size)} TB"


def number(value: float) -> str:
    """Two digits, or all before the point."""
    if value == 0:
        return "0"
    return (
        f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2g}"
    )


def hours(seconds: float) -> str:
    """Hours."""
    return number(seconds / 3600)


def measured(rows: Rows, pipeline: str) -> tuple[tuple[str, ...], Lines]:
    """What each measurement took, then what larger sets will."""
    header = ("stage", "of", "CPU-s", "wall s", "samples/s", "CPU-s/sample", "B/sample", "peak MB")
    body: Lines = []
    for stage in STAGES:
        for row in rows.of("size", pipeline=pipeline, stage=stage):
            n, cpu, wall = row["n"], row["cpu_s"], row["wall_s"]
            of = ", ".join(f"{value:,.0f} {name}" for name, value in row["amounts"].items())
            if "samples" not in row["amounts"]:
                of = f"{n:,} samples: {of}"
            times = (f"{cpu:.1f}", f"{wall:.1f}", number(n / wall), number(cpu / n))
            body.append((stage, of, *times, number(row["bytes"] / n), f"{row['peak_mb']:.0f}"))
    return header, body


def coefficients(rows: Rows) -> tuple[tuple[str, ...], Lines]:
    """Lines through the measured processor times: what to compute with by hand."""
    header = ("pipeline", "stage", "start, s", "and for each, s", "up to", "points off by")
    body: Lines = []
    for pipeline in RECIPES:
        for stage in STAGES:
            if not rows.of("size", pipeline=pipeline, stage=stage):
                continue
            found = line(rows, pipeline, stage, "cpu_s")
            each = [f"{UNITS[name]} {number(slope)}" for name, slope in found.slopes.items()]
            most = [f"{value:,.0f}" for value in found.largest.values()]
            cells = (number(found.start), ", ".join(each), ", ".join(most), f"{found.off:.0%}")
            body.append((pipeline, stage, *cells))
    return header, body


def growth(rows: Rows, pipeline: str, cores: int) -> tuple[tuple[str, ...], Lines]:
    """What the recipe takes on larger sets: a column a size, since pages are narrow."""
    names = (
        *(f"{stage}, core-hours" for stage in STAGES),
        "all, core-hours",
        "GPU-hours",
        "raw shards (temporary)",
        "data",
        "memory of train",
        f"wall time, {cores} cores",
    )
    columns = [_grown(plan(rows, pipeline, n, cores)) for n in GROWTH]
    body = list(zip(names, *columns, strict=True))
    return (RECIPES[pipeline].samples, *(f"{n:,}" for n in GROWTH)), body


def _grown(p: Plan) -> tuple[str, ...]:
    def marked(text: str, extrapolated: bool) -> str:
        return f"{MARK}{text}" if extrapolated else text

    simulate, preprocess, train = stages = [p.stages[name] for name in STAGES]
    return (
        *(marked(hours(stage.core_s), stage.extrapolated) for stage in stages),
        marked(hours(p.total("core_s")), p.extrapolated),
        hours(p.total("gpu_s")) if p.total("gpu_s") else "not measured",
        marked(volume(simulate.bytes), simulate.extrapolated),
        marked(volume(preprocess.bytes), preprocess.extrapolated),
        marked(volume(1e6 * train.peak_mb), train.extrapolated),
        marked(duration(p.total("wall_s")), p.extrapolated),
    )


def workers(rows: Rows, pipeline: str) -> tuple[tuple[str, ...], Lines]:
    """Throughput by workers; of what could not be measured, why."""
    header = ("stage", "workers", "where", "samples", "a second", "times as fast", "CPU-s")
    body: Lines = []
    for stage in STAGES:
        found = rows.of("workers", pipeline=pipeline, stage=stage)
        one = next((r for r in found if (r["where"], r["workers"]) == ("here", 1)), None)
        for row in found + rows.of("missing", pipeline=pipeline, stage=stage):
            first = (stage, str(row["workers"]))
            if row["kind"] == "missing":
                where = "Slurm" if row["where"] == "slurm" else row["where"]
                body.append((*first, where, "-", row["why"], "", ""))
                continue
            rate, unit = throughput(row)
            faster = number(speed_up(one, row)) if one else ""
            cpu = f"{row['cpu_s']:.1f}" if row["where"] == "here" else "-"
            cells = (f"{row['n']:,}", f"{number(rate)} {unit}", faster, cpu)
            body.append((*first, row["place"], *cells))
    return header, body


def faster(rows: Rows) -> tuple[tuple[str, ...], Lines]:
    """How many times as fast two workers were as one, here and on a cluster."""
    header = ("times as fast as one",)
    for stage in STAGES:
        training = stage == "train"
        header += (f"{stage}, 2 {'processes' if training else 'workers'}",)
        header += ("on 2 nodes" if training else "as Slurm jobs",)
    body: Lines = []
    for pipeline in RECIPES:
        cells: list[str] = []
        for stage in STAGES:
            found = rows.of("workers", pipeline=pipeline, stage=stage)
            by = {(row["where"], row["workers"]): row for row in found}
            one = by.get(("here", 1))
            for case in (("here", 2), ("slurm", 2)):
                known = one is not None and case in by
                cells.append(number(speed_up(one, by[case])) if known and one else "-")
        body.append((pipeline, *cells))
    return header, body


def jobs(rows: Rows) -> tuple[tuple[str, ...], Lines]:
    """What Snakemake and Slurm add to a job."""
    header = ("", "CPU-s a job", "of it Snakemake itself", "wall s a job", "slots", "start, wall s")
    body: Lines = []
    for where, name in (("here", "Snakemake, local"), ("slurm", "Snakemake over Slurm")):
        added = overhead(rows, where)
        if added is not None:
            cells = [f"{added[k]:.2f}" for k in ("cpu_s", "main_s", "wall_s")]
            body.append((name, *cells, str(added["slots"]), f"{added['start_s']:.1f}"))
        elif missing := rows.of("missing", pipeline="toy", where=where):
            body.append((name, missing[0]["why"], *[""] * 4))
    return header, body


def planned(p: Plan) -> tuple[tuple[str, ...], Lines]:
    """What a run needs, stage by stage."""
    header = ("stage", "jobs", "core-hours", "GPU-hours", "wall time", "disk", "MB a job", "")
    body: Lines = []
    for name, stage in p.stages.items():
        gpu = hours(stage.gpu_s) if stage.gpu_s else "-"
        if name in STAGES:
            rest = [duration(stage.wall_s), volume(stage.bytes), f"{stage.peak_mb:,.0f}"]
            known = "extrapolated" if stage.extrapolated else "measured"
            body.append((name, f"{stage.jobs:,}", hours(stage.core_s), gpu, *rest, known))
        else:
            body.append((name, "", hours(stage.core_s), gpu, "", "", "", ""))
    total = [hours(p.total("core_s")), hours(p.total("gpu_s")) if p.total("gpu_s") else "-"]
    total += [duration(p.total("wall_s")), volume(p.total("bytes"))]
    body.append(("all", f"{sum(p.stages[s].jobs for s in STAGES):,}", *total, "", ""))
    return header, body


def show(
    title: str, header: Sequence[str], body: Sequence[Sequence[str]], markdown: bool = False
) -> None:
    """Print a table."""
    if markdown:
        print(f"\n**{title}**\n\n{markdown_table(header, body)}")
        return
    table = Table(*header, title=title, title_justify="left", box=None, header_style="bold")
    for row in body:
        table.add_row(*row)
    Console(width=150).print(table, "")
