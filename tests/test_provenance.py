"""Run records: what they hold, what they leave out, reading them back."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
from pathlib import Path

import numpy as np
import pytest

from physml import provenance
from physml.config import PipelineSettings
from physml.exceptions import InputError
from physml.io import atomic, catalogues, fits, origin, shards, weights
from physml.io.describe import describe


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.h5").write_bytes(b"bb")
    (folder / "deep" / "a.h5").write_bytes(b"aaa")
    (folder / ".hidden").write_bytes(b"x")
    return folder


def test_record_says_what_from_what_and_when(inputs: Path) -> None:
    found = provenance.record(
        "train",
        PipelineSettings(seed=7),
        {"data": inputs, "one": inputs / "b.h5", "raw": [inputs / "b.h5"]},
        {"shard": np.int64(3)},
    )
    assert (found["stage"], found["seed"], found["status"]) == ("train", 7, 0)
    assert found["settings"]["simulate"]["n_samples"] == 1000
    # printf bb | sha256sum
    sha = "3b64db95cb55c763391c707108489ae18b4112d783300de38e033b4c98c3deaf"
    one = {"file": "b.h5", "bytes": 2, "sha256": sha}
    assert (found["inputs"]["one"], found["inputs"]["raw"]) == (one, [one])
    assert list(found["inputs"]["data"]) == ["b.h5", "deep/a.h5"]
    assert found["extra"] == {"shard": 3}
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["numpy"] == np.__version__
    for time in (found["started"], found["ended"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time)
    assert json.loads(json.dumps(found)) == found


def test_record_is_silent_about_the_machine(inputs: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = provenance.record("train", {"init": inputs / "b.h5"}, {"data": inputs})
    text = json.dumps(found)
    assert found["environment"]["OMP_NUM_THREADS"] == "3"
    assert set(found["environment"]) <= set(provenance.ENVIRONMENT)
    for private in ("hunter2", str(inputs), platform.node(), os.path.expanduser("~")):
        assert private not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


def test_start_is_that_of_the_run(monkeypatch) -> None:
    monkeypatch.setattr(provenance, "now", iter(["start", "end", "later", "later"]).__next__)
    with provenance.run():
        found = provenance.record("x", {})
    assert (found["started"], found["ended"]) == ("start", "end")
    assert provenance.record("x", {})["started"] == "later"


def test_jsonable() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd"

    value = {
        1: (np.float32(0.5), np.arange(2), True, None),
        "nan": [float("nan"), float("inf"), np.float64("nan")],
        "set": {"b", "a"},
        "path": Path("/home/somebody/x.fits"),
        "bytes": b"x",
        "odd": Odd(),
    }
    assert provenance.jsonable(value) == {
        "1": [0.5, [0, 1], True, None],
        "nan": ["nan", "inf", "nan"],
        "set": ["a", "b"],
        "path": "x.fits",
        "bytes": "x",
        "odd": "odd",
    }


def write(kind: str, path: Path, record: dict) -> None:
    match kind:
        case "h5":
            shards.write_shard(path, {"x": np.arange(3)}, provenance=record)
        case "fits" | "fits.gz":
            fits.write_image(path, np.zeros((3, 4)), provenance=record)
        case "ecsv":
            from astropy.table import QTable

            catalogues.write_catalogue(path, QTable({"x": [1.0]}), record)
        case "safetensors":
            import torch

            weights.save_weights(path, {"a": torch.zeros(3)}, {"provenance": record})
        case "json":
            atomic.write_json(path, {"provenance": record})
        case "png":
            import matplotlib.figure

            metadata = {"provenance": provenance.dumps(record)}
            matplotlib.figure.Figure().savefig(path, metadata=metadata)


KINDS = {kind: kind for kind in ("fits", "ecsv", "safetensors", "json", "png")}
KINDS |= {"h5": "hdf5", "fits.gz": "fits"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["plain", 'ä " \\ \n tab\t', "x" * 100_000])
def test_every_format_gives_back_the_record(tmp_path: Path, kind: str, text: str) -> None:
    path = tmp_path / f"a.{kind}"
    record = provenance.record("predict", {"seed": 3, "text": text})
    write(kind, path, record)
    assert origin.read(path) == record
    found = describe(path)
    assert found["provenance"] == record
    assert found["format"] == KINDS[kind]
    assert found["sha256"] == provenance.sha256(path)
    assert found["bytes"] == path.stat().st_size


def test_contents_are_described(tmp_path: Path) -> None:
    for kind, contents in {
        "h5": {"x": "int64 (3,)"},
        "fits": {"0 PRIMARY": "image, 4 x 3", "1 PROVENANCE": None},
        "ecsv": {"rows": 1, "columns": {"x": "float64"}},
        "safetensors": {"tensors": 1, "parameters": 3, "types": ["F32"], "metadata": {}},
    }.items():
        write(kind, tmp_path / f"a.{kind}", provenance.record("x", {}))
        found = describe(tmp_path / f"a.{kind}")["contents"]
        assert set(found) == set(contents)
        for name, expected in contents.items():
            assert expected is None or found[name] == expected


def test_file_without_a_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    assert origin.find(tmp_path / "a.json") is None
    with pytest.raises(InputError, match="none in it"):
        origin.read(tmp_path / "a.json")
    fits.write_image(tmp_path / "a.fits", np.zeros((2, 2)))
    assert origin.find(tmp_path / "a.fits") is None
    assert describe(tmp_path / "a.fits")["provenance"] is None


@pytest.mark.parametrize("content", [b"", b"text", b"\x00" * 100])
def test_unknown_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    for reader in (origin.read, describe):
        with pytest.raises(InputError, match="another kind of file"):
            reader(path)
        with pytest.raises(InputError, match="no such file"):
            reader(tmp_path / "none")
        with pytest.raises(InputError, match="a folder"):
            reader(tmp_path)


@pytest.mark.parametrize("cut", [20, 60, 200])
def test_truncated_png(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.png"
    write("png", path, provenance.record("x", {"text": "y" * 1000}))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="truncated") as caught:
        origin.find(path)
    assert str(path) in str(caught.value)
