"""`physml cavities survey`: a list of targets, one catalogue, one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physml.cli.messages import adjust_logging
from physml.cli.options import Overwrite, Quiet, Threads, Verbose, limit_threads, need
from physml.exceptions import InputError, PhysmlError

if TYPE_CHECKING:
    from .results.survey.collected import Survey

SURVEY_EPILOG = """
Examples: a list to fill in; a survey; four targets at a time; recall against
published cavities, whose columns are named where their names do not say so:

  physml cavities survey --template targets.ecsv

  physml cavities survey targets.ecsv -o out

  physml cavities survey targets.csv -o out --processes 4

  physml cavities survey targets.ecsv -o out --literature shin2016.fits

  physml cavities survey targets.ecsv -o out --literature table.csv
  --literature-columns 'target=System,distance=R,azimuth=PA'

The list is CSV, ECSV or FITS with the columns image, and as many as wanted of name, exposure,
background, mask, pressure, redshift, ra and dec (or x and y), scales, and other options of
`predict`; files lie beside it. The same command carries on where it was stopped. Exit code: 0 all
targets searched, 2 some not for what was given, 1 some not for another reason.
"""


def survey(
    ctx: typer.Context,
    targets: Annotated[
        Path | None, typer.Argument(help="List of targets: CSV, ECSV or FITS.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the survey: new, or begun earlier."),
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="Write a list to fill in (.ecsv), and do nothing else.")
    ] = None,
    literature: Annotated[
        Path | None,
        typer.Option(
            help="Table of known cavities (CSV, TSV, ECSV, FITS) with target, and ra and dec or "
            "distance and azimuth."
        ),
    ] = None,
    literature_columns: Annotated[
        str | None,
        typer.Option(metavar="KIND=NAME,...", help="Its columns, where they are not recognised."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Targets searched at a time.")] = 1,
    recovery: Annotated[
        bool,
        typer.Option("--recovery", help="Measure completeness and false alarms of each image."),
    ] = False,
    recovery_draws: Annotated[
        int, typer.Option(help="Number of draws for that, with and without cavities each.", min=1)
    ] = 40,
    weights: Annotated[
        Path | None, typer.Option(help="Weights (safetensors); the shipped ones by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of filled pixels and of the draws.", min=0)] = 0,
    threads: Threads = None,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Find the cavities of a list of targets: one catalogue, one page, recall.

    Writes catalogue, targets (ECSV and FITS), index.html, and targets/NAME/ as `predict` does.

    Targets that an earlier run has searched are kept; --overwrite searches them again.
    """
    adjust_logging(ctx, verbose, quiet)
    if template is not None:
        from .data.targets import write_template

        write_template(template, overwrite)
        typer.echo(f"Written to {template}")
        return
    if targets is None or output is None:
        raise InputError("expected a list of targets and --output, or --template; found neither")
    for path, what in (
        (targets, "a list of targets"),
        (literature, "a table of known cavities"),
        (weights, "weights in safetensors format"),
    ):
        if path is not None:
            need(path, False, what)
    columns = parse_columns(literature_columns)
    if threads is not None:
        limit_threads(threads)

    from physml import provenance

    from .survey import run_survey

    with provenance.run():
        made = run_survey(
            targets,
            output,
            literature=literature,
            literature_columns=columns,
            weights=weights,
            processes=processes,
            threads=threads,
            recovery=recovery_draws if recovery else 0,
            seed=seed,
            again=overwrite,
        )
    show(made)
    if made.failed:
        names = "; ".join(f"{name} ({why})" for name, why in made.failed.items())
        kind = InputError if made.bad_input else PhysmlError
        raise kind(
            f"{len(made.failed)} of {len(made.targets)} targets were not searched: {names}. "
            "The same command searches them again, and only them"
        )


def parse_columns(text: str | None) -> dict[str, str]:
    """Columns by kind from ``kind=name,kind=name``.

    Raises
    ------
    InputError
        Another form.
    """
    out: dict[str, str] = {}
    for part in (text or "").split(","):
        if part.strip():
            kind, equals, name = (piece.strip() for piece in part.partition("="))
            if not (kind and equals and name):
                raise InputError(
                    f"literature_columns=: expected KIND=NAME,KIND=NAME, found {part.strip()!r}"
                )
            out[kind] = name
    return out


def show(made: Survey) -> None:
    """Print the verdicts in short."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    view = Table(title="Survey", title_justify="left", box=None)
    for name in ("target", "verdict", "probability", "known", "remarks"):
        view.add_column(name, justify="left" if name in ("target", "remarks") else "right")
    for one in made.outcomes:
        known = one.get("known") or {"rows": (), "placed": 0}
        found = sum(row["status"] == "found" for row in known["rows"])
        best = one.get("best_probability")
        view.add_row(
            escape(one["target"]),
            escape(one.get("summary", one["verdict"])),
            "" if best is None else f"{best:.2f}",
            f"{found} of {known['placed']}" if known["placed"] else "",
            escape(one.get("error") or "; ".join(one.get("warnings", ())))[:110],
        )
    console.print(view)
    recall = made.recall
    if recall.get("placed"):
        low, high = recall["interval"]
        console.print(
            f"Known cavities found: {recall['found']} of {recall['placed']} "
            f"({recall['share']:.0%}, 95 % interval {low:.0%} - {high:.0%}); "
            f"as candidates {recall['candidates']}; by chance {recall['by_chance']:.1f}; "
            f"ours that are not known: {recall['new']}",
            highlight=False,
        )
    console.print(f"Written to {made.folder}: see index.html", highlight=False, soft_wrap=True)
