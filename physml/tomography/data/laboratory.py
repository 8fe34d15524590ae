"""Laboratories that measure what the tomographer asks for: simulated, behind a socket or a folder.

All speak of settings and counts in the same JSON, so that a laboratory's controller may be written
in any language::

    asked     {"id": "5c1f09ae-m000003", "shots": 120, "outcomes": ["00", ...], "local": [...]}
    answered  {"id": "5c1f09ae-m000003", "counts": [61, 0, 2, 57], "time": 1699.2}

``local`` holds for each qubit a 2 x 2 unitary whose columns are the basis vectors, numbers as pairs
[real, imaginary]; other settings have ``basis`` (d x d) or ``effects`` (k x d x d) instead. The id
begins with a token of the session. A setting may be asked for again after a failure: whoever has
measured it answers as before. An answer may repeat ``local``, ``basis``, ``effects`` or ``axes`` as
they were measured, and is refused where they are not those asked for; ``shots``, where there were
not as many.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import time
import zlib
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
from ..core.measurements import Setting
from ..core.readout import Readout
from .lab_answer import Counts as Counts
from .lab_answer import HalfWritten
from .lab_answer import parse_answer as parse_answer

log = logging.getLogger(__name__)

#: Longest answer, bytes.
MAX_ANSWER = 1 << 20
#: Time between two looks for a file, s.
POLL_S = 0.02
#: Time between two attempts to reach a laboratory that is away, s.
RETRY_S = 0.2
#: Time to wait for a laboratory that nobody can connect to, s.
PATIENCE_S = 10.0
#: Silence before it is said for whom we wait, and from then on between two such messages, s.
SILENCE_S, REMIND_S = 1.0, 60.0

_OURS = re.compile(r"[0-9a-f]{8}-(m\d{6,}_*)")


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
        The counts of a setting depend on this and on its id alone, so that it may be asked again;
        not on the token of the session in the id, so that a run can be repeated.
    """

    def __init__(self, state: Tensor, readout: Readout | None = None, seed: int = 0):
        self.state, self.readout, self.seed = state, readout, seed

    def measure(self, setting: Setting) -> Counts:
        """Draw counts; see `Laboratory.measure`."""
        real = setting if self.readout is None else self.readout.apply(setting)
        p = probabilities(torch.from_numpy(real.effects), self.state[None])
        ours = _OURS.fullmatch(setting.id)
        name = setting.id if ours is None else ours[1]
        rng = stream(self.seed, "simulate", zlib.crc32(name.encode("utf-8")))
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
        waiting = _Waiting(str(answered))
        while True:
            torn: HalfWritten | None = None
            if answered.is_file():
                require_file(answered, "counts", MAX_ANSWER)
                try:
                    return parse_answer(answered.read_bytes(), setting, str(answered))
                except HalfWritten as error:  # or not yet written to its end
                    torn = error
                except FileNotFoundError:  # it is just being replaced
                    pass
            if time.monotonic() > until:
                if torn is not None:
                    raise torn
                raise Unreachable(f"{answered}: no counts came within {self.timeout:g} s")
            waiting.say("its text is not whole yet" if torn is not None else "")
            time.sleep(POLL_S)


class _Waiting:
    """Says for whom we wait, after a while and from time to time."""

    def __init__(self, name: str):
        self.name = name
        self._next = time.monotonic() + SILENCE_S

    def say(self, why: str = "") -> None:
        """Say it if it is time to."""
        if time.monotonic() >= self._next:
            log.info("waiting for %s%s", self.name, f" ({why})" if why else "")
            self._next = time.monotonic() + REMIND_S


class SocketLaboratory:
    """A laboratory that listens on a TCP port; one JSON object a line in both directions.

    Parameters
    ----------
    host : str
    port : int
        Where it listens. The protocol has no passwords: use it on a machine or network of your own.
    timeout : float
        Seconds to wait for an answer, the laboratory's absence included.
    patience : float
        Seconds to wait for a laboratory that cannot be connected to.
    """

    def __init__(self, host: str, port: int, timeout: float = 3600.0, patience: float = PATIENCE_S):
        self.host, self.port, self.timeout, self.patience = host, port, timeout, patience
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
        away_until = time.monotonic() + self.patience  # as long as nobody listens
        waiting = _Waiting(self.name)
        while True:
            reached = self._connection is not None
            try:
                if not reached:
                    self._connect(min(until, away_until))
                    reached = True
                return parse_answer(self._exchange(line, until, waiting), setting, self.name)
            except (OSError, EOFError) as error:
                self.close()
                if time.monotonic() + RETRY_S > until:
                    raise Unreachable(
                        f"{self.name}: no answer within {self.timeout:g} s ({error})"
                    ) from error
                if reached:
                    away_until = time.monotonic() + self.patience
                elif time.monotonic() + RETRY_S > away_until:
                    raise Unreachable(
                        f"{self.name}: no laboratory to connect to for {self.patience:g} s "
                        f"({error}); is it running, and is this its address?"
                    ) from error
                waiting.say(str(error))
                time.sleep(RETRY_S)

    def _connect(self, until: float) -> None:
        self._rest = b""
        left = max(0.01, until - time.monotonic())
        self._connection = socket.create_connection((self.host, self.port), timeout=left)

    def _exchange(self, line: bytes, until: float, waiting: _Waiting) -> bytes:
        assert self._connection is not None
        self._connection.settimeout(max(0.01, until - time.monotonic()))
        self._connection.sendall(line)
        while b"\n" not in self._rest:
            left = max(0.01, until - time.monotonic())
            self._connection.settimeout(min(left, SILENCE_S))
            try:
                part = self._connection.recv(1 << 16)
            except TimeoutError:
                if left <= SILENCE_S:
                    raise
                waiting.say()
                continue
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
