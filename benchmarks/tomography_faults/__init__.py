"""The test of the fit in a loop: which faults of a laboratory it finds, and its false alarms.

    python benchmarks/tomography_faults --cache runs.jsonl [--states 200]

Each loop takes 1,000 copies of a random state of two qubits with the shipped estimator, as `physml
tomography run` does. After each block the fit is tested, and once more at the end. The laboratory
applies each rotation the wrong way round, exchanges the axes X and Y of qubit 0, measures the
setting before, or gives the bits of the outcomes in the reverse order. Beside it two ideal
observers who know which fault it may be: one also knows the state, the other does not
(`tomography_faults.limits`); they look once, at the end, with 1 % of false alarms. Runs that were
done are kept in ``--cache``: the command can be stopped and carried on.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import table

from physml.evaluation.bootstrap import LEVEL
from physml.evaluation.calibration import wilson
from physml.models import shipped_weights
from physml.provenance import sha256
from physml.random import stream
from physml.tomography.inference.goodness import GoodnessOfFit
from physml.tomography.inference.tomographer import Tomographer

from .laboratory import Replayed, Run, loops
from .limits import found_by_observers

SCIENCES = ("tomography",)
SEED = 41_007_223
COPIES = 1000
#: States of a cell that are measured together.
PART = 50
DESIGNS = ("global", "product", "pauli")
FAMILIES = {"pure": "pure", "bell": "Bell + 5 %", "rank_2": "rank 2", "hs": "Hilbert-Schmidt"}
#: Fault -> part of the words by which it is named. Entangled bases have no axes to exchange.
FAULTS = {
    "none": "",
    "inverted": "each rotation was applied as U",
    "stale": "the setting before",
    "swapped axes": "the axes X and Y of qubit 0",
    "swapped bits": "reverse order",
}
#: Shares that are bold in the table, and that are asked for.
GOAL, ALARMS = 0.99, 0.01


def cells() -> Iterator[tuple[str, str, str]]:
    """Fault, measurements, family."""
    for fault in FAULTS:
        for design in DESIGNS:
            if fault != "swapped axes" or design != "global":
                yield from ((fault, design, family) for family in FAMILIES)


def judged(run: Run, design: str, fault: str, k: int) -> dict[str, Any]:
    """How one loop ends: at which copies it is ended, if at all, and what it says."""
    made = Tomographer(2, design, Replayed(run.estimates), seed=k)
    found: GoodnessOfFit | None = None
    for setting, counts in zip(run.settings, run.counts, strict=True):
        made.update(setting, counts)
        found = made.check_fit()
        if found is not None:
            break
    if found is None:
        found = made.final_fit()
    out: dict[str, Any] = {"copies": made.copies, "found": found is not None}
    if found is not None:
        words = " ".join(found.warnings)
        hint = "more probable if" in words
        out |= {"hint": hint, "named": hint and FAULTS[fault] in words, "drift": "drifted" in words}
    if fault != "none":
        observers = found_by_observers(run, stream(SEED, "bootstrap", k))
        out |= dict(zip(("knows", "limit"), observers, strict=True))
    return out


def measure(cell: tuple[str, str, str], part: int, weights: Path | None) -> list[dict[str, Any]]:
    """Loops of one part of a cell."""
    fault, design, family = cell
    place = 1000 * [*cells()].index(cell) + part
    done = loops(family, design, fault, PART, COPIES, SEED + place, weights)
    return [judged(run, design, fault, PART * place + k) for k, run in enumerate(done)]


def kept(path: Path | None, sha: str) -> dict[str, list[dict[str, Any]]]:
    """Parts that were measured before with these weights."""
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {x["part"]: x["runs"] for x in lines if x["weights"] == sha}


def summary(cell: tuple[str, str, str], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of one cell, each with Wilson's interval."""
    out: dict[str, Any] = dict(zip(("fault", "design", "family"), cell, strict=True))
    out["n"] = len(runs)

    def share(name: str, of: list[dict[str, Any]]) -> list[float]:
        k, n = sum(bool(x.get(name)) for x in of), len(of)
        low, high = wilson(np.array([k]), np.array([n]), LEVEL)[0]
        return [round(float(x), 4) for x in (k / n, low, high)]

    out["found"] = share("found", runs)
    found = [x for x in runs if x["found"]]
    if cell[0] == "none":
        return out
    for name in ("knows", "limit"):
        out[name] = share(name, runs)
    if able := [x for x in runs if x["limit"]]:
        out["found of those"] = [*share("found", able), len(able)]
    if found:
        wrong = sum((x["hint"] and not x["named"]) or x["drift"] for x in found)
        out["wrong"] = round(wrong / len(found), 4)
        out["copies"] = float(np.median([x["copies"] for x in found]))
    return out


