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
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physml import provenance
from physml.io.atomic import write_json, write_text
from physml.tomography.core.schedule import marks_of
from physml.tomography.evaluation import compare
from physml.tomography.evaluation.latency import STEPS, latency
from physml.tomography.evaluation.sets import coverage_list
from physml.tomography.settings import COMPARED, NEURAL, RIVALS, EvaluateSettings

log = logging.getLogger("tomography_vs_rivals")

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


# ------------------------------------------------------------------------------------- measuring


def kept_row(
    kept: dict[str, Any],
    place: str,
    rho: Any,
    name: str,
    settings: EvaluateSettings,
    weights: Path,
    sha: str,
    threads: int,
) -> dict[str, Any]:
    """Numbers of one method on one list; those of before where there are any."""
    model = sha if name in NEURAL else "none"
    key = f"{place} | {name} | {len(rho)} | {settings.copies} | {settings.bootstrap} | {model}"
    if key not in kept:
        only = settings.model_copy(update={"methods": (name,)})
        found = compare.compare(
            {place: rho},
            only,
            SEED,
            weights=weights,
            threads=threads,
            mem_mb=1000 * threads,
        )
        if provenance.sha256(weights) != sha:
            raise RuntimeError(f"{weights} changed while it was being judged; run again")
        kept[key] = found[place]["methods"][name]
        log.info("%s: %s: %s", place, name, [f"{x['value']:.3g}" for x in kept[key]["mean"]])
    row: dict[str, Any] = kept[key]
    return row


def coverage(
    kept: dict[str, Any],
    n_states: int,
    qubits: Sequence[int],
    settings: EvaluateSettings,
    weights: Path,
    sha: str,
    a: argparse.Namespace,
) -> dict[str, Any]:
    """Rows of the learned estimator on the longer lists, by list."""
    larger = settings.model_copy(update={"batch": COVERAGE_BATCH})
    out: dict[str, Any] = {}
    for place, rho in compare.frozen_lists(n_states, qubits, coverage_list).items():
        rows = {}
        for name in COVERED:
            own = f"coverage of {place}"
            row = kept_row(kept, own, rho, name, larger, weights, sha, a.threads)
            rows[name] = {"coverage": row["coverage"]}
            write_json(a.json, {"rows": kept}, overwrite=True)
        out[place] = {"states": len(rho), "methods": rows}
    return out


# ------------------------------------------------------------------------------------- tables


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def verdict(met: bool) -> str:
    """In one word."""
    return "met" if met else "missed"


def interval(x: Mapping[str, float], spec: str = ".2g") -> str:
    """A value with its interval."""
    return f"{x['value']:{spec}} ({x['low']:{spec}} to {x['high']:{spec}})"


