"""What the pipelines cost and how that grows: measured here, extrapolated, and planned with.

    python benchmarks/scaling.py                            measure everything: 25 min on two cores
    python benchmarks/scaling.py --quick                    without the largest sets
    python benchmarks/scaling.py --pipelines cavities       one pipeline
    python benchmarks/scaling.py --pipelines cavities --only size --rows my_gpu.json
                                                            no workers, no chain; on a GPU, say
    python benchmarks/scaling.py --figure my.png --tables   draw and print what there is
    python benchmarks/scaling.py --plan cavities=100000 --cores 64
    python benchmarks/scaling.py --plan background=5000 --config background=my.yaml --slurm

Stages are run as their commands, with the settings of the recipe on small sets: processor time,
wall time, memory and disk against the number of samples; throughput against workers, here and on
a Slurm cluster (one that `sinfo` shows, or, as root with Slurm's packages, one made on this
machine); and what Snakemake adds to a job. A line through the points of each stage says what more
samples cost; figures beyond the points are marked.

Rows are kept in the file that ``--rows`` names as soon as they are known: a benchmark that was
interrupted carries on. ``--plan`` reads that file where there is one, else the rows that come with
this script.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import results
from common.options import command, write
from common.tables import table as markdown
from scaling_parts import figure, jobs
from scaling_parts import tables as parts
from scaling_parts.cluster import cluster
from scaling_parts.measure import ROOT, CommandFailed
from scaling_parts.plan import line, plan
from scaling_parts.recipes import RECIPES, mark, quick
from scaling_parts.rows import Rows
from scaling_parts.stages import Bench
from scaling_parts.workers import Workers

from physml.exceptions import PhysmlError

OWN = ROOT / "results" / "bench" / "scaling.json"
SHIPPED = results.RESULTS / "scaling.json"
SCIENCES = ()
#: Cores of the tables of growth in the texts.
CORES = 16
#: Plan that the texts show: pipeline, samples, cores.
EXAMPLE = ("cavities", 100_000, 64)
#: Trainings of the shipped recipes: samples and time that they took, as their cards tell.
TOOK = {
    "cavities": (80_000, "1.4 h for the U-Net alone"),
    "background": (2_400, "29 min"),
    "tomography": (110_400, "18 min"),
}
OTHER = """\
Measured with other settings than yours. More epochs, experiments and the like are accounted for;
another network, image size or number of qubits is not: measure with --config, and --rows for a
file of their own.
"""
PARTS = ("size", "workers", "jobs")


def measure(given: argparse.Namespace) -> Rows:
    """Measure what is not in the rows yet."""
    rows = Rows(given.rows or OWN)
    rows.begin({name: mark(name, config(given, name)) for name in given.pipelines})
    folder = given.folder or rows.path.with_suffix(".data")
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    shorten = quick if given.quick else lambda recipe: recipe
    benches = [
        Bench(name, shorten(RECIPES[name]), rows, folder, config(given, name), say)
        for name in given.pipelines
    ]
    if "size" in given.only:
        for bench in benches:
            bench.all()
    if {"workers", "jobs"} & set(given.only):
        with cluster() as found:
            if "workers" in given.only:
                for bench in benches:
                    Workers(bench).all(found)
            if "jobs" in given.only:
                jobs.measure(rows, folder, found, say)
    if not given.keep:
        shutil.rmtree(folder)
    return rows


def config(given: argparse.Namespace, pipeline: str) -> Path | None:
    """The user's settings file of a pipeline, if any."""
    path: Path | None = dict(given.config).get(pipeline)
    return path


def show(rows: Rows, given: argparse.Namespace) -> None:
    """Print all parts."""
    where = f"{rows.machine['processor']}, {rows.machine['cores']} cores"
    print(f"Measured on: {where}, GPU: {rows.machine['gpu'] or 'none'}\n")
    made = {}
    for name in given.pipelines:
        if rows.of("size", pipeline=name):
            samples = RECIPES[name].samples
            more = f"{name}: the recipe on more {samples} ({parts.MARKED})"
            made[f"{name}: measured ({samples})"] = parts.measured(rows, name)
            made[more] = parts.growth(rows, name, given.cores)
            made[f"{name}: workers"] = parts.workers(rows, name)
    made["Processor time of the stages"] = parts.coefficients(rows)
    made["What the chain adds to a job"] = parts.jobs(rows)
    for title, (header, body) in made.items():
        parts.show(title, header, body, given.markdown)


