"""The claims of the paper on its particle cell, checked as tables.

    python benchmarks/tomography_cell.py WEIGHTS [--tables accuracy cost adaptivity] [--states 24]

WEIGHTS is what `physml.tomography.cell_training.save_cell` wrote; ``untrained`` stands for a cell
that has learned nothing, whose weights are the likelihoods and whose moves are of one unit. The
states are of validation lists, not of the frozen ones: this compares methods with each other, and
is not the goals table. Times are CPU seconds of one thread.

accuracy
    Cell and particle filter, the same number of particles and the same states, adaptive global
    bases.
cost
    CPU time of one experiment against copies. The paper compares with a filter that updates copy by
    copy, which is linear in the copies; with blocks that grow by 10 % the filter needs a number of
    updates in log(copies) as well. Both are shown, and the cell with the same blocks.
adaptivity
    The same cell with each measurement fixed, turned at random for each block, and turned as the
    cell chooses. `bases`: fixed are the nine Pauli bases in turn. Compare the fixed rows with those
    of maximum likelihood in `tomography_baselines.py` first: where the cell is worse than that on
    the same measurement, it has not found the best particles, and the gap to the adaptive row is
    not the value of adaptivity alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from physml.random import stream
from physml.tomography.cell import Cell
from physml.tomography.cell_estimator import CellEstimator, Turned, whole_measurement
from physml.tomography.cell_training import load_cell, make_cell
from physml.tomography.estimator import Basis, BasisKind, Estimator
from physml.tomography.learning_settings import CellSettings
from physml.tomography.operators import random_unitary
from physml.tomography.particle_filter import ParticleFilter
from physml.tomography.run import Experiment, experiment
from physml.tomography.sets import schedule, validation_list

#: Page of the validation lists: others chose by pages 0 and 1, prototypes of the cell by page 3.
PAGE = 5
#: Copies up to which the filter is followed copy by copy.
COPY_BY_COPY = (100, 300)


class TurnedAtRandom(CellEstimator):
    """The cell with its measurement turned at random: adaptive without the adapting."""

    def next_basis(self, kind: BasisKind, rng: np.random.Generator, shots: float = 1.0) -> Basis:
        """Haar-random turn of each experiment's measurement."""
        u = torch.as_tensor(random_unitary(self.n_states, self.d, rng))
        return Turned(u, None, self.povm)


def cell_of(weights: str) -> Cell:
    """Two-qubit cell of a file, or one before training."""
    if weights == "untrained":
        return make_cell(CellSettings(), 1, 4).eval().requires_grad_(False)
    return load_cell(Path(weights), 4)[0]


def show(name: str, states: str, result: Experiment) -> None:
    """One row: mean infidelity, its standard error, and the time of one state."""
    values = result.infidelity
    errors = values.std(0, ddof=1) / len(values) ** 0.5
    cells = [f"{m:.2e} ± {e:.0e}" for m, e in zip(values.mean(0), errors, strict=True)]
    seconds = result.update_seconds.sum() / len(values)
    print(f"{name:34s} {states:13s} {' | '.join(cells)} | {seconds:.3f} s", flush=True)


def accuracy(cell: Cell, n_states: int, particles: int, copies: int, seed: int) -> None:
    """Cell against particle filter."""
    print(f"Mean infidelity at {decades_of(copies)} copies; CPU time an experiment, in a batch")
    for number, states in enumerate(("hs", "pure", "pure_white_5")):
        rho = validation_list(states, 2, n_states, page=PAGE)
        methods: dict[str, Estimator] = {
            "particle cell": CellEstimator(cell, particles),
            "particle filter": ParticleFilter(particles),
        }
        for name, estimator in methods.items():
            rng = stream(seed, "test", number)
            show(name, states, experiment(estimator, rho, "global", schedule(copies), rng))


def cost(cell: Cell, particles: int, copies: int, seed: int) -> None:
    """CPU time of one experiment by itself, against copies."""
    print("CPU time of one experiment alone, hs state: seconds, updates")
    rho = validation_list("hs", 2, 1, page=PAGE)
    rows: list[tuple[str, Callable[[], Estimator], list[int], bool]] = []
    powers = [10**k for k in range(2, len(str(copies)))]
    for mark in powers:
        rows.append(("particle cell", lambda: CellEstimator(cell, particles), [mark], True))
        rows.append(("particle filter", lambda: ParticleFilter(particles), [mark], True))
    for mark in COPY_BY_COPY:
        rows.append(("particle filter", lambda: ParticleFilter(particles), [mark], False))
    for name, make, (mark,), growing in rows:
        blocks = schedule(mark) if growing else [1] * mark
        rng = stream(seed, "test", 0)
        result = experiment(make(), rho, "global", blocks, rng, marks=[mark])
        kind = "growing blocks" if growing else "copy by copy"
        print(
            f"{name:16s} {kind:15s} {mark:>9d} copies: "
            f"{result.update_seconds.sum():7.2f} s, {len(blocks)} updates",
            flush=True,
        )


def adaptivity(cell: Cell, n_states: int, particles: int, copies: int, seed: int) -> None:
    """Fixed, turned at random, turned by choice: for each kind of measurement."""
    print(f"Mean infidelity at {decades_of(copies)} copies, by measurement")
    for number, states in enumerate(("pure", "hs")):
        rho = validation_list(states, 2, n_states, page=PAGE)
        for name in ("bases", "sic", "mub", "pairwise"):
            for how in ("fixed", "random", "adaptive"):
                estimator, design = arm(cell, particles, name, how)
                rng = stream(seed, "test", number)
                result = experiment(estimator, rho, design, schedule(copies), rng)
                show(f"{name}, {how}", states, result)


def arm(cell: Cell, particles: int, name: str, how: str) -> tuple[Estimator, str | torch.Tensor]:
    """Estimator and design of a row of `adaptivity`."""
    if name == "bases":
        design = {"fixed": "pauli", "random": "random_global", "adaptive": "global"}[how]
        return CellEstimator(cell, particles), design
    effects = whole_measurement(name, 2)
    if how == "fixed":
        return CellEstimator(cell, particles), effects
    kind = TurnedAtRandom if how == "random" else CellEstimator
    return kind(cell, particles, effects), "global"


def decades_of(copies: int) -> str:
    """Numbers of copies in the columns."""
    return ", ".join(f"1e{k}" for k in range(2, len(str(copies))))


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", help="file of weights, or untrained")
    tables = ("accuracy", "cost", "adaptivity")
    parser.add_argument("--tables", nargs="+", default=tables, choices=tables)
    parser.add_argument("--states", type=int, default=24, help="of each list")
    parser.add_argument("--particles", type=int, default=100)
    parser.add_argument("--copies", type=int, default=100_000, help="a power of ten")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    torch.set_num_threads(1)
    cell = cell_of(a.weights)
    with torch.no_grad():
        if "accuracy" in a.tables:
            accuracy(cell, a.states, a.particles, a.copies, a.seed)
        if "cost" in a.tables:
            cost(cell, a.particles, a.copies, a.seed)
        if "adaptivity" in a.tables:
            adaptivity(cell, a.states, a.particles, a.copies, a.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
