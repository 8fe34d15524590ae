"""HDF5 files made to harm: each is refused with exit code 2, and nothing outside is touched."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from physml.exceptions import InputError
from physml.io import hdf5_checks
from physml.io.describe import describe
from physml.io.shards import (
    Spec,
    open_shard,
    read_provenance,
    read_shard,
    verify_shard,
    write_shard,
)

SPEC = {"counts": Spec("uint32", (None, 8, 8))}
IMAGES = np.arange(2 * 8 * 8, dtype=np.uint32).reshape(2, 8, 8)


def refused(path: Path, spec=SPEC, match: str | None = None, **limits) -> None:
    """Both readers refuse the file, and the message names it."""
    for reader in (read_shard, open_shard):
        with pytest.raises(InputError, match=match) as caught:
            reader(path, spec, **limits)
        assert str(path) in str(caught.value)
        assert caught.value.exit_code == 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hostile.h5"


def put(path: Path, **items) -> None:
    """File with datasets, links or types of these names."""
    with h5py.File(path, "w") as file:
        for name, item in items.items():
            file[name] = item


def test_external_storage(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(256)) * 4)
    with h5py.File(path, "w") as file:
        file.create_dataset("counts", (2, 8, 8), "u4", external=[(str(secret), 0, 512)])
    with h5py.File(path) as file:  # the attack works on a reader that does not look
        assert file["counts"][0, 0, 0] == 0x03020100
    refused(path, match="external storage")


def test_virtual_dataset(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    put(other, x=IMAGES)
    layout = h5py.VirtualLayout((2, 8, 8), "u4")
    layout[:] = h5py.VirtualSource(str(other), "x", (2, 8, 8))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("counts", layout)
    refused(path, match="virtual dataset")
    other.unlink()  # HDF5 would now give zeros without a word
    refused(path, match="virtual dataset")


@pytest.mark.parametrize(
    ("link", "match"),
    [
        (h5py.SoftLink("/elsewhere"), "soft link"),
        (h5py.SoftLink("/counts"), "soft link"),
        (h5py.ExternalLink("other.h5", "x"), "external link"),
    ],
)
def test_links(path: Path, link: object, match: str) -> None:
    put(path.with_name("other.h5"), x=IMAGES)
    put(path, elsewhere=IMAGES, counts=link)
    refused(path, match=match)


def test_info_follows_no_link(path: Path) -> None:
    put(path, a=h5py.SoftLink("/nowhere"), b=h5py.ExternalLink("/etc/passwd", "x"), c=IMAGES)
    link = "a link, not followed"
    assert describe(path)["contents"] == {"a": link, "b": link, "c": "uint32 (2, 8, 8)"}


@pytest.mark.parametrize(
    ("shape", "options", "match"),
    [
        ((1 << 36, 8, 8), {"chunks": True}, "bytes left|0 bytes stored"),
        ((1 << 36, 8, 8), {"chunks": (1, 8, 8)}, "bytes left|0 bytes stored"),
        # 2^31 * 2^31 * 16 is 2^66: in 64 bits it is 0.
        ((1 << 31, 1 << 31, 4), {"chunks": (1, 1024, 4)}, "bytes left"),
        # 64 MB of fill value: within the limit of memory, and still no data.
        ((1 << 18, 8, 8), {"chunks": (1, 8, 8), "fillvalue": 7}, "0 bytes stored"),
    ],
)
def test_shape_that_no_bytes_stand_behind(path: Path, shape, options: dict, match: str) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", shape, "u4", **options)
    assert path.stat().st_size < 1 << 20
    refused(path, {"x": Spec("uint32")}, match=match)


def test_limit_is_on_the_sum(path: Path) -> None:
    spec = {"a": Spec("uint8"), "b": Spec("uint8")}
    put(path, a=np.ones(600, np.uint8), b=np.ones(600, np.uint8))
    assert len(read_shard(path, spec, max_bytes=1200).arrays) == 2
    with pytest.raises(InputError, match="bytes left for 'b'"):
        read_shard(path, spec, max_bytes=1199)


def test_deflate_bomb_in_a_chunk(path: Path) -> None:
    """A chunk that unpacks to 1000 times what its dataset says is never unpacked."""
    bomb = zlib.compress(bytes(50 << 20), 9)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("counts", (1, 8, 8), "u4", chunks=(1, 8, 8), compression=1)
        data.id.write_direct_chunk((0, 0, 0), bomb)
    refused(path, match="chunks of 'counts' stored in at most")


def test_giant_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (1 << 29,), "u1", chunks=(1 << 29,), compression=1)
        data.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 20)))
    # Stored too little for what it declares, and the chunk itself is too large.
    refused(path, {"x": Spec("uint8")}, match="stored")


def test_unknown_filter_is_not_loaded(path: Path) -> None:
    # LZF (32000) ships with h5py: a stand-in for any filter plugin.
    with h5py.File(path, "w") as file:
        file.create_dataset("counts", data=IMAGES, compression="lzf")
    refused(path, match="filters")


@pytest.mark.parametrize(
    ("values", "spec", "match"),
    [
        (IMAGES.astype(np.float32), SPEC["counts"], "of type uint32"),
        (IMAGES.astype(np.int64), SPEC["counts"], "of type uint32"),
        (IMAGES[0], SPEC["counts"], "of shape"),
        (IMAGES[:, :, :4], SPEC["counts"], "of shape"),
        (IMAGES.astype("S4"), SPEC["counts"], "of type uint32"),
        (np.zeros(3, [("x", "f4")]), Spec([("y", "f4")]), "of type"),
        (np.zeros(3, [("x", "f4"), ("y", "f4")]), Spec([("x", "f4")]), "of type"),
        (np.zeros(3, [("x", "i4")]), Spec([("x", "f4")]), "of type"),
        (np.zeros(3, [("x", "f4")]), Spec("f4"), "of type"),
    ],
)
def test_wrong_type_or_shape(path: Path, values, spec: Spec, match: str) -> None:
    put(path, counts=values)
    refused(path, {"counts": spec}, match=match)


def test_objects_and_references(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("text", data=["a", "b"], dtype=h5py.string_dtype())
        file.create_dataset("vlen", (2,), h5py.vlen_dtype("u4"))
        file.create_dataset("ref", (2,), h5py.ref_dtype)
        file.create_dataset("empty", data=h5py.Empty("f4"))
    for name in ("text", "vlen", "ref", "empty"):
        refused(path, {name: Spec()}, match="to hold numbers")


def test_group_and_named_type(path: Path) -> None:
    put(path, kind=np.dtype("u4"), **{"counts/a": IMAGES})
    refused(path, match="to be a dataset, found group")
    refused(path, {"kind": Spec()}, match="to be a dataset, found datatype")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_not_finite(path: Path, value: float, dtype: str) -> None:
    values = np.zeros((3, 4), dtype)
    values[1, 2] = value
    put(path, x=values)
    with pytest.raises(
        InputError, match=r"finite values in 'x', found -?(nan|inf) at index \(1, 2\)"
    ):
        read_shard(path, {"x": Spec(dtype)})
    assert not np.isfinite(read_shard(path, {"x": Spec(dtype, finite=False)})["x"]).all()
    with open_shard(path, {"x": Spec(dtype)}) as shard:
        assert shard.read("x", 0).sum() == 0
        with pytest.raises(InputError, match="finite"):
            shard.read("x", [2, 1])


def test_not_finite_in_a_table(path: Path) -> None:
    table = np.zeros(3, [("x", "f4"), ("n", "i4")])
    table["x"][2] = np.nan
    put(path, t=table)
    with pytest.raises(InputError, match=r"column x, nan at index \(2,\)"):
        read_shard(path, {"t": Spec()})


@pytest.mark.parametrize("name", ["../counts", "/etc/passwd", "a/b", ".", "..", ""])
def test_names_are_no_paths(path: Path, name: str) -> None:
    put(path, **{"a/b": IMAGES})
    with pytest.raises(InputError, match="without a slash"):
        read_shard(path, {name: Spec()})
    with pytest.raises(InputError, match="without a slash"):
        write_shard(path.with_name("new.h5"), {name: IMAGES}, provenance={})
    assert not path.with_name("new.h5").exists()


def test_hostile_provenance(path: Path) -> None:
    for value in (np.zeros(3), np.float64(1), "[1, 2]", "{", b"\xff\xfe", h5py.Empty("f4")):
        with h5py.File(path, "w") as file:
            file["counts"] = IMAGES
            file.attrs["provenance"] = value
        with pytest.raises(InputError, match=r"provenance|mapping"):
            read_provenance(path)


def test_changed_content_is_noticed(path: Path) -> None:
    write_shard(path, {"counts": IMAGES}, provenance={"stage": "simulate"})
    with h5py.File(path, "r+") as file:
        file["counts"][1, 2, 3] += 1
    with pytest.raises(InputError, match="SHA-256"):
        read_shard(path, SPEC)


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04" + bytes(100), b"text"]
)
def test_not_hdf5(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, match="HDF5 file")


def test_no_file_and_folder(path: Path, tmp_path: Path) -> None:
    refused(path, match="no such file")
    refused(tmp_path, match="a folder")


def test_truncated(path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 1 << 30, (20, 8, 8), dtype=np.uint32)
    write_shard(path, {"counts": noise}, provenance={})
    whole = path.read_bytes()
    for part in (0.3, 0.6, 0.99):
        path.write_bytes(whole[: int(part * len(whole))])
        refused(path)


def test_billion_links(path: Path) -> None:
    """Hard links that make a cycle are no trouble: names are looked up, never walked."""
    with h5py.File(path, "w") as file:
        file["loop"] = file["/"]
        file["counts"] = IMAGES
    assert read_shard(path, SPEC)["counts"].shape == (2, 8, 8)
    assert describe(path)["contents"]["loop"] == "group"


def test_address_of_a_chunk_outside_of_the_file(path: Path) -> None:
    """Damaged bytes give our error, whatever the library makes of them."""
    noise = np.random.default_rng(2).integers(0, 1 << 30, (4, 8, 8), dtype=np.uint32)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("counts", data=noise, chunks=(1, 8, 8), compression=1)
        address = data.id.get_chunk_info(2).byte_offset
    raw = bytearray(path.read_bytes())
    found = raw.index(struct.pack("<Q", address))
    raw[found : found + 8] = struct.pack("<Q", 1 << 60)
    path.write_bytes(raw)
    with pytest.raises(InputError):
        read_shard(path, SPEC)


@pytest.mark.parametrize(
    "more",
    [
        {"fs_strategy": "page"},
        {"fs_strategy": "fsm", "fs_persist": True},
        {"fs_strategy": "fsm", "fs_persist": True, "userblock_size": 2048},
    ],
)
def test_extensions_of_the_superblock(path: Path, more: dict) -> None:
    """What is in them is worked through while the file is opened, before anything is checked."""
    with h5py.File(path, "w", **more) as file:
        file["counts"] = IMAGES
    refused(path, match=r"found an extension of the superblock\. Copy its datasets")
    with pytest.raises(InputError, match=str(path)):
        describe(path)


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
@pytest.mark.parametrize("userblock", [0, 512, 2048])
def test_superblocks_of_every_version(path: Path, libver: str, userblock: int) -> None:
    with h5py.File(path, "w", libver=libver, userblock_size=userblock) as file:
        file["counts"] = IMAGES
    assert (read_shard(path, SPEC).arrays["counts"] == IMAGES).all()
    raw = path.read_bytes()
    for size in (userblock + 8, userblock + 20, userblock + 40):
        path.write_bytes(raw[:size])
        refused(path)


def test_a_driver_of_its_own(path: Path) -> None:
    """The first superblock could name another way of finding the bytes, across many files."""
    with h5py.File(path, "w", libver="earliest") as file:
        file["counts"] = IMAGES
    raw = bytearray(path.read_bytes())
    assert raw[8] == 0
    assert raw[48:56] == b"\xff" * 8
    raw[48:56] = struct.pack("<Q", 96)
    path.write_bytes(raw)
    refused(path, match="a driver of its own")


def test_a_name_that_is_no_text_is_shown_escaped_and_no_shard_has_one(tmp_path: Path) -> None:
    """The library hands such a name out as bytes; found by the fuzzer, in `describe`."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(b"x\xff", data=[1, 2])
    assert describe(path)["contents"] == {"x\\xff": "int64 (2,)"}
    with pytest.raises(InputError, match=r"names in UTF-8, found b'x\\xff'"):
        verify_shard(path)
    with pytest.raises(InputError, match="a dataset 'x'"):
        read_shard(path, {"x": Spec()})


@pytest.mark.parametrize("block", [1, 2, 3, 7, 8, 9, 64])
def test_heaps_are_found_across_the_blocks_that_are_read(block: int, monkeypatch) -> None:
    """A file is read in blocks, since pages of a mapped one would count as memory of the job."""
    monkeypatch.setattr(hdf5_checks, "_BLOCK_BYTES", block)
    content = b"..GCOLGCOL....GCOL" + bytes(30) + b"GCOL"
    file = io.BytesIO(content)
    found = []
    for place in hdf5_checks._places(file, b"GCOL"):
        found.append(place)
        file.seek(3)  # others read from it meanwhile
    assert found == [2, 6, 14, 48]
    assert list(hdf5_checks._places(io.BytesIO(b""), b"GCOL")) == []
