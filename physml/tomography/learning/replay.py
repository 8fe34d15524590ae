"""Recorded experiments, replayed: what the information filter knew at some moments of each.

The filter is told the same effects and counts as in a laboratory. Where a design repeats its
settings they are merged, as they are for a single experiment; bases that do not come again leave a
window after a while (see `information_filter`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.basis import basis_effects
from ..core.eigenframe import scales, vec
from ..inference.neural.corrector import CovarianceSummary, features
from ..inference.neural.information_filter import InformationFilter, inverse, scaled_information
from ..simulator.experiment import ADAPTIVE, RANDOM, menu
from ..simulator.laboratory_noise import LaboratoryNoise
from ..simulator.recorded_bases import unpack

Arrays = dict[str, NDArray[Any]]

#: Bases that do not come again which the filter keeps in full.
WINDOW = 48
#: Most Newton steps a block, and the decrement at which there are no more; and the same at a moment
#: that is kept. The estimate is then where a single experiment would be followed to, but for what
#: has left the window: two qubits at up to 1e5 copies, 0.1 % of the infidelity in the worst
#: twentieth of cases.
STEPS, DECREMENT = 1, 0.5
LAST_STEPS, LAST_DECREMENT = 8, 0.01


class ReplayFilter(InformationFilter):
    """Information filter that says of some experiments what a single one would know.

    Parameters
    ----------
    n_states, d : int
    window : int
        Rows (outcomes) that are kept in full.
    """

    def __init__(self, n_states: int, d: int, window: int) -> None:
        super().__init__(n_states, d, window=window, tolerance=DECREMENT, steps=STEPS)

    def settle(self, rows: Tensor) -> None:
        """Follow some experiments (m,) to the maximum."""
        for _ in range(LAST_STEPS):
            rows = rows[self.decrement[rows] > LAST_DECREMENT]
            if not len(rows):
                return
            self._step(rows)

    def covariance_of(self, rows: Tensor) -> Tensor:
        """Scaled covariance (m, d * d, d * d) of experiments (m,), at the estimate itself.

        That of all, `covariance`, has the curvature before the last step.
        """
        values, frame = self.values[rows], self.frame[rows]
        x = (frame[..., : self.d] @ values[..., None])[..., 0]
        information = self._expansion(rows, x)[1]
        return inverse(scaled_information(information, frame, scales(values), self.beta))


class RepeatedFilter(ReplayFilter):
    """Filter of measurements that are the same in all blocks, but each experiment's own.

    Parameters
    ----------
    effects : Tensor (S, k, d, d)
        Of all settings.
    """

    def __init__(self, effects: Tensor) -> None:
        n_states, k, d = effects.shape[:3]
        super().__init__(n_states, d, k)
        self._keep(vec(effects), torch.zeros(n_states, k, dtype=torch.float64))

    def again(self, counts: Tensor) -> None:
        """Take in more counts (S, k) of them, and follow the maximum."""
        self._counts = self._counts + counts
        self.copies = self.copies + counts.sum(-1)
        self.follow(self.steps)


def replay(
    design: str,
    rho: Tensor,
    bases: NDArray[np.float32],
    counts: NDArray[np.int32],
    noise: LaboratoryNoise,
    keep: NDArray[np.bool_],
) -> tuple[Arrays, NDArray[np.int64]]:
    """Moments of experiments of one design.

    Parameters
    ----------
    design : str
        One of `experiments.DESIGNS`.
    rho : Tensor (S, d, d)
        True states.
    bases : ndarray (S, blocks, d, d, 2)
    counts : ndarray (S, blocks, k)
        As `histories.measure` gives them; there may be more columns, all of zero.
    noise : LaboratoryNoise
        What is known of the laboratory.
    keep : ndarray (S, blocks), bool
        Blocks after which there is to be a moment.

    Returns
    -------
    moments : dict of ndarray
        ``feature``; ``values``, ``deviation``, ``binding``, ``parts`` (`CovarianceSummary`);
        ``truth`` (m, d, d, 2), B with true state B B^+ in the eigenframe of the filter;
        ``copies``. Block by block.
    row : ndarray (m,)
        Experiment of each moment.
    """
    n_states, d = rho.shape[:2]
    if n_states == 1:
        # A single one would be followed by other code.
        confusion = None if noise.confusion is None else noise.confusion.repeat(2, 1, 1, 1)
        twice = LaboratoryNoise(confusion)
        pairs, seen_twice = np.repeat(bases, 2, 0), np.repeat(counts, 2, 0)
        both = np.repeat(keep, 2, 0)
        found, row = replay(design, rho.repeat(2, 1, 1), pairs, seen_twice, twice, both)
        return {k: v[row == 0] for k, v in found.items()}, row[row == 0]
    # The root of a state of any rank, so that fidelities are exact.
    values, vectors = torch.linalg.eigh(rho)
    root = vectors * values.clamp(min=0).sqrt()[:, None]
    seen = torch.from_numpy(counts).to(torch.float64)
    fixed = design not in (*ADAPTIVE, *RANDOM)
    filter_: ReplayFilter
    if fixed:
        told = [noise.known(effects).expand(n_states, -1, d, d) for effects in menu(design, d)]
        effects = torch.cat(told, 1)
        filter_ = RepeatedFilter(effects)
    else:
        filter_ = ReplayFilter(n_states, d, WINDOW * d)
    parts: list[dict[str, Tensor]] = []
    rows: list[NDArray[np.int64]] = []
    for block in range(seen.shape[1]):
        if isinstance(filter_, RepeatedFilter):
            filter_.again(seen[:, block, : effects.shape[1]])
        else:
            basis = unpack(torch.from_numpy(np.ascontiguousarray(bases[:, block])))
            filter_.add(noise.known(basis_effects(basis)), seen[:, block, :d])
        row = np.flatnonzero(keep[:, block])
        if len(row):
            parts.append(moment(filter_, root, torch.from_numpy(row)))
            rows.append(row)
    if not parts:
        none = torch.zeros(0, dtype=torch.int64)
        parts, rows = [moment(filter_, root, none)], [none.numpy()]
    found = {
        name: torch.cat([p[name] for p in parts]).to(_dtype(name)).numpy() for name in parts[0]
    }
    return found, np.concatenate(rows)


def _dtype(name: str) -> torch.dtype:
    return torch.float64 if name == "copies" else torch.float32


def moment(filter_: ReplayFilter, root: Tensor, rows: Tensor) -> dict[str, Tensor]:
    """Knowledge of the filter about some of the experiments, and the truth in its frame.

    These are followed to the maximum of the likelihood.

    Parameters
    ----------
    filter_ : ReplayFilter
        Of S experiments.
    root : Tensor (S, d, d)
        B with true states B B^+.
    rows : Tensor (m,)
    """
    f = filter_
    f.settle(rows)
    values, vectors = f.values[rows], f.vectors[rows]
    covariance = f.covariance_of(rows)
    return {
        "feature": features(values, covariance, f.copies[rows]),
        **vars(CovarianceSummary.of(values, covariance)),
        "truth": torch.view_as_real((vectors.mH @ root[rows]).contiguous()),
        "copies": f.copies[rows],
    }
