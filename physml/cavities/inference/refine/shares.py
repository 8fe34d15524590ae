r"""Share of the line of sight's emission within a half-length Z about the plane of the sky.

A component of the halo, A (1 + R^2 / rc^2)^(-alpha) on the sky, has the emissivity
(1 + (R^2 + z^2) / rc^2)^(-alpha - 1/2). With B^2 = R^2 + rc^2 and v = Z / B the share within Z is

.. math:: F(v) = I_{v^2/(1+v^2)}(1/2, alpha),
          F'(v) = 2 (1 + v^2)^{-alpha-1/2} / B(1/2, alpha)

(B(., .) the beta function): one table a component.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import beta, betainc

Array = NDArray[np.float64]

#: Nodes of a table, evenly spaced in v / (1 + v).
NODES = 1024


@dataclass(frozen=True)
class Shares:
    """How the emission at some places is spread along the line of sight.

    Attributes
    ----------
    surface : ndarray, shape (m,)
        Surface brightness of the halo at exposure 1 [counts / pixel].
    part : ndarray, shape (m,)
        Share of the first component in it.
    length : ndarray, shape (2, m)
        B of each component [pixel].
    slope : tuple of float
        alpha of each.
    table : ndarray, shape (2, NODES)
        F of each component.
    """

    surface: Array
    part: Array
    length: Array
    slope: tuple[float, float]
    table: Array

    @classmethod
    def of(cls, halo: Any, x: NDArray[Any], y: NDArray[Any]) -> Shares:
        """Shares of a fitted halo (`core.halo.PARAMETERS`) at places [pixel]."""
        u, v = np.asarray(x) - float(halo["x"]), np.asarray(y) - float(halo["y"])
        e1, e2 = float(halo["e1"]), float(halo["e2"])
        r2 = np.maximum((1 - e1) * u * u + (1 + e1) * v * v - 2 * e2 * u * v, 0.0)
        surfaces, lengths, slopes = [], [], []
        for k in (1, 2):
            core, slope = (
                np.exp(float(halo[f"log_core_{k}"])),
                np.exp(float(halo[f"log_slope_{k}"])),
            )
            amplitude = np.exp(float(halo[f"log_amplitude_{k}"]))
            surfaces.append(amplitude * (1 + r2 / core**2) ** -slope)
            lengths.append(np.sqrt(r2 + core**2))
            slopes.append(float(slope))
        total = np.maximum(surfaces[0] + surfaces[1], 1e-12)
        table = np.stack([share_table(s) for s in slopes])
        return cls(total, surfaces[0] / total, np.stack(lengths), (slopes[0], slopes[1]), table)

    def take(self, rows: NDArray[Any]) -> Shares:
        """Some of the places."""
        return Shares(
            self.surface[rows], self.part[rows], self.length[:, rows], self.slope, self.table
        )

    def within(self, half: Array) -> tuple[Array, Array]:
        """Share within half-lengths, and its derivative by them.

        Parameters
        ----------
        half : ndarray, shape (..., m)
            [pixel].
        """
        share = slope = np.zeros(())
        for k, part in enumerate((self.part, 1 - self.part)):
            v = half / self.length[k]
            share = share + part * look_up(self.table[k], v)
            alpha = self.slope[k]
            density = 2 / beta(0.5, alpha) * (1 + v * v) ** (-alpha - 0.5)
            slope = slope + part * density / self.length[k]
        return share, slope


def share_table(slope: float) -> Array:
    """F at v / (1 + v) = 0 ... 1, shape (NODES,)."""
    t = np.linspace(0, 1, NODES)
    v2 = (t[:-1] / (1 - t[:-1])) ** 2
    return np.append(betainc(0.5, slope, v2 / (1 + v2)), 1.0)


def look_up(table: Array, v: Array) -> Array:
    """F(v) by straight lines."""
    place = v / (1 + v) * (NODES - 1)
    low = np.minimum(place.astype(np.int64), NODES - 2)
    below = table[low]
    return below + (place - low) * (table[low + 1] - below)
