"""Units of headers, against astropy's own conversions, and the way from them to counts."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from fakes.cavities import beta_image, tan_wcs, write_fits

from physml.cavities.data.loading import load_observation
from physml.cavities.data.units import exposure_time, parse_unit
from physml.exceptions import InputError

SHAPE = (130, 140)
TIME, AREA = 3000.0, 400.0


@pytest.fixture(scope="module")
def image():
    return beta_image(SHAPE, total=2e5)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("count/s", u.ct / u.s),
        ("ct s-1", u.ct / u.s),
        ("cts/s/pixel", u.ct / u.s),
        ("Counts/sec", u.ct / u.s),
        ("COUNT/S", u.ct / u.s),
        ("count*s^-1", u.ct / u.s),
        ("ct/ks", u.ct / u.ks),
        ("count/s/deg2", u.ct / u.s / u.deg**2),
        ("cts s^-1 arcmin^-2", u.ct / u.s / u.arcmin**2),
        ("counts/sec/sq arcmin", u.ct / u.s / u.arcmin**2),
        ("ph/cm2/s/sr", u.ph / u.cm**2 / u.s / u.sr),
        ("photon/cm**2/s/pixel", u.ph / u.cm**2 / u.s),
        ("photons s^-1 cm^-2", u.ph / u.cm**2 / u.s),
        ("10^-3 count/s", 1e-3 * u.ct / u.s),
    ],
)
def test_units_of_rates_are_those_of_astropy(text, same):
    unit = parse_unit(text)
    assert unit is not None
    assert unit.is_rate
    assert unit.counted
    counted = u.ph if "ph" in text else u.ct
    powers = counted * u.s**unit.time * u.m**unit.length * u.rad**unit.angle
    assert unit.scale == pytest.approx((1 * same).to_value(powers, u.dimensionless_angles()))


@pytest.mark.parametrize("text", ["count", "counts", "ct", "COUNTS/PIXEL", "photon", "adu", "DN"])
def test_counts_are_counts(text):
    assert parse_unit(text).is_counts


@pytest.mark.parametrize("text", ["s", "sec", "ks", "cm**2 s", "cm^2", "cm**2 count/photon"])
def test_exposures_are_exposures(text):
    assert parse_unit(text).is_exposure


@pytest.mark.parametrize("text", [None, "", "  ", "Primary Array", "arbitrary"])
def test_words_are_no_units(text):
    assert parse_unit(text) is None


def per_area():
    """Solid angle of a pixel [deg^2, rad^2]: 0.492 arcsec a side."""
    return (0.492 / 3600) ** 2


@pytest.mark.parametrize(
    ("unit", "factor", "map_unit", "map_value"),
    [
        ("count/s", 1 / TIME, "s", TIME),
        ("count/s", 1 / TIME, None, TIME),
        ("ct/ks", 1e3 / TIME, "s", TIME),
        ("count/s", 1 / TIME, "ks", TIME / 1e3),
        ("count/s/deg2", 1 / TIME / per_area(), "s", TIME),
        ("photon/cm2/s", 1 / TIME / AREA, "cm**2 s", TIME * AREA),
        ("photon/cm2/s", 1 / TIME / AREA, None, TIME * AREA),
        ("ph/s/cm^2/arcsec^2", 1 / TIME / AREA / 0.492**2, None, TIME * AREA),
    ],
)
def test_rates_and_fluxes_become_counts_by_their_map(
    unit, factor, map_unit, map_value, image, tmp_path
):
    wcs = tan_wcs(SHAPE)
    path = write_fits(tmp_path / "i.fits", image * factor, wcs, BUNIT=unit)
    cards = {} if map_unit is None else {"BUNIT": map_unit}
    exposure = write_fits(tmp_path / "e.fits", np.full(SHAPE, map_value), wcs, **cards)
    observation = load_observation(path, exposure=exposure)
    np.testing.assert_allclose(observation.counts, image, rtol=1e-5)
    assert any(f"taken as {unit}" in r for r in observation.remarks)
    assert not observation.doubts
    # The unit may be said where the header does not say it.
    bare = write_fits(tmp_path / "b.fits", image * factor, wcs)
    said = load_observation(bare, exposure=exposure, units=unit)
    np.testing.assert_allclose(said.counts, image, rtol=1e-5)


@pytest.mark.parametrize("key", ["EXPOSURE", "ONTIME", "LIVETIME"])
def test_a_rate_without_map_takes_the_time_of_its_header(key, image, tmp_path):
    path = write_fits(tmp_path / "i.fits", image / TIME, BUNIT="count/s", **{key: TIME})
    observation = load_observation(path)
    np.testing.assert_allclose(observation.counts, image)
    assert any(f"{key} = 3000 s" in r for r in observation.remarks)


def test_units_of_python_objects(image):
    quantity = (image / TIME) << (u.ct / u.s)
    exposure = np.full(SHAPE, TIME) << u.s
    header = fits.Header({"EXPOSURE": TIME})
    for given, maps in (
        (quantity, {"exposure": exposure}),
        (CCDData(quantity, wcs=tan_wcs(SHAPE)), {"exposure": exposure.to(u.ks)}),
        (CCDData(quantity, wcs=tan_wcs(SHAPE), meta=header), {}),
        (image << u.ct, {"exposure": exposure}),
    ):
        observation = load_observation(given, **maps)
        np.testing.assert_allclose(observation.counts, image)


def test_a_relative_map_beside_a_rate_leaves_the_time_to_the_header(image, tmp_path):
    relative = np.full(SHAPE, 0.8)
    path = write_fits(tmp_path / "i.fits", image / (0.8 * TIME), BUNIT="count/s", EXPOSURE=TIME)
    observation = load_observation(path, exposure=relative)
    np.testing.assert_allclose(observation.counts, image)
    bare = write_fits(tmp_path / "b.fits", image / (0.8 * TIME), BUNIT="count/s")
    with pytest.raises(InputError, match="or a time in its header"):
        load_observation(bare, exposure=relative)


def test_objects_that_are_given_as_something_else(image):
    seconds = CCDData(np.full(SHAPE, TIME), unit="s")
    with pytest.raises(InputError, match=r"expected an image of counts, found an exposure map"):
        load_observation(seconds)
    counts = CCDData(image, unit="count")
    with pytest.raises(InputError, match=r"expected an exposure map, found an image of counts"):
        load_observation(counts, exposure=CCDData(2 * image, unit="count"))
    assert load_observation(counts, exposure=seconds).total == image.sum()


LEVEL = 0.3


@pytest.fixture(scope="module")
def with_background(image):
    """Counts, and their background map in counts as it is used."""
    noisy = image + np.random.default_rng(3).poisson(LEVEL, SHAPE)
    return noisy, load_observation(noisy, background=np.full(SHAPE, LEVEL)).background


@pytest.mark.parametrize("unit", [None, "count", "count/s"])
def test_a_background_map_is_counts_or_a_rate_as_the_image(unit, with_background, tmp_path):
    """In counts also beside a rate, and with the image's unit where it has none of its own."""
    noisy, plain = with_background
    path = write_fits(tmp_path / "i.fits", noisy / TIME, BUNIT="count/s", EXPOSURE=TIME)
    value = LEVEL if unit == "count" else LEVEL / TIME
    cards = {} if unit is None else {"BUNIT": unit}
    background = write_fits(tmp_path / "b.fits", np.full(SHAPE, value), **cards)
    observation = load_observation(path, background=background)
    scaled = observation.background[0, 0] / LEVEL
    assert 0.7 < scaled < 1.3
    np.testing.assert_allclose(observation.background, plain, rtol=1e-6)


