"""How often intervals of purity, concurrence, fidelity and populations hold the truth.

    python benchmarks/tomography_intervals.py [--states 200] [--designs global product pauli]

States are of validation lists: pages of their own, which nothing is evaluated on. Each is measured
up to each number of copies, and the interval is the one that a `Tomographer` would give: samples of
the posterior about the learned estimate. Fidelities are to the eigenvector of the true state with
the largest eigenvalue, as to a target that was met, which no prior expects; and to a GHZ state,
which has nothing to do with it (Phi+ for two qubits). The population is that of the first basis
state.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from common.options import command, parse, write
from common.tables import table
from torch import Tensor

from physml.evaluation.bootstrap import LEVEL
from physml.evaluation.calibration import wilson
from physml.random import stream
from physml.tomography.core.operators import concurrence, purity
from physml.tomography.core.schedule import schedule
from physml.tomography.evaluation.sets import validation_list
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.posterior import Posterior
from physml.tomography.inference.posterior_particles import sample
from physml.tomography.simulator.experiment import experiment

log = logging.getLogger("benchmarks")

SCIENCES = ("tomography",)
SEED = 31_415
COPIES = (100, 1_000, 10_000, 100_000)
ENSEMBLES = ("pure", "pure_white_5", "hs")
#: Rows of an experiment's own measurements that are kept, so that likelihoods are exact.
WINDOW = 4_096
#: States whose posteriors are sampled at once.
BATCH = 50
Function = Callable[[Tensor], Tensor]


def functions(truth: Tensor) -> dict[str, tuple[Function, tuple[float, float]]]:
    """Functionals of states (..., d, d), and their bounds; the target is near the truth (d, d)."""
    ket = torch.linalg.eigh(truth)[1][:, -1]

    def to_target(rho: Tensor) -> Tensor:
        return torch.einsum("i,...ij,j->...", ket.conj(), rho, ket).real

    to_target.attained = torch.outer(ket, ket.conj())  # type: ignore[attr-defined]
    d = truth.shape[-1]

    def to_ghz(rho: Tensor) -> Tensor:
        corners = (rho[..., 0, 0] + rho[..., -1, -1]).real
        return 0.5 * corners + rho[..., 0, -1].real

    found: dict[str, tuple[Function, tuple[float, float]]] = {
        "purity": (purity, (1 / d, 1.0)),
        "fidelity, own": (to_target, (0.0, 1.0)),
        "fidelity, GHZ": (to_ghz, (0.0, 1.0)),
        "population": (lambda rho: rho[..., 0, 0].real, (0.0, 1.0)),
    }
    if d == 4:
        found["concurrence"] = (concurrence, (0.0, 1.0))
    return found


def cells(
    name: str, qubits: int, design: str, a: argparse.Namespace
) -> dict[tuple[str, int], list[tuple[bool, float, bool]]]:
    """Whether the interval holds the truth, its length, and whether the estimate is inside."""
    rho = validation_list(name, qubits, min(a.states, 160), page=a.page)
    if a.states > len(rho):
        more = [
            validation_list(name, qubits, 160, page=a.page + k)
            for k in range(1, a.states // 160 + 1)
        ]
        rho = torch.cat([rho, *more])[: a.states]
    out: dict[tuple[str, int], list[tuple[bool, float, bool]]] = {}

    for start in range(0, len(rho), BATCH):
        truth = rho[start : start + BATCH]

        def look(copies: int, estimator: NeuralEstimator, truth: Tensor = truth) -> None:
            began = time.thread_time()
            found = sample(estimator, stream(SEED, "test", copies))
            estimate, radius = estimator.estimate(), estimator.radius(a.level)
            for i, state in enumerate(truth):
                posterior = Posterior(
                    found.states[i],
                    found.weights[i],
                    estimate[i],
                    lambda level, i=i: float(radius[i]),  # type: ignore[misc]
                )
                for key, (function, bounds) in functions(state).items():
                    low, high = posterior.interval(function, a.level, bounds)
                    value, own = (float(function(x[None])[0]) for x in (state, estimate[i]))
                    row = (low - 1e-9 <= value <= high + 1e-9, high - low, low <= own <= high)
                    out.setdefault((key, copies), []).append(row)
            log.info(
                "%s, %s, %d copies: %.1f s, effective %.0f, accepted %.2f",
                *(name, design, copies, time.thread_time() - began),
                *(found.effective.median().item(), found.acceptance.mean().item()),
            )

        experiment(
            NeuralEstimator.load(a.weights, window=WINDOW),
            truth,
            design,
            schedule(max(a.copies)),
            stream(SEED, "test", start),
            marks=list(a.copies),
            observe=look,  # type: ignore[arg-type]
        )
    return out


def counted(rows: list[tuple[bool, float, bool]]) -> dict[str, float]:
    """Share that holds the truth, with Wilson's interval; median length."""
    inside, length, _ = (np.array(x) for x in zip(*rows, strict=True))
    low, high = wilson(np.array([inside.sum()]), np.array([len(inside)]), LEVEL)[0]
    return {
        "share": float(inside.mean()),
        "low": float(f"{low:.4f}"),
        "high": float(f"{high:.4f}"),
        "length": float(f"{np.median(length):.3g}"),
    }


