"""Mean losses over a validation set, and over processes."""

from __future__ import annotations

from collections.abc import Callable

import ignite.distributed as idist
import numpy as np
import torch
from torch import Tensor, nn

from physml.training import distributed
from physml.training.data import TrainData
from physml.training.failure import Loss, guilty_samples


def over_processes(sums: dict[str, float], device: torch.device) -> dict[str, float]:
    """Add up the numbers of all processes."""
    if idist.get_world_size() == 1:
        return dict(sums)
    total = torch.tensor([*sums.values()], dtype=torch.float64, device=device)
    total = torch.as_tensor(idist.all_reduce(total))
    return dict(zip(sums, total.tolist(), strict=True))


def mean_losses(
    loss: Loss,
    network: nn.Module,
    data: TrainData,
    batch_size: int,
    place: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    device: torch.device,
) -> tuple[dict[str, float], list[int]]:
    """Mean of the loss and its parts over a data set, without augmentation.

    Each process takes its share of every batch.

    Parameters
    ----------
    loss : callable
        As for `physml.training.loop.fit`.
    network : nn.Module
        In evaluation mode.
    data : TrainData
        With at least one sample for each process.
    batch_size : int
        Over all processes.
    place : callable
        Brings a batch to the device.
    device : torch.device

    Returns
    -------
    means : dict
    guilty : list of int
        Ids of the samples whose loss is not finite.
    """
    sums: dict[str, float] = {}
    guilty: list[int] = []
    rng = np.random.default_rng(0)  # not needed by data that are taken as they are
    for start in range(0, len(data), batch_size):
        chosen = np.arange(start, min(start + batch_size, len(data)))
        chosen = chosen[idist.get_rank() :: idist.get_world_size()]
        if not len(chosen):  # a short last batch, shared out among the other processes
            continue
        with torch.inference_mode():
            tensors = place(data.batch(chosen, rng, augment=False))
            parts = loss(network, tensors)
            values = torch.stack([v.float() for v in parts.values()]).tolist()
            if not np.isfinite(values).all():
                guilty += guilty_samples(loss, network, tensors)
        for name, value in zip(parts, values, strict=True):
            sums[name] = sums.get(name, 0.0) + value * len(chosen)
    totals = over_processes(sums, device)
    return {k: v / len(data) for k, v in totals.items()}, distributed.gather(guilty)