def show_plans(given: argparse.Namespace) -> None:
    """Print what the runs that were asked for need."""
    own = given.rows or (OWN if OWN.exists() else SHIPPED)
    rows = Rows(own)
    if not rows.rows:
        raise SystemExit(f"{own}: nothing was measured yet")
    m = rows.machine
    print(f"From figures of {own.name}: {m['processor']}, GPU: {m['gpu'] or 'none'}\n")
    for name, n in given.plan:
        made = plan(rows, name, n, given.cores, config(given, name), given.slurm)
        title = f"{name}: {n:,} {RECIPES[name].samples}, {given.cores} cores"
        parts.show(title, *parts.planned(made), given.markdown)
        if rows.settings.get(name) != mark(name, config(given, name)):
            print(OTHER)
        if made.advice:
            print("Set, in its settings:\n  " + "\n  ".join(made.advice) + "\n")
        if name == "cavities" and not m["gpu"]:
            print("Training was measured on a processor; on a GPU it is another figure.\n")


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of the texts, from the rows."""
    rows = Rows(SHIPPED, numbers)
    versions = rows.versions
    made = {
        "machine": f"{rows.machine['cores']} cores of an {rows.machine['processor']}, with torch "
        f"{versions['torch']} and Python {versions['python']}"
    }
    for name in RECIPES:
        body = markdown(*parts.growth(rows, name, CORES))
        made[name] = f"**{name}**\n\n{body}\n\n*{parts.MARKED}.*"
    sets = "400 images, 40 exposures and 16,000 states"
    made["faster"] = (
        f"{markdown(*parts.faster(rows))}\n\n*Sets of {sets}, on {rows.machine['cores']} cores; "
        "one run each.*"
    )
    made["coefficients"] = (
        f"{markdown(*parts.coefficients(rows))}\n\n*Seconds of processor time, from one run of "
        "each point; the last column is the largest distance of a point from the line.*"
    )
    made["jobs"] = (
        f"{markdown(*parts.jobs(rows))}\n\n*Chains of few and of many jobs that do nothing, one "
        "run each.*"
    )
    return made | _examples(rows)


def _examples(rows: Rows) -> dict[str, str]:
    """A plan, the same by hand, and what earlier trainings took."""
    name, n, cores = EXAMPLE
    example = plan(rows, name, n, cores)
    samples = RECIPES[name].samples
    made = {"plan": f"{markdown(*parts.planned(example))}\n\n*{n:,} {samples} on {cores} cores.*"}
    found = line(rows, name, "simulate", "cpu_s")
    simulate = example.stages["simulate"]
    start, each = (parts.number(v) for v in (found.start, found.slopes["samples"]))
    made["by_hand"] = (
        f"{simulate.jobs} x {start} s + {n:,} x {each} s = {simulate.core_s:,.0f} s, or "
        f"{parts.hours(simulate.core_s)} core-hours"
    )
    body = []
    for pipeline, (size, took) in TOOK.items():
        train = plan(rows, pipeline, size, CORES).stages["train"]
        of = f"{pipeline}, {size:,} {RECIPES[pipeline].samples}"
        body.append((of, parts.duration(train.wall_s), took))
    made["trust"] = (
        f"{markdown(('training of the recipe', 'planned', 'took'), body)}\n\n"
        "*One training each, those of the shipped weights.*"
    )
    return made


def pair(text: str) -> tuple[str, str]:
    """Split ``name=value``."""
    name, sign, value = text.partition("=")
    if not sign or name not in RECIPES:
        raise argparse.ArgumentTypeError(
            f"expected PIPELINE=..., with one of {', '.join(RECIPES)}, found {text!r}"
        )
    return name, value


def number(text: str) -> tuple[str, int]:
    """Split ``name=samples``."""
    name, value = pair(text)
    n = int(float(value))  # also 1e5
    if n < 1:
        raise argparse.ArgumentTypeError(f"expected at least one sample, found {value}")
    return name, n


def file(text: str) -> tuple[str, Path]:
    """Split ``name=file``."""
    name, value = pair(text)
    return name, Path(value)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = command(__doc__)
    add = parser.add_argument
    add("--pipelines", nargs="+", choices=list(RECIPES), default=list(RECIPES), metavar="NAME")
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), help="of size, workers, jobs")
    add("--quick", action="store_true", help="without the largest sets")
    add("--rows", type=Path, help=f"figures; by default {OWN.relative_to(ROOT)}")
    add("--folder", type=Path, help="for data; on a cluster one that all nodes see")
    add("--keep", action="store_true", help="keep these data")
    add("--config", type=file, nargs="+", default=[], metavar="PIPELINE=FILE",
        help="your settings over the recipe's")  # fmt: skip
    add("--plan", type=number, nargs="+", metavar="PIPELINE=SAMPLES",
        help="measure nothing; say what such a run needs")  # fmt: skip
    add("--cores", type=int, default=os.cpu_count(), help="for plans; those of this machine")
    add("--slurm", action="store_true", help="for plans: the jobs are Slurm's")
    add("--tables", action="store_true", help="measure nothing; print what was measured")
    add("--markdown", action="store_true", help="tables for a document")
    add("--figure", type=Path, help="where to draw; by default beside the rows")
    given = parser.parse_args(arguments)
    if given.cores < 1:
        parser.error(f"--cores: expected at least 1, found {given.cores}")
    return given


def main(arguments: list[str] | None = None) -> None:
    """Measure, draw and print, or plan."""
    given = parse(arguments)
    # So that a benchmark that is told to end cancels its jobs and takes its cluster down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if given.plan:
            show_plans(given)
            return
        rows = Rows(given.rows or OWN) if given.tables else measure(given)
        if not rows.rows:
            raise SystemExit(f"{rows.path}: nothing was measured yet")
        show(rows, given)
        if given.publish:
            write(given, rows.head | {"rows": rows.rows}, sciences=SCIENCES)
        out = given.figure or rows.path.with_suffix(".png")
        figure.draw(rows, out)
        print(out)
    except (PhysmlError, CommandFailed) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))


if __name__ == "__main__":
    main()
