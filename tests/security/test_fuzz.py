"""Hostile files, a few of each kind: each is read or refused, and nothing else ever happens.

``make fuzz`` tries the same for as long as one wants.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fuzz import guard
from fuzz.targets import TARGETS, check, readers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Drawing a changed file out of many seeds is slow on a busy machine, and no fault.
CALM = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_files_are_read_or_refused(name: str) -> None:
    @CALM
    @given(TARGETS[name].content())
    def fuzz(content: bytes) -> None:
        check(name, content)

    fuzz()


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_starts_from_files_that_are_read(name: str) -> None:
    """Or it would fuzz nothing but the refusal of another kind of file."""
    for content in TARGETS[name].seeds().values():
        assert check(name, content)[0] >= 1


@CALM
@given(content=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for name in TARGETS:
        check(name, content)


def opens_other_files(path: Path) -> None:
    open("/etc/hosts").close()


def never_ends(path: Path) -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("reader", "error", "match"),
    [
        (lambda path: {}["missing"], KeyError, "missing"),
        (opens_other_files, AssertionError, "opened /etc/hosts"),
        (lambda path: subprocess.run(["true"]), AssertionError, r"subprocess\.Popen"),
        (never_ends, guard.TooSlow, "processor time"),
    ],
)
def test_a_bad_reader_is_noticed(monkeypatch, reader, error, match: str) -> None:
    monkeypatch.setattr(guard, "SECONDS", 1.0)
    monkeypatch.setattr("fuzz.targets.readers", lambda name: (reader,))
    with pytest.raises(error, match=match):
        check("sessions", b"x")


def test_all_readers_are_there() -> None:
    numbers = {"hdf5": 5, "fits": 8, "archives": 2, "safetensors": 4, "settings": 3}
    numbers |= {"regions": 2, "records": 6, "sessions": 3, "texts": 7, "states": 1}
    assert {name: len(readers(name)) for name in TARGETS} == numbers
