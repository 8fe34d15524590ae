"""Calibration counts of a readout, and the question whether detectors err by themselves.

Prepared basis states t are read as m. Where each qubit errs by itself, P(m | t) is a product of
P(m_q | t_q); whether the counts say so is asked by a likelihood-ratio G-test of factorisation
(Sokal, Rohlf, Biometry, 1995), whose law is that of simulated calibrations of the product: most
cells of a calibration expect less than one count, so that the chi-squared law would not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

Floats = NDArray[np.float64]

#: Simulated calibrations; their mean and variance are used.
REPLICATES = 200
#: Probability below which the qubits are said to be read out together.
ALARM = 1e-3


@dataclass(frozen=True)
class Factorisation:
    """Test whether the readout errors of the qubits are independent.

    Attributes
    ----------
    statistic : float
        G = 2 sum c log(c / expected) of the product of the qubits' own confusions.
    expected : float
        Its mean for calibrations of that product.
    p_value : float
    sigma : float
        Largest correlation of the readings of two qubits for one prepared state, in standard
        deviations of no correlation.
    pair : tuple of int
        The two qubits.
    """

    statistic: float
    expected: float
    p_value: float
    sigma: float
    pair: tuple[int, int]

    @property
    def correlated(self) -> bool:
        """Whether independent qubits are excluded."""
        return self.p_value < ALARM


def by_qubit(table: Floats) -> Floats:
    """Counts (..., n, read, prepared) of each qubit from counts (..., prepared, read) of all."""
    d = table.shape[-1]
    n = d.bit_length() - 1
    lead = table.shape[:-2]
    cube = table.reshape(*lead, *[2] * (2 * n))
    k = len(lead)
    out = []
    for q in range(n):
        others = tuple(k + a for a in range(2 * n) if a not in (q, n + q))
        out.append(np.swapaxes(cube.sum(others), -1, -2))
    return np.stack(out, -3)


def product_of(confusion: Floats) -> Floats:
    """Confusion (..., d, d) of all qubits from that of each, (..., n, 2, 2)."""
    out = confusion[..., 0, :, :]
    for q in range(1, confusion.shape[-3]):
        size = 2 * out.shape[-1]
        grid = np.einsum("...ab,...cd->...acbd", out, confusion[..., q, :, :])
        out = grid.reshape(*out.shape[:-2], size, size)
    return out


def reversed_bits(n: int) -> NDArray[np.intp]:
    """Places of the basis states when their bits are read from the other end."""
    return np.array([int(format(k, f"0{n}b")[::-1], 2) for k in range(1 << n)], np.intp)


def factorisation(table: Floats, replicates: int = REPLICATES) -> Factorisation:
    """Test calibration counts (d, d), prepared in rows, for independent qubits.

    Parameters
    ----------
    table : ndarray (d, d)
        With at least two qubits, each prepared in 0 and in 1.
    replicates : int
    """
    n = len(table).bit_length() - 1
    shots = table.sum(1)
    each = by_qubit(table)
    law = product_of(each / each.sum(-2, keepdims=True)).T  # row: prepared
    rng = np.random.default_rng(0)  # of the test only: the same counts, the same answer
    simulated = np.stack(
        [rng.multinomial(int(s), p / p.sum(), replicates) for s, p in zip(shots, law, strict=True)],
        1,
    ).astype(np.float64)
    null = _statistic(simulated)
    found = float(_statistic(table[None])[0])
    mean, variance = float(null.mean()), float(null.var(ddof=1))
    p = 1.0
    if mean > 0 and variance > 0:
        p = float(gammaincc(mean**2 / variance, found * mean / variance))
    sigma, pair = _strongest(table, n)
    return Factorisation(found, mean, p, sigma, pair)


def _statistic(tables: Floats) -> Floats:
    """G of each table (R, d, d) against the product of its own confusions."""
    each = by_qubit(tables)
    law = np.swapaxes(product_of(each / np.maximum(each.sum(-2, keepdims=True), 1)), -1, -2)
    expected = tables.sum(-1, keepdims=True) * law
    seen = tables > 0
    ratio = np.where(seen, tables, 1.0) / np.where(seen, np.maximum(expected, 1e-300), 1.0)
    out: Floats = 2 * (tables * np.log(ratio)).sum((-1, -2))
    return out


def _strongest(table: Floats, n: int) -> tuple[float, tuple[int, int]]:
    best, where = 0.0, (0, min(1, n - 1))
    for a, b in combinations(range(n), 2):
        for row in table:
            others = tuple(q for q in range(n) if q not in (a, b))
            m = row.reshape([2] * n).sum(others)
            total = m.sum()
            x, y = m.sum(1), m.sum(0)
            spread = np.sqrt(x[0] * x[1] * y[0] * y[1])
            if spread > 0:
                phi = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) / spread
                if abs(phi) * np.sqrt(total) > best:
                    best, where = float(abs(phi) * np.sqrt(total)), (a, b)
    return best, where
