"""From a data set to batches: which samples, in which order, with which random numbers.

Everything about batch ``k`` follows from the seed and ``k`` alone. A training that resumes in
the middle of an epoch therefore sees exactly the batches it would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import SettingsError
from physml.random import seed_sequence, stream

# Where torch's allocator puts its own tensors. Vector code may sum an array in another order
# when it starts elsewhere, and a resumed run must give the same bits.
ALIGNMENT = 64


class TrainData(Protocol):
    """Interface of a data set to the training loop.

    A data set may also have an attribute ``fingerprint: str`` (a hash of its content): a saved
    training state is then never continued with other data.
    """

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def batch(
        self, indices: np.ndarray, rng: np.random.Generator, augment: bool
    ) -> dict[str, Tensor]:
        """Assemble a batch.

        Parameters
        ----------
        indices : (n,) int array
            Samples to take.
        rng : numpy.random.Generator
            The only source of random numbers that may be used.
        augment : bool
            Whether to augment; validation asks for the samples as they are.

        Returns
        -------
        dict
            Tensors whose first axis has length n, among them ``"id"``: the samples' numbers,
            by which a bad one is named.
        """
        ...


@dataclass(frozen=True)
class Batch:
    """One optimiser step's samples on this process, and the seed of its dropout."""

    tensors: dict[str, Tensor]
    seed: int


def effective_batch_size(batch_size: int, n_samples: int, processes: int) -> int:
    """Batch size of one step over all processes: at most the data, and the same on each process.

    Raises
    ------
    SettingsError
        If there are fewer samples than processes, or the batch cannot be shared out evenly.
    """
    if n_samples < processes:
        raise SettingsError(
            f"training needs a sample for each of {processes} processes, found {n_samples}"
        )
    if batch_size % processes:
        raise SettingsError(
            f"train.batch_size must be a multiple of the {processes} processes, found {batch_size}"
        )
    return min(batch_size, n_samples // processes * processes)


class Batches:
    """Endless training batches from a given step on.

    Each epoch is a new permutation of the samples, cut into whole batches (what is left over
    waits for the next epoch's permutation). Of each batch a process takes every
    ``processes``-th sample, so that one step sees the same samples however many share it.

    Parameters
    ----------
    data : TrainData
    batch_size : int
        Over all processes, see `effective_batch_size`.
    seed : int
        The run's seed.
    start : int
        Steps already done.
    rank, processes : int
        This process among how many.
    workers : int
        Threads that prepare batches ahead. Zero: prepared when asked for. Worth it where the
        network runs on another device.
    """

    def __init__(
        self,
        data: TrainData,
        batch_size: int,
        seed: int,
        *,
        start: int = 0,
        rank: int = 0,
        processes: int = 1,
        workers: int = 0,
    ) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.start, self.rank, self.processes, self.workers = start, rank, processes, workers
        self.steps_per_epoch = max(1, len(data) // batch_size)
        # Two epochs: threads that prepare ahead may straddle an epoch's end.
        self._order = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> np.ndarray:
        return stream(self.seed, "train", epoch).permutation(len(self.data))

    def indices(self, step: int) -> np.ndarray:
        """Return the samples of one step, of all processes together, shape (batch_size,)."""
        epoch, k = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[k * self.batch_size : (k + 1) * self.batch_size]

    def make(self, step: int) -> Batch:
        """Assemble the batch of one step, or this process's share of it."""
        seeds = seed_sequence(self.seed, "augment", step).spawn(self.rank + 1)
        rng = np.random.default_rng(seeds[0])
        seed = int(rng.integers(2**63))
        # All processes augment the whole batch alike and keep their shares: the step is then the
        # same however many share it. The network's work is what there is to share.
        tensors = self.data.batch(self.indices(step), rng, augment=True)
        if self.processes > 1:
            mine = slice(self.rank, None, self.processes)
            n = len(tensors["id"])
            tensors = {k: t[mine] if len(t) == n else t for k, t in tensors.items()}
        if self.rank:  # dropout differs between the shares, as it does within one batch
            seed = int(np.random.default_rng(seeds[self.rank]).integers(2**63))
        return Batch(tensors, seed)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end."""
        if self.workers == 0:
            yield from map(self.make, count(self.start))
            return
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="batches") as pool:
            try:
                for step in count(self.start):
                    waiting.append(pool.submit(self.make, step))
                    if len(waiting) > 2 * self.workers:
                        yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def to_device(
    tensors: dict[str, Tensor], device: torch.device, *, channels_last: bool
) -> dict[str, Tensor]:
    """Bring a batch where the network is, in its memory order. ``"id"`` stays on the CPU."""
    return {
        name: tensor if name == "id" else _place(tensor, device, channels_last)
        for name, tensor in tensors.items()
    }


def _place(tensor: Tensor, device: torch.device, channels_last: bool) -> Tensor:
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory().to(device, non_blocking=True)
    if channels_last and tensor.ndim == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    if device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
        tensor = tensor.clone()
    return tensor
