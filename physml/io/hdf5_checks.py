"""Checks of what the HDF5 library takes for granted of a file, before it reads.

The library believes that a chunk holds, once it is unpacked, as many bytes as its shape asks for.
Where it holds fewer, what lies behind it in memory is given out as data; that may be anything.
Numbers of odd bits go through conversions that few ever use.
"""

from __future__ import annotations

import math
import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import h5py

from physml.exceptions import InputError
from physml.io.atomic import MARKER

#: A chunk is one sample; nobody's sample is larger than this.
MAX_CHUNK_BYTES = 256 << 20
_BLOCK_BYTES = 16 << 20  # read at a time
#: Filters built into HDF5. Others would be loaded as plugins, that is, as code.
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_CHECKSUM = 4  # bytes, of Fletcher32

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL\x01\0\0\0"
_REALS = (
    *(getattr(h5py.h5t, f"IEEE_F{n}{order}") for n in (16, 32, 64) for order in ("LE", "BE")),
    h5py.h5t.NATIVE_LDOUBLE,
)


def how_to_remake(path: Path) -> str:
    """Advice about a damaged file of a workflow, whose output is the file or its folder."""
    output = path.parent if (path.parent / MARKER).is_file() else path
    return (
        f"If a workflow made it, the same snakemake command with `--forcerun {output}` "
        "makes it anew, and what follows."
    )


def check_superblock(path: Path) -> None:
    """Refuse what the library would work through on opening, beside the data.

    An extension of the superblock holds tables of headers that are shared, an image of the
    library's cache, lists of free space: what numbers in a file never need, and where faults of
    the library were found again and again.

    Raises
    ------
    InputError
        It is no HDF5 file, or there is such an extension, or another driver to be used.
    """
    with open(path, "rb") as file:
        size, start = file.seek(0, 2), 0
        while start < size:  # the library looks at these places, too
            file.seek(start)
            head = file.read(96)
            if head.startswith(_SIGNATURE):
                break
            start = max(512, 2 * start)
        else:
            raise InputError.expected(path, "an HDF5 file", "another kind of file")
    version = head[8] if len(head) > 8 else -1
    # Where the size of an address is told, and where the address in question stands.
    at, first, number = {0: (13, 24, 3), 1: (13, 28, 3), 2: (9, 12, 1), 3: (9, 12, 1)}.get(
        version, (0, 0, 0)
    )
    width = head[at] if at and len(head) > at else 0
    place = head[first + number * width : first + (number + 1) * width]
    if width not in (2, 4, 8) or len(place) < width:
        raise InputError.expected(path, "a complete HDF5 file", "a damaged one (its superblock)")
    if place != b"\xff" * width:
        raise InputError.expected(
            path,
            "an HDF5 file of data alone",
            "an extension of the superblock" if version > 1 else "a driver of its own",
            "Copy its datasets into a new file.",
        )


def check_heaps(path: Path) -> None:
    """Refuse a heap of texts in which the library would walk on the spot for ever.

    Texts of free length, as run records are, stand in global heaps: lists of objects, each of which
    tells where the next one is. The library follows them without asking whether that leads on.

    Raises
    ------
    InputError
        An object in a heap is of no size, or ends behind the heap.
    """
    # Read, not mapped: pages of a map count as memory of the job.
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for start in _places(file, _HEAP):
            if not _leads_on(file, start, size):
                raise InputError.expected(
                    path,
                    "texts in an HDF5 file that can be found",
                    f"a damaged heap at byte {start}",
                    how_to_remake(path),
                )


def _places(file: BinaryIO, mark: bytes) -> Iterator[int]:
    """Where a mark stands in a file, which others may read from meanwhile."""
    at, before = 0, b""
    while True:
        file.seek(at)
        block = before + file.read(_BLOCK_BYTES)
        if len(block) == len(before):
            return
        start = at - len(before)
        found = block.find(mark)
        while found >= 0:
            yield start + found
            found = block.find(mark, found + len(mark))
        at, before = start + len(block), block[1 - len(mark) :]


