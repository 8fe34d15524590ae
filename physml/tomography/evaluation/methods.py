"""All methods that are compared, learned or not, run alike: one row of a table each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError
from physml.random import stream

from ..core.checks import check_qubits
from ..core.estimator import Estimator
from ..core.operators import fidelity
from ..core.schedule import schedule
from ..inference.by_name import make_estimator
from ..inference.cell.estimator import CellEstimator
from ..inference.classical.particle_filter import ParticleFilter
from ..inference.designs import ADAPTIVE, FIXED
from ..inference.neural.estimator import NeuralEstimator
from ..settings import CELL, NEURAL
from ..simulator.experiment import experiment
from .baselines import BASELINES, Baseline, run_baseline
from .sets import evaluation_list

Floats = NDArray[np.float64]

#: States whose particles are compared with an estimate at once, to bound the memory.
CHUNK = 20


@dataclass(frozen=True)
class Outcome:
    """Infidelities, regions and times of a method on a list of states.

    Attributes
    ----------
    infidelity : ndarray (S, m)
        At each mark.
    radius : ndarray (S, m)
        Of its region, as infidelity; NaN for methods that have none.
    spread : ndarray (S, m)
        Infidelity that it expects; NaN for methods that have no opinion.
    update_ms, estimate_ms : float
        CPU time for one state where all are done in a batch: choosing a basis and taking in its
        counts; estimating.
    """

    infidelity: Floats
    radius: Floats
    spread: Floats
    update_ms: float
    estimate_ms: float

    @classmethod
    def join(cls, parts: Sequence[Outcome]) -> Outcome:
        """Outcomes of parts of a list, in their order."""
        share = np.array([len(p.infidelity) for p in parts], np.float64)
        return cls(
            infidelity=np.concatenate([p.infidelity for p in parts]),
            radius=np.concatenate([p.radius for p in parts]),
            spread=np.concatenate([p.spread for p in parts]),
            update_ms=float(np.average([p.update_ms for p in parts], weights=share)),
            estimate_ms=float(np.average([p.estimate_ms for p in parts], weights=share)),
        )


def method(name: str, weights: Path | None = None) -> Baseline:
    """Estimator and design of a row.

    Parameters
    ----------
    name : str
        One of `settings.NEURAL`, `settings.CELL` or `baselines.BASELINES`.
    weights : Path, optional
        Of the learned estimators; the shipped ones by default.
    """
    if name in NEURAL:
        return Baseline(lambda total: NeuralEstimator.load(weights), name.removeprefix("neural, "))
    if name in CELL:
        return Baseline(
            lambda total: CellEstimator.load(weights), name.removeprefix("particle cell, ")
        )
    return BASELINES[name]


def run_method(
    how: Baseline, rho: Tensor, marks: Sequence[int], rng: np.random.Generator, level: float = 0.9
) -> Outcome:
    """Run one method on states.

    Parameters
    ----------
    how : Baseline
        See `method`.
    rho : Tensor (S, d, d)
    marks : sequence of int
        Copies at which to estimate, ascending.
    rng : Generator
        Methods that are given equal ones draw alike, as far as they measure alike.
    level : float
        Of the regions.
    """
    radii: list[Floats] = []

    def observe(copies: int, estimator: Estimator) -> None:
        radii.append(region_radius(estimator, level))

    done = run_baseline(how, rho, rng, marks, observe)
    radius = np.stack(radii, 1) if radii else np.full(done.infidelity.shape, np.nan)
    return Outcome(
        infidelity=done.infidelity,
        radius=radius,
        spread=done.spread,
        update_ms=1e3 * float(done.update_seconds.mean()) / len(rho),
        estimate_ms=1e3 * float(done.estimate_seconds.mean()) / len(rho),
    )


def region_radius(estimator: Estimator, level: float) -> Floats:
    """Infidelity (S,) about the estimates within which the truth should lie.

    The learned estimator has been calibrated; the particle filter counts its particles; others
    have no regions: NaN.
    """
    if isinstance(estimator, NeuralEstimator) and estimator.d in estimator.calibrated:
        return estimator.radius(level).numpy()
    if isinstance(estimator, ParticleFilter):
        estimate, states, weights = estimator.estimate(), estimator.particles(), estimator.weights()
        far = torch.cat(
            [
                1 - fidelity(s, e[:, None].expand_as(s))
                for s, e in zip(states.split(CHUNK), estimate.split(CHUNK), strict=True)
            ]
        )
        return share_radius(far, weights, level).numpy()
    return np.full(estimator.n_states, np.nan)


def share_radius(far: Tensor, weights: Tensor, level: float) -> Tensor:
    """Smallest of the distances (S, P) within which a share of the weights (S, P) lies, (S,)."""
    order = far.argsort(1)
    total = weights.gather(1, order).cumsum(1)
    # Rounding must not ask for more than there is.
    place = (total < level * total[:, -1:] * (1 - 1e-12)).sum(1, keepdim=True)
    return far.gather(1, order).gather(1, place)[:, 0]


def compare_estimators(
    names: Sequence[str],
    ensemble: str,
    n_qubits: int,
    design: str,
    copies: int,
    states: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Infidelity of estimators on the first states of a frozen list.

    Parameters
    ----------
    names : sequence of str
        Of the estimators; see `by_name.ESTIMATORS`.
    ensemble : str
        Of the list; see `sets.evaluation_list`.
    n_qubits : int
    design : str
        One of `designs.ADAPTIVE` and `designs.FIXED`.
    copies : int
        Of each state.
    states : int
        States of the list.
    seed : int
        Of the counts.

    Returns
    -------
    list of dict
        ``estimator``, ``copies``, ``mean``, ``median``, ``p95`` of the infidelity, and
        ``ms``, milliseconds of an update of one state in this batch.

    Raises
    ------
    InputError
        No such ensemble, design or estimator.
    """
    check_qubits(n_qubits)
    if design not in (*ADAPTIVE, *FIXED):
        raise InputError.expected(
            "design=", f"one of {', '.join((*ADAPTIVE, *FIXED))}", repr(design)
        )
    try:
        rho = evaluation_list(ensemble, n_qubits, states)
    except ValueError as error:
        raise InputError(f"ensemble=: {error}") from error
    made = {name: make_estimator(name) for name in names}  # a misspelt one stops all at once
    rows = []
    for name, estimator in made.items():
        found = experiment(estimator, rho, design, schedule(copies), stream(seed, "test", 0))
        for k, mark in enumerate(found.marks):
            values = found.infidelity[:, k]
            rows.append(
                {
                    "estimator": name,
                    "copies": int(mark),
                    "mean": float(values.mean()),
                    "median": float(np.median(values)),
                    "p95": float(np.quantile(values, 0.95)),
                    "ms": 1e3 * float(found.update_seconds.mean()) / states,
                }
            )
    return rows
