"""Families of states that training, calibration and design never saw: infidelity and coverage.

    python benchmarks/tomography_sealed.py [--states 250] [--rivals 60] [--filtered 8]
                                           [--cache FILE] [--families rank_2 ...]

The families (`physml.tomography.evaluation.sealed_sets`) and all numbers in them were fixed before
any score was computed; ``pipelines/tomography/SEALED.md`` says who looked since. Two qubits. All
methods measure the first states of each list: rivals, which are slower, fewer of them than the
learned estimator, and particle filters fewer still, up to 10,000 copies; differences are paired on
the states that both measured. With ``--families`` some are run only, and kept in the cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.options import command, parse, write
from common.rows import Rows
from common.tables import table
from common.tomography import OURS, Runs, differences_table, interval, share_inside

from physml import provenance
from physml.evaluation.sealed import remark
from physml.models import shipped_weights
from physml.tomography.core.schedule import marks_of
from physml.tomography.evaluation.methods import Outcome
from physml.tomography.evaluation.sealed_sets import SEALED, sealed_list

SCIENCES = ("tomography",)
SEED = 48_620_913
OWN = tuple(OURS.values())
#: Measurements whose coverage is counted as well.
MORE = tuple(f"neural, {design}" for design in ("random_global", "mub", "sic"))
RIVALS = ("maximum likelihood, pauli", "two-stage, global")
FILTERS = ("particle filter, global", "particle filter (mixed prior), global")
COVERAGE = (0.87, 0.97)
#: Largest mean radius in units of that of the exact posterior.
LARGEST = 1.3
BATCH = 250
PREFIX = "sealed, "
Numbers = Mapping[str, Any]


def measure(runs: Runs, a: argparse.Namespace) -> dict[str, Any]:
    """All methods on all families; the particle filters, which are slow, last."""
    lists = {name: sealed_list(name, a.states) for name in a.families}
    found = {
        name: {
            **{m: runs.outcome(PREFIX + name, rho, m, a.copies, batch=BATCH) for m in OWN + MORE},
            **{m: runs.outcome(PREFIX + name, rho[: a.rivals], m, a.copies) for m in RIVALS},
        }
        for name, rho in lists.items()
    }
    for name, rho in lists.items() if a.filtered else ():
        for m in FILTERS:
            part = rho[: a.filtered]
            found[name][m] = runs.outcome(PREFIX + name, part, m, a.filter_copies)
    return {
        name: {
            "methods": {
                m: runs.summary(PREFIX + name, x, a.filter_copies if m in FILTERS else a.copies)
                for m, x in own.items()
            },
            "differences": {
                m: runs.difference(PREFIX + name, own[OURS[m.rpartition(", ")[2]]], x)
                for m, x in own.items()
                if m not in OWN + MORE
            },
            "coverage": {m: share_inside(own[m]) for m in OWN + MORE},
            "sizes": {
                m: sizes(own[OURS[m.rpartition(", ")[2]]], own[m]) for m in FILTERS if m in own
            },
        }
        for name, own in found.items()
    }


def sizes(ours: Outcome, theirs: Outcome) -> list[float]:
    """Mean radius of our regions over that of theirs, of the states that both measured."""
    n, m = theirs.radius.shape
    ratio = ours.radius[:n, :m].mean(0) / theirs.radius.mean(0)
    return [float(f"{x:.3g}") for x in ratio]


def ledger(numbers: Numbers) -> str:
    """What the ledger says of each family."""
    return "\n".join(
        f"- `{name}`: {remark('tomography', name) or 'no ledger at hand'}."
        for name in numbers["lists"]
    )


def infidelities(numbers: Numbers) -> str:
    """Mean infidelity of all methods on all families."""
    copies = numbers["copies"]
    rows = []
    for name, part in numbers["lists"].items():
        for m, found in part["methods"].items():
            cells = [interval(x) for x in found["mean"]]
            cells += ["-"] * (len(copies) - len(cells))
            rows.append([name, m, found["states"], *cells])
    return (
        "Sealed families of two-qubit states: mean infidelity on the first n states of each list, "
        "95 % intervals from resampling states.\n\n"
        + table(["family", "method", "n", *(f"{k:,} copies" for k in copies)], rows)
    )


def coverage_table(numbers: Numbers) -> str:
    """Coverage of the regions; what is within the goal is bold."""
    rows = [
        [
            name,
            m,
            *(f"**{interval(x, '.0%')}**" if within(x) else interval(x, ".0%") for x in cells),
        ]
        for name, part in numbers["lists"].items()
        for m, cells in part["coverage"].items()
    ]
    head = ["family", "method", *(f"{n:,} copies" for n in numbers["copies"])]
    return (
        "Sealed families: share of the true states inside their 90 % region, first "
        f"{numbers['states']} states of each list, 95 % intervals of Wilson; bold: within "
        f"{COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}.\n\n{table(head, rows)}"
    )


def within(x: Sequence[float]) -> bool:
    """Whether a share is within the goal."""
    return COVERAGE[0] <= x[0] <= COVERAGE[1]


def coverage_sentence(numbers: Numbers) -> str:
    """How many cells hold what regions promise, and the worst of them."""
    cells = [
        (f"{name}, {m}, {n:,} copies", x)
        for name, part in numbers["lists"].items()
        for m, shares in part["coverage"].items()
        for n, x in zip(numbers["copies"], shares, strict=True)
    ]
    below = sum(x[2] < 0.9 for _, x in cells)
    worst = min(cells, key=lambda c: c[1][0])
    return (
        f"On the sealed families 90 % regions hold the truth in 87 to 97 % of the states in "
        f"{sum(within(x) for _, x in cells)} of {len(cells)} cells, and surely in fewer than "
        f"promised in {below}; the worst is {interval(worst[1], '.0%')} ({worst[0]})."
    )


def sizes_table(numbers: Numbers) -> str:
    """Size of the regions beside that of posteriors with the exact likelihood."""
    rows = [
        [name, m, *(f"{x:.2f}" for x in found)]
        for name, part in numbers["lists"].items()
        for m, found in part["sizes"].items()
    ]
    most = max(len(x) for part in numbers["lists"].values() for x in part["sizes"].values())
    head = ["family", "in units of", *(f"{n:,} copies" for n in numbers["copies"][:most])]
    every = [x for part in numbers["lists"].values() for f in part["sizes"].values() for x in f]
    small = sum(x <= LARGEST for x in every)
    return (
        "Sealed families: mean radius of our 90 % regions over that of the share of the particles "
        "of a filter with the exact likelihood, on the same states; at most "
        f"{LARGEST} in {small} of {len(every)} cells.\n\n{table(head, rows)}"
    )


def tally(numbers: Numbers) -> str:
    """How often ours is surely better, or surely worse, than each rival."""
    lines = []
    for rival in (*RIVALS, *FILTERS):
        found = [
            x
            for part in numbers["lists"].values()
            for x in part["differences"].get(rival, {"mean": []})["mean"]
        ]
        if found:
            better, worse = (
                sum(f(x) for x in found) for f in (lambda x: x[2] < 0, lambda x: x[1] > 0)
            )
            lines.append(
                f"- {rival}: ours is surely better in {better} and surely worse in {worse} of "
                f"{len(found)} cells of family and copies."
            )
    return "\n".join(lines)


def tables(numbers: Numbers) -> dict[str, str]:
    """Blocks of Markdown by name."""
    return {
        "ledger": ledger(numbers),
        "infidelities": infidelities(numbers),
        "differences": "Sealed families: mean infidelity of the learned estimator less that of the "
        "rival with measurements of the same kind, on the same first n states, with the 95 % "
        "interval of the paired difference. Bold: the interval leaves out zero; negative: ours is "
        "better.\n\n" + differences_table(numbers["lists"], numbers["copies"], "family"),
        "coverage": coverage_table(numbers),
        "coverage_sentence": coverage_sentence(numbers),
        "tally": tally(numbers),
        **({"sizes": sizes_table(numbers)} if any_sizes(numbers) else {}),
    }


def any_sizes(numbers: Numbers) -> bool:
    """Whether a filter measured any of the states."""
    return any(part.get("sizes") for part in numbers["lists"].values())


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write."""
    parser = command(__doc__, "weights", "json", "markdown", bootstrap=400)
    parser.add_argument("--states", type=int, default=250, help="of each list")
    parser.add_argument("--rivals", type=int, default=60, help="states of each list for rivals")
    parser.add_argument("--families", nargs="+", default=list(SEALED), choices=list(SEALED))
    parser.add_argument(
        "--filtered", type=int, default=8, help="states of each list for particle filters"
    )
    parser.add_argument("--copies", type=int, default=100_000, help="of an experiment")
    parser.add_argument("--filter-copies", type=int, default=10_000, help="of the filters'")
    parser.add_argument("--cache", type=Path, help="file for what is done")
    a = parse(parser, argv, quiet=True)
    weights = a.weights or shipped_weights("tomography")
    runs = Runs(Rows(a.cache), weights, provenance.sha256(weights), SEED, a.bootstrap)
    numbers = {
        "copies": list(marks_of(a.copies)),
        "states": a.states,
        "lists": measure(runs, a),
    }
    if len(a.families) < len(SEALED):
        return
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
