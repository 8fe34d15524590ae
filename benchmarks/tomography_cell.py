"""The claims of the paper on its particle cell, checked: tables and figures.

    python benchmarks/tomography_cell.py [--tables accuracy cost adaptivity] [--states 160]
        [--markdown FILE] [--figures DIR] [--json ROWS] [--rivals ROWS]

Judged is the cell of the shipped weights (``--weights`` names others) on the frozen lists of states
that nothing was tuned on. Times are CPU seconds of one thread. Rows are kept in the file that
``--json`` names as they are done, and taken from there when they are asked for again.

accuracy
    Cell (with ``--untrained`` also as it is before training), particle filter of 300 and maximum
    likelihood. Of the latter two, rows of 160 states are taken from the file that ``--rivals``
    names where it has them: what `tomography_vs_rivals.py` keeps in its ``--json``.
cost
    CPU time of one experiment alone against copies. The paper compares with a filter that updates
    copy by copy; with blocks that grow by 10 % the filter needs a number of updates in log(copies)
    as well. Both are shown. Copy by copy is measured for a while; from there its cost is taken as
    proportional to the copies, which is less than it would be: its data grow too.
adaptivity
    The same cell with each measurement fixed, turned at random for each block, and turned as the
    cell chooses. `bases`: fixed are the nine Pauli bases in turn. Beside the fixed rows stands
    maximum likelihood on the same measurement: where the cell is worse than that, it has not found
    the best particles, and the gap to the adaptive row is not the value of adaptivity alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.options import command, parse, write
from common.rows import Row, Rows
from common.tables import table

from physml.evaluation.figures import COLOURS, legend_below, new_figure
from physml.io.atomic import read_json
from physml.io.weights import read_metadata
from physml.models import shipped_weights
from physml.random import stream
from physml.tomography.core.estimator import Estimator
from physml.tomography.core.schedule import schedule
from physml.tomography.evaluation.sets import LIST_SIZE, evaluation_list
from physml.tomography.inference.cell.cell import Cell
from physml.tomography.inference.cell.estimator import (
    CellEstimator,
    arm,
    load_cells,
    whole_measurement,
)
from physml.tomography.inference.classical.likelihood import MaximumLikelihood
from physml.tomography.inference.classical.particle_filter import ParticleFilter
from physml.tomography.learning.cell_training import make_cell
from physml.tomography.settings import CellSettings
from physml.tomography.simulator.experiment import experiment

SEED = 20_210_607
LISTS = {"hs": "Hilbert-Schmidt", "pure": "pure", "pure_white_5": "pure + 5 % white noise"}
METHODS = (
    *("particle cell", "particle cell before training"),
    *("particle filter, global", "maximum likelihood, pauli"),
)
POVMS = {"bases": "bases", "sic": "SIC", "mub": "MUB", "pairwise": "pairwise"}
HOW = ("fixed", "random", "adaptive")
ML = "fixed, maximum likelihood"
#: Copies to which cost is measured, and those up to which the filter is followed copy by copy.
COST, COPY_BY_COPY = tuple(10**k for k in range(2, 8)), (100, 1_000)
BLOCKINGS = {
    "particle cell": "particle cell, growing blocks",
    "filter": "particle filter of 300, growing blocks",
    "filter by copy": "particle filter of 300, copy by copy",
}
#: States that are worked on together.
BATCH = 80


def measure(
    make: Callable[[], tuple[Estimator, Any]], rho: torch.Tensor, copies: int, number: int
) -> Row:
    """Mean and standard error at the powers of ten, and CPU seconds of an experiment in a batch."""
    estimator, design = make()
    found, seconds = [], 0.0
    for k, part in enumerate(rho.split(BATCH)):
        rng = stream(SEED, "test", 1_000 * number + k)
        result = experiment(estimator, part, design, schedule(copies), rng)
        found.append(torch.as_tensor(result.infidelity))
        seconds += float(result.update_seconds.sum())
    values = torch.cat(found)
    error = values.std(0) / len(values) ** 0.5
    return {
        "mean": values.mean(0).tolist(),
        "error": error.tolist(),
        "seconds": seconds / len(values),
        "states": len(values),
    }


def rival(path: Path | None, place: str, name: str, copies: int) -> Row | None:
    """Row of another benchmark's file; its 95 % interval as a standard error."""
    if path is None:
        return None
    start = f"2 qubits, {place} | {name} | {LIST_SIZE} | {copies} |"
    for key, found in read_json(path)["rows"].items():
        if key.startswith(start):
            mean = found["mean"]
            return {
                "mean": [m["value"] for m in mean],
                "error": [(m["high"] - m["low"]) / 3.92 for m in mean],
                "seconds": None,
                "states": LIST_SIZE,
            }
    return None