def test_what_cannot_become_counts_is_refused(image, tmp_path):
    wcs = tan_wcs(SHAPE)
    rate = write_fits(tmp_path / "rate.fits", image / TIME, wcs, BUNIT="count/s")
    with pytest.raises(
        InputError, match=r"rate.fits: expected an exposure map .*count/s.*EXPOSURE"
    ):
        load_observation(rate)
    flux = write_fits(tmp_path / "f.fits", image / 1e6, wcs, BUNIT="photon/cm2/s", EXPOSURE=TIME)
    with pytest.raises(InputError, match=r"f.fits: expected an exposure map beside"):
        load_observation(flux)
    area = write_fits(tmp_path / "a.fits", image, wcs, BUNIT="cm**2 s")
    with pytest.raises(InputError, match="units that make counts of count/s, found one in cm"):
        load_observation(rate, exposure=area)
    forced = load_observation(rate, exposure=area, units="flux")
    np.testing.assert_allclose(forced.counts, image**2 / TIME)
    energy = write_fits(tmp_path / "erg.fits", image, wcs, BUNIT="erg/cm2/s")
    with pytest.raises(InputError, match=r"erg.fits: expected counts.* found pixels in erg/cm2/s"):
        load_observation(energy)
    bare = write_fits(tmp_path / "bare.fits", image / TIME, BUNIT="count/s/deg2", EXPOSURE=TIME)
    with pytest.raises(InputError, match="solid angle"):
        load_observation(bare)
    with pytest.raises(InputError, match=r"units=.*found 'foo/s'"):
        load_observation(image, units="foo/s")


def test_the_first_time_of_a_header_that_is_one():
    assert exposure_time({"EXPOSURE": "n/a", "LIVETIME": 0, "ONTIME": 12.5}) == ("ONTIME", 12.5)
    assert exposure_time({"ONTIME": 3, "EXPOSURE": 2}) == ("EXPOSURE", 2)
    assert exposure_time({}) == ("", None)


def test_without_a_unit_the_noise_tells_a_rate(image):
    """A bright source: the rates sum to more than a faint image has counts."""
    bright = beta_image(SHAPE, total=8e6).astype(int)
    exposure = np.full(SHAPE, TIME) * np.linspace(0.7, 1, SHAPE[1])
    seen = np.random.default_rng(0).binomial(bright, exposure / TIME).astype(float)
    assert (seen / exposure).sum() > 1000
    observation = load_observation(seen / exposure, exposure=exposure)
    np.testing.assert_allclose(observation.counts, seen)
    assert not observation.doubts
    header = fits.Header({"EXPOSURE": TIME})
    by_header = load_observation(CCDData(image / TIME, unit=u.dimensionless_unscaled, meta=header))
    np.testing.assert_allclose(by_header.counts, image)
    # Counts stay counts, whatever the exposure is, also where they were corrected a little.
    for counts in (image, image * np.linspace(1, 1.4, SHAPE[1])):
        kept = load_observation(counts, exposure=exposure)
        np.testing.assert_allclose(kept.counts, counts)
    with pytest.raises(InputError, match="an exposure map, found the image itself"):
        load_observation(image, exposure=image)
