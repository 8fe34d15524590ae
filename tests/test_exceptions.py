"""Errors: exit codes and messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from physml import exceptions as e

CODES = {e.PhysmlError: 1, e.NonFiniteError: 1, e.Checkpointed: 75}
CODES |= {e.InputError: 2, e.OutputError: 2, e.SettingsError: 2}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_exit_codes_are_the_contract(kind: type[e.PhysmlError], code: int) -> None:
    assert kind("message").exit_code == code
    assert issubclass(kind, e.PhysmlError)


def test_expected_names_file_expectation_and_finding() -> None:
    error = e.InputError.expected(Path("a.fits"), "a 2-D image", "3 axes", "Take one plane.")
    assert str(error) == "a.fits: expected a 2-D image, found 3 axes. Take one plane."
    assert str(e.InputError.expected(None, "x", "y")) == "expected x, found y"
    assert type(e.OutputError.expected("o", "x", "y")) is e.OutputError


def test_non_finite_carries_where_it_happened() -> None:
    error = e.NonFiniteError(
        "loss is nan", step=7, sample_ids=range(100), checkpoint=Path("state/3.pt")
    )
    assert (error.step, error.sample_ids[:2], error.checkpoint) == (7, (0, 1), Path("state/3.pt"))
    message = str(error)
    assert "loss is nan at step 7 with samples 0, 1, 2" in message
    assert "..." in message
    assert "; last good checkpoint: state/3.pt" in message
    assert "no checkpoint" in str(e.NonFiniteError("x", step=1))
    assert str(e.NonFiniteError("x is nan", sample_ids=[4])) == "x is nan with samples 4"


def test_messages_do_nothing_to_a_terminal() -> None:
    hostile = "a\x1b[2J\x00\r\x9b2J\u202e\ud800b\tc\nd"
    message = str(e.PhysmlError(hostile))
    assert message == r"a\x1b[2J\x00\r\x9b2J\u202e\ud800b" + "\tc\nd"
    message.encode("utf-8")
    # A name cannot begin a line of its own, as if it were the next message.
    assert "\n" not in str(e.InputError.expected("x\nError: y", "a", "b\nc"))
    assert len(str(e.InputError("x" * 10**6))) < 2 * e.MAX_MESSAGE
