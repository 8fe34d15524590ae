"""N x infidelity of two-qubit states for many copies: best sets of bases and two fixed ones.

    python benchmarks/tomography_limits.py [--states 40] [--steps 400] [--json FILE]

The medians are the lines of `physml.tomography.core.limits.TWO_QUBITS`. The floor is what the
search for a better basis leaves open; means say little, since states near the boundary
dominate them. About five minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from physml.random import stream
from physml.tomography.core.basis import basis_effects
from physml.tomography.core.fixed_measurements import mub_bases
from physml.tomography.core.limits import TWO_QUBITS, asymptotic
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.states import draw
from physml.tomography.evaluation.limit_designs import best_bases

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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=40)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = {}
    for name in TWO_QUBITS:
        table[name] = measure(name, options.states, options.steps)
        for design, row in table[name].items():
            print(
                f"{name:14s} {design:14s} {row['median']:8.2f}  "
                f"({row['first_quartile']:.1f} to {row['third_quartile']:.1f}), "
                f"floor {row['floor_median']:.2f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
