"""HDF5 shards: what is written is what is read, and how it is laid out."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from physml import provenance
from physml.exceptions import InputError
from physml.io.shards import ShardWriter, Spec, open_shard, read_provenance, read_shard, write_shard

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(3, (10, 32, 32)).astype(np.uint32)
EXPOSURE = RNG.random((10, 32, 32)).astype(np.float16)
INDEX = np.arange(10)
TABLE = np.zeros((10, 6), [("x", "f4"), ("visible", "?"), ("n", "i8"), ("name", "S5")])
TABLE["x"] = RNG.random((10, 6))
TABLE["visible"] = TABLE["x"] > 0.5
TABLE["name"] = b"ngc"
ARRAYS = {"counts": COUNTS, "exposure": EXPOSURE, "index": INDEX}
SPEC = {
    "counts": Spec("uint32", (None, 32, 32)),
    "exposure": Spec("float16", (None, None, None)),
    "index": Spec("int64", (None,)),
    "cavities": Spec(TABLE.dtype, (None, 6)),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "a.h5"
    record = provenance.record("simulate", {"seed": 4})
    write_shard(target, ARRAYS, tables={"cavities": TABLE}, provenance=record)
    return target


def test_round_trip(path: Path) -> None:
    shard = read_shard(path, SPEC)
    for name, values in {**ARRAYS, "cavities": TABLE}.items():
        np.testing.assert_array_equal(shard[name], values)
        assert shard[name].dtype == values.dtype
    assert len(shard) == 10
    assert shard.provenance["seed"] == 4
    assert shard.provenance == read_provenance(path)


def test_layout_is_one_sample_a_chunk(path: Path) -> None:
    with h5py.File(path) as file:
        for name in ("counts", "exposure"):
            assert file[name].chunks == (1, 32, 32) or EXPOSURE[0].nbytes < 4096
            assert file[name].compression == "gzip"
            assert file[name].compression_opts == 1
            assert file[name].shuffle
        assert file["counts"].chunks == (1, 32, 32)
        assert file["index"].chunks == (10,)


def test_only_what_is_asked_for(path: Path) -> None:
    spec = {"counts": SPEC["counts"], "missing": Spec("f4", optional=True)}
    assert list(read_shard(path, spec).arrays) == ["counts"]
    with pytest.raises(InputError, match=r"a dataset 'missing', found only .*counts"):
        read_shard(path, {"missing": Spec("f4")})


def test_width_of_a_number_may_differ(path: Path) -> None:
    assert read_shard(path, {"counts": Spec("uint8")})["counts"].dtype == np.uint32


def test_lazy_reading_with_a_mask_and_metadata(path: Path) -> None:
    with open_shard(path, SPEC) as shard:
        np.testing.assert_array_equal(shard.read("index", INDEX % 2 == 0), INDEX[::2])
        np.testing.assert_array_equal(shard.read("cavities", [3, 0, 3]), TABLE[[3, 0, 3]])
        assert shard.read("index", np.int64(3)) == 3
        assert len(shard) == 10
        assert set(shard.names) == set(SPEC)
        assert "counts" in shard
        assert shard.shape("counts") == (10, 32, 32)
        assert shard.dtype("exposure") == np.float16
        assert shard.provenance["stage"] == "simulate"


def test_lazy_reading_outside(path: Path) -> None:
    with open_shard(path, SPEC, max_bytes=3 * COUNTS[0].nbytes) as shard:
        for wrong in (10, -11, [0, 10]):
            with pytest.raises(IndexError, match="which has 10"):
                shard.read("counts", wrong)
        with pytest.raises(KeyError):
            shard.read("none", 0)
        assert len(shard.read("counts", [0, 1, 2])) == 3
        for large in (slice(None), [0, 1, 2, 3]):
            with pytest.raises(InputError, match="at once"):
                shard.read("counts", large)
    with pytest.raises((ValueError, InputError)):
        shard.read("counts", 0)


@pytest.mark.parametrize(
    ("arrays", "tables", "match"),
    [
        ({"a": np.zeros(3), "b": np.zeros(4)}, {}, "one length"),
        ({"a": np.float64(3)}, {}, "one length"),
        ({"a": np.array(["x"])}, {}, "numbers"),
        ({"a": np.array([None])}, {}, "numbers"),
        ({"a": np.array(["2020"], "M8[Y]")}, {}, "numbers"),
        ({"a": np.array([1.0, np.nan])}, {}, r"finite values in 'a', found nan at index \(1,\)"),
        ({"a": np.array([np.inf], np.float16)}, {}, "found inf"),
        ({"a": np.zeros(1)}, {"a": TABLE}, "each name once"),
    ],
)
def test_bad_arrays_leave_no_file(tmp_path: Path, arrays, tables, match: str) -> None:
    with pytest.raises(InputError, match=match):
        write_shard(tmp_path / "b.h5", arrays, tables=tables, provenance={})
    assert list(tmp_path.iterdir()) == []


def test_empty_shard_and_tables_of_another_length(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_shard(path, {"x": np.zeros((0, 4))}, tables={"t": TABLE[:3, 0]}, provenance={})
    shard = read_shard(path, {"x": Spec("f8", (None, 4)), "t": Spec(TABLE.dtype)})
    assert shard["x"].shape == (0, 4)
    assert len(shard["t"]) == 3
    with open_shard(path, {"x": Spec("f8")}) as lazy:
        assert lazy.read("x", []).shape == (0, 4)


def test_content_hash_depends_on_content_only(tmp_path: Path) -> None:
    def digest(name: str, **arrays) -> str:
        write_shard(tmp_path / name, arrays, provenance={"started": name})
        with h5py.File(tmp_path / name) as file:
            return str(file.attrs["sha256"])

    first = digest("a", x=COUNTS, y=INDEX)
    assert digest("b", y=INDEX, x=COUNTS) == first
    assert digest("c", x=COUNTS.astype(">u4"), y=INDEX) == first
    assert digest("d", x=np.asfortranarray(COUNTS), y=INDEX) == first
    assert digest("e", x=COUNTS[::-1], y=INDEX) != first
    assert digest("f", x=COUNTS, z=INDEX) != first
    assert digest("g", x=COUNTS.astype("u8"), y=INDEX) != first


def test_a_long_record_fits(tmp_path: Path) -> None:
    """HDF5 keeps ordinary attributes below 64 kB."""
    path = tmp_path / "a.h5"
    write_shard(path, {"x": INDEX}, provenance={"settings": {"long": "x" * 300_000}})
    found = read_provenance(path)
    assert found is not None
    assert len(found["settings"]["long"]) == 300_000


def test_zeros_pass_the_guard_against_bombs(tmp_path: Path) -> None:
    """The most compressible data there are must be readable."""
    path = tmp_path / "a.h5"
    arrays = {"x": np.zeros((50, 256, 256), np.uint32), "y": np.zeros(50)}
    write_shard(path, arrays, provenance={})
    assert arrays["x"].nbytes > 150 * path.stat().st_size
    assert read_shard(path, {"x": Spec("uint32"), "y": Spec("f8")})["x"].sum() == 0


def test_written_batch_by_batch_is_the_same_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    table = np.zeros((700, 2), [("a", "<f8"), ("b", "<i4", (3,))])
    table["a"], table["b"] = rng.normal(size=(700, 2)), rng.integers(0, 9, (700, 2, 3))
    arrays = {"image": rng.normal(size=(700, 5, 6)), "index": np.arange(700)}
    write_shard(tmp_path / "whole.h5", arrays, tables={"table": table}, provenance={"seed": 1})
    everything = arrays | {"table": table}
    with ShardWriter(tmp_path / "parts.h5", provenance={"seed": 1}, tables=["table"]) as shard:
        for first, last in ((0, 1), (1, 1), (1, 600), (600, 700)):
            shard.append({name: values[first:last] for name, values in everything.items()})
    spec = {name: Spec(v.dtype) for name, v in everything.items()}
    for name in ("whole.h5", "parts.h5"):
        found = read_shard(tmp_path / name, spec)  # checks the digests
        assert all(np.array_equal(found[n], v) for n, v in everything.items())
        assert found.provenance == {"seed": 1}
    with h5py.File(tmp_path / "whole.h5") as a, h5py.File(tmp_path / "parts.h5") as b:
        assert a.attrs["sha256"] == b.attrs["sha256"]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"x": np.zeros((2, 4))}, "before"),
        ({"x": np.zeros((2, 3), np.float32)}, "before"),
        ({"y": np.zeros((2, 3))}, "datasets"),
        ({"x": np.full((2, 3), np.nan)}, "finite"),
        ({"x": np.float64(3)}, "one length"),
    ],
)
def test_batch_that_does_not_go_on_leaves_nothing(tmp_path: Path, second, words: str) -> None:
    def write() -> None:
        with ShardWriter(tmp_path / "x.h5", provenance={}) as shard:
            shard.append({"x": np.zeros((2, 3))})
            shard.append(second)

    with pytest.raises(InputError, match=words):
        write()
    assert list(tmp_path.iterdir()) == []
