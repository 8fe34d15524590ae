"""Effective numbers of weighted particles, and the powers and draws that keep them up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def effective_size(log_weight: Tensor) -> Tensor:
    """Effective number of particles (S,), 1 / sum of the squared weights, of log weights (S, P)."""
    return 1 / torch.softmax(log_weight, 1).square().sum(1)


def largest_power(
    value: Tensor, left: Tensor, enough: float, log_weight: Tensor | None = None, halvings: int = 30
) -> Tensor:
    """Largest powers (S,) of new weights that leave enough effective particles.

    Parameters
    ----------
    value : Tensor (S, P)
        Logarithms of the new weights.
    left : Tensor (S,)
        Largest powers allowed.
    enough : float
        Effective number of particles.
    log_weight : Tensor (S, P), optional
        Logarithms of the weights so far; equal by default.
    halvings : int
        Steps of the bisection.
    """
    before = torch.zeros_like(value) if log_weight is None else log_weight
    power = left.clone()
    bad = torch.nonzero(effective_size(before + left[:, None] * value) < enough)[:, 0]
    if len(bad):
        before, value = before[bad], value[bad]
        low, high = torch.zeros_like(left[bad]), left[bad]
        for _ in range(halvings):
            middle = 0.5 * (low + high)
            fine = effective_size(before + middle[:, None] * value) >= enough
            low, high = torch.where(fine, middle, low), torch.where(fine, high, middle)
        power[bad] = low
    return power


def resampled(log_weight: Tensor, rng: np.random.Generator) -> Tensor:
    """Systematic resampling: indices (S, P) of the particles that log weights (S, P) keep."""
    weight = torch.softmax(log_weight, 1)
    n_states, n = weight.shape
    start = torch.as_tensor(rng.random((n_states, 1)))
    places = (start + torch.arange(n)) / n
    return torch.searchsorted(weight.cumsum(1).contiguous(), places.contiguous()).clamp(max=n - 1)
