r"""Ellipses by five numbers without a singular point, and the chords of ellipsoids behind them.

A candidate is (dx, dy, ln r, g1, g2, A, t, e): centre relative to where it started, in units of its
first radius; ln of sqrt(a b) over the first radius; the symmetric, traceless logarithm of its shape
L = [[g1, g2], [g2, -g1]], so that a, b = r exp(+-g) with g^2 = g1^2 + g2^2, at the angle
atan2(g2, g1) / 2; and three numbers of its depth that `cavity` explains.

.. math:: q^2 = d^T e^{-2L} d / r^2,  Z = r \sqrt{S(1 - q^2)}

Z is the half chord of an ellipsoid with the depth r. S is the positive part, with a parabola
instead of the corner: pixels and telescope soften the edge by about `EDGE`. It is shifted so that
the ellipsoid keeps its volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.ellipse import Ellipse

Array = NDArray[np.float64]

#: Parameters of a candidate.
NAMES = ("dx", "dy", "log_radius", "g1", "g2", "depth", "offset", "rim")
#: Half width of the softened edge [pixel], and its largest share of the radius.
EDGE, WIDEST = 1.0, 0.3


@dataclass(frozen=True)
class Start:
    """Where a candidate starts.

    Attributes
    ----------
    x, y, radius : float
        Centre and sqrt(a b) [pixel].
    g1, g2 : float
        Its shape.
    """

    x: float
    y: float
    radius: float
    g1: float
    g2: float

    @classmethod
    def of(cls, ellipse: Ellipse) -> Start:
        """Start of an ellipse."""
        a, b = ellipse.semi_major, ellipse.semi_minor
        g = 0.5 * np.log(a / b)
        turn = 2 * ellipse.theta
        shape = float(g * np.cos(turn)), float(g * np.sin(turn))
        return cls(ellipse.x, ellipse.y, float(np.sqrt(a * b)), *shape)

    @property
    def first(self) -> Ellipse:
        """The ellipse that it was made of."""
        return self.ellipse(np.array([0.0, 0.0, 0.0, self.g1, self.g2]))

    @property
    def soft(self) -> float:
        """Half width of its edge in q^2."""
        return 2 * min(EDGE / self.radius, WIDEST)

    def ellipse(self, theta: Array) -> Ellipse:
        """Ellipse of parameters, shape (8,)."""
        radius = self.radius * float(np.exp(theta[2]))
        g = float(np.hypot(theta[3], theta[4]))
        angle = float(0.5 * np.arctan2(theta[4], theta[3]) % np.pi)
        x, y = self.x + self.radius * float(theta[0]), self.y + self.radius * float(theta[1])
        return Ellipse(x, y, radius * np.exp(g), radius * np.exp(-g), angle)

    def half_chord(self, theta: Array, x: Array, y: Array) -> Array:
        """Half chords Z [pixel] at places, shape (..., m), for parameters of shape (..., 8)."""
        t = theta[..., None]
        r = self.radius * np.exp(t[..., 2, :])
        u = (x - self.x - self.radius * t[..., 0, :]) / r
        v = (y - self.y - self.radius * t[..., 1, :]) / r
        even, odd = _stretch(np.hypot(t[..., 3, :], t[..., 4, :]))
        q2 = even * (u * u + v * v) - odd * (
            t[..., 3, :] * (u * u - v * v) + 2 * t[..., 4, :] * u * v
        )
        return np.asarray(r * np.sqrt(soft(q2, self.soft)))

    def chord_slopes(self, theta: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """Half chords at places and their derivatives by the first five parameters.

        Parameters
        ----------
        theta : ndarray, shape (8,)
        x, y : ndarray, shape (m,)
            [pixel].

        Returns
        -------
        half : ndarray, shape (m,)
        slopes : ndarray, shape (m, 5)
        """
        r = self.radius * np.exp(theta[2])
        u = (x - self.x - self.radius * theta[0]) / r
        v = (y - self.y - self.radius * theta[1]) / r
        g1, g2 = float(theta[3]), float(theta[4])
        g = float(np.hypot(g1, g2))
        even, odd = _stretch(np.array(g))
        plus, minus, cross = u * u + v * v, u * u - v * v, 2 * u * v
        axis = g1 * minus + g2 * cross
        q2 = even * plus - odd * axis
        half = r * np.sqrt(soft(q2, self.soft))
        by_q2 = 0.5 * r * _root_slope(q2, self.soft)
        # even = cosh 2g, odd = sinh(2g) / g: their slopes over g, finite at g = 0.
        even_slope, odd_slope = 2 * odd, _odd_slope(g)
        du = 2 * even * u - odd * (2 * g1 * u + 2 * g2 * v)
        dv = 2 * even * v - odd * (-2 * g1 * v + 2 * g2 * u)
        step = self.radius / r
        columns = [
            by_q2 * du * -step,
            by_q2 * dv * -step,
            half + by_q2 * -2 * q2,
            by_q2 * (even_slope * g1 * plus - odd_slope * g1 * axis - odd * minus),
            by_q2 * (even_slope * g2 * plus - odd_slope * g2 * axis - odd * cross),
        ]
        return half, np.stack(columns, -1)


def _stretch(g: Array) -> tuple[Array, Array]:
    """cosh(2 g) and sinh(2 g) / g, so that e^(-2L) = even I - odd L."""
    small = np.maximum(g, 1e-9)
    return np.cosh(2 * g), np.sinh(2 * small) / small


def _odd_slope(g: float) -> float:
    """Derivative of sinh(2 g) / g over g, 8/3 at 0."""
    if g < 1e-2:
        return 8 / 3 + 16 / 15 * g * g
    return float((2 * np.cosh(2 * g) / g - np.sinh(2 * g) / g**2) / g)


def _shifted(q2: Array, w: Any) -> Array:
    """1 - q^2, less by what the parabola adds to the volume: the integral of sqrt(S) is 2 / 3."""
    return 1 - w**1.5 / 3 - q2


def soft(q2: Array, w: Any) -> Array:
    """Positive part S of 1 - q^2 with a parabola within w of the corner."""
    h = _shifted(q2, w)
    low = np.clip(h + w, 0, 2 * w)
    return np.asarray(low * low / (4 * w) + np.maximum(h - w, 0))


def _root_slope(q2: Array, w: float) -> Array:
    """Twice the derivative of sqrt(S) by q^2; that of the parabola's root is constant."""
    h = _shifted(q2, w)
    return np.where(h >= w, -1 / np.sqrt(np.maximum(h, w)), np.where(h > -w, -1 / np.sqrt(w), 0.0))
