"""Coincidence tables as measurements.

Two kinds of tables are common. With one detector a photon each row is one projector; with two each
row is a whole measurement. Both come as tables of numbers (`tables`) or as JSON with named states
(`named`). Projectors of a whole basis make a measurement of their own; without complements, with
different times or efficiencies, all rows together make one: see `poisson`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.files import require_file

from ...core.measurements import Setting, from_effects, product_setting
from ...core.readout import Readout
from .accidentals import expected_accidentals
from .detectors import crosstalk, efficiencies, outcomes, ports_of
from .groups import Basis, bases_of, check_repeats
from .named import read_named
from .poisson import ALARM, Complete, Counted, by_basis, complete, counted_rows, rates, whole
from .rows import Complex, Floats, Table
from .tables import read_table

MAX_BYTES = 16 << 20
MAX_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class Coincidences:
    """Measurements of a coincidence table.

    Attributes
    ----------
    measurements : list of (Setting, ndarray (k,))
    readout : Readout or None
        Crosstalk between the two detectors of each photon, where settings are bases.
    frame : ndarray (d, d) or None
        Where the rows are lost with a probability that depends on the state: what the settings
        measure is rho', and rho = K rho' K / tr; see `poisson`.
    remarks : list of str
    """

    measurements: list[tuple[Setting, NDArray[np.int64]]]
    readout: Readout | None = None
    frame: Complex | None = None
    remarks: list[str] = field(default_factory=list)


def read_coincidences(
    path: str | PathLike[str],
    repeats: int = 1,
    rounded: bool = False,
    window: float | None = None,
    accidental_rate: float | None = None,
) -> Coincidences:
    """Read a coincidence table.

    Parameters
    ----------
    path : path
        Comma-separated numbers (CSV), a text with `tomo_input=[[...], ...]`, or JSON.
    repeats : int
        Counts, singles and accidentals are means over this many runs, and are multiplied by it.
    rounded : bool
        Round means to whole counts, as if they were those of one run. Less is then known from
        them than really was measured.
    window : float, optional
        Coincidence window, ns, which with the singles gives the accidentals; by default that of
        the file.
    accidental_rate : float, optional
        Accidental coincidences a second of each count; by default those of the file.

    Raises
    ------
    InputError
        The file cannot be read; counts are negative or not whole; rows are there twice; rows do
        not see every state; or accidentals, efficiencies and crosstalk cannot be.
    """
    source = require_file(path, "a coincidence table", MAX_BYTES)
    if isinstance(repeats, bool) or repeats < 1 or int(repeats) != repeats:
        raise InputError.expected("repeats=", "a whole number from 1 on", repr(repeats))
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.expected(source, "text", "another kind of file") from error
    table = read_named(text, source) if text.lstrip().startswith("{") else read_table(text, source)
    if not table.rows:
        raise InputError.expected(source, "measurements", "none")
    if len(table.rows) > MAX_ROWS:
        raise InputError.expected(source, f"at most {MAX_ROWS} rows", str(len(table.rows)))
    if len({(row.states.shape, len(row.counts)) for row in table.rows}) > 1:
        raise InputError.expected(source, "rows of one kind", "several kinds")
    check_repeats(table)
    matrix, readout = crosstalk(table)
    accidentals = expected_accidentals(table, window, accidental_rate)
    effects = _effects(table, matrix, efficiencies(table))
    counted = counted_rows(table, effects, accidentals, repeats)
    for row in counted:
        _check_whole(row, table, rounded, repeats)
    bases = bases_of(table) if all(row.pure for row in table.rows) else []
    groups = by_basis(bases, counted)
    if groups and all(len(g) == 1 << table.n and whole(g) for g in groups):
        return _bases(table, bases, groups, readout)
    return _together(table, counted, bases, groups)


def _effects(table: Table, matrix: Floats | None, efficiency: list[Floats]) -> list[Complex]:
    """Effects (K, d, d) of the counts of each row, with efficiency and crosstalk."""
    made = []
    for row, eta in zip(table.rows, efficiency, strict=True):
        if matrix is None and table.outcomes == 1:
            made.append(eta[:, None, None] * row.effect[None])
            continue
        if not row.pure:
            raise InputError.expected(
                table.source,
                "pure states, of which crosstalk has a meaning",
                f"mixed in {row.label}",
            )
        each = np.stack([row.states, np.eye(2) - row.states], 1)  # (n, 2, d): named, orthogonal
        ports = (0,) * table.n if table.outcomes > 1 else ports_of(table, row)
        true = []
        for outcome in outcomes(table.n):
            product = np.ones((1, 1), np.complex128)
            for q, port in enumerate(outcome):
                # The named state goes to the detector of the row.
                product = np.kron(product, each[q, port ^ ports[q]])
            true.append(product)
        read = np.stack(true)
        if matrix is not None:
            read = np.einsum("mt,tij->mij", matrix, read)
        if table.outcomes == 1:
            read = read[[int("".join(map(str, ports)), 2)]]
        made.append(eta[:, None, None] * read)
    return made


def _check_whole(row: Sequence[Counted], table: Table, rounded: bool, repeats: int) -> None:
    values = np.array([c.count for c in row])
    off = np.abs(values - np.rint(values))
    if not rounded and off.max() > 1e-6 * max(1.0, values.max()):
        worst = int(off.argmax())
        raise InputError.expected(
            table.source,
            "whole counts",
            f"{values[worst] / repeats:.8g} in {table.rows[row[0].row].label}",
            "Give the number of runs if these are means, or have them rounded.",
        )
    if values.max() > 1 << 53:
        raise InputError.expected(
            table.source, f"counts from 0 to 2^53 in {table.rows[row[0].row].label}", str(values)
        )


def _bases(
    table: Table, bases: list[Basis], groups: list[list[Counted]], readout: Readout | None
) -> Coincidences:
    """Each basis a measurement, with a rate of its own."""
    for basis, group in zip(bases, groups, strict=True):
        if not sum(np.rint(c.count) for c in group):
            raise InputError.expected(table.source, f"coincidences in {basis.name}", "none")
    names = _names([basis.name for basis in bases])
    expected = sum(c.accidentals for group in groups for c in group)
    if not expected:
        plain = [
            _product(name, basis, group)
            for name, basis, group in zip(names, bases, groups, strict=True)
        ]
        return Coincidences(plain, readout, None, table.remarks)
    found = rates(groups)
    one_rate = found.p_value >= ALARM and found.mean > 0
    made = []
    for name, group in zip(names, groups, strict=True):
        signal = found.mean * group[0].exposure if one_rate else None
        made.append(_setting(complete(group, table, signal), name))
    _say_accidentals(table, expected, sum(c.count for group in groups for c in group))
    return Coincidences(made, None, None, table.remarks)


def _together(
    table: Table, counted: list[list[Counted]], bases: list[Basis], groups: list[list[Counted]]
) -> Coincidences:
    """All rows one measurement, with one rate of the source."""
    flat = [c for row in counted for c in row]
    found = rates(groups) if groups else rates([])
    every = bool(groups) and all(rate is not None for rate in found.of)
    if found.p_value < ALARM and every and min(r for r in found.of if r is not None) > 0:
        own = [(g, r / found.mean) for g, r in zip(groups, found.of, strict=True) if r]
        scale = {c.row: share for group, share in own for c in group}
        flat = [
            Counted(c.row, c.count, c.effect, c.exposure * scale[c.row], c.accidentals, c.label)
            for c in flat
        ]
        table.remarks.append(
            f"the rate of the source differs between bases (p = {found.p_value:.1g}): each has its "
            "own, which its counts say"
        )
    else:
        _say_rate(table, found.p_value, sum(rate is not None for rate in found.of))
    lacking = [b.name for b, g in zip(bases, groups, strict=True) if len(g) < 1 << table.n]
    made = complete(flat, table, missing=lacking[0] if lacking else "some axes")
    if not made.counts.sum():
        raise InputError.expected(table.source, "coincidences", "none")
    expected = sum(c.accidentals for c in flat)
    if expected:
        _say_accidentals(table, expected, float(made.counts.sum()))
    setting, counts = _setting(made, "coincidences", _names([c.label for c in flat]))
    return Coincidences([(setting, counts)], None, made.frame, table.remarks)


def _say_rate(table: Table, p: float, wholes: int) -> None:
    text = (
        f"{len(table.rows)} rows are one measurement with one rate of the source, in proportion to "
        "their times and intensities"
    )
    if wholes > 1:
        text += (
            f"; the rates of {wholes} whole bases agree"
            if p >= ALARM
            else (
                f", although the rates of {wholes} whole bases differ (p = {p:.1g}): estimate and "
                "region do not include this"
            )
        )
    table.remarks.append(text)


def _say_accidentals(table: Table, expected: float, total: float) -> None:
    table.remarks.append(
        f"accidental coincidences are part of the model: {expected:.0f} of {total:.0f} counts are "
        "expected to be such"
    )


def _names(names: list[str]) -> list[str]:
    """Names of which each is there once: a number follows those that were used before."""
    used, out = dict[str, int](), []
    for name in names:
        used[name] = used.get(name, 0) + 1
        out.append(name if used[name] == 1 else f"{name} {used[name]}")
    return out


def _product(
    name: str, basis: Basis, group: Sequence[Counted]
) -> tuple[Setting, NDArray[np.int64]]:
    counts = np.rint([c.count for c in group]).astype(np.int64)
    return product_setting(basis.local, int(counts.sum()), name), counts


def _setting(
    made: Complete, name: str, labels: Sequence[str] = ()
) -> tuple[Setting, NDArray[np.int64]]:
    counts = np.rint(made.counts).astype(np.int64)
    return from_effects(made.effects, int(counts.sum()), name, labels), counts
