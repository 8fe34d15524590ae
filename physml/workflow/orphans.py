"""A job ends with the Snakemake that started it.

A Snakemake that is killed leaves its jobs behind. The next one would start the same jobs beside
them, and nobody would see the errors of the first. So Snakemake tells its jobs who it is, and they
ask to be ended (SIGTERM: a training writes its checkpoint) when it is gone.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import MutableMapping

#: ``host/namespace:pid`` of the Snakemake that a job belongs to.
VARIABLE = "PHYSML_SNAKEMAKE"


def adopt(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make this process the one that the jobs it starts end with."""
    environment[VARIABLE] = f"{_place()}:{os.getpid()}"


def end_with_parent(environment: MutableMapping[str, str] = os.environ) -> None:
    """Send SIGTERM to this process when the Snakemake it belongs to is gone.

    Nothing happens without a Snakemake, or where it cannot be seen: on another host (processes of a
    training on several nodes: Slurm ends those), or outside of a container with numbers of its own.
    Linux only; elsewhere jobs live on.
    """
    host, _, pid = environment.get(VARIABLE, "").rpartition(":")
    if host != _place() or not hasattr(os, "pidfd_open"):
        return
    try:
        parent = os.pidfd_open(int(pid))
    except (ProcessLookupError, ValueError):  # gone before we began
        os.kill(os.getpid(), signal.SIGTERM)
        return
    except OSError:  # an old kernel
        return

    def wait() -> None:
        select.select([parent], [], [])  # readable when the process has ended
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end_with_parent", daemon=True).start()


def _place() -> str:
    """Where a process number means what it means here."""
    try:
        return f"{socket.gethostname()}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        return socket.gethostname()
