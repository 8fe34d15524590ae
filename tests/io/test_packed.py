"""Shards read past the HDF5 library: what it would give, or a refusal."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from physml.exceptions import InputError
from physml.io.shards import (
    PackedArray,
    PackedShard,
    ShardWriter,
    Spec,
    open_arrays,
    read_shard,
    write_shard,
)

N = 60
ROW = np.dtype([("x", "f4"), ("n", "i8"), ("on", "?")])


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "bytes": rng.integers(0, 200, (N, 80, 60), dtype=np.uint8),
        "counts": rng.poisson(3000, (N, 70, 50)).astype(np.uint16),
        "half": rng.normal(size=(N, 70, 50)).astype(np.float16),
        "single": rng.normal(size=(N, 50, 50)).astype(np.float32),
        "double": rng.normal(size=(N, 30)),
        "index": np.arange(N),
    }


def table() -> np.ndarray:
    rng = np.random.default_rng(1)
    made = np.zeros((N, 8), ROW)
    made["x"], made["n"] = rng.normal(size=(N, 8)), rng.integers(-(2**60), 2**60, (N, 8))
    made["on"] = rng.random((N, 8)) < 0.5
    return made


SPEC = {name: Spec(values.dtype) for name, values in (arrays() | {"table": table()}).items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with ShardWriter(tmp_path / "a.h5", provenance={}, tables={"table"}) as writer:
        for part in (slice(0, 17), slice(17, N)):
            batch = {name: values[part] for name, values in arrays().items()}
            writer.append(batch | {"table": table()[part]})
    return tmp_path / "a.h5"


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(3, 50, 7),
        slice(9, 9),
        np.array([5, 59, 0, 5, 17]),
        np.arange(N)[::-1],
        np.array([], np.int64),
    ],
)
def test_it_gives_what_the_library_gives(path: Path, rows) -> None:
    whole, packed = read_shard(path, SPEC), PackedShard(path, SPEC)
    assert isinstance(packed["counts"], PackedArray)
    assert isinstance(packed["index"], np.ndarray)  # small ones are read at once
    for name in SPEC:
        got = packed[name][rows]
        assert got.dtype == whole[name].dtype, name
        assert np.array_equal(got, whole[name][rows]), name


def test_numbers_of_the_other_byte_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 60_000, (5, 3000))
    for kind in (">u2", ">i4", ">f8"):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset(
                "x", data=values.astype(kind), chunks=(1, 3000), shuffle=True, compression=1
            )
        assert np.array_equal(PackedShard(tmp_path / "a.h5", {"x": Spec()})["x"][:], values)


def test_it_goes_to_other_processes_without_its_descriptor(path: Path) -> None:
    packed = PackedShard(path, SPEC)
    expected = packed["half"][:]
    assert np.array_equal(pickle.loads(pickle.dumps(packed))["half"][:], expected)


def test_reading_ahead_covers_the_samples(path: Path, monkeypatch) -> None:
    packed = PackedShard(path, SPEC)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "physml.io.shards.packed.PackedFile.will_need",
        lambda self, start, size: asked.append((start, size)),
    )
    packed.will_need(np.array([40, 2, 3]))
    for name in ("counts", "single"):
        for row in (2, 3, 40):
            start, size = int(packed[name].start[row]), int(packed[name].size[row])
            assert any(a <= start and start + size <= a + n for a, n in asked)


def test_where_it_stops_being_read_whole(path: Path) -> None:
    near, digest = open_arrays(path, SPEC, in_memory=1 << 30)
    far, other = open_arrays(path, SPEC, in_memory=1000)
    assert isinstance(near["counts"], np.ndarray)
    assert isinstance(far, PackedShard)
    with h5py.File(path) as file:
        assert other == file.attrs["sha256"] != digest


@pytest.mark.parametrize("rows", [[N], [-1], [[1, 2]], [0.5], 3])
def test_rows_that_are_not_there_are_refused(path: Path, rows) -> None:
    with pytest.raises(IndexError):
        PackedShard(path, SPEC)["counts"][rows]


def test_each_flipped_byte_of_a_chunk_is_found(path: Path) -> None:
    packed, raw = PackedShard(path, SPEC), bytearray(path.read_bytes())
    start, size = int(packed["counts"].start[7]), int(packed["counts"].size[7])
    assert size > 2000
    for place in range(start, start + size, 97):
        raw[place] ^= 0x10
        path.write_bytes(raw)
        with pytest.raises(InputError, match=r"a\.h5: expected a readable chunk of 'counts' from"):
            PackedShard(path, SPEC)["counts"][[7]]
        raw[place] ^= 0x10


def test_a_file_that_was_changed_meanwhile_is_refused(path: Path) -> None:
    packed = PackedShard(path, SPEC)
    sent = pickle.dumps(packed)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="one that was changed"):
        pickle.loads(sent)["counts"][:3]


def test_a_file_cut_short_is_refused(path: Path) -> None:
    packed = PackedShard(path, SPEC)
    with open(path, "r+b") as file:
        file.truncate(int(packed["counts"].start[40]) + 10)
    with pytest.raises(InputError, match=r"a\.h5: expected a readable chunk of 'counts'"):
        packed["counts"][[40]]


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    values = np.ones((3, 3000), np.float32)
    write_shard(tmp_path / "a.h5", {"x": values}, provenance={})
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["x"][1, 5] = np.nan
    packed = PackedShard(tmp_path / "a.h5", {"x": Spec("f4")})
    assert np.array_equal(packed["x"][[0, 2]], values[[0, 2]])
    with pytest.raises(InputError, match="finite values in 'x'"):
        packed["x"][[0, 1]]


@pytest.mark.parametrize(
    "how",
    [
        {},  # not in chunks
        {"chunks": (1, 1500), "compression": 1, "shuffle": True},  # half samples
        {"chunks": (1, 3000), "compression": 1},
        {"chunks": (1, 3000), "fletcher32": True},
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, how) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.ones((3, 3000)), **how)
    with pytest.raises(InputError, match="in chunks of whole samples"):
        PackedShard(tmp_path / "a.h5", {"x": Spec("f8")})


def test_a_chunk_that_was_never_written_is_missed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = file.create_dataset("x", (3, 3000), "f8", chunks=(1, 3000), compression=1, shuffle=True)
        x[0] = 1
    with pytest.raises(InputError, match="some are missing"):
        PackedShard(tmp_path / "a.h5", {"x": Spec("f8")})


def test_a_chunk_that_holds_more_is_refused(tmp_path: Path) -> None:
    import zlib

    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = file.create_dataset("x", (2, 3000), "u1", chunks=(1, 3000), compression=1, shuffle=True)
        for row, size in enumerate((3000, 10_000_000)):
            x.id.write_direct_chunk((row, 0), zlib.compress(bytes(size)))
    packed = PackedShard(tmp_path / "a.h5", {"x": Spec("u1")})
    assert not packed["x"][[0]].any()
    with pytest.raises(InputError, match="3000"):
        packed["x"][[1]]
