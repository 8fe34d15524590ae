"""Poisson counts of coincidences as complete measurements.

A count is Poisson with the mean  R x_k tr(F_k rho) + a_k : R the rate of the source, x_k the time
and relative intensity, F_k the projector with efficiency and crosstalk, a_k its accidentals. Given
their sum N, counts that share one R are multinomial. With G = sum_k x_k F_k the effects
E_k = x_k G^-1/2 F_k G^-1/2 sum to one, and are measured in the state

    rho' = G^1/2 rho G^1/2 / tr(G rho),

so that the counts have the probabilities  (1 - w) tr(E_k rho') + w a_k / A,  A = sum a_k and
w = A / (R tr(G rho) + A). R is a parameter of the same likelihood: the sum says R tr(G rho) = N - A
with an error of sqrt N, which moves the estimate by w / sqrt N at most. Nothing is subtracted from
any count. Whoever estimates rho' carries it back by the frame K = G^-1/2. Where the rows of each
basis make G a multiple of one, every basis has a rate of its own, and no frame is needed.

James, Kwiat, Munro, White, PRA 64, 052312 (2001) for single projectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc

from physml.exceptions import InputError

from .groups import Basis
from .rows import Complex, Floats, Row, Table

#: Probability below which the rates of bases are said to differ.
ALARM = 1e-3
#: How far a sum of effects may be from a multiple of one.
_WHOLE = 1e-6
#: Smallest eigenvalue of G, relative to its mean, with which states can be carried back.
_COVERED = 1e-4


@dataclass(frozen=True, eq=False)
class Counted:
    """One count and what its mean is made of.

    Attributes
    ----------
    row : int
        Of the table, from 0 on.
    count : float
        Coincidences.
    effect : ndarray (d, d)
        With efficiency and crosstalk.
    exposure : float
        Seconds, times the relative intensity of the source.
    accidentals : float
    label : str
    """

    row: int
    count: float
    effect: Complex
    exposure: float
    accidentals: float
    label: str


@dataclass(frozen=True, eq=False)
class Complete:
    """A complete measurement, and its counts.

    Attributes
    ----------
    effects : ndarray (k, d, d)
    counts : ndarray (k,)
    frame : ndarray (d, d), optional
    """

    effects: Complex
    counts: Floats
    frame: Complex | None


def total_effect(counted: Sequence[Counted]) -> Complex:
    """G = sum of exposures times effects, (d, d)."""
    return np.asarray(sum(c.exposure * c.effect for c in counted), np.complex128)


def whole(counted: Sequence[Counted]) -> bool:
    """Whether the effects of these counts sum to a multiple of one."""
    g = total_effect(counted)
    scale = float(np.trace(g).real) / len(g)
    return bool(scale > 0 and np.abs(g - scale * np.eye(len(g))).max() < _WHOLE * scale)


def complete(
    counted: Sequence[Counted],
    table: Table,
    signal: float | None = None,
    missing: str = "some axes",
) -> Complete:
    """Complete measurement of counts that share one rate.

    Parameters
    ----------
    counted : sequence of Counted
    table : Table
    signal : float, optional
        Coincidences expected of the source; by default what the counts have beyond accidentals.
    missing : str
        Name of axes along which projectors are missing.

    Raises
    ------
    InputError
        The effects leave out a part of the space; or there are no more counts than accidentals.
    """
    g = total_effect(counted)
    d = len(g)
    scale = float(np.trace(g).real) / d
    values, vectors = np.linalg.eigh(g / scale)
    if values[0] < _COVERED:
        raise InputError.expected(
            table.source,
            f"all {d} orthogonal projectors along {missing}, or rows that together see every state",
            f"{len(counted)} rows that do not",
            "Without them the number of photons is not known.",
        )
    root = (vectors * values**-0.5) @ vectors.conj().T
    effects = np.stack([root @ (c.exposure / scale * c.effect) @ root for c in counted])
    counts = np.array([c.count for c in counted])
    accidentals = np.array([c.accidentals for c in counted])
    total, expected = counts.sum(), accidentals.sum()
    if expected > 0:
        signal = total - expected if signal is None else signal
        if total - expected < 3 * np.sqrt(total) or signal <= 0:
            raise InputError.expected(
                table.source,
                "more coincidences than accidentals",
                f"{total:.0f} counted and {expected:.0f} accidental ones expected",
            )
        w = expected / (signal + expected)
        effects = (1 - w) * effects + w * (accidentals / expected)[:, None, None] * np.eye(d)
    effects = 0.5 * (effects + effects.conj().swapaxes(-1, -2))
    plain = np.abs(root - np.eye(d)).max() < _WHOLE
    return Complete(effects, counts, None if plain else root)


@dataclass(frozen=True)
class Rates:
    """Rates of the source in each basis that is whole, and whether they are one.

    Attributes
    ----------
    of : list of float or None
        Coincidences a second and intensity in each basis; None where it is not whole.
    mean : float
    p_value : float
        Of a chi-squared test that they are one; 1 where there are fewer than two.
    """

    of: list[float | None]
    mean: float
    p_value: float


def rates(groups: Sequence[Sequence[Counted]]) -> Rates:
    """Rates of the source in each group of counts.

    Weights c with sum_k c_k F_k = 1 make  sum_k c_k (n_k - a_k) / x_k  an unbiased estimate of the
    rate, whatever the state.
    """
    found: list[float | None] = []
    variances = []
    for group in groups:
        f = np.stack([c.effect.ravel() for c in group], 1)
        d = len(group[0].effect)
        one = np.eye(d, dtype=np.complex128).ravel()
        stacked = np.concatenate([f.real, f.imag])
        target = np.concatenate([one.real, one.imag])
        weights, *_ = np.linalg.lstsq(stacked, target, rcond=None)
        if np.abs(stacked @ weights - target).max() > 1e-6:
            found.append(None)
            continue
        exposure = np.array([c.exposure for c in group])
        counts = np.array([c.count for c in group])
        accidentals = np.array([c.accidentals for c in group])
        found.append(float((weights * (counts - accidentals) / exposure).sum()))
        variances.append(float((weights**2 * np.maximum(counts, 1) / exposure**2).sum()))
    values = np.array([v for v in found if v is not None])
    if len(values) < 2:
        return Rates(found, float(values[0]) if len(values) else 0.0, 1.0)
    inverse = 1 / np.array(variances)
    # Weights that do not depend on the own count: fluctuations down would weigh more.
    mean = float(values.mean())
    if mean <= 0:
        return Rates(found, mean, 1.0)
    common = np.maximum(mean / np.maximum(values, 1e-12), 0.1)
    chi2 = float(((values - mean) ** 2 * inverse / common).sum())
    p = float(gammaincc((len(values) - 1) / 2, chi2 / 2))
    return Rates(found, mean, p)


def counted_rows(
    table: Table,
    effects: Sequence[Complex],
    accidentals: Sequence[Floats],
    repeats: int,
) -> list[list[Counted]]:
    """Counts of each row with their means' parts."""
    out = []
    for i, (row, f, a) in enumerate(zip(table.rows, effects, accidentals, strict=True)):
        labels = _labels(row)
        out.append(
            [
                Counted(
                    i,
                    float(row.counts[k]) * repeats,
                    f[k],
                    row.seconds * row.intensity,
                    float(a[k]) * repeats,
                    labels[k],
                )
                for k in range(len(row.counts))
            ]
        )
    return out


def _labels(row: Row) -> list[str]:
    if len(row.counts) == 1:
        return [row.name or f"row{row.line}"]
    n = len(row.states)
    name = row.name or f"row{row.line}"
    return [f"{name} {k:0{n}b}" for k in range(len(row.counts))]


def by_basis(bases: Sequence[Basis], rows: Sequence[Sequence[Counted]]) -> list[list[Counted]]:
    """Counts of each basis, in the order of its outcomes."""
    return [[rows[i][k] for _, (i, k) in sorted(basis.rows.items())] for basis in bases]
