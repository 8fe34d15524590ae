"""Files as they are, and packed ones (gzip, bzip2, xz) unpacked within a limit."""

from __future__ import annotations

import bz2
import io
import lzma
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from physml.exceptions import InputError
from physml.io.files import require_file

#: Largest file, unpacked.
MAX_BYTES = 8 << 30
#: Unpacked bytes that stay in memory; more go to a nameless file.
IN_MEMORY = 64 << 20
STEP = 1 << 20
_SIGNS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
#: Kinds of packing that are not unpacked here.
_REFUSED = {
    b"PK\x03\x04": ("a zip archive", "Unpack it with unzip."),
    b"\x1f\x9d": ("a file packed with compress", "Unpack it with uncompress."),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it first."),
    b"\x28\xb5\x2f\xfd": ("a file packed with zstd", "Unpack it with unzstd."),
}


class Unpacked:
    """A file of which parts can be read, whether it is packed or not.

    It is unpacked once, when it is first opened.

    Parameters
    ----------
    path : path
        The file.
    max_bytes : int
        Largest size, unpacked.

    Raises
    ------
    InputError
        No such file, or packed in a way that is not known here.
    """

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        self.path = require_file(path, "a file of frames or events")
        self.max_bytes = MAX_BYTES if max_bytes is None else max_bytes
        with open(path, "rb") as file:
            head = file.read(8)
        self.packing = next((name for sign, name in _SIGNS.items() if head.startswith(sign)), None)
        for sign, (what, hint) in _REFUSED.items():
            if head.startswith(sign):
                raise InputError.expected(path, "an HDF5 or FITS file", what, hint)
        self._held: Any = None

    def open(self) -> BinaryIO:
        """File with the unpacked bytes; to be closed by the caller."""
        if self.packing is None:
            return open(self.path, "rb")
        if self._held is None:
            self._held = self._unpack()
        return io.BufferedReader(_View(self._held))

    def head(self, length: int = 4096) -> bytes:
        """First unpacked bytes."""
        with open(self.path, "rb") as file:
            if self.packing is None:
                return file.read(length)
            worker, part = _WORKERS[self.packing](), b""
            try:
                # Blocks of bzip2 unpack as a whole.
                while not part and (data := file.read(STEP)):
                    part = worker.decompress(data, length)
                return part
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise self._damaged(error) from error

    def _damaged(self, error: object) -> InputError:
        return InputError.expected(
            self.path, f"a complete {self.packing} file", f"a damaged one ({error})"
        )

    def _unpack(self) -> Any:
        """Unpack step by step: a bomb of a few kilobytes is stopped at the limit."""
        assert self.packing is not None
        out = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        make = _WORKERS[self.packing]
        size, rest, worker, ended = 0, b"", make(), False
        with open(self.path, "rb") as file:
            while True:
                waiting = not ended and not getattr(worker, "needs_input", True)
                data = rest or (b"" if waiting else file.read(STEP))
                if not data and not waiting:
                    break
                if ended:
                    # Packed files may be joined, and padded with zeros.
                    data = data.lstrip(b"\0")
                    if not data:
                        rest = b""
                        continue
                    worker = make()
                try:
                    part = worker.decompress(data, STEP)
                except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                    raise self._damaged(error) from error
                size += len(part)
                if size > self.max_bytes:
                    raise InputError.expected(
                        self.path, f"at most {self.max_bytes} bytes when unpacked", "more"
                    )
                out.write(part)
                ended = worker.eof
                rest = worker.unused_data if ended else getattr(worker, "unconsumed_tail", b"")
        if not ended:
            raise InputError.expected(
                self.path, f"a complete {self.packing} file", "a truncated one"
            )
        return out


def _gzip() -> Any:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


_WORKERS: dict[str, Callable[[], Any]] = {
    "gzip": _gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28),
}


class _View(io.RawIOBase):
    """Reader of a file that others read as well, at a place of its own."""

    def __init__(self, file: Any) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._file.seek(self._at)
        self._file.seek(offset, whence)
        self._at = int(self._file.tell())
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        part = self._file.read(len(buffer))
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
