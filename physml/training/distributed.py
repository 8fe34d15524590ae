"""Several processes as one training, and what a process does to its surroundings."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ignite.distributed as idist
import torch


def _launched_processes() -> int:
    """Count the processes that torchrun or srun started for this job; 1 without either."""
    for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 1


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes of this job, if it has any (torchrun, or srun with many tasks)."""
    if _launched_processes() == 1 or idist.get_world_size() > 1:
        yield
        return
    idist.initialize("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        idist.finalize()


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Let torch use this many CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def private_state(device: torch.device) -> Iterator[None]:
    """Leave torch's global random state and cuDNN's flags as they were."""
    devices = [device] if device.type == "cuda" else []
    # Batches have one shape, for which cuDNN finds its fastest kernels once.
    with torch.random.fork_rng(devices=devices), torch.backends.cudnn.flags(benchmark=True):
        yield


@contextmanager
def termination_request() -> Iterator[threading.Event]:
    """Turn SIGTERM (a batch system's notice before it kills a job) into an event to look at."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may set signal handlers
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process: all must take the same way, or they wait for ever."""
    if idist.get_world_size() == 1:
        return flag
    total = idist.all_reduce(torch.tensor(float(flag), device=device))
    return bool(total > 0)


def gather(values: list[int]) -> list[int]:
    """Concatenate the lists of all processes."""
    if idist.get_world_size() == 1:
        return values
    parts: list[list[int]] = [[] for _ in range(idist.get_world_size())]
    torch.distributed.all_gather_object(parts, values)
    return [value for part in parts for value in part]