def accuracy(rows: Rows, cell: Cell, version: str, a: argparse.Namespace) -> dict[str, Any]:
    """Cell, filter and maximum likelihood: list -> method -> row."""
    plain = make_cell(CellSettings(), SEED, 4).eval().requires_grad_(False)
    makers: dict[str, Callable[[], tuple[Estimator, str]]] = {
        METHODS[0]: lambda: (CellEstimator(cell, a.particles), "global"),
        METHODS[1]: lambda: (CellEstimator(plain, a.particles), "global"),
        METHODS[2]: lambda: (ParticleFilter(), "global"),
        METHODS[3]: lambda: (MaximumLikelihood(), "pauli"),
    }
    out: dict[str, Any] = {}
    if not a.untrained:
        del makers[METHODS[1]]
    for number, place in enumerate(LISTS):
        rho = evaluation_list(place, 2, a.states)
        out[place] = {}
        for name, make in makers.items():
            found = rival(a.rivals, place, name, a.copies) if name in METHODS[2:] else None
            whose = f"{a.particles} | {version}" if name in METHODS[:2] else "-"
            key = f"accuracy | {place} | {name} | {a.states} | {a.copies} | {whose}"
            out[place][name] = found or rows.get(key, measure, make, rho, a.copies, number)
    return out


def cost(rows: Rows, cell: Cell, version: str, a: argparse.Namespace) -> dict[str, Any]:
    """CPU time of one experiment by itself: method -> copies -> seconds, updates, measured."""
    rho = evaluation_list("hs", 2, 1)

    def timed(estimator: Estimator, blocks: Sequence[int]) -> Row:
        rng = stream(SEED, "test", 10)
        result = experiment(estimator, rho, "global", blocks, rng, marks=[sum(blocks)])
        seconds = float(result.update_seconds.sum() + result.estimate_seconds.sum())
        return {"seconds": seconds, "updates": len(blocks), "measured": True}

    out: dict[str, Any] = {name: {} for name in BLOCKINGS}
    # What is done first pays for what is loaded and cached once.
    timed(CellEstimator(cell, a.particles), [50])
    for mark in COST:
        for name in BLOCKINGS:
            if name == "filter by copy" and mark not in COPY_BY_COPY:
                last = out[name][COPY_BY_COPY[-1]]["seconds"] * mark / COPY_BY_COPY[-1]
                out[name][mark] = {"seconds": last, "updates": mark, "measured": False}
                continue
            ours = name == "particle cell"
            estimator = CellEstimator(cell, a.particles) if ours else ParticleFilter()
            blocks = [1] * mark if name == "filter by copy" else schedule(mark)
            key = f"cost | {name} | {mark}" + (f" | {a.particles} | {version}" if ours else "")
            out[name][mark] = rows.get(key, timed, estimator, blocks)
    return out


def adaptivity(rows: Rows, cell: Cell, version: str, a: argparse.Namespace) -> dict[str, Any]:
    """List -> measurement -> how -> row."""
    out: dict[str, Any] = {}
    for number, place in enumerate(("pure", "hs")):
        rho = evaluation_list(place, 2, a.turned)
        out[place] = {povm: {} for povm in POVMS}
        for povm in POVMS:
            for how in (ML, *HOW):
                whose = "-" if how == ML else f"{a.particles} | {version}"
                key = f"adaptivity | {place} | {povm} | {how} | {a.turned} | {whose}"

                def make(how: str = how, povm: str = povm) -> tuple[Estimator, Any]:
                    if how != ML:
                        return arm(cell, a.particles, povm, how, 2)
                    design = "pauli" if povm == "bases" else whole_measurement(povm, 2)
                    return MaximumLikelihood(), design

                row = rows.get(key, measure, make, rho, 10_000, 20 + number)
                out[place][povm][how] = row
    return out


TITLE = "mean infidelity ± standard error at so many copies"


def numbers(row: Row) -> list[str]:
    """Mean and standard error at each number of copies."""
    return [f"{m:.2g} ± {e:.1g}" for m, e in zip(row["mean"], row["error"], strict=True)]


def markdown(result: dict[str, Any]) -> str:
    """All tables that were made."""
    parts: list[str] = []
    for place, methods in result.get("accuracy", {}).items():
        count = len(next(iter(methods.values()))["mean"])
        head = ["", *(f"{10 ** (2 + k):,}" for k in range(count)), "states"]
        rows = [[name, *numbers(row), row["states"]] for name, row in methods.items()]
        parts += [f"**{LISTS[place]}**, {TITLE}", table(head, rows)]
    if "cost" in result:
        found, rows = result["cost"], []
        for mark in COST:
            by_copy, ours = (found[k][mark]["seconds"] for k in ("filter by copy", "particle cell"))
            cells = [shown(found[name][mark]) for name in BLOCKINGS]
            rows.append([f"{mark:,}", *cells, f"{by_copy / ours:,.2g}"])
        parts.append(table(["copies", *BLOCKINGS.values(), "by copy / cell"], rows))
    for place, povms in result.get("adaptivity", {}).items():
        head = ["measurement", "", "100", "1,000", "10,000", "fixed / this at 10,000"]
        rows = [
            [POVMS[povm], how, *numbers(row), f"{arms['fixed']['mean'][-1] / row['mean'][-1]:.1f}"]
            for povm, arms in povms.items()
            for how, row in arms.items()
        ]
        parts += [f"**{LISTS[place]}**, {TITLE}", table(head, rows)]
    return "\n\n".join(parts) + "\n"


