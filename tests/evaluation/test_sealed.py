"""The ledger of test sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from physml.evaluation import sealed
from physml.exceptions import InputError
from physml.pipeline import pipeline_names

HEAD = "| set | looked at | what was seen | decided from it |\n|---|---|---|---|\n"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a ledger that is taken for that of any science."""

    def write(text: str) -> Path:
        path = tmp_path / "SEALED.md"
        path.write_text(text)
        monkeypatch.setattr(sealed, "path_of", lambda science: path)
        return path

    return write


def test_a_set_is_sealed_until_something_is_decided_from_it(ledger) -> None:
    ledger(
        "# Sets\n\nWords.\n\n"
        + HEAD
        + "| `clean`, `none` | 2026-11-01 | F1 | nothing |\n"
        + "| `clean` | 2026-11-03 | F1 | a rule |\n"
        + "| `none` | 2026-11-05 | alarms | nothing |\n"
    )
    looks = sealed.ledger("any")
    assert [look.name for look in looks] == ["clean", "none", "clean", "none"]
    assert sealed.remark("any", "clean") == "not sealed, decided from it: a rule (2026-11-03)"
    assert sealed.remark("any", "none").startswith("sealed: looked at 2 times, last on 2026-11-05")
    assert sealed.remark("any", "other") == "not in the ledger of test sets"
    assert list(sealed.remarks("any")) == ["clean", "none"]


def test_without_the_folders_of_the_pipelines_nothing_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sealed, "path_of", lambda science: tmp_path / "none.md")
    assert sealed.remark("any", "clean") == ""
    assert sealed.ledger("any") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# Sets\n", "no table"),
        ("| set | day |\n|---|---|\n", "found set | day"),
        (HEAD + "| `a` | 2026-11-01 | F1 |\n", "4 cells"),
        (HEAD + "| a | 2026-11-01 | F1 | nothing |\n", "backticks"),
        (HEAD + "| `a` | yesterday | F1 | nothing |\n", "a day"),
        (HEAD + "| `a` | 2026-11-02 | F | x |\n| `a` | 2026-11-01 | F | x |\n", "oldest"),
    ],
)
def test_a_ledger_that_cannot_be_read_is_named(ledger, text: str, told: str) -> None:
    path = ledger(text)
    with pytest.raises(InputError, match=told.replace("|", r"\|")) as error:
        sealed.ledger("any")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("science", pipeline_names())
def test_every_science_has_its_ledger(science: str) -> None:
    assert sealed.ledger(science)
