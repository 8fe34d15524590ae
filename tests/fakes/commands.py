"""Commands in processes of their own, which can be killed, made in a moment.

They are forked from a server that has imported torch once for all; a new interpreter would take
seconds of CPU to do that again for each command.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
# torch imports its compiler with the first optimiser.
_CONTEXT.set_forkserver_preload(
    ["torch._dynamo", "physml.cavities.train", "physml.cavities.predict", "physml.cli.main"]
)


def _run(arguments: list[str], errors: Path, prepare: Callable[[], None] | None) -> None:
    os.setsid()
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    from physml.cli.main import main

    if prepare is not None:
        prepare()
    sys.exit(main(arguments))


class Command:
    """A command that runs; its messages go to a file."""

    def __init__(
        self, arguments: list[str], errors: Path, prepare: Callable[[], None] | None = None
    ) -> None:
        self.errors = errors
        self.process = _CONTEXT.Process(target=_run, args=(arguments, errors, prepare))
        self.process.start()

    def kill_after(self, seconds: float) -> bool:
        """Kill its process group after some seconds; whether it was still at work."""
        self.process.join(seconds)
        at_work = self.process.is_alive()
        if at_work:
            try:
                os.killpg(self.process.pid or 0, signal.SIGKILL)
            except ProcessLookupError:  # so early that it has no group of its own yet
                self.process.kill()
            self.process.join()
        return at_work

    def finish(self, timeout_s: float = 280) -> tuple[int, str]:
        """Exit code, once it has ended, and its messages."""
        self.process.join(timeout_s)
        assert self.process.exitcode is not None, "the command hangs"
        return self.process.exitcode, self.errors.read_text()