def shown(row: Row) -> str:
    """Seconds and updates; those that were not measured in parentheses."""
    text = f"{row['seconds']:,.2g} s, {row['updates']:,} updates"
    return text if row["measured"] else f"({text})"


def draw_accuracy(axes: Sequence[Any], result: dict[str, Any]) -> None:
    """Infidelity against copies, one panel a list."""
    looks = (("blue", "o", "-"), ("sky", "s", "--"), ("vermilion", "^", "-"), ("black", "*", ":"))
    styles = dict(zip(METHODS, looks, strict=True))
    for ax, (place, methods) in zip(axes, result.items(), strict=True):
        n = 10.0 ** (2 + np.arange(len(next(iter(methods.values()))["mean"])))
        for name, row in methods.items():
            colour, marker, line = styles[name]
            style = {"color": COLOURS[colour], "marker": marker, "ls": line, "capsize": 2}
            ax.errorbar(n, row["mean"], 1.96 * np.asarray(row["error"]), label=name, **style)
        for value, text, line in ((18.75, "full rank", "-"), (3.0, "known to be pure", "--")):
            label = f"Gill-Massar limit, {text}"
            ax.plot(n, value / n, color="0.6", lw=1, ls=line, zorder=0, label=label)
        ax.set(xscale="log", yscale="log", xlabel="copies", title=LISTS[place])
    axes[0].set_ylabel("mean infidelity")


def draw_cost(ax: Any, result: dict[str, Any]) -> None:
    """CPU time against copies; dashed where it was not measured."""
    styles = (("blue", "o"), ("vermilion", "^"), ("orange", "v"))
    for (name, text), (colour, marker) in zip(BLOCKINGS.items(), styles, strict=True):
        seconds = {mark: result[name][mark]["seconds"] for mark in COST}
        known = [mark for mark in COST if result[name][mark]["measured"]]
        rest = [mark for mark in COST if mark >= known[-1]]
        style = {"color": COLOURS[colour]}
        ax.plot(known, [seconds[m] for m in known], marker=marker, label=text, **style)
        if len(rest) > 1:
            label = "the same, in proportion to the copies"
            ax.plot(rest, [seconds[m] for m in rest], ls="--", label=label, **style)
    ax.set(xscale="log", yscale="log", xlabel="copies", ylabel="CPU time of one experiment [s]")
    ax.legend(fontsize=9)


def draw_adaptivity(axes: Sequence[Any], result: dict[str, Any]) -> None:
    """Infidelity at 10,000 copies by measurement, one panel a list."""
    styles = (("black", "*"), ("orange", "v"), ("green", "s"), ("blue", "o"))
    for ax, (place, povms) in zip(axes, result.items(), strict=True):
        for k, (how, (colour, marker)) in enumerate(zip((ML, *HOW), styles, strict=True)):
            rows = [arms[how] for arms in povms.values()]
            mean = [row["mean"][-1] for row in rows]
            error = [1.96 * row["error"][-1] for row in rows]
            style = {"color": COLOURS[colour], "marker": marker, "ls": "none", "capsize": 2}
            label = how if how == ML else f"{how}, cell"
            ax.errorbar(np.arange(len(povms)) + 0.15 * (k - 1.5), mean, error, label=label, **style)
        ax.set_xticks(range(len(povms)), list(POVMS.values()))
        ax.set(yscale="log", xlabel="measurement", title=LISTS[place])
    axes[0].set_ylabel("mean infidelity at 10,000 copies")


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """Figures of what was made, by name."""
    made = {}
    for name, found in result.items():
        if name == "cost":
            figure, axes = new_figure(1, 1, size=(6.5, 4.4))
            draw_cost(axes[0, 0], found)
        else:
            figure, axes = new_figure(1, len(found), size=(4.4, 4.2))
            {"accuracy": draw_accuracy, "adaptivity": draw_adaptivity}[name](axes[0], found)
            legend_below(figure, columns=3)
        made[f"tomography-cell-{name}"] = figure
    return made


def main() -> None:
    """Run and write."""
    parser = command(__doc__, "weights", "json", "markdown", "figures")
    tables = {"accuracy": accuracy, "cost": cost, "adaptivity": adaptivity}
    parser.add_argument("--tables", nargs="+", default=list(tables), choices=list(tables))
    parser.add_argument("--states", type=int, default=LIST_SIZE, help="of each list")
    parser.add_argument("--turned", type=int, default=80, help="states of the table of adaptivity")
    parser.add_argument("--particles", type=int, default=100, help="of the cell")
    parser.add_argument("--copies", type=int, default=100_000, help="a power of ten")
    parser.add_argument("--untrained", action="store_true", help="the cell before training, too")
    parser.add_argument("--rivals", type=Path, help="file of tomography_vs_rivals.py")
    a = parse(parser)
    cells, card = load_cells(a.weights), read_metadata(a.weights or shipped_weights("tomography"))
    rows = Rows(a.json)
    with torch.no_grad():
        result = {name: tables[name](rows, cells[4], card["version"], a) for name in a.tables}
    write(a, text=markdown(result), figures=figures(result) if a.figures else None)


if __name__ == "__main__":
    main()
