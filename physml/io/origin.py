"""Where a file comes from: its kind, and the run record that it carries, whatever its format."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import Any

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.atomic import read_json
from physml.io.catalogues import read_catalogue
from physml.io.files import require_file
from physml.io.fits import open_hdus
from physml.io.shards import read_provenance
from physml.io.weights import read_metadata


def kind(path: str | PathLike[str]) -> str:
    """Kind of a file by its first bytes: hdf5, fits, safetensors, png, ecsv, json or unknown.

    Raises
    ------
    InputError
        No such file.
    """
    with open(require_file(path, "a file"), "rb") as file:
        head = file.read(64)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if head.startswith(b"SIMPLE  =") or head.startswith(b"\x1f\x8b"):
        return "fits"
    if head.startswith(b"\x89PNG"):
        return "png"
    if head.startswith(b"# %ECSV"):
        return "ecsv"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "safetensors"
    if head.lstrip()[:1] in (b"{", b"["):
        return "json"
    return "unknown"


def find(path: str | PathLike[str]) -> dict[str, Any] | None:
    """Record that a file carries, or None where it carries none; `read` without the demand."""
    source = Path(path)
    found: Any
    match kind(source):
        case "hdf5":
            found = read_provenance(source)
        case "fits":
            found = _from_fits(source)
        case "safetensors":
            found = read_metadata(source).get(prov.KEY)
        case "ecsv":
            found = _from_ecsv(source)
        case "json":
            value = read_json(source)
            found = value.get(prov.KEY) if isinstance(value, dict) else None
        case "png":
            found = _from_png(source)
        case _:
            raise InputError.expected(
                source, "HDF5, FITS, safetensors, ECSV, JSON or PNG", "another kind of file"
            )
    return found if isinstance(found, dict) else None


def read(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the record that a file carries, whatever its format.

    Raises
    ------
    InputError
        No such file, an unknown format, a damaged file, or one without a record.
    """
    found = find(path)
    if found is None:
        raise InputError.expected(path, "a file with a provenance record", "none in it")
    return found


def _from_fits(path: Path) -> dict[str, Any] | None:
    with open_hdus(path) as hdus:
        if prov.FITS_EXTENSION not in hdus:
            return None
        try:
            lines = [str(line) for line in hdus[prov.FITS_EXTENSION].data["json"]]
        except Exception as error:  # astropy's tables fail in many ways on damaged bytes
            raise InputError.expected(
                path, "a PROVENANCE table with a column json", f"another one ({error})"
            ) from error
        return prov.loads("\n".join(lines), path)


def _from_ecsv(path: Path) -> dict[str, Any] | None:
    text = read_catalogue(path).meta.get(prov.KEY)
    return prov.loads(text, path) if isinstance(text, str) else text


def _from_png(path: Path) -> dict[str, Any] | None:
    """Look for the tEXt or iTXt chunk named ``provenance``; written by matplotlib's metadata."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = int.from_bytes(head[:4], "big"), head[4:]
            if length > prov.MAX_RECORD_BYTES or name == b"IEND":
                return None
            body = file.read(length)
            if len(body) < length:
                raise InputError.expected(path, "a complete PNG file", "a truncated one")
            file.seek(4, os.SEEK_CUR)
            key, _, text = body.partition(b"\0")
            if key == prov.KEY.encode():
                if name == b"tEXt":
                    return prov.loads(text.decode("latin-1"), path)
                if name == b"iTXt" and text[:2] == b"\0\0":  # not compressed
                    return prov.loads(text[2:].split(b"\0", 2)[-1], path)
    return None
