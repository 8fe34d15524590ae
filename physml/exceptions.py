"""Errors that a user can meet, each with the exit code of the command line.

The exit codes are a contract that schedulers and scripts rely on:
0 done, 1 failed, 2 bad input or setting, 3 the data contradict the model, 75 stopped early and
resumable, 130 interrupted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

# Controls of terminals (C0, C1) but for tab and line feed, and marks that reverse the direction of
# writing.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: Longest message, characters: what stands in a file is quoted, not copied.
MAX_MESSAGE = 4000


def printable(text: str) -> str:
    """Text that does nothing to a terminal and can be written to any log.

    Messages quote names and values from files that somebody else made.
    """
    plain = _UNPRINTABLE.sub(lambda match: ascii(match.group())[1:-1], text)
    if len(plain) > MAX_MESSAGE:
        plain = f"{plain[:MAX_MESSAGE]} ... ({len(plain)} characters)"
    return plain


class PhysmlError(Exception):
    """Base of all errors that are reported as one message, without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *args: Any) -> None:
        super().__init__(*(printable(a) if isinstance(a, str) else a for a in args))


class InputError(PhysmlError):
    """A file or an argument is not what it has to be."""

    exit_code: ClassVar[int] = 2

    @classmethod
    def expected(
        cls,
        path: str | PathLike[str] | None,
        expected: str,
        found: str,
        hint: str | None = None,
    ) -> InputError:
        """Build the message from its parts, so that all messages read alike.

        Parameters
        ----------
        path : path or None
            The file (or the name of the argument) at fault; None where there is no name.
        expected : str
            What was needed, e.g. ``"a 2-D image"``.
        found : str
            What came, e.g. ``"3 axes of length 4, 512, 512"``.
        hint : str, optional
            What the user can do about it.
        """
        place = f"{path}: " if path is not None else ""
        # One line: a name with a line feed in it must not look like a message of its own.
        message = f"{place}expected {expected}, found {found}".replace("\n", " ")
        return cls(f"{message}. {hint}" if hint else message)


class OutputError(InputError):
    """The place to write to cannot be used: it exists, is full, or is read-only."""


class SettingsError(PhysmlError):
    """A setting is unknown, has the wrong type or unit, or is out of range."""

    exit_code: ClassVar[int] = 2


class NonFiniteError(PhysmlError):
    """A NaN or an infinity turned up in simulating or training; nothing is repaired silently.

    Parameters
    ----------
    message : str
        What became non-finite.
    step : int, optional
        Optimiser step at which it was seen; None outside of training.
    sample_ids : sequence of int
        Identifiers of the samples that are at fault, or of their batch.
    checkpoint : Path, optional
        The last good checkpoint, from which one can look into the cause.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        step: int | None = None,
        sample_ids: Sequence[int] = (),
        checkpoint: Path | None = None,
    ) -> None:
        self.step = step
        self.sample_ids = tuple(int(i) for i in sample_ids)
        self.checkpoint = checkpoint
        parts = [message]
        if step is not None:
            parts.append(f"at step {step}")
        if self.sample_ids:
            shown = ", ".join(map(str, self.sample_ids[:32]))
            parts.append(f"with samples {shown}{', ...' if len(self.sample_ids) > 32 else ''}")
        if checkpoint is not None:
            parts.append(f"; last good checkpoint: {checkpoint}")
        elif step is not None:
            parts.append("; no checkpoint yet")
        super().__init__(" ".join(parts).replace(" ;", ";"))


class Checkpointed(PhysmlError):
    """The time limit came; the state is saved and the same command carries on from there.

    75 is ``EX_TEMPFAIL`` of ``sysexits.h``: a temporary failure, try again.
    """

    exit_code: ClassVar[int] = 75
