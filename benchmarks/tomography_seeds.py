"""The same training with other seeds: how much of a result is luck.

    python benchmarks/tomography_seeds.py results/tomography/data --seeds 3 --state seeds

The folder is what the chain's preprocessing leaves: all seeds learn from the same experiments, and
start and shuffle them apart. The first seed is that of the shipped recipe,
the others are the next ones; regions are not calibrated, as infidelities do not need them. What is
finished is kept in ``--state``, so that a run can be stopped and carried on.

The record does not rest on the shipped weights: each seed has weights of its own. It says of which
recipe they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import table

from physml.random import stream
from physml.tomography.core.schedule import MARKS, schedule
from physml.tomography.evaluation.compare import list_name
from physml.tomography.evaluation.sets import LIST_SIZE, LISTS, evaluation_list
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.learning.corrector_training import train_corrector
from physml.tomography.learning.histories import Histories
from physml.tomography.settings import TomographySettings
from physml.tomography.simulator.experiment import experiment

SCIENCES = ()


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    copies = numbers["copies"]
    body = [
        [
            place,
            design,
            *(" / ".join(f"{seed[k]:.3g}" for seed in found) for k in range(len(copies))),
        ]
        for place, design, found in numbers["rows"]
    ]
    kept = numbers.get("kept")
    when = (
        f" Not run again since {kept['date']} (commit `{kept['commit']}`, recipe of the weights "
        f"`{kept['version']}`)."
        if kept
        else ""
    )
    return {
        "seeds": f"The same training with {len(numbers['rows'][0][2])} seeds: mean "
        f"infidelity, seed by seed, {LIST_SIZE} states a list; the spread between seeds stands in "
        f"for an interval.{when}\n\n"
        + table(["list", "measurements", *(f"{n:,}" for n in copies)], body)
    }


def main() -> None:
    """Train, judge, print a Markdown table."""
    parser = command(__doc__, "json")
    parser.add_argument("data", type=Path, help="folder of what is learned from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--qubits", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--state", type=Path, required=True, help="folder for what is finished")
    a = parse(parser)
    settings = TomographySettings()
    rows: dict[tuple[str, str], list[list[float]]] = {}
    for qubits in a.qubits:
        moments = [Histories.read(a.data, split, qubits) for split in ("train", "valid")]
        for seed in range(settings.seed, settings.seed + a.seeds):
            network = train_corrector(
                settings.train,
                *moments,
                a.state / str(seed) / f"{qubits}_qubits",
                seed,
                1,
                lambda: None,
            ).network
            for name in LISTS[qubits]:
                rho = evaluation_list(name, qubits)
                for design in ("global", "product")[:qubits]:
                    done = experiment(
                        NeuralEstimator({1 << qubits: network}),
                        rho,
                        design,
                        schedule(MARKS[-1]),
                        stream(settings.seed, "evaluate", 0),
                        marks=MARKS,
                    )
                    mean = [float(f"{x:.3g}") for x in np.mean(done.infidelity, 0)]
                    rows.setdefault((list_name(name, qubits), design), []).append(mean)
    numbers = {"copies": MARKS, "rows": [[*key, found] for key, found in rows.items()]}
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
