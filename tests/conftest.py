"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Where the environment asks for no bytecode beside the sources, it is kept here: else each of the
# processes that the tests start would compile torch and Snakemake anew, which takes seconds.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(ROOT / ".pytest_cache" / "__pycache__")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


@pytest.fixture(scope="session")
def root() -> Path:
    """Top folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real and reference data; the test is skipped where it is absent."""
    given = os.environ.get("PHYSML_SHARED_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set PHYSML_SHARED_DATA to their folder")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """One thread for small matrices: faster here, and the same sums on every machine."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
