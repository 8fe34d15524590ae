"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import re
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

#: Reasons for which a test may be skipped; any other skip is a failure, or nobody would notice
#: what is never tested. With the real data beside the clone, as root in a container, three remain:
#: no Chromium, root that may write everywhere, Bell pairs of one qubit.
ALLOWED_SKIPS = re.compile(
    "real data not found"
    "|the twin photons are not among the shared data"
    "|no (CUDA|GPU)"
    "|no Chromium on this machine"
    "|no make on this machine"
    "|needs Linux|on Linux only"
    "|needs root|root may write everywhere|not allowed here|cannot be mounted here|may not mount"
    "|Bell pairs need an even number of qubits"
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Let a skip fail that is not on the list; what needs a cluster says itself what it lacks."""
    report = yield
    return report if item.get_closest_marker("cluster") else _allowed(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    """The same for a skip of a whole file."""
    return _allowed((yield))


def _allowed(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        if not ALLOWED_SKIPS.search(reason):
            report.outcome = "failed"
            report.longrepr = f"{reason}\nThis is no reason of ALLOWED_SKIPS in tests/conftest.py."
    return report


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
