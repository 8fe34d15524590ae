"""Mean losses over a validation set, and over processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ignite.distributed as idist
import numpy as np
import torch
from torch import Tensor, nn

from physml.training import distributed
from physml.training.data import Batch, TrainData, part_of
from physml.training.failure import Loss, guilty_samples
from physml.training.feed import feed


def over_processes(sums: dict[str, float]) -> dict[str, float]:
    """Add up the numbers of all processes, of which some may have none."""
    total: dict[str, float] = {}
    for part in distributed.exchange(sums):
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total


def _batch(data: TrainData, batch_size: int, start: int) -> Batch:
    """Samples from a place in the data set on, as they are."""
    chosen = np.arange(start, min(start + batch_size, len(data)))
    rng = np.random.default_rng(0)  # not needed by data that are taken as they are
    return Batch(part_of(data, chosen, rng, augment=False), 0)


def mean_losses(
    loss: Loss,
    network: nn.Module,
    data: TrainData,
    batch_size: int,
    place: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    *,
    workers: int = 0,
    pin: bool = False,
) -> tuple[dict[str, float], list[int]]:
    """Mean of the loss and its parts over a data set, without augmentation.

    The processes take whole batches in turn: losses of parts of a batch do not add up to the
    loss of the batch where they are weighted means.

    Parameters
    ----------
    loss : callable
        As for `physml.training.loop.fit`.
    network : nn.Module
        In evaluation mode.
    data : TrainData
    batch_size : int
    place : callable
        Brings a batch to the device.
    workers : int
        Workers that prepare batches ahead, as for `physml.training.data.Batches`.
    pin : bool
        They leave batches in pinned memory.

    Returns
    -------
    means : dict
    guilty : list of int
        Ids of the samples whose loss is not finite.
    """
    sums: dict[str, float] = {}
    guilty: list[int] = []
    starts = range(0, len(data), batch_size)[idist.get_rank() :: idist.get_world_size()]
    stream = bool(getattr(data, "streams", False))
    made = feed(
        partial(_batch, data, batch_size), starts, workers=workers, processes=stream, pin=pin
    )
    for batch in made:
        number = len(batch.tensors["id"])
        with torch.inference_mode():
            tensors = place(batch.tensors)
            parts = loss(network, tensors)
            values = torch.stack([v.float() for v in parts.values()]).tolist()
            if not np.isfinite(values).all():
                guilty += guilty_samples(loss, network, tensors)
        for name, value in zip(parts, values, strict=True):
            sums[name] = sums.get(name, 0.0) + value * number
    totals = over_processes(sums)
    return {k: v / len(data) for k, v in totals.items()}, distributed.gather(guilty)
