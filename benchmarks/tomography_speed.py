"""Milliseconds a step of the learned estimator, alone and in batch, beside the particle filter's.

Steps: choice of a basis, counts into the filter (update), the corrected estimate. Times are CPU
time of one thread, in one run, so that other processes on the machine count little. The ratio is
that of update and estimate together, of means.

    python benchmarks/tomography_speed.py [--copies 100000] [--batch 1024]
"""

from __future__ import annotations

from common.options import command, parse
from common.tables import table

from physml.tomography.evaluation.latency import STEPS, latency, work

NAMES = {
    "particle_filter": "particle filter, one experiment",
    "neural": "neural, one experiment",
    "neural_batch": "neural, batch of {batch}",
}


def main() -> None:
    """Print a table."""
    parser = command(__doc__)
    parser.add_argument("--copies", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--qubits", type=int, default=2)
    a = parse(parser)
    found = latency(None, a.copies, 0, n_qubits=a.qubits, batch=a.batch)
    print(f"{a.qubits} qubits, {a.copies} copies, ms of CPU time: median (mean)")
    rows = []
    for key, name in NAMES.items():
        times = found[key]
        cells = [f"{times[step]['median']:.3f} ({times[step]['mean']:.3f})" for step in STEPS]
        cells.append(f"{work(times, 'median'):.3f} ({work(times):.3f})")
        cells.append(f"{work(found['particle_filter']) / work(times):,.1f}")
        rows.append([name.format(batch=found["batch"]), *cells])
    print(table(["method", *STEPS, "update + estimate", "ratio"], rows))


if __name__ == "__main__":
    main()
