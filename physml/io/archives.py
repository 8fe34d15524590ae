"""NumPy archives (npz): a claim of an array is checked before room is made for it.

`numpy.load` makes room for what a header asks for and then looks for the numbers; a zip archive of
a kilobyte may ask for terabytes, and unpack to gigabytes.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.files import require_file

#: Largest file, and largest sum of its arrays when unpacked.
MAX_BYTES = 1 << 30

_KINDS = {"f": "real numbers", "iu": "whole numbers"}


def read_npz(
    path: str | PathLike[str], wanted: Mapping[str, tuple[str, int]], *, max_bytes: int = MAX_BYTES
) -> dict[str, NDArray[Any]]:
    """Read some arrays of an archive. Nothing in it is ever unpickled.

    Parameters
    ----------
    path : path
        The file.
    wanted : mapping of (str, int)
        By name: the kinds of number (``"f"`` for real ones, which have to be finite, ``"iu"`` for
        whole ones) and how many axes.
    max_bytes : int
        Largest file, and largest sum of the arrays.

    Raises
    ------
    InputError
        No such archive, one of the arrays is missing or of another kind, damaged, or too large.
    """
    source = require_file(path, "a numpy archive", max_bytes)
    found: dict[str, NDArray[Any]] = {}
    left = max_bytes
    try:
        with zipfile.ZipFile(source) as archive:
            members = {member.filename: member for member in archive.infolist()}
            missing = [name for name in wanted if f"{name}.npy" not in members]
            if missing:
                raise InputError.expected(
                    source, f"arrays {', '.join(wanted)}", f"no {missing[0]} among them"
                )
            for name, (kinds, axes) in wanted.items():
                member = members[f"{name}.npy"]
                found[name] = _array(source, archive, member, kinds, axes, left)
                left -= found[name].nbytes
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy's parser fail in many ways
        raise InputError.expected(
            source, "a numpy archive", f"something else or a damaged one ({error})"
        ) from error
    return found


def _array(
    source: Path,
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    kinds: str,
    axes: int,
    max_bytes: int,
) -> NDArray[Any]:
    name = member.filename.removesuffix(".npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} packed in another way than NumPy does")
    with archive.open(member) as file:
        # Later versions allow headers of gigabytes, which only the names of columns need.
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"another version of the header of {name}")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.kind not in kinds or len(shape) != axes or min(shape, default=0) < 0:
            raise InputError.expected(
                source,
                f"{_KINDS[kinds]} with {axes} axes as {name!r}",
                f"dtype {dtype}, shape {shape}",
            )
        size = math.prod(shape) * dtype.itemsize
        if size > max_bytes:
            raise InputError.expected(
                source,
                f"arrays of not too many bytes ({max_bytes} are left)",
                f"{size} in {name!r}",
            )
        # One byte more than there may be: it shows what is behind, and has the checksum compared.
        raw = file.read(size + 1)
    if len(raw) != size:
        few = f"{len(raw)}" if len(raw) < size else "more"
        raise InputError.expected(source, f"{size} bytes of numbers in {name!r}", few)
    values = np.frombuffer(raw, dtype).reshape(shape, order="F" if by_columns else "C")
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError.expected(source, f"finite numbers in {name!r}", "NaN or infinity")
    return values
