"""Experiments that are simulated: state, design of the measurements, readout errors of each.

Each follows from settings, seed and its own number alone. Arrays are as large as the largest number
of qubits needs; the rest is zero. Complex numbers are pairs on a last axis of two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physml.random import stream

from ..core.states import ENSEMBLES
from ..settings import DesignSettings, SimulateSettings
from .laboratory_noise import draw_confusion

#: Designs in the order of their numbers.
DESIGNS = tuple(DesignSettings().parts)
#: Largest number of qubits for which there are mutually unbiased bases.
MOST_MUB = 2


@dataclass(frozen=True)
class Experiments:
    """Experiments of any numbers of qubits; n is the largest number, d = 2^n.

    Attributes
    ----------
    index : ndarray (S,), int64
    n_qubits : ndarray (S,), int8
    ensemble : ndarray (S,), int8
        Place in `MixtureSettings.parts`.
    design : ndarray (S,), int8
        Place in `DESIGNS`.
    state : ndarray (S, d, d, 2), float64
    confusion : ndarray (S, n, 2, 2), float64
        P(read | true) of each qubit; the identity where the readout is perfect, and for a design
        that is not of bases: there no qubit is read by itself.
    """

    index: NDArray[np.int64]
    n_qubits: NDArray[np.int8]
    ensemble: NDArray[np.int8]
    design: NDArray[np.int8]
    state: NDArray[np.float64]
    confusion: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        return dict(vars(self))


def qubits_of(s: SimulateSettings, index: int) -> int:
    """Number of qubits of an experiment: they take turns."""
    return s.n_qubits[index % len(s.n_qubits)]


def shares_of_designs(s: SimulateSettings, n: int) -> NDArray[np.float64]:
    """Shares of `DESIGNS` for a number of qubits; they sum to one."""
    share = np.array(list(s.designs.parts.values()))
    if n > MOST_MUB:
        share[DESIGNS.index("mub")] = 0.0
    return np.asarray(share / share.sum())


def draw_experiments(s: SimulateSettings, seed: int, indices: Iterable[int]) -> Experiments:
    """Experiments of the given numbers."""
    index = np.fromiter(indices, np.int64)
    size, largest = len(index), max(s.n_qubits)
    d = 1 << largest
    out = Experiments(
        index=index,
        n_qubits=np.array([qubits_of(s, int(i)) for i in index], np.int8),
        ensemble=np.zeros(size, np.int8),
        design=np.zeros(size, np.int8),
        state=np.zeros((size, d, d, 2)),
        confusion=np.zeros((size, largest, 2, 2)),
    )
    mixture = s.mixture.parts
    names, share = list(mixture), np.array(list(mixture.values()))
    for row, number in enumerate(index):
        rng = stream(seed, "simulate", int(number))
        n = int(out.n_qubits[row])
        # A share that changes moves no number but those that it is compared with.
        kind, way = rng.random(2)
        label, design = _place(share, kind), _place(shares_of_designs(s, n), way)
        confusion = draw_confusion(n, s.readout, s.flips, rng)
        rho = ENSEMBLES[names[label]](1, 1 << n, rng)[0]
        out.ensemble[row], out.design[row] = label, design
        out.state[row, : 1 << n, : 1 << n] = torch.view_as_real(rho).numpy()
        perfect = np.tile(np.eye(2), (n, 1, 1))
        out.confusion[row, :n] = perfect if DESIGNS[design] == "sic" else confusion
    return out


def _place(share: NDArray[np.float64], u: float) -> int:
    """Number of the part that u, between 0 and 1, falls in."""
    # Rounding of the sum must not lead beyond the last part that has a share.
    place = np.searchsorted(np.cumsum(share) / share.sum(), u, side="right")
    return int(min(place, np.flatnonzero(share)[-1]))
