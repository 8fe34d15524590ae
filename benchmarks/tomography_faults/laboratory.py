"""Laboratories with a fault, and what loops of 1,000 copies measure in them, many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from physml.random import stream
from physml.tomography.core.estimator import Estimator
from physml.tomography.core.measurements import Setting, global_setting, product_setting
from physml.tomography.core.operators import kron_all, random_unitary
from physml.tomography.core.states import draw, named_state, with_white_noise
from physml.tomography.inference.designs import make_design, next_shots, take_turns
from physml.tomography.inference.neural.estimator import NeuralEstimator

#: White noise of the Bell pairs, which are turned by random local unitaries.
NOISE = 0.05


@dataclass(frozen=True)
class Run:
    """One loop.

    Attributes
    ----------
    rho : ndarray (d, d)
        True state.
    settings : list of Setting
        That were asked for.
    effects : list of ndarray (k, d, d)
        That were measured.
    counts : list of ndarray (k,)
    estimates : ndarray (blocks, d, d)
        After each block.
    """

    rho: np.ndarray
    settings: list[Setting]
    effects: list[np.ndarray]
    counts: list[np.ndarray]
    estimates: np.ndarray


class Replayed(Estimator):
    """Estimates that were made before."""

    name = "replayed"

    def __init__(self, estimates: np.ndarray) -> None:
        self.estimates = torch.from_numpy(estimates)

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Begin."""
        self.at = 0

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Next block."""
        self.at += 1

    def estimate(self) -> Tensor:
        """Density matrix (1, d, d) after the blocks so far."""
        return self.estimates[max(self.at - 1, 0)][None]


def states(family: str, n: int, rng: np.random.Generator) -> Tensor:
    """True states (n, 4, 4) of a family."""
    if family == "bell":
        local = kron_all(random_unitary(2 * n, 2, rng).reshape(n, 2, 2, 2))
        return local @ with_white_noise(named_state("phi+", 2), NOISE) @ local.mH
    if family == "rank_2":
        half = torch.as_tensor(rng.standard_normal((2, n, 4, 2)))
        a = torch.complex(half[0], half[1])
        made = a @ a.mH
        return made / made.diagonal(dim1=-2, dim2=-1).sum(-1).real[:, None, None]
    return draw(family, n, 4, rng)


def exchanged(effects: np.ndarray) -> np.ndarray:
    """Effects of product settings with the axes X and Y of qubit 0 exchanged.

    That is a transposition of qubit 0, which takes Y to -Y, and a quarter of a turn about Z.
    """
    k = len(effects)
    flipped = effects.reshape(k, 2, 2, 2, 2).swapaxes(1, 3).reshape(k, 4, 4)
    turn = np.kron(np.diag([1, 1j]), np.eye(2))
    out: np.ndarray = turn @ flipped @ turn.conj().T
    return out


def measured(setting: Setting, fault: str, before: np.ndarray | None) -> np.ndarray:
    """Effects that a laboratory with a fault measures when it is asked for a setting."""
    if fault == "inverted":
        if setting.local is not None:
            return product_setting(setting.local.conj().swapaxes(-1, -2), 1).effects
        assert setting.basis is not None
        return global_setting(setting.basis.conj().T, 1).effects
    if fault == "swapped axes":
        return exchanged(setting.effects)
    if fault == "swapped bits":
        return setting.effects[[0, 2, 1, 3]]
    if fault == "stale" and before is not None:
        return before
    return setting.effects


def loops(
    family: str, design: str, fault: str, n: int, copies: int, seed: int, weights: Path | None
) -> list[Run]:
    """Loops of the shipped estimator, as `steer` would run them but for the test of the fit."""
    rho = states(family, n, stream(seed, "test", 0))
    choice, noise = stream(seed, "test", 1).spawn(2)
    e = NeuralEstimator.load(weights) if weights else NeuralEstimator.load()
    e.start(n, 4, choice)
    fixed = make_design(design, 2)
    spent = [0] * len(fixed.settings)
    asked: list[list[Setting]] = [[] for _ in range(n)]
    really: list[list[np.ndarray]] = [[] for _ in range(n)]
    counts: list[list[np.ndarray]] = [[] for _ in range(n)]
    estimates, done = [], 0
    truth = rho.numpy()
    while done < copies:
        shots = min(next_shots(done), copies - done)
        if fixed.adaptive:
            basis = e.next_basis(design, choice, float(shots))  # type: ignore[arg-type]
            made = [
                global_setting(basis.unitary[i], shots, f"m{done}")
                if basis.local is None
                else product_setting(basis.local[i], shots, f"m{done}")
                for i in range(n)
            ]
        else:
            k, one = take_turns(fixed, spent, shots, f"m{done}")
            spent[k] += shots
            made = [one] * n
        block = np.zeros((n, 4))
        for i, setting in enumerate(made):
            effects = measured(setting, fault, asked[i][-1].effects if asked[i] else None)
            p = np.einsum("kij,ji->k", effects, truth[i]).real.clip(0)
            block[i] = noise.multinomial(shots, p / p.sum())
            asked[i].append(setting)
            really[i].append(effects)
            counts[i].append(block[i].astype(np.int64))
        e.update(torch.from_numpy(np.stack([s.effects for s in made])), torch.from_numpy(block))
        estimates.append(e.estimate().numpy())
        done += shots
    led = np.stack(estimates, 1)
    return [Run(truth[i], asked[i], really[i], counts[i], led[i]) for i in range(n)]
