"""How often intervals of functionals hold the truth, on validation lists and on sealed families.

    python benchmarks/tomography_intervals.py [--states 250] [--designs global product pauli]

Validation lists are pages of their own, which nothing is evaluated on; the sealed families
(`physml.tomography.evaluation.sealed_sets`) were neither trained nor calibrated on. Each state is
measured up to each number of copies, and the interval is the one that a `Tomographer` would give.
Fidelities are to the eigenvector of the true state with the largest eigenvalue, as to a target that
was met; and to Phi+, which has nothing to do with it. The population is that of the first basis
state, the eigenvalue the largest. The region is counted as well. *Misread*: the same states, each
qubit read as 1 for 0 in 1 % and as 0 for 1 in 4 % of cases, which the estimator knows.
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
from physml.tomography.core.operators import concurrence, entropy, infidelity, purity
from physml.tomography.core.readout import Readout, flips
from physml.tomography.core.schedule import schedule
from physml.tomography.core.states import named_state
from physml.tomography.evaluation.sealed_sets import SEALED, sealed_list
from physml.tomography.evaluation.sets import validation_list
from physml.tomography.inference.neural.draws import Draws
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.neural.intervals import may_be_separable
from physml.tomography.inference.posterior import PARTICLES
from physml.tomography.simulator.experiment import experiment

log = logging.getLogger("benchmarks")

SCIENCES = ("tomography",)
SEED = 31_415
COPIES = (100, 1_000, 10_000, 100_000)
ENSEMBLES = ("pure", "pure_white_5", "hs")
WITHIN = (0.87, 0.97)
#: Families that are measured with misread outcomes as well, and the chances: 1 for 0, 0 for 1.
MISREAD, FLIPS = ("rank_2", "dephased_bell", "x_states"), (0.01, 0.04)
SUFFIX = ", misread"
SEALED_NAMES = (*SEALED, *(name + SUFFIX for name in MISREAD))
#: States whose draws are held at once.
BATCH = 50
Function = Callable[[Tensor], Tensor]


def functions(truth: Tensor) -> dict[str, tuple[str, Function, tuple[float, float]]]:
    """Functionals of states (S, M, d, d): kind, function, bounds; of true states (S, d, d)."""
    ket = torch.linalg.eigh(truth)[1][..., -1]
    phi = named_state("phi+", 2)

    def each(f: Function) -> Function:
        return lambda rho: f(rho.flatten(0, 1)).reshape(rho.shape[:2])

    return {
        "purity": ("purity", each(purity), (0.25, 1.0)),
        "entropy": ("entropy", each(entropy), (0.0, 2.0)),
        "concurrence": ("concurrence", each(concurrence), (0.0, 1.0)),
        "fidelity, own": (
            "fidelity",
            lambda rho: torch.einsum("si,smij,sj->sm", ket.conj(), rho, ket).real,
            (0.0, 1.0),
        ),
        "fidelity, Phi+": (
            "fidelity",
            lambda rho: torch.einsum("ij,smji->sm", phi, rho).real,
            (0.0, 1.0),
        ),
        "population": ("observable", lambda rho: rho[..., 0, 0].real, (0.0, 1.0)),
        "eigenvalue": ("eigenvalue", each(lambda r: torch.linalg.eigvalsh(r)[:, -1]), (0.0, 1.0)),
    }


def states(name: str, a: argparse.Namespace) -> Tensor:
    """States of a sealed family or of validation lists."""
    if name in SEALED_NAMES:
        return sealed_list(name.removesuffix(SUFFIX), a.states)
    pages = range(a.page, a.page + 1 + (a.states - 1) // 160)
    return torch.cat([validation_list(name, 2, 160, page=k) for k in pages])[: a.states]


def cells(
    name: str, design: str, a: argparse.Namespace
) -> dict[tuple[str, int], list[tuple[bool, float]]]:
    """Whether the interval holds the truth, and its length, of all functionals and states."""
    out: dict[tuple[str, int], list[tuple[bool, float]]] = {}
    began = time.thread_time()
    for start, truth in enumerate(states(name, a).split(BATCH)):

        def look(copies: int, e: NeuralEstimator, truth: Tensor = truth, k: int = start) -> None:
            draws = Draws(e.correction()[1], PARTICLES, stream(SEED, "test", copies + k))
            vectors = e.filter.vectors[:, None]
            near = vectors @ draws.states() @ vectors.mH
            inputs, estimate, network = e.inputs()[0], e.estimate()[:, None], e.quantiles.intervals
            wrong, radius = infidelity(truth, estimate[:, 0]), e.radius(a.level)
            rows = zip((wrong <= radius).tolist(), radius.tolist(), strict=True)
            out.setdefault(("region", copies), []).extend(rows)
            for key, (kind, f, bounds) in functions(truth).items():
                value, true = f(estimate)[:, 0], f(truth[:, None])[:, 0].numpy()
                low, high = network.ends(kind, a.level, inputs, f(near), value, bounds)
                if kind == "concurrence":
                    low = np.where(may_be_separable(value.numpy(), radius.numpy()), 0.0, low)
                inside = (low - 1e-9 <= true) & (true <= high + 1e-9)
                rows = zip(inside.tolist(), (high - low).tolist(), strict=True)
                out.setdefault((key, copies), []).extend(rows)

        experiment(
            NeuralEstimator.load(a.weights),
            truth,
            design,
            schedule(max(a.copies)),
            stream(SEED, "test", start),
            readout=Readout(flips([FLIPS[0]] * 2, [FLIPS[1]] * 2)) if SUFFIX in name else None,
            marks=list(a.copies),
            observe=look,  # type: ignore[arg-type]
        )
    log.info("%s, %s: %.0f s", name, design, time.thread_time() - began)
    return out


def counted(rows: list[tuple[bool, float]]) -> dict[str, float]:
    """Share that holds the truth, with Wilson's interval; median length."""
    inside, length = (np.array(x) for x in zip(*rows, strict=True))
    low, high = wilson(np.array([inside.sum()]), np.array([len(inside)]), LEVEL)[0]
    return {
        "share": round(float(inside.mean()), 4),
        "low": float(f"{low:.4f}"),
        "high": float(f"{high:.4f}"),
        "length": float(f"{np.median(length):.3g}"),
    }


