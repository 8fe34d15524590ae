"""The run record that every artefact carries: what made it, from what, when.

A record says nothing of the machine (no host name, user or absolute path), so that the same run
elsewhere gives the same record but for the times and versions.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any

from physml.exceptions import InputError

#: Packages whose version can change results.
PACKAGES = (
    "physml",
    "numpy",
    "scipy",
    "torch",
    "pytorch-ignite",
    "astropy",
    "scikit-image",
    "scikit-learn",
    "h5py",
    "dask",
    "qutip",
)
#: Environment variables that are recorded. An allow-list: the environment holds secrets.
ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "CUDA_VISIBLE_DEVICES")

#: Name of the attribute, metadata key and table extension that holds the record.
KEY = "provenance"
FITS_EXTENSION = "PROVENANCE"
MAX_RECORD_BYTES = 16 << 20

_started: contextvars.ContextVar[str | None] = contextvars.ContextVar("started", default=None)


def now() -> str:
    """Time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def run() -> Iterator[None]:
    """Mark the start of a run; records made within the block carry its time."""
    token = _started.set(now())
    try:
        yield
    finally:
        _started.reset(token)


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change results, where installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def sha256(path: str | PathLike[str]) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe(path: Path) -> Any:
    """Name, size and hash of a file, or of each file in a folder (hidden ones left out)."""
    if path.is_dir():
        files = sorted(
            p
            for p in path.rglob("*")
            if p.is_file() and not any(part[0] == "." for part in p.relative_to(path).parts)
        )
        return {str(p.relative_to(path)): _describe(p) for p in files}
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def jsonable(value: Any) -> Any:
    """Turn settings, paths, numpy scalars and arrays, tuples and sets into plain JSON values.

    Of a path only the name is kept; a non-finite number becomes its name as a text, since strict
    JSON has none.
    """
    if hasattr(value, "model_dump"):
        return jsonable(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=str)
    if isinstance(value, list | tuple | range):
        return [jsonable(item) for item in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or isinstance(value, str | bool):
        return value
    if hasattr(value, "tolist"):  # numpy and torch, without importing either
        return jsonable(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    return str(value)


def without_folders(value: Any) -> Any:
    """Plain JSON value in which of each absolute path only the name is left.

    The folders of a machine say who works there, and on what.
    """
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    if isinstance(value, str) and re.match(r"(/|~|[A-Za-z]:[\\/]|\\\\)", value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


def record(
    stage: str,
    settings: Any,
    inputs: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the record of a stage that is about to write its artefact.

    Parameters
    ----------
    stage : str
        What was run, e.g. ``"simulate"``.
    settings : pydantic.BaseModel or mapping
        Settings of this stage and all before it (`physml.config.upstream`).
    inputs : mapping, optional
        Name of each input -> path of a file or folder, or a list of paths; they are hashed.
    extra : mapping, optional
        Anything else worth keeping, e.g. the shard or the lineage of the weights.

    Returns
    -------
    dict
        Plain JSON values. The run started with the enclosing `run`, or now.
    """
    plain = without_folders(jsonable(settings))
    described: dict[str, Any] = {}
    for name, item in (inputs or {}).items():
        if isinstance(item, str | PathLike):
            described[name] = _describe(Path(item))
        else:
            described[name] = [_describe(Path(path)) for path in item]
    return {
        "stage": stage,
        "seed": plain.get("seed") if isinstance(plain, dict) else None,
        "settings": plain,
        "inputs": described,
        "versions": dict(versions()),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "started": _started.get() or now(),
        "ended": now(),
        "status": 0,
        **({"extra": without_folders(jsonable(extra))} if extra else {}),
    }


def dumps(value: Mapping[str, Any]) -> str:
    """Strict JSON text of a record."""
    return json.dumps(jsonable(value), allow_nan=False)


def loads(text: str | bytes, path: str | PathLike[str] | None = None) -> dict[str, Any]:
    """Record from its JSON text.

    Raises
    ------
    InputError
        Not JSON, or not a mapping.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError.expected(path, "a provenance record in JSON", str(error)) from error
    if not isinstance(value, dict):
        raise InputError.expected(
            path, "a provenance record (a mapping)", f"a {type(value).__name__}"
        )
    return value


def fits_table(value: Mapping[str, Any]) -> Any:
    """Table extension ``PROVENANCE`` that holds a record as lines of ASCII JSON."""
    import numpy as np
    from astropy.io import fits

    # A header card ends at 68 characters; a table has room for all of it.
    lines = json.dumps(jsonable(value), indent=1, allow_nan=False).splitlines()
    column = fits.Column("json", f"{max(map(len, lines))}A", array=np.array(lines))
    return fits.BinTableHDU.from_columns([column], name=FITS_EXTENSION)


def fits_cards(value: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Header cards with the essentials of a record."""
    known = value.get("versions", {})
    cards = [
        ("CREATOR", f"physml {known.get('physml', '')}".strip(), "program that made this file"),
        ("PHYSTAGE", str(value.get("stage", ""))[:60], "physml stage"),
        ("DATE", str(value.get("ended", now())).rstrip("Z"), "end of the run, UTC"),
    ]
    if isinstance(value.get("seed"), int):
        cards.append(("PHYSEED", value["seed"], "seed of the run"))
    return cards
