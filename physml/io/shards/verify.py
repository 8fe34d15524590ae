"""Whether a shard is still what was written: its content against the digests that it carries."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path

import h5py
import numpy as np

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.hdf5_checks import Chunks, how_to_remake
from physml.io.shards.datasets import Spec, check_size, checked_dataset
from physml.io.shards.digests import RECORD_DIGEST, damaged, digest_of, total_digest
from physml.io.shards.files import hdf5_errors, open_hdf5, text_attribute, text_names


def verify_shard(path: str | PathLike[str]) -> bool:
    """Compare everything in a shard with the digests that were written with it.

    Data are read in blocks, so that the file may be larger than memory. A file of another program
    has no digests; then it is only read.

    Returns
    -------
    bool
        Whether it carries digests.

    Raises
    ------
    InputError
        The file is truncated, or anything in it is not as it was written.
    """
    source = Path(path)
    try:
        with open_hdf5(source) as file:
            return _verify(source, file)
    except InputError as error:
        hint = how_to_remake(source)
        raise error if hint in str(error) else InputError(f"{error}. {hint}") from error


def _verify(path: Path, file: h5py.File) -> bool:
    with hdf5_errors(path, "any"):
        names = text_names(path, file)
    digests = {}
    for name in names:
        with hdf5_errors(path, name):
            dataset = checked_dataset(path, file, name, Spec())
            assert dataset is not None
            check_size(path, name, dataset, 1 << 62)
            Chunks(path, name, dataset).check()
            wanted = text_attribute(dataset, "sha256")
            values = dataset if dataset.ndim else np.asarray(dataset[()])
            digests[name] = digest_of(values)
            if wanted is not None and digests[name] != wanted:
                raise damaged(path, name, wanted, digests[name])
    with hdf5_errors(path, prov.KEY):
        whole, record = (text_attribute(file, key) for key in ("sha256", prov.KEY))
        sealed = text_attribute(file, RECORD_DIGEST)
        ours = (text_attribute(file, "format") or "").startswith("physml shard")
    if whole is None and ours:
        raise InputError.expected(path, "a digest of all datasets", "none")
    if whole is not None and whole != (found := total_digest(digests)):
        raise damaged(path, "all datasets", whole, found)
    if sealed is not None:
        found = hashlib.sha256((record or "").encode("utf-8", "surrogateescape")).hexdigest()
        if sealed != found:
            raise damaged(path, prov.KEY, sealed, found)
    return whole is not None
