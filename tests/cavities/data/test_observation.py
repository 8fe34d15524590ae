"""Reading and checking observations."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from fakes.cavities import beta_image, tan_wcs, write_fits

from physml.cavities.data.loading import load_observation
from physml.cavities.data.observation import parse_position
from physml.exceptions import InputError


@pytest.fixture(scope="module")
def image():
    return beta_image((140, 150), total=5e4)


def test_all_kinds_of_input_give_the_same_observation(image, tmp_path):
    wcs = tan_wcs(image.shape)
    path = write_fits(tmp_path / "image.fits", image, wcs)
    with fits.open(path) as hdus:
        kinds = {
            "array": load_observation(image),
            "path": load_observation(path),
            "text": load_observation(str(path)),
            "hdus": load_observation(hdus),
            "ccd": load_observation(CCDData(image, unit="count", wcs=wcs)),
        }
    for name, observation in kinds.items():
        np.testing.assert_array_equal(observation.counts, image, err_msg=name)
        assert observation.exposed.all()
        if name == "array":
            assert observation.sky.wcs is None
            assert any("WCS" in r for r in observation.remarks)
        else:
            here = observation.sky.coordinates(10, 20)
            assert here.separation(kinds["path"].sky.coordinates(10, 20)).arcsec < 1e-6


def test_undefined_pixels_are_masked_with_a_remark(image):
    broken = image.copy()
    broken[:20] = np.nan
    broken[30, 30] = np.inf
    observation = load_observation(broken, name="broken")
    share = f"{100 * 3001 / image.size:.3g} % of the image was not observed: undefined pixels"
    assert any(r.startswith(share) for r in observation.remarks)
    assert not observation.exposed[:20].any()
    assert not observation.exposed[30, 30]
    assert observation.exposed.sum() == image.size - 3001
    assert np.isfinite(observation.counts).all()


def test_a_mask_set_by_hand_may_be_large(image):
    mask = np.zeros(image.shape, bool)
    mask[:60] = True
    observation = load_observation(CCDData(image, unit="count", mask=mask))
    np.testing.assert_array_equal(observation.exposed, ~mask)


def test_negative_pixels_are_kept_and_remarked(image):
    observation = load_observation(image - 0.5)
    np.testing.assert_allclose(observation.counts, image - 0.5)
    assert any("negative" in r for r in observation.remarks)


def test_exposure_is_relative_and_empties_unobserved_pixels(image):
    exposure = np.full(image.shape, 3e4)
    exposure[:, 100:] = 1.5e4
    exposure[:10] = 0
    observation = load_observation(image, exposure=exposure)
    assert observation.relative_exposure.max() == 1
    assert observation.relative_exposure[50, 120] == 0.5
    assert not observation.counts[:10].any()


def test_a_flux_image_becomes_counts(image):
    exposure = np.full(image.shape, 2e9)
    observation = load_observation(image / exposure, exposure=exposure)
    np.testing.assert_allclose(observation.counts, image)
    with pytest.raises(InputError, match="exposure map"):
        load_observation(image / exposure)
    forced = load_observation(image / exposure, units="counts")
    np.testing.assert_allclose(forced.counts, image / exposure)


@pytest.mark.parametrize(
    ("role", "made", "message"),
    [
        ("exposure", np.ones((10, 10)), "10 x 10"),
        ("exposure", np.zeros((140, 150)), "zeros"),
        ("background", np.ones((150, 140)), "140 x 150"),
        ("background", np.full((140, 150), 1e3), "expected background counts per pixel"),
        ("mask", np.ones((140, 150), bool), "less than half"),
        ("mask", np.zeros((140, 150)), "bool"),
        ("units", "photons", "auto, counts or flux"),
    ],
)
def test_unfit_maps_are_refused(image, role, made, message):
    with pytest.raises(InputError, match=message):
        load_observation(image, **{role: made})


def test_filling_replaces_the_source_by_its_surroundings():
    flat = np.random.default_rng(3).poisson(4.0, (140, 140)).astype(float)
    bright = flat.copy()
    bright[60:71, 60:71] += 100
    mask = np.zeros(flat.shape, bool)
    mask[59:72, 59:72] = True
    observation = load_observation(bright, mask=mask, seed=5)
    np.testing.assert_array_equal(observation.filled, mask)
    np.testing.assert_array_equal(observation.counts[~mask], bright[~mask])
    # 169 draws of mean 4: standard error 0.15.
    assert abs(observation.counts[mask].mean() - 4) < 0.75
    again = load_observation(bright, mask=mask, seed=5)
    np.testing.assert_array_equal(again.counts, observation.counts)
    other = load_observation(bright, mask=mask, seed=6)
    assert (other.counts != observation.counts).any()


def test_the_centre_may_be_given_in_any_notation(image):
    observation = load_observation(CCDData(image, unit="count", wcs=tan_wcs(image.shape)))
    place = observation.sky.coordinates(70.0, 60.0)
    ra, dec = place.ra, place.dec
    for given in (
        (ra.deg, dec.deg),
        (str(ra.deg), str(dec.deg)),
        (ra.to_string("hourangle", sep=":", precision=6), dec.to_string(sep=":", precision=5)),
        (ra, dec),
    ):
        assert observation.position(*given) == pytest.approx((70, 60), abs=1e-3)


@pytest.mark.parametrize(("ra", "dec"), [("north", "1"), ("10", "95"), ("1:2:x", "3")])
def test_an_unreadable_position_is_refused(ra, dec):
    with pytest.raises(InputError, match="sexagesimal"):
        parse_position(ra, dec)


def test_a_centre_outside_the_image_or_without_wcs_is_refused(image):
    with pytest.raises(InputError, match="celestial WCS"):
        load_observation(image).position(10, 20)
    observation = load_observation(CCDData(image, unit="count", wcs=tan_wcs(image.shape)))
    with pytest.raises(InputError, match="inside the image of 150 x 140"):
        observation.position(10, 20)


def test_quantities_are_accepted_as_position():
    place = parse_position(10 * u.deg, -3 * u.deg)
    assert (place.ra.deg, place.dec.deg) == pytest.approx((10, -3))
