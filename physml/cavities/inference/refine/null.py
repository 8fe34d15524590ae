"""The null: a smooth correction of the halo that knows dipoles and changes of its ellipticity.

ln(gas / halo) = sum c B, with azimuthal harmonics m = 0, 1, 2 times cubic splines in the radius.
Real haloes are lopsided and twisted on large scales; with m = 0 alone a cavity's evidence is that
of the asymmetry. Ridge priors keep the correction from becoming a cavity itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from .cells import Cells

Array = NDArray[np.float64]

#: Splines in radius of the harmonics m = 0, 1, 2.
SPLINES = (7, 6, 4)
#: Standard deviation of their coefficients.
RIDGE = (0.3, 0.4, 0.2)
#: Radius at which the splines' variable, asinh(r / SCALE), turns from linear to logarithmic, and
#: within which harmonics vanish [pixel].
SCALE, CALM = 4.0, 2.5


@dataclass(frozen=True)
class Null:
    """Basis of the correction at the cells.

    Attributes
    ----------
    basis : ndarray, shape (m, p)
    width : ndarray, shape (p,)
        Prior standard deviation of each coefficient.
    order : ndarray of int, shape (p,)
        Harmonic of each.
    end : float
        Largest value of the splines' variable.
    """

    basis: Array
    width: Array
    order: NDArray[np.int64]
    end: float

    @classmethod
    def of(cls, cells: Cells, centre: tuple[float, float]) -> Null:
        """Basis about a centre [pixel]."""
        away = np.hypot(cells.x - centre[0], cells.y - centre[1])
        return cls.at(cells.x, cells.y, centre, float(np.arcsinh(away / SCALE).max()))

    @classmethod
    def at(cls, x: Array, y: Array, centre: tuple[float, float], end: float) -> Null:
        """Basis at places, shape (m,); the splines reach as far as `end`, beyond it constant."""
        x, y = x - centre[0], y - centre[1]
        r, phi = np.hypot(x, y), np.arctan2(y, x)
        t = np.arcsinh(r / SCALE)
        columns, width, order = [], [], []
        for m, (number, ridge) in enumerate(zip(SPLINES, RIDGE, strict=True)):
            radial = splines(t, end, number) * ((r / (r + CALM)) ** m)[:, None]
            waves = [np.ones_like(phi)] if m == 0 else [np.cos(m * phi), np.sin(m * phi)]
            for wave in waves:
                columns.append(radial * wave[:, None])
                width += [ridge] * number
                order += [m] * number
        return cls(np.concatenate(columns, 1), np.array(width), np.array(order), end)


def splines(t: Array, end: float, number: int) -> Array:
    """Cubic B-splines on 0 ... end that add up to 1, shape (m, number)."""
    inner = np.linspace(0, max(end, 1e-6), number - 2)
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    t = np.clip(t, inner[0], inner[-1] * (1 - 1e-12))
    return np.asarray(BSpline.design_matrix(t, knots, 3).toarray())
