"""Weights that are programs, texts that build objects, names that climb out of a folder."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from physml.cavities.data.masks import read_mask
from physml.config import load_settings, read_config
from physml.exceptions import InputError, PhysmlError
from physml.io.catalogues import read_catalogue
from physml.io.weights import load_weights, read_metadata, read_shapes
from physml.models import Model


class Attack:
    """Unpickled, it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def pickles(trace: Path) -> dict[str, bytes]:
    attack = Attack(trace)
    found = {f"protocol {p}": pickle.dumps(attack, protocol=p) for p in range(6)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # the form of torch.save
        archive.writestr("archive/data.pkl", pickle.dumps(attack))
    found["zip"] = buffer.getvalue()
    return found


@pytest.mark.parametrize("kind", ["zip", *(f"protocol {p}" for p in range(6))])
def test_pickled_weights_are_refused_unread(tmp_path: Path, kind: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "model.safetensors"
    path.write_bytes(pickles(trace)[kind])
    for reader in (load_weights, read_metadata, read_shapes, Model.load):
        with pytest.raises(
            InputError, match=r"safetensors format, found .*(pickle|kind)"
        ) as caught:
            reader(path)
        assert str(path) in str(caught.value)
    assert not trace.exists()


def test_torch_checkpoint_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="pickled weights run code"):
        load_weights(path)


def tensor(shape: list[int], end: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}


def container(header: dict, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x10",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 100_002) + b"{" + b"[" * 100_001,
        container({"a": tensor([1 << 40], 4)}, bytes(4)),
        container({"a": tensor([4], 1 << 40)}, bytes(16)),
        container({"a": tensor([4], 16)}, bytes(8)),
        container({"a": tensor([4], 16, "F99")}, bytes(16)),
        container({"a": tensor([4], 16), "b": tensor([4], 16)}, bytes(16)),
        container({"a": [1]}, bytes(16)),
        container({"__metadata__": [1]}, b""),
        container({"a": tensor([1], 4)}, struct.pack("<f", float("nan"))),
    ],
)
def test_damaged_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir", "!!python/name:os.mkdir"],
)
def test_yaml_builds_no_objects(tmp_path: Path, tag: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "config.yaml"
    path.write_text(f"seed: {tag} ['{trace}']\n")
    with pytest.raises(InputError, match="YAML"):
        read_config(path)
    ecsv = tmp_path / "t.ecsv"
    ecsv.write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\n"
        f"# meta: {tag} ['{trace}']\n# schema: astropy-2.0\na\n1\n"
    )
    with pytest.raises(InputError, match="ECSV"):
        read_catalogue(ecsv)
    assert not trace.exists()


def test_yaml_bomb(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="aliases"):
        read_config(path)


def test_large_or_deep_config(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("#" * (5 << 20))
    with pytest.raises(InputError, match="bytes"):
        read_config(path)
    path.write_text("a: " + "[" * 20_000)
    with pytest.raises(InputError, match="YAML"):
        read_config(path)


def test_settings_given_as_code_stay_texts() -> None:
    from physml.config import PipelineSettings

    with pytest.raises(PhysmlError, match="seed"):
        load_settings(PipelineSettings, {"seed": "__import__('os').getpid()"})


@pytest.mark.parametrize(
    "text", ["image\nblob(1,2,3)\n", "image\ncircle(1,2\n", "\x00\x01", "hello"]
)
def test_unknown_regions_are_not_left_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mask.reg"
    path.write_text(text)
    with pytest.raises(InputError, match="mask"):
        read_mask(path, np.ones((8, 8)), None)