def within(x: Mapping[str, float]) -> bool:
    """Whether a share is within the goal."""
    return WITHIN[0] <= x["share"] <= WITHIN[1]


def text_of(x: Mapping[str, float]) -> str:
    """Share with its interval, and length; within the goal bold."""
    share = f"{x['share']:.0%} ({x['low']:.0%} to {x['high']:.0%})"
    bold = "**" if within(x) else ""
    return f"{bold}{share}{bold}; {x['length']:.2g}"


def shown(numbers: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Table of some lists."""
    rows = [
        [row["states"], row["design"], row["of"], *map(text_of, row["cells"])]
        for row in numbers["rows"]
        if row["states"] in names
    ]
    return table(
        ["states", "measurements", "of", *(f"{n:,} copies" for n in numbers["copies"])], rows
    )


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    level, low, high = f"{numbers['level']:.0%}", *(f"{x:.0%}" for x in WITHIN)
    text = (
        f"Share of {numbers['n']} states whose {level} interval (or region) holds the truth, with "
        f"the 95 % interval of Wilson; median length. Two qubits. Bold: {low} to {high}.\n\n"
    )
    return {
        "intervals": f"Validation lists. {text}{shown(numbers, ENSEMBLES)}",
        "sealed": f"Sealed families. {text}{shown(numbers, SEALED_NAMES)}",
        "ranges": ranges(numbers, ENSEMBLES),
        "sealed_ranges": ranges(numbers, SEALED_NAMES),
    }


def ranges(numbers: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """How many cells hold what intervals promise, and the extremes."""
    found = [x for row in numbers["rows"] if row["states"] in names for x in row["cells"]]
    good = sum(map(within, found))
    shares = [x["share"] for x in found]
    return (
        f"Intervals and regions of {numbers['level']:.0%} hold the truth in {min(shares):.0%} to "
        f"{max(shares):.0%} of cases, in {good} of {len(found)} cells in {WITHIN[0]:.0%} to "
        f"{WITHIN[1]:.0%} ({numbers['n']} states a cell)."
    )


def measured(a: argparse.Namespace) -> dict[str, Any]:
    """Rows of all ensembles, measurements and functionals."""
    rows = []
    for name in a.ensembles:
        for design in a.designs:
            found = cells(name, design, a)
            for key in dict.fromkeys(key for key, _ in found):
                own = [counted(found[key, n]) for n in a.copies]
                rows.append({"states": name, "design": design, "of": key, "cells": own})
    return {"rows": rows, "copies": a.copies, "level": a.level, "n": a.states}


def main() -> None:
    """Run and print."""
    torch.set_num_threads(1)
    parser = command(__doc__, "weights", "json", "markdown")
    parser.add_argument("--states", type=int, default=250, help="of each list")
    parser.add_argument("--copies", type=int, nargs="+", default=list(COPIES))
    parser.add_argument("--designs", nargs="+", default=["global", "product", "pauli"])
    parser.add_argument("--ensembles", nargs="+", default=[*ENSEMBLES, *SEALED_NAMES])
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--page", type=int, default=40, help="of the validation lists")
    a = parse(parser)
    write(a, measured(a), tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
