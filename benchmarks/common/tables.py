"""Tables of the benchmarks in Markdown, and the words in their cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """Markdown of a table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def interval(summary: Mapping[str, Any] | None, spec: str = ".3f", to: str = "-") -> str:
    """Value with its interval, or a dash.

    Parameters
    ----------
    summary : mapping, optional
        With ``value``, ``low`` and ``high``.
    spec : str
        Format of each.
    to : str
        Between the ends; "to" where one has a sign, since pages show two hyphens as a dash.
    """
    if summary is None or summary["value"] is None:
        return "-"
    value, low, high = (
        None if summary[k] is None else format(summary[k], spec) for k in ("value", "low", "high")
    )
    if low is None or high is None:
        return str(value)
    return f"{value} ({low}{' to ' if low[0] in '+-' or high[0] in '+-' else to}{high})"


def scaled(summary: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Value and interval in another unit."""
    return {k: None if v is None else factor * v for k, v in summary.items()}


def verdict(met: bool) -> str:
    """Word of the last column of goals."""
    return "met" if met else "missed"


def goals(rows: Iterable[tuple[str, str, str, bool | None]]) -> str:
    """Table of goals: what, wanted, measured, and whether it is met; None where it is no goal."""
    cells = [
        (what, f"**{wanted}**", found, "" if met is None else verdict(met))
        for what, wanted, found, met in rows
    ]
    return table(["goal", "wanted", "measured", ""], cells)
