"""Several processes as one training, and what a process does to its surroundings."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import ignite.distributed as idist
import torch
from torch import Tensor

from physml.exceptions import Checkpointed, PhysmlError

T = TypeVar("T")

#: Longest wait for another process. One that dies is noticed at once, by its closed connection;
#: this is for one that hangs. What one process does alone for longer belongs into `main_alone`.
TIMEOUT = timedelta(minutes=15)
#: Time between signs of life of a process that works while the others wait for it, s.
BEAT_S = 20.0
#: Signs of life.
_WORKS, _DONE, _STOPPED = range(3)
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
def process_group(*, gpu: bool = True) -> Iterator[None]:
    """Join the other processes of this job, if it has any (torchrun, or srun with many tasks).

    Parameters
    ----------
    gpu : bool
        Each process has a GPU of its own, where there are any. If not, the processes do not see
        those of the machine, which may be fewer, and talk by gloo.

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
            idist.initialize(_backend(gpu), timeout=TIMEOUT)
            yield
    finally:
        if idist.get_world_size() > 1:
            idist.finalize()
        os.environ.clear()
        os.environ.update(before)


def _backend(gpu: bool) -> str:
    """Library by which processes talk; without GPUs of their own they no longer see any.

    Raises
    ------
    PhysmlError
        This process has used a GPU before, so that it cannot be hidden any more.
    """
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        if torch.cuda.is_available():
            raise PhysmlError(
                "train.resources.gpu is 0, but this process has used a GPU before the training: "
                "start it with the environment variable CUDA_VISIBLE_DEVICES set to nothing"
            )
    return "nccl" if torch.cuda.is_available() else "gloo"


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


def least(values: list[float], device: torch.device) -> list[float]:
    """Smallest of each of some numbers over all processes."""
    if idist.get_world_size() == 1:
        return values
    total = idist.all_reduce(torch.tensor(values, dtype=torch.float64, device=device), "MIN")
    assert isinstance(total, Tensor)  # its signature also allows numbers
    return [float(value) for value in total.tolist()]


@contextmanager
def main_alone() -> Iterator[bool]:
    """Let the first process work for as long as it likes while the others wait for it.

    The block is gone through by all processes; what only the first is to do stands under an
    ``if``. It must not talk to the others in the block. It says every few seconds that it is still
    at work, so that a wait of hours ends in minutes once it no longer does.

    Yields
    ------
    bool
        Whether this is the first process.

    Raises
    ------
    Checkpointed
        On the others, where the first was stopped and is to be called again.
    """
    if idist.get_world_size() == 1:
        yield True
        return
    # A group of its own: its messages must not meet those of the training, which NCCL may carry.
    # It lasts as long as the processes are together: closed here, it could overtake the last one.
    group = torch.distributed.new_group(backend="gloo", timeout=TIMEOUT)
    if idist.get_rank():
        yield False
        _wait_for_main(group)
    else:
        with _signs_of_life(group):
            yield True


def _sign(group: Any, state: int) -> int:
    """Tell the others a state, or hear it from the first process."""
    value = torch.tensor([state])
    torch.distributed.broadcast(value, 0, group=group)
    return int(value)


def _wait_for_main(group: Any) -> None:
    state = _WORKS
    while state == _WORKS:
        state = _sign(group, _WORKS)
    if state == _STOPPED:
        raise Checkpointed("stopped with the first process. Run the same command again to continue")


@contextmanager
def _signs_of_life(group: Any) -> Iterator[None]:
    """Send signs from a thread, and at the end what became of the work.

    An error is not told: the process ends with it, and the others notice.
    """
    ended = threading.Event()

    def tell() -> None:
        # Another process may be gone; the next message of the training finds out.
        with contextlib.suppress(RuntimeError):
            while not ended.wait(BEAT_S):
                _sign(group, _WORKS)

    thread = threading.Thread(target=tell, name="signs of life", daemon=True)
    thread.start()

    def finish(state: int | None) -> None:
        ended.set()
        thread.join()
        if state is not None:
            _sign(group, state)

    try:
        yield
    except Checkpointed:
        finish(_STOPPED)
        raise
    except BaseException:
        finish(None)
        raise
    finish(_DONE)


def shared() -> bool:
    """Whether several processes share this training."""
    return bool(idist.get_world_size() > 1)


def share(work: Sequence[T]) -> Sequence[T]:
    """Part of some pieces of work that this process does; the processes take them in turns."""
    return work[idist.get_rank() :: idist.get_world_size()]


def gather_rows(values: Tensor) -> Tensor:
    """Rows of all processes, by rank, which may have unequal numbers of them.

    Parameters
    ----------
    values : Tensor, shape (n, k)

    Returns
    -------
    Tensor, shape (sum of all n, k)
        On the device of `values`, the same bits on all processes.
    """
    if idist.get_world_size() == 1:
        return values
    device = idist.device()
    lengths = _gathered(torch.tensor([len(values)], device=device)).tolist()
    padded = values.new_zeros((max(lengths), values.shape[1]), device=device)
    padded[: len(values)] = values.to(device)
    rows = _gathered(padded).reshape(len(lengths), *padded.shape)
    parts = [part[:length] for part, length in zip(rows, lengths, strict=True)]
    return torch.cat(parts).to(values.device)


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
