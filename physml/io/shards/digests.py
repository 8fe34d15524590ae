"""SHA-256 of what datasets hold, however they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.hdf5_checks import how_to_remake
from physml.io.shards.datasets import declared_bytes
from physml.io.shards.files import hdf5_errors, text_attribute

#: Attribute with the digest of the run record.
RECORD_DIGEST = f"{prov.KEY}_sha256"
_BLOCK_BYTES = 64 << 20


def digest_of(values: NDArray[Any] | h5py.Dataset) -> str:
    """SHA-256 of type, shape and content, independent of byte order and of padding in rows.

    A dataset is read in blocks.
    """
    digest = hashlib.sha256()
    if isinstance(values, np.ndarray):
        _update(digest, "", values.dtype, values.shape, lambda: [values])
    else:
        sample = declared_bytes(values) // max(1, values.shape[0])
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


def total_digest(digests: Mapping[str, str]) -> str:
    """SHA-256 of all datasets together."""
    lines = [f"{name}:{digests[name]}\n" for name in sorted(digests)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_digest(path: Path, name: str, dataset: h5py.Dataset, values: NDArray[Any]) -> None:
    """Raise `InputError` where values are not those that a dataset was written with."""
    with hdf5_errors(path, name):
        wanted = text_attribute(dataset, "sha256")
    if wanted is not None and wanted != (found := digest_of(values)):
        raise damaged(path, name, wanted, found)


def damaged(path: Path, name: str, wanted: str, found: str) -> InputError:
    """Error for content that has another digest than it was written with."""
    return InputError.expected(
        path, f"{name!r} with SHA-256 {wanted}", f"{found} (damaged)", how_to_remake(path)
    )
