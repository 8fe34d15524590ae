"""Command lines of the benchmarks, and the files that they write."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import results
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
    parser.add_argument(
        "--publish",
        action="store_true",
        help="keep the numbers in benchmarks/results, from where `make tables` takes the texts'",
    )
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
    *,
    tables: Callable[[Mapping[str, Any]], Mapping[str, str]] | None = None,
    sciences: Iterable[str] = (),
) -> None:
    """Print the tables, and write tables, numbers and figures where the command line says.

    Parameters
    ----------
    arguments : Namespace
        With ``json``, ``markdown``, ``figures`` or ``out`` where the benchmark has these options.
    numbers : optional
        For the record (see `common.results`): with ``--publish`` in ``benchmarks/results``, under
        the script's name.
    text : str, optional
        What is printed before the tables.
    figures : mapping, optional
        Name -> figure.
    tables : callable, optional
        Blocks of Markdown by name, from the numbers as JSON gives them back.
    sciences : iterable of str
        Whose weights and simulator the numbers rest on.

    Raises
    ------
    SystemExit
        Numbers of other weights than the shipped ones are to be published.
    """
    if tables is not None:
        blocks = tables(results.plain(numbers))
        text = "\n\n".join([*([text] if text else []), *blocks.values()])
    if text is not None:
        print(text)
        if path := getattr(arguments, "markdown", None):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text.rstrip("\n") + "\n", overwrite=True)
    _write_record(arguments, numbers, sciences)
    folder = getattr(arguments, "figures", None) or getattr(arguments, "out", None)
    if figures is not None and folder:
        from physml.evaluation.figures import save_figure

        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png", overwrite=True)
        print(f"figures in {folder}")


def _write_record(arguments: argparse.Namespace, numbers: Any, sciences: Iterable[str]) -> None:
    if numbers is None:
        return
    made = results.record(numbers, sciences, getattr(arguments, "weights", None))
    if path := getattr(arguments, "json", None):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, made, overwrite=True)
    if getattr(arguments, "publish", False):
        if stale := results.outdated(made):
            raise SystemExit(f"not published: {'; '.join(stale)}")
        print(f"published in {results.publish(Path(sys.argv[0]).stem, made)}")
