"""Shards larger than memory: samples unpacked by the caller, straight from where they lie.

The HDF5 library looks a chunk up in a tree at each reading, unpacks under a lock that the whole
process shares, and is not to be used in a process that was forked while it was open. What a
training reads a million times at random needs none of that: where the chunks lie is noted once, a
sample is then one `pread` and one `zlib`, and the system is told ahead which parts of the file to
read.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.hdf5_checks import MAX_CHUNK_BYTES, how_to_remake
from physml.io.shards.datasets import Spec, declared_bytes, non_finite, wanted_dataset
from physml.io.shards.files import hdf5_errors, open_hdf5, text_attribute
from physml.io.shards.reading import read_shard
from physml.provenance import sha256

#: Filters in the order in which `write_shard` applies them.
_WRITTEN = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]
#: Bytes of a sample up to which an array is read into memory: numbers, no images.
SMALL = 64
#: Gaps in the file up to which two stretches are read ahead as one, bytes.
GAP = 256 << 10


class PackedArray:
    """Array in a shard of which samples are read as they are asked for, from any process.

    Indexed along its first axis by a slice or an array of int, it gives what the whole array in
    memory would give. Damage to a chunk is found by the checksum that its compression carries.

    Parameters
    ----------
    file : PackedFile
    name : str
    dataset : h5py.Dataset
        Open, and checked.
    finite : bool
        NaN and infinity are refused.

    Raises
    ------
    InputError
        It is not stored as `write_shard` stores arrays.
    """

    def __init__(self, file: PackedFile, name: str, dataset: h5py.Dataset, finite: bool) -> None:
        self.file, self.name, self.finite = file, name, finite
        self.shape: tuple[int, ...] = tuple(map(int, dataset.shape))
        self.dtype = np.dtype(dataset.dtype)
        plan = dataset.id.get_create_plist()
        filters = [int(plan.get_filter(i)[0]) for i in range(plan.get_nfilters())]
        chunks = dataset.chunks
        if chunks is None or chunks[1:] != self.shape[1:] or filters not in (_WRITTEN, []):
            raise InputError.expected(
                file.path,
                f"{name!r} in chunks of whole samples, packed as `write_shard` packs them",
                f"chunks {chunks}, filters {filters}",
            )
        self.packed, self.rows = bool(filters), int(chunks[0])
        self.chunk_bytes = math.prod(map(int, chunks)) * self.dtype.itemsize
        if self.chunk_bytes > MAX_CHUNK_BYTES:
            raise InputError.expected(
                file.path,
                f"chunks of {name!r} of at most {MAX_CHUNK_BYTES} bytes",
                f"{self.chunk_bytes}",
            )
        number = -(-len(self) // self.rows)
        self.start, self.size = np.zeros(number, np.int64), np.zeros(number, np.int32)

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            k = int(chunk.chunk_offset[0]) // self.rows
            if chunk.filter_mask == 0 and k < number and 0 <= chunk.size < 1 << 31:
                self.start[k], self.size[k] = chunk.byte_offset, chunk.size

        dataset.id.chunk_iter(note)
        if not (self.size > 0).all():
            raise InputError.expected(
                file.path, f"all chunks of {name!r} in the file", "some are missing"
            )

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Read samples.

        Parameters
        ----------
        rows : slice or (n,) array of int
            In any order, repeated or not.

        Returns
        -------
        (n, ...) array
            The caller's own.

        Raises
        ------
        IndexError
            Outside of the array.
        InputError
            A chunk is damaged, or holds values that are not finite.
        """
        if isinstance(rows, slice):
            wanted = np.arange(*rows.indices(len(self)))
        else:
            wanted = np.asarray(rows)
            if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
                raise IndexError(f"{self.name!r} takes slices and lists of rows, not {rows!r}")
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"a row of {self.name!r} outside of its {len(self)}")
        chunk, within = np.divmod(wanted, self.rows)
        touched, where = (
            (chunk, np.arange(len(chunk)))
            if self.rows == 1
            else np.unique(chunk, return_inverse=True)
        )
        planes = np.empty((len(touched), self.chunk_bytes), np.uint8)
        for k, number in enumerate(touched):
            planes[k] = np.frombuffer(self._unpacked(int(number)), np.uint8)
        whole = self._joined(planes)
        values = whole[:, 0] if self.rows == 1 else whole[where, within]
        if self.finite and (place := non_finite(values)):
            raise InputError.expected(self.file.path, f"finite values in {self.name!r}", place)
        return values

    def _unpacked(self, number: int) -> bytes:
        """Bytes of a chunk, still shuffled."""
        raw = self.file.read(int(self.start[number]), int(self.size[number]))
        if self.packed:
            worker = zlib.decompressobj()
            try:
                raw = worker.decompress(raw, self.chunk_bytes + 1)
            except zlib.error as error:
                raise self._damaged(number, str(error)) from error
            if not worker.eof and len(raw) <= self.chunk_bytes:
                raise self._damaged(number, "it ends too early")
        if len(raw) != self.chunk_bytes:
            raise self._damaged(number, f"it holds {len(raw)} bytes, not {self.chunk_bytes}")
        return raw

    def _damaged(self, number: int, how: str) -> InputError:
        path = self.file.path
        first = number * self.rows
        return InputError.expected(
            path,
            f"a readable chunk of {self.name!r} from sample {first}",
            f"a damaged one ({how})",
            how_to_remake(path),
        )

    def _joined(self, planes: NDArray[np.uint8]) -> NDArray[Any]:
        """Samples of chunks, from planes of first bytes, second bytes, and so on."""
        n, width = len(planes), self.dtype.itemsize
        shape = (n, self.rows, *self.shape[1:])
        if not self.packed or width == 1:
            return planes.view(self.dtype).reshape(shape)
        apart = planes.reshape(n, width, self.chunk_bytes // width)
        if width == 2:  # images: twice as fast as the transposition
            low, high = (0, 1) if np.little_endian == (self.dtype.byteorder != ">") else (1, 0)
            both = apart[:, high].astype(np.uint16)
            both <<= 8
            both |= apart[:, low]
            return both.view(self.dtype.newbyteorder("=")).reshape(shape)
        together = np.ascontiguousarray(apart.transpose(0, 2, 1))
        return together.reshape(n, self.chunk_bytes).view(self.dtype).reshape(shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole array."""
        return np.asarray(self[:], dtype)


class PackedFile:
    """File that each process opens for itself when it first reads, as long as it is the same file.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._known = self._mark(os.stat(path))
        self._opened: tuple[int, int] | None = None  # process, descriptor

    @staticmethod
    def _mark(found: os.stat_result) -> tuple[int, int]:
        return found.st_size, found.st_mtime_ns

    @property
    def descriptor(self) -> int:
        """Descriptor of this process.

        Raises
        ------
        InputError
            The file is another one than before.
        """
        if self._opened is None or self._opened[0] != os.getpid():
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            if self._mark(os.fstat(descriptor)) != self._known:
                os.close(descriptor)
                raise InputError.expected(
                    self.path, "the file that the training began with", "one that was changed"
                )
            self._opened = os.getpid(), descriptor
        return self._opened[1]

    def read(self, start: int, size: int) -> bytes:
        """Bytes at a place; fewer where the file ends."""
        return os.pread(self.descriptor, size, start)

    def will_need(self, start: int, size: int) -> None:
        """Let the system read a stretch into its cache meanwhile, where it can."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.descriptor, start, size, os.POSIX_FADV_WILLNEED)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the descriptor to its process."""
        return self.__dict__ | {"_opened": None}

    def __del__(self) -> None:
        if self.__dict__.get("_opened") and self._opened and self._opened[0] == os.getpid():
            os.close(self._opened[1])


class PackedShard(Mapping[str, Any]):
    """Arrays of a shard by name, of which the large ones stay on the disk; can be pickled.

    Arrays of a few numbers a sample are in memory.

    Parameters
    ----------
    path : path
        A file of `write_shard` or `ShardWriter`.
    spec : mapping of Spec
        Name -> what it has to be; all have to be there.
    small : int
        Bytes of a sample up to which an array is in memory.

    Attributes
    ----------
    digest : str or None
        SHA-256 of the content as the file tells it; not compared with the content.

    Raises
    ------
    InputError
        Anything is not as expected, or not stored as these functions store it.
    """

    def __init__(
        self, path: str | PathLike[str], spec: Mapping[str, Spec], small: int = SMALL
    ) -> None:
        self.path = Path(path)
        self._arrays: dict[str, NDArray[Any] | PackedArray] = {}
        with open_hdf5(self.path) as file:
            if file.userblock_size:
                raise InputError.expected(self.path, "an HDF5 file of data alone", "a user block")
            raw = PackedFile(self.path)
            for name, wanted in spec.items():
                dataset = wanted_dataset(self.path, file, name, wanted)
                if dataset is None or not dataset.ndim:
                    raise InputError.expected(self.path, f"samples of {name!r}", "none")
                with hdf5_errors(self.path, name):
                    array = PackedArray(raw, name, dataset, wanted.finite)
                    sample = array.nbytes // max(1, len(array))
                    self._arrays[name] = array[:] if sample <= small else array
            lengths = {name: len(values) for name, values in self._arrays.items()}
            if len(set(lengths.values())) > 1:
                raise InputError.expected(self.path, "arrays of one length", str(lengths))
            with hdf5_errors(self.path, "any"):
                self.digest = text_attribute(file, "sha256")

    def __getitem__(self, name: str) -> Any:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._arrays)

    def will_need(self, rows: NDArray[np.int64]) -> None:
        """Let the system read ahead what these samples take, in the order of the file.

        Parameters
        ----------
        rows : (n,) int array
        """
        for array in self._arrays.values():
            if isinstance(array, PackedArray) and len(rows):
                chunk = np.unique(rows // array.rows)
                start = array.start[chunk]
                order = np.argsort(start)
                start, end = start[order], (start + array.size[chunk])[order]
                cuts = np.flatnonzero(start[1:] - end[:-1] > GAP) + 1
                for k, last in zip([0, *cuts], [*cuts, len(start)], strict=True):
                    array.file.will_need(int(start[k]), int(end[last - 1] - start[k]))


def open_arrays(
    path: str | PathLike[str], spec: Mapping[str, Spec], *, in_memory: int, small: int = SMALL
) -> tuple[Mapping[str, Any], str]:
    """Arrays of a shard: in memory where they are small, else as `PackedShard`.

    Parameters
    ----------
    path : path
    spec : mapping of Spec
    in_memory : int
        Bytes of all arrays together up to which they are read at once, and compared with their
        digests.
    small : int
        As for `PackedShard`.

    Returns
    -------
    arrays : mapping
        By name.
    digest : str
        Of the file's bytes or, of a large file, the digest of the content that it carries.
    """
    source = Path(path)
    with open_hdf5(source) as file:
        found = [wanted_dataset(source, file, name, wanted) for name, wanted in spec.items()]
        size = sum(declared_bytes(dataset) for dataset in found if dataset is not None)
    if size <= in_memory:
        return read_shard(source, spec, max_bytes=in_memory).arrays, sha256(source)
    shard = PackedShard(source, spec, small)
    return shard, shard.digest or sha256(source)
