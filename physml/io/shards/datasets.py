"""Requirements of a dataset and their checks: type, shape, storage, size, before any data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.hdf5_checks import check_storage
from physml.io.shards.files import hdf5_errors

#: Deflate cannot pack more tightly than 1032:1, so that more than this is not data.
MAX_RATIO = 1040


@dataclass(frozen=True)
class Spec:
    """Requirements of a dataset.

    Attributes
    ----------
    dtype : dtype, optional
        Its kind has to agree (unsigned, signed, float, ...); for a table, the names and kinds of
        its columns. None accepts any numbers or table of numbers.
    shape : tuple of int or None, optional
        Length of each axis, None where it is free; None as a whole accepts any shape.
    optional : bool
        It may be missing.
    finite : bool
        NaN and infinity are refused.
    """

    dtype: Any = None
    shape: tuple[int | None, ...] | None = None
    optional: bool = False
    finite: bool = True


def check_name(path: Path, name: str) -> None:
    """Raise `InputError` for a name that could be taken for a path."""
    if not name or "/" in name or name.startswith("."):
        raise InputError.expected(path, "dataset names without a slash or leading dot", repr(name))


def is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether a type holds only numbers, truth values and short texts of fixed length."""
    if dtype.names:
        return all(is_plain(dtype[name]) for name in dtype.names)
    if dtype.subdtype is not None:
        return is_plain(dtype.subdtype[0])
    return dtype.kind in "buifcS" and not dtype.hasobject and dtype.itemsize > 0


def wanted_dataset(path: Path, file: h5py.Group, name: str, spec: Spec) -> h5py.Dataset | None:
    """Dataset of a name after all checks that need no data; None where optional and missing."""
    check_name(path, name)
    with hdf5_errors(path, name):
        return checked_dataset(path, file, name, spec)


def checked_dataset(path: Path, file: h5py.Group, name: str, spec: Spec) -> h5py.Dataset | None:
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


def _names(file: h5py.Group) -> list[str]:
    return [str(name) for name, _ in zip(file, range(50), strict=False)]


def _check_type(path: Path, name: str, dataset: h5py.Dataset, spec: Spec) -> None:
    dtype = dataset.dtype
    if dataset.shape is None or not is_plain(dtype):
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


def declared_bytes(dataset: h5py.Dataset) -> int:
    """Bytes that a dataset would take in memory."""
    # Python integers: numpy's would wrap around on a hostile shape.
    return math.prod(map(int, (dataset.dtype.itemsize, *dataset.shape)))


def check_size(path: Path, name: str, dataset: h5py.Dataset, budget: int) -> int:
    """Refuse what does not fit in memory, or is not backed by bytes in the file."""
    declared = declared_bytes(dataset)
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


def non_finite(values: NDArray[Any]) -> str | None:
    """Where the first NaN or infinity is, or None."""
    if values.dtype.names:
        for name in values.dtype.names:
            place = non_finite(values[name])
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
