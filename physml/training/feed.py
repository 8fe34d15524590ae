"""Who prepares batches: the loop itself, threads, or processes.

Data in memory are prepared by threads. Data that stream from a file are prepared by processes of
torch's DataLoader, which is what a network on a GPU is fed by everywhere: to unpack and augment
thousands of images a second takes several cores, and in threads that work would keep the loop from
its interpreter, which has a kernel to start every few microseconds. All of them give the same
batches in the same order.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset


class PackedBatch(Protocol):
    """Batch in one piece, as it goes from process to process."""

    def pin_memory(self) -> PackedBatch:
        """Return a copy in pinned memory, which DataLoader asks for."""
        ...

    def unpacked(self) -> Any:
        """Return the batch."""
        ...


class Batch(Protocol):
    """What workers prepare."""

    def pin_memory(self: Made) -> Made:
        """Return a copy in pinned memory."""
        ...

    def packed(self) -> PackedBatch:
        """Return the batch in one piece."""
        ...


Made = TypeVar("Made", bound=Batch)

#: Batches that each process prepares ahead.
AHEAD = 2


def feed(
    make: Callable[[int], Made],
    steps: Iterable[int],
    *,
    workers: int = 0,
    processes: bool = False,
    pin: bool = False,
) -> Iterator[Made]:
    """Batches of steps, in their order, whoever prepares them.

    Parameters
    ----------
    make : callable
        ``make(step) -> batch``; what it gives follows from the step alone.
    steps : iterable of int
        Without an end, or with one.
    workers : int
        Zero: each batch is prepared when it is asked for.
    processes : bool
        Workers are processes, to which `make` is sent as a pickle; else threads.
    pin : bool
        Batches come in pinned memory. With workers that is done beside the loop, too.
    """
    if workers == 0:
        return _by_turns(_pinned(make) if pin else make, steps)
    if processes:
        return _by_processes(make, steps, workers, pin)
    return _by_threads(_pinned(make) if pin else make, steps, workers)


def _pinned(make: Callable[[int], Made]) -> Callable[[int], Made]:
    return lambda step: make(step).pin_memory()


def _by_turns(make: Callable[[int], Made], steps: Iterable[int]) -> Iterator[Made]:
    yield from map(make, steps)


def _by_threads(make: Callable[[int], Made], steps: Iterable[int], workers: int) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        try:
            for step in steps:
                waiting.append(pool.submit(make, step))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Batches(Dataset[PackedBatch]):
    """Batches as a data set of DataLoader, whose samples they are."""

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self.make = make

    def __getitem__(self, step: int) -> PackedBatch:
        return self.make(step).packed()


def _by_processes(
    make: Callable[[int], Made], steps: Iterable[int], workers: int, pin: bool
) -> Iterator[Made]:
    # A fork of a process with threads of CUDA or gloo hangs sooner or later: workers are forked
    # from a server that has read the libraries, once, and done nothing else.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "torch", "physml.io.shards", __name__])
    loader = DataLoader(
        _Batches(make),
        batch_size=None,  # `make` makes whole ones
        sampler=steps,
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        pin_memory=pin,
        worker_init_fn=_begin_worker,
        multiprocessing_context=context,
        generator=torch.Generator(),  # the loop's own is not to be touched
    )
    for packed in loader:
        yield packed.unpacked()


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(number: int) -> None:
    """Leave signals to the loop, to which a batch system sends them, too; and end with the loop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent's end", daemon=True).start()


def _end_with_parent() -> None:
    # DataLoader's workers look whether the process that forked them is there: the fork server,
    # which in turn lives as long as they do. After a kill of the loop both would stay for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
