"""The learned tomographer beside all rivals on identical lists: the goals table of its README.

    python benchmarks/tomography_vs_rivals.py [--states 160] [--threads 1] [--adaptivity]
                                              [--coverage-states 1000]

Judged are the shipped weights (``--weights`` names others) on the frozen lists of states that
nothing was tuned on: every method measures the same states with the same schedule of copies. For
each number of copies stand the mean infidelity with its 95 % interval, the median and the 95th
percentile.

How many regions hold the truth is counted on longer lists of the same ensembles, which are frozen
as well, for the learned estimator only: with 160 states a share of 90 % is not known well enough.
It takes about three minutes of one core for 1,000 states.

The particle filters need most of an hour of one core for all lists. Rows are kept in the file that
``--json`` names as they are done, and taken from there when they are asked for again with the same
weights, states and copies; so a run can be stopped and carried on. To see something soon:

    python benchmarks/tomography_vs_rivals.py --states 20 --copies 1000 --qubits 2
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import tables
from common.options import command, parse, write
from common.rows import Row, Rows
from common.tables import goals, table

from physml import provenance
from physml.models import shipped_weights
from physml.tomography.core.schedule import marks_of
from physml.tomography.evaluation import compare
from physml.tomography.evaluation.latency import STEPS, latency
from physml.tomography.evaluation.plots import figures
from physml.tomography.evaluation.sets import coverage_list
from physml.tomography.settings import COMPARED, NEURAL, RIVALS, EvaluateSettings

SEED = 20_210_607  # of the experiments and of the bootstrap
COPIES = (100, 1_000, 10_000, 100_000)
#: List, method -> largest mean infidelity wanted at each of COPIES.
GOALS: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("2 qubits, hs", "neural, global"): (0.095, 0.0185, 0.0022, 2.1e-4),
    ("2 qubits, pure", "neural, global"): (0.055, 0.0055, 4.5e-4, 3.8e-5),
    ("2 qubits, hs", "neural, product"): (0.120, 0.0230, 0.0040, 5.0e-4),
    ("2 qubits, pure_white_5", "neural, global"): (0.036, 0.0080, 0.0020, 2.1e-4),
    ("2 qubits, pure_white_5", "neural, product"): (0.030, 0.0066, 0.0030, 7e-4),
}
#: One qubit, list -> largest copies x mean infidelity from 1e4 copies on.
SCALED = {"r_0.5": 2.6, "r_0.9": 2.6, "r_0.99": 3.0, "r_1": 3.0}
SCALED_FROM = 10_000
SLOPE, SLOPE_STATIC, SLOPE_WITHIN = -1.0, -0.5, 0.05
COVERAGE = (0.87, 0.93)
#: Rows whose regions are counted on the longer lists, and their batches.
COVERED = ("neural, global", "neural, product", "neural, pauli")
COVERAGE_BATCH = 250
UPDATE_MS, BATCH_US, RATIO = 1.0, 25.0, 40.0
Goal = tuple[str, str, str, bool | None]


@dataclass(frozen=True)
class Comparison:
    """What is compared, and the rows that are known.

    Attributes
    ----------
    rows : Rows
    settings : EvaluateSettings
    weights : Path
    sha : str
        Of the weights.
    threads : int
        Worker processes.
    """

    rows: Rows
    settings: EvaluateSettings
    weights: Path
    sha: str
    threads: int

    def row(self, place: str, rho: Any, name: str, **changed: Any) -> Row:
        """Numbers of one method on one list; those of before where there are any."""
        settings = self.settings.model_copy(update={"methods": (name,), **changed})
        model = self.sha if name in NEURAL else "none"
        key = f"{place} | {name} | {len(rho)} | {settings.copies} | {settings.bootstrap} | {model}"
        return self.rows.get(key, self._run, place, rho, name, settings)

    def _run(self, place: str, rho: Any, name: str, settings: EvaluateSettings) -> Row:
        work = {"threads": self.threads, "mem_mb": 1000 * self.threads}
        found = compare.compare({place: rho}, settings, SEED, weights=self.weights, **work)
        if provenance.sha256(self.weights) != self.sha:
            raise RuntimeError(f"{self.weights} changed during the comparison; run again")
        row: Row = found[place]["methods"][name]
        return row

    def coverage(self, n_states: int, qubits: Sequence[int]) -> dict[str, Any]:
        """Rows of the learned estimator on the longer lists, by list."""
        out: dict[str, Any] = {}
        for place, rho in compare.frozen_lists(n_states, qubits, coverage_list).items():
            rows = {}
            for name in COVERED:
                row = self.row(f"coverage of {place}", rho, name, batch=COVERAGE_BATCH)
                rows[name] = {"coverage": row["coverage"]}
            out[place] = {"states": len(rho), "methods": rows}
        return out


def interval(x: Mapping[str, Any] | None, spec: str = ".2g") -> str:
    """Value with its interval."""
    return tables.interval(x, spec, " to ")


def counted(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lists that coverage is counted on: the longer ones, if they were run."""
    found: Mapping[str, Any] = result.get("coverage") or result["lists"]
    return found


