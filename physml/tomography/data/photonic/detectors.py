"""Detectors: which one a count is of, their efficiencies and their crosstalk.

Two numberings of the detectors are in use: detector b of photon q is q + n b (the Kwiat group's
programs), or 2 q + b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ...core.readout import Readout
from .rows import Floats, Row, Table, positive


@dataclass(frozen=True)
class Numbering:
    """Places of the detectors: `of[q][b]` is the number of detector b of photon q."""

    of: tuple[tuple[int, int], ...]

    @classmethod
    def alternating(cls, n: int) -> Numbering:
        """First all detectors 0, then all detectors 1."""
        return cls(tuple((q, q + n) for q in range(n)))

    @classmethod
    def by_photon(cls, n: int) -> Numbering:
        """Both detectors of a photon, then those of the next."""
        return cls(tuple((2 * q, 2 * q + 1) for q in range(n)))

    def ports(self, detectors: Sequence[int]) -> tuple[int, ...] | None:
        """Which detector of each photon these are; None where one is of another photon."""
        pairs = list(zip(self.of, detectors, strict=True))
        if not all(k in pair for pair, k in pairs):
            return None
        return tuple(pair.index(k) for pair, k in pairs)


def numbering_used(table: Table) -> Numbering | None:
    """Numbering that agrees with the detectors that rows name; None where they name none."""
    used = [row.detectors for row in table.rows]
    if any(d is None for d in used):
        return None
    for made in (Numbering.alternating(table.n), Numbering.by_photon(table.n)):
        if all(made.ports(d) is not None for d in used if d is not None):
            return made
    raise InputError.expected(
        table.source, "detectors_used of a detector of each photon in turn", str(used[0])
    )


def outcomes(n: int) -> list[tuple[int, ...]]:
    """Detectors of each photon for all outcomes."""
    return list(product((0, 1), repeat=n))


def ports_of(table: Table, row: Row) -> tuple[int, ...]:
    """Detector of each photon in a row of one projector: as named, else by its states.

    Of the two states along an axis, the first is that along +Z, +Y or +X: H, R and D.
    """
    numbering = numbering_used(table)
    if numbering is not None and row.detectors is not None:
        ports = numbering.ports(row.detectors)
        assert ports is not None
        return ports
    return tuple(0 if sign(axis) > 0 else 1 for axis in row.bloch)


def sign(axis: Floats) -> int:
    """Sign that makes the first component of any size positive, Z before Y before X."""
    for value in axis[::-1]:
        if abs(value) > 1e-3:
            return 1 if value > 0 else -1
    return 1


def by_pair(values: Floats, table: Table, row: Row, what: str) -> Floats:
    """Numbers (K,) of a row from a matrix of pairs of detectors."""
    n = table.n
    numbering = numbering_used(table) or Numbering.alternating(n)
    if n != 2 or values.shape != (4, 4):
        raise InputError.expected(
            table.source, f"{what} of pairs of two photons' detectors, 4 x 4", str(values.shape)
        )
    if table.outcomes > 1:
        pairs = [(numbering.of[0][a], numbering.of[1][b]) for a, b in outcomes(2)]
    elif row.detectors is not None:
        pairs = [(row.detectors[0], row.detectors[1])]
    else:
        between = values[np.ix_(numbering.of[0], numbering.of[1])]
        if between.max() - between.min() > 1e-9:
            raise InputError.expected(
                table.source,
                f"detectors_used in each row, or {what} that are equal",
                f"different ones and no detectors in {row.label}",
            )
        return between.ravel()[:1]
    return np.array([values[pair] for pair in pairs])


def efficiencies(table: Table) -> list[Floats]:
    """Relative efficiency (K,) of the counts of each row; remarks what was assumed.

    Raises
    ------
    InputError
        Where nobody can say of which detectors the numbers are.
    """
    n, k, count = table.n, table.outcomes, len(table.rows)
    same = [np.ones(k) for _ in range(count)]
    if table.efficiency is None:
        return same
    values = positive(table.efficiency, table.source, "efficiencies > 0")
    d = 1 << n
    if values.ndim == 2 and values.shape[0] == values.shape[1]:
        diagonal = np.diagonal(values)
        if np.abs(values - np.diag(diagonal)).max() < 1e-12 and diagonal.max() > 0:
            # No pair could have been counted: the numbers are those of the outcomes.
            values = diagonal.copy()
            if values.max() - values.min() > 1e-9:
                table.remarks.append("a diagonal relative_efficiency is taken as that of outcomes")
        elif values.max() - values.min() > 1e-9:
            found = [by_pair(values, table, row, "efficiencies") for row in table.rows]
            return [_above_zero(f, table) for f in found]
    flat = values.ravel()
    if flat.max() - flat.min() <= 1e-9:
        return same
    _above_zero(flat, table)
    if k > 1 and len(flat) == d:
        if d == 2 * n and n > 1:
            table.remarks.append("efficiencies are taken as those of the four coincidences")
        return [flat.copy() for _ in range(count)]
    if k > 1 and len(flat) == 2 * n:
        numbering = numbering_used(table) or Numbering.alternating(n)
        of = [np.prod([flat[numbering.of[q][b]] for q, b in enumerate(o)]) for o in outcomes(n)]
        table.remarks.append("efficiencies are taken as those of the detectors")
        return [np.array(of) for _ in range(count)]
    if k == 1 and table.detectors == 2 and len(flat) == d and numbering_used(table) is not None:
        places = [int("".join(map(str, ports_of(table, row))), 2) for row in table.rows]
        return [flat[[place]] for place in places]
    if k == 1 and len(flat) == count:
        table.remarks.append("efficiencies are taken as those of the rows")
        return [flat[[i]] for i in range(count)]
    raise InputError.expected(
        table.source,
        "detectors of equal efficiency, or efficiencies of rows or of detectors that rows name",
        f"{len(flat)} different ones",
    )


def _above_zero(values: Floats, table: Table) -> Floats:
    if values.min() <= 0:
        raise InputError.expected(table.source, "efficiencies > 0", str(values.tolist())[:80])
    return values


def crosstalk(table: Table) -> tuple[Floats | None, Readout | None]:
    """Crosstalk of the outcomes, P(read | true), and the same as a readout.

    Returns
    -------
    matrix : ndarray (2^n, 2^n) or None
        None where there is none. Columns may sum to less than 1: the rest is lost.
    readout : Readout or None
        Where nothing is lost.

    Raises
    ------
    InputError
    """
    if table.crosstalk is None:
        return None, None
    n, d = table.n, 1 << table.n
    values = positive(table.crosstalk, table.source, "crosstalk, probabilities")
    if values.shape == (2, 2):
        values = values[None]
    whole = values.ndim == 2
    if values.ndim not in (2, 3) or (not whole and values.shape[1:] != (2, 2)):
        raise InputError.expected(
            table.source, f"crosstalk of shape ({n}, 2, 2) or ({d}, {d})", str(values.shape)
        )
    columns, rows = values.sum(-2), values.sum(-1)
    if np.abs(columns - 1).max() > 1e-8 and np.abs(rows - 1).max() <= 1e-8:
        values = values.swapaxes(-1, -2)
        table.remarks.append("crosstalk has rows that sum to 1: each is taken as of a true state")
    elif columns.max() > 1 + 1e-8:
        raise InputError.expected(
            table.source,
            "crosstalk P(read | true) whose columns sum to 1",
            f"sums {np.round(columns, 4).tolist()}",
        )
    if len(values) != (d if whole else n) or values.shape[-1] != values.shape[-2]:
        raise InputError.expected(
            table.source, f"the crosstalk of {n} photons", f"that of shape {values.shape}"
        )
    sums = values.sum(-2)
    if np.abs(sums - 1).max() > 1e-8:
        table.remarks.append(
            "columns of the crosstalk sum to less than 1: the rest of the photons is taken for lost"
        )
        matrix = _product(values) if not whole else values
        return matrix, None
    readout = Readout(values)
    if np.abs(readout.matrix - np.eye(d)).max() < 1e-12:
        return None, None
    return readout.matrix, readout


def _product(each: Floats) -> Floats:
    out: Any = each[0]
    for part in each[1:]:
        out = np.kron(out, part)
    return np.asarray(out, np.float64)
