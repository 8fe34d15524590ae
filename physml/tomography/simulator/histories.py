"""Whole experiments as a laboratory would record them: every basis and every count.

Experiments of one batch that share number of qubits and design are followed together. Their states
depend on their own numbers; the counts, and what an adaptive design chooses, on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from physml.random import stream
from physml.stages.simulate import require_finite

from ..core.basis import BasisKind, basis_effects
from ..core.born import probabilities, sample_counts
from ..core.estimator import Estimator
from ..core.schedule import schedule
from ..settings import SimulateSettings
from .experiment import ADAPTIVE, RANDOM, level, menu, random_basis
from .experiments import DESIGNS, draw_experiments, shares_of_designs
from .laboratory_noise import LaboratoryNoise
from .recorded_bases import pack, unpack

#: First number of the random streams of the measurements, beyond all numbers of experiments.
STREAMS = 2**40


def measure(
    estimator: Estimator,
    rho: Tensor,
    design: str,
    blocks: Sequence[int],
    noise: LaboratoryNoise,
    rng: Generator,
    numbers: Sequence[int] | None = None,
) -> tuple[NDArray[np.float32] | None, NDArray[np.int32]]:
    """Measure true states block by block and record everything.

    Parameters
    ----------
    estimator : Estimator
        Chooses the bases of adaptive designs and is told what is known of the laboratory; it is
        started here. Others do not need it.
    rho : Tensor (S, d, d)
        True states.
    design : str
        One of `DESIGNS`.
    blocks : sequence of int
        Copies of each block.
    noise : LaboratoryNoise
    rng : Generator
    numbers : sequence of int, optional
        Of the experiments, by which one is named that goes wrong.

    Returns
    -------
    bases : ndarray (S, blocks, d, d, 2), float32, or None
        As in `recorded_bases`; None of a design that is the same for all.
    counts : ndarray (S, blocks, k), int32
        Of a basis its d outcomes; otherwise those of all settings of `experiment.menu`, one after
        the other, zero for those that were not measured in a block.

    Raises
    ------
    NonFiniteError
        A probability is no number.
    """
    names = range(len(rho)) if numbers is None else numbers
    own, choice, luck = rng.spawn(3)
    spent = np.cumsum([0, *blocks])
    if design not in (*ADAPTIVE, *RANDOM):
        return None, _fixed(rho, design, spent, noise, luck, names)
    n_states, d = rho.shape[:2]
    if design in ADAPTIVE:
        estimator.start(n_states, d, own)
    kind: BasisKind = "product" if design == "product" else "global"
    bases = np.zeros((n_states, len(blocks), d, d, 2), np.float32)
    counts = np.zeros((n_states, len(blocks), d), np.int32)
    before: Tensor | None = None
    for k, size in enumerate(blocks):
        if design in RANDOM:
            chosen = random_basis(design, n_states, d, choice)
        else:
            chosen = estimator.next_basis(kind, choice, size)
        pairs = pack(chosen.unitary)
        basis = unpack(pairs)
        p = probabilities(noise.real(basis, before), noise.state(rho, spent[k] / spent[-1]))
        require_finite("probabilities", p.numpy(), names)
        found = sample_counts(p, size, luck)
        bases[:, k], counts[:, k] = pairs.numpy(), found.numpy()
        if design in ADAPTIVE:
            estimator.update(noise.known(basis_effects(basis)), found)
        before = basis
    return bases, counts


def _fixed(
    rho: Tensor,
    design: str,
    spent: NDArray[np.int64],
    noise: LaboratoryNoise,
    luck: Generator,
    names: Sequence[int],
) -> NDArray[np.int32]:
    """Counts (S, blocks, k) of settings that share each block as evenly as can be."""
    settings = [noise.known(effects) for effects in menu(design, rho.shape[-1])]
    ends = np.cumsum([0, *(effects.shape[-3] for effects in settings)])
    counts = np.zeros((len(rho), len(spent) - 1, ends[-1]), np.int32)
    had = np.zeros(len(settings), np.int64)
    for k, size in enumerate(np.diff(spent)):
        now = level(had, int(size))
        state = noise.state(rho, spent[k] / spent[-1])
        for j in np.flatnonzero(now > had):
            p = probabilities(settings[j], state)
            require_finite("probabilities", p.numpy(), names)
            found = sample_counts(p, now[j] - had[j], luck)
            counts[:, k, ends[j] : ends[j + 1]] = found.numpy()
        had = now
    return counts


def outcomes(s: SimulateSettings) -> int:
    """Columns that counts need: the most outcomes of a block of any design."""
    most = 0
    for n in s.n_qubits:
        d = 1 << n
        for name, share in zip(DESIGNS, shares_of_designs(s, n), strict=True):
            if share > 0:
                fixed = name not in (*ADAPTIVE, *RANDOM)
                most = max(most, sum(len(e) for e in menu(name, d)) if fixed else d)
    return most


def simulate_batch(
    s: SimulateSettings, seed: int, batch: int, designer: Callable[[int], Estimator]
) -> dict[str, NDArray[Any]]:
    """Simulate a batch of experiments.

    Parameters
    ----------
    s : SimulateSettings
    seed : int
    batch : int
        Number of the batch, from 0: its experiments are those of the numbers from ``batch`` times
        ``s.batch`` on, as far as there are any.
    designer : callable
        Gives an estimator for a dimension, which designs the adaptive measurements.

    Returns
    -------
    dict of ndarray
        Those of `Experiments`, and ``bases`` (S, blocks, d, d, 2), float32, zero where a design is
        the same for all; ``counts`` (S, blocks, k), int32, as `measure` gives them.
    """
    numbers = range(batch * s.batch, min((batch + 1) * s.batch, s.n_samples))
    found = draw_experiments(s, seed, numbers)
    blocks, d = schedule(s.copies), 1 << max(s.n_qubits)
    bases = np.zeros((len(found.index), len(blocks), d, d, 2), np.float32)
    counts = np.zeros((len(found.index), len(blocks), outcomes(s)), np.int32)
    for n, design, rows in groups(found.n_qubits, found.design):
        rng = stream(seed, "simulate", STREAMS + (batch * 8 + n) * 16 + design)
        m = 1 << n
        rho = torch.view_as_complex(
            torch.from_numpy(np.ascontiguousarray(found.state[rows, :m, :m]))
        )
        noise = noise_of(found.confusion[rows, :n])
        numbered = found.index[rows].tolist()
        how, seen = measure(designer(m), rho, DESIGNS[design], blocks, noise, rng, numbered)
        if how is not None:
            bases[rows, :, :m, :m] = how
        counts[rows, :, : seen.shape[-1]] = seen
    return {**found.arrays(), "bases": bases, "counts": counts}


def noise_of(confusion: NDArray[np.float64]) -> LaboratoryNoise:
    """Noise of the laboratories with these confusions (S, n, 2, 2)."""
    if np.array_equal(confusion, np.broadcast_to(np.eye(2), confusion.shape)):
        return LaboratoryNoise()
    return LaboratoryNoise(torch.from_numpy(np.ascontiguousarray(confusion)))


def groups(
    n_qubits: NDArray[np.int8], design: NDArray[np.int8]
) -> Iterable[tuple[int, int, NDArray[np.int64]]]:
    """Rows of each number of qubits and design that occur: (qubits, design, rows)."""
    for n in np.unique(n_qubits):
        for k in np.unique(design[n_qubits == n]):
            yield int(n), int(k), np.flatnonzero((n_qubits == n) & (design == k))
