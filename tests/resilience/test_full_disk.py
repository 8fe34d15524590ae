"""A disk that is full or read-only: a clear error, nothing half-written, and it goes on after."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import h5py
import pytest

from physml.cli.main import main

SETTINGS = {
    "simulate": {
        **{"n_samples": 100, "shard_size": 100, "batch": 100, "n_qubits": [2]},
        **{"copies": 300, "designer": "none"},
    },
    "preprocess": {"valid": 0.2, "test": 0.2},
}


@pytest.fixture
def disk(tmp_path: Path):
    """A file system of our own, whose size and mode can be changed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a file system of its own needs root and mount")

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "physml-test", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")

    mount("size=96k")
    yield folder, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", str(folder)], check=True)


def stage(name: str, *arguments: object) -> int:
    return main(["tomography", name, "--settings", json.dumps(SETTINGS), *map(str, arguments)])


def left(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def digest(path: Path) -> str:
    with h5py.File(path) as file:
        return str(file.attrs["sha256"])


def test_a_full_disk(disk, tmp_path: Path, capsys) -> None:
    folder, remount = disk
    undisturbed = tmp_path / "0.h5"
    assert stage("simulate", "-o", undisturbed) == 0
    assert undisturbed.stat().st_size > 96 << 10  # or the disk is not full
    capsys.readouterr()

    assert stage("simulate", "-o", folder / "raw" / "0.h5") == 2
    message = capsys.readouterr().err
    assert "expected room for the output, found no space left on device" in message
    assert str(folder / "raw" / "0.h5") in message
    assert left(folder) == []

    remount("size=16m")
    assert stage("simulate", "-o", folder / "raw" / "0.h5") == 0
    assert digest(folder / "raw" / "0.h5") == digest(undisturbed)

    # A stage that makes a folder: there is room for some of its files.
    remount(f"size={(folder / 'raw' / '0.h5').stat().st_size // 1024 + 120}k")
    assert stage("preprocess", folder / "raw" / "0.h5", "-o", folder / "data") == 2
    assert "room for the output" in capsys.readouterr().err
    assert left(folder) == ["raw/0.h5"]
    remount("size=16m")
    assert stage("preprocess", folder / "raw" / "0.h5", "-o", folder / "data") == 0
    assert {"data/train.h5", "data/valid.h5", "data/test.h5"} <= set(left(folder))


def test_a_read_only_folder(disk, capsys) -> None:
    folder, remount = disk
    remount("size=16m,ro")
    assert stage("simulate", "-o", folder / "0.h5") == 2
    message = capsys.readouterr().err
    assert "expected a place that can be written to, found read-only file system" in message
    assert left(folder) == []
    remount("size=16m,rw")
    assert stage("simulate", "-o", folder / "0.h5") == 0