def infidelity_goals(result: Mapping[str, Any]) -> list[Goal]:
    """Mean infidelities of the goals, and one qubit's."""
    rows: list[Goal] = []
    copies = result["copies"]
    for (place, name), wanted in GOALS.items():
        found = result["lists"].get(place, {}).get("methods", {}).get(name)
        for n, goal in zip(COPIES, wanted, strict=True):
            if found is None or n not in copies:
                continue
            x, what = found["mean"][copies.index(n)], f"{place}, {name}, {n:,} copies"
            met = x["value"] <= goal
            rows.append((f"mean infidelity, {what}", f"<= {goal:.3g}", interval(x, ".3g"), met))
    for name, goal in SCALED.items():
        part = result["lists"].get(f"1 qubit, {name}")
        found = part and part["methods"].get("neural, global")
        for k, n in enumerate(copies):
            if not found or n < SCALED_FROM:
                continue
            x, what = tables.scaled(found["mean"][k], n), f"1 qubit, {name}, {n:,} copies"
            met = x["value"] <= goal
            shown = interval(x, ".3g")
            rows.append((f"copies x mean infidelity, {what}", f"<= {goal:g}", shown, met))
    return rows


def other_goals(result: Mapping[str, Any]) -> list[Goal]:
    """Slope, coverage and time."""
    rows: list[Goal] = []
    pure = result["lists"].get("2 qubits, pure", {}).get("methods", {})
    for name, goal in (("neural, global", SLOPE), ("neural, pauli", SLOPE_STATIC)):
        if found := pure.get(name, {}).get("slope"):
            what, shown = f"slope from 1e3 copies on, pure, {name}", interval(found, ".3f")
            near = abs(found["value"] - goal) <= SLOPE_WITHIN
            if goal == SLOPE:
                rows.append((what, f"{goal:g} +- {SLOPE_WITHIN:g}", shown, near))
            else:
                rows.append((what, f"{goal:g} (control)", shown, None))
    for name in COVERED:
        cells = [
            (x, f"{place}, {n:,} copies", part["states"])
            for place, part in counted(result).items()
            for n, x in zip(
                result["copies"], part["methods"].get(name, {}).get("coverage") or [], strict=False
            )
        ]
        if not cells:
            continue
        within = [COVERAGE[0] <= x["value"] <= COVERAGE[1] for x, _, _ in cells]
        # What so many states tell: an interval wholly outside is a failure of its own.
        surely = [x["high"] < COVERAGE[0] or x["low"] > COVERAGE[1] for x, _, _ in cells]
        low, high = (best(cells, key=lambda c: c[0]["value"]) for best in (min, max))
        together = sum(x["value"] * s for x, _, s in cells) / sum(s for _, _, s in cells)
        text = (
            f"{sum(within)} of {len(cells)}; {sum(surely)} surely outside; together "
            f"{together:.1%}; lowest {interval(low[0], '.1%')} ({low[1]}), highest "
            f"{interval(high[0], '.1%')} ({high[1]})"
        )
        what = f"coverage of {result['level']:.0%} regions, {name}, all lists and copies"
        rows.append((what, f"{COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}", text, all(within)))
    t = result["latency"]
    one, many = ({k: t[w][k]["median"] for k in STEPS} for w in ("neural", "neural_batch"))
    many = {k: 1e3 * v for k, v in many.items()}
    both, each = (x["update"] + x["estimate"] for x in (one, many))
    return [
        *rows,
        (
            f"an update, one experiment, one thread, {t['n_qubits']} qubits",
            f"<= {UPDATE_MS:g} ms",
            f"{one['update']:.2f} ms; with an estimate {both:.2f}; the choice of a basis "
            f"{one['choose']:.2f} ms",
            both <= UPDATE_MS,
        ),
        (
            f"an update in a batch of {t['batch']}, each",
            f"<= {BATCH_US:g} us",
            f"{many['update']:.0f} us; with an estimate {each:.0f}; the choice of a basis "
            f"{many['choose']:.0f} us",
            many["update"] <= BATCH_US,
        ),
        (
            "particle filter of 300 over it, one experiment",
            f">= {RATIO:g}",
            f"{t['ratio']:.0f}; {t['ratio_batch']:.0f} against a batch of ours",
            t["ratio"] >= RATIO,
        ),
    ]


