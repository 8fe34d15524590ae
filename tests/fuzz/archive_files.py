"""NumPy archives whose arrays claim what they like, packed well."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from . import mutations, seeds

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
SHAPES = ("()", "(3,)", "(0,)", "(-1,)", "(True,)", "(3, 1)", "(1099511627776,)", "(2,) * 40")
SHAPES += ("(4294967296, 4294967296, 4294967296)", "(-3, -1)", "3", "None", "(3.0,)", "(" * 200)
TYPES = ("<f4", ">f8", "<f2", "<i8", "|u1", "|b1", "|O", "<U9999999", "|V0", "<f16", "|S0")
TYPES += ("<M8[s]", "<c8", "|V16", "<f3", "", "\\x1b[2J", "<i2,<i2")


def saved(array: np.ndarray) -> bytes:
    """Content of a member."""
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def _header(descr: str, shape: str, version: int) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


@st.composite
def built(draw: st.DrawFn, arrays: dict[str, np.ndarray]) -> bytes:
    """Archive with some of its arrays of another type, shape, length or packing, or with junk."""
    # Few of them: the rest of the reader is behind what is refused first.
    chosen = draw(st.sets(st.sampled_from(sorted(arrays)), max_size=2))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            if name in chosen:
                packing = draw(st.sampled_from((zipfile.ZIP_DEFLATED,) * 5 + PACKINGS))
                archive.writestr(f"{name}.npy", _member(draw, array), packing)
            else:
                archive.writestr(f"{name}.npy", saved(array), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _member(draw: st.DrawFn, array: np.ndarray) -> bytes:
    raw, kind = saved(array), draw(st.integers(0, 5))
    if kind == 0:
        shape = draw(st.sampled_from((*SHAPES, str(array.shape))))
        descr = draw(st.sampled_from((*TYPES, array.dtype.str)))
        body = draw(st.binary(max_size=64)) or array.tobytes()
        return _header(descr, shape, draw(st.sampled_from([1, 1, 1, 2, 3, 9]))) + body
    if kind == 1:
        return draw(mutations.damaged(raw))
    if kind == 2:
        other: Any = draw(st.sampled_from([np.nan, np.inf, -1, 511, 512, 1 << 14, 0]))
        with np.errstate(all="ignore"):
            return saved(np.full_like(array, np.float64(other)))
    if kind == 3:
        return saved(np.resize(array, draw(st.integers(0, 5))))
    if kind == 4:
        return saved(array.astype(draw(st.sampled_from(["f2", "f8", ">i4", "u8", "S3", "?"]))))
    return raw


def content() -> st.SearchStrategy[bytes]:
    """Archives of the Geant4 set, changed inside or outside."""
    inside = [built(made) for made in seeds.arrays().values()]
    return st.one_of(inside + [mutations.damaged(raw) for raw in seeds.archives().values()])


def readers() -> tuple[Callable[[Path], object], ...]:
    """Readers of the set; its files have names of their own."""
    from physml.background.simulator.geant4 import read_particles, read_photons

    def named(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
        def renamed(path: Path) -> object:
            (path.parent / name).write_bytes(path.read_bytes())
            return read(path.parent)

        return renamed

    return named("far_shield.npz", read_particles), named("xray.npz", read_photons)
