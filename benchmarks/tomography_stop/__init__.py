"""The stopping rule: how often it keeps its promise, and what it costs in copies.

    python benchmarks/tomography_stop [--states 250] [--confidence 0.9]

An experiment looks at its radius after each block of copies, a tenth of those before, and stops
when it is as small as was asked for. The promise is that the infidelity is then below that, with
the confidence that was asked for. Beside it the rule that stops by the radius of regions, which
know nothing of looking: its copies say what it costs to look. States: Bell pairs under random local
unitaries and random pure states, both with white noise, Hilbert-Schmidt states; and the sealed
families.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from common.options import command, parse, write
from common.tables import table
from torch import Tensor

from physml.evaluation.bootstrap import LEVEL
from physml.evaluation.calibration import wilson
from physml.random import stream
from physml.tomography.core.operators import kron_all, random_unitary
from physml.tomography.core.schedule import schedule
from physml.tomography.core.states import draw, named_state, with_white_noise
from physml.tomography.evaluation.sealed_sets import SEALED, sealed_list
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.simulator.experiment import experiment

SCIENCES = ("tomography",)
SEED = 70_112_358
#: Family, white noise, measurements, infidelity that is asked for.
CELLS: tuple[tuple[str, float, str, float], ...] = (
    ("bell", 0.02, "pauli", 0.01),
    ("bell", 0.02, "global", 0.01),
    ("bell", 0.02, "product", 0.01),
    ("bell", 0.0, "pauli", 0.01),
    ("pure", 0.05, "product", 0.02),
    ("pure", 0.05, "pauli", 0.02),
    ("pure", 0.01, "pauli", 0.005),
    ("hs", 0.0, "global", 0.01),
    ("hs", 0.0, "pauli", 0.02),
    *((name, 0.0, "pauli", 0.01) for name in SEALED),
    *((name, 0.0, "global", 0.01) for name in SEALED),
)
GOAL = 0.88


def states(name: str, noise: float, n: int) -> Tensor:
    """True states of a cell (n, 4, 4)."""
    rng = stream(SEED, "test", 0)
    if name in SEALED:
        return sealed_list(name, n)
    if name == "bell":
        local = kron_all(random_unitary(2 * n, 2, rng).reshape(n, 2, 2, 2))
        return local @ with_white_noise(named_state("phi+", 2), noise) @ local.mH
    return with_white_noise(draw(name, n, 4, rng), noise)


def cell(name: str, noise: float, design: str, wanted: float, a: argparse.Namespace) -> Any:
    """What one cell comes to."""
    rho = states(name, noise, a.states)
    blocks = schedule(a.copies)
    ends = np.cumsum(blocks)
    looks: list[tuple[np.ndarray, np.ndarray]] = []

    def look(copies: int, e: NeuralEstimator) -> None:
        both = (e.radius(a.confidence, stop=stop).numpy() for stop in (True, False))
        looks.append(tuple(both))  # type: ignore[arg-type]

    done = experiment(
        NeuralEstimator.load(a.weights),
        rho,
        design,
        blocks,
        stream(SEED, "test", 1),
        marks=ends.tolist(),
        observe=look,  # type: ignore[arg-type]
    )
    out: dict[str, Any] = {"states": name, "noise": noise, "design": design, "infidelity": wanted}
    for k, rule in enumerate(("stop", "region")):
        small = np.stack([x[k] for x in looks], 1) <= wanted
        stopped = small.any(1)
        at = small.argmax(1)
        kept = done.infidelity[np.arange(len(rho)), at] <= wanted
        low, high = wilson(np.array([kept[stopped].sum()]), np.array([stopped.sum()]), LEVEL)[0]
        out[rule] = {
            "stopped": int(stopped.sum()),
            "kept": round(float(kept[stopped].mean()), 4) if stopped.any() else None,
            "low": float(f"{low:.4f}"),
            "high": float(f"{high:.4f}"),
            "copies": float(np.median(np.where(stopped, ends[at], np.inf))),
        }
    return out


def share(x: Mapping[str, Any]) -> str:
    """Share that kept the promise."""
    if x["kept"] is None:
        return "-"
    text = f"{x['kept']:.0%} ({x['low']:.0%} to {x['high']:.0%})"
    return f"**{text}**" if x["kept"] >= GOAL else text


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown by name."""
    rows = []
    for x in numbers["rows"]:
        name = x["states"] + (f" + {x['noise']:.0%}" if x["noise"] else "")
        stop, region = x["stop"], x["region"]
        ratio = f"{stop['copies'] / region['copies']:.2f}" if stop["copies"] < np.inf else "-"
        rows.append(
            [
                *(name, x["design"], f"{x['infidelity']:g}", share(stop), share(region)),
                *(f"{stop['copies']:,.0f}", ratio, stop["stopped"]),
            ]
        )
    head = ["states", "measurements", "asked for", "kept, by the rule", "kept, by regions"]
    kept = [x["stop"]["kept"] for x in numbers["rows"] if x["stop"]["kept"] is not None]
    good = sum(k >= GOAL for k in kept)
    return {
        "stop": f"{numbers['n']} states a cell, confidence {numbers['confidence']:.0%}: share of "
        "the experiments that stopped in which the infidelity is below what was asked for, with "
        "the 95 % interval of Wilson (bold: at least "
        f"{GOAL:.0%}); median copies, and these in units of those of the rule that stops by "
        f"regions.\n\n{table([*head, 'copies', 'ratio', 'stopped'], rows)}",
        "promise": f"The stopping rule keeps its promise of {numbers['confidence']:.0%} in "
        f"{min(kept):.0%} to {max(kept):.0%} of cases ({numbers['n']} states a cell), "
        f"in {good} of {len(kept)} cells in at least {GOAL:.0%}.",
    }


def main() -> None:
    """Run and print."""
    torch.set_num_threads(1)
    parser = command(__doc__, "weights", "json", "markdown")
    parser.add_argument("--states", type=int, default=250, help="of each cell")
    parser.add_argument("--copies", type=int, default=100_000, help="most of an experiment")
    parser.add_argument("--confidence", type=float, default=0.9)
    a = parse(parser)
    rows = [cell(*x, a) for x in CELLS]
    numbers = {"rows": rows, "n": a.states, "confidence": a.confidence}
    write(a, numbers, tables=tables, sciences=SCIENCES)
