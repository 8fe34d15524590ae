"""Processes of sealed families: errors beside rivals on the same counts, and coverage.

    python benchmarks/tomography_processes [--channels 8 8] [--adaptive 8 8] [--drawn 80 40]
                                           [--cache FILE] [--stop SECONDS]

The families (`physml.tomography.evaluation.sealed_processes`) and all numbers in them were fixed
before any score was computed; ``pipelines/tomography/SEALED.md`` says who looked since. Every
process is measured with all cardinal inputs and Pauli settings, and the first of each list also
with chosen ones. The factor of the diamond distance's interval is chosen on other processes, of
one continuous family (`physml.tomography.evaluation.process_stretch`), which are drawn here too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from common.options import command, parse, write
from common.rows import Row, Rows

from physml.random import stream
from physml.tomography.evaluation import process_stretch
from physml.tomography.evaluation.processes import adaptive, compared, fixed
from physml.tomography.evaluation.sealed_processes import SEALED_PROCESSES, sealed_processes

from .summary import record_numbers
from .tables import tables

__all__ = ["main", "tables"]

SEED = 22_471_093
COPIES = (10_000, 100_000)


def measured(family: str, n: int, k: int, copies: int, design: str) -> Row:
    """All estimators on one process, with the processor time of measuring and estimating."""
    truth, meant = sealed_processes(family, n, k + 1)[k]
    number = (list(SEALED_PROCESSES).index(family) * 2 + n - 1) * 1000 + k
    rng = stream(SEED, "test", 10 * number + COPIES.index(copies) + 2 * (design == "adaptive"))
    began = time.process_time()
    if design == "adaptive":
        table = adaptive(truth, n, copies, number, rng)
    else:
        table = fixed(truth, n, copies, rng)
    chosen = time.process_time()
    row = compared(table, truth, meant, number, rng)
    return row | {"seconds": [chosen - began, time.process_time() - chosen]}


def wanted(a: argparse.Namespace) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Key, function and arguments of every row."""
    for n, number in zip((1, 2), a.drawn, strict=True):
        for k in range(number):
            yield f"stretch | {n} | {k}", process_stretch.one, (n, k)
    for design, numbers in (("pauli", a.channels), ("adaptive", a.adaptive)):
        for k in range(max(numbers)):
            for n, copies in product((1, 2), COPIES):
                for family in SEALED_PROCESSES if k < numbers[n - 1] else ():
                    key = f"{family} | {n} | {k} | {copies} | {design}"
                    yield key, measured, (family, n, k, copies, design)


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write."""
    parser = command(__doc__, "json", "markdown", bootstrap=2000)
    for option, default, what in (
        ("--channels", (8, 8), "processes of each list"),
        ("--adaptive", (8, 8), "processes of each list that are measured with chosen settings too"),
        ("--drawn", (80, 40), "processes of the continuous family"),
    ):
        what += ", of one and of two qubits"
        parser.add_argument(option, type=int, nargs=2, default=default, help=what)
    parser.add_argument("--cache", type=Path, help="file for what is done")
    parser.add_argument("--stop", type=float, help="end after so many seconds; run again")
    a = parse(parser, argv, quiet=True)
    if any(chosen > all_ for chosen, all_ in zip(a.adaptive, a.channels, strict=True)):
        parser.error("--adaptive: at most as many as --channels")
    rows, began = Rows(a.cache), time.monotonic()
    done = {}
    for key, make, arguments in wanted(a):
        if a.stop is not None and time.monotonic() - began > a.stop:
            return
        done[key] = rows.get(key, make, *arguments)
    write(a, record_numbers(done, a.bootstrap), tables=tables)
