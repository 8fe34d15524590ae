"""Say what the jobs of a run asked for and what they used.

python workflows/usage.py logs                      a run of the settings in config.yaml
python workflows/usage.py logs --preset smoke       of a preset
python workflows/usage.py logs --markdown           for a document
python workflows/usage.py logs --sacct              of all jobs of Slurm, as its accounting has them

Reads the `benchmark:` files, which say what an attempt that ended well has used; with --sacct, asks
Slurm for the jobs that Snakemake's logs name. Of many shards the largest figures are shown.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import accounting
from rich.console import Console
from rich.table import Table

from physml.config import ResourceSettings, load_settings
from physml.exceptions import InputError, PhysmlError
from physml.pipeline import STAGES, get_pipeline

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("pipeline", "stage", "jobs", "threads", "used", "MB", "used", "minutes", "used")


@dataclass(frozen=True)
class Used:
    """What the jobs of one stage used: the largest of each."""

    jobs: int
    threads: float
    mem_mb: float
    minutes: float


def used(files: list[Path]) -> Used:
    """Read the benchmark files of one stage.

    Raises
    ------
    InputError
        A file is not one of Snakemake's.
    """
    rows: list[dict[str, str]] = []
    for path in files:
        with open(path, encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file, delimiter="\t")
    try:
        return Used(
            len(files),
            # A job of a moment has no load; Snakemake writes "NA".
            max(_number(row["mean_load"]) for row in rows) / 100,
            max(_number(row["max_rss"]) for row in rows),
            max(float(row["s"]) for row in rows) / 60,
        )
    except (KeyError, ValueError) as error:
        names = ", ".join(map(str, files[:3]))
        raise InputError.expected(names, "benchmark files of Snakemake", str(error)) from error


def _number(text: str) -> float:
    return 0.0 if text in ("NA", "-") else float(text)


def rows(logs: Path, pipelines: Path, preset: str | None) -> Iterator[tuple[str, ...]]:
    """One row for each stage of each pipeline that ran: what was asked and what was used."""
    for folder in sorted(path for path in logs.iterdir() if (pipelines / path.name).is_dir()):
        sources = [pipelines / folder.name / "config.yaml"]
        sources += [pipelines / folder.name / f"{preset}.yaml"] if preset else []
        settings = load_settings(get_pipeline(folder.name).settings_model(), *sources)
        for stage in STAGES:
            files = [
                *folder.glob(f"{stage}.benchmark.tsv"),
                *folder.glob(f"{stage}/*.benchmark.tsv"),
            ]
            if files:
                asked: ResourceSettings = getattr(settings, stage).resources
                found = used(files)
                yield (
                    folder.name,
                    stage,
                    str(found.jobs),
                    str(asked.threads),
                    f"{found.threads:.1f}",
                    str(asked.mem_mb),
                    f"{found.mem_mb:.0f}",
                    str(asked.runtime_min),
                    f"{found.minutes:.1f}",
                )


def show(columns: tuple[str, ...], found: list[tuple[str, ...]], markdown: bool) -> None:
    """Print a table."""
    if markdown:
        for row in (columns, ("---",) * len(columns), *found):
            print(f"| {' | '.join(row)} |")
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in found:
        table.add_row(*row)
    Console(width=120).print(table)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("logs", type=Path, help="the folder logs/ of the run")
    parser.add_argument("--preset", help="preset of the run")
    parser.add_argument("--pipelines", type=Path, default=ROOT / "pipelines")
    parser.add_argument("--sacct", action="store_true", help="figures of Slurm's accounting")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    if not arguments.logs.is_dir():
        parser.error(f"no such folder: {arguments.logs}")
    try:
        if arguments.sacct:
            # Snakemake keeps its own logs beside those of the jobs.
            rules = accounting.submitted(arguments.logs.absolute().parent / ".snakemake" / "log")
            found = accounting.rows(rules, accounting.ask(rules))
            show(accounting.COLUMNS, found, arguments.markdown)
        else:
            found = list(rows(arguments.logs, arguments.pipelines, arguments.preset))
            show(COLUMNS, found, arguments.markdown)
    except PhysmlError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
