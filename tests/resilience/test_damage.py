"""Files that are damaged after they were written: found by checksum, named, and made anew."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.cli.main import main
from physml.exceptions import InputError
from physml.io.integrity import verify, verify_shard
from physml.io.shards import ShardWriter, Spec, open_shard, read_shard, write_shard
from physml.io.weights import load_weights, read_digest, read_metadata, save_weights

COUNTS = np.random.default_rng(0).poisson(3, (3, 4, 4)).astype(np.uint16)
TABLE = np.zeros(3, [("x", "f4"), ("on", "?")])
RECORD = {"stage": "simulate", "settings": {"seed": 1}}
SPEC = {"counts": Spec("u2"), "index": Spec("i8"), "t": Spec(TABLE.dtype, optional=True)}


def write(path: Path) -> bytes:
    arrays = {"counts": COUNTS, "index": np.arange(3)}
    write_shard(path, arrays, tables={"t": TABLE}, provenance=RECORD)
    return path.read_bytes()


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("shard") / "a.h5"
    return path, write(path)


def same(path: Path) -> bool:
    """Whether the file gives what was written."""
    with open_shard(path, SPEC) as found:
        values = {name: found.read(name) for name in found.names}
        record = found.provenance
    return (
        record == RECORD
        and set(values) == set(SPEC)
        and np.array_equal(values["counts"], COUNTS)
        and np.array_equal(values["index"], np.arange(3))
        and np.array_equal(values["t"], TABLE)
    )


def flip(damaged: tuple[Path, bytes], place: int, bit: int) -> Path:
    """File with one bit changed."""
    path, whole = damaged
    raw = bytearray(whole)
    raw[place] ^= 1 << bit
    path.write_bytes(raw)
    return path


def check_shard(shard: tuple[Path, bytes], place: int, bit: int) -> None:
    path = flip(shard, place, bit)
    refusal = None
    try:
        verify_shard(path)
    except InputError as error:
        refusal = str(error)
    if refusal is None:
        assert same(path), place  # of the bytes between the objects nobody asks
    else:
        assert str(path) in refusal
        assert "--forcerun" in refusal


@settings(deadline=None, max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_changes_nothing(shard, place: float, bit: int) -> None:
    check_shard(shard, int(place * len(shard[1])), bit)


@pytest.mark.slow
def test_every_single_bit_of_a_shard(shard) -> None:
    for place in range(len(shard[1])):
        check_shard(shard, place, place % 8)


@settings(deadline=None, max_examples=50)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_shard_cut_short_is_found(shard, share: float) -> None:
    path, whole = shard
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"a\.h5"):
        verify_shard(path)


def test_a_damaged_shard_is_refused_by_both_readers(tmp_path: Path) -> None:
    path = tmp_path / "3.h5"
    with ShardWriter(path, provenance=RECORD) as writer:
        writer.append({"x": np.arange(60, dtype=np.uint8).reshape(3, 20)})
    assert verify_shard(path)
    with h5py.File(path, "r+") as file:  # well packed, and wrong
        file["x"][1, 2] += 1
    with pytest.raises(InputError, match="SHA-256"):
        read_shard(path, {"x": Spec("u1")})
    with pytest.raises(InputError, match=r"3\.h5: expected 'x' with SHA-256 .*damaged"):
        open_shard(path, {"x": Spec("u1")}, verify=True)


def without_a_table(file: h5py.File) -> None:
    del file["t"]


def with_another_record(file: h5py.File) -> None:
    file.attrs["provenance"] = file.attrs["provenance"].replace('"seed": 1', '"seed": 2')


@pytest.mark.parametrize(
    ("change", "match"),
    [(without_a_table, "all datasets"), (with_another_record, "provenance")],
)
def test_what_a_reader_would_not_miss_is_missed(tmp_path: Path, change, match: str) -> None:
    path = tmp_path / "a.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=match):
        verify_shard(path)


def test_files_of_others_have_nothing_to_compare(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = COUNTS
    assert not verify(tmp_path / "a.h5")


STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_weights(path, STATE, {"pipeline": "cavities", "threshold": 0.25})
    return path, path.read_bytes()


def test_the_digest_is_not_metadata(weights) -> None:
    path, whole = weights
    path.write_bytes(whole)
    assert read_metadata(path) == {"pipeline": "cavities", "threshold": 0.25}
    assert load_weights(path)[1] == read_metadata(path)
    assert read_digest(path) is not None
    assert verify(path)


@settings(deadline=None, max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_weights_is_found(weights, place: float, bit: int) -> None:
    path = flip(weights, int(place * len(weights[1])), bit)
    try:
        found, metadata = load_weights(path)
    except InputError:
        return
    # A space of the padding may become a tab, and the digest's own name another key.
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)
    assert metadata["threshold"] == 0.25


def test_info_checks_files_and_names_the_damaged(tmp_path: Path, capsys) -> None:
    good, bad = tmp_path / "good.h5", tmp_path / "bad.h5"
    write(good)
    bad.write_bytes(write(bad).replace(b"TREE", b"TREF"))
    assert main(["info", "--check", str(good)]) == 0
    assert "checked: as it was written" in capsys.readouterr().out
    assert main(["info", "--check", str(bad), str(good)]) == 2
    captured = capsys.readouterr()
    assert str(bad) in captured.err
    assert "good.h5" in captured.out
