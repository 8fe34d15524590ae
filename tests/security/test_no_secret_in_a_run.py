"""A whole run with secrets in its environment: none is in anything that it wrote or said."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import h5py
import pytest
from fakes.chain import SNAKEFILE, called, user_environment
from safetensors import safe_open

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "7Qz-aws-4f1b9c",
    "GITHUB_TOKEN": "7Qz-github-88d0e2",
    "SLURM_JWT": "7Qz-slurm-31aa57",
    "PIP_INDEX_URL": "https://someone:7Qz-mirror-c09e44@mirror.example.org/simple",
    "HTTPS_PROXY": "http://someone:7Qz-proxy-5be216@proxy.example.org:3128",
    "PGPASSWORD": "7Qz-database-e6f370",
}


def shapes(secret: str) -> list[bytes]:
    """What a secret may look like: as it is, and in base64 at each of the three offsets.

    Snakemake hands settings to its jobs in base64.
    """
    found = [secret.encode()]
    for offset in range(3):
        packed = base64.b64encode(b"\0" * offset + secret.encode())
        # The ends depend on what stands beside it.
        found.append(packed[4 if offset else 0 : -4])
    return found


def traces(folder: Path, *texts: str) -> list[str]:
    """Which secrets are in which file below a folder, in its name or content, or in a text."""
    told = {f"text {k}": text.encode() for k, text in enumerate(texts)}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        told[name] = name.encode()
        if path.is_file():
            told[name] += path.read_bytes()
            if path.suffix == ".h5":
                told[name] += unpacked(path)
    return [
        f"{key} in {name}"
        for key, value in SECRETS.items()
        for name, content in told.items()
        # Of an address only its password is secret.
        if any(s in content for s in shapes(re.search(r"7Qz-[\w-]+", value)[0]))
    ]


def unpacked(path: Path) -> bytes:
    """Data and attributes of an HDF5 file, which may be packed."""
    parts: list[bytes] = []

    def take(_: str, item: h5py.HLObject) -> None:
        parts.extend(repr(value).encode() for value in item.attrs.values())
        if isinstance(item, h5py.Dataset):
            parts.append(item[()].tobytes())

    with h5py.File(path) as file:
        take("", file)
        file.visititems(take)
    return b"".join(parts)


@pytest.fixture
def run(tmp_path: Path):
    """Run the toy chain, as loudly as Snakemake can, with everything it writes below one folder."""
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    home = tmp_path / "home"
    folders = {"HOME": str(home), "TMPDIR": str(tmp_path / "tmp")}
    env = {**user_environment(home), **folders, **SECRETS}
    loud = ["--verbose", "--printshellcmds", "--show-failed-logs", "--notemp"]
    command = ["snakemake", "--cores", "1", *loud, "-s", SNAKEFILE]

    def start(*settings: str, rc: int) -> str:
        config = ["--config", *settings] if settings else []
        return called(*command, *config, cwd=tmp_path / "work", env=env, rc=rc)

    return start


@pytest.mark.timeout(900)
def test_no_secret_is_in_a_run_that_fails_and_goes_on(run, tmp_path: Path) -> None:
    """Failures are told at length: the shell command, the log, Python's own error."""
    failed = run("train={killed_at: 3}", rc=1)
    assert "Error in rule train" in failed
    done = run(rc=0)

    work = tmp_path / "work"
    logs = list((work / ".snakemake" / "log").glob("*.snakemake.log"))
    assert len(logs) == 2
    assert any("Error in rule train" in log.read_text() for log in logs)
    assert list((work / ".snakemake" / "metadata").iterdir())
    assert (work / "logs" / "toy" / "train.log").is_file()
    assert (work / "results" / "toy" / "report" / "index.html").is_file()
    with safe_open(work / "results" / "toy" / "model.safetensors", "np") as weights:
        record = weights.metadata()["provenance"]
    # The job saw this environment and wrote of it what is on the list.
    assert "'OMP_NUM_THREADS': '1'" in record

    assert traces(tmp_path, failed, done) == []


def test_the_search_would_find_them(tmp_path: Path) -> None:
    """In a text, a log, a name, a packed dataset, an attribute, and in base64."""
    assert traces(tmp_path, json.dumps(SECRETS)) == [f"{key} in text 0" for key in SECRETS]
    key, value = next(iter(SECRETS.items()))
    for offset in range(3):
        (tmp_path / "a.log").write_bytes(base64.b64encode(b"x" * offset + value.encode() + b"yz"))
        assert traces(tmp_path) == [f"{key} in a.log"]
    (tmp_path / "a.log").rename(tmp_path / value)
    assert f"{key} in {value}" in traces(tmp_path)
    (tmp_path / value).unlink()
    letters = [[ord(c) for c in value]] * 50
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=letters, dtype="u1", compression="gzip")
    assert traces(tmp_path) == [f"{key} in a.h5"]


@pytest.mark.timeout(600)
def test_what_is_put_into_settings_is_told(run, tmp_path: Path) -> None:
    """As the documentation warns: settings are no place for a secret, and the search sees it."""
    refused = run(f"seed={SECRETS['GITHUB_TOKEN']}", rc=1)
    assert "GITHUB_TOKEN in text 0" in traces(tmp_path, refused)
