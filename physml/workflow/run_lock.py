"""Tells a lock that a killed Snakemake left behind from one that somebody holds.

Snakemake marks a folder as taken with files, which outlive it when it is killed; the next run is
then refused until somebody says ``--unlock``. Here each Snakemake also holds a lock of the
operating system, which ends with the process however that ends. A run that finds files of
Snakemake's lock and no such process takes them away, and the same command continues.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import shutil
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

FOLDER = Path(".snakemake")
NAME = "physml.lock"

_held: dict[Path, IO[str]] = {}


def enter(folder: Path = FOLDER) -> bool:
    """Join those who are at work in a folder, and clear away what a killed run left there.

    To be called before Snakemake looks at its lock. Only a run whose jobs were its own children is
    cleared away after (see `began`): jobs on a cluster may still be at work.

    Parameters
    ----------
    folder : Path
        Snakemake's own, ``.snakemake`` of the working directory.

    Returns
    -------
    bool
        Whether a lock was taken away.
    """
    path = folder.resolve() / NAME
    if path in _held:
        return False
    try:
        folder.mkdir(exist_ok=True)
        file = path.open("a+")
    except OSError:  # a folder that may only be read is nobody's to lock
        return False
    _held[path] = file
    atexit.register(leave, folder.resolve())
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # somebody is here; whose lock it is, is for Snakemake to say
        fcntl.flock(file, fcntl.LOCK_SH)
        return False
    except OSError:  # a file system without locks
        return False
    file.seek(0)
    kinds = set(file.read().split())
    stale = kinds == {"local"} and any((folder / "locks").glob("*.lock"))
    if stale:
        log.warning("an earlier Snakemake was killed here: its lock is removed")
        shutil.rmtree(folder / "locks")
    if stale or not any((folder / "locks").glob("*.lock")):
        file.truncate(0)
    fcntl.flock(file, fcntl.LOCK_SH)
    return stale


def began(local: bool, folder: Path = FOLDER) -> None:
    """Note what kind of jobs this run has, for the one that comes after it.

    Parameters
    ----------
    local : bool
        Jobs are children of this process and end with it (`physml.workflow.orphans`).
    folder : Path
        As for `enter`.
    """
    file = _held.get(folder.resolve() / NAME)
    if file is not None:
        file.write("local\n" if local else "remote\n")
        file.flush()
        os.fsync(file.fileno())


def leave(folder: Path = FOLDER) -> None:
    """Leave the folder with nothing to clear away; who is killed does not come here."""
    file = _held.pop(folder.resolve() / NAME, None)
    if file is None:
        return
    with file, contextlib.suppress(OSError):  # others are here, or there are no locks
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not any((folder / "locks").glob("*.lock")):
            file.truncate(0)
