"""Background maps: their scale is found, and light of the cluster in them is told."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.cavities import beta_image
from scipy.ndimage import gaussian_filter

from physml.cavities.data.background_map import fit_scale, judge_background
from physml.cavities.data.loading import load_observation

SIDE = 160
y, x = np.mgrid[:SIDE, :SIDE]
FLAT = np.ones((SIDE, SIDE))
#: Vignetting about an axis beside the cluster.
EXPOSURE = 1 / (1 + ((x - 50) ** 2 + (y - 110) ** 2) / 100**2)
CLUSTER = beta_image((SIDE, SIDE), core=8, beta=0.65, total=6e4, seed=5)
LEVEL = 0.5


def observed(background, exposure=FLAT, seed=1):
    rng = np.random.default_rng(seed)
    return rng.binomial(CLUSTER.astype(int), exposure) + rng.poisson(background).astype(float)


GOOD = {
    "flat": (FLAT, FLAT),
    "particles under a vignetted sky": (FLAT, EXPOSURE),
    "sky": (EXPOSURE, EXPOSURE),
    "both": (0.5 + 0.5 * EXPOSURE, EXPOSURE),
    "a chip with twice the particles": (np.where(abs(x - 80) < 45, 1.5, 0.75), FLAT),
}


@pytest.mark.parametrize("kind", GOOD)
def test_backgrounds_of_detector_and_sky_are_trusted(kind):
    shape, exposure = GOOD[kind]
    background = LEVEL * shape
    counts = observed(background, exposure)
    judged = judge_background(background, exposure, counts)
    assert not judged.rises
    assert not judged.follows
    if kind == "both":  # with the fit of the scale, which takes a second
        assert load_observation(counts, exposure=exposure, background=background).doubts == []


@pytest.mark.parametrize("factor", [0.6, 0.8, 1.0, 1.25, 1.7])
@pytest.mark.parametrize("kind", ["flat", "particles under a vignetted sky"])
def test_the_scale_is_found_within_its_error(kind, factor):
    """A map that is too high is brought to the image; the halo takes up what one is too low."""
    shape, exposure = GOOD[kind]
    counts = observed(LEVEL * shape, exposure)
    left = np.log(fit_scale(factor * LEVEL * shape, exposure, counts) * factor)
    if factor < 1:
        assert np.log(factor) - 0.05 < left < 0.12
    else:
        assert abs(left) < max(0.12, 0.75 * np.log(factor))


def test_the_noise_of_a_map_does_not_change_its_scale():
    noisy = np.random.default_rng(2).poisson(20 * LEVEL * FLAT) / 20
    counts = observed(LEVEL * FLAT)
    assert fit_scale(noisy, FLAT, counts) == pytest.approx(
        fit_scale(LEVEL * FLAT, FLAT, counts), rel=0.05
    )
    judged = judge_background(noisy, FLAT, counts)
    assert not judged.rises
    assert not judged.follows


def test_a_changed_scale_is_told_and_applied():
    counts = observed(LEVEL * FLAT)
    observation = load_observation(counts, background=2.2 * LEVEL * FLAT)
    (text,) = (r for r in observation.remarks if "background map multiplied by" in r)
    factor = float(text.split(" by ")[1].split(",")[0])
    assert 0.4 < factor < 0.75
    level = observation.background / (2.2 * LEVEL)
    np.testing.assert_allclose(level, level[0, 0])
    assert level[0, 0] == pytest.approx(factor, abs=0.006)


@pytest.mark.parametrize("exposure", [FLAT, EXPOSURE], ids=["flat", "vignetted"])
@pytest.mark.parametrize("width", [6, 25])
def test_light_of_the_cluster_in_a_map_is_told(width, exposure):
    """A spline or a smoothing that kept some of the cluster: 2.5-fold at its centre."""
    bump = gaussian_filter(CLUSTER, width)
    background = LEVEL * exposure * (1 + 1.5 * bump / bump.max())
    counts = observed(LEVEL * exposure, exposure)
    judged = judge_background(background, exposure, counts)
    assert judged.rises
    assert not judged.follows
    if width == 25 and exposure is EXPOSURE:
        observation = load_observation(counts, exposure=exposure, background=background)
        assert observation.doubts == ["whose background maps rise towards the cluster"]


def test_the_image_as_its_own_background_is_told():
    counts = observed(LEVEL * FLAT)
    for made in (counts, 0.3 * counts, gaussian_filter(counts, 0.6)):
        assert judge_background(made, FLAT, counts).follows
    observation = load_observation(counts, background=made)
    assert observation.doubts == ["whose background maps follow the image pixel by pixel"]
    smooth = judge_background(gaussian_filter(counts, 8.0), FLAT, counts)
    assert smooth.rises
    assert not smooth.follows


def test_abell_1835_s_map_holds_the_cluster(shared_data):
    xmm = shared_data / "xmm"
    observation = load_observation(
        xmm / "P0098010101M2U009IMAGE_3000.FTZ",
        exposure=xmm / "P0098010101M2U009EXPMAP3000.FTZ",
        background=xmm / "P0098010101M2X000BKGMAP3000.FTZ",
    )
    assert observation.doubts == ["whose background maps rise towards the cluster"]
