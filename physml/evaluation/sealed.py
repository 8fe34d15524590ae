"""Ledger of the test sets: who looked at which set, when, and what was decided from it.

A test set proves something only as long as nothing was chosen from what it said. Each pipeline
keeps a ledger of its sets, ``pipelines/<science>/SEALED.md``, a table with one row a look;
evaluations and benchmarks print from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from physml.exceptions import InputError
from physml.io.files import require_file

#: Columns of the table.
COLUMNS = ("set", "looked at", "what was seen", "decided from it")
#: Word of the last column where a look changed nothing.
NOTHING = "nothing"


@dataclass(frozen=True)
class Look:
    """One row of the ledger.

    Attributes
    ----------
    name : str
        Set, as the evaluation names it.
    date : str
        Day, ISO 8601.
    seen : str
        Figures or pictures that were looked at.
    decided : str
        Choice that was made from them, or "nothing".
    """

    name: str
    date: str
    seen: str
    decided: str


def path_of(science: str) -> Path:
    """Place of a pipeline's ledger in a checkout."""
    return Path(__file__).parents[2] / "pipelines" / science / "SEALED.md"


def ledger(science: str) -> list[Look]:
    """All looks at the sets of a science, oldest first.

    Parameters
    ----------
    science : str

    Returns
    -------
    list of Look
        Empty where the package is installed without its pipelines' folders.

    Raises
    ------
    InputError
        The table is not as it should be.
    """
    path = path_of(science)
    return read(path) if path.exists() else []


def read(path: Path) -> list[Look]:
    """Looks in one file.

    Raises
    ------
    InputError
        No such table, or a row with other columns, a set without backticks, or no day.
    """
    lines = require_file(path, "a ledger of test sets").read_text("utf-8").splitlines()
    rows = [_cells(line) for line in lines if line.startswith("|")]
    if not rows or tuple(rows[0]) != COLUMNS:
        found = " | ".join(rows[0]) if rows else "no table"
        raise InputError.expected(path, f"a table with the columns {' | '.join(COLUMNS)}", found)
    looks = []
    for row in rows[2:]:
        if len(row) != len(COLUMNS):
            raise InputError.expected(path, f"{len(COLUMNS)} cells in a row", " | ".join(row))
        names = re.findall(r"`([^`]+)`", row[0])
        if not names or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", row[1]):
            raise InputError.expected(path, "a set in backticks and a day", " | ".join(row[:2]))
        looks += [Look(name, *row[1:]) for name in names]
    if [look.date for look in looks] != sorted(look.date for look in looks):
        raise InputError.expected(path, "the oldest look first", "another order")
    return looks


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def remark(science: str, name: str) -> str:
    """Sentence on what a set can still prove.

    Parameters
    ----------
    science : str
    name : str
        Set, as the evaluation names it.

    Returns
    -------
    str
        Without a full stop; empty where there is no ledger at hand.
    """
    if not path_of(science).exists():
        return ""
    looks = [look for look in ledger(science) if look.name == name]
    if not looks:
        return "not in the ledger of test sets"
    used = [look for look in looks if look.decided != NOTHING]
    if used:
        what = "; ".join(f"{look.decided} ({look.date})" for look in used)
        return f"not sealed, decided from it: {what}"
    times = "once" if len(looks) == 1 else f"{len(looks)} times"
    return f"sealed: looked at {times}, last on {looks[-1].date}, nothing decided from it"


def remarks(science: str) -> dict[str, str]:
    """Remark on every set of the ledger, in its order."""
    return {name: remark(science, name) for name in {look.name: None for look in ledger(science)}}