def cell(row: Mapping[str, Any], k: int) -> str:
    """Mean with interval, median and 95th percentile at one mark."""
    return (
        f"{interval(row['mean'][k])}; {row['median'][k]['value']:.2g}, "
        f"{row['percentile_95'][k]['value']:.2g}"
    )


def rival_tables(result: Mapping[str, Any]) -> str:
    """All methods, one table a list; the best mean of each column is bold."""
    copies, parts = result["copies"], []
    for place, part in result["lists"].items():
        methods = {m: v for m, v in part["methods"].items() if m in COMPARED}
        rows = []
        for name, found in methods.items():
            cells = []
            for k in range(len(copies)):
                best = min(v["mean"][k]["value"] for v in methods.values())
                text = cell(found, k)
                cells.append(f"**{text}**" if found["mean"][k]["value"] == best else text)
            rows.append([name, *cells, interval(found["slope"], ".2f")])
        head = ["method", *(f"{n:,} copies" for n in copies), "slope"]
        parts.append(f"### {place}, {part['states']} states\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def coverage_table(result: Mapping[str, Any]) -> str:
    """Coverage on the longer lists; what is within the goal is bold."""
    rows = [
        [
            place,
            name,
            *(
                f"**{interval(x, '.1%')}**"
                if COVERAGE[0] <= x["value"] <= COVERAGE[1]
                else interval(x, ".1%")
                for x in found["coverage"]
            ),
        ]
        for place, part in counted(result).items()
        for name, found in part["methods"].items()
        if found["coverage"]
    ]
    return table(["list", "method", *(f"{n:,}" for n in result["copies"])], rows)


def adaptivity_table(result: Mapping[str, Any]) -> str:
    """The same estimator with other measurements: what adapting them is worth."""
    rows = [
        [place, name.removeprefix("neural, "), *(interval(x) for x in found["mean"])]
        for place, part in result["lists"].items()
        for name, found in part["methods"].items()
        if name in NEURAL
    ]
    return table(["list", "measurements", *(f"{n:,} copies" for n in result["copies"])], rows)


def time_table(result: Mapping[str, Any]) -> str:
    """Steps of one experiment, ms; and a state of a batch of each method."""
    t = result["latency"]
    names = {
        "neural": "neural, one experiment",
        "neural_batch": f"neural, each of {t['batch']} together",
        "particle_filter": "particle filter of 300, growing blocks",
        "particle_filter_by_copy": "particle filter of 300, copy by copy",
    }
    rows = [
        [
            text,
            *(f"{t[key][step]['median']:.3f}" for step in ("choose", "update", "estimate")),
            str(t[key]["updates"]),
            f"{t[key]['seconds']:.3f}",
        ]
        for key, text in names.items()
        if key in t
    ]
    head = ["", "choice [ms]", "update [ms]", "estimate [ms]", "updates", "all of them [s]"]
    return table(head, rows)


def report(result: Mapping[str, Any]) -> str:
    """Everything as markdown."""
    parts = [
        "## Tomography: goals and rivals on identical lists",
        f"Weights `{result['weights_sha256'][:12]}`, frozen lists. In the tables of infidelities: "
        "mean (95 % interval from resampling states); median, 95th percentile.",
        goals(infidelity_goals(result) + other_goals(result)),
        rival_tables(result),
        f"### Truth inside the {result['level']:.0%} region\n\n"
        + ", ".join(f"{v['states']:,}" for v in list(counted(result).values())[:1])
        + " states a list, 95 % intervals of Wilson; bold: within "
        + f"{COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}.\n\n"
        + coverage_table(result),
        "### What the measurements are worth: one estimator, mean infidelity\n\n"
        + adaptivity_table(result),
        "### CPU time, one thread\n\n" + time_table(result),
    ]
    return "\n\n".join(parts) + "\n"


def arguments_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    stem = Path("results/bench/tomography_vs_rivals")
    files = {"json": stem.with_suffix(".json"), "markdown": stem.with_suffix(".md")}
    parser = command(__doc__, "weights", "figures", bootstrap=400, **files)
    parser.add_argument("--states", type=int, default=160, help="of each list")
    parser.add_argument(
        "--coverage-states",
        type=int,
        default=1_000,
        help="of each list that coverage is counted on",
    )
    parser.add_argument(
        "--coverage-only", action="store_true", help="no rivals, no timing: the coverage alone"
    )
    parser.add_argument("--copies", type=int, default=COPIES[-1], help="of an experiment")
    parser.add_argument("--qubits", type=int, nargs="+", help="of the lists (default: all)")
    parser.add_argument(
        "--methods", nargs="+", default=list(COMPARED), choices=(*NEURAL, *RIVALS), metavar="M"
    )
    parser.add_argument(
        "--adaptivity", action="store_true", help="our estimator with all measurements"
    )
    parser.add_argument("--by-copy", type=int, default=1000, help="updates of one copy to time")
    parser.add_argument("--threads", type=int, default=1, help="worker processes")
    return parse(parser, argv, quiet=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    a = arguments_of(argv)
    weights = a.weights or shipped_weights("tomography")
    sha = provenance.sha256(weights)
    extra = [m for m in NEURAL if m not in a.methods] if a.adaptivity else []
    settings = EvaluateSettings(
        states=a.states,
        copies=a.copies,
        methods=tuple(a.methods) + tuple(extra),
        bootstrap=a.bootstrap,
    )
    comparison = Comparison(Rows(a.json), settings, weights, sha, a.threads)
    qubits = a.qubits or compare.qubits_of(weights)
    result: dict[str, Any] = {
        "copies": list(marks_of(a.copies)),
        "level": settings.level,
        "weights_sha256": sha,
        "lists": {},
    }
    if a.coverage_only:
        result["coverage"] = comparison.coverage(a.coverage_states, qubits)
        print(coverage_table(result))
        return
    # First what is said by one process alone: timing.
    result["latency"] = latency(
        weights, a.copies, SEED, n_qubits=max(qubits), by_copy=min(a.by_copy, a.copies)
    )
    for place, rho in compare.frozen_lists(a.states, qubits).items():
        result["lists"][place] = {
            "name": place.partition(", ")[2],
            "n_qubits": rho.shape[-1].bit_length() - 1,
            "states": len(rho),
            "methods": {name: comparison.row(place, rho, name) for name in settings.methods},
        }
    result["coverage"] = comparison.coverage(a.coverage_states, qubits)
    comparison.rows.save(result=result)
    write(a, text=report(result), figures=figures(result) if a.figures else None)


if __name__ == "__main__":
    main()
