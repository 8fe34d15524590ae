"""Three qubits: infidelity, regions and CPU time of the shipped weights beside the rivals.

    python benchmarks/tomography_three_qubits [--states 60] [--filtered 8] [--cache FILE]
                                              [--publish]

The lists (`physml.tomography.evaluation.three_qubit_sets`) were fixed before any score was
computed; ``pipelines/tomography/SEALED.md`` says who looked since. The particle filter with the
rank-adaptive prior follows the first states of each list only, as it takes long for each; what
is compared with it is what the learned estimator makes of the same states. Times are of one thread,
for one state of a batch, choice of the bases and update together.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.rows import Rows
from common.tables import table
from common.tomography import OURS, Runs, interval, rounded, share_inside

from physml import provenance
from physml.evaluation.sealed import remark
from physml.models import shipped_weights
from physml.tomography.core.schedule import marks_of, schedule
from physml.tomography.evaluation.three_qubit_sets import LISTS, three_qubit_list

SCIENCES = ("tomography three_qubits",)
SEED = 22_817_405
OWN = tuple(OURS.values())
RIVAL = "maximum likelihood, pauli"
FILTER = "particle filter, global"
#: Coverage, infidelity over the filter's, and time over the filter's: what is aimed at.
COVERAGE, RATIO, TIME = (0.87, 0.97), 1.3, 0.01
PREFIX = "3 qubits, "
#: Lists that the filter follows.
FILTERED = ("hs", "pure", "ghz_w")
Numbers = Mapping[str, Any]


def measure(runs: Runs, a: argparse.Namespace) -> dict[str, Any]:
    """All methods on all lists; the filter, which is slow, last."""
    lists = {name: three_qubit_list(name, a.states) for name in LISTS}
    found: dict[str, dict[str, Any]] = {}
    for name, rho in lists.items():
        place = PREFIX + name
        own = {m: runs.outcome(place, rho, m, a.copies) for m in OWN}
        rival = runs.outcome(place, rho[: a.rivals], RIVAL, a.copies)
        found[name] = {
            "methods": {
                m: runs.summary(place, x, a.copies) for m, x in {**own, RIVAL: rival}.items()
            },
            "difference": runs.difference(place, own["neural, pauli"], rival),
            "coverage": {m: share_inside(x) for m, x in own.items()},
            "ms": {m: rounded(x.update_ms) for m, x in own.items()},
        }
    for name in a.filtered_lists if a.filtered else ():
        rho, place = lists[name][: a.filtered], PREFIX + name
        theirs = runs.outcome(place, rho, FILTER, a.filter_copies)
        ours = runs.outcome(place, rho, OURS["global"], a.copies)
        n, m = theirs.infidelity.shape
        blocks = len(schedule(a.filter_copies))
        found[name]["filter"] = {
            "states": n,
            "theirs": [rounded(x) for x in theirs.infidelity.mean(0)],
            "ours": [rounded(x) for x in ours.infidelity[:n, :m].mean(0)],
            "inside": [rounded(x) for x in (theirs.infidelity <= theirs.radius).mean(0)],
            "seconds": [rounded(1e-3 * blocks * x.update_ms) for x in (ours, theirs)],
        }
    return found


def infidelities(numbers: Numbers) -> str:
    """Mean infidelity of all methods on all lists."""
    rows = [
        [name, m, found["states"], *(interval(x) for x in found["mean"])]
        for name, part in numbers["lists"].items()
        for m, found in part["methods"].items()
    ]
    head = ["states", "method", "n", *(f"{k:,} copies" for k in numbers["copies"])]
    return (
        "Three qubits: mean infidelity on the first n states of each list, 95 % intervals from "
        "resampling states.\n\n" + table(head, rows)
    )


def coverage_table(numbers: Numbers) -> str:
    """Coverage of the regions; what is within the goal is bold."""
    rows = [
        [
            *(name, m),
            *(f"**{interval(x, '.0%')}**" if within(x) else interval(x, ".0%") for x in cells),
        ]
        for name, part in numbers["lists"].items()
        for m, cells in part["coverage"].items()
    ]
    head = ["states", "method", *(f"{k:,} copies" for k in numbers["copies"])]
    return (
        "Three qubits: share of the true states inside their 90 % region, "
        f"{numbers['states']} states a cell, 95 % intervals of Wilson; bold: within "
        f"{COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}.\n\n{table(head, rows)}"
    )


def within(x: Sequence[float]) -> bool:
    """Whether a share is within the goal."""
    return COVERAGE[0] <= x[0] <= COVERAGE[1]


def filter_table(numbers: Numbers) -> str:
    """Infidelity and time beside the particle filter's, on the same states."""
    copies = numbers["copies"]
    rows = []
    for name, part in filtered(numbers).items():
        for k, (ours, theirs) in enumerate(zip(part["ours"], part["theirs"], strict=True)):
            ratio = ours / theirs
            rows.append(
                [
                    *(name, part["states"], f"{copies[k]:,}", f"{ours:.3g}", f"{theirs:.3g}"),
                    f"**{ratio:.2f}**" if ratio <= RATIO else f"{ratio:.2f}",
                    f"{part['inside'][k]:.0%}",
                ]
            )
    head = ["states", "n", "copies", "ours", "filter", "ratio", "filter's 90 % region holds"]
    return (
        "Three qubits, adaptive global bases: mean infidelity of the learned estimator and of the "
        "particle filter of 300 with the rank-adaptive prior, each with its own measurements of "
        f"the same n states; bold: at most {RATIO} times the filter's.\n\n{table(head, rows)}"
    )


