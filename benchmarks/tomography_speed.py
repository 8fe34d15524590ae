"""Milliseconds a step of the learned estimator, alone and in batch, beside the particle filter's.

Steps: choice of a basis, counts into the filter (update), the corrected estimate. Times are CPU
time of one thread, in one run, so that other processes on the machine count little. The ratio is
that of update and estimate together, of means.

    python benchmarks/tomography_speed.py [--copies 100000] [--batch 1024]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.options import command, parse, write
from common.tables import table

from physml.tomography.evaluation.latency import STEPS, latency, work

SCIENCES = ("tomography",)
NAMES = {
    "particle_filter": "particle filter, one experiment",
    "neural": "neural, one experiment",
    "neural_batch": "neural, batch of {batch}",
}


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    rows = []
    for key, name in NAMES.items():
        times = numbers[key]
        cells = [f"{times[step]['median']:.3f} ({times[step]['mean']:.3f})" for step in STEPS]
        cells.append(f"{work(times, 'median'):.3f} ({work(times):.3f})")
        cells.append(f"{work(numbers['particle_filter']) / work(times):,.1f}")
        rows.append([name.format(batch=numbers["batch"]), *cells])
    return {
        "steps": f"{numbers['n_qubits']} qubits, one experiment of {numbers['copies']:,} copies, "
        "ms of CPU time of one thread: median (mean) over its updates, no interval.\n\n"
        + table(["method", *STEPS, "update + estimate", "ratio"], rows)
    }


def main() -> None:
    """Print a table."""
    parser = command(__doc__, "json")
    parser.add_argument("--copies", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--qubits", type=int, default=2)
    a = parse(parser)
    found = latency(None, a.copies, 0, n_qubits=a.qubits, batch=a.batch)
    write(a, found, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
