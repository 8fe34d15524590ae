"""Charge that diffuses out of silicon without a field, against walks step by step."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.detectors import load_detector
from physml.background.simulator.deposits import Left
from physml.background.simulator.field_free import collected_share, diffuse, variance

FRONT = load_detector("acis_front")


def walk(thick: float, length: float, depth: float, number: int = 3000) -> tuple[float, float]:
    """Share that arrives and its variance, from random walks with a reflecting far side."""
    rng = np.random.default_rng(1)
    step = 0.02 * thick
    # The mean overshoot of a Gaussian step lets walks end 0.58 of one beyond the border.
    border = 0.5826 * step
    z = np.full(number, depth) - border
    x, alive, arrived = np.zeros(number), np.ones(number, bool), np.zeros(number, bool)
    dies = 0.5 * (step / length) ** 2
    for _ in range(40_000):
        rows = np.flatnonzero(alive)
        if len(rows) == 0:
            break
        z[rows] += step * rng.standard_normal(len(rows))
        z[rows] = np.minimum(z[rows], 2 * (thick - border) - z[rows])
        x[rows] += step * rng.standard_normal(len(rows))
        there = z[rows] < 0
        arrived[rows[there]] = True
        alive[rows] = ~there & (rng.random(len(rows)) >= dies)
    return float(arrived.mean()), float(x[arrived].var())


@pytest.mark.parametrize(("depth", "length"), [(0.3, 0.8), (0.8, 1.5)])
def test_share_and_width_are_those_of_walks(depth: float, length: float) -> None:
    d = FRONT.model_copy(update={"field_free_um": 100.0, "diffusion_um": 100.0 * length})
    share, spread = walk(100.0, 100.0 * length, 100.0 * depth)
    at = np.array([100.0 * depth])
    assert share == pytest.approx(float(collected_share(d, at)[0]), abs=0.035)
    assert spread == pytest.approx(float(variance(d, at)[0]), rel=0.12)


def test_without_recombination_all_arrives() -> None:
    d = FRONT.model_copy(update={"diffusion_um": 1e6})
    depth = np.linspace(0, d.field_free_um, 9)
    np.testing.assert_allclose(collected_share(d, depth), 1, atol=1e-6)
    whole = d.field_free_um
    np.testing.assert_allclose(variance(d, depth), whole**2 - (whole - depth) ** 2, rtol=1e-5)


def test_energy_is_that_which_arrives() -> None:
    rng, n = np.random.default_rng(2), 400
    position = np.stack([np.full(n, 12_000.0), np.full(n, 12_000.0), rng.uniform(0, 470, n)], 1)
    left = Left(rng.uniform(0.1, 5, n), position, np.arange(n), np.zeros(n, np.int8))
    size = np.array([24_576.0, 24_576.0])
    after = diffuse(FRONT, left, size, rng)
    depth = np.maximum(position[:, 2] - 70, 0)
    expected = left.energy * collected_share(FRONT, depth)
    np.testing.assert_allclose(np.bincount(after.owner, after.energy), expected, rtol=1e-9)
    assert after.position[:, 2].max() <= 70
    deep = left.position[after.owner, 2] > 70
    spread = after.position[deep, 0] - 12_000
    weight = after.energy[deep]
    wanted = np.average(variance(FRONT, depth[after.owner[deep]]), weights=weight)
    assert np.average(spread**2, weights=weight) == pytest.approx(wanted, rel=0.1)


def test_a_depleted_detector_is_left_as_it_is() -> None:
    left = Left(np.ones(1), np.full((1, 3), 60.0), np.zeros(1, int), np.zeros(1, np.int8))
    back = load_detector("acis")
    assert diffuse(back, left, np.array([1e4, 1e4]), np.random.default_rng(3)) is left
    assert (FRONT.lit, back.lit) == ("front", "back")
    assert back.silicon_um == 70
