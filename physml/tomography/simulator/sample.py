"""Random states, and counts of Pauli settings with readout errors, shot noise and drift.

A batch holds states of several numbers of qubits in arrays as large as the largest needs; the rest
is zero. Complex numbers are pairs on a last axis of two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physml.random import stream
from physml.stages.simulate import require_finite

from ..core.born import drift, probabilities, sample_counts
from ..core.measurements import pauli_effects
from ..core.operators import trace_distance
from ..core.readout import flips, joint_confusion, noisy_effects
from ..core.states import ENSEMBLES
from ..settings import SimulateSettings


@dataclass
class Sample:
    """One state and what a laboratory counted with Pauli settings.

    Attributes
    ----------
    state : ndarray (d, d), complex128
        Mean over the settings, where the source drifted.
    ensemble : int
        Place in `MixtureSettings.parts`.
    confusion : ndarray (n, 2, 2)
        Readout errors of the laboratory.
    drift : float
        Trace distance between the first and the last state measured.
    counts : ndarray (3^n, d), int64
        Settings in the order of `measurements.pauli_settings`.
    """

    state: NDArray[np.complex128]
    ensemble: int
    confusion: NDArray[np.float64]
    drift: float
    counts: NDArray[np.int64]


@dataclass
class Batch:
    """Samples of any numbers of qubits; n is the largest number, d = 2^n.

    Attributes
    ----------
    index : ndarray (S,), int64
    n_qubits : ndarray (S,), int8
    ensemble : ndarray (S,), int8
    state : ndarray (S, d, d, 2), float64
    confusion : ndarray (S, n, 2, 2), float64
    drift : ndarray (S,), float64
    counts : ndarray (S, 3^n, d), int64
    """

    index: NDArray[np.int64]
    n_qubits: NDArray[np.int8]
    ensemble: NDArray[np.int8]
    state: NDArray[np.float64]
    confusion: NDArray[np.float64]
    drift: NDArray[np.float64]
    counts: NDArray[np.int64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        return dict(vars(self))


def simulate_sample(s: SimulateSettings, seed: int, index: int) -> Sample:
    """Simulate one state; it depends on the settings, the seed and the number only."""
    rng = stream(seed, "simulate", index)
    n = s.n_qubits[index % len(s.n_qubits)]
    d = 1 << n
    parts = s.mixture.parts
    share = np.array(list(parts.values()))
    names = list(parts)
    label = int(rng.choice(len(share), p=share / share.sum()))
    rho = ENSEMBLES[names[label]](1, d, rng)
    # All numbers are drawn in any case, so that a share changes no other sample's stream.
    misread, drifts, size = rng.random(3)
    low, high = np.log(s.flips)
    flipped = np.exp(rng.uniform(low, high, (2, n)))
    low, high = np.log(s.copies)
    copies = np.exp(rng.uniform(low, high))
    other = ENSEMBLES[names[label]](1, d, rng)
    confusion = flips(*flipped) if misread < s.readout else np.tile(np.eye(2), (n, 1, 1))
    end = rho
    if drifts < s.drift:
        part = size * s.drift_size
        end = (1 - part) * rho + part * other
    effects = pauli_effects(n)
    shots = max(1, round(copies / len(effects)))
    states = drift(rho, end, len(effects))
    real = noisy_effects(effects, joint_confusion(torch.from_numpy(confusion)))
    # Each setting is a row of the batch, measured on the state of its time.
    chances = probabilities(real, states[:, 0])
    require_finite("probabilities", chances.numpy(), [index])
    counts = sample_counts(chances, shots, rng)
    return Sample(
        state=states.mean((0, 1)).numpy(),
        ensemble=label,
        confusion=confusion,
        drift=float(trace_distance(end, rho)[0]),
        counts=counts.numpy().astype(np.int64),
    )


def simulate_batch(s: SimulateSettings, seed: int, indices: Iterable[int]) -> Batch:
    """Simulate samples of the given numbers."""
    index = np.fromiter(indices, np.int64)
    size, n = len(index), max(s.n_qubits)
    d = 1 << n
    batch = Batch(
        index=index,
        n_qubits=np.array([s.n_qubits[i % len(s.n_qubits)] for i in index], np.int8),
        ensemble=np.zeros(size, np.int8),
        state=np.zeros((size, d, d, 2)),
        confusion=np.zeros((size, n, 2, 2)),
        drift=np.zeros(size),
        counts=np.zeros((size, 3**n, d), np.int64),
    )
    for row, number in enumerate(index):
        sample = simulate_sample(s, seed, int(number))
        m = len(sample.state)
        batch.ensemble[row] = sample.ensemble
        batch.state[row, :m, :m, 0] = sample.state.real
        batch.state[row, :m, :m, 1] = sample.state.imag
        batch.confusion[row, : len(sample.confusion)] = sample.confusion
        batch.drift[row] = sample.drift
        batch.counts[row, : len(sample.counts), :m] = sample.counts
    return batch
