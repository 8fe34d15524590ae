"""The learned tomographer beside all rivals on identical lists: the goals table of its README.

    python benchmarks/tomography_vs_rivals.py [--states 160] [--rivals 80] [--filtered 8]
                                              [--cache FILE] [--lists "2 qubits, hs" ...]

Judged are the shipped weights (``--weights`` names others) on the frozen lists of states: every
method measures the same states with the same schedule of copies. For each number of copies stand
the mean infidelity with its 95 % interval, the median and the 95th percentile; and, for each rival,
the difference of the mean infidelities on the states that both measured, with the interval of the
paired difference.

Rivals are slower than the learned estimator, and measure the first states of each list; particle
filters fewer still, of the lists of two qubits. One of them has the rank-adaptive prior, the
other a mixture of ensembles from Hilbert-Schmidt to exactly pure ones. How many regions hold the
truth is counted by `tomography_coverage.py`.

What is done is kept, state by state, in the file that ``--cache`` names, so that a run can be
stopped and carried on. With ``--lists`` some are run only, and kept in the cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.options import command, parse, write
from common.rows import Rows
from common.tables import goals, table
from common.tomography import (
    OURS,
    Runs,
    differences_table,
    interval,
    rounded,
)

from physml import provenance
from physml.evaluation.sealed import remark
from physml.models import shipped_weights
from physml.tomography.core.schedule import marks_of
from physml.tomography.evaluation import compare
from physml.tomography.evaluation.latency import STEPS, latency
from physml.tomography.settings import INFORMED, NEURAL

SCIENCES = ("tomography",)
SEED = 20_210_607  # of the experiments and of the bootstrap
COPIES = (100, 1_000, 10_000, 100_000)
OWN = tuple(OURS.values())
QUICK = (
    *("maximum likelihood, pauli", "linear, pauli"),
    *("two-stage, global", "two-stage, product"),
)
FILTERS = ("particle filter, global", "particle filter, product", *INFORMED)
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
UPDATE_MS, REGION_MS, BATCH_US, RATIO = 1.0, 2.0, 25.0, 40.0
PAIRS = 2  # qubits of the lists that the long tables are of
Goal = tuple[str, str, str, bool | None]
Numbers = Mapping[str, Any]


# Measure.


def measure(runs: Runs, a: argparse.Namespace, qubits: Sequence[int]) -> dict[str, Any]:
    """All methods on all lists; the particle filters, which are slow, last."""
    lists = compare.frozen_lists(a.states, qubits)
    if a.lists:
        lists = {place: lists[place] for place in a.lists}
    pairs = [place for place, rho in lists.items() if rho.shape[-1] == 1 << PAIRS]
    # One qubit: only what has a goal.
    more = (*OWN[1:], *QUICK, *(f"neural, {name}" for name in a.measurements))
    found = {
        place: {
            m: runs.outcome(place, rho[: a.rivals] if m in QUICK else rho, m, a.copies)
            for m in (OWN[0], *(more if place in pairs else ()))
        }
        for place, rho in lists.items()
    }
    for place in pairs if a.filtered else ():
        for m in a.filters:
            rho = lists[place][: a.filtered]
            found[place][m] = runs.outcome(place, rho, m, a.filter_copies)
    return {
        place: {
            "methods": {
                m: runs.summary(place, x, a.filter_copies if m in FILTERS else a.copies)
                for m, x in own.items()
            },
            "differences": {
                m: runs.difference(place, own[OURS[m.rpartition(", ")[2]]], x)
                for m, x in own.items()
                if m not in NEURAL
            },
        }
        for place, own in found.items()
    }


def timed(weights: Path, a: argparse.Namespace, qubits: Sequence[int]) -> dict[str, Any]:
    """Times of one experiment and of a batch."""
    found = latency(weights, a.copies, SEED, n_qubits=max(qubits), by_copy=min(1000, a.copies))
    steps = {
        name: {
            **{step: rounded(row[step]["median"]) for step in (*STEPS, "region") if step in row},
            "updates": row["updates"],
            "seconds": rounded(row["seconds"]),
        }
        for name, row in found.items()
        if isinstance(row, dict)
    }
    return {
        "batch": found["batch"],
        "n_qubits": found["n_qubits"],
        "ratio": rounded(found["ratio"]),
        "ratio_batch": rounded(found["ratio_batch"]),
        "steps": steps,
    }


# Say.


def infidelity_goals(numbers: Numbers) -> list[Goal]:
    """Mean infidelities of the goals, and one qubit's."""
    rows: list[Goal] = []
    copies = numbers["copies"]
    for (place, name), wanted in GOALS.items():
        for n, goal, x in zip(COPIES, wanted, mean_of(numbers, place, name), strict=False):
            what = f"mean infidelity, {place}, {name}, {n:,} copies"
            rows.append((what, f"<= {goal:.3g}", interval(x, ".3g"), x[0] <= goal))
    for name, goal in SCALED.items():
        for n, x in zip(copies, mean_of(numbers, f"1 qubit, {name}", OWN[0]), strict=False):
            if n < SCALED_FROM:
                continue
            scaled = [n * v for v in x]
            what = f"copies x mean infidelity, 1 qubit, {name}, {n:,} copies"
            rows.append((what, f"<= {goal:g}", interval(scaled, ".3g"), scaled[0] <= goal))
    return rows


