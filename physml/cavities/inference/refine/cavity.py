r"""One cavity on the cells near it: what it leaves of their emission, with all derivatives.

.. math:: 1 + W [e (D_+ - D) - A D]

D is the share of the line of sight within the ellipsoid, D_+ within one `RIM` larger: gas that was
swept up lies between them. A cavity off the plane of the sky, by z at the distance d, removes less
where the halo is narrow: W is the emissivity at z over that at 0, one at the cavity's centre,

.. math:: W \propto \sum_k w_k (1 + t d^2 / B_k^2)^{-\alpha_k - 1/2},  t = (z / d)^2

so that its inner side is fainter than its outer side. Evacuated fraction, depth and the offset's
mean effect cannot be told apart: they are the depth factor A.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import beta

from .cells import Cells
from .shapes import Start
from .shares import Shares

Array = NDArray[np.float64]

#: Outer over inner radius of a rim.
RIM = 1.2
#: Least share of the emission that is left anywhere.
LEFT = 0.02


@dataclass(frozen=True)
class Cavity:
    """A candidate and the cells that its shadow can reach.

    Attributes
    ----------
    start : Start
    cells : Cells
        Near it, shape (m,).
    weight, square : ndarray, shape (2, m)
        Of W: w_k and (d / B_k)^2.
    middle : tuple of ndarray, shape (2,)
        The same at its first centre.
    """

    start: Start
    cells: Cells
    weight: Array
    square: Array
    middle: tuple[Array, Array]

    @classmethod
    def of(cls, start: Start, cells: Cells, centre: tuple[float, float], middle: Shares) -> Cavity:
        """Candidate on the cells near it; `middle` are the shares at its first centre."""
        away = np.hypot(start.x - centre[0], start.y - centre[1])
        d2 = max(away, start.radius) ** 2
        here = _weights(middle, d2)
        return cls(start, cells, *_weights(cells.shares, d2), (here[0][:, 0], here[1][:, 0]))

    @property
    def power(self) -> tuple[float, float]:
        """Alpha + 1/2 of both components."""
        one, two = self.cells.shares.slope
        return one + 0.5, two + 0.5

    def offset(self, t: float) -> tuple[Array, Array]:
        """W and its derivative by t, shape (m,)."""
        values, slopes = [], []
        for weight, square in ((self.weight, self.square), self.middle):
            value = slope = np.zeros(())
            for k, power in enumerate(self.power):
                part = weight[k] * (1 + t * square[k]) ** -power
                value, slope = value + part, slope - part * power * square[k] / (1 + t * square[k])
            values.append(value)
            slopes.append(slope)
        w = values[0] / values[1]
        return w, slopes[0] / values[1] - w * slopes[1] / values[1]

    def left(self, theta: Array) -> Array:
        """Share of the emission that is left, shape (m,), for parameters of shape (8,)."""
        x, y = self.cells.x, self.cells.y
        hidden, _ = self.cells.shares.within(self.start.half_chord(theta, x, y))
        wide = theta.copy()
        wide[2] += np.log(RIM)
        outer, _ = self.cells.shares.within(self.start.half_chord(wide, x, y))
        w, _ = self.offset(theta[6])
        return np.maximum(1 + w * (theta[7] * (outer - hidden) - theta[5] * hidden), LEFT)

    def slopes(self, theta: Array) -> tuple[Array, Array]:
        """Share left (m,), and the derivatives of its logarithm (m, 8)."""
        x, y, shares = self.cells.x, self.cells.y, self.cells.shares
        half, by_shape = self.start.chord_slopes(theta, x, y)
        hidden, by_half = shares.within(half)
        wide = theta.copy()
        wide[2] += np.log(RIM)
        half, by_wide = self.start.chord_slopes(wide, x, y)
        outer, by_outer = shares.within(half)
        w, by_t = self.offset(theta[6])
        a, e = theta[5], theta[7]
        change = e * (outer - hidden) - a * hidden
        left = np.maximum(1 + w * change, LEFT)
        shape = e * by_outer[:, None] * by_wide - (a + e) * by_half[:, None] * by_shape
        columns = [w[:, None] * shape, -w * hidden, by_t * change, w * (outer - hidden)]
        out = np.column_stack(columns) / left[:, None]
        out[left <= LEFT] = 0.0
        return left, out


def _weights(shares: Shares, d2: float) -> tuple[Array, Array]:
    """w_k and (d / B_k)^2 at places, shape (2, m) each."""
    parts = np.stack([shares.part, 1 - shares.part])
    norm = np.array([[2 / beta(0.5, slope)] for slope in shares.slope])
    weight = parts * norm / shares.length
    return weight / weight.sum(0), d2 / shares.length**2