def percent(x: list[float] | None, goal: float | None = None) -> str:
    """Share with its interval; bold from the goal on."""
    if x is None:
        return "-"
    text = f"{x[0]:.1%} ({x[1]:.0%} to {x[2]:.0%})"
    return f"**{text}**" if goal is not None and x[0] >= goal else text


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    good = [x for x in numbers["rows"] if x["fault"] == "none"]
    bad = [x for x in numbers["rows"] if x["fault"] != "none"]
    n = min(x["n"] for x in numbers["rows"])
    alarms = sum(round(x["found"][0] * x["n"]) for x in good)
    loops_of_good = sum(x["n"] for x in good)
    low, high = wilson(np.array([alarms]), np.array([loops_of_good]), LEVEL)[0]
    head = ["fault", "measurements", "states", "found", "who knows the state"]
    head += ["who does not", "found of what that one finds", "named wrongly", "median copies"]
    rows = [
        [
            *(x["fault"], x["design"], FAMILIES[x["family"]], percent(x["found"], GOAL)),
            *(percent(x["knows"]), percent(x["limit"]), percent(x.get("found of those"), GOAL)),
            *(
                f"{x['wrong']:.0%}" if "wrong" in x else "-",
                f"{x['copies']:,.0f}" if "copies" in x else "-",
            ),
        ]
        for x in bad
    ]
    return {
        "found": f"Share of {n} loops of {numbers['copies']:,} copies in which a fault is found, "
        "with the 95 % interval of Wilson, beside what ideal observers find that know which fault "
        "to look for and allow themselves 1 % of false alarms: one knows the state, the other has "
        "to allow for any (no test for all states finds more); share of those found that are "
        f"called drift or another fault; bold: at least {GOAL:.0%}.\n\n{table(head, rows)}",
        "alarms": f"False alarms of good laboratories: {alarms} of {loops_of_good:,} loops, "
        f"{alarms / loops_of_good:.2%} ({low:.2%} to {high:.2%}).\n\n"
        + table(
            ["measurements", *FAMILIES.values()],
            [[d, *(percent(x["found"]) for x in good if x["design"] == d)] for d in DESIGNS],
        ),
    }


def main() -> None:
    """Run and print."""
    parser = command(__doc__, "weights", "json", "markdown")
    parser.add_argument("--states", type=int, default=200, help=f"of each cell, by {PART}")
    parser.add_argument("--cache", type=Path, help="file for the loops that are done")
    a: argparse.Namespace = parse(parser, quiet=True)
    logging.getLogger("physml").setLevel(logging.ERROR)
    sha = sha256(a.weights or shipped_weights("tomography"))
    done = kept(a.cache, sha)
    runs: dict[tuple[str, str, str], list[dict[str, Any]]] = {cell: [] for cell in cells()}
    for part in range(max(1, a.states // PART)):
        for cell in cells():
            name = f"{' | '.join(cell)} | {part}"
            if name not in done:
                done[name] = measure(cell, part, a.weights)
                if a.cache is not None:
                    line = {"part": name, "weights": sha, "runs": done[name]}
                    with a.cache.open("a") as file:
                        file.write(json.dumps(line) + "\n")
            runs[cell] += done[name]
    numbers = {"rows": [summary(*x) for x in runs.items()], "copies": COPIES}
    write(a, numbers, tables=tables, sciences=SCIENCES)
