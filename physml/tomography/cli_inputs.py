"""Arguments of the commands: sessions, laboratories, small files."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from physml.exceptions import InputError, OutputError
from physml.io.files import require_file

from .core.checks import check_counts, check_id, check_qubits
from .core.measurements import Setting
from .core.states import NAMED, named_state, with_white_noise
from .data.batch_file import check_batch, write_batch
from .data.json_file import read_strict_json
from .data.lab_answer import Counts, check_complete
from .data.laboratory import FolderLaboratory, Laboratory, SimulatedLaboratory, SocketLaboratory
from .data.readout_file import read_readout as read_readout
from .data.session import is_session, read_session
from .data.state_file import read_state
from .inference.by_name import arguments_of
from .inference.tomographer import Tomographer

log = logging.getLogger(__name__)


def open_session(
    path: Path, given: dict[str, Any], readout: str | None, order: str | None = None
) -> Tomographer:
    """Carry on with a session, or begin one.

    Parameters
    ----------
    path : Path
    given : dict
        Arguments of the tomographer; None where the user said nothing.
    readout, order : str, optional
        As on the command line.

    Raises
    ------
    InputError
        The session was begun with other arguments.
    """
    arguments = {name: value for name, value in given.items() if value is not None}
    if isinstance(design := arguments.get("design"), str) and design.endswith(".json"):
        arguments["design"] = read_strict_json(require_file(design, "a file of settings"))
    if os.path.lexists(path):
        arguments = {**arguments_of(read_session(path)[0], path), **arguments}
    else:
        arguments.setdefault("n_qubits", 2)
    if readout is not None or order is not None:
        n = check_qubits(arguments["n_qubits"])
        given_readout = arguments["readout"] = read_readout(readout, n, order)
        for text in () if given_readout is None else given_readout.notes:
            log.warning("%s", text)
    return Tomographer(**arguments, session=path)


def reach_laboratory(
    tomographer: Tomographer,
    simulate: str | None,
    noise: float,
    connect: str | None,
    folder: Path | None,
    waits: tuple[float, float],
) -> Laboratory:
    """The laboratory that the user named; exactly one of three kinds; InputError otherwise.

    `waits` are the seconds to wait for an answer, and for a laboratory to connect to.
    """
    if sum(x is not None for x in (simulate, connect, folder)) != 1:
        raise InputError.expected(
            "laboratory", "one of simulate=, connect= and folder=", "none or several"
        )
    if simulate is not None:
        state = named_state(simulate, tomographer.n_qubits)
        mixed = with_white_noise(state, noise)
        return SimulatedLaboratory(mixed, tomographer.readout, tomographer.seed)
    if folder is not None:
        return FolderLaboratory(folder, waits[0])
    host, _, port = str(connect).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InputError.expected("connect=", "HOST:PORT", repr(connect))
    return SocketLaboratory(host, int(port), *waits)


def read_answers(path: Path) -> list[dict[str, Any]]:
    """Counts by id from a JSON file: one object, or a list of them; InputError otherwise."""
    data = read_strict_json(require_file(path, "a file of counts"))
    answers = data if isinstance(data, list) else [data]
    for k, answer in enumerate(answers):
        if not isinstance(answer, dict) or not {"id", "counts"} <= set(answer):
            raise InputError.expected(path, "objects with id and counts", f"{answer!r:.60} at {k}")
        check_id(answer["id"], f"{path}, id")
    return answers


def add_answers(tomographer: Tomographer, answers: Sequence[dict[str, Any]]) -> None:
    """Record counts, with their settings where those were not asked for."""
    for answer in answers:
        setting: Any = answer["id"]
        if "setting" in answer:
            setting = Setting.from_dict({**answer["setting"], "id": answer["id"]})
        for waiting in tomographer.pending:
            if waiting.id == answer["id"]:  # what was asked for has to be whole
                given = Counts(
                    check_counts(answer["counts"], waiting).tolist(), shots=answer.get("shots")
                )
                check_complete(given, waiting, "--add")
        tomographer.update(setting, answer["counts"], answer.get("time"))


def read_places(given: str | None) -> list[int] | None:
    """Numbers of bits or qubits of a text such as "0,1"; InputError otherwise."""
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 4 for part in parts):
        raise InputError.expected("measured=", "numbers such as 0,1", repr(given[:40]))
    return [int(part) for part in parts]


def check_plan(
    settings: int | None, copies: int | None, shots: int | None, batch: Path | None
) -> tuple[int, int] | None:
    """Copies and settings of a plan, or None where one setting is asked for; InputError otherwise.

    That there is a place for the file is known before any setting is asked for.
    """
    if settings is None and copies is None and batch is None:
        return None
    if settings is None or copies is None:
        raise InputError.expected("settings=", "it and copies=", "one without the other")
    if shots is not None:
        raise InputError.expected("shots=", "copies= for all settings of a plan", "both")
    if copies < settings:
        raise InputError.expected("copies=", f"at least {settings}, one a setting", str(copies))
    if batch is not None:
        check_batch(batch)
        if os.path.lexists(batch):
            raise OutputError.expected(batch, "a name that is free", "something of that name")
    return copies, settings


def give_batch(asked: Sequence[Setting], batch: Path | None) -> str:
    """Write a plan to its file, or give it as JSON; what to print."""
    if batch is None:
        return json.dumps([setting.to_dict() for setting in asked])
    write_batch(asked, batch)
    total = sum(setting.shots for setting in asked)
    return f"{batch}: {len(asked)} settings, {total} copies"


def read_target(
    given: str | None, n_qubits: int, remarks: list[str] | None = None
) -> Tensor | None:
    """State by name, of a file, or of a folder of `predict -o`; see `state_file.read_state`.

    Parameters
    ----------
    given : str, optional
    n_qubits : int
    remarks : list of str, optional
        Gets what was done to a state that was rounded.

    Raises
    ------
    InputError
        There is no such state.
    """
    if given is None:
        return None
    path = Path(given)
    if given.lower() in NAMED or not (path.suffix or path.exists()):
        return named_state(given, n_qubits)
    return read_state(path, n_qubits, remarks)


def estimator_of(path: Path) -> str:
    """Estimator of a session; the neural one for other files."""
    if not is_session(path):
        return "neural"
    return str(arguments_of(read_session(path)[0], path)["estimator"])
