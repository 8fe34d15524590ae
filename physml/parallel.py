"""Dask workers sized from what the job was given: its threads and its memory."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from physml.exceptions import SettingsError

if TYPE_CHECKING:
    from distributed import Client

#: A worker process with less than this cannot import what it needs.
MIN_WORKER_MB = 200
MEMORY_ACTIONS = ("target", "spill", "pause", "terminate")


@contextlib.contextmanager
def _warnings_only(name: str) -> Iterator[None]:
    """Keep Dask's account of every connection out of the log of a stage."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def client(
    threads: int, mem_mb: int, kind: Literal["threads", "processes"] = "threads"
) -> Iterator[Client]:
    """Start a local Dask cluster and stop it at the end of the block.

    Parameters
    ----------
    threads
        Threads in one worker, or worker processes of one thread each.
    mem_mb
        Memory of all workers together, MB. Beyond it Dask spills to disk and then pauses; a
        worker process far above its share is restarted.
    kind
        ``threads`` for numpy and torch, which release the interpreter lock; ``processes`` for
        Python code that does not.

    Raises
    ------
    SettingsError
        `threads` or `mem_mb` is too small.

    Notes
    -----
    There is no dashboard, and nothing is reachable from another machine: anybody who reaches a
    Dask scheduler can run code. Worker processes talk over the loopback interface, which other
    users of the same machine share; threads use no network at all.
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
    # `LocalCluster` would bind those HTTP servers to all interfaces, so it is put together here.
    local: dict[str, Any] = {
        "host": "127.0.0.1" if kind == "processes" else None,
        "protocol": "tcp://" if kind == "processes" else "inproc://",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }
    with (
        tempfile.TemporaryDirectory(prefix="physml-dask-") as scratch,
        dask.config.set({**options, "temporary-directory": scratch}),
        _warnings_only("distributed"),
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
                silence_logs=logging.ERROR,
            ) as cluster,
            Client(cluster, set_as_default=False) as started,
        ):
            yield started
