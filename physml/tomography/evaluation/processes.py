"""Process tomography judged on simulated processes: errors beside rivals, and coverage."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.random import Generator

from ..core.measurements import pauli_setting
from ..core.process.channels import Complex, kraus_of_choi, side
from ..core.process.diamond import diamond_bounds
from ..core.process.preparations import cardinal_inputs, input_state
from ..inference.process.data import Table, table_of
from ..inference.process.design import Candidate, candidates, choose
from ..inference.process.fit import ProcessEstimate, fit_process
from ..inference.process.functionals import Quantity, calibrated, corrected, quantities
from ..inference.process.goodness import process_fit
from ..inference.process.rivals import linear_inversion, project_to_processes
from ..inference.process.unbiased import LeastSquares, least_squares
from ..simulator.processes import FAMILIES, compose, draw, process_counts, small_unitary

Row = dict[str, Any]

#: Angle between a drawn process and the gate that it is compared with [rad].
MEANT = 0.02
#: Share of the copies of the first, fixed stage of the adaptive design, and stages that follow.
FIRST, STAGES = 0.2, 2


def choi_errors(found: Complex, truth: Complex) -> dict[str, float]:
    """Errors of a Choi matrix.

    Returns
    -------
    dict
        ``frobenius2``: squared Frobenius distance over d^2; ``diamond``: half the diamond norm
        (middle of its bounds); ``infidelity`` of the Choi states.
    """
    d = side(truth)
    low, high = diamond_bounds(found - truth, 40)
    values, vectors = np.linalg.eigh(truth)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.conj().T
    inner = np.clip(np.linalg.eigvalsh(root @ found @ root), 0, None)
    return {
        "frobenius2": float(np.square(np.abs(found - truth)).sum() / d**2),
        "diamond": float(low + high) / 2,
        "infidelity": float(max(0.0, 1 - np.sqrt(inner).sum() ** 2 / d**2)),
    }


def measure(choi: Complex, chosen: list[tuple[Candidate, int]], rng: Generator) -> list[Any]:
    """Counts of a process for inputs and settings with their copies."""
    rho = np.stack([input_state(tuple(c.input.split(","))) for c, _ in chosen])
    effects = np.stack([pauli_setting(c.axes).effects for c, _ in chosen])
    shots = np.array([n for _, n in chosen])
    return list(process_counts(choi, rho, effects, shots, rng))


def table_from(measured: list[tuple[Candidate, Any]]) -> Table:
    """Table of counts by candidate; repeats are added up."""
    sums: dict[Candidate, Any] = {}
    for candidate, counts in measured:
        sums[candidate] = sums.get(candidate, 0) + counts
    return table_of(
        [input_state(tuple(c.input.split(","))) for c in sums],
        [pauli_setting(c.axes).effects for c in sums],
        list(sums.values()),
        [f"{c.input} > {c.axes}" for c in sums],
    )


def fixed_design(n_qubits: int, copies: int, rng: Generator) -> list[tuple[Candidate, int]]:
    """All cardinal inputs and Pauli settings, with the copies dealt out at random."""
    inputs = [",".join(names) for names in cardinal_inputs(n_qubits)]
    axes = ["".join(a) for a in product("XYZ", repeat=n_qubits)]
    given = [Candidate(i, a) for i in inputs for a in axes]
    shots = np.maximum(rng.multinomial(copies, np.full(len(given), 1 / len(given))), 1)
    return [(c, int(n)) for c, n in zip(given, shots, strict=True)]


def fixed(choi: Complex, n: int, copies: int, rng: Generator) -> Table:
    """Counts of the fixed design."""
    chosen = fixed_design(n, copies, rng)
    counts = measure(choi, chosen, rng)
    return table_from(list(zip([c for c, _ in chosen], counts, strict=True)))


def adaptive(choi: Complex, n: int, copies: int, seed: int, rng: Generator) -> Table:
    """Counts of the adaptive design: a fixed stage, then `STAGES` chosen ones."""
    first = int(FIRST * copies)
    chosen = fixed_design(n, first, rng)
    measured = list(zip([c for c, _ in chosen], measure(choi, chosen, rng), strict=True))
    for _ in range(STAGES):
        found = fit_process(table_from(measured), "bayes", seed, chains=8)
        part = (copies - first) // STAGES
        settings = 18 if n == 1 else 72
        chosen = choose(found.latent, found.samples.choi, candidates(n), part, settings)
        counts = measure(choi, chosen, rng)
        measured += zip([c for c, _ in chosen], counts, strict=True)
    return table_from(measured)


def compared(table: Table, truth: Complex, meant: Complex, seed: int, rng: Generator) -> Row:
    """Errors of all estimators on the same counts, and what is reported beside the estimate.

    Parameters
    ----------
    table : Table
        Counts of the process.
    truth : ndarray (d^2, d^2)
        Choi matrix of the process.
    meant : ndarray (d, d)
        Unitary that it is compared with.
    seed : int
        Of the samples.
    rng : Generator
        Of the test of the fit.

    Returns
    -------
    dict
        As JSON holds it: `choi_errors` of ``bayes``, ``maximum_likelihood`` and ``linear``
        (projected), ``r_hat``, ``p_value``, and ``intervals`` at 90 % by quantity.
    """
    found = fit_process(table, "maximum_likelihood", seed)
    linear = linear_inversion(found.latent, table.design, table.counts, table.shots)
    fit = process_fit(found.latent, table, found.mean, found.samples.choi, rng)
    squares = least_squares(found.latent, table)
    return {
        "r_hat": found.samples.agreement,
        "p_value": fit.p_value,
        "bayes": choi_errors(found.mean, truth),
        "maximum_likelihood": choi_errors(found.choi, truth),
        "linear": choi_errors(project_to_processes(linear), truth),
        "intervals": {
            q.name: _held(q, found, squares, truth)
            for q in quantities(side(truth).bit_length() - 1, meant)
        },
    }


def judge(family: str, n: int, copies: int, seed: int, with_adaptive: bool = False) -> Row:
    """One simulated process of a family: errors of all estimators on identical counts, intervals.

    Parameters
    ----------
    family : str
        Of `FAMILIES`.
    n : int
        Number of qubits.
    copies : int
    seed : int
        Of process, counts and samples.
    with_adaptive : bool
        Measure it also with the adaptive design and as many copies.

    Returns
    -------
    dict
        As `compared` gives it; with the adaptive design under ``adaptive`` as well.
    """
    rng = np.random.default_rng([seed, list(FAMILIES).index(family), n, copies])
    d = 1 << n
    truth = draw(family, d, rng)
    u, _, w = np.linalg.svd(kraus_of_choi(truth)[0])
    meant = compose(small_unitary(d, MEANT, rng), (u @ w)[None])[0]
    row: Row = {"family": family, "qubits": n, "copies": copies, "seed": seed}
    row |= compared(fixed(truth, n, copies, rng), truth, meant, seed, rng)
    if with_adaptive:
        row["adaptive"] = compared(adaptive(truth, n, copies, seed, rng), truth, meant, seed, rng)
    return row


def _held(
    quantity: Quantity, found: ProcessEstimate, squares: LeastSquares | None, truth: Complex
) -> dict[str, float]:
    """Truth, interval at 90 % as it is reported, and quantiles of the samples."""
    drawn = corrected(quantity, found.mean, found.samples.choi)
    each = calibrated(quantity, found.mean, drawn, 0.9, squares)
    low, middle, high = np.quantile(drawn.values, [0.05, 0.5, 0.95])
    return {
        "truth": float(quantity.function(truth[None])[0]),
        "likely": float(quantity.function(found.choi[None])[0]),
        "value": each.value,
        "low": each.low,
        "high": each.high,
        "q05": float(low),
        "q50": float(middle),
        "q95": float(high),
    }
