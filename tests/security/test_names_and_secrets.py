"""Names from files never become paths; secrets reach no log, no record and no message."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from physml import datasets as data
from physml import provenance
from physml.cli.main import main
from physml.exceptions import InputError, PhysmlError
from physml.io.weights import save_weights
from physml.models import Model

CANARY = "c4n4ry-7f3a91"
HOSTILE = ["../evil", "/etc/evil", "a/b", "..", "C:\\evil", "a\x00b", "~/evil", ".hidden/../../x"]
HOSTILE += [""]
SMALL = {
    "simulate": {"n_samples": 6, "shard_size": 6, "n_qubits": [1]},
    "preprocess": {"valid": 0.3, "test": 0.3},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_weights_cannot_name_a_path_as_their_pipeline(tmp_path: Path, name: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(1)}, {"pipeline": name})
    with pytest.raises(InputError, match="one of the pipelines"):
        Model.load(path)


@pytest.mark.parametrize("name", [*HOSTILE, "x" * 200])
def test_a_laboratory_folder_takes_no_path_as_an_id(tmp_path: Path, name: str) -> None:
    from dataclasses import replace

    from physml.tomography.core.measurements import pauli_settings
    from physml.tomography.data.laboratory import FolderLaboratory

    asked = tmp_path / "inner" / "lab"
    asked.mkdir(parents=True)
    laboratory = FolderLaboratory(asked, timeout=0.01)
    with pytest.raises(PhysmlError, match="id"):
        laboratory.measure(replace(pauli_settings(1)[0], id=name))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_what_an_image_calls_itself_is_no_path(tmp_path: Path) -> None:
    """The object's name and the author's words stay inside of the files."""
    from astropy.io import fits

    from physml.io.fits import open_image, write_image

    evil = fits.Header({"OBJECT": "../../evil", "FILENAME": "/tmp/evil", "EXTNAME": "../evil"})
    inside = tmp_path / "in"
    write_image(inside / "a.fits", np.ones((4, 4)), header=evil)
    found = open_image(inside / "a.fits")
    write_image(inside / "b.fits", found.data, header=found.header)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["in/a.fits", "in/b.fits"]


@pytest.fixture
def secrets(monkeypatch) -> None:
    """An environment as a workflow manager or a cloud sets it."""
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PASSWORD", "PHYSML_SECRET", "HOSTNAME"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}@proxy.example.org")


def test_the_environment_is_recorded_by_an_allow_list(secrets, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    made = provenance.record("test", {"seed": 1})
    assert CANARY not in json.dumps(made)
    assert made["environment"]["OMP_NUM_THREADS"] == "3"
    assert set(made["environment"]) <= set(provenance.ENVIRONMENT)
    # Nothing on the list is of a kind that holds a secret.
    assert not re.search("KEY|TOKEN|PASS|SECRET|PROXY|USER|HOME", " ".join(provenance.ENVIRONMENT))


def test_no_stage_writes_a_secret_anywhere(secrets, tmp_path: Path, capfd) -> None:
    """Simulate, preprocess and describe, as loudly as it goes."""
    settings = ["--settings", json.dumps(SMALL), "-vv"]
    raw, out = tmp_path / "0.h5", tmp_path / "data"
    assert main(["tomography", "simulate", *settings, "-o", str(raw)]) == 0
    assert main(["tomography", "preprocess", *settings, str(raw), "-o", str(out)]) in (0, 2)
    assert main(["tomography", "simulate", *settings, "-o", str(raw)]) == 2  # refused, at length
    assert main(["info", str(raw)]) == 0
    captured = capfd.readouterr()
    assert "tomography simulate" in captured.err
    assert CANARY not in captured.out + captured.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert raw in files
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path


def test_records_say_nothing_of_the_folders_of_a_machine() -> None:
    settings = {
        "train": {"init": "/home/someone/secret project/model.safetensors", "rate": 1e-3},
        "simulate": {"detector": "~/mine/camera.yaml", "other": ["C:\\Users\\x\\y.yaml", "acis/i"]},
    }
    kept = provenance.record("train", settings, extra={"from": "/srv/a/b.h5"})
    assert kept["settings"] == {
        "train": {"init": "model.safetensors", "rate": 1e-3},
        "simulate": {"detector": "camera.yaml", "other": ["y.yaml", "acis/i"]},
    }
    assert kept["extra"] == {"from": "b.h5"}


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://user:tok@example.org/a b", "https://...@example.org/a b"),
        ("https://tok@example.org:8080/a", "https://...@example.org:8080/a"),
        ("for url: https://h/x?sig=tok&a=1 (1)", "for url: https://h/x?... (1)"),
        ("https://h/x", "https://h/x"),
    ],
)
def test_addresses_are_shown_without_passwords(url: str, seen: str) -> None:
    assert data._shown(url) == seen


def test_a_mirror_with_a_password_is_not_told(tmp_path: Path, capfd) -> None:
    name = next(iter(data.manifest()))
    mirror = f"http://user:{CANARY}@127.0.0.1:9/x"
    folder = str(tmp_path)
    assert main(["-vv", "data", "fetch", name, "--base-url", mirror, "-o", folder, "--force"]) == 1
    captured = capfd.readouterr()
    assert "127.0.0.1" in captured.err
    told = "\n".join(line for line in captured.err.splitlines() if line.startswith(("Error", "20")))
    assert CANARY not in told
