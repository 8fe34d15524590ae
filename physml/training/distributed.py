"""Several processes as one training, and what a process does to its surroundings."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import ignite.distributed as idist
import torch
from torch import Tensor

from physml.exceptions import PhysmlError

#: Longest wait for another process. One that dies is noticed at once, by its closed connection;
#: one that lives may calibrate, or train a network that is not shared, for hours.
TIMEOUT = timedelta(hours=12)
#: How gloo and NCCL say that a process at the other end is gone.
LOST = re.compile(
    r"connection (closed|reset|refused)|broken pipe|timed out|remote process exited|"
    r"socket (closed|error)|aborted|failed to recv|unhandled system error",
    re.IGNORECASE,
)
#: What ignite needs to know of this process; torchrun says it, srun under names of its own.
SLURM_NAMES = {
    "RANK": "SLURM_PROCID",
    "LOCAL_RANK": "SLURM_LOCALID",
    "WORLD_SIZE": "SLURM_STEP_NUM_TASKS",
}


def _launched_processes() -> int:
    """Count the processes that torchrun or srun started for this job; 1 without either."""
    for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 1


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes of this job, if it has any (torchrun, or srun with many tasks).

    Raises
    ------
    PhysmlError
        Another process is gone.
    """
    if _launched_processes() == 1 or idist.get_world_size() > 1:
        yield
        return
    before = os.environ.copy()
    try:
        _complete_environment()
        with _lost_process():
            idist.initialize(
                "nccl" if torch.cuda.is_available() else "gloo",
                timeout=TIMEOUT,
            )
            yield
    finally:
        if idist.get_world_size() > 1:
            idist.finalize()
        os.environ.clear()
        os.environ.update(before)


def _complete_environment() -> None:
    """Say in torch's words what srun says in its own, where the first process's node is known.

    Otherwise ignite looks up the names of the nodes, which need not be names of hosts.
    """
    if "MASTER_ADDR" not in os.environ or "RANK" in os.environ:
        return
    for name, theirs in SLURM_NAMES.items():
        os.environ[name] = os.environ[theirs]
    # Jobs that share a node must not meet; all tasks of one know this number.
    os.environ.setdefault("MASTER_PORT", str(15_000 + int(os.environ["SLURM_JOB_ID"]) % 10_000))


@contextmanager
def _lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not LOST.search(str(error)):
            raise
        raise PhysmlError(
            "another process of this training is gone; its own message says why, unless it was "
            "killed. Run the same command again to continue from the last checkpoint"
        ) from error


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


def wait_for_all() -> None:
    """Wait until all processes are here."""
    if idist.get_world_size() > 1:
        idist.barrier()


def exchange(value: Any) -> list[Any]:
    """Values of all processes, by rank; anything that JSON holds, numbers to the last bit."""
    if idist.get_world_size() == 1:
        return [value]
    # Torch would send pickles, and what comes over a network is not to be unpickled.
    device = idist.device()
    mine = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8, device=device)
    lengths = _gathered(torch.tensor([len(mine)], device=device))
    padded = mine.new_zeros(int(lengths.max()))
    padded[: len(mine)] = mine
    rows = _gathered(padded).reshape(len(lengths), -1).cpu()
    return [
        json.loads(bytes(row[:length].tolist()))
        for row, length in zip(rows, lengths.tolist(), strict=True)
    ]


def _gathered(values: Tensor) -> Tensor:
    gathered = idist.all_gather(values)
    assert isinstance(gathered, Tensor)  # its signature also allows numbers and lists
    return gathered


def gather(values: list[int]) -> list[int]:
    """Concatenate the lists of all processes."""
    return [value for part in exchange(values) for value in part]
