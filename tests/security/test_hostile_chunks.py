"""HDF5 chunks that hold less than their shape asks for: the library hands out other memory."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from fuzz.targets import check

from physml.exceptions import InputError
from physml.io.integrity import verify_shard
from physml.io.shards import Spec, open_shard, read_shard

SPEC = {"x": Spec("u1")}
LENGTH = 1000
NOISE = np.random.default_rng(0).integers(0, 256, LENGTH, np.uint8)
WHOLE, PART = NOISE.tobytes(), NOISE[:60].tobytes()
GZIP = {"compression": "gzip"}


def refused(path: Path, spec: dict[str, Spec], match: str) -> None:
    for read in (read_shard, open_shard):
        with pytest.raises(InputError, match=match):
            read(path, spec)


def write(path: Path, raw: bytes, mask: int = 0, **packing) -> Path:
    """Four chunks of which the second and third hold the bytes given, as they are."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (4, LENGTH), "u1", chunks=(1, LENGTH), **packing)
        data[0] = data[3] = NOISE
        for row in (1, 2):
            data.id.write_direct_chunk((row, 0), raw, mask)
    return path


@pytest.mark.parametrize(
    ("raw", "mask", "packing", "found"),
    [
        (zlib.compress(PART), 0, GZIP, "found 60"),
        (zlib.compress(PART), 0, {**GZIP, "shuffle": True}, "found 60"),
        (zlib.compress(PART) + bytes(4), 0, {**GZIP, "fletcher32": True}, "found 60"),
        (PART, 1, GZIP, "found 60"),  # the mask says that this chunk was not packed
        (zlib.compress(WHOLE + b"x"), 0, GZIP, "found 1001"),
        (zlib.compress(WHOLE)[:-200], 0, GZIP, "found a damaged one"),
        (b"no deflate stream at all", 0, GZIP, "found a damaged one"),
        (b"abc", 1, {**GZIP, "fletcher32": True}, "found a damaged one"),
    ],
)
def test_a_chunk_that_holds_another_number_of_bytes(
    tmp_path: Path, raw: bytes, mask: int, packing: dict, found: str
) -> None:
    path = write(tmp_path / "a.h5", raw, mask, **packing)
    for read in (lambda: read_shard(path, SPEC), lambda: verify_shard(path)):
        with pytest.raises(
            InputError, match=rf"a\.h5: expected 1000 bytes .* at \(1, 0\), {found}.*--forcerun"
        ):
            read()
    with open_shard(path, SPEC) as shard:
        # What is not read is not looked at; what is whole is read.
        assert (shard.read("x", [3, 0]) == NOISE).all()
        assert (shard.read("x", 0) == NOISE).all()
        for index in (2, -2, slice(2, None), [3, 2], np.array([False, False, True, True])):
            with pytest.raises(InputError, match=rf"at \(2, 0\), {found}"):
                open_shard(path, SPEC).read("x", index)
    check("hdf5", path.read_bytes())


def test_an_unpacked_chunk_of_fewer_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", PART)
    refused(path, SPEC, "chunks of 'x' of 1000 bytes, found one of 60")


@pytest.mark.parametrize(
    ("raw", "mask", "packing"),
    [
        (WHOLE, 0, {}),
        (zlib.compress(WHOLE), 0, GZIP),
        (WHOLE, 1, GZIP),
        (zlib.compress(WHOLE), 1, {**GZIP, "shuffle": True}),
    ],
)
def test_whole_chunks_are_read_however_they_are_packed(
    tmp_path: Path, raw: bytes, mask: int, packing: dict
) -> None:
    path = write(tmp_path / "a.h5", raw, mask, **packing)
    assert (read_shard(path, SPEC).arrays["x"] == NOISE).all()
    with open_shard(path, SPEC) as shard:
        for index in (slice(None), slice(1, 4, 2), [2, 1, 2]):
            assert (shard.read("x", index) == NOISE).all()


@pytest.mark.parametrize("packing", [{}, GZIP, {"fletcher32": True}, {**GZIP, "fletcher32": True}])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_chunks_at_the_edge_and_chunks_never_written(tmp_path: Path, libver, packing) -> None:
    """They are whole in the file, or not there at all."""
    values = np.arange(7 * 9).reshape(7, 9).astype("i4")
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        data = file.create_dataset("x", (7, 9), "i4", chunks=(3, 4), **packing)
        data[:5] = values[:5]
    with open_shard(tmp_path / "a.h5", {"x": Spec("i4")}) as shard:
        assert (shard.read("x", slice(0, 5)) == values[:5]).all()
        assert (shard.read("x", [6]) == 0).all()


def odd_types() -> dict[str, h5py.h5t.TypeID]:
    """Numbers that do not fill their bytes."""
    short = h5py.h5t.STD_I32LE.copy()
    short.set_precision(17)
    late = h5py.h5t.STD_U16LE.copy()
    late.set_precision(8)
    late.set_offset(8)
    real = h5py.h5t.IEEE_F32LE.copy()
    real.set_fields(31, 20, 11, 0, 20)
    table = h5py.h5t.create(h5py.h5t.COMPOUND, 8)
    table.insert(b"a", 0, h5py.h5t.STD_I32LE)
    table.insert(b"b", 4, short)
    row = h5py.h5t.array_create(late, (3,))
    return {
        "bits": h5py.h5t.STD_B16LE, "short": short, "late": late, "real": real, "table": table,
        "row": row,
    }  # fmt: skip


@pytest.mark.parametrize("name", odd_types())
def test_numbers_of_odd_bits(tmp_path: Path, name: str) -> None:
    """Their conversion is a part of the library that few ever use."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"x", odd_types()[name], space)
    refused(path, {"x": Spec()}, r"a\.h5: expected .*'x'")
    check("hdf5", path.read_bytes())


@pytest.mark.parametrize("dtype", ["?", "i1", ">u8", "f2", ">f4", "f8", "c8", "S5", "f16"])
def test_numbers_as_everybody_writes_them(tmp_path: Path, dtype: str) -> None:
    values = np.ones(3, dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = values
        file["t"] = np.ones(3, [("a", dtype), ("b", dtype, (2,))])
    found = read_shard(tmp_path / "a.h5", {"x": Spec(dtype), "t": Spec(optional=True)}).arrays
    assert (found["x"] == values).all()
    assert (found["t"]["a"] == values).all()


@pytest.mark.parametrize("size", [0, 2**64 - 16, 2**63, 4097])
def test_a_heap_of_texts_that_leads_nowhere(tmp_path: Path, size: int) -> None:
    """The library would follow it for ever: found by flipping each byte of a shard."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = NOISE
        file.attrs["provenance"] = "{}"
    raw = bytearray(path.read_bytes())
    heap = raw.index(b"GCOL")
    raw[heap + 24 : heap + 32] = size.to_bytes(8, "little")  # of the first text in it
    if size == 0:
        raw[heap + 16 : heap + 18] = bytes(2)  # now it is the room that is left
    path.write_bytes(raw)
    refused(path, SPEC, rf"a\.h5: .* damaged heap at byte {heap}")
