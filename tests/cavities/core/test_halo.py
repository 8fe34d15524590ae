"""The smooth model: recovers haloes, ignores cavities, fills holes."""

from __future__ import annotations

import numpy as np
import pytest

from physml.cavities.core.halo import fill_sources, find_centre, fit_halo
from physml.cavities.learning.prepared import prepare
from physml.cavities.settings import SimulateSettings
from physml.cavities.simulator.batch import simulate_batch

SIZE = 128


def double_beta(x0=63.0, y0=64.5, a1=60.0, a2=4.0, e=0.15):
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    u, v = x - x0, y - y0
    r2 = (1 - e) * u**2 + (1 + e) * v**2
    return a1 * (1 + r2 / 3.0**2) ** -1.3 + a2 * (1 + r2 / 25.0**2) ** -1.0 + 0.05


def test_fit_recovers_a_model_of_its_own_family():
    truth = double_beta()
    fit = fit_halo(truth[None])
    assert np.abs(fit.model[0] / truth - 1).max() < 0.05
    p = fit.parameters[0]
    assert p["x"] == pytest.approx(63.0, abs=0.05)
    assert p["y"] == pytest.approx(64.5, abs=0.05)
    assert p["e1"] == pytest.approx(0.15, abs=0.02)


def test_fit_to_noise_is_unbiased_and_as_good_as_the_noise():
    truth = double_beta()
    counts = np.random.default_rng(0).poisson(truth, (6, SIZE, SIZE)).astype(float)
    fit = fit_halo(counts)
    chi2 = ((counts - fit.model) ** 2 / fit.model).mean((1, 2))
    assert np.all(np.abs(chi2 - 1) < 0.05)
    ratio = fit.model.sum((1, 2)) / counts.sum((1, 2))
    assert np.all(np.abs(ratio - 1) < 0.02)


def test_exposure_background_and_masked_pixels_are_taken_into_account():
    truth = double_beta()
    exposure = np.ones_like(truth)
    exposure[:, 40:46] = 0.3
    exposure[100:] = 0
    background = np.full_like(truth, 1.5)
    counts = exposure * truth + np.where(exposure > 0, background, 0)
    counts[20:26, 70:76] = 1e4  # a bright source, masked
    invalid = counts > 5e3
    fit = fit_halo(counts[None], exposure[None], background[None], invalid[None])
    live = (exposure > 0) & ~invalid
    assert np.abs(fit.model[0][live] / counts[live] - 1).max() < 0.06


def test_a_cavity_does_not_pull_the_model_into_it():
    truth = double_beta()
    y, x = np.mgrid[:SIZE, :SIZE]
    hole = (x - 90) ** 2 + (y - 64) ** 2 < 12**2
    counts = np.where(hole, 0.6 * truth, truth)
    fit = fit_halo(counts[None])
    assert np.median(fit.model[0][hole] / truth[hole]) > 0.9


def test_centre_is_found_in_faint_and_in_gappy_images():
    rng = np.random.default_rng(1)
    truth = double_beta(x0=50.0, y0=70.0)
    faint = rng.poisson(truth * 3000 / truth.sum(), (20, SIZE, SIZE))
    away = np.hypot(*(find_centre(faint) - (50.0, 70.0)).T)
    assert np.median(away) < 2
    exposure = np.ones_like(truth)
    exposure[:, :20] = 0.001
    counts = rng.poisson(truth * exposure)
    counts[:, :20] = 1  # rate of a thousand where nothing was exposed
    got = find_centre(counts[None], exposure[None])[0]
    assert np.hypot(*(got - (50.0, 70.0))) < 2


def test_filled_holes_have_the_level_of_their_surroundings():
    rng = np.random.default_rng(2)
    level = 5.0
    counts = rng.poisson(level, (SIZE, SIZE)).astype(float)
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), bool)
    for cx, cy in ((20, 20), (60, 90), (127, 64), (100, 30)):
        mask |= (x - cx) ** 2 + (y - cy) ** 2 < 25
    counts[mask] = 1000
    filled = fill_sources(counts, mask, rng)
    inside = filled[mask]
    assert inside.mean() == pytest.approx(level, abs=4 * np.sqrt(level / mask.sum()) + 0.5)
    assert inside.var() == pytest.approx(level, rel=0.4)
    assert np.array_equal(filled[~mask], counts[~mask].astype(np.float32))
    assert np.isfinite(fill_sources(counts, np.ones_like(mask), rng)).all()


def test_prepared_images_do_not_depend_on_the_batch():
    batch = simulate_batch(SimulateSettings(), 9, range(6))
    fields = [batch.counts, batch.exposure, batch.background, batch.invalid, batch.index]
    whole = prepare(*fields, seed=3)
    one = prepare(*(f[2:3] for f in fields), seed=3)
    assert np.array_equal(one["counts"][0], whole["counts"][2])
    a, b = one["root_model"][0].astype(float), whole["root_model"][2].astype(float)
    assert np.allclose(a, b, rtol=2e-3)
