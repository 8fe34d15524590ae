"""Images that were read wrongly once, each with what is right."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from physml.cavities.data.loading import load_observation


@pytest.fixture
def cases(shared_data):
    folder = shared_data.parent / "cases" / "cavities"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}")
    return folder


def test_zeros_outside_a_round_field(cases):
    seen = fits.getdata(cases / "round_field_exp.fits.gz") > 0
    observation = load_observation(cases / "round_field_zeros.fits.gz")
    assert (observation.exposed ^ seen).mean() < 0.004
    assert "22.5 % of the image was not observed: zeros outside a round field" in (
        observation.remarks
    )
    assert not observation.doubts
    known = load_observation(
        cases / "round_field_zeros.fits.gz", exposure=cases / "round_field_exp.fits.gz"
    )
    assert not [r for r in known.remarks if "not observed" in r]


def test_undefined_outside_the_field(cases):
    observation = load_observation(cases / "nan_fov.fits.gz")
    data = fits.getdata(cases / "nan_fov.fits.gz")
    np.testing.assert_array_equal(observation.exposed, np.isfinite(data))
    said = "21.5 % of the image was not observed: undefined pixels outside a round field"
    assert said in observation.remarks


def test_one_extreme_pixel_of_the_exposure(cases):
    plain = load_observation(cases / "base.fits.gz")
    hot = load_observation(cases / "base.fits.gz", exposure=cases / "hot_exposure.fits.gz")
    np.testing.assert_allclose(hot.relative_exposure, plain.relative_exposure, atol=1e-6)
    assert "exposure map: 1 extreme pixel set to those around" in hot.remarks


def test_a_bright_rate(cases):
    rate, exposure = cases / "rate_bright.fits.gz", cases / "rate_bright_exp.fits.gz"
    observation = load_observation(rate, exposure=exposure)
    counts = fits.getdata(rate).astype(float) * 3000
    np.testing.assert_allclose(observation.counts, counts, rtol=1e-5)
    assert not observation.doubts
    with pytest.raises(Exception, match=r"expected an exposure map beside an image in count/s"):
        load_observation(rate)


def test_counts_times_ten(cases):
    observation = load_observation(cases / "nocavity_x10.fits.gz")
    assert observation.doubts == ["whose pixels scatter more than counts"]
    assert any("scatter with 10 times the variance of counts" in r for r in observation.remarks)


@pytest.mark.parametrize(
    ("background", "doubt"),
    [
        ("bkg_with_cluster.fits.gz", "whose background maps rise towards the cluster"),
        ("bkg_counts.fits.gz", "whose background maps follow the image pixel by pixel"),
    ],
)
def test_background_maps_with_light_of_the_cluster(cases, background, doubt):
    observation = load_observation(cases / "bkg_counts.fits.gz", background=cases / background)
    assert observation.doubts == [doubt]


@pytest.fixture(scope="module")
def predictor():
    import physml

    return physml.load("cavities")


#: Cavities of the base image, 0-based pixels.
PLACES = ((153.99, 141.08), (103.71, 109.80))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "exposure"),
    [
        ("base", None),
        ("nan_fov", None),
        ("base", "hot_exposure"),
        ("rate_bright", "rate_bright_exp"),
    ],
)
def test_both_cavities_are_found(cases, predictor, image, exposure):
    maps = {} if exposure is None else {"exposure": cases / f"{exposure}.fits.gz"}
    result = predictor.predict(cases / f"{image}.fits.gz", **maps)
    assert len(result.catalogue) == 2
    for x, y in PLACES:
        away = np.hypot(result.catalogue["x"] - x, result.catalogue["y"] - y)
        assert away.min() < 1
    assert not any(map(result.is_candidate, range(2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "background"),
    [
        ("round_field_zeros", None),
        ("nocavity_x10", None),
        ("bkg_counts", "bkg_with_cluster"),
        ("bkg_counts", "bkg_counts"),
    ],
)
def test_none_is_sure_where_there_is_none(cases, predictor, image, background):
    maps = {} if background is None else {"background": cases / f"{background}.fits.gz"}
    result = predictor.predict(cases / f"{image}.fits.gz", **maps)
    assert all(map(result.is_candidate, range(len(result.catalogue))))
    if image == "round_field_zeros":
        assert len(result.catalogue) == 0