def _leads_on(file: BinaryIO, start: int, size: int) -> bool:
    """Whether the objects of a heap fill it one after the other. Lengths are of eight bytes."""
    file.seek(start + 8)
    end = start + int.from_bytes(file.read(8), "little")
    if end > size:
        return True  # the library refuses it
    at = start + 16
    while at + 16 <= end:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[8:], "little")
        # The object of number 0 is the room that is left, and counts its own header.
        free = head[:2] == b"\0\0"
        step = length if free else 16 + -(-length // 8) * 8
        if step < 16 or at + step > end:
            return False
        at += step
    return True


def check_storage(path: Path, name: str, dataset: h5py.Dataset) -> None:
    """Refuse data outside of the file, other filters than gzip's, and numbers of odd bits."""
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or dataset.is_virtual:
        raise InputError.expected(path, f"{name!r} stored in the file", "a virtual dataset")
    if plan.get_external_count() > 0:
        raise InputError.expected(path, f"{name!r} stored in the file", "external storage")
    filters = set(_pipeline(dataset))
    if not filters <= _FILTERS:
        raise InputError.expected(
            path, f"{name!r} packed with gzip or not at all", f"filters {sorted(filters)}"
        )
    if not _usual(dataset.id.get_type()):
        raise InputError.expected(
            path,
            f"{name!r} to hold numbers of whole bytes",
            f"bits of another meaning, read as {dataset.dtype}",
        )


def _pipeline(dataset: h5py.Dataset) -> list[int]:
    plan = dataset.id.get_create_plist()
    return [int(plan.get_filter(i)[0]) for i in range(plan.get_nfilters())]


def _usual(kind: h5py.h5t.TypeID) -> bool:
    """Whether a type is made of numbers that fill their bytes. Texts are none of our business."""
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return all(_usual(kind.get_member_type(i)) for i in range(kind.get_nmembers()))
    if isinstance(kind, h5py.h5t.TypeEnumID | h5py.h5t.TypeArrayID):
        return _usual(kind.get_super())
    if isinstance(kind, h5py.h5t.TypeIntegerID):
        return int(kind.get_offset()) == 0 and kind.get_precision() == 8 * kind.get_size()
    if isinstance(kind, h5py.h5t.TypeFloatID):
        return any(kind.equal(usual) for usual in _REALS)
    return not isinstance(kind, h5py.h5t.TypeBitfieldID)


class Chunks:
    """Chunks of a dataset, of which each is checked before it is read, and only once.

    Parameters
    ----------
    path : Path
    name : str
        Of the dataset, for messages.
    dataset : h5py.Dataset
        Stored as `check_storage` wants it.

    Raises
    ------
    InputError
        A chunk is larger than memory should bear, or packed into more bytes than it could need,
        or, where nothing is packed, of another size than its shape asks for.
    """

    def __init__(self, path: Path, name: str, dataset: h5py.Dataset) -> None:
        self.path, self.name = path, name
        self._dataset = dataset
        self._filters = _pipeline(dataset)
        self._waiting: defaultdict[int, list[tuple[int, ...]]] = defaultdict(list)
        self.rows = 0
        if dataset.chunks is None:
            return
        self.rows = int(dataset.chunks[0])
        self._bytes = math.prod(map(int, (dataset.dtype.itemsize, *dataset.chunks)))
        # A chunk of one sample may be larger than the data only for short datasets.
        if self._bytes > MAX_CHUNK_BYTES:
            raise InputError.expected(
                path, f"chunks of {name!r} of at most {MAX_CHUNK_BYTES} bytes", f"{self._bytes}"
            )
        sizes: list[int] = []

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            sizes.append(int(chunk.size))
            if self._filters:
                place = tuple(int(n) for n in chunk.chunk_offset)
                self._waiting[place[0] // self.rows].append(place)

        dataset.id.chunk_iter(note)
        if not sizes:
            return
        # HDF5 unpacks a chunk as far as it goes. One that is stored in fewer bytes than it has to
        # hold can grow by 1032 at most, so that this bounds the memory.
        limit = self._bytes + self._bytes // 1000 + 1024
        if max(sizes) > limit:
            raise InputError.expected(
                path, f"chunks of {name!r} stored in at most {limit} bytes", f"{max(sizes)} bytes"
            )
        if not self._filters:
            wrong = next((size for size in sizes if size != self._bytes), None)
            if wrong is not None:
                raise InputError.expected(
                    path, f"chunks of {name!r} of {self._bytes} bytes", f"one of {wrong}"
                )

    def check(self, rows: Iterable[int] | None = None) -> None:
        """Unpack chunks and compare their sizes with the one that their shape asks for.

        Parameters
        ----------
        rows : iterable of int, optional
            Positions along the first axis that are going to be read; all of them by default.

        Raises
        ------
        InputError
            One of the chunks is damaged, or holds more or less than it should.
        """
        if not self._waiting:
            return
        touched = list(self._waiting) if rows is None else {row // self.rows for row in rows}
        for number in touched:
            for place in self._waiting.pop(number, ()):
                mask, raw = self._dataset.id.read_direct_chunk(place)
                found = self._unpacked(raw, int(mask))
                if found != self._bytes:
                    raise InputError.expected(
                        self.path,
                        f"{self._bytes} bytes in the chunk of {self.name!r} at {place}",
                        "a damaged one" if found is None else f"{found}",
                        how_to_remake(self.path),
                    )

    def _unpacked(self, raw: bytes, mask: int) -> int | None:
        """Bytes in a chunk; None where it cannot be unpacked. Behind one too many none count."""
        most = self._bytes + _CHECKSUM * len(self._filters) + 1
        for k, code in reversed(list(enumerate(self._filters))):
            if mask >> k & 1:
                continue  # not used for this chunk
            if code == h5py.h5z.FILTER_FLETCHER32:
                if len(raw) < _CHECKSUM:
                    return None
                raw = raw[:-_CHECKSUM]
            elif code == h5py.h5z.FILTER_DEFLATE:
                worker = zlib.decompressobj()
                try:
                    raw = worker.decompress(raw, most)
                except zlib.error:
                    return None
                if not worker.eof and len(raw) < most:
                    return None
        return len(raw)
