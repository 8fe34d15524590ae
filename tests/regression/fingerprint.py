"""Fingerprint of results: what a change of the program's form must leave as it is.

    python tests/regression/fingerprint.py RESULTS > now.json
    python tests/regression/fingerprint.py RESULTS --compare before.json

``RESULTS`` is a folder of files (HDF5, FITS, ECSV, CSV, JSON). Whole numbers and texts are compared
by their SHA-256; floats by their SHA-256 and, where that differs, by projections that have to agree
to a relative error of 1e-12. Times, versions and run records are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: Keys and cards that say when, where and with what something was made, not what came out.
VOLATILE = (
    *("provenance", "seconds", "cpu", "time_ms", "latency", "checksum", "datasum", "date"),
    *("physml_version", "physmlv", "creator", "history", "sha256", "modelsha", "gonewith"),
)
RELATIVE = 1e-12


def is_volatile(name: str) -> bool:
    """Whether a name belongs to what differs between two runs of one program."""
    last = name.rsplit("/", 1)[-1].lower()
    return any(word in name.lower().split("/") or word in last for word in VOLATILE)


def describe(values: np.ndarray) -> dict[str, Any]:
    """Type, shape, digest, and for floats their projections on a few fixed directions."""
    values = np.ascontiguousarray(values)
    if values.dtype.byteorder == ">":
        values = values.astype(values.dtype.newbyteorder("="))
    found: dict[str, Any] = {"type": str(values.dtype), "shape": list(values.shape)}
    if values.dtype.kind in "OSU":
        found["type"] = "text"
        found["sha256"] = hashlib.sha256("\0".join(map(str, values.ravel())).encode()).hexdigest()
        return found
    found["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
    if values.dtype.kind in "fc":
        flat = values.ravel().view(np.float64 if values.dtype.kind == "c" else values.dtype)
        flat = np.nan_to_num(flat.astype(np.float64), nan=-12345.0, posinf=1e30, neginf=-1e30)
        k = np.arange(len(flat))
        directions = (np.ones_like(flat), np.cos(0.7 * k), np.sin(1.3 * k + 0.2))
        found["scale"] = float(np.abs(flat).sum())
        found["projections"] = [float(flat @ d) for d in directions]
    return found


def arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of one file by name."""
    name = path.name.lower()
    if name.endswith((".h5", ".hdf5")):
        import h5py

        with h5py.File(path) as file:
            found: dict[str, np.ndarray] = {}
            file.visititems(
                lambda key, node: (
                    found.update({key: node[()]}) if isinstance(node, h5py.Dataset) else None
                )
            )
        for key, value in found.items():
            yield from columns(key, np.asarray(value))
    elif name.endswith((".fits", ".pha")):
        from astropy.io import fits

        with fits.open(path) as hdus:
            for k, hdu in enumerate(hdus):
                label = hdu.name or str(k)
                if hdu.data is not None and not is_volatile(label):
                    yield from columns(label, np.asarray(hdu.data))
    elif name.endswith((".ecsv", ".csv")):
        yield (
            "lines",
            np.array([line for line in path.read_text().splitlines() if not line.startswith("#")]),
        )
    elif name.endswith(".json"):
        for key, value in leaves(json.loads(path.read_text())):
            yield key, np.asarray(value)


def columns(name: str, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Columns of a table, or the array itself."""
    if values.dtype.names:
        for column in values.dtype.names:
            yield f"{name}/{column}", values[column]
    else:
        yield name, values


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers and texts of nested JSON."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}/{key}")
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            yield from leaves(inner, f"{name}/{k}")
    else:
        yield name, "none" if value is None else value


def fingerprint(folder: Path) -> dict[str, Any]:
    """Fingerprint of all files below a folder."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if ".state" in str(path) or path.name.startswith("."):
            continue
        for name, values in arrays(path):
            if not is_volatile(name):
                found[f"{path.relative_to(folder)}:{name}"] = describe(values)
    return found


def differences(
    before: dict[str, Any], now: dict[str, Any], relative: float = RELATIVE
) -> list[str]:
    """What differs, in words; nothing where results are the same."""
    found = [f"{key}: gone" for key in before if key not in now]
    found += [f"{key}: new" for key in now if key not in before]
    for key in before.keys() & now.keys():
        a, b = before[key], now[key]
        if a["sha256"] == b["sha256"]:
            continue
        if "projections" not in a or a["shape"] != b["shape"] or "projections" not in b:
            found.append(f"{key}: {a['type']} {a['shape']} differs from {b['type']} {b['shape']}")
            continue
        off = max(abs(x - y) for x, y in zip(a["projections"], b["projections"], strict=True))
        if off > relative * max(a["scale"], 1e-300):
            found.append(f"{key}: off by {off / max(a['scale'], 1e-300):.2g} of its size")
    return sorted(found)


def main() -> int:
    """Print the fingerprint, or what differs from an earlier one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--relative", type=float, default=RELATIVE)
    given = parser.parse_args()
    now = fingerprint(given.folder)
    if given.compare is None:
        json.dump(now, sys.stdout, indent=0)
        return 0
    found = differences(json.loads(given.compare.read_text()), now, given.relative)
    print("\n".join(found) or f"the same: {len(now)} arrays")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
