"""Event lists where an image is expected."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from fakes.cavities import write_fits
from fakes.cavity_events import fake_events

from physml.cavities.data.events.as_image import as_image
from physml.cavities.data.events.beside import exposure_maps
from physml.cavities.data.events.binning import bin_events
from physml.cavities.data.events.selection import select_events
from physml.cavities.data.loading import load_observation
from physml.exceptions import InputError
from physml.io.fits import open_image

CENTRE = (150.0, 20.0)


@pytest.fixture(scope="module")
def made():
    return fake_events("chandra", number=60_000, sky_share=0.4)


@pytest.fixture
def path(made, tmp_path):
    return made.write(tmp_path / "acisf12345_evt2.fits")


def test_a_list_is_an_observation(made, path):
    observation = load_observation(path, band="500:7000", bin=2)
    energy = made.columns["energy"]
    good = (energy >= 500) & (energy <= 7000) & np.isin(made.columns["quality"], (0, 2, 3, 4, 6))
    assert observation.total == pytest.approx(good.sum(), rel=0.01)  # those at the edge are cut
    assert observation.name == "acisf12345_evt2.fits"
    assert observation.files["image"] == path
    assert observation.position(*CENTRE) == pytest.approx(
        np.array(observation.counts.shape[::-1]) / 2 - 0.5, abs=1.1
    )
    text = " ".join(observation.remarks)
    for part in ("event list binned", "good times of GTI: 1000 s", "taken as flat"):
        assert part in text
    assert not any("WCS" in remark for remark in observation.remarks)


def test_open_lists_and_extensions(path):
    def image(given, hdu=None):
        prepared = as_image(given, hdu, None, select_events(), "list")
        return prepared.image.data

    whole = image(path)
    for given in (str(path), f"{path}[EVENTS]", f"{path}[1]"):
        np.testing.assert_array_equal(image(given), whole)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(image(hdus), whole)
    np.testing.assert_array_equal(image(path, "EVENTS"), whole)


def exposure_file(path, folder, name, half=1.0, **cards):
    """Exposure map of twice the pixels, whose right part was exposed half as long."""
    image = open_image_of(path)
    height, width = image.data.shape
    wcs = image.wcs[::2, ::2]
    data = np.full((height // 2, width // 2), 1000.0)
    data[:, data.shape[1] * 3 // 4 :] *= half
    return write_fits(folder / name, data, wcs, **cards)


def open_image_of(path):
    return open_image(bin_events(path, select_events()).image)


def test_an_exposure_map_beside_is_used(path, tmp_path):
    exposure_file(path, tmp_path, "acisf12345_broad.expmap", 0.5, OBS_ID="12345", INSTRUME="ACIS")
    exposure_file(path, tmp_path, "acisf99999_broad.expmap", 0.1, OBS_ID="99999", INSTRUME="ACIS")
    observation = load_observation(path)
    assert any("beside the event list: acisf12345_broad" in r for r in observation.remarks)
    assert observation.files["exposure"].name == "acisf12345_broad.expmap"
    width = observation.counts.shape[1]
    assert observation.relative_exposure[100, width // 2] == pytest.approx(1, abs=1e-3)
    assert observation.relative_exposure[100, int(0.9 * width)] == pytest.approx(0.5, abs=1e-3)
    assert not any("flat" in remark for remark in observation.remarks)
    # What is given goes before what lies there.
    assert as_image(path, None, "mine.fits", select_events(), "list").exposure == "mine.fits"


def test_of_several_maps_none_is_chosen(path, tmp_path):
    for band in ("soft", "hard"):
        exposure_file(path, tmp_path, f"acisf12345_{band}.expmap", OBS_ID="12345", INSTRUME="ACIS")
    prepared = as_image(path, None, None, select_events(), "list")
    assert prepared.exposure is None
    assert any("several exposure maps" in text for text in prepared.binned.remarks.values())


def test_which_maps_belong_to_a_list(path, tmp_path):
    header = fits.getheader(path, 1)
    exposure_file(path, tmp_path, "acisf12345_expmap.fits")  # by its name
    exposure_file(path, tmp_path, "other_expmap.fits")
    exposure_file(path, tmp_path, "acisf12345_bkg.fits")
    write_fits(tmp_path / "acisf12345_expmap2.fits", np.ones((9, 9)))  # without a WCS
    (tmp_path / "acisf12345_expmap3.fits").write_text("no map")
    assert [file.name for file in exposure_maps(path, header)] == ["acisf12345_expmap.fits"]


def test_selections_are_for_lists(tmp_path):
    image = write_fits(tmp_path / "image.fits", np.ones((140, 140)))
    with pytest.raises(InputError, match=r"image\.fits.*an event list for band=, chips="):
        load_observation(image, band="500:2000", chips=3)
    with pytest.raises(InputError, match="an event list for bin="):
        load_observation(np.ones((140, 140)), bin=2)


def test_physical_regions_lie_on_the_events(made, path, tmp_path):
    """A source of the list, masked by a region in the list's own pixels."""
    x, y = 4096.5 + 120.0, 4096.5 - 80.0
    (tmp_path / "src.reg").write_text(f"circle({x},{y},9.5)\n")
    observation = load_observation(path, bin=2, mask=tmp_path / "src.reg")
    place = observation.sky.wcs.pixel_to_world(*np.argwhere(observation.filled).mean(axis=0)[::-1])
    step = 0.492 / 3600
    assert place.ra.deg == pytest.approx(150 - 120 * step / np.cos(np.radians(20)), abs=step)
    assert place.dec.deg == pytest.approx(20 - 80 * step, abs=step)
    assert observation.filled.sum() == pytest.approx(np.pi * 4.75**2, rel=0.15)
