"""Rows of the tables: what is measured where, how it is written, and the goal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from physml.cavities.evaluation.metrics import COUNT_EDGES

#: Rivals by their names in the numbers and in the tables.
RIVALS: Mapping[str, str] = {"cadet": "CADET", "cadet_fitted": "CADET, fitted"}
METHODS: Mapping[str, str] = {**RIVALS, "physml": "physml"}
#: Sets of the main table.
MAIN = ("clean", "nuisance", "none", "none_nuisance")
#: Place of 5-20k counts among the bins of completeness.
FAINT = COUNT_EDGES.index(4.5e3)


@dataclass(frozen=True)
class Goal:
    """Wanted range of a number.

    Attributes
    ----------
    text : str
    low, high : float
        Between which the number (of a bias: its size) lies where the goal is met.
    """

    text: str
    low: float = float("-inf")
    high: float = float("inf")

    def met(self, value: float) -> bool:
        """Whether a number lies in the range."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Row:
    """One row of the main table.

    Attributes
    ----------
    label : str
    set : str
    path : tuple
        Place among the set's numbers.
    style : str
        Format; with a sign it is a bias, the ratio less one.
    goal : Goal or None
    """

    label: str
    set: str
    path: tuple[Any, ...]
    style: str = ".3f"
    goal: Goal | None = None

    @property
    def is_bias(self) -> bool:
        """Whether the number is a ratio, of which one is taken."""
        return self.style.startswith("+")

    @property
    def key(self) -> str:
        """Name in the file of numbers."""
        return "/".join(map(str, (self.set, *self.path)))


#: Metric, place in the numbers, format, goals for images without and with nuisances.
MEASURES: tuple[tuple[str, tuple[str, str], str, tuple[Goal, Goal]], ...] = (
    (
        "cavity F1",
        ("strict", "f1"),
        ".3f",
        (Goal(">= 0.94", low=0.94), Goal(">= 0.92", low=0.92)),
    ),
    (
        "cavity-less images with a false cavity",
        ("strict", "alarmed"),
        ".1%",
        (Goal("<= 5 %", high=0.05), Goal("<= 7 %", high=0.07)),
    ),
    (
        "pixel AP",
        ("pixels", "ap"),
        ".3f",
        (Goal(">= 0.96", low=0.96), Goal(">= 0.94", low=0.94)),
    ),
    (
        "radius scatter",
        ("sizes", "radius_scatter"),
        ".3f",
        (Goal("<= 0.06", high=0.06), Goal("<= 0.08", high=0.08)),
    ),
    ("radius bias", ("sizes", "radius_ratio"), "+.1%", (Goal("< 2 %", high=0.02),) * 2),
    (
        "volume, median absolute error",
        ("sizes", "volume_error"),
        ".1%",
        (Goal("<= 15 %", high=0.15),) * 2,
    ),
    ("volume bias", ("sizes", "volume_ratio"), "+.1%", (Goal("< 5 %", high=0.05),) * 2),
    (
        "foreground calibration error",
        ("pixels", "calibration_error"),
        ".3f",
        (Goal("<= 0.03", high=0.03),) * 2,
    ),
    (
        "per-cavity calibration error",
        ("calibration", "error"),
        ".3f",
        (Goal("<= 0.03", high=0.03),) * 2,
    ),
    (
        "coverage of 68 % intervals",
        ("sizes", "coverage_68"),
        ".1%",
        (Goal("63-73 %", 0.63, 0.73),) * 2,
    ),
)


def completeness_rows(name: str, *, goals: bool) -> list[Row]:
    """Completeness where 5 % of the cavity-less images alarm."""
    wanted = (Goal(">= 0.70", low=0.70), Goal(">= 0.87", low=0.87)) if goals else (None, None)
    at = ("strict", "at_alarm")
    return [
        Row(
            "completeness at 5-20k counts, 5 % alarmed",
            name,
            (*at, "bins", FAINT, "completeness"),
            goal=wanted[0],
        ),
        Row(
            "completeness, all counts, 5 % alarmed, one threshold",
            name,
            (*at, "overall"),
            goal=wanted[1],
        ),
        Row(
            "the same, a threshold in each bin of counts",
            name,
            (*at, "binned"),
            goal=wanted[1],
        ),
    ]


def rows_of(clean: str, nuisance: str) -> list[Row]:
    """Rows of the main table, for sets without and with nuisances."""
    rows = completeness_rows(clean, goals=True)
    for text, path in (("5-20k", ("bins", FAINT, "completeness")), ("all", ("overall",))):
        label = f"{text} counts, one cavity judged without the others"
        rows.append(Row(label, clean, ("bare", *path)))
    empty = {clean: "none", nuisance: "none_nuisance"}
    for label, path, style, wanted in MEASURES:
        for name, goal in zip((clean, nuisance), wanted, strict=True):
            where = empty[name] if path[1] == "alarmed" else name
            rows.append(Row(f"{label}, {name}", where, path, style, goal))
    return rows


def _sealed_rows() -> list[Row]:
    rows = completeness_rows("sealed", goals=False)
    at = ("strict",)
    rows += [
        Row(f"{name}, shipped thresholds", "sealed", (*at, name))
        for name in ("completeness", "purity")
    ]
    for label, path, style, _ in MEASURES:
        where = "sealed_none" if path[1] == "alarmed" else "sealed"
        rows.append(Row(label, where, path, style))
    return rows


#: Rows of the sealed set's table; it has no goals of its own.
SEALED_ROWS = _sealed_rows()
