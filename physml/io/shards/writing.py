"""Shards written: whole, or batch by batch."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.atomic import atomic_path
from physml.io.shards.datasets import check_name, is_plain, non_finite
from physml.io.shards.digests import RECORD_DIGEST, digest_of, total_digest
from physml.io.shards.files import create_hdf5

_ROWS_PER_CHUNK = 4096


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
    path : path
        Where to.
    arrays : mapping of array
        Name -> array of shape (n_samples, ...); n_samples is the same for all. A chunk is one
        sample, gzip level 1 with byte shuffle: the best random reading of what was measured.
    provenance : mapping
        Run record (`physml.provenance.record`).
    tables : mapping of array
        Name -> structured array of any length.
    overwrite : bool
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
    _common_length(target, everything)
    for name, values in tables.items():
        if name in everything:
            raise InputError.expected(target, "each name once", f"an array and a table {name!r}")
        everything[name] = np.asarray(values)
    for name, values in everything.items():
        check_name(target, name)
        if not is_plain(values.dtype):
            raise InputError.expected(
                target, f"numbers or a table of numbers as {name!r}", f"dtype {values.dtype}"
            )
        refuse_non_finite(target, name, values, everything)

    with atomic_path(target, overwrite) as temporary, create_hdf5(temporary) as file:
        for name in sorted(everything):
            file.create_dataset(name, data=everything[name], **_layout(everything[name]))
        _finish(file, everything, provenance)


class ShardWriter:
    """Write a shard of any length batch by batch, atomically; a context manager.

    What it writes is read by the same functions as what `write_shard` writes, and holds the same
    digests.

    Parameters
    ----------
    path : path
        Where to.
    provenance : mapping
        Run record (`physml.provenance.record`).
    tables : collection of str
        Names that hold structured arrays.
    overwrite : bool
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
        rows = _common_length(self.path, values)
        for name, v in values.items():
            self._check(name, v)
            refuse_non_finite(self.path, name, v, values)
        for name, v in values.items():
            if name not in self._datasets:
                self._datasets[name] = self._file.create_dataset(
                    name, shape=(0, *v.shape[1:]), maxshape=(None, *v.shape[1:]), dtype=v.dtype,
                    **_layout(np.empty((_ROWS_PER_CHUNK, *v.shape[1:]), v.dtype)),
                )  # fmt: skip
            dataset = self._datasets[name]
            dataset.resize(self._rows + rows, axis=0)
            dataset[self._rows :] = v
        self._rows += rows

    def _check(self, name: str, values: NDArray[Any]) -> None:
        check_name(self.path, name)
        if not is_plain(values.dtype) or bool(values.dtype.names) != (name in self._tables):
            what = "a table of numbers" if name in self._tables else "numbers"
            raise InputError.expected(self.path, f"{what} as {name!r}", f"dtype {values.dtype}")
        known = self._datasets.get(name)
        if known is not None and (known.dtype, known.shape[1:]) != (values.dtype, values.shape[1:]):
            raise InputError.expected(
                self.path,
                f"{name!r} of {known.dtype} and shape (n, *{known.shape[1:]}) as before",
                f"{values.dtype} of shape {values.shape}",
            )

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if kind is not None:
            self._stack.__exit__(kind, *error)  # the temporary file goes
            return
        with self._stack:
            _finish(self._file, self._datasets, self._record)


def refuse_non_finite(
    path: Path, name: str, values: NDArray[Any], everything: Mapping[str, NDArray[Any]]
) -> None:
    """Raise `InputError` for NaN or infinity, naming the samples by their ``index``."""
    place = non_finite(values)
    if place is None:
        return
    index = everything.get("index")
    if index is not None and index.ndim == 1 and values.ndim and len(index) == len(values):
        bad = [int(index[row]) for row in range(len(values)) if non_finite(values[row : row + 1])]
        more = ", ..." if len(bad) > 32 else ""
        place += f", in samples {', '.join(map(str, bad[:32]))}{more}"
    raise InputError.expected(path, f"finite values in {name!r}", place)


def _common_length(path: Path, arrays: Mapping[str, NDArray[Any]]) -> int:
    lengths = {name: len(v) if v.ndim else None for name, v in arrays.items()}
    if len(set(lengths.values())) > 1 or None in lengths.values():
        raise InputError.expected(path, "arrays of one length along the first axis", str(lengths))
    return next(iter(lengths.values()), None) or 0


def _layout(values: NDArray[Any]) -> dict[str, Any]:
    if values.size == 0 or values.ndim == 0:
        return {}
    sample = values[0].nbytes
    # Chunks of a few bytes cost more to find than to read.
    rows = 1 if sample >= 4096 else min(len(values), max(1, _ROWS_PER_CHUNK // max(sample, 1)))
    return {"chunks": (rows, *values.shape[1:]), "compression": 1, "shuffle": True}


def _finish(
    file: h5py.File,
    values: Mapping[str, NDArray[Any] | h5py.Dataset],
    provenance: Mapping[str, Any],
) -> None:
    """Write digests, and what belongs to the file as a whole."""
    digests = {}
    for name in sorted(values):
        file[name].attrs["sha256"] = digests[name] = digest_of(values[name])
    record = prov.dumps(provenance)
    file.attrs["sha256"] = total_digest(digests)
    file.attrs["format"] = "physml shard 1"
    file.attrs[prov.KEY] = record
    # Of its own: the digest of the data does not depend on when they were made.
    file.attrs[RECORD_DIGEST] = hashlib.sha256(record.encode()).hexdigest()