def mean_of(numbers: Numbers, place: str, name: str) -> list[list[float]]:
    """Mean infidelities at each mark; none where the list was not run."""
    found: list[list[float]] = (
        numbers["lists"].get(place, {}).get("methods", {}).get(name, {"mean": []})["mean"]
    )
    return found


def other_goals(numbers: Numbers) -> list[Goal]:
    """Slope and time."""
    rows: list[Goal] = []
    pure = numbers["lists"].get("2 qubits, pure", {}).get("methods", {})
    for name, goal in (("neural, global", SLOPE), ("neural, pauli", SLOPE_STATIC)):
        if x := pure.get(name, {}).get("slope"):
            what, shown = f"slope from 1e3 copies on, pure, {name}", interval(x, ".3f")
            if goal == SLOPE:
                near = abs(x[0] - goal) <= SLOPE_WITHIN
                rows.append((what, f"{goal:g} +- {SLOPE_WITHIN:g}", shown, near))
            else:
                rows.append((what, f"{goal:g} (control)", shown, None))
    return rows + time_goals(numbers["latency"])


def time_goals(t: Numbers) -> list[Goal]:
    """An update with its estimate, alone and in a batch, and the ratio."""
    alone, many = (t["steps"][key] for key in ("neural", "neural_batch"))

    def parts(x: Numbers, factor: float, spec: str, unit: str) -> str:
        update, estimate, choose = (factor * x[k] for k in ("update", "estimate", "choose"))
        return (
            f"{update + estimate:{spec}} {unit}: update {update:{spec}}, estimate "
            f"{estimate:{spec}}; the choice of a basis {choose:{spec}}"
        )

    both, each = alone["update"] + alone["estimate"], 1e3 * (many["update"] + many["estimate"])
    return [
        (
            f"an update with its estimate, one experiment, {t['n_qubits']} qubits",
            f"<= {UPDATE_MS:g} ms",
            parts(alone, 1, ".2f", "ms"),
            both <= UPDATE_MS,
        ),
        (
            f"an update with its estimate and region, one experiment, {t['n_qubits']} qubits",
            f"<= {REGION_MS:g} ms",
            f"{both + alone['region']:.2f} ms: region {alone['region']:.2f}",
            both + alone["region"] <= REGION_MS,
        ),
        (
            f"an update with its estimate, each of a batch of {t['batch']}",
            f"<= {BATCH_US:g} us",
            parts(many, 1e3, ".0f", "us"),
            each <= BATCH_US,
        ),
        (
            "particle filter of 300 over it, one experiment",
            f">= {RATIO:g}",
            f"{t['ratio']:.0f}; {t['ratio_batch']:.0f} against a batch of ours",
            t["ratio"] >= RATIO,
        ),
    ]


def since(t: Numbers) -> str:
    """Sentence on times that were not measured again."""
    kept = t.get("kept")
    if not kept:
        return ""
    return f" Times were not measured again since {kept['date']} (commit `{kept['commit']}`)."


def cell(row: Numbers, k: int) -> str:
    """Mean with interval, median and 95th percentile at one mark."""
    return f"{interval(row['mean'][k])}; {row['median'][k]:.2g}, {row['p95'][k]:.2g}"


def rivals_table(numbers: Numbers, place: str) -> str:
    """All methods on one list."""
    copies, methods = numbers["copies"], numbers["lists"][place]["methods"]
    rows = []
    for name in (m for m in (*OWN, *QUICK, *FILTERS) if m in methods):
        found = methods[name]
        cells = [cell(found, k) for k in range(len(found["mean"]))]
        cells += ["-"] * (len(copies) - len(cells))
        rows.append([name, found["states"], *cells, interval(found["slope"], ".2f")])
    head = ["method", "n", *(f"{n:,} copies" for n in copies), "slope"]
    return (
        f"List `{place}`, the first n states of it ({said(place)}). Infidelity: mean (95 % "
        "interval from resampling states); median, 95th percentile. Where n differs, compare by "
        f"the paired differences below.\n\n{table(head, rows)}"
    )


