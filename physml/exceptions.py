"""Errors that a user can meet, each with the exit code of the command line.

The exit codes are a contract that schedulers and scripts rely on:
0 done, 1 failed, 2 bad input or setting, 75 stopped early and resumable, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import ClassVar


class PhysmlError(Exception):
    """Base of all errors that are reported as one message, without a traceback."""

    exit_code: ClassVar[int] = 1


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
        path
            The file (or the name of the argument) at fault; None where there is no name.
        expected
            What was needed, e.g. ``"a 2-D image"``.
        found
            What came, e.g. ``"3 axes of length 4, 512, 512"``.
        hint
            What the user can do about it.
        """
        place = f"{path}: " if path is not None else ""
        message = f"{place}expected {expected}, found {found}"
        return cls(f"{message}. {hint}" if hint else message)


class OutputError(InputError):
    """The place to write to cannot be used: it exists, is full, or is read-only."""


class SettingsError(PhysmlError):
    """A setting is unknown, has the wrong type or unit, or is out of range."""

    exit_code: ClassVar[int] = 2


class NonFiniteError(PhysmlError):
    """A NaN or an infinity turned up in training; nothing is repaired silently.

    Parameters
    ----------
    message
        What became non-finite.
    step
        Optimiser step at which it was seen.
    sample_ids
        Identifiers of the samples in that batch.
    checkpoint
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
        parts.append(
            f"; last good checkpoint: {checkpoint}" if checkpoint else "; no checkpoint yet"
        )
        super().__init__(" ".join(parts).replace(" ;", ";"))


class Checkpointed(PhysmlError):
    """The time limit came; the state is saved and the same command carries on from there.

    75 is ``EX_TEMPFAIL`` of ``sysexits.h``: a temporary failure, try again.
    """

    exit_code: ClassVar[int] = 75
