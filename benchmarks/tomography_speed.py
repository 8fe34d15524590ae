"""Microseconds a step of the learned estimator, alone and in batch, beside the particle filter's.

Steps: counts into the filter (update), the corrected estimate, the choice of the next basis. Times
are medians over the blocks of one run, of CPU time of this thread, so that other processes on the
machine count little; means are shown beside. The ratio is that of update and estimate together.

    python benchmarks/tomography_speed.py [--copies 100000] [--batch 1024] [--no-rival]
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

STEPS = ("update", "estimate", "next_basis")
FIRST = 3  # updates that are not counted: memory and kernels are made ready


def timed(make: Callable[[], Estimator], n_states: int, copies: int, qubits: int = 2) -> np.ndarray:
    """Thread seconds (blocks, 3) of each step of one run, a state."""
    rho = validation_list("hs", qubits, min(n_states, 160)).repeat(-(-n_states // 160), 1, 1)
    rho = rho[:n_states]
    rng = stream(0, "test", 0)
    estimator = make()
    estimator.start(n_states, rho.shape[-1], rng)
    out = []
    for shots in schedule(copies):
        began = time.thread_time()
        effects = estimator.next_basis("global", rng, shots).effects
        chosen = time.thread_time()
        counts = torch.as_tensor(sample_counts(probabilities(effects, rho), shots, rng))
        told = time.thread_time()
        estimator.update(effects, counts)
        updated = time.thread_time()
        estimator.estimate()
        out.append((updated - told, time.thread_time() - updated, chosen - began))
    return np.array(out)[FIRST:] / n_states


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--batch-copies", type=int, default=10_000)
    parser.add_argument("--particles", type=int, default=300)
    parser.add_argument("--no-rival", action="store_true", help="without the particle filter")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases: list[tuple[str, Callable[[], Estimator], int, int]] = [
        ("neural, one experiment", NeuralEstimator, 1, arguments.copies),
        (
            f"neural, batch of {arguments.batch}",
            NeuralEstimator,
            arguments.batch,
            arguments.batch_copies,
        ),
    ]
    if not arguments.no_rival:
        name = f"particle filter, {arguments.particles} particles, one experiment"
        rival: Callable[[], Estimator] = lambda: ParticleFilter(arguments.particles)  # noqa: E731
        cases.insert(0, (name, rival, 1, arguments.copies))
    print("us of CPU time: median (mean)")
    print(f"| method | {' | '.join(STEPS)} | update + estimate | ratio |")
    print("|---" * (len(STEPS) + 3) + "|")
    reference = None
    for name, make, n, copies in cases:
        timed(make, min(n, 8), 300)  # first calls cost more
        times = 1e6 * timed(make, n, copies)
        both = times[:, :2].sum(1)
        cells = [f"{np.median(t):,.1f} ({t.mean():,.1f})" for t in (*times.T, both)]
        if name.startswith("particle"):
            reference = both
        ratio = "" if reference is None else f"{np.median(reference) / np.median(both):,.1f}"
        if reference is not None:
            ratio += f" ({reference.mean() / both.mean():,.1f})"
        print(f"| {name} | {' | '.join(cells)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
