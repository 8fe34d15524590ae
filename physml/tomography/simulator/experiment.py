"""Simulated experiments: an estimator, true states, a design of measurements, a schedule.

All methods are measured by this one loop, on the same states and with the same spending of copies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError

from ..core import measurements
from ..core.basis import Basis, BasisKind
from ..core.born import probabilities, sample_counts
from ..core.estimator import Estimator
from ..core.fixed_measurements import mub_bases, pairwise_effects, sic_effects
from ..core.operators import infidelity, random_unitary
from ..core.schedule import decades

#: Designs that ask the estimator for its next basis.
ADAPTIVE = ("global", "product")
#: Designs that draw a Haar random basis for each block: adaptive designs without the adapting.
RANDOM = ("random_global", "random_product")
#: Designs that do not adapt: effects (k, d, d) of each setting for n qubits.
STATIC: Mapping[str, Callable[[int], Iterable[Tensor]]] = MappingProxyType(
    {
        "pauli": measurements.pauli_effects,
        "mub": lambda n: measurements.basis_effects(mub_bases(n)),
        "sic": lambda n: [sic_effects(n)],
        "sic_joint": lambda n: [sic_effects(n, joint=True)],
        "pairwise": lambda n: [pairwise_effects(n)],
    }
)


@dataclass(frozen=True)
class Experiment:
    """Estimates of simulated experiments, and the time that they took.

    Attributes
    ----------
    marks : ndarray (m,)
        Copies spent at each estimate.
    infidelity : ndarray (S, m)
    estimates : Tensor (S, m, d, d), complex128
    spread : ndarray (S, m)
        Infidelity expected by the estimator itself; NaN where it has no opinion.
    update_seconds : ndarray (blocks,)
        Wall time of the choice of the basis and of the update, for all S together.
    estimate_seconds : ndarray (m,)
        Wall time of the estimate, for all S together.
    """

    marks: np.ndarray
    infidelity: np.ndarray
    estimates: Tensor
    spread: np.ndarray
    update_seconds: np.ndarray
    estimate_seconds: np.ndarray


def experiment(
    estimator: Estimator,
    rho: Tensor,
    design: str | Tensor | Sequence[Tensor],
    schedule: Sequence[int],
    rng: np.random.Generator,
    readout: Callable[[Tensor], Tensor] | None = None,
    marks: Sequence[int] | None = None,
    observe: Callable[[int, Estimator], None] | None = None,
) -> Experiment:
    """Measure true states block by block and let an estimator follow.

    Parameters
    ----------
    estimator : Estimator
        It is started here.
    rho : Tensor (S, d, d)
        True states.
    design : str or Tensor or sequence of Tensor
        ``"global"`` or ``"product"`` (the estimator chooses a basis for each block);
        ``"random_global"`` or ``"random_product"`` (Haar random); one of `STATIC`; or effects
        (k, d, d); or a list of effects. Of several settings each block measures those that have had
        the fewest copies.
    schedule : sequence of int
        Sizes of the blocks, in copies.
    rng : Generator
        Randomness of the estimator, of the design and of the counts: three independent children,
        so that estimators meet the same noise as far as their designs agree.
    readout : callable, optional
        Maps ideal effects to those of the real detector, which both the simulated laboratory and
        the estimator use. None: ideal.
    marks : sequence of int, optional
        Numbers of copies at which to estimate, each the end of a block; `decades` by default.
    observe : callable, optional
        Called with the copies spent and the estimator at each mark.

    Raises
    ------
    InputError
        For an unknown design, or a mark at which no block ends.
    """
    n_states, d = rho.shape[:2]
    ends = np.cumsum(np.asarray(schedule, dtype=np.int64))
    wanted = [int(mark) for mark in (decades(schedule) if marks is None else marks)]
    missing = sorted(set(wanted) - {int(end) for end in ends})
    if missing:
        raise InputError.expected("marks=", "ends of blocks of the schedule", str(missing))
    own, choice, noise = rng.spawn(3)
    ask = _asker(estimator, design, rho.shape, choice)
    estimator.start(n_states, d, own)
    update_seconds = np.zeros(len(ends))
    infidelities, estimates, spreads, estimate_seconds = [], [], [], []
    for block, (size, end) in enumerate(zip(schedule, ends, strict=True)):
        began = time.thread_time()
        settings = ask(int(size))
        elapsed = time.thread_time() - began
        for ideal, shots in settings:
            effects = ideal if readout is None else readout(ideal)
            counts = torch.as_tensor(sample_counts(probabilities(effects, rho), shots, noise))
            began = time.thread_time()
            estimator.update(effects, counts)
            elapsed += time.thread_time() - began
        update_seconds[block] = elapsed
        if int(end) in wanted:
            began = time.thread_time()
            estimate = estimator.estimate()
            estimate_seconds.append(time.thread_time() - began)
            estimates.append(estimate)
            infidelities.append(torch.as_tensor(infidelity(rho, estimate)).numpy())
            spread = estimator.spread()
            unknown = torch.full((n_states,), torch.nan, dtype=torch.float64)
            spreads.append((unknown if spread is None else spread).numpy())
            if observe is not None:
                observe(int(end), estimator)
    return Experiment(
        marks=np.asarray(sorted(wanted)),
        infidelity=np.stack(infidelities, axis=1),
        estimates=torch.stack(estimates, dim=1),
        spread=np.stack(spreads, axis=1),
        update_seconds=update_seconds,
        estimate_seconds=np.asarray(estimate_seconds),
    )


def _asker(
    estimator: Estimator,
    design: str | Tensor | Sequence[Tensor],
    shape: Sequence[int],
    rng: np.random.Generator,
) -> Callable[[int], list[tuple[Tensor, int]]]:
    """Function of the copies of the next block to its settings: pairs of effects and copies."""
    n_states, d = shape[:2]
    if isinstance(design, str) and design in (*ADAPTIVE, *RANDOM):

        def one(size: int) -> list[tuple[Tensor, int]]:
            kind: BasisKind = "product" if design == "product" else "global"
            if design in RANDOM:
                return [(random_basis(design, n_states, d, rng).effects, size)]
            return [(estimator.next_basis(kind, rng, size).effects, size)]

        return one
    settings = menu(design, d)
    spent = np.zeros(len(settings), dtype=np.int64)

    def in_turn(size: int) -> list[tuple[Tensor, int]]:
        before = spent.copy()
        spent[:] = level(spent, size)
        shots = spent - before
        return [(effects, int(n)) for effects, n in zip(settings, shots, strict=True) if n > 0]

    return in_turn


def random_basis(kind: str, n_states: int, d: int, rng: np.random.Generator) -> Basis:
    """One Haar random basis a state; ``"random_product"``: Haar random for each qubit."""
    if kind == "random_product":
        n = d.bit_length() - 1
        local = torch.as_tensor(random_unitary(n_states * n, 2, rng))
        return Basis.product(local.reshape(n_states, n, 2, 2))
    return Basis(torch.as_tensor(random_unitary(n_states, d, rng)))


def menu(design: str | Tensor | Sequence[Tensor], d: int) -> list[Tensor]:
    """Effects (k, d, d) of each setting of a static design."""
    if isinstance(design, str):
        if design not in STATIC:
            known = ", ".join((*ADAPTIVE, *RANDOM, *STATIC))
            raise InputError.expected("design=", f"one of {known}, or effects", repr(design))
        n = d.bit_length() - 1
        return list(STATIC[design](n))
    return [design] if isinstance(design, torch.Tensor) else [torch.as_tensor(e) for e in design]


def level(spent: np.ndarray, size: int) -> np.ndarray:
    """Spend `size` more copies so that the totals of the settings are as equal as can be."""
    total = spent.copy()
    for _ in range(len(spent)):
        # Raise the lowest ones to the next level, or as far as the copies reach.
        low = total == total.min()
        higher = total[~low]
        room = (int(higher.min()) - int(total.min())) * int(low.sum()) if len(higher) else size
        step = min(room, size)
        each, rest = divmod(step, int(low.sum()))
        total[low] += each
        total[np.flatnonzero(low)[:rest]] += 1
        size -= step
        if size == 0:
            break
    return total
