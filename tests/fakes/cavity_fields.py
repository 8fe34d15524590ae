"""Fields with an analytic halo and emptied ellipsoids, made without the likelihood's own code."""

from __future__ import annotations

import numpy as np

from physml.cavities.core.ellipse import Ellipse
from physml.cavities.core.halo import PARAMETERS
from physml.cavities.inference.refine.cells import FieldImage

SIDE = 128
CORE, SLOPE = 9.0, 1.1


def halo(amplitude: float, x: float, y: float) -> np.ndarray:
    """Parameters of a round halo whose second component is nothing, as the fit gives them."""
    values = dict.fromkeys(PARAMETERS, 0.0) | {
        "log_amplitude_1": np.log(amplitude),
        "log_core_1": np.log(CORE),
        "log_slope_1": np.log(SLOPE),
        "log_amplitude_2": -25.0,
        "x": x,
        "y": y,
        "log_constant": np.log(0.01),
    }
    names = np.dtype([(name, "f8") for name in PARAMETERS])
    return np.array(tuple(values[name] for name in PARAMETERS), dtype=names)


def hidden(ellipse: Ellipse, x: float, y: float) -> np.ndarray:
    """Share of the emission in an ellipsoid in the plane of the sky: a sum along the line."""
    Y, X = np.mgrid[:SIDE, :SIDE].astype(float)
    b2 = (X - x) ** 2 + (Y - y) ** 2 + CORE**2
    radius = np.sqrt(ellipse.semi_major * ellipse.semi_minor)
    half = radius * np.sqrt(np.clip(1 - ellipse.squared_radius(X, Y), 0, None))
    # z = B tan(t): (1 + z^2 / B^2)^(-a - 1/2) dz = B cos(t)^(2a - 1) dt.
    end = np.arctan(half / np.sqrt(b2))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    inside = sum(
        w * 0.5 * end * np.cos(0.5 * end * (1 + n)) ** (2 * SLOPE - 1)
        for n, w in zip(nodes, weights, strict=True)
    )
    whole = sum(
        w * np.pi / 4 * np.cos(np.pi / 4 * (1 + n)) ** (2 * SLOPE - 1)
        for n, w in zip(nodes, weights, strict=True)
    )
    return inside / whole


def field(
    cavities: list[Ellipse],
    total: float = 2e5,
    seed: int | None = 0,
    place: tuple[float, float] = (63.5, 63.5),
    emptied: float = 1.0,
) -> FieldImage:
    """Field with cavities; expected counts themselves where there is no seed."""
    Y, X = np.mgrid[:SIDE, :SIDE].astype(float)
    x, y = place
    gas = (1 + ((X - x) ** 2 + (Y - y) ** 2) / CORE**2) ** -SLOPE
    amplitude = total / gas.sum()
    left = np.ones_like(gas)
    for one in cavities:
        left *= 1 - emptied * hidden(one, x, y)
    expected = amplitude * gas * left + 0.01
    counts = expected if seed is None else np.random.default_rng(seed).poisson(expected)
    ones = np.ones_like(gas)
    return FieldImage(
        np.asarray(counts, float), ones, None, np.zeros(gas.shape, bool), halo(amplitude, x, y)
    )