def text_of(x: Mapping[str, float]) -> str:
    """Share with its interval, and length; within 87 to 93 % bold."""
    share = f"{x['share']:.0%} ({x['low']:.0%} to {x['high']:.0%})"
    bold = "**" if 0.87 <= x["share"] <= 0.93 else ""
    return f"{bold}{share}{bold}; {x['length']:.2g}"


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    rows = [
        [row["states"], row["design"], row["of"], *map(text_of, row["cells"])]
        for row in numbers["rows"]
    ]
    head = ["states", "measurements", "of", *(f"{n:,} copies" for n in numbers["copies"])]
    level = f"{numbers['level']:.0%}"
    return {
        "intervals": f"Share of {numbers['n']} states whose {level} interval holds the truth, with "
        "the 95 % interval of Wilson; median length of the interval. Two qubits, states of "
        f"validation lists of their own. Bold: 87 % to 93 %.\n\n{table(head, rows)}",
        "ranges": ranges(numbers),
        "outside": f"{numbers['outside']} of {numbers['in_all']} estimates lie outside their own "
        "interval.",
    }


def ranges(numbers: Mapping[str, Any]) -> str:
    """Least and largest share for each kind of state."""
    parts = []
    for name in dict.fromkeys(row["states"] for row in numbers["rows"]):
        shares = [
            x["share"] for row in numbers["rows"] if row["states"] == name for x in row["cells"]
        ]
        parts.append(f"{min(shares):.0%} to {max(shares):.0%} for `{name}`")
    return (
        f"Intervals of {numbers['level']:.0%} hold the truth in {', '.join(parts)} "
        f"({numbers['n']} states a cell)."
    )


def measured(a: argparse.Namespace) -> dict[str, Any]:
    """Rows of all ensembles, measurements and functionals."""
    rows, inside = [], []
    for name in a.ensembles:
        for design in a.designs:
            found = cells(name, a.qubits, design, a)
            for key in dict.fromkeys(key for key, _ in found):
                own = [counted(found[key, n]) for n in a.copies]
                rows.append({"states": name, "design": design, "of": key, "cells": own})
            inside += [own for cell in found.values() for _, _, own in cell]
    return {
        "rows": rows,
        "copies": a.copies,
        "level": a.level,
        "n": a.states,
        "outside": inside.count(False),
        "in_all": len(inside),
    }


def main() -> None:
    """Run and print."""
    parser = command(__doc__, "weights", "json", "markdown")
    parser.add_argument("--states", type=int, default=200, help="of each list")
    parser.add_argument("--qubits", type=int, default=2)
    parser.add_argument("--copies", type=int, nargs="+", default=list(COPIES))
    parser.add_argument("--designs", nargs="+", default=["global", "product", "pauli"])
    parser.add_argument("--ensembles", nargs="+", default=list(ENSEMBLES))
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--page", type=int, default=40, help="of the validation lists")
    a = parse(parser)
    write(a, measured(a), tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
