"""HDF5 files of every shape that the format allows, made by the library itself."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

MAX_BYTES = 1 << 20
NAMES = ("counts", "t", "index", "frames", "pixels", "weight", "exposures", "effects", "setting")
TYPES: tuple[Any, ...] = (
    "u4", "i8", "f4", "f8", ">u4", "f2", "c8", "c16", "?", "S3", "S0", h5py.string_dtype(),
    h5py.string_dtype("ascii", 5), h5py.vlen_dtype("u4"), h5py.ref_dtype, h5py.regionref_dtype,
    h5py.enum_dtype({"a": 1, "b": 2}), h5py.opaque_dtype(np.dtype("V16")), np.dtype(("u4", (2,))),
    [("frame", "i8"), ("y", "i4"), ("x", "i4"), ("energy", "f4")],
    [("frame", "f8"), ("y", "u1"), ("x", "i4"), ("energy", h5py.string_dtype())],
    [("ny", "i4"), ("nx", "i4")], [("a", "u4", (0,))], [("a", [("b", [("c", "f4")])])],
)  # fmt: skip
SHAPES = ((), (0,), (3,), (3, 12, 12), (0, 12, 12), (3, 0, 0), (1,) * 32, (2, 4, 4), (1 << 40,))
SHAPES += ((1 << 32, 1 << 31, 2), (3, 12, 1 << 20), (3, 5000, 5000))
PACKING = ({}, {"compression": 9}, {"compression": "lzf"}, {"shuffle": True, "compression": 1})
PACKING += ({"fletcher32": True}, {"scaleoffset": 2}, {"fillvalue": 7})
ATTRIBUTES: tuple[Any, ...] = (
    "x", "{}", '{"a": NaN}', "[" * 2000, 1.5, np.arange(5), h5py.Empty("f4"), b"\xff\xfe", "[1]",
    np.array(["a", "b"], h5py.string_dtype()), np.zeros(2, [("a", "f4")]), "\x1b[2J", "é" * 99,
    '{"\x1b": 1}',
)  # fmt: skip


@st.composite
def built(draw: st.DrawFn) -> bytes:
    """A file with odd types, shapes, filters, links and attributes under expected names."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w", libver=draw(st.sampled_from(["earliest", "latest"]))) as file:
            for name in draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True)):
                _put(draw, file, name)
            for key in draw(st.lists(st.sampled_from(["provenance", "sha256"]), unique=True)):
                file.attrs[key] = draw(st.sampled_from(ATTRIBUTES))
        # Some combinations take room for all that they name; a fuzzer wants small files.
        if path.stat().st_size > MAX_BYTES:
            reject()
        return path.read_bytes()


def _put(draw: st.DrawFn, file: h5py.File, name: str) -> None:
    kind = draw(st.integers(0, 11))
    if kind == 0:
        file[name] = h5py.SoftLink(draw(st.sampled_from(["/", name, "/counts", "../x"])))
    elif kind == 1:
        file[name] = h5py.ExternalLink(draw(st.sampled_from(["/etc/passwd", "hostile.h5"])), name)
    elif kind == 2:
        file.create_group(name)[name] = file  # a circle
    elif kind == 3:
        file[name] = np.dtype("f4")
    else:
        dtype, shape = draw(st.sampled_from(TYPES)), draw(st.sampled_from(SHAPES))
        packing = draw(st.sampled_from(PACKING))
        huge = int(np.prod([float(n) for n in shape])) > 1e5
        if huge and not packing:
            packing = {"chunks": tuple(min(n, 64) for n in shape)}
        try:
            made = file.create_dataset(name, shape, dtype, **packing)
            if not huge and made.dtype.kind in "uif" and draw(st.booleans()):
                made[...] = draw(st.sampled_from([0, 1, 3]))
            if made.chunks and draw(st.booleans()):
                raw = draw(st.sampled_from([b"", b"x", b"x" * 64, bytes(1 << 16)]))
                packed = draw(st.sampled_from([raw, zlib.compress(raw), zlib.compress(raw)[:-3]]))
                mask = draw(st.sampled_from([0, 0, 1, 3]))
                made.id.write_direct_chunk((0,) * made.ndim, packed, mask)
            if draw(st.booleans()):
                made.attrs["sha256"] = draw(st.sampled_from(ATTRIBUTES))
        except (AttributeError, TypeError, ValueError, OSError, OverflowError, RuntimeError):
            return  # the library itself does not allow this combination
