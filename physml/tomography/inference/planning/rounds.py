"""One round of settings for an experiment: how many, which, and with how many copies each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError

from ...core.likelihood import fisher_information
from ...core.operators import to_coordinates
from .joint import Plan, designed_for, plan, prior_precision

#: Most settings of a round.
MOST = 200


def plan_round(
    effects: Tensor,
    rho: Tensor,
    measured: Sequence[tuple[Tensor, float]],
    copies: int,
    settings: int,
    setting_cost: float = 0.0,
) -> tuple[list[int], NDArray[np.int64]]:
    """Choose settings and whole numbers of copies.

    Parameters
    ----------
    effects : Tensor (m, k, d, d)
        Of the candidates, with the readout errors.
    rho : Tensor (d, d)
        Estimate.
    measured : sequence of pairs
        Effects (k, d, d) and copies of what was measured so far.
    copies : int
        To be spent, the changes of the setting included.
    settings : int
        Most settings; fewer where changes cost more than they tell.
    setting_cost : float
        Copies that could be measured in the time of one change of the setting.

    Returns
    -------
    chosen : list of int
        Candidates, those with most copies first.
    shots : ndarray, int64
        At least one each.

    Raises
    ------
    InputError
        There are fewer copies than one for a setting and its change.
    """
    if copies < 1 + setting_cost:
        raise InputError.expected(
            "copies=", f"more than a change of the setting costs ({setting_cost:g})", str(copies)
        )
    before = float(sum(shots for _, shots in measured))
    state = designed_for(rho[None], before)
    precision = prior_precision(1, rho.shape[-1])
    if measured:
        rows = to_coordinates(torch.cat([e for e, _ in measured]))[None]
        shots = torch.cat([torch.full((len(e),), n, dtype=torch.float64) for e, n in measured])
        x = to_coordinates(state)
        precision = precision + fisher_information(rows, shots[None], x)
    best: tuple[Plan, float] | None = None
    most = min(settings, len(effects))
    for number in range(most, most - 1 if setting_cost == 0 else 0, -1):
        left = copies - number * setting_cost
        if left < number:
            continue
        found = plan(effects[None], state, precision, left, number)
        if best is None or float(found.expected) < float(best[0].expected):
            best = found, left
    if best is None:  # not enough copies for so many settings: one copy each
        best = plan(effects[None], state, precision, copies, min(copies, len(effects))), copies
    return _whole(best[0], int(best[1]))


def check_cost(value: Any) -> float:
    """Copies that a change of the setting costs, from 0 on; InputError otherwise."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or isinstance(value, bool) or not 0 <= value < np.inf:
        raise InputError.expected("setting_cost=", "a number of copies, from 0 on", repr(value))
    return float(value)


def _whole(found: Plan, copies: int) -> tuple[list[int], NDArray[np.int64]]:
    """Whole numbers of copies by the largest remainders; settings left with none are dropped."""
    real = found.copies[0].numpy()
    real = real * copies / real.sum()
    shots = np.floor(real).astype(np.int64)
    rest = copies - int(shots.sum())
    shots[np.argsort(shots - real, kind="stable")[:rest]] += 1
    order = [int(k) for k in np.argsort(-shots, kind="stable") if shots[k] > 0]
    return [int(found.chosen[0, k]) for k in order], shots[order]