def said(place: str) -> str:
    """What the ledger says of a list."""
    return remark("tomography", place) or "no ledger at hand"


def differences(numbers: Numbers) -> str:
    """Ours less every rival, paired."""
    pairs = {p: v for p, v in numbers["lists"].items() if p.startswith(f"{PAIRS} qubits")}
    return (
        "Mean infidelity of the learned estimator less that of the rival with measurements of the "
        "same kind, on the same first n states of each list, with the 95 % interval of the paired "
        "difference (states resampled). Bold: the interval leaves out zero; negative: ours is "
        f"better.\n\n{differences_table(pairs, numbers['copies'])}"
    )


def adaptivity_table(numbers: Numbers) -> str:
    """The same estimator with other measurements: what adapting them is worth."""
    rows = [
        [place, name.removeprefix("neural, "), *(interval(x) for x in found["mean"])]
        for place, part in numbers["lists"].items()
        for name, found in part["methods"].items()
        if name in NEURAL and place.startswith(f"{PAIRS} qubits")
    ]
    head = ["list", "measurements", *(f"{n:,} copies" for n in numbers["copies"])]
    n = max(part["methods"][OWN[0]]["states"] for part in numbers["lists"].values())
    return (
        f"The learned estimator with all kinds of measurements: mean infidelity, {n} states a "
        f"list, 95 % intervals from resampling states.\n\n{table(head, rows)}"
    )


def time_table(numbers: Numbers) -> str:
    """Steps of one experiment, ms; and a state of a batch of each method."""
    t = numbers["latency"]
    names = {
        "neural": "neural, one experiment",
        "neural_batch": f"neural, each of {t['batch']} together",
        "particle_filter": "particle filter of 300, growing blocks",
        "particle_filter_by_copy": "particle filter of 300, copy by copy",
    }
    rows = [
        [
            text,
            *(f"{t['steps'][key][step]:.3f}" for step in STEPS),
            t["steps"][key]["updates"],
            f"{t['steps'][key]['seconds']:.3f}",
        ]
        for key, text in names.items()
    ]
    head = ["", "choice [ms]", "update [ms]", "estimate [ms]", "updates", "all of them [s]"]
    return (
        f"CPU time of one thread of a machine that was busy with other work, {t['n_qubits']} "
        "qubits: medians over the updates of one experiment of "
        f"{numbers['copies'][-1]:,} copies (copy by copy: of 1,000), no interval.{since(t)}\n\n"
        f"{table(head, rows)}"
    )


def missed(numbers: Numbers) -> str:
    """How far the goals of infidelity are missed."""
    lines = []
    for (place, name), wanted in GOALS.items():
        means = mean_of(numbers, place, name)
        away = {
            n: x[0] / goal - 1
            for n, goal, x in zip(COPIES, wanted, means, strict=False)
            if x[0] > goal
        }
        if away:
            parts = ", ".join(f"{over:.0%} at {n:,} copies" for n, over in away.items())
            lines.append(f"- *{place}, {name}*: above the goal by {parts}.")
    return "\n".join(lines)


def adapting(numbers: Numbers) -> str:
    """Factors between adaptive bases and the other measurements at the largest number of copies."""
    parts = []
    for place, label in (("2 qubits, pure", "pure"), ("2 qubits, hs", "Hilbert-Schmidt")):
        methods = numbers["lists"][place]["methods"]
        best = methods["neural, global"]["mean"][-1][0]
        others = [
            methods[m]["mean"][-1][0] / best for m in NEURAL if m in methods and m not in OWN[:2]
        ]
        parts.append(f"{min(others):.1f} to {max(others):.1f} for {label} states")
    return (
        f"At {numbers['copies'][-1]:,} copies the mean infidelity of random and fixed measurements "
        "of every kind in the table is larger than that of adaptive global bases by a factor of "
        f"{' and of '.join(parts)}."
    )


def gain(numbers: Numbers, place: str) -> str:
    """Infidelity with Pauli settings over that with adaptive bases, at the most copies."""
    methods = numbers["lists"][place]["methods"]
    pauli, best = (methods[m]["mean"][-1][0] for m in ("neural, pauli", "neural, global"))
    return f"{pauli / best:.1f}"


