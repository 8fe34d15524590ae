"""Images larger than any field of before are searched whole, with the shipped weights."""

from __future__ import annotations

import numpy as np
import pytest

from physml.cavities.predict import CavityPredictor

#: Radius of the planted cavities, and their distance from the image's sides [field pixel].
RADIUS, MARGIN = 11.0, 20.0


def corners(side: int) -> list[tuple[float, float]]:
    """Place of a cavity near each corner [pixel]."""
    near = MARGIN * side / 128
    return [(x, y) for x in (near, side - near) for y in (near, side - near)]


def cluster(side: int) -> np.ndarray:
    """Counts of a cluster as wide as the image, a little off its middle, a cavity near each corner.

    A beta model of 3 million counts; 55 % of the light is missing in the cavities.
    """
    k = side / 128
    middle = side / 2 + 0.3 * k
    y, x = np.ogrid[:side, :side]
    expected = (1 + ((x - middle) ** 2 + (y - middle) ** 2) / (12 * k) ** 2) ** (0.5 - 3 * 0.55)
    expected = expected.astype(np.float32)
    for a, b in corners(side):
        expected[(x - a) ** 2 + (y - b) ** 2 < (RADIUS * k) ** 2] *= 0.45
    expected *= 3e6 / expected.sum(dtype=np.float64)
    return np.random.default_rng(5).poisson(expected).astype(np.float32)


@pytest.mark.parametrize(
    "side",
    [
        pytest.param(1024, marks=pytest.mark.slow),
        pytest.param(8192, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_cavity_near_each_corner_is_found(side):
    result = CavityPredictor.load().predict(cluster(side), progress=False)
    scales = [f.scale for f in result.search.fields]
    assert scales[-1] * 128 >= side
    for x, y in corners(side):
        away = np.hypot(result.catalogue["x"] - x, result.catalogue["y"] - y)
        nearest = result.catalogue[int(np.argmin(away))]
        assert away.min() < 3 * side / 128
        assert nearest["probability"] > 0.8
        assert nearest["radius"].value / (RADIUS * side / 128) == pytest.approx(1, abs=0.3)
