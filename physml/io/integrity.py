"""Whether a file is still what was written: its content against the digests that it carries.

Disks and copies flip bits without a word. A shard carries a SHA-256 of each dataset, of all of
them together and of its run record; weights carry one of their header and numbers.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from physml.exceptions import InputError
from physml.io import origin
from physml.io.shards import verify_shard


def verify(path: str | PathLike[str]) -> bool:
    """Compare a file of any kind with the digests that it carries.

    Returns
    -------
    bool
        Whether it carries any; False for a file of another program, or of a kind without digests.

    Raises
    ------
    InputError
        It is damaged, or no file that is known.
    """
    source = Path(path)
    match origin.kind(source):
        case "hdf5":
            return verify_shard(source)
        case "safetensors":
            from physml.io.weights import load_weights, read_digest

            load_weights(source)
            return read_digest(source) is not None
        case "unknown":
            raise InputError.expected(source, "HDF5 or safetensors", "another kind of file")
    return False
