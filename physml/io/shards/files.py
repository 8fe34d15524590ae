"""HDF5 files, opened and created so that failures are errors that name the file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from physml.exceptions import InputError
from physml.io.files import require_file
from physml.io.hdf5_checks import check_heaps, check_superblock, how_to_remake


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a regular file as HDF5 with errors that name it."""
    if not h5py.is_hdf5(require_file(path, "an HDF5 file")):
        raise InputError.expected(path, "an HDF5 file", "another kind of file, or a damaged one")
    check_superblock(path)
    check_heaps(path)
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        raise InputError.expected(
            path, "a complete HDF5 file", f"a damaged one ({error})"
        ) from error
    try:
        yield file
    finally:
        file.close()


@contextlib.contextmanager
def hdf5_errors(path: Path, name: str) -> Iterator[None]:
    """Errors of the library on damaged bytes, as errors that name the file and dataset."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError.expected(
            path,
            f"a readable dataset {name!r}",
            f"a damaged one ({error})",
            how_to_remake(path),
        ) from error


def text_names(path: Path, file: h5py.File) -> list[str]:
    """Names of everything in a file.

    Raises
    ------
    InputError
        A name is no text: the library hands out such ones as bytes.
    """
    names = list(file)
    for name in names:
        if not isinstance(name, str):
            raise InputError.expected(path, "names in UTF-8", repr(name)[:80])
    return names


def text_attribute(item: h5py.Dataset | h5py.File, key: str) -> str | None:
    """Attribute that is one text, or None."""
    if key not in item.attrs:
        return None
    attribute = item.attrs.get_id(key)
    if attribute.shape != () or h5py.check_string_dtype(attribute.dtype) is None:
        return None
    value = item.attrs[key]
    return value if isinstance(value, str) else None


class _Sink(io.RawIOBase):
    """File below HDF5 that keeps the first error of the disk to itself.

    The HDF5 library does not survive a failing write: it leaves objects that cannot be closed and
    can end the process. Here it is told that all went well, and the caller is told the truth.
    """

    def __init__(self, path: Path) -> None:
        self.file = open(path, "w+b", buffering=0)  # noqa: SIM115
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            count = self.file.readinto(view[done:])
            if not count:
                break
            done += count
        view[done:] = bytes(len(view) - done)  # what could not be written reads as zeros
        return len(view)

    def write(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while self.error is None and done < len(view):
            try:
                done += self.file.write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def close(self) -> None:
        self.file.close()
        super().close()


@contextlib.contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file whose failures to write are ordinary exceptions.

    Raises
    ------
    OSError
        No room, at the end of the block at the latest.
    """
    with contextlib.closing(_Sink(path)) as sink:
        try:
            with h5py.File(sink, "w") as file:
                yield file
        finally:
            if sink.error is not None:
                raise sink.error