def filtered(numbers: Numbers) -> dict[str, Any]:
    """Lists that the filter followed."""
    return {n: part["filter"] for n, part in numbers["lists"].items() if "filter" in part}


def times(numbers: Numbers) -> str:
    """Sentence on the CPU time of an experiment, ours and the filter's."""
    found = [part["seconds"] for part in filtered(numbers).values()]
    ours, theirs = np.median(np.array(found), axis=0)
    share = ours / theirs
    verdict = "within" if share <= TIME else "above"
    return (
        f"An experiment of {numbers['filter_copies']:,} copies of three qubits takes the learned "
        f"estimator {ours:.2g} s of CPU time, the filter {theirs:.2g} s: a share of {share:.1%}, "
        f"{verdict} the goal of {TIME:.0%}."
    )


def verdict(numbers: Numbers) -> str:
    """Sentence on how many cells meet the goals."""
    cells = [
        x
        for part in numbers["lists"].values()
        for shares in part["coverage"].values()
        for x in shares
    ]
    ratios = [
        ours / theirs
        for part in filtered(numbers).values()
        for ours, theirs in zip(part["ours"], part["theirs"], strict=True)
    ]
    better = [x for part in numbers["lists"].values() for x in part["difference"]["mean"]]
    worst = min(x[0] for x in cells)
    return (
        f"Regions of 90 % hold the truth in 87 to 97 % of the states in "
        f"{sum(within(x) for x in cells)} of {len(cells)} cells, and surely in fewer than promised "
        f"in {sum(x[2] < 0.9 for x in cells)} (the worst cell: {worst:.0%}). The infidelity is at "
        f"most {RATIO} times the filter's in {sum(r <= RATIO for r in ratios)} of {len(ratios)} "
        f"cells. Of counts of the same Pauli settings the estimate is surely better than maximum "
        f"likelihood in {sum(x[2] < 0 for x in better)} and surely worse in "
        f"{sum(x[1] > 0 for x in better)} of {len(better)} cells."
    )


def ledger(numbers: Numbers) -> str:
    """What the ledger says of each list."""
    return "\n".join(
        f"- `{PREFIX}{name}`: {remark('tomography', PREFIX + name) or 'no ledger at hand'}."
        for name in numbers["lists"]
    )


def tables(numbers: Numbers) -> dict[str, str]:
    """Blocks of Markdown by name."""
    return {
        "infidelities": infidelities(numbers),
        "coverage": coverage_table(numbers),
        "filter": filter_table(numbers),
        "times": times(numbers),
        "verdict": verdict(numbers),
        "ledger": ledger(numbers),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write."""
    parser = command(__doc__, "weights", "json", "markdown", bootstrap=400)
    parser.add_argument("--states", type=int, default=60, help="of each list")
    parser.add_argument("--rivals", type=int, default=40, help="states of each list for rivals")
    parser.add_argument("--filtered", type=int, default=8, help="states of each list for filters")
    parser.add_argument("--filtered-lists", nargs="+", default=list(FILTERED), choices=LISTS)
    parser.add_argument("--copies", type=int, default=100_000, help="of an experiment")
    parser.add_argument("--filter-copies", type=int, default=10_000, help="of the filter's")
    parser.add_argument("--cache", type=Path, help="file for what is done")
    a = parse(parser, argv, quiet=True)
    weights = a.weights or shipped_weights("tomography", "three_qubits")
    runs = Runs(Rows(a.cache), weights, provenance.sha256(weights), SEED, a.bootstrap)
    numbers = {
        "copies": list(marks_of(a.copies)),
        "filter_copies": a.filter_copies,
        "states": a.states,
        "lists": measure(runs, a),
    }
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
