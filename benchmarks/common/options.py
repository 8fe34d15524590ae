"""Command lines of the benchmarks, and the files that they write."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physml import provenance
from physml.io.atomic import write_json, write_text

#: Options that several benchmarks have, each meaning the same everywhere.
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "json": {"type": Path, "help": "write the numbers here"},
    "markdown": {"type": Path, "help": "write the tables here (also printed)"},
    "figures": {"type": Path, "help": "folder to draw the figures into"},
    "out": {"type": Path, "help": "folder of the figures"},
    "data": {"type": Path, "help": "folder of the real data"},
    "weights": {"type": Path, "help": "other weights than the shipped ones"},
    "seed": {"type": int, "default": 1, "help": "of random numbers"},
    "rounds": {"type": int, "default": 3, "help": "medians over this many"},
    "threads": {"type": int, "default": 1, "help": "threads of our network"},
    "bootstrap": {"type": int, "default": 300, "help": "resamples for the intervals"},
}


def command(doc: str | None, *names: str, **defaults: Any) -> argparse.ArgumentParser:
    """Parser that shows a docstring and has some of the known options.

    Parameters
    ----------
    doc : str
    *names : str
        Of options in `KNOWN`.
    **defaults
        Names of further ones, with their default values.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in (*names, *defaults):
        parser.add_argument(f"--{name}", **KNOWN[name])
    parser.set_defaults(**defaults)
    return parser


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None, *, quiet: bool = False
) -> argparse.Namespace:
    """Read the command line; progress goes to stderr, and torch gets one thread.

    Parameters
    ----------
    parser : ArgumentParser
    argv : sequence of str, optional
    quiet : bool
        The library's own progress is left out.
    """
    import torch

    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("physml").setLevel(logging.WARNING if quiet else logging.INFO)
    torch.set_num_threads(1)
    return arguments


def write(
    arguments: argparse.Namespace,
    numbers: Any = None,
    text: str | None = None,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Print the tables, and write tables, numbers and figures where the command line says.

    Parameters
    ----------
    arguments : Namespace
        With ``json``, ``markdown``, ``figures`` or ``out`` where the benchmark has these options.
    numbers : optional
        For the JSON file.
    text : str, optional
        Tables.
    figures : mapping, optional
        Name -> figure.
    """
    if text is not None:
        print(text)
        if path := getattr(arguments, "markdown", None):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text.rstrip("\n") + "\n", overwrite=True)
    if numbers is not None and (path := getattr(arguments, "json", None)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, provenance.jsonable(numbers), overwrite=True)
    folder = getattr(arguments, "figures", None) or getattr(arguments, "out", None)
    if figures is not None and folder:
        from physml.evaluation.figures import save_figure

        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png", overwrite=True)
        print(f"figures in {folder}")