def short_table(numbers: Numbers) -> str:
    """Two-qubit lists at two numbers of copies: ours, then the best of the rivals, paired."""
    marks = [n for n in (1_000, numbers["copies"][-1]) if n in numbers["copies"]]
    where = [numbers["copies"].index(n) for n in marks]
    shown = [*OWN[:2], "two-stage, global", "maximum likelihood, pauli"]
    rows = []
    for place, part in numbers["lists"].items():
        if not place.startswith(f"{PAIRS} qubits"):
            continue
        for name in (*shown, *FILTERS):
            found = part["methods"].get(name)
            if found is None:
                continue
            means = [interval(found["mean"][k]) if k < len(found["mean"]) else "-" for k in where]
            gaps = part["differences"].get(name, {"mean": []})["mean"]
            paired = [interval(gaps[k]) if k < len(gaps) else "" for k in where]
            rows.append([place, name, found["states"], *means, *paired])
    head = ["list", "method", "n", *(f"{n:,} copies" for n in marks)]
    head += [f"physml less it, {n:,}" for n in marks]
    return (
        "Mean infidelity on the first n states of frozen lists, 95 % intervals from resampling "
        "states; differences on the same states, negative where physml is better, with "
        f"measurements of the same kind.\n\n{table(head, rows)}"
    )


def time_sentence(numbers: Numbers) -> str:
    """Sentence on the times of one experiment."""
    t = numbers["latency"]
    one = t["steps"]["neural"]
    return (
        f"An update with its estimate takes {one['update'] + one['estimate']:.1f} ms on one "
        f"thread, a particle filter of 300 takes {t['ratio']:.0f} times as long "
        f"({t['n_qubits']} qubits, median over the updates of one experiment)."
    )


def met_sentence(numbers: Numbers) -> str:
    """Sentence on how many goals are met."""
    rows = [row for row in infidelity_goals(numbers) + other_goals(numbers) if row[3] is not None]
    return f"Of {len(rows)} goals {sum(bool(row[3]) for row in rows)} are met."


def tables(numbers: Numbers) -> dict[str, str]:
    """Blocks of Markdown by name."""
    found = {
        "short": short_table(numbers),
        "time_sentence": time_sentence(numbers),
        "met": met_sentence(numbers),
        "goals": "Goals and what was measured, on the lists of the tables below (95 % intervals "
        f"from resampling states).{since(numbers['latency'])}\n\n"
        + goals(infidelity_goals(numbers) + other_goals(numbers)),
    }
    for place in numbers["lists"]:
        found[place.replace(", ", "_").replace(" ", "_").replace(".", "")] = rivals_table(
            numbers, place
        )
    return found | {
        "differences": differences(numbers),
        "adaptivity": adaptivity_table(numbers),
        "times": time_table(numbers),
        "missed": missed(numbers),
        "adapting": adapting(numbers),
        "gain_pure": gain(numbers, "2 qubits, pure"),
        "gain_hs": gain(numbers, "2 qubits, hs"),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    parser = command(__doc__, "weights", "json", "markdown", bootstrap=400)
    parser.add_argument("--states", type=int, default=160, help="of each list")
    parser.add_argument("--rivals", type=int, default=80, help="states of each list for rivals")
    parser.add_argument(
        "--filtered", type=int, default=8, help="states of each list for particle filters"
    )
    parser.add_argument(
        "--filter-copies", type=int, default=COPIES[-1], help="of the filters' experiments"
    )
    parser.add_argument("--filters", nargs="+", default=list(FILTERS), choices=FILTERS)
    parser.add_argument("--lists", nargs="+", help="these only")
    parser.add_argument(
        "--measurements",
        nargs="+",
        default=[m.removeprefix("neural, ") for m in NEURAL if m not in OWN],
        help="of our estimator, beside global, product and pauli",
    )
    parser.add_argument("--copies", type=int, default=COPIES[-1], help="of an experiment")
    parser.add_argument("--cache", type=Path, help="file for what is done")
    a = parse(parser, argv, quiet=True)
    weights = a.weights or shipped_weights("tomography")
    runs = Runs(Rows(a.cache), weights, provenance.sha256(weights), SEED, a.bootstrap)
    qubits = compare.qubits_of(weights)
    numbers = {
        "copies": list(marks_of(a.copies)),
        "lists": measure(runs, a, qubits),
    }
    if a.lists:
        return
    numbers["latency"] = timed(weights, a, qubits)
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
