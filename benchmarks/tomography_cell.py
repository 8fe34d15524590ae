"""The claims of the paper on its particle cell, checked: tables and figures.

    python benchmarks/tomography_cell.py [--tables accuracy cost adaptivity] [--states 160]
        [--figures DIR] [--cache ROWS]

Judged is the cell of the shipped weights (``--weights`` names others) on the frozen lists of states
(see ``pipelines/tomography/SEALED.md``). Times are CPU seconds of one thread. Rows are kept in the
file that ``--cache`` names as they are done, and taken from there when they are asked for again.

accuracy
    Cell (with ``--untrained`` also as it is before training), particle filter of 300 and maximum
    likelihood, each on the same first states of a list.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.options import command, parse, write
from common.rows import Row, Rows
from common.tables import table

from physml.evaluation.figures import COLOURS, legend_below, new_figure
from physml.evaluation.sealed import remark
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

SCIENCES = ("tomography",)
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
            whose = f"{a.particles} | {version}" if name in METHODS[:2] else "-"
            key = f"accuracy | {place} | {name} | {a.states} | {a.copies} | {whose}"
            out[place][name] = rows.get(key, measure, make, rho, a.copies, number)
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


def numbers_of(row: Row) -> list[str]:
    """Mean and standard error at each number of copies."""
    return [f"{m:.2g} ± {e:.1g}" for m, e in zip(row["mean"], row["error"], strict=True)]


def caption(place: str, numbers: Mapping[str, Any]) -> str:
    """What a table of infidelities is of; numbers of an earlier day say so."""
    list_name = f"2 qubits, {place}"
    text = (
        f"**{LISTS[place]}**, first states of the list `{list_name}` "
        f"({remark('tomography', list_name)}): mean infidelity ± standard error of the mean "
        "(over states) after so many copies."
    )
    if kept := numbers.get("kept"):
        text += f" Not run again since {kept['date']} (commit `{kept['commit']}`, same weights)."
    return text


def accuracy_table(place: str, numbers: Mapping[str, Any]) -> str:
    """Cell, filter and maximum likelihood on one list."""
    methods = numbers["accuracy"][place]
    count = len(next(iter(methods.values()))["mean"])
    head = ["", *(f"{10 ** (2 + k):,}" for k in range(count)), "n"]
    rows = [[name, *numbers_of(row), row["states"]] for name, row in methods.items()]
    return f"{caption(place, numbers)}\n\n{table(head, rows)}"


def cost_table(numbers: Mapping[str, Any]) -> str:
    """CPU time of one experiment against copies."""
    found, rows = numbers["cost"], []
    for mark in map(str, COST):
        cells = [shown(found[name][mark]) for name in BLOCKINGS]
        rows.append([f"{int(mark):,}", *cells, f"{factor(numbers, mark):,.2g}"])
    kept = numbers.get("kept")
    when = f" Not run again since {kept['date']} (commit `{kept['commit']}`)." if kept else ""
    return (
        "One experiment alone on the first Hilbert-Schmidt state of the list, CPU time of one "
        "thread of a busy machine, one timing each, no interval (parentheses: not measured, in "
        f"proportion to the copies).{when}\n\n"
        + table(["copies", *BLOCKINGS.values(), "by copy / cell"], rows)
    )


def factor(numbers: Mapping[str, Any], mark: str, over: str = "particle cell") -> float:
    """Time of the filter that updates copy by copy, over another's."""
    found = numbers["cost"]
    return float(found["filter by copy"][mark]["seconds"] / found[over][mark]["seconds"])


def adaptivity_table(place: str, numbers: Mapping[str, Any]) -> str:
    """Fixed, random and adaptive turns of each measurement on one list."""
    head = ["measurement", "", "100", "1,000", "10,000", "fixed / this at 10,000"]
    rows = [
        [POVMS[povm], how, *numbers_of(row), f"{arms['fixed']['mean'][-1] / row['mean'][-1]:.1f}"]
        for povm, arms in numbers["adaptivity"][place].items()
        for how, row in arms.items()
    ]
    n = next(iter(next(iter(numbers["adaptivity"][place].values())).values()))["states"]
    return f"{caption(place, numbers)} n = {n}.\n\n{table(head, rows)}"


def against_filter(numbers: Mapping[str, Any]) -> str:
    """Ratios of the cell's mean infidelity to the filter's."""
    lines = []
    for place, methods in numbers["accuracy"].items():
        ours, theirs = (methods[name]["mean"] for name in (METHODS[0], METHODS[2]))
        ratios = ", ".join(
            f"{a / b:.2f} at {10 ** (2 + k):,}"
            for k, (a, b) in enumerate(zip(ours, theirs, strict=True))
        )
        lines.append(f"- {LISTS[place]}: {ratios} copies.")
    return "\n".join(lines)


def turning(numbers: Mapping[str, Any]) -> str:
    """What choosing the turn of a measurement is worth at the most copies."""
    parts = []
    for place, povms in numbers["adaptivity"].items():
        gains = [
            arms["fixed"]["mean"][-1] / arms["adaptive"]["mean"][-1]
            for povm, arms in povms.items()
            if povm != "bases"
        ]
        parts.append(f"{min(gains):.1f} to {max(gains):.1f} for {LISTS[place]} states")
    return (
        "Choosing how to turn SIC, MUB and pairwise measurements is worth, over the fixed ones at "
        f"10,000 copies, a factor of {' and of '.join(parts)}."
    )


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    found: dict[str, str] = {}
    if "accuracy" in numbers:
        for place in numbers["accuracy"]:
            found[f"accuracy_{place}"] = accuracy_table(place, numbers)
        found["against_filter"] = against_filter(numbers)
    if "cost" in numbers:
        most = str(COST[-1])
        growing = numbers["cost"]["filter"][most]["seconds"]
        found |= {
            "cost": cost_table(numbers),
            "factor_by_copy": f"{factor(numbers, most):.1e}",
            "factor_growing": f"{growing / numbers['cost']['particle cell'][most]['seconds']:.1f}",
        }
    if "adaptivity" in numbers:
        for place in numbers["adaptivity"]:
            found[f"adaptivity_{place}"] = adaptivity_table(place, numbers)
        arms = numbers["adaptivity"]["pure"]["bases"]
        worse = arms[ML]["mean"][-1] / arms["fixed"]["mean"][-1]
        found |= {"turning": turning(numbers), "likelihood_worse": f"{worse:.0f}"}
    return found


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
    parts = {"accuracy": accuracy, "cost": cost, "adaptivity": adaptivity}
    parser.add_argument("--tables", nargs="+", default=list(parts), choices=list(parts))
    parser.add_argument("--states", type=int, default=LIST_SIZE, help="of each list")
    parser.add_argument("--turned", type=int, default=80, help="states of the table of adaptivity")
    parser.add_argument("--particles", type=int, default=100, help="of the cell")
    parser.add_argument("--copies", type=int, default=100_000, help="a power of ten")
    parser.add_argument("--untrained", action="store_true", help="the cell before training, too")
    parser.add_argument("--cache", type=Path, help="file for what is done")
    a = parse(parser)
    cells, card = load_cells(a.weights), read_metadata(a.weights or shipped_weights("tomography"))
    rows = Rows(a.cache)
    with torch.no_grad():
        result = {name: parts[name](rows, cells[4], card["version"], a) for name in a.tables}
    drawn = figures(result) if a.figures else None
    write(a, result, figures=drawn, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
