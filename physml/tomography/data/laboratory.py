"""Laboratories that measure what the tomographer asks for: simulated, behind a socket or a folder.

All speak of settings and counts in the same JSON, so that a laboratory's controller may be written
in any language::

    asked     {"id": "m000003", "shots": 120, "outcomes": ["00", ...], "local": [...]}
    answered  {"id": "m000003", "counts": [61, 0, 2, 57], "time": 1699.2}

``local`` holds for each qubit a 2 x 2 unitary whose columns are the basis vectors, numbers as pairs
[real, imaginary]; other settings have ``basis`` (d x d) or ``effects`` (k x d x d) instead. A
setting may be asked for again after a failure: whoever has measured it answers as before.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import time
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from physml.exceptions import InputError, PhysmlError
from physml.random import stream

from ..core.checks import check_time
from ..core.measurements import Setting

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.readout import Readout

log = logging.getLogger(__name__)

MAX_ANSWER = 1 << 20
"""Longest answer, bytes."""
POLL_S = 0.02
"""Time between two looks for a file."""
RETRY_S = 0.2
"""Time between two attempts to reach a laboratory that is away."""


@dataclass(frozen=True)
class Answer:
    """What a laboratory counted.

    Attributes
    ----------
    counts : list, or dict by outcome
        Not checked yet.
    time : float, optional
        Seconds since any moment.
    """

    counts: Any
    time: float | None = None


class Laboratory(Protocol):
    """Whoever measures."""

    def measure(self, setting: Setting) -> Answer:
        """Measure a setting; of one that was measured before, the counts of then."""
        ...


class Unreachable(PhysmlError):
    """The laboratory did not answer in time; the session goes on when it is back."""

    exit_code = 75


class SimulatedLaboratory:
    """A known state and perfect shot noise, in this process.

    Parameters
    ----------
    state : Tensor (d, d)
    readout : Readout, optional
        Errors of its detectors.
    seed : int
        The counts of a setting depend on this and on its id alone, so that it may be asked again.
    """

    def __init__(self, state: Tensor, readout: Readout | None = None, seed: int = 0):
        self.state, self.readout, self.seed = state, readout, seed

    def measure(self, setting: Setting) -> Answer:
        """Draw counts."""
        import torch

        from ..core.born import probabilities, sample_counts

        real = setting if self.readout is None else self.readout.apply(setting)
        p = probabilities(torch.from_numpy(real.effects), self.state[None])
        rng = stream(self.seed, "simulate", zlib.crc32(setting.id.encode("utf-8")))
        return Answer([int(c) for c in sample_counts(p, setting.shots, rng)[0]])


class FolderLaboratory:
    """A laboratory that reads and writes files: ``<id>.setting.json``, ``<id>.counts.json``.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    timeout : float
        Seconds to wait for an answer.
    """

    def __init__(self, folder: str | PathLike[str], timeout: float = 3600.0):
        self.folder, self.timeout = Path(folder), timeout
        self.folder.mkdir(parents=True, exist_ok=True)

    def measure(self, setting: Setting) -> Answer:
        """Ask, wait, and read."""
        from physml.io.atomic import write_json

        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", setting.id):
            raise InputError.expected("setting", "an id that can name a file", repr(setting.id))
        asked = self.folder / f"{setting.id}.setting.json"
        answered = self.folder / f"{setting.id}.counts.json"
        write_json(asked, setting.to_dict(), overwrite=True)
        until = time.monotonic() + self.timeout
        while not answered.is_file():
            if time.monotonic() > until:
                raise Unreachable(f"{answered}: no counts came within {self.timeout:g} s")
            time.sleep(POLL_S)
        if (size := answered.stat().st_size) > MAX_ANSWER:
            raise InputError.expected(answered, f"at most {MAX_ANSWER} bytes", str(size))
        return parse_answer(answered.read_bytes(), setting, str(answered))


class SocketLaboratory:
    """A laboratory that listens on a TCP port; one JSON object a line in both directions.

    Parameters
    ----------
    host, port
        Where it listens. The protocol has no passwords: use it on a machine or network of your own.
    timeout : float
        Seconds to wait for an answer, the laboratory's absence included.
    """

    def __init__(self, host: str, port: int, timeout: float = 3600.0):
        self.host, self.port, self.timeout = host, port, timeout
        self._connection: socket.socket | None = None
        self._rest = b""

    @property
    def name(self) -> str:
        """As in messages."""
        return f"{self.host}:{self.port}"

    def measure(self, setting: Setting) -> Answer:
        """Ask and wait; if the laboratory goes away, ask again when it is back."""
        line = json.dumps(setting.to_dict(), allow_nan=False).encode("utf-8") + b"\n"
        until = time.monotonic() + self.timeout
        while True:
            try:
                return parse_answer(self._exchange(line, until), setting, self.name)
            except (OSError, EOFError) as error:
                self.close()
                if time.monotonic() + RETRY_S > until:
                    raise Unreachable(
                        f"{self.name}: no answer within {self.timeout:g} s ({error})"
                    ) from error
                log.debug("%s: %s; trying again", self.name, error)
                time.sleep(RETRY_S)

    def _exchange(self, line: bytes, until: float) -> bytes:
        if self._connection is None:
            self._rest = b""
            left = max(0.01, until - time.monotonic())
            self._connection = socket.create_connection((self.host, self.port), timeout=left)
        self._connection.sendall(line)
        while b"\n" not in self._rest:
            self._connection.settimeout(max(0.01, until - time.monotonic()))
            part = self._connection.recv(1 << 16)
            if not part:
                raise EOFError("the connection was closed")
            self._rest += part
            if len(self._rest) > MAX_ANSWER:
                raise InputError.expected(self.name, f"at most {MAX_ANSWER} bytes a line", "more")
        answer, _, self._rest = self._rest.partition(b"\n")
        return answer

    def close(self) -> None:
        """Hang up; twice does no harm."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def parse_answer(text: bytes, setting: Setting, place: str) -> Answer:
    """Answer of a laboratory.

    Raises
    ------
    InputError
        It is no answer to this setting, or an error that the laboratory reports.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError.expected(place, "counts as JSON", f"something else ({error})") from error
    if not isinstance(data, dict):
        raise InputError.expected(place, "an object with id and counts", type(data).__name__)
    if "error" in data:
        raise InputError(f"{place}: the laboratory refused {setting.id!r}: {data['error']!s:.200}")
    if data.get("id") != setting.id or "counts" not in data:
        raise InputError.expected(
            place,
            f"counts of {setting.id!r}",
            f"{', '.join(map(str, data))[:80]} of {data.get('id')!r:.40}",
        )
    return Answer(data["counts"], check_time(data.get("time"), f"{place}, time"))
