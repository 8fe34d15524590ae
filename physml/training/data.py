"""From a data set to batches: which samples, in which order, with which random numbers.

Everything about batch ``k`` follows from the seed and ``k`` alone. A training that resumes in
the middle of an epoch therefore sees exactly the batches it would have seen, and who prepares a
batch, and when, does not matter (`physml.training.feed`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import SettingsError
from physml.random import seed_sequence, stream
from physml.training.feed import feed

# Where torch's allocator puts its own tensors. Vector code may sum an array in another order
# when it starts elsewhere, and a resumed run must give the same bits.
ALIGNMENT = 64

#: Bytes of a data set up to which it is read into memory; larger ones stay on the disk.
IN_MEMORY = 1 << 30
#: Samples that are shuffled among each other. Fewer samples than these are shuffled as a whole.
WINDOW = 8192
#: Neighbours in the file that come to one window together, for the disk to be read in stretches.
BLOCK = 64


class TrainData(Protocol):
    """Interface of a data set to the training loop.

    A data set may also have

    - ``fingerprint: str``, a hash of its content: a saved training state is then never continued
      with other data;
    - ``part(indices, rng, augment, mine)``, which assembles of the batch of ``indices`` the
      samples at the places ``mine`` (a slice) alone, to the last bit those of the whole batch:
      a process that shares its batches with others then does its own share of the work only;
    - ``finish(tensors)``, the rest of the work on a batch where the network is. `batch` has then
      done it, `part` has not;
    - ``streams: bool``, that it reads its samples from a file, is small when pickled, and so can
      be handed to processes that prepare batches;
    - ``will_need(indices)``, which lets the system read samples ahead.
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

    def pin_memory(self) -> Batch:
        """Copy to memory from which a GPU reads by itself. ``"id"`` stays where it is."""
        pinned = {k: v if k == "id" else v.pin_memory() for k, v in self.tensors.items()}
        return replace(self, tensors=pinned)

    def packed(self) -> PackedBatch:
        """Put all tensors into one, as which they go to another process."""
        layout, end = [], 0
        for name, tensor in self.tensors.items():
            layout.append((name, tensor.dtype, tuple(tensor.shape), end))
            end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        buffer = torch.empty(end, dtype=torch.uint8)
        for tensor, (*_, start) in zip(self.tensors.values(), layout, strict=True):
            if tensor.numel():
                raw = tensor.contiguous().reshape(-1).view(torch.uint8)
                buffer[start : start + len(raw)] = raw
        return PackedBatch(buffer, tuple(layout), self.seed)


@dataclass(frozen=True)
class PackedBatch:
    """Batch as one piece of memory: for each piece, processes have to shake hands.

    Attributes
    ----------
    buffer : Tensor of uint8
        All tensors one after the other, each aligned.
    layout : tuple
        Name, type, shape and first byte of each.
    seed : int
    """

    buffer: Tensor
    layout: tuple[tuple[str, torch.dtype, tuple[int, ...], int], ...]
    seed: int

    def pin_memory(self) -> PackedBatch:
        """Copy to memory from which a GPU reads by itself."""
        return replace(self, buffer=self.buffer.pin_memory())

    def unpacked(self) -> Batch:
        """Batch whose tensors are views of the buffer."""
        tensors = {}
        for name, dtype, shape, start in self.layout:
            end = start + math.prod(shape) * dtype.itemsize
            tensors[name] = self.buffer[start:end].view(dtype).reshape(shape)
        return Batch(tensors, self.seed)


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


