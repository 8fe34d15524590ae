"""Writing that either completes or leaves nothing behind.

Everything is written under a hidden temporary name in the folder of the target, flushed to the
disk, and renamed: a reader sees the old file, or no file, or the whole new one. The temporary has
to lie in the same folder because a rename is atomic only within one file system.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from physml.exceptions import InputError, OutputError
from physml.io.files import require_file

#: Marks a folder as written by physml: only such a folder may be replaced as a whole.
MARKER = ".physml-output"

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}


def _temporary(path: Path) -> Path:
    # The suffix stays: writers of tables and figures choose the format by it. Host and process tell
    # a later writer whether this one is still at work.
    owner = f"{_host()}-{os.getpid()}-{secrets.token_hex(6)}"
    return path.with_name(f".{path.stem[:100]}.{owner}.partial{path.suffix}")


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _clear_leftovers(path: Path) -> None:
    """Remove what writers of `path` that were killed on this host left half-written."""
    name = re.compile(
        re.escape(f".{path.stem[:100]}.{_host()}-")
        + r"(\d+)-[0-9a-f]{12}\.partial"
        + re.escape(path.suffix)
    )
    for found in path.parent.glob(".*.partial*"):
        match = name.fullmatch(found.name)
        if match is None or _is_alive(int(match[1])):
            continue
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                found.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync_folder(path: Path) -> None:
    # Some network file systems refuse to sync a folder; the file itself is safe by then.
    with contextlib.suppress(OSError):
        _fsync(path)


def _error_number(error: BaseException) -> int | None:
    """Return the errno, also where HDF5 has buried it in the text of its message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = re.search(r"errno = (\d+)", str(error))
    return int(match.group(1)) if match else None


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into `OutputError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = _error_number(error)
        if number in _NO_ROOM:
            raise OutputError.expected(
                path, "room for the output", f"{os.strerror(number).lower()} (nothing was kept)"
            ) from error
        if number in _NO_ACCESS and isinstance(error, OSError):
            raise OutputError.expected(
                path, "a place that can be written to", os.strerror(number).lower()
            ) from error
        raise


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def refuse_existing(path: Path) -> None:
    """Raise `OutputError` where something is at `path` already.

    An empty folder (or one with only empty folders in it) does not count: workflow managers make
    the folders of the outputs before they start a job.
    """
    if _exists(path) and not _is_empty_folder(path):
        raise OutputError.expected(
            path, "a place where nothing is yet", _what(path), "Use --overwrite to replace it."
        )


def _what(path: Path) -> str:
    if path.is_symlink():
        return "a link"
    return "a folder with files in it" if path.is_dir() else "an existing file"


def _is_empty_folder(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    return not any(files for _, _, files in os.walk(path))


@contextlib.contextmanager
def atomic_path(path: str | PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an exception.

    Parameters
    ----------
    path : path
        Where the file will be; missing parent folders are made.
    overwrite : bool
        Replace an existing file.

    Yields
    ------
    Path
        A name that does not exist yet, in the same folder, with the same suffix.

    Raises
    ------
    OutputError
        The file exists and `overwrite` is False; the place is a folder, full or read-only.
    """
    target = Path(path)

    def check() -> None:
        if target.is_dir():
            raise OutputError.expected(target, "the name of a file", "a folder")
        if not overwrite:
            refuse_existing(target)

    check()
    temporary = _temporary(target)
    try:
        with _output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _clear_leftovers(target)
            yield temporary
            if not temporary.is_file():
                raise FileNotFoundError(f"{target}: the writer made no file")
            _fsync(temporary)
            check()  # somebody else may have written it meanwhile
            os.replace(temporary, target)
            _fsync_folder(target.parent)
    finally:
        # A read-only file system refuses this too, and its own reason must be the one that is told.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the block ends without an exception.

    Parameters
    ----------
    path : path
        Where the folder will be. An existing empty folder is taken over.
    overwrite : bool
        Replace an existing folder, if physml wrote it: any other folder is never removed.

    Yields
    ------
    Path
        An empty folder beside `path`.

    Raises
    ------
    OutputError
        Something is there already and may not be replaced; the place is full or read-only.
    """
    target = Path(os.path.abspath(path))

    def check() -> None:
        if overwrite:
            refuse_foreign(target)
        else:
            refuse_existing(target)

    check()
    temporary = _temporary(target)
    try:
        with _output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _clear_leftovers(target)
            temporary.mkdir()
            yield temporary
            (temporary / MARKER).write_text("Written as a whole by physml; may be replaced.\n")
            for folder, _, files in os.walk(temporary):
                for name in files:
                    _fsync(Path(folder, name))
                _fsync_folder(Path(folder))
            check()
            with set_aside(target):
                os.replace(temporary, target)
            _fsync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_foreign(path: Path) -> None:
    """Raise `OutputError` unless `path` may be replaced as an output folder of ours."""
    if not _exists(path) or _is_empty_folder(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise OutputError.expected(path, "a folder", _what(path))
    if not (path / MARKER).is_file():
        raise OutputError.expected(
            path,
            "a new or empty folder, or one that physml wrote as a whole",
            "a folder with other files in it, which --overwrite would delete",
            "Name another folder.",
        )


@contextlib.contextmanager
def set_aside(path: Path) -> Iterator[None]:
    """Move an existing `path` out of the way; back if the block fails, away for good if not."""
    if not _exists(path):
        yield
        return
    old = _temporary(path)
    os.replace(path, old)
    try:
        yield
    except BaseException:
        if not _exists(path):
            os.replace(old, path)
        raise
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def write_text(path: str | PathLike[str], text: str, overwrite: bool = False) -> None:
    """Write a text file (UTF-8) atomically."""
    with atomic_path(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | PathLike[str], value: Any, overwrite: bool = False) -> None:
    """Write strict JSON atomically.

    Raises
    ------
    ValueError
        For NaN and infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", overwrite)


def read_json(path: str | PathLike[str], max_bytes: int = 64 << 20) -> Any:
    """Read JSON.

    Raises
    ------
    InputError
        No such file, over `max_bytes`, or not JSON.
    """
    source = require_file(path, "a JSON file", max_bytes)
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError.expected(source, "JSON", f"something else ({error})") from error
