"""Rows that belong together: bases, and projectors that are there twice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from physml.exceptions import InputError

from ...core.fixed_measurements import AXES, BASES
from .detectors import sign
from .rows import SAME, Complex, Floats, Row, Table


@dataclass(frozen=True)
class Basis:
    """Counts along one set of axes.

    Attributes
    ----------
    name : str
    local : ndarray (n, 2, 2)
        Bases of the photons, in columns.
    rows : dict of int to (int, int)
        Outcome -> place of its count: row of the table (from 0 on), number of the count in it.
    """

    name: str
    local: Complex
    rows: dict[int, tuple[int, int]]


def bases_of(table: Table) -> list[Basis]:
    """Bases of a table whose states are pure: whole rows, or rows along the same axes."""
    if table.outcomes > 1:
        return _whole(table.rows)
    return _grouped(table.rows)


def _whole(rows: list[Row]) -> list[Basis]:
    out = []
    for i, row in enumerate(rows):
        axes = row.bloch
        letters = [letter(axis) for axis in axes]
        plain = all(s > 0 for _, s in letters) and all(name for name, _ in letters)
        name = "".join(a for a, _ in letters) if plain else f"row{i}"
        local = np.stack([basis(axis) for axis in axes])
        out.append(Basis(name, local, {k: (i, k) for k in range(len(row.counts))}))
    return out


def _grouped(rows: list[Row]) -> list[Basis]:
    groups: list[tuple[Floats, dict[int, tuple[int, int]]]] = []
    for i, row in enumerate(rows):
        axes = row.bloch
        signs = np.array([sign(axis) for axis in axes])
        outcome = int("".join("0" if s > 0 else "1" for s in signs), 2)
        axes = axes * signs[:, None]
        for known, members in groups:
            if outcome not in members and np.abs(known - axes).max() < SAME:
                members[outcome] = (i, 0)
                break
        else:
            groups.append((axes, {outcome: (i, 0)}))
    out = []
    for i, (axes, members) in enumerate(groups):
        letters = [letter(axis)[0] for axis in axes]
        name = "".join(letters) if all(letters) else f"group{i}"
        out.append(Basis(name, np.stack([basis(a) for a in axes]), members))
    return out


def letter(axis: Floats) -> tuple[str, int]:
    """Name and sign of an axis along X, Y or Z; an empty name for any other."""
    k = int(np.abs(axis).argmax())
    s = 1 if axis[k] > 0 else -1
    along = np.zeros(3)
    along[k] = s
    return (AXES[k] if np.abs(axis - along).max() < SAME else ""), s


def basis(axis: Floats) -> Complex:
    """Basis (2, 2) whose first column has this Bloch vector."""
    name, s = letter(axis)
    if name:
        exact = BASES[AXES.index(name)]
        return (exact if s > 0 else torch.flip(exact, [1])).numpy()
    axis = axis / np.linalg.norm(axis)
    theta, phi = math.acos(min(1.0, max(-1.0, axis[2]))), math.atan2(axis[1], axis[0])
    turn = complex(math.cos(phi), math.sin(phi))
    c, s_ = math.cos(theta / 2), math.sin(theta / 2)
    return np.array([[c, -s_], [s_ * turn, c * turn]], np.complex128)


def check_repeats(table: Table) -> None:
    """Refuse rows that are there twice by mistake; remark rows that were measured again.

    A copy has the counts, the singles and the time of the row before. A projector that was
    measured more often than others needs a time of its own; all as often is another run.

    Raises
    ------
    InputError
        It names the row.
    """
    known: dict[tuple[float, ...], list[Row]] = {}
    for row in table.rows:
        key = tuple(np.round(np.concatenate([row.states.real, row.states.imag]).ravel(), 4) + 0.0)
        known.setdefault(key, []).append(row)
    often = {len(rows) for rows in known.values()}
    runs = len(often) == 1
    if runs and often == {1}:
        return
    again: list[str] = []
    for rows in known.values():
        for i, row in enumerate(rows[1:], 1):
            copied = next((r for r in rows[:i] if _copy(r, row, runs)), None)
            if copied is not None:
                raise InputError.expected(
                    table.source,
                    "each row once",
                    f"{row.label} with the numbers of {copied.label}",
                    "Leave out one of them.",
                )
            if not runs and i >= min(often) and not (row.timed and rows[0].timed):
                raise InputError.expected(
                    table.source,
                    "each projector once, or a time for each row",
                    f"{row.label} again after {rows[0].label}, without its own time",
                )
            if not runs and i >= min(often):
                again.append(row.label)
    if again and table.outcomes == 1:
        table.remarks.append(
            f"measured again, each with its own time: {', '.join(again[:6])}"
            + (f" and {len(again) - 6} more" if len(again) > 6 else "")
        )


def _copy(a: Row, b: Row, runs: bool) -> bool:
    """Whether a row is another one once more: the same numbers, and enough of them to tell."""
    same = np.array_equal(a.counts, b.counts) and a.seconds == b.seconds
    if not same or (a.singles is None) != (b.singles is None):
        return False
    singles = a.singles is not None and a.singles.max() > 0
    if a.singles is not None and b.singles is not None and not np.array_equal(a.singles, b.singles):
        return False
    # Small counts of two runs are often the same by chance; singles and large counts are not.
    return bool(singles or a.counts.max() > 0) if not runs else bool(singles)
