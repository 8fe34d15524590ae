"""HDF5 shards: one sample a chunk, checked in both directions.

HDF5 can refer to other files (external storage, soft and external links, virtual datasets), load
filter plugins, and declare terabytes in a file of a kilobyte. Reading here touches only the names
that the caller expects, in the forms that `write_shard` writes, within a limit of memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.atomic import atomic_path
from physml.io.hdf5_checks import (
    Chunks,
    check_heaps,
    check_storage,
    check_superblock,
    how_to_remake,
)

#: Memory that the arrays of one shard may take.
MAX_BYTES = 8 << 30
#: Deflate cannot pack more tightly than 1032:1, so that more than this is not data.
MAX_RATIO = 1040
_ROWS_PER_CHUNK = 4096
_BLOCK_BYTES = 64 << 20
#: Attribute with the digest of the run record.
RECORD_DIGEST = f"{prov.KEY}_sha256"


@dataclass(frozen=True)
class Spec:
    """What a dataset has to be.

    Attributes
    ----------
    dtype
        Its kind has to agree (unsigned, signed, float, ...); for a table, the names and kinds of
        its columns. None accepts any numbers or table of numbers.
    shape
        Length of each axis, None where it is free; None as a whole accepts any shape.
    optional
        It may be missing.
    finite
        NaN and infinity are refused.
    """

    dtype: Any = None
    shape: tuple[int | None, ...] | None = None
    optional: bool = False
    finite: bool = True


@dataclass(frozen=True)
class Shard:
    """Arrays and tables of one shard by name, and its run record."""

    arrays: dict[str, NDArray[Any]]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __len__(self) -> int:
        """Return the number of samples: the length of the first axis of the first array."""
        return len(next(iter(self.arrays.values()))) if self.arrays else 0


# ---------------------------------------------------------------------------------------- writing


def digest_of(values: NDArray[Any] | h5py.Dataset) -> str:
    """SHA-256 of type, shape and content, independent of byte order and of padding in rows.

    A dataset is read in blocks.
    """
    digest = hashlib.sha256()
    if isinstance(values, np.ndarray):
        _update(digest, "", values.dtype, values.shape, lambda: [values])
    else:
        sample = _declared(values) // max(1, values.shape[0])
        rows = max(1, _BLOCK_BYTES // max(1, sample))
        starts = range(0, values.shape[0], rows)
        _update(
            digest, "", values.dtype, values.shape, lambda: (values[i : i + rows] for i in starts)
        )
    return digest.hexdigest()


def _update(
    digest: Any,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    blocks: Callable[[], Iterable[NDArray[Any]]],
) -> None:
    if dtype.names:
        for column in dtype.names:
            inner = dtype[column]
            _update(
                digest,
                f"{name}.{column}",
                inner.base,
                shape + inner.shape,
                lambda column=column: (block[column] for block in blocks()),  # type: ignore[misc]
            )
        return
    little = dtype.newbyteorder("<")
    digest.update(f"{name}:{dtype.kind}{dtype.itemsize}{shape}".encode())
    for block in blocks():
        plain = np.ascontiguousarray(block, little)
        # A view of bytes needs an axis and an element.
        if plain.size:
            digest.update(plain.reshape(-1).view(np.uint8))


def _non_finite(values: NDArray[Any]) -> str | None:
    """Where the first NaN or infinity is, or None."""
    if values.dtype.names:
        for name in values.dtype.names:
            place = _non_finite(values[name])
            if place is not None:
                return f"column {name}, {place}"
        return None
    if values.dtype.kind not in "fc":
        return None
    finite = np.isfinite(values)
    if finite.all():
        return None
    # 0-d arrays have no axes to name.
    first = tuple(int(i) for i in np.argwhere(~finite)[0]) if values.ndim else ()
    return f"{values[first]} at index {first}"


def write_shard(
    path: str | PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    *,
    provenance: Mapping[str, Any],
    tables: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    overwrite: bool = False,
) -> None:
    """Write arrays and tables to one HDF5 file, atomically.

    Parameters
    ----------
    path
        Where to.
    arrays
        Name -> array of shape (n_samples, ...); n_samples is the same for all. A chunk is one
        sample, gzip level 1 with byte shuffle: the best random reading of what was measured.
    provenance
        Run record (`physml.provenance.record`).
    tables
        Name -> structured array of any length.
    overwrite
        Replace an existing file.

    Raises
    ------
    InputError
        Lengths differ, a name is used twice or has a slash, a type cannot be stored, or a value is
        not finite.
    OutputError
        The file exists, or there is no room.
    """
    target = Path(path)
    everything = {name: np.asarray(values) for name, values in arrays.items()}
    lengths = {name: len(values) if values.ndim else None for name, values in everything.items()}
    if len(set(lengths.values())) > 1 or None in lengths.values():
        raise InputError.expected(target, "arrays of one length along the first axis", str(lengths))
    for name, values in tables.items():
        if name in everything:
            raise InputError.expected(target, "each name once", f"an array and a table {name!r}")
        everything[name] = np.asarray(values)
    for name, values in everything.items():
        _check_name(target, name)
        if not _plain(values.dtype):
            raise InputError.expected(
                target, f"numbers or a table of numbers as {name!r}", f"dtype {values.dtype}"
            )
        _refuse_non_finite(target, name, values, everything)

    with atomic_path(target, overwrite) as temporary, create_hdf5(temporary) as file:
        digests = {}
        for name in sorted(everything):
            values = everything[name]
            dataset = file.create_dataset(name, data=values, **_layout(values))
            dataset.attrs["sha256"] = digests[name] = digest_of(values)
        _finish(file, digests, provenance)


def _refuse_non_finite(
    path: Path, name: str, values: NDArray[Any], everything: Mapping[str, NDArray[Any]]
) -> None:
    """Raise `InputError` for NaN or infinity, naming the samples by their ``index``."""
    place = _non_finite(values)
    if place is None:
        return
    index = everything.get("index")
    if index is not None and index.ndim == 1 and values.ndim and len(index) == len(values):
        bad = [int(index[row]) for row in range(len(values)) if _non_finite(values[row : row + 1])]
        more = ", ..." if len(bad) > 32 else ""
        place += f", in samples {', '.join(map(str, bad[:32]))}{more}"
    raise InputError.expected(path, f"finite values in {name!r}", place)


def total_digest(digests: Mapping[str, str]) -> str:
    """SHA-256 of all datasets together."""
    lines = [f"{name}:{digests[name]}\n" for name in sorted(digests)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _finish(file: h5py.File, digests: Mapping[str, str], provenance: Mapping[str, Any]) -> None:
    """Write what belongs to the file as a whole."""
    record = prov.dumps(provenance)
    file.attrs["sha256"] = total_digest(digests)
    file.attrs["format"] = "physml shard 1"
    file.attrs[prov.KEY] = record
    # Of its own: the digest of the data does not depend on when they were made.
    file.attrs[RECORD_DIGEST] = hashlib.sha256(record.encode()).hexdigest()


class ShardWriter:
    """Write a shard of any length batch by batch, atomically; a context manager.

    What it writes is read by the same functions as what `write_shard` writes, and holds the same
    digests.

    Parameters
    ----------
    path
        Where to.
    provenance
        Run record (`physml.provenance.record`).
    tables
        Names that hold structured arrays.
    overwrite
        Replace an existing file.

    Raises
    ------
    InputError
        A batch does not go with those before it, or holds a value that is not finite.
    OutputError
        The file exists, or there is no room.

    Examples
    --------
    >>> with ShardWriter("all.h5", provenance=record) as shard:  # doctest: +SKIP
    ...     for batch in batches:
    ...         shard.append({"counts": batch})
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        provenance: Mapping[str, Any],
        tables: Collection[str] = (),
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._record = dict(provenance)
        self._tables = set(tables)
        self._overwrite = overwrite
        self._datasets: dict[str, h5py.Dataset] = {}
        self._rows = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ShardWriter:
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path, self._overwrite))
            self._file = stack.enter_context(create_hdf5(temporary))
            self._stack = stack.pop_all()
        return self

    def __len__(self) -> int:
        """Return the number of samples so far."""
        return self._rows

    def append(self, batch: Mapping[str, NDArray[Any]]) -> None:
        """Add samples: name -> array of shape (n, ...), n the same for all."""
        values = {name: np.asarray(v) for name, v in batch.items()}
        if self._datasets and set(values) != set(self._datasets):
            raise InputError.expected(
                self.path, f"the datasets {sorted(self._datasets)}", f"{sorted(values)}"
            )
        lengths = {name: len(v) if v.ndim else None for name, v in values.items()}
        if len(set(lengths.values())) > 1 or None in lengths.values():
            raise InputError.expected(
                self.path, "arrays of one length along the first axis", str(lengths)
            )
        for name, v in values.items():
            self._check(name, v)
            _refuse_non_finite(self.path, name, v, values)
        for name, v in values.items():
            if name not in self._datasets:
                self._datasets[name] = self._file.create_dataset(
                    name, shape=(0, *v.shape[1:]), maxshape=(None, *v.shape[1:]), dtype=v.dtype,
                    **_layout(np.empty((_ROWS_PER_CHUNK, *v.shape[1:]), v.dtype)),
                )  # fmt: skip
            dataset = self._datasets[name]
            dataset.resize(self._rows + len(v), axis=0)
            dataset[self._rows :] = v
        self._rows += next(iter(lengths.values()), None) or 0

    def _check(self, name: str, values: NDArray[Any]) -> None:
        _check_name(self.path, name)
        if not _plain(values.dtype) or bool(values.dtype.names) != (name in self._tables):
            what = "a table of numbers" if name in self._tables else "numbers"
            raise InputError.expected(self.path, f"{what} as {name!r}", f"dtype {values.dtype}")
        known = self._datasets.get(name)
        if known is not None and (known.dtype, known.shape[1:]) != (values.dtype, values.shape[1:]):
            raise InputError.expected(
                self.path,
                f"{name!r} of {known.dtype} and shape (n, *{known.shape[1:]}) as before",
                f"{values.dtype} of shape {values.shape}",
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)  # the temporary file goes
            return
        with self._stack:
            self._finish()

    def _finish(self) -> None:
        digests = {}
        for name in sorted(self._datasets):
            dataset = self._datasets[name]
            dataset.attrs["sha256"] = digests[name] = digest_of(dataset)
        _finish(self._file, digests, self._record)


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


