"""Progress bars, as the commands of all rooms show them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_progress(what: str, total: float, wanted: bool) -> Iterator[Callable[[float], None]]:
    """Progress bar on stderr, where that is a terminal.

    Yields
    ------
    callable
        To be told of every advance.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)