def counted(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lists that coverage is counted on: the longer ones, if they were run."""
    found: Mapping[str, Any] = result.get("coverage") or result["lists"]
    return found


def infidelity_goals(result: Mapping[str, Any]) -> list[list[str]]:
    """Mean infidelities of the goals, and one qubit's."""
    rows, copies = [], result["copies"]
    for (place, name), wanted in GOALS.items():
        found = result["lists"].get(place, {}).get("methods", {}).get(name)
        for n, goal in zip(COPIES, wanted, strict=True):
            if found is None or n not in copies:
                continue
            x = found["mean"][copies.index(n)]
            rows.append(
                [
                    f"mean infidelity, {place}, {name}, {n:,} copies",
                    f"<= {goal:.3g}",
                    interval(x, ".3g"),
                    verdict(x["value"] <= goal),
                ]
            )
    for name, goal in SCALED.items():
        part = result["lists"].get(f"1 qubit, {name}")
        found = part and part["methods"].get("neural, global")
        for k, n in enumerate(copies):
            if not found or n < SCALED_FROM:
                continue
            x = {key: n * v for key, v in found["mean"][k].items()}
            rows.append(
                [
                    f"copies x mean infidelity, 1 qubit, {name}, {n:,} copies",
                    f"<= {goal:g}",
                    interval(x, ".3g"),
                    verdict(x["value"] <= goal),
                ]
            )
    return rows


def other_goals(result: Mapping[str, Any]) -> list[list[str]]:
    """Slope, coverage and time."""
    rows = []
    pure = result["lists"].get("2 qubits, pure", {}).get("methods", {})
    for name, goal in (("neural, global", SLOPE), ("neural, pauli", SLOPE_STATIC)):
        found = pure.get(name, {}).get("slope")
        if found:
            near = abs(found["value"] - goal) <= SLOPE_WITHIN
            wanted = f"{goal:g} +- {SLOPE_WITHIN:g}" if goal == SLOPE else f"{goal:g} (control)"
            word = verdict(near) if goal == SLOPE else ""
            rows.append(
                [f"slope from 1e3 copies on, pure, {name}", wanted, interval(found, ".3f"), word]
            )
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
        low = min(cells, key=lambda c: c[0]["value"])
        high = max(cells, key=lambda c: c[0]["value"])
        states = sum(s for _, _, s in cells)
        together = sum(x["value"] * s for x, _, s in cells) / states
        rows.append(
            [
                f"coverage of {result['level']:.0%} regions, {name}, all lists and copies",
                f"{COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}",
                f"{sum(within)} of {len(cells)}; {sum(surely)} surely outside; together "
                f"{together:.1%}; lowest {interval(low[0], '.1%')} ({low[1]}), highest "
                f"{interval(high[0], '.1%')} ({high[1]})",
                verdict(all(within)),
            ]
        )
    t = result["latency"]
    single, many = ({k: t[w][k]["median"] for k in STEPS} for w in ("neural", "neural_batch"))
    both = single["update"] + single["estimate"]
    rows += [
        [
            f"an update, one experiment, one thread, {t['n_qubits']} qubits",
            f"<= {UPDATE_MS:g} ms",
            f"{single['update']:.2f} ms; with an estimate {both:.2f}; the choice of a basis "
            f"{single['choose']:.2f} ms",
            verdict(both <= UPDATE_MS),
        ],
        [
            f"an update in a batch of {t['batch']}, each",
            f"<= {BATCH_US:g} us",
            f"{1e3 * many['update']:.0f} us; with an estimate "
            f"{1e3 * (many['update'] + many['estimate']):.0f}; the choice of a basis "
            f"{1e3 * many['choose']:.0f} us",
            verdict(1e3 * many["update"] <= BATCH_US),
        ],
        [
            "particle filter of 300 over it, one experiment",
            f">= {RATIO:g}",
            f"{t['ratio']:.0f}; {t['ratio_batch']:.0f} against a batch of ours",
            verdict(t["ratio"] >= RATIO),
        ],
    ]
    return rows


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
            slope = found["slope"]
            rows.append([name, *cells, "-" if slope is None else interval(slope, ".2f")])
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
        table(
            ["goal", "wanted", "measured", ""],
            [
                [goal, f"**{wanted}**", *rest]
                for goal, wanted, *rest in infidelity_goals(result) + other_goals(result)
            ],
        ),
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


# ------------------------------------------------------------------- command line


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, help="our weights (default: those shipped)")
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
    parser.add_argument("--bootstrap", type=int, default=400, help="resamples of states")
    parser.add_argument("--by-copy", type=int, default=1000, help="updates of one copy to time")
    parser.add_argument("--threads", type=int, default=1, help="worker processes")
    folder = Path("results/bench")
    parser.add_argument("--json", type=Path, default=folder / "tomography_vs_rivals.json")
    parser.add_argument("--markdown", type=Path, default=folder / "tomography_vs_rivals.md")
    parser.add_argument("--figures", type=Path, help="folder to draw the figures into")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison."""
    import torch

    from physml.models import shipped_weights

    a = arguments_of(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("physml").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    weights = a.weights or shipped_weights("tomography")
    sha = provenance.sha256(weights)
    extra = [m for m in NEURAL if m not in a.methods] if a.adaptivity else []
    settings = EvaluateSettings(
        states=a.states,
        copies=a.copies,
        methods=tuple(a.methods) + tuple(extra),
        bootstrap=a.bootstrap,
    )
    for path in (a.markdown, a.json):
        path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(a.json.read_text())["rows"] if a.json.is_file() else {}
    qubits = a.qubits or compare.qubits_of(weights)
    result: dict[str, Any] = {
        "copies": list(marks_of(a.copies)),
        "level": settings.level,
        "weights_sha256": sha,
        "lists": {},
    }
    if a.coverage_only:
        result["coverage"] = coverage(kept, a.coverage_states, qubits, settings, weights, sha, a)
        print(coverage_table(result))
        return 0
    # First what is said by one process alone: timing.
    result["latency"] = latency(
        weights, a.copies, SEED, n_qubits=max(qubits), by_copy=min(a.by_copy, a.copies)
    )
    for place, rho in compare.frozen_lists(a.states, qubits).items():
        part: dict[str, Any] = {
            "name": place.partition(", ")[2],
            "n_qubits": rho.shape[-1].bit_length() - 1,
            "states": len(rho),
            "methods": {},
        }
        result["lists"][place] = part
        for name in settings.methods:
            part["methods"][name] = kept_row(
                kept, place, rho, name, settings, weights, sha, a.threads
            )
            write_json(a.json, {"rows": kept, "result": result}, overwrite=True)
    result["coverage"] = coverage(kept, a.coverage_states, qubits, settings, weights, sha, a)
    text = report(result)
    print(text)
    write_text(a.markdown, text, overwrite=True)
    write_json(a.json, {"rows": kept, "result": result}, overwrite=True)
    if a.figures:
        draw(result, a.figures)
    return 0


def draw(result: Mapping[str, Any], folder: Path) -> None:
    """Write the figures of the evaluation."""
    from physml.evaluation.figures import save_figure
    from physml.tomography.evaluation.plots import figures

    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures(result).items():
        save_figure(figure, folder / f"{name}.png", overwrite=True)


if __name__ == "__main__":
    sys.exit(main())
