"""Session files: what was asked of the laboratory and what it answered, never lost, never changed.

A session is text, one JSON object a line, and is only ever appended to. Each line is on the disk
before the program goes on; each carries its number and a checksum. A program that is killed at any
byte leaves at most one torn line at the end, which nobody has relied upon: it is skipped, and the
next line begins behind it. A line that is missing or was changed is noticed by number or checksum.
"""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from physml.exceptions import InputError, OutputError
from physml.io.atomic import write_text
from physml.io.files import require_file

try:
    import fcntl
except ImportError:  # not on Windows: there two writers are not kept apart
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

FORMAT = "physml tomography session 1"
#: Largest file that is read.
MAX_BYTES = 1 << 30
#: Largest line, bytes: effects of seven qubits.
MAX_LINE = 16 << 20

_END = re.compile(rb', "crc": "([0-9a-f]{8})"\}$')


def is_session(path: str | PathLike[str]) -> bool:
    """Whether a file begins as a session does."""
    try:
        with open(path, "rb") as file:
            start = file.read(256)
    except OSError:
        return False
    return FORMAT.encode() in start and start.startswith(b'{"n": 0')


def read_session(path: str | PathLike[str]) -> list[dict[str, Any]]:
    """Read a session, also while another process writes to it.

    Returns
    -------
    list of dict
        The header (``event`` is "session") and the events in the order they were written.

    Raises
    ------
    InputError
        No such file, no session, or a line that is missing or damaged.
    """
    source = require_file(path, "a session file", MAX_BYTES)
    with open(source, "rb") as file:
        return list(_events(source, file.read(MAX_BYTES + 1)))


class Session:
    """A session that is open for writing; one process at a time.

    Use `create`, `resume` or `open`; it is a context manager.

    Attributes
    ----------
    path : Path
    events : list of dict
        All that is in the file, the header first.
    """

    def __init__(self, path: Path, descriptor: int, events: list[dict[str, Any]], gap: bool):
        self.path = path
        self.events = events
        self._descriptor: int | None = descriptor
        self._gap = gap  # the file does not end with a whole line

    @classmethod
    def create(cls, path: str | PathLike[str], header: Mapping[str, Any]) -> Session:
        """Begin a session; the file appears with its header or not at all.

        Raises
        ------
        OutputError
            There is something of that name already, or no place for it.
        """
        body = {"format": FORMAT, **header}
        write_text(path, _line(0, "session", body, Path(path)).decode("utf-8"))
        return cls.resume(path)

    @classmethod
    def resume(cls, path: str | PathLike[str]) -> Session:
        """Carry on with a session that exists.

        Raises
        ------
        InputError
            As `read_session`; or another process is writing to it.
        OutputError
            It cannot be written to.
        """
        source = require_file(path, "a session file")
        try:
            descriptor = os.open(source, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise OutputError.expected(source, "a file to append to", _reason(error)) from error
        try:
            _lock(source, descriptor)
            events = read_session(source)
            size = os.fstat(descriptor).st_size
            gap = os.pread(descriptor, 1, size - 1) != b"\n"
        except BaseException:
            os.close(descriptor)
            raise
        return cls(source, descriptor, events, gap)

    @classmethod
    def open(cls, path: str | PathLike[str], header: Mapping[str, Any]) -> Session:
        """Carry on where there is a session, begin one where there is nothing."""
        return cls.resume(path) if os.path.lexists(path) else cls.create(path, header)

    @property
    def header(self) -> dict[str, Any]:
        """First event: the arguments with which the session was begun."""
        return self.events[0]

    def append(self, event: str, body: Mapping[str, Any]) -> None:
        """Write one event; it is on the disk when this returns.

        Raises
        ------
        OutputError
            It could not be written. The session takes no more until it is resumed, since nobody
            knows how much of the line has reached the disk.
        """
        if self._descriptor is None:
            raise OutputError.expected(self.path, "an open session", "a closed one")
        line = _line(len(self.events), event, body, self.path)
        try:
            _write(self._descriptor, b"\n" + line if self._gap else line)
            os.fsync(self._descriptor)
        except OSError as error:
            self.close()
            raise OutputError.expected(
                self.path, "room for one more line", _reason(error), "Resume the session."
            ) from error
        self._gap = False
        self.events.append(_parse(self.path, len(self.events) + 1, line.rstrip(b"\n")) or {})

    def close(self) -> None:
        """Let others write; twice does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)  # and with it goes the lock

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _lock(path: Path, descriptor: int) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError.expected(
            path, "a session that nobody else writes to", "one in use by another process"
        ) from None
    except OSError as error:  # some network file systems know no locks
        log.warning("%s: cannot be locked (%s); let one process write only", path, error)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _line(number: int, event: str, body: Mapping[str, Any], path: Path) -> bytes:
    """One event as a line. The checksum is that of the text before it."""
    try:
        text = json.dumps({"n": number, "event": event, **body}, allow_nan=False)
    except ValueError as error:
        raise InputError.expected(path, "finite numbers to record", str(error)) from error
    start = text[:-1].encode("utf-8")
    line = start + f', "crc": "{zlib.crc32(start):08x}"}}\n'.encode()
    if len(line) > MAX_LINE:
        raise InputError.expected(path, f"at most {MAX_LINE} bytes a line", f"{len(line)} bytes")
    return line


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any] | None:
    """One line; None where it is torn, that is, where its end was never written."""
    end = _END.search(line)
    if end is None:
        return None

    def damaged(why: str) -> NoReturn:
        raise InputError.expected(path, f"line {number} as it was written", why)

    if int(end.group(1), 16) != zlib.crc32(line[: end.start()]):
        damaged("another checksum")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        damaged(f"no JSON ({error})")
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        damaged("no event")
    return value


def _events(path: Path, data: bytes) -> Iterator[dict[str, Any]]:
    lines = data.split(b"\n")
    wanted = 0
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        value = _parse(path, number, line)
        if value is None:
            if wanted == 0:
                break
            log.warning(
                "%s: line %d is torn (the program was killed while writing it) and was skipped",
                path,
                number,
            )
            continue
        if wanted == 0 and value.get("format") != FORMAT:
            break
        if value.get("n") != wanted:
            raise InputError.expected(
                path,
                f"event {wanted} in line {number}",
                f"event {value.get('n')!r}: lines are lost",
            )
        wanted += 1
        yield value
    if wanted == 0:
        raise InputError.expected(path, f"a session file ({FORMAT!r})", "another kind of file")