def shuffled(n: int, rng: np.random.Generator) -> np.ndarray:
    """Random order of samples in which no stretch of the order is spread over the whole file.

    Up to `WINDOW` samples it is a permutation like any other. More are cut into blocks of
    neighbours, the blocks are shuffled, and then the samples within each window of blocks.

    Parameters
    ----------
    n : int
        Samples.
    rng : numpy.random.Generator

    Returns
    -------
    (n,) int array
        Each sample once.
    """
    if n <= WINDOW:
        return rng.permutation(n)
    blocks = rng.permutation(-(-n // BLOCK))
    order = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
    order = order[order < n]
    for first in range(0, n, WINDOW):
        rng.shuffle(order[first : first + WINDOW])
    return order


class Batches:
    """Endless training batches from a given step on.

    Each epoch is a new order of the samples (`shuffled`), cut into whole batches (what is left
    over waits for the next epoch's order). Of each batch a process takes every ``processes``-th
    sample, so that one step sees the same samples however many share it.

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
        Workers that prepare batches ahead, see `physml.training.feed.feed`. Zero: prepared when
        asked for. Worth it where the network runs on another device.
    pin : bool
        The workers leave batches in pinned memory.
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
        pin: bool = False,
    ) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.start, self.rank, self.processes = start, rank, processes
        self.workers, self.pin = workers, pin
        self.steps_per_epoch = max(1, len(data) // batch_size)
        self._remember()

    def _remember(self) -> None:
        # Two epochs: those that prepare ahead may straddle an epoch's end.
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        return shuffled(len(self.data), stream(self.seed, "train", epoch))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the orders behind, which follow from the rest."""
        return {k: v for k, v in self.__dict__.items() if k != "_order"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what another process has sent."""
        self.__dict__.update(state)
        self._remember()

    def indices(self, step: int) -> np.ndarray:
        """Return the samples of one step, of all processes together, shape (batch_size,)."""
        epoch, k = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[k * self.batch_size : (k + 1) * self.batch_size]

    def make(self, step: int) -> Batch:
        """Assemble the batch of one step, or this process's share of it."""
        self._read_ahead(step)
        seeds = seed_sequence(self.seed, "augment", step).spawn(self.rank + 1)
        rng = np.random.default_rng(seeds[0])
        seed = int(rng.integers(2**63))
        # The random numbers of all processes are those of the whole batch, of which each uses its
        # share: the step is then the same however many share it.
        mine = slice(self.rank, None, self.processes)
        tensors = part_of(self.data, self.indices(step), rng, augment=True, mine=mine)
        if self.rank:  # dropout differs between the shares, as it does within one batch
            seed = int(np.random.default_rng(seeds[self.rank]).integers(2**63))
        return Batch(tensors, seed)

    def _read_ahead(self, step: int) -> None:
        """Ask for the next window of samples at the first step of each, and for both at once."""
        will_need = getattr(self.data, "will_need", None)
        if will_need is None:
            return
        epoch, k = divmod(step, self.steps_per_epoch)
        window = k * self.batch_size // WINDOW
        if k and window == (k - 1) * self.batch_size // WINDOW and step != self.start:
            return
        order = self._order(epoch)
        ahead = 1 if step != self.start else 0
        will_need(order[(window + ahead) * WINDOW : (window + 2) * WINDOW])

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end."""
        data = bool(getattr(self.data, "streams", False))
        return feed(
            self.make, count(self.start), workers=self.workers, processes=data, pin=self.pin
        )


def part_of(
    data: TrainData,
    indices: np.ndarray,
    rng: np.random.Generator,
    *,
    augment: bool,
    mine: slice = slice(None),
) -> dict[str, Tensor]:
    """Assemble the samples at some places of a batch, to be finished by `to_device`.

    Parameters
    ----------
    data : TrainData
    indices : (n,) int array
        Samples of the whole batch.
    rng : numpy.random.Generator
    augment : bool
    mine : slice
        Places to take.
    """
    part = getattr(data, "part", None)
    if part is not None:
        made: dict[str, Tensor] = part(indices, rng, augment, mine)
        return made
    tensors = data.batch(indices, rng, augment=augment)
    n = len(tensors["id"])
    return {k: t[mine] if len(t) == n else t for k, t in tensors.items()}


def to_device(
    tensors: dict[str, Tensor],
    device: torch.device,
    *,
    channels_last: bool,
    finish: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """Bring a batch where the network is, finish it there, in the network's memory order.

    Parameters
    ----------
    tensors : dict of Tensor
    device : torch.device
    channels_last : bool
        Memory order of images.
    finish : callable, optional
        The data set's, see `TrainData`.

    Returns
    -------
    dict of Tensor
        ``"id"`` stays on the CPU.
    """
    there = {k: t if k == "id" else _moved(t, device) for k, t in tensors.items()}
    if finish is not None:
        there = finish(there)
    return {k: t if k == "id" else _laid_out(t, channels_last) for k, t in there.items()}


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    # From pinned memory the copy goes on beside what the GPU does. Who prepares batches ahead has
    # pinned them; pinning here would hold up the step.
    return tensor.to(device, non_blocking=device.type == "cuda" and tensor.is_pinned())


def _laid_out(tensor: Tensor, channels_last: bool) -> Tensor:
    if channels_last and tensor.ndim == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
        tensor = tensor.clone()
    return tensor
