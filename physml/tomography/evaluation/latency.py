"""Latency that a laboratory waits for: CPU time of an experiment on one thread, step by step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physml.random import stream

from ..core.basis import BasisKind
from ..core.born import probabilities, sample_counts
from ..core.estimator import Estimator
from ..core.schedule import schedule
from ..inference.classical.particle_filter import ParticleFilter
from ..inference.neural.estimator import NeuralEstimator
from .sets import LIST_SIZE, evaluation_list

STEPS = ("choose", "update", "estimate")
#: Level of the region whose time is taken where there is one.
LEVEL = 0.9
#: Place of the random streams of timed experiments.
STREAM = 1 << 50
#: Updates that are not counted: memory and kernels are made ready.
FIRST = 3


def time_steps(
    estimator: Estimator,
    blocks: Sequence[int],
    rng: np.random.Generator,
    n_qubits: int = 2,
    kind: BasisKind = "global",
    n_states: int = 1,
) -> dict[str, Any]:
    """Steer an experiment with a random state, an estimate after each block.

    Parameters
    ----------
    estimator : Estimator
    blocks : sequence of int
        Copies of each measurement.
    rng : Generator
    n_qubits : int
    kind : str
        Bases it chooses from.
    n_states : int
        Experiments done together; times are for one of them.

    Returns
    -------
    dict
        For ``choose``, ``update`` and ``estimate``: ``median`` and ``mean``, ms of CPU time; the
        same for ``region`` where weights are calibrated; ``updates``; ``seconds`` of one whole
        experiment, without regions.
    """
    known = evaluation_list("hs", n_qubits, min(n_states, LIST_SIZE))
    rho = known.repeat(-(-n_states // len(known)), 1, 1)[:n_states]
    own, choice, noise = rng.spawn(3)
    estimator.start(n_states, 1 << n_qubits, own)
    spent = np.zeros((len(blocks), len(STEPS)))
    regions = np.zeros(len(blocks))
    learned = isinstance(estimator, NeuralEstimator) and estimator.d in estimator.calibrated
    for k, (row, size) in enumerate(zip(spent, blocks, strict=True)):
        began = time.thread_time()
        effects = estimator.next_basis(kind, choice, size).effects
        chosen = time.thread_time()
        counts = torch.as_tensor(sample_counts(probabilities(effects, rho), size, noise))
        measured = time.thread_time()
        estimator.update(effects, counts)
        updated = time.thread_time()
        estimator.estimate()
        row[:] = chosen - began, updated - measured, time.thread_time() - updated
        if learned:
            began = time.thread_time()
            estimator.radius(LEVEL)  # type: ignore[attr-defined]
            regions[k] = time.thread_time() - began
    spent /= n_states
    counted = 1e3 * spent[FIRST if len(blocks) > 2 * FIRST else 0 :]
    out: dict[str, Any] = {
        name: {"median": float(np.median(column)), "mean": float(column.mean())}
        for name, column in zip(STEPS, counted.T, strict=True)
    }
    if learned:
        each = 1e3 * regions[FIRST if len(blocks) > 2 * FIRST else 0 :] / n_states
        out["region"] = {"median": float(np.median(each)), "mean": float(each.mean())}
    return out | {"updates": len(blocks), "seconds": float(spent.sum())}


def latency(
    weights: Path | None,
    copies: int,
    seed: int,
    *,
    n_qubits: int = 2,
    batch: int = 160,
    by_copy: int = 0,
) -> dict[str, Any]:
    """Times of the learned estimator and of the particle filter in the same run, one thread.

    Parameters
    ----------
    weights : Path or None
        None: the shipped ones.
    copies : int
        Of the experiment that is timed.
    seed : int
    n_qubits : int
    batch : int
        Experiments of the batch.
    by_copy : int
        The filter is also timed with an update after each copy, for so many; 0 leaves it out.

    Returns
    -------
    dict
        ``neural``, ``neural_batch``, ``particle_filter`` and ``particle_filter_by_copy`` as
        `time_steps`; ``ratio``: time of the filter's updates and estimates over those of one
        experiment of ours; ``ratio_batch``: the same over ours in a batch.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        blocks = schedule(copies)

        def timed(estimator: Estimator, sizes: Sequence[int], n_states: int = 1) -> dict[str, Any]:
            rng = stream(seed, "evaluate", STREAM + n_qubits)
            return time_steps(estimator, sizes, rng, n_qubits, n_states=n_states)

        ours = NeuralEstimator.load(weights)
        out: dict[str, Any] = {
            "n_qubits": n_qubits,
            "copies": copies,
            "batch": batch,
            "neural": timed(ours, blocks),
            "neural_batch": timed(ours, blocks, batch),
            "particle_filter": timed(ParticleFilter(), blocks),
        }
        if by_copy:
            out["particle_filter_by_copy"] = timed(ParticleFilter(), [1] * by_copy)
    finally:
        torch.set_num_threads(threads)
    theirs = work(out["particle_filter"])
    return out | {
        "ratio": theirs / work(out["neural"]),
        "ratio_batch": theirs / work(out["neural_batch"]),
    }


def work(times: dict[str, Any], statistic: str = "mean") -> float:
    """An update with its estimate, ms."""
    return float(times["update"][statistic] + times["estimate"][statistic])
