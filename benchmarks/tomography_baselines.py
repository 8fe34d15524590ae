"""Infidelity of the methods that others use, on the frozen lists of states.

    python benchmarks/tomography_baselines.py [--states 160] [--lists hs pure pure_white_5]
                                              [--methods "linear, pauli" ...] [--json FILE]

Each method of `physml.tomography.evaluation.baselines` measures the same states with the same
schedule. For each number of copies: the mean infidelity with its standard error, the median, the
95th percentile; then the CPU time of an update and of an estimate, per state, when all states are
done in a batch.
With --json the results are kept after each row, and rows found there are not run again.

`--single` runs one particle filter by itself, a block at a time and copy by copy, and prints its
CPU time: what a laboratory would wait for.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from common.options import command, parse
from common.rows import Row, Rows
from common.tables import table

from physml.random import stream
from physml.tomography.core.schedule import MARKS, schedule
from physml.tomography.evaluation.baselines import BASELINES, run_baseline
from physml.tomography.evaluation.sets import LISTS, evaluation_list
from physml.tomography.inference.classical.particle_filter import ParticleFilter
from physml.tomography.simulator.experiment import Experiment, experiment


def row(result: Experiment) -> Row:
    """Numbers of one method on one list."""
    values, number = result.infidelity, len(result.infidelity)
    return {
        "mean": values.mean(0).tolist(),
        "standard_error": (values.std(0, ddof=1) / number**0.5).tolist(),
        "median": np.median(values, 0).tolist(),
        "percentile_95": np.percentile(values, 95, axis=0).tolist(),
        # Some methods have no opinion: JSON has no NaN.
        "expected_by_itself": [
            x if np.isfinite(x) else None for x in result.spread.mean(0).tolist()
        ],
        "update_ms": [1e3 * float(result.update_seconds.mean()) / number],
        "estimate_ms": [1e3 * float(result.estimate_seconds.mean()) / number],
    }


def compare(name: str, states: str, number: int, a: argparse.Namespace) -> Row:
    """Measure the states of one list by one method."""
    rho, rng = evaluation_list(states, a.qubits, a.states), stream(a.seed, "test", number)
    return row(run_baseline(BASELINES[name], rho, rng))


def cells(numbers: dict[str, list[Any]]) -> list[str]:
    """Cells of one row."""
    names = ("mean", "standard_error", "median", "percentile_95")
    return [
        *(
            f"{mean:.2e} ± {error:.0e} ({median:.1e}, {high:.1e})"
            for mean, error, median, high in zip(*(numbers[k] for k in names), strict=True)
        ),
        f"{numbers['update_ms'][0]:.2f}",
        f"{numbers['estimate_ms'][0]:.2f}",
    ]


def single(seed: int) -> None:
    """CPU time of the particle filter for one experiment, by number of particles and blocking."""
    rho = evaluation_list("hs", 2, 1)
    for particles in (100, 300, 1000):
        result = experiment(
            ParticleFilter(particles), rho, "global", schedule(MARKS[-1]), stream(seed, "test", 0)
        )
        total, each = result.update_seconds.sum(), result.update_seconds.mean()
        print(
            f"{particles} particles: {total:.2f} s to 1e5 copies in "
            f"{len(result.update_seconds)} growing blocks, {1e3 * each:.1f} ms an update"
        )
    result = experiment(ParticleFilter(300), rho, "global", [1] * 1000, stream(seed, "test", 0))
    print(f"300 particles, copy by copy: {result.update_seconds.sum():.2f} s to 1e3 copies")


def main() -> None:
    """Run and print."""
    parser = command(__doc__, "seed", "json")
    parser.add_argument("--qubits", type=int, default=2, choices=sorted(LISTS))
    parser.add_argument("--states", type=int, default=160, help="of each list")
    parser.add_argument("--lists", nargs="+", help="all by default")
    parser.add_argument("--methods", nargs="+", default=list(BASELINES), choices=list(BASELINES))
    parser.add_argument("--single", action="store_true", help="times of one experiment")
    a = parse(parser)
    if a.single:
        single(a.seed)
        return
    kept, rows = Rows(a.json), []
    for name in a.methods:
        for number, states in enumerate(a.lists or LISTS[a.qubits]):
            key = f"{name} | {states} | {a.qubits} | {a.states}"
            found = kept.get(key, compare, name, states, number, a)
            rows.append([name, states, *cells(found)])
    print("mean ± error (median, 95th percentile) of the infidelity at so many copies; ms a state")
    print(table(["method", "states", *(f"{n:,}" for n in MARKS), "update", "estimate"], rows))


if __name__ == "__main__":
    main()
