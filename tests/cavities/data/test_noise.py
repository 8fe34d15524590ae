"""Scatter against Poisson, the range of the training, and the scale of exposure maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes.cavities import beta_image
from scipy import ndimage

from physml.cavities.data.exposure_scale import exposure_scale, without_hot_pixels
from physml.cavities.data.loading import load_observation
from physml.cavities.data.noise import scatter
from physml.cavities.data.trained_range import scales_outside, trained_counts

SHAPE = (160, 160)
ALL = np.ones(SHAPE, bool)


@pytest.mark.parametrize("mean", [0.05, 0.5, 3.0, 200.0])
def test_poisson_counts_have_ratio_one_at_any_depth(mean):
    ratios = []
    for seed in range(6):
        image = np.random.default_rng(seed).poisson(mean, SHAPE).astype(float)
        found = scatter(image, ALL, 2 if mean < 0.1 else 1)
        ratios.append((found.ratio - 1) / found.error)
    # In units of the stated error: mean 0 +- 1 / sqrt(6), scatter about 1.
    assert abs(np.mean(ratios)) < 1.5
    assert 0.2 < np.std(ratios) < 2.2


@pytest.mark.parametrize("total", [3e3, 2e5, 2e6])
def test_the_ratio_is_the_factor_of_scaled_counts(total):
    """Also with a steep core, sources, unobserved parts; NaN where nothing can be told."""
    image = beta_image(SHAPE, core=3, total=total, beta=0.6)
    image[40, 40] += 5000
    image[:, 130:] = 0
    for factor in (0.01, 1.0, 10.0):
        found = scatter(factor * image, ALL)
        assert found.ratio == pytest.approx(factor, rel=0.15)
    assert np.isnan(scatter(np.zeros(SHAPE), ALL).ratio)
    assert np.isnan(scatter(image, ~ALL).ratio)


IMAGE = beta_image(SHAPE, total=1e5)
CHANGED = {
    "times ten": (10 * IMAGE, "more"),
    "background subtracted": (IMAGE - 1.5, "more"),
    "smoothed": (ndimage.gaussian_filter(IMAGE, 1.0), "less"),
    "shifted by half a pixel": (ndimage.shift(IMAGE, 0.5, order=1, mode="nearest"), "less"),
    "turned": (ndimage.rotate(IMAGE, 20, reshape=False, order=1, mode="nearest"), "less"),
    "larger pixels": (ndimage.zoom(IMAGE, 0.85, order=1) / 0.85**2, "less"),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_what_was_done_to_the_counts_is_told_and_nothing_is_sure(kind):
    image, way = CHANGED[kind]
    observation = load_observation(image)
    assert observation.doubts == [f"whose pixels scatter {way} than counts"]
    (text,) = (r for r in observation.remarks if "neighbouring pixels scatter with" in r)
    assert text.endswith("no cavity is sure")


@pytest.mark.parametrize("total", [2500, 1e5, 3e6])
def test_counts_are_trusted(total):
    image = beta_image(SHAPE, total=total, core=5)
    assert load_observation(image).doubts == []
    exposure = np.linspace(0.3, 1, SHAPE[1]) * np.ones(SHAPE)
    thinned = np.random.default_rng(1).binomial(image.astype(int), exposure)
    assert load_observation(thinned, exposure=exposure).doubts == []


CARD = {"provenance": {"settings": {"simulate": {"instrument": {"counts": [2000, 3e6]}}}}}


def test_binnings_outside_of_the_training():
    loaded = load_observation(IMAGE)

    def outside(totals, listed, card=CARD):
        observation = replace(loaded, notes={})
        found = scales_outside(observation, totals, listed, card)
        return found, observation.remarks

    assert trained_counts(CARD) == (2000, 3e6)
    assert outside({1: 2500.0, 2: 9e5}, [1, 2]) == (set(), [])
    # An empty field at the finest binning is nothing to tell, unless something was found there.
    assert outside({1: 300.0, 2: 9e3}, [2]) == ({1}, [])
    found, (text,) = outside({1: 300.0, 2: 9e3}, [1, 2])
    assert found == {1}
    assert "300 at binning 1 counts" in text
    assert "2,000 to 3,000,000" in text
    found, (text,) = outside({1: 4e6, 2: 9e7}, [])
    assert found == {1, 2}
    for card in ({}, {"provenance": None}, {"provenance": {"settings": {"simulate": 3}}}):
        assert outside({1: 1.0}, [1], card) == (set(), [])


def exposure_map():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 2e4 / (1 + ((x - 90) ** 2 + (y - 70) ** 2) / 120**2)


def test_extreme_pixels_do_not_set_the_scale():
    usual = exposure_map()
    for places in ([(10, 20)], [(10, 20), (11, 20), (90, 90)], [(0, 0), (159, 159)]):
        hot = usual.copy()
        for place in places:
            hot[place] *= 51
        cleaned, number = without_hot_pixels(hot)
        assert number == len(places)
        np.testing.assert_allclose(cleaned, usual, rtol=0.1)
        observation = load_observation(IMAGE, exposure=hot)
        assert observation.relative_exposure[80, 80] == pytest.approx(usual[80, 80] / 2e4, rel=0.02)
        assert any("extreme pixel" in r for r in observation.remarks)
    columns = usual.copy()
    columns[:, [31, 32, 100]] *= 30
    cleaned, number = without_hot_pixels(columns)
    assert number == 3 * SHAPE[0]
    np.testing.assert_allclose(cleaned, usual, rtol=0.15)
    chips = np.where(np.hypot(*np.mgrid[-80:80, -80:80]) < 60, usual, 0.0)
    hot = chips.copy()
    hot[100, 40] *= 20
    cleaned, number = without_hot_pixels(hot)
    assert number == 1
    assert (cleaned == chips).sum() == chips.size - 1
    same, number = without_hot_pixels(usual)
    assert number == 0
    np.testing.assert_array_equal(same, usual)


def test_a_deep_field_elsewhere_does_not_set_the_scale():
    """Another pointing of forty times the exposure in the corner of a mosaic."""
    exposure = exposure_map()
    exposure[:45, :45] *= 40
    rate = beta_image(SHAPE, (95.0, 100.0), total=1e5) / 2e4 + 1e-6
    counts = np.random.default_rng(0).poisson(rate * exposure).astype(float)
    scale = exposure_scale(exposure, counts)
    assert scale == pytest.approx(exposure[100, 95], rel=0.15)
    observation = load_observation(counts, exposure=exposure)
    assert observation.relative_exposure[100, 95] == pytest.approx(1, abs=0.15)
    assert any("exposure at the cluster" in r for r in observation.remarks)
    from physml.cavities.inference.centre import choose_centre

    x, y = choose_centre(observation)
    assert np.hypot(x - 95, y - 100) < 4
    # A field that is deepest beside the cluster, by less than that, is the scale as ever.
    plain = exposure_map()
    assert exposure_scale(plain, counts) == plain.max()
