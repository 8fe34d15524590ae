"""Tasks of a stage, done by Dask workers here or on other nodes; results in order."""

from __future__ import annotations

import contextlib
import itertools
import logging
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from physml.exceptions import PhysmlError, SettingsError
from physml.parallel.slurm import slurm_client
from physml.progress import quiet

if TYPE_CHECKING:
    from distributed import Client, Future

    from physml.parallel.settings import DaskSettings

log = logging.getLogger(__name__)

Kind = Literal["threads", "processes"]
Result = TypeVar("Result")

#: A worker process with less than this cannot import what it needs.
MIN_WORKER_MB = 200
MEMORY_ACTIONS = ("target", "spill", "pause", "terminate")
#: Tasks given out for each worker, done or not: enough to keep it busy, and all that is ever held.
AHEAD = 3
#: A task that fails on another node is tried again: file systems of clusters have hiccups.
RETRIES = 2


def in_order(
    function: Callable[..., Result],
    tasks: Sequence[tuple[Any, ...]],
    *,
    threads: int,
    mem_mb: int,
    kind: Kind = "processes",
    dask: DaskSettings | None = None,
    folder: Path | None = None,
) -> Iterator[Result]:
    """Do tasks with Dask and yield their results in the order of the tasks.

    What is yielded does not depend on the number of workers, on where they are, or on whether
    some of them died. No more than a few results a worker are in memory at a time.

    Parameters
    ----------
    function : callable
        Called as ``function(*task)``, maybe more than once for a task; pure.
    tasks : sequence of tuple
    threads, mem_mb : int
    kind : {"processes", "threads"}
        Local workers, as for `client`. One thread needs no Dask: the tasks are done here.
    dask : DaskSettings, optional
        Where the tasks are done; locally by default.
    folder : Path, optional
        For workers on other nodes, a folder that all nodes share.

    Raises
    ------
    PhysmlError
        A task killed worker after worker.
    """
    elsewhere = dask is not None and dask.cluster == "slurm"
    if not elsewhere and threads == 1:  # without a scheduler: nothing to start, nothing to fail
        for done, task in enumerate(tasks, start=1):
            yield function(*task)
            _say(done, len(tasks))
        return
    with contextlib.ExitStack() as stack:
        if dask is not None and elsewhere:
            workers, retries, section = dask.workers, RETRIES, "preprocess.dask"
            started = stack.enter_context(slurm_client(dask, folder or Path.cwd()))
        else:
            workers, retries, section = threads, 0, "preprocess.resources"
            started = stack.enter_context(client(threads, mem_mb, kind))
        given = iter(tasks)
        waiting: deque[Future] = deque()
        for done in range(1, len(tasks) + 1):
            for task in itertools.islice(given, AHEAD * workers - len(waiting)):
                waiting.append(started.submit(function, *task, pure=False, retries=retries))
            yield _result(waiting.popleft(), section)
            _say(done, len(tasks))


def _result(future: Future, section: str) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise PhysmlError(
            f"a task died with its worker {error.allowed_failures + 1} times. Most likely it needs "
            f"more memory: raise {section}.mem_mb, or make the task smaller (preprocess.batch or "
            "simulate.shard_size)"
        ) from error


def _say(done: int, total: int) -> None:
    """Say so at every tenth of the tasks."""
    if done * 10 // total > (done - 1) * 10 // total:
        log.info("%d of %d tasks done", done, total)


@contextlib.contextmanager
def client(threads: int, mem_mb: int, kind: Kind = "threads") -> Iterator[Client]:
    """Start a local Dask cluster and stop it at the end of the block.

    Parameters
    ----------
    threads : int
        Threads in one worker, or worker processes of one thread each.
    mem_mb : int
        Memory of all workers together, MB. Beyond it Dask spills to disk and then pauses; a
        worker process far above its share is restarted.
    kind : {"processes", "threads"}
        ``threads`` for numpy and torch, which release the interpreter lock; ``processes`` for
        Python code that does not.

    Raises
    ------
    SettingsError
        `threads` or `mem_mb` is too small.

    Notes
    -----
    Anybody who reaches a Dask scheduler can run code as its user. There is no dashboard, and
    nothing is reachable from another machine. Worker processes talk over the loopback interface,
    which other users of the same machine share: they speak TLS only, with keys made for this run
    that never leave memory. Threads use no network at all.
    """
    if threads < 1:
        raise SettingsError(f"threads: expected at least 1, found {threads}")
    workers = threads if kind == "processes" else 1
    if mem_mb < MIN_WORKER_MB * workers:
        raise SettingsError(
            f"mem_mb: expected at least {MIN_WORKER_MB * workers} for {workers} worker(s), "
            f"found {mem_mb}"
        )
    if kind not in ("threads", "processes"):
        raise SettingsError(f"kind: expected 'threads' or 'processes', found {kind!r}")

    import dask
    from distributed import Client, Nanny, Scheduler, SpecCluster, Worker
    from distributed.security import Security

    options = {
        # A worker that dies twice on a task has met its memory limit; say so early.
        "distributed.scheduler.allowed-failures": 2,
        "distributed.comm.timeouts.connect": "60s",
        # Dask serves state and metrics over HTTP even without a dashboard; here, nothing.
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    if kind == "threads":
        # They live in the calling process, which may be large for reasons of its own: a pause would
        # free nothing, and would never end.
        options |= {f"distributed.worker.memory.{what}": False for what in MEMORY_ACTIONS}
    security = Security.temporary() if kind == "processes" else Security()
    # `LocalCluster` would bind those HTTP servers to all interfaces, so it is put together here.
    local: dict[str, Any] = {
        "host": "127.0.0.1" if kind == "processes" else None,
        "protocol": "tls://" if kind == "processes" else "inproc://",
        "security": security,
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }
    with (
        tempfile.TemporaryDirectory(prefix="physml-dask-") as scratch,
        dask.config.set({**options, "temporary-directory": scratch}),
        quiet("distributed"),
    ):
        worker = {
            "cls": Nanny if kind == "processes" else Worker,
            "options": {
                **local,
                "nthreads": 1 if kind == "processes" else threads,
                "memory_limit": f"{mem_mb // workers}MB",
                "local_directory": scratch,
                # A task's error is raised here in any case; what is left is noise at closing.
                "silence_logs": logging.CRITICAL,
            },
        }
        with (
            SpecCluster(
                workers=dict.fromkeys(range(workers), worker),
                scheduler={"cls": Scheduler, "options": local},
                security=security,
                silence_logs=logging.ERROR,
            ) as cluster,
            Client(cluster, security=security, set_as_default=False) as started,
        ):
            yield started
