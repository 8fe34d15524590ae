"""View of work under way for a person: progress bars, and logs without chatter."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_progress(what: str, total: float, wanted: bool) -> Iterator[Callable[[float], None]]:
    """Progress bar on stderr, where that is a terminal.

    There is none where the log keeps to errors (``--quiet``), and none in a process that another
    one started: the terminal is that one's.

    Parameters
    ----------
    what : str
        Name of the work.
    total : float
        Sum of all advances.
    wanted : bool

    Yields
    ------
    callable
        To be told of every advance.
    """
    silent = logging.getLogger("physml").getEffectiveLevel() > logging.WARNING
    started = multiprocessing.parent_process() is not None
    if not wanted or silent or started or not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)


@contextmanager
def quiet(name: str, level: int = logging.WARNING) -> Iterator[None]:
    """Keep messages of another library below a level out of the log for a while.

    Parameters
    ----------
    name : str
        Of its logger.
    level : int
    """
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
