"""What `make run` installs is pinned with hashes, and to the versions that were tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .test_files import make, needs_make

BLOCK = re.compile(
    r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ;[^\\]*?)?((?: \\\n    --hash=\S+)+)", re.MULTILINE
)


def blocks(path: Path) -> list[tuple[str, str, str]]:
    return BLOCK.findall(path.read_text())


@pytest.mark.parametrize("name", ["run.txt", "uv.txt"])
def test_every_package_has_a_version_and_hashes(root: Path, name: str) -> None:
    text = (root / "locked" / name).read_text()
    lines = [x for x in text.splitlines() if x and not x.startswith(("#", "    --hash=sha256:"))]
    found = blocks(root / "locked" / name)
    assert len(lines) == len(found) > 0
    for package, _, hashes in found:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", hashes), package


def test_versions_are_those_of_the_constraints(root: Path) -> None:
    pinned: dict[str, set[str]] = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line):
            pinned.setdefault(match[1].lower(), set()).add(match[2])
    for package, version, _ in blocks(root / "locked" / "run.txt"):
        # What only builds physml is not among the constraints.
        assert version in pinned.get(package.lower(), {version}), package


def test_nothing_that_is_needed_is_missing(root: Path) -> None:
    """Each dependency of the package and of the workflow, but torch, is locked."""
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["workflow"]
    names = {re.match(r"[A-Za-z0-9._-]+", item)[0].lower() for item in needed}
    locked = {package.lower() for package, _, _ in blocks(root / "locked" / "run.txt")}
    assert names - locked == {"torch"}
    assert not [name for name in locked if re.match("torch$|triton|nvidia|cuda", name)]


@needs_make
def test_make_checks_hashes(root: Path) -> None:
    out = make(root, "run", "VENV=no-such-venv", PIP_FIND_LINKS="/w").stdout
    assert "--require-hashes --no-deps -r locked/run.txt" in out
    assert "--no-deps --no-build-isolation -e ." in out
    # The build of torch from a folder of one's own has no hash that we know.
    assert re.search(r'with_uv\(\) \{ env UV_FIND_LINKS="/w"', out)
