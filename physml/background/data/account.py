"""Account of an input: what was read, what was assumed, what was left out.

A reader notes here whatever a person would want to check before trusting the numbers. The summary
of the result shows it as one table.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from physml.exceptions import printable

log = logging.getLogger(__name__)

#: Parts of the table, in order.
READ, ASSUMED, LEFT_OUT = "read", "assumed", "left out"
PARTS = (READ, ASSUMED, LEFT_OUT)


@dataclass
class Account:
    """Notes on one input.

    Attributes
    ----------
    label : str
        Name of the input, for the log.
    rows : list of tuple of str
        Part (one of `PARTS`), subject and what is to be said of it.
    aloud : bool
        Log assumptions and what is left out, as warnings.
    """

    label: str = ""
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    aloud: bool = True

    def read(self, what: str, value: str) -> None:
        """Note something that was read, such as ``("frame time", "3.2 s (EXPTIME)")``."""
        row = READ, what, printable(value)
        if row not in self.rows:
            self.rows.append(row)

    def assume(self, text: str, what: str = "") -> None:
        """Note an assumption, and log it as a warning."""
        self._remark(ASSUMED, what, text)

    def leave_out(self, text: str, what: str = "") -> None:
        """Note what was not used, and log it as a warning."""
        self._remark(LEFT_OUT, what, text)

    def _remark(self, part: str, what: str, text: str) -> None:
        text = printable(text)  # names and values of a file that somebody else made
        if (part, what, text) in self.rows:
            return
        self.rows.append((part, what, text))
        if self.aloud:
            log.warning("%s: %s", self.label or "input", text)

    @property
    def remarks(self) -> list[str]:
        """Assumptions and losses, in the order in which they were noted."""
        return [text for part, _, text in self.rows if part != READ]

    def table(self) -> Iterator[tuple[str, str, str]]:
        """Rows by part: all that was read, then the assumptions, then what was left out."""
        for part in PARTS:
            yield from (row for row in self.rows if row[0] == part)

    def add(self, other: Account) -> None:
        """Take over the rows of another account, those that are new."""
        for part, what, text in other.rows:
            if part == READ:
                self.read(what, text)
            else:
                self._remark(part, what, text)

    def as_dict(self) -> dict[str, list[dict[str, str]]]:
        """Plain values by part: ``read``, ``assumed``, ``left_out``."""
        return {
            part.replace(" ", "_"): [
                {"what": what, "text": text} for p, what, text in self.rows if p == part
            ]
            for part in PARTS
        }
