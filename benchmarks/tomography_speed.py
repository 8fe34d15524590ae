"""Seconds an update of the learned estimator, alone and in batch, beside the particle filter's.

An update is: counts into the filter, and the corrected estimate. The choice of the next basis is
timed by itself. Times are those of this process on one thread, so that other processes on the
machine do not count.

    python benchmarks/tomography_speed.py [--rival]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from physml.random import stream
from physml.tomography.estimator import Estimator
from physml.tomography.measure import probabilities, sample_counts
from physml.tomography.neural import NeuralEstimator
from physml.tomography.particle_filter import ParticleFilter
from physml.tomography.sets import schedule, validation_list


def timed(
    make: Callable[[], Estimator], n_states: int, copies: int, qubits: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """CPU seconds (blocks,) of each update with estimate, and of each choice of a basis."""
    rho = validation_list("hs", qubits, min(n_states, 160)).repeat(-(-n_states // 160), 1, 1)
    rho = rho[:n_states]
    rng = stream(0, "test", 0)
    estimator = make()
    estimator.start(n_states, rho.shape[-1], rng)
    update, design = [], []
    for shots in schedule(copies):
        began = time.process_time()
        effects = estimator.next_basis("global", rng, shots).effects
        design.append(time.process_time() - began)
        counts = sample_counts(probabilities(effects, rho), shots, rng)
        began = time.process_time()
        estimator.update(effects, torch.as_tensor(counts))
        estimator.estimate()
        update.append(time.process_time() - began)
    return np.array(update), np.array(design)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=100_000)
    parser.add_argument("--rival", action="store_true", help="also time the particle filter")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases: list[tuple[str, Callable[[], Estimator], int]] = [
        ("neural, one experiment", NeuralEstimator, 1),
        ("neural, batch of 1024", NeuralEstimator, 1024),
    ]
    if arguments.rival:
        cases.append(("particle filter, 300 particles", lambda: ParticleFilter(300), 1))
    print("| method | update with estimate | choice of the basis |\n|---|---|---|")
    for name, make, n in cases:
        timed(make, min(n, 8), 300)  # first calls cost more
        update, design = (1e6 * t.mean() / n for t in timed(make, n, arguments.copies))
        print(f"| {name} | {update:,.0f} us | {design:,.0f} us |", flush=True)


if __name__ == "__main__":
    main()
