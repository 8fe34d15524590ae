"""Shards read: whole, or sample by sample."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.hdf5_checks import Chunks
from physml.io.shards.datasets import Spec, check_size, declared_bytes, non_finite, wanted_dataset
from physml.io.shards.digests import check_digest
from physml.io.shards.files import hdf5_errors, open_hdf5
from physml.io.shards.verify import verify_shard

#: Memory that the arrays of one shard may take.
MAX_BYTES = 8 << 30


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


def read_shard(
    path: str | PathLike[str], spec: Mapping[str, Spec], *, max_bytes: int = MAX_BYTES
) -> Shard:
    """Read the expected datasets of a shard, and nothing else of it.

    Parameters
    ----------
    path : path
        An HDF5 file, of ours or not.
    spec : mapping of Spec
        Name -> what it has to be. Other names in the file are left alone.
    max_bytes : int
        Limit of the sum of all arrays in memory.

    Raises
    ------
    InputError
        Anything is not as expected; nothing of the file is then used.
    """
    source = Path(path)
    with open_hdf5(source) as file:
        arrays = {}
        for name, (dataset, chunks) in _datasets(source, file, spec, max_bytes).items():
            with hdf5_errors(source, name):
                chunks.check()
            arrays[name] = _take(source, name, dataset, spec[name], ())
            check_digest(source, name, dataset, arrays[name])
        return Shard(arrays, _record_of(source, file) or {})


def _group(path: Path, file: h5py.File, name: str) -> h5py.Group:
    """Group of a name such as ``entry/data``, stored in the file at every step."""
    found = file
    for part in filter(None, name.split("/")):
        with hdf5_errors(path, name):
            link = found.id.links
            hard = link.exists(part.encode()) and (
                link.get_info(part.encode()).type == h5py.h5l.TYPE_HARD
            )
            inner = found.get(part) if hard else None
        if not isinstance(inner, h5py.Group):
            raise InputError.expected(path, f"a group {name!r} stored in the file", "none")
        found = inner
    return found


def _datasets(
    path: Path, file: h5py.Group, spec: Mapping[str, Spec], max_bytes: int
) -> dict[str, tuple[h5py.Dataset, Chunks]]:
    """Datasets that are there, after all checks that need no data, and their chunks."""
    found = {}
    for name, wanted in spec.items():
        dataset = wanted_dataset(path, file, name, wanted)
        if dataset is not None:
            with hdf5_errors(path, name):
                max_bytes -= check_size(path, name, dataset, max_bytes)
                found[name] = dataset, Chunks(path, name, dataset)
    return found


def read_provenance(path: str | PathLike[str]) -> dict[str, Any] | None:
    """Run record of a shard, or None where it has none."""
    source = Path(path)
    with open_hdf5(source) as file:
        return _record_of(source, file)


def _record_of(path: Path, file: h5py.File) -> dict[str, Any] | None:
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
        group: str = "",
    ) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self._unpacked = unpacked
        self._spec = dict(spec)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_hdf5(self.path))
            # The whole may be larger than memory; it must still be backed by bytes.
            where = _group(self.path, file, group)
            self._datasets = _datasets(self.path, where, spec, 1 << 62)
            self.provenance: dict[str, Any] = _record_of(self.path, file) or {}
            self._stack = stack.pop_all()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the datasets that are there."""
        return tuple(self._datasets)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a dataset."""
        return tuple(self._datasets[name][0].shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of a dataset."""
        return np.dtype(self._datasets[name][0].dtype)

    def __len__(self) -> int:
        return next((int(dataset.shape[0]) for dataset, _ in self._datasets.values()), 0)

    def __contains__(self, name: object) -> bool:
        return name in self._datasets

    def read(
        self, name: str, index: int | slice | Sequence[int] | NDArray[Any] = slice(None)
    ) -> NDArray[Any]:
        """Read samples of one dataset.

        Parameters
        ----------
        name : str
            One of `names`.
        index : int, slice, (n,) array of int or bool
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
        dataset, spec = self._datasets[name][0], self._spec[name]
        length = int(dataset.shape[0])
        sample = declared_bytes(dataset) // max(length, 1)
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
                self._datasets[name][1].check(rows)

    def close(self) -> None:
        """Close the file; further reading fails."""
        self._stack.close()

    def __enter__(self) -> LazyShard:
        return self

    def __exit__(self, *_: object) -> None:
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
    group: str = "",
) -> LazyShard:
    """Open a shard for reading sample by sample; see `LazyShard`.

    With `verify`, all of it is first compared with its digests (`verify_shard`): reading
    sample by sample cannot do that. The datasets may be those of a `group`, such as
    ``entry/data``.
    """
    if verify:
        verify_shard(path)
    return LazyShard(path, spec, max_bytes=max_bytes, unpacked=verify, group=group)


def _take(path: Path, name: str, dataset: h5py.Dataset, spec: Spec, index: Any) -> NDArray[Any]:
    with hdf5_errors(path, name):
        values = np.asarray(dataset[index])
    if spec.finite:
        place = non_finite(values)
        if place is not None:
            raise InputError.expected(path, f"finite values in {name!r}", place)
    return values
