"""Checks of a file before it is opened."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from physml.exceptions import InputError


def require_file(path: str | PathLike[str], what: str, max_bytes: int | None = None) -> Path:
    """Path of a file that is there, and not too large.

    Parameters
    ----------
    path : path
    what : str
        What the file has to be, for the message, e.g. ``"a table"``.
    max_bytes : int, optional
        Largest size.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        No such file, a folder, or a larger one.
    """
    source = Path(path)
    if not source.is_file():
        found = "a folder" if source.is_dir() else "no such file"
        raise InputError.expected(source, what, found)
    if max_bytes is not None and (size := source.stat().st_size) > max_bytes:
        raise InputError.expected(source, f"{what} of at most {max_bytes} bytes", f"{size} bytes")
    return source
