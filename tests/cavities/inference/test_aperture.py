"""Counts within an outline against the gas beside it."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.cavities import beta_image

from physml.cavities.data.observation import Observation
from physml.cavities.data.sky import Sky
from physml.cavities.inference.aperture import (
    coloured_model,
    measure_aperture,
    undisturbed_model,
)

SIZE, CENTRE = 128, (63.5, 63.5)
Y, X = np.indices((SIZE, SIZE))
HOLE = (X - 85) ** 2 + (Y - 66) ** 2 <= 10**2


def observation(counts, background=None, exposure=None):
    return Observation(
        counts=np.asarray(counts, float),
        relative_exposure=np.ones((SIZE, SIZE)) if exposure is None else exposure,
        background=background,
        filled=np.zeros((SIZE, SIZE), bool),
        sky=Sky(None),
    )


def beta(core=12.0, slope=0.55, total=1e6):
    mu = (1 + ((X - 63.5) ** 2 + (Y - 63.5) ** 2) / core**2) ** (0.5 - 3 * slope)
    return mu * total / mu.sum()


def test_deficit_and_scale_of_an_exact_model():
    mu = beta()
    seen = np.where(HOLE, 0.7 * mu, mu)
    found = measure_aperture(observation(seen), 1.2 * mu, CENTRE, HOLE, HOLE)
    assert found.scale == pytest.approx(1 / 1.2, rel=1e-12)
    assert found.counts == pytest.approx(0.7 * mu[HOLE].sum())
    expected = mu[HOLE].sum()
    noise = np.sqrt(expected + expected**2 / found.control)
    assert found.snr == pytest.approx(0.3 * expected / noise)


def test_noise_of_the_deficit_is_the_scatter_of_draws():
    mu, rng = beta(total=3e5), np.random.default_rng(3)
    drawn = [
        measure_aperture(observation(rng.poisson(mu)), mu, CENTRE, HOLE, HOLE).snr
        for _ in range(300)
    ]
    assert np.mean(drawn) == pytest.approx(0.0, abs=4 / np.sqrt(300))
    assert np.std(drawn) == pytest.approx(1.0, abs=0.13)


def test_other_structures_and_unobserved_places_are_no_control():
    mu = beta()
    other = (X - 80) ** 2 + (Y - 90) ** 2 <= 8**2
    gap = (X > 70) & (X < 74)
    seen = np.where(other, 0.0, np.where(HOLE, 0.7 * mu, mu))
    image = observation(np.where(gap, 0.0, seen), exposure=np.where(gap, 0.0, 1.0))
    found = measure_aperture(image, np.where(gap, 0, mu), CENTRE, HOLE, HOLE | other)
    assert found.scale == pytest.approx(1.0, rel=1e-12)
    nowhere = observation(seen, exposure=np.where(HOLE, 0.0, 1.0))
    assert measure_aperture(nowhere, mu, CENTRE, HOLE, HOLE) is None


def test_a_lopsided_halo_is_taken_at_both_sides_of_the_outline():
    """A gradient across the image is the mean of the sectors to both sides."""
    mu = beta() * (1 + 0.004 * (Y - 66))
    found = measure_aperture(observation(mu), beta(), CENTRE, HOLE, HOLE)
    assert abs(found.counts / (found.scale * found.model) - 1) < 0.01


def test_undisturbed_model_does_not_see_what_is_left_out():
    image = beta_image((SIZE, SIZE), CENTRE, total=1e6, seed=4)
    emptied = np.where(HOLE, 0.0, image)
    with_hole = undisturbed_model(observation(emptied), CENTRE, (1,), HOLE)
    without = undisturbed_model(observation(image), CENTRE, (1,), HOLE)
    np.testing.assert_allclose(with_hole, without, rtol=1e-9)
    assert with_hole[HOLE].sum() == pytest.approx(image[HOLE].sum(), rel=0.03)


def test_coloured_model_follows_a_gradient_of_the_ratio_of_bands():
    soft, hard = beta(total=2e6), beta(core=16.0, slope=0.52, total=8e5)
    found = coloured_model(observation(hard), observation(soft), soft, HOLE)
    np.testing.assert_allclose(found[HOLE].sum(), hard[HOLE].sum(), rtol=0.02)
    inner = np.hypot(X - 63.5, Y - 63.5) < 40
    assert np.abs(found / hard - 1)[inner].max() < 0.08


def test_coloured_model_with_backgrounds_and_exposures_of_their_own():
    exposure = 1 - 0.3 * X / SIZE
    flat_soft, flat_hard = np.full((SIZE, SIZE), 2.0), np.full((SIZE, SIZE), 5.0)
    soft = beta(total=2e6) + flat_soft
    hard = 0.4 * beta(total=2e6) * exposure + flat_hard
    found = coloured_model(
        observation(hard, flat_hard, exposure), observation(soft, flat_soft), soft, HOLE
    )
    np.testing.assert_allclose(found, hard, rtol=2e-3)
