"""Operations that a network and a loss do alike in one process and in several that share a batch.

Each process has an equal part of the batch's samples; gradients and losses are averaged over the
processes. That is the gradient of the whole batch for what is a mean over samples. What is not, a
weighted mean or a normalisation by the batch, needs the functions here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_processes = 1


class _Sum(torch.autograd.Function):
    """Sum over processes; the gradient of each part is the sum of the gradients of all sums."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total


@contextmanager
def shared_step(processes: int) -> Iterator[None]:
    """Mark a step in which so many processes compute one loss, each on its share of the batch."""
    global _processes
    _processes = processes
    try:
        yield
    finally:
        _processes = 1


def sharing_processes() -> int:
    """Number of processes that share this step; 1 outside of a shared step."""
    return _processes


def mean_of_processes(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes of a shared step, with its gradient; else itself."""
    if _processes == 1:
        return value
    total: Tensor = _Sum.apply(value)
    return total / _processes


def divisor(total: Tensor) -> Tensor:
    """Divisor of a weighted sum over a batch: the sum of the weights, or 1 if that is less.

    In a shared step the processes have unequal parts of the weights. The mean over processes of
    their sums, each divided by this, is the batch's sum divided by the batch's weights.
    """
    return mean_of_processes(total).clamp_min(1.0 / _processes)
