"""What no reader may do, whatever the file: run programs, use the network, open other files."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 30.0
"""Processor time that all readers of a file of some kilobytes may take together."""

_FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.")
_FORBIDDEN += ("pickle.find_class", "os.remove", "os.rename", "os.rmdir", "os.chmod")
#: Modules and their data are loaded when they are first needed.
_PROGRAM = tuple(
    {os.path.realpath(sysconfig.get_paths()[k]) for k in ("stdlib", "purelib", "platlib", "data")}
    | {str(Path(__file__).parents[2])}
)

_allowed: Path | None = None
_broken: list[str] = []
#: Empty folders of libraries' own, made and removed while a file is read.
_scratch: set[str] = set()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if event == "open":
        name, mode, flags = (*arguments, None, None, None)[:3]
        if not isinstance(name, str | bytes | os.PathLike):
            return  # a descriptor that is open already
        path = os.path.realpath(os.fsdecode(name))
        writes = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or any(
            c in str(mode or "") for c in "wax+"
        )
        inside = path.startswith(str(_allowed) + os.sep)
        program = path.startswith(_PROGRAM) and (not writes or "__pycache__" in path)
        if not inside and not program and (writes or path not in _scratch):
            _broken.append(f"opened {path} ({mode})")
    elif event == "os.mkdir":
        _scratch.add(os.path.realpath(os.fsdecode(arguments[0])))
    elif event == "os.rmdir" and os.path.realpath(os.fsdecode(arguments[0])) in _scratch:
        return
    elif event == "os.rename" and "__pycache__" in str(arguments[0]):
        return  # the import of a module that was not needed until now
    elif event.startswith(_FORBIDDEN):
        # torch and pickle announce the classes that weights_only allows, by other means.
        _broken.append(f"{event} {arguments!r:.200}")


sys.addaudithook(_hook)


class TooSlow(BaseException):
    """A file of some kilobytes kept the readers busy: `BaseException`, so that nobody hides it."""


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Note what readers do in the block.

    Raises
    ------
    AssertionError
        They did something forbidden.
    TooSlow
        They took too much processor time.
    """
    global _allowed

    def stop(*_: Any) -> None:
        raise TooSlow(f"more than {SECONDS:g} s of processor time")

    _broken.clear()
    _scratch.clear()
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    _allowed = Path(os.path.realpath(folder))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries, on what they make of it
            yield
    finally:
        _allowed = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert not _broken, "; ".join(_broken[:5])
