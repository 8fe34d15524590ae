"""Bars appear where a person looks, and nowhere else."""

from __future__ import annotations

import logging
import multiprocessing

import pytest

from physml.progress import show_progress


@pytest.fixture
def level():
    """Restore the level of the package's log."""
    logger = logging.getLogger("physml")
    before = logger.level
    yield logger.setLevel
    logger.setLevel(before)


def shown(monkeypatch, capsys, terminal: bool = True, wanted: bool = True) -> str:
    import sys

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with show_progress("fields", 2, wanted) as advance:
        advance(1)
        advance(1)
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_bar_on_a_terminal(monkeypatch, capsys) -> None:
    assert "fields" in shown(monkeypatch, capsys)


def test_none_where_nobody_looks(monkeypatch, capsys) -> None:
    assert shown(monkeypatch, capsys, terminal=False) == ""
    assert shown(monkeypatch, capsys, wanted=False) == ""


def test_none_where_the_log_keeps_to_errors(monkeypatch, capsys, level) -> None:
    level(logging.ERROR)
    assert shown(monkeypatch, capsys) == ""
    level(logging.WARNING)
    assert "fields" in shown(monkeypatch, capsys)


def test_none_in_a_process_that_another_started(monkeypatch, capsys) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    assert shown(monkeypatch, capsys) == ""
