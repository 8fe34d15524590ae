"""Hostile files, a few of each kind: each is read or refused, and nothing else ever happens.

``make fuzz`` tries the same for as long as one wants.
"""

from __future__ import annotations

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


# ---------------------------------------------------------------- the fuzzer would notice


@pytest.fixture
def bad_reader(monkeypatch):
    """Put a reader of one's own among those of session files."""

    def put(reader) -> None:
        monkeypatch.setattr("fuzz.targets.readers", lambda name: (reader,))

    return put


def test_a_reader_that_fails_is_noticed(bad_reader) -> None:
    bad_reader(lambda path: {}["missing"])
    with pytest.raises(KeyError):
        check("sessions", b"x")


def test_a_reader_that_opens_other_files_is_noticed(bad_reader) -> None:
    bad_reader(lambda path: Path("/etc/hostname").exists() and open("/etc/hosts").close())
    with pytest.raises(AssertionError, match="opened /etc/hosts"):
        check("sessions", b"x")


def test_a_reader_that_runs_a_program_is_noticed(bad_reader) -> None:
    import subprocess

    bad_reader(lambda path: subprocess.run(["true"]))
    with pytest.raises(AssertionError, match=r"subprocess\.Popen"):
        check("sessions", b"x")


def test_a_reader_that_never_ends_is_noticed(bad_reader, monkeypatch) -> None:
    def forever(path: Path) -> None:
        while True:
            pass

    monkeypatch.setattr(guard, "SECONDS", 0.1)
    bad_reader(forever)
    with pytest.raises(guard.TooSlow):
        check("sessions", b"x")


def test_all_readers_are_there() -> None:
    assert {name: len(readers(name)) for name in TARGETS} == {
        "hdf5": 5,
        "fits": 6,
        "archives": 2,
        "safetensors": 4,
        "settings": 3,
        "regions": 2,
        "records": 2,
        "sessions": 3,
        "texts": 7,
        "states": 1,
    }
