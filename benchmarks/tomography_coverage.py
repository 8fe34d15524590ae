"""How many 90 % regions of the learned tomographer hold the truth, on longer frozen lists.

    python benchmarks/tomography_coverage.py [--states 1000] [--cache FILE]

The lists are of the same ensembles as those of `tomography_vs_rivals.py`, with other states: with
160 a share of 90 % is not known well enough. It takes five minutes of one core for 1,000 states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.options import command, parse, write
from common.rows import Rows
from common.tables import goals, table
from common.tomography import OURS, Runs, interval, share_inside

from physml import provenance
from physml.evaluation.sealed import remark
from physml.models import shipped_weights
from physml.tomography.core.schedule import marks_of
from physml.tomography.evaluation import compare
from physml.tomography.evaluation.sets import coverage_list

SCIENCES = ("tomography",)
SEED = 20_210_607
OWN = tuple(OURS.values())
#: Shares of regions that are wanted, and their level.
WANTED = (0.87, 0.97)
LEVEL = 0.9
BATCH = 250
PREFIX = "coverage of "
Numbers = Mapping[str, Any]


def measure(runs: Runs, n_states: int, copies: int, qubits: Sequence[int]) -> dict[str, Any]:
    """Shares inside, with their intervals: list -> method -> one at each mark."""
    return {
        place: {
            m: share_inside(runs.outcome(PREFIX + place, rho, m, copies, batch=BATCH)) for m in OWN
        }
        for place, rho in compare.frozen_lists(n_states, qubits, coverage_list).items()
    }


def cells_of(numbers: Numbers, *names: str) -> list[tuple[str, list[float]]]:
    """Where and what, of every share of some methods."""
    return [
        (f"{place}, {name.removeprefix('neural, ')}, {n:,} copies", x)
        for name in names
        for place, methods in numbers["lists"].items()
        for n, x in zip(numbers["copies"], methods[name], strict=True)
    ]


def within(x: Sequence[float]) -> bool:
    """Whether a share of regions is within the goal."""
    return WANTED[0] <= x[0] <= WANTED[1]


def count(cells: Sequence[tuple[str, list[float]]]) -> str:
    """How many cells are within the goal."""
    return f"{sum(within(x) for _, x in cells)} of {len(cells)}"


def goals_table(numbers: Numbers) -> str:
    """One goal for each kind of measurements, and all together."""
    rows: list[tuple[str, str, str, bool | None]] = []
    for name in (*OWN, None):
        cells = cells_of(numbers, *([name] if name else OWN))
        surely = sum(x[2] < WANTED[0] or x[1] > WANTED[1] for _, x in cells)
        low, high = min(cells, key=lambda c: c[1][0]), max(cells, key=lambda c: c[1][0])
        shown = (
            f"{count(cells)}; {surely} surely outside; together "
            f"{sum(x[0] for _, x in cells) / len(cells):.1%}; lowest {interval(low[1], '.1%')} "
            f"({low[0]}), highest {interval(high[1], '.1%')} ({high[0]})"
        )
        what = f"coverage of {LEVEL:.0%} regions, {name or 'all measurements'}"
        wanted = f"{WANTED[0]:.0%} to {WANTED[1]:.0%}"
        rows.append((what, wanted, shown, all(within(x) for _, x in cells)))
    return f"Cells of list and copies, {about(numbers)}\n\n{goals(rows)}"


def about(numbers: Numbers) -> str:
    """Set, n and interval; an earlier day where it was not run since."""
    said = remark("tomography", f"{PREFIX}2 qubits, hs")
    kept = numbers.get("kept")
    when = f" Not run again since {kept['date']} (commit `{kept['commit']}`)." if kept else ""
    return (
        f"{numbers['states']:,} states a list (`coverage_list`; {said}), 95 % intervals of "
        f"Wilson.{when}"
    )


def coverage_table(numbers: Numbers) -> str:
    """All shares; what is within the goal is bold."""
    rows = [
        [
            place,
            name,
            *(f"**{interval(x, '.1%')}**" if within(x) else interval(x, ".1%") for x in cells),
        ]
        for place, methods in numbers["lists"].items()
        for name, cells in methods.items()
    ]
    head = ["list", "method", *(f"{n:,} copies" for n in numbers["copies"])]
    return (
        f"Truth inside the {LEVEL:.0%} region, {about(numbers)} Bold: within {WANTED[0]:.0%} to "
        f"{WANTED[1]:.0%}.\n\n{table(head, rows)}"
    )


def tables(numbers: Numbers) -> dict[str, str]:
    """Blocks of Markdown by name."""
    return {
        "goals": goals_table(numbers),
        "coverage": coverage_table(numbers),
        "count": count(cells_of(numbers, *OWN)),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write."""
    parser = command(__doc__, "weights", "json", "markdown")
    parser.add_argument("--states", type=int, default=1_000, help="of each list")
    parser.add_argument("--copies", type=int, default=100_000, help="of an experiment")
    parser.add_argument("--cache", type=Path, help="file for what is done")
    a = parse(parser, argv, quiet=True)
    weights = a.weights or shipped_weights("tomography")
    runs = Runs(Rows(a.cache), weights, provenance.sha256(weights), SEED)
    numbers = {
        "copies": list(marks_of(a.copies)),
        "states": a.states,
        "lists": measure(runs, a.states, a.copies, compare.qubits_of(weights)),
    }
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