def _layout(values: NDArray[Any]) -> dict[str, Any]:
    if values.size == 0 or values.ndim == 0:
        return {}
    sample = values[0].nbytes
    # Chunks of a few bytes cost more to find than to read.
    rows = 1 if sample >= 4096 else min(len(values), max(1, _ROWS_PER_CHUNK // max(sample, 1)))
    return {"chunks": (rows, *values.shape[1:]), "compression": 1, "shuffle": True}


def _check_name(path: Path, name: str) -> None:
    if not name or "/" in name or name.startswith("."):
        raise InputError.expected(path, "dataset names without a slash or leading dot", repr(name))


def _plain(dtype: np.dtype[Any]) -> bool:
    """Whether a type holds only numbers, truth values and short texts of fixed length."""
    if dtype.names:
        return all(_plain(dtype[name]) for name in dtype.names)
    if dtype.subdtype is not None:
        return _plain(dtype.subdtype[0])
    return dtype.kind in "buifcS" and not dtype.hasobject and dtype.itemsize > 0


# ---------------------------------------------------------------------------------------- reading


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a regular file as HDF5 with errors that name it."""
    if not path.is_file():
        raise InputError.expected(path, "an HDF5 file", "no such file")
    if not h5py.is_hdf5(path):
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


def _dataset(path: Path, file: h5py.File, name: str, spec: Spec) -> h5py.Dataset | None:
    """Dataset of a name after all checks that need no data; None where optional and missing."""
    _check_name(path, name)
    with hdf5_errors(path, name):
        return checked_dataset(path, file, name, spec)


def checked_dataset(path: Path, file: h5py.File, name: str, spec: Spec) -> h5py.Dataset | None:
    """Dataset of a name, stored in the file, of a type and shape that are wanted."""
    if file.id.links.exists(name.encode()) == 0:
        if spec.optional:
            return None
        raise InputError.expected(
            path, f"a dataset {name!r}", f"only {', '.join(_names(file)) or 'nothing'}"
        )
    link = file.id.links.get_info(name.encode())
    if link.type != h5py.h5l.TYPE_HARD:
        what = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
        raise InputError.expected(
            path, f"{name!r} stored in the file", what.get(link.type, "a link of another kind")
        )
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise InputError.expected(path, f"{name!r} to be a dataset", type(dataset).__name__.lower())
    check_storage(path, name, dataset)
    _check_type(path, name, dataset, spec)
    return dataset


def _names(file: h5py.File) -> list[str]:
    return [str(name) for name, _ in zip(file, range(50), strict=False)]


def _check_type(path: Path, name: str, dataset: h5py.Dataset, spec: Spec) -> None:
    dtype = dataset.dtype
    if dataset.shape is None or not _plain(dtype):
        raise InputError.expected(path, f"{name!r} to hold numbers", f"dtype {dtype}")
    if spec.dtype is not None and not _agrees(dtype, np.dtype(spec.dtype)):
        raise InputError.expected(path, f"{name!r} of type {np.dtype(spec.dtype)}", str(dtype))
    if spec.shape is not None and (
        len(dataset.shape) != len(spec.shape)
        or any(w is not None and w != g for w, g in zip(spec.shape, dataset.shape, strict=True))
    ):
        wanted = tuple("any" if n is None else n for n in spec.shape)
        raise InputError.expected(path, f"{name!r} of shape {wanted}", str(dataset.shape))


def _agrees(found: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Whether kinds (and columns) agree; the width of a number may differ."""
    if wanted.names or found.names:
        if set(found.names or ()) != set(wanted.names or ()):
            return False
        return all(_agrees(found[column], wanted[column]) for column in wanted.names or ())
    if wanted.subdtype is not None or found.subdtype is not None:
        return found.shape == wanted.shape and _agrees(found.base, wanted.base)
    return found.kind == wanted.kind


def _declared(dataset: h5py.Dataset) -> int:
    # Python integers: numpy's would wrap around on a hostile shape.
    total = int(dataset.dtype.itemsize)
    for length in dataset.shape:
        total *= int(length)
    return total


def check_size(path: Path, name: str, dataset: h5py.Dataset, budget: int) -> int:
    """Refuse what does not fit in memory, or is not backed by bytes in the file."""
    declared = _declared(dataset)
    if declared > budget:
        raise InputError.expected(
            path,
            f"at most {budget} bytes left for {name!r}",
            f"shape {dataset.shape}: {declared} bytes",
        )
    stored = int(dataset.id.get_storage_size())
    if declared > MAX_RATIO * stored + 4096:
        raise InputError.expected(
            path,
            f"the data of {name!r} in the file",
            f"shape {dataset.shape} ({declared} bytes) with {stored} bytes stored",
        )
    return declared


def _take(path: Path, name: str, dataset: h5py.Dataset, spec: Spec, index: Any) -> NDArray[Any]:
    with hdf5_errors(path, name):
        values = np.asarray(dataset[index])
    if spec.finite:
        place = _non_finite(values)
        if place is not None:
            raise InputError.expected(path, f"finite values in {name!r}", place)
    return values


def read_provenance(path: str | PathLike[str]) -> dict[str, Any] | None:
    """Run record of a shard, or None where it has none."""
    source = Path(path)
    with open_hdf5(source) as file:
        return _provenance(source, file)


def _provenance(path: Path, file: h5py.File) -> dict[str, Any] | None:
    with hdf5_errors(path, prov.KEY):
        if prov.KEY not in file.attrs:
            return None
        attribute = file.attrs.get_id(prov.KEY)
        if attribute.shape != () or h5py.check_string_dtype(attribute.dtype) is None:
            raise InputError.expected(path, "the provenance as one text", f"{attribute.dtype}")
        text = file.attrs[prov.KEY]
    if len(text) > prov.MAX_RECORD_BYTES:
        raise InputError.expected(path, "a provenance record under 16 MB", f"{len(text)} bytes")
    return prov.loads(text, path)


def read_shard(
    path: str | PathLike[str], spec: Mapping[str, Spec], *, max_bytes: int = MAX_BYTES
) -> Shard:
    """Read the expected datasets of a shard, and nothing else of it.

    Parameters
    ----------
    path
        An HDF5 file, of ours or not.
    spec
        Name -> what it has to be. Other names in the file are left alone.
    max_bytes
        Limit of the sum of all arrays in memory.

    Raises
    ------
    InputError
        Anything is not as expected; nothing of the file is then used.
    """
    source = Path(path)
    arrays: dict[str, NDArray[Any]] = {}
    with open_hdf5(source) as file:
        datasets = {}
        budget = max_bytes
        for name, wanted in spec.items():
            dataset = _dataset(source, file, name, wanted)
            if dataset is None:
                continue
            with hdf5_errors(source, name):
                budget -= check_size(source, name, dataset, budget)
                Chunks(source, name, dataset).check()
            datasets[name] = dataset
        for name, dataset in datasets.items():
            values = _take(source, name, dataset, spec[name], ())
            _check_digest(source, name, dataset, values)
            arrays[name] = values
        return Shard(arrays, _provenance(source, file) or {})


def text_attribute(item: h5py.Dataset | h5py.File, key: str) -> str | None:
    """Attribute that is one text, or None."""
    if key not in item.attrs:
        return None
    attribute = item.attrs.get_id(key)
    if attribute.shape != () or h5py.check_string_dtype(attribute.dtype) is None:
        return None
    value = item.attrs[key]
    return value if isinstance(value, str) else None


def damaged(path: Path, name: str, wanted: str, found: str) -> InputError:
    """Error for content that has another digest than it was written with."""
    return InputError.expected(
        path, f"{name!r} with SHA-256 {wanted}", f"{found} (damaged)", how_to_remake(path)
    )


def _check_digest(path: Path, name: str, dataset: h5py.Dataset, values: NDArray[Any]) -> None:
    with hdf5_errors(path, name):
        wanted = text_attribute(dataset, "sha256")
    if wanted is not None and wanted != (found := digest_of(values)):
        raise damaged(path, name, wanted, found)


class LazyShard:
    """An open shard that reads samples as they are asked for; a context manager.

    All datasets were checked at opening; `read` checks that what it reads is well packed (unless
    it was `unpacked` before, in a comparison with digests) and finite.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        spec: Mapping[str, Spec],
        *,
        max_bytes: int = MAX_BYTES,
        unpacked: bool = False,
    ) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self._unpacked = unpacked
        self._spec = dict(spec)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_hdf5(self.path))
            self._datasets: dict[str, h5py.Dataset] = {}
            self._chunks: dict[str, Chunks] = {}
            for name, wanted in spec.items():
                dataset = _dataset(self.path, file, name, wanted)
                if dataset is None:
                    continue
                with hdf5_errors(self.path, name):
                    # The whole may be larger than memory; it must still be backed by bytes.
                    check_size(self.path, name, dataset, 1 << 62)
                    self._chunks[name] = Chunks(self.path, name, dataset)
                self._datasets[name] = dataset
            self.provenance: dict[str, Any] = _provenance(self.path, file) or {}
            self._stack = stack.pop_all()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the datasets that are there."""
        return tuple(self._datasets)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a dataset."""
        return tuple(self._datasets[name].shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of a dataset."""
        return np.dtype(self._datasets[name].dtype)

    def __len__(self) -> int:
        first = next(iter(self._datasets.values()), None)
        return 0 if first is None else int(first.shape[0])

    def __contains__(self, name: object) -> bool:
        return name in self._datasets

    def read(
        self, name: str, index: int | slice | Sequence[int] | NDArray[Any] = slice(None)
    ) -> NDArray[Any]:
        """Read samples of one dataset.

        Parameters
        ----------
        name
            One of `names`.
        index
            A sample, a slice, or indices in any order, repeated or not.

        Raises
        ------
        KeyError
            No such dataset in the shard.
        IndexError
            Outside of the dataset.
        InputError
            Damaged, not finite, or more than `max_bytes` at once.
        """
        dataset, spec = self._datasets[name], self._spec[name]
        length = int(dataset.shape[0])
        sample = _declared(dataset) // max(length, 1)
        if isinstance(index, slice):
            rows = range(*index.indices(length))
            self._check_budget(name, len(rows) * sample)
            self._check_chunks(name, rows)
            return _take(self.path, name, dataset, spec, index)
        if np.ndim(index) == 0:
            position = _within(operator.index(index), length, name)  # type: ignore[arg-type]
            self._check_budget(name, sample)
            self._check_chunks(name, [position])
            return _take(self.path, name, dataset, spec, position)
        wanted = np.asarray(index)
        if wanted.dtype == bool:
            wanted = np.flatnonzero(wanted)
        positions = np.array([_within(int(i), length, name) for i in wanted], dtype=np.intp)
        self._check_budget(name, len(positions) * sample)
        # HDF5 wants increasing indices without repetition.
        unique, inverse = np.unique(positions, return_inverse=True)
        if len(unique) == 0:
            return np.empty((0, *dataset.shape[1:]), dataset.dtype)
        self._check_chunks(name, unique.tolist())
        return _take(self.path, name, dataset, spec, unique)[inverse]

    def _check_budget(self, name: str, size: int) -> None:
        if size > self.max_bytes:
            raise InputError.expected(
                self.path, f"at most {self.max_bytes} bytes of {name!r} at once", f"{size} bytes"
            )

    def _check_chunks(self, name: str, rows: Iterable[int]) -> None:
        if not self._unpacked:
            with hdf5_errors(self.path, name):
                self._chunks[name].check(rows)

    def close(self) -> None:
        """Close the file; further reading fails."""
        self._stack.close()

    def __enter__(self) -> LazyShard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _within(position: int, length: int, name: str) -> int:
    if not -length <= position < length:
        raise IndexError(f"sample {position} of {name!r}, which has {length}")
    return position % length


def open_shard(
    path: str | PathLike[str],
    spec: Mapping[str, Spec],
    *,
    max_bytes: int = MAX_BYTES,
    verify: bool = False,
) -> LazyShard:
    """Open a shard for reading sample by sample; see `LazyShard`.

    With `verify`, all of it is first compared with its digests (`physml.io.integrity`): reading
    sample by sample cannot do that.
    """
    if verify:
        from physml.io.integrity import verify_shard

        verify_shard(path)
    return LazyShard(path, spec, max_bytes=max_bytes, unpacked=verify)
