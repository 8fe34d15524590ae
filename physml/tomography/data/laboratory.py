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
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from physml.exceptions import InputError, PhysmlError
from physml.io.atomic import write_json
from physml.io.files import require_file
from physml.random import stream

from ..core.born import probabilities, sample_counts
from ..core.checks import check_counts, check_time
from ..core.measurements import Setting
from ..core.readout import Readout

log = logging.getLogger(__name__)

#: Longest answer, bytes.
MAX_ANSWER = 1 << 20
#: Time between two looks for a file, s.
POLL_S = 0.02
#: Time between two attempts to reach a laboratory that is away, s.
RETRY_S = 0.2


class Counts(list[int]):
    """Counts of the outcomes in their order, and when they were taken.

    Parameters
    ----------
    values : iterable of int
    time : float, optional
        Seconds since any moment.
    """

    def __init__(self, values: Iterable[int], time: float | None = None) -> None:
        super().__init__(values)
        self.time = time


class Laboratory(Protocol):
    """Anything that measures: simulated, behind a socket or a folder, or of the user's own."""

    def measure(self, setting: Setting) -> Any:
        """Measure a setting; of one that was measured before, the counts of then.

        Parameters
        ----------
        setting : Setting

        Returns
        -------
        sequence of int, mapping of outcome to int, or Counts
            One number for each outcome.
        """
        ...


class Unreachable(PhysmlError):
    """No answer in time; the session goes on when the laboratory is back."""

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

    def measure(self, setting: Setting) -> Counts:
        """Draw counts; see `Laboratory.measure`."""
        real = setting if self.readout is None else self.readout.apply(setting)
        p = probabilities(torch.from_numpy(real.effects), self.state[None])
        rng = stream(self.seed, "simulate", zlib.crc32(setting.id.encode("utf-8")))
        return Counts(int(c) for c in sample_counts(p, setting.shots, rng)[0])


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

    def measure(self, setting: Setting) -> Counts:
        """Ask, wait, and read; see `Laboratory.measure`."""
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
        require_file(answered, "counts", MAX_ANSWER)
        return parse_answer(answered.read_bytes(), setting, str(answered))


class SocketLaboratory:
    """A laboratory that listens on a TCP port; one JSON object a line in both directions.

    Parameters
    ----------
    host : str
    port : int
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
        """Name in messages."""
        return f"{self.host}:{self.port}"

    def measure(self, setting: Setting) -> Counts:
        """Ask and wait, again when a laboratory that was away is back; see `Laboratory.measure`."""
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


def parse_answer(text: bytes, setting: Setting, place: str) -> Counts:
    """Counts in the answer of a laboratory.

    Parameters
    ----------
    text : bytes
        JSON.
    setting : Setting
        That was asked for.
    place : str
        Name of the laboratory in messages.

    Raises
    ------
    InputError
        It is no answer to this setting, or an error that the laboratory reports; or the counts
        cannot be.
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
    counts = check_counts(data["counts"], setting, f"{place}, counts of {setting.id!r}")
    return Counts(counts.tolist(), check_time(data.get("time"), f"{place}, time"))
