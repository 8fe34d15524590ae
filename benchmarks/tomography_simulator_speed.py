"""States and counts a second of the tomography simulator, on one thread.

    python benchmarks/tomography_simulator_speed.py [--states 20000] [--json FILE]

states
    Two-qubit states of each ensemble, drawn in one batch.
counts
    Blocks of 1,000 copies, each state in a basis of its own: Born's rule and shot noise.
fidelity
    Pairs of two-qubit states.
samples
    Samples of a shard, one and two qubits in turns, each with its own random stream.

CPU time of this process, the best of three rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from common.options import command, parse, write
from common.tables import table
from common.timing import cpu_seconds

from physml.random import stream
from physml.tomography.core.basis import basis_effects
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.operators import fidelity, random_unitary
from physml.tomography.core.states import ENSEMBLES
from physml.tomography.settings import SimulateSettings
from physml.tomography.simulator.sample import simulate_batch

#: Rates of the simulator alone.
SCIENCES = ()


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    rows = [[name, f"{value:,.0f}"] for name, value in numbers["rates"].items()]
    return {
        "rates": f"Batches of {numbers['states']:,} two-qubit states, CPU time of one thread, the "
        f"best of three rounds, no interval.\n\n{table(['', 'a second'], rows)}"
    }


def rate(work: Callable[[], object], n: int) -> float:
    """How many a second."""
    return n / cpu_seconds(work, of=min)


def main() -> None:
    """Print the rates."""
    parser = command(__doc__, "json")
    parser.add_argument("--states", type=int, default=20_000)
    a = parse(parser)
    n = a.states
    rng = stream(0, "test", 0)
    rates = {name: rate(lambda draw=draw: draw(n, 4, rng), n) for name, draw in ENSEMBLES.items()}
    rho, sigma = ENSEMBLES["hs"](n, 4, rng), ENSEMBLES["bures"](n, 4, rng)
    bases = random_unitary(n, 4, rng)

    def measure() -> None:
        sample_counts(probabilities(basis_effects(bases), rho), 1_000, rng)

    rates["counts"] = rate(measure, n)
    rates["fidelity"] = rate(lambda: fidelity(rho, sigma), n)
    samples = max(1, n // 40)
    rates["samples"] = rate(lambda: simulate_batch(SimulateSettings(), 0, range(samples)), samples)
    write(a, {"states": n, "rates": rates}, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
