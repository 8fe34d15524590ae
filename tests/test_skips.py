"""Only tests with a reason that is listed may be skipped."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.parametrize("reason", ["real data not found at /x", "no GPU", "no time", "numpy"])
def test_skipped(reason):
    pytest.skip(reason)

@pytest.mark.skipif(True, reason="forgotten")
def test_marked():
    pass

@pytest.mark.cluster
def test_on_a_cluster():
    pytest.skip("no Slurm here")

@pytest.mark.xfail
def test_expected_to_fail():
    assert False
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_skip_that_is_not_listed_fails(root: Path, tmp_path: Path, workers: str) -> None:
    shutil.copy(root / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = cluster\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.importorskip('no_such')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider"]
    command += ["--continue-on-collection-errors", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    refused = re.findall(r"^(?:ERROR|FAILED) (?:.*/)?(\S+.*?) - ", done.stdout, re.M)
    names = ["skipped[no time]", "skipped[numpy]", "marked"]
    expected = {"test_whole.py", *(f"test_some.py::test_{name}" for name in names)}
    assert set(refused) == expected, done.stdout
    assert re.search("3 skipped, 1 xfailed, 2 errors", done.stdout)
    assert done.returncode == 1
