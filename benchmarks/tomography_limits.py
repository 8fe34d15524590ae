"""N x infidelity of two-qubit states for many copies: best sets of bases and two fixed ones.

    python benchmarks/tomography_limits.py [--states 40] [--steps 400] [--json FILE]

The medians are the lines of `physml.tomography.core.limits.TWO_QUBITS`. The floor is what the
search for a better basis leaves open; means say little, since states near the boundary
dominate them. About five minutes on one core.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from common.options import command, parse, write
from common.tables import table

from physml.random import stream
from physml.tomography.core.basis import basis_effects
from physml.tomography.core.fixed_measurements import mub_bases
from physml.tomography.core.limits import TWO_QUBITS, asymptotic
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.states import draw
from physml.tomography.evaluation.limit_designs import best_bases

#: Physics of measurements alone: no weights and no simulator.
SCIENCES = ()
BATCH = 40
FIXED_STATES = 5_000


def measure(name: str, n_states: int, steps: int) -> dict[str, dict[str, float]]:
    """Median, quartiles and floor of each design for an ensemble."""
    rho = draw(name, n_states, 4, stream(0, "test", list(TWO_QUBITS).index(name)))
    values: dict[str, torch.Tensor] = {}
    floors: dict[str, torch.Tensor] = {}
    for design, kind in (("any basis", "global"), ("product bases", "product")):
        found = [
            best_bases(part, kind, stream(0, "test", 1_000 + i), steps=steps)  # type: ignore[arg-type]
            for i, part in enumerate(rho.split(BATCH))
        ]
        values[design] = torch.cat([b.value for b in found])
        floors[design] = torch.cat([b.floor for b in found])
    many = draw(name, FIXED_STATES, 4, stream(0, "test", 100 + list(TWO_QUBITS).index(name)))
    values["MUB"] = asymptotic(basis_effects(mub_bases(2)), many)
    values["Pauli"] = asymptotic(pauli_effects(2), many)
    return {
        design: {
            "median": float(v.median()),
            "first_quartile": float(v.quantile(0.25)),
            "third_quartile": float(v.quantile(0.75)),
            "floor_median": float(floors.get(design, v).median()),
        }
        for design, v in values.items()
    }


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    rows = [
        [name, design, *(f"{value:.2f}" for value in row.values())]
        for name, designs in numbers["designs"].items()
        for design, row in designs.items()
    ]
    header = ["states", "design", "median", "first quartile", "third quartile", "floor"]
    return {
        "limits": "Copies times the infidelity of two-qubit states for many copies, quantiles over "
        f"states (the two best sets of bases: {numbers['states']} states; MUB and Pauli: "
        f"{FIXED_STATES:,}). Floor: what the search for a better basis leaves open, median.\n\n"
        + table(header, rows)
    }


def main() -> None:
    """Print the table."""
    parser = command(__doc__, "json")
    parser.add_argument("--states", type=int, default=40)
    parser.add_argument("--steps", type=int, default=400)
    a = parse(parser)
    found = {name: measure(name, a.states, a.steps) for name in TWO_QUBITS}
    numbers = {"states": a.states, "designs": found}
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
