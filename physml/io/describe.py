"""Contents of a file, for ``physml info``: read with the same care as everything else."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import Any

from physml import provenance as prov
from physml.io import origin

MAX_NAMES = 1000


def describe(path: str | PathLike[str]) -> dict[str, Any]:
    """Format, size, hash, contents and run record of a file.

    Returns
    -------
    dict
        Plain JSON values: ``file``, ``format``, ``bytes``, ``sha256``, ``contents`` (of HDF5,
        FITS, safetensors and tables) and ``provenance`` (None where there is none).

    Raises
    ------
    InputError
        No such file, an unknown format, or a damaged file.
    """
    source = Path(path)
    kind = origin.kind(source)
    record = origin.find(source)
    readers = {"hdf5": _hdf5, "fits": _fits, "safetensors": _safetensors, "ecsv": _table}
    contents = readers[kind](source) if kind in readers else {}
    return {
        "file": source.name,
        "format": kind,
        "bytes": source.stat().st_size,
        "sha256": prov.sha256(source),
        **({"contents": contents} if contents else {}),
        "provenance": record,
    }


def _hdf5(path: Path) -> dict[str, Any]:
    import h5py

    from physml.io.shards import hdf5_errors, open_hdf5

    found: dict[str, Any] = {}
    with open_hdf5(path) as file, hdf5_errors(path, "any"):
        for number, name in enumerate(file):
            if number >= MAX_NAMES:
                found["..."] = f"{len(file) - MAX_NAMES} more"
                break
            # Links are named, not followed: they may lead out of the file.
            # A name that is no text comes as bytes.
            raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
            shown = raw.decode("utf-8", "backslashreplace")
            link = file.id.links.get_info(raw)
            if link.type != h5py.h5l.TYPE_HARD:
                found[shown] = "a link, not followed"
                continue
            item = file[raw]
            if isinstance(item, h5py.Dataset):
                found[shown] = f"{item.dtype} {item.shape}"
            else:
                found[shown] = type(item).__name__.lower()
    return found


def _fits(path: Path) -> dict[str, Any]:
    from physml.io.fits import open_hdus

    found: dict[str, Any] = {}
    with open_hdus(path) as hdus:
        for number, hdu in enumerate(hdus):
            axes = [
                hdu.header.get(f"NAXIS{i}") for i in range(1, int(hdu.header.get("NAXIS", 0)) + 1)
            ]
            what = "image" if hdu.is_image else "table"
            shape = " x ".join(map(str, axes)) or "no data"
            found[f"{number} {hdu.name}".strip()] = f"{what}, {shape}"
    return found


def _safetensors(path: Path) -> dict[str, Any]:
    from physml.io.weights import read_metadata, read_shapes

    shapes = read_shapes(path)
    metadata = {key: value for key, value in read_metadata(path).items() if key != prov.KEY}
    return {
        "tensors": len(shapes),
        "parameters": sum(math.prod(shape) for _, shape in shapes.values()),
        "types": sorted({kind for kind, _ in shapes.values()}),
        "metadata": metadata,
    }


def _table(path: Path) -> dict[str, Any]:
    from physml.io.catalogues import read_catalogue

    table = read_catalogue(path)
    columns = {
        name: str(getattr(table[name], "unit", None) or table[name].dtype)
        for name in table.colnames
    }
    return {"rows": len(table), "columns": columns}
