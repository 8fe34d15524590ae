"""Accidental coincidences that are expected in each count.

Of n detectors that count S_1 ... S_n in a time t, photons of different pairs fall into one window
of width w  S_1 ... S_n (w / t)^(n - 1) times, as the Kwiat group's programs have it too; w is the
whole width, in which a photon of one detector may come before or after that of the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from physml.exceptions import InputError

from .detectors import Numbering, by_pair, numbering_used, outcomes, ports_of
from .rows import SAME, Floats, Row, Table, positive

#: Seconds of the unit of windows.
NANOSECOND = 1e-9
#: How much smaller the variance of singles must be for one numbering than for the other.
CLEARER = 0.5


def expected_accidentals(table: Table, window: Any = None, rate: Any = None) -> list[Floats]:
    """Accidental coincidences (K,) expected in each row, of one run; remarks what they rest on.

    Parameters
    ----------
    table : Table
    window : float or sequence, optional
        Coincidence window, ns; by default that of the file.
    rate : float, optional
        Accidental coincidences a second in each count; by default that of the file.

    Raises
    ------
    InputError
        A window without singles; a window and a rate; numbers that cannot be.
    """
    count, k = len(table.rows), table.outcomes
    none = [np.zeros(k) for _ in range(count)]
    own = [row.accidentals is not None for row in table.rows]
    rate = table.rate if rate is None else rate
    if rate is not None or any(own):
        if window is not None:
            raise InputError.expected(
                table.source, "a window or accidentals", "both", "Give one of them."
            )
        return _given(table, rate, own)
    said = table.window if window is None else window
    width = None if said is None else positive(said, table.source, "a window >= 0, ns")
    if table.n == 1:
        return none  # one detector has no coincidences
    if width is None:
        if any(row.singles is not None and row.singles.max() > 0 for row in table.rows):
            table.remarks.append(
                "singles are given but no coincidence window: accidental coincidences are taken "
                "for counts of the state; say window= in ns, or accidental_rate="
            )
        return none
    if width.max() == 0:
        return none
    numbering = _of_singles(table)
    return [_of_row(table, row, width, numbering) for row in table.rows]


def _given(table: Table, rate: Any, own: list[bool]) -> list[Floats]:
    count, k = len(table.rows), table.outcomes
    if any(own) and not all(own):
        missing = table.rows[own.index(False)].label
        raise InputError.expected(table.source, "accidentals in every row", f"none in {missing}")
    if any(own):
        if rate is not None:
            raise InputError.expected(
                table.source, "one accidental rate", "one of the file and others of its rows"
            )
        return [np.asarray(row.accidentals) for row in table.rows]
    rates = positive(rate, table.source, "an accidental rate >= 0, 1/s")
    if rates.size == 1:
        rates = np.broadcast_to(rates.ravel(), (count, k))
    elif rates.shape == (count,) and k == 1:
        rates = rates[:, None]
    elif rates.shape == (k,):
        rates = np.broadcast_to(rates, (count, k))
    if rates.shape != (count, k):
        raise InputError.expected(
            table.source, f"one accidental rate, or {count} of the rows", f"shape {rates.shape}"
        )
    return [rates[i] * row.seconds for i, row in enumerate(table.rows)]


def _of_singles(table: Table) -> Numbering:
    """Numbering of the singles, made sure that there are some."""
    n = table.n
    for row in table.rows:
        if row.singles is None or not row.singles.max() > 0:
            raise InputError.expected(
                table.source,
                "singles of each row, from which a coincidence window gives accidentals",
                f"none in {row.label}",
                "Give accidental_rate= instead, or a window of 0 where there are none.",
            )
    if table.outcomes == 1:
        return numbering_used(table) or Numbering.alternating(n)
    both = (Numbering.alternating(n), Numbering.by_photon(n))
    spread = [_spread(table, made) for made in both]
    if spread[1] < CLEARER * spread[0]:
        table.remarks.append(
            "singles are those of both detectors of a photon, then of the next: so they go with "
            "its basis"
        )
        return both[1]
    if not spread[0] < CLEARER * spread[1]:
        table.remarks.append(
            "singles are taken in the order of the Kwiat group's programs: first detectors of all "
            "photons, then second ones"
        )
    return both[0]


def _spread(table: Table, numbering: Numbering) -> float:
    """Relative variance of singles among rows that measure their photon in one basis."""
    total, freedom = 0.0, 0
    for q, pair in enumerate(numbering.of):
        axes = np.array([row.bloch[q] for row in table.rows])
        left = set(range(len(axes)))
        while left:
            first = min(left)
            alike = [i for i in sorted(left) if np.abs(axes[i] - axes[first]).max() < 10 * SAME]
            left -= set(alike)
            for k in pair:
                rates = [_single(table.rows[i], k) / table.rows[i].seconds for i in alike]
                logs = np.log(np.maximum(rates, 1e-9))
                total += float(((logs - logs.mean()) ** 2).sum())
                freedom += len(alike) - 1
    return total / freedom if freedom else 1.0


def _single(row: Row, k: int) -> float:
    assert row.singles is not None
    return float(row.singles[k])


def _of_row(table: Table, row: Row, width: Floats, numbering: Numbering) -> Floats:
    n, singles = table.n, row.singles
    assert singles is not None
    if table.outcomes > 1:
        pick = [[numbering.of[q][b] for q, b in enumerate(o)] for o in outcomes(n)]
    elif len(singles) == n:
        pick = [list(range(n))]
    elif row.detectors is not None:
        pick = [list(row.detectors)]
    else:
        raise InputError.expected(
            table.source, "detectors_used, to know whose singles count", f"none in {row.label}"
        )
    counted = singles[np.array(pick)]  # (K, n)
    if (counted.min(1) < row.counts).any():
        raise InputError.expected(
            table.source,
            "singles of at least the coincidences",
            f"{counted.min():g} for {row.counts.max():g} in {row.label}",
        )
    if width.size == 1:
        widths = np.full(len(pick), float(width.ravel()[0]))
    elif width.ndim == 2:
        widths = by_pair(width, table, row, "windows")
    elif width.size == 1 << n:
        places = [int("".join(map(str, ports_of(table, row))), 2)]
        widths = width if table.outcomes > 1 else width[places]
    else:
        raise InputError.expected(
            table.source, f"one coincidence window or {1 << n}", f"{width.size}"
        )
    found: Floats = counted.prod(1) * (widths * NANOSECOND / row.seconds) ** (n - 1)
    return found
