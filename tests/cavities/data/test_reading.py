"""Extensions, kinds of maps, and folders of a telescope's products."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from fakes.cavities import beta_image, write_fits

from physml.cavities.data.folders import key_of, role_of_name, sort_files
from physml.cavities.data.inputs import split_extension
from physml.cavities.data.kinds import kind_of
from physml.cavities.data.loading import load_observation
from physml.cavities.data.reading import read_source
from physml.exceptions import InputError

SHAPE = (130, 140)
IMAGE = beta_image(SHAPE, total=5e4)
EXPOSURE = np.full(SHAPE, 2e4)
BACKGROUND = np.full(SHAPE, 0.05)


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ({"CONTENT": "EPIC EXPOSURE MAP"}, "exposure"),
        ({"CONTENT": "EPIC IMAGE"}, "image"),
        ({"CONTENT": "EPIC MERGED BACKGROUND MAP"}, "background"),
        ({"EXTNAME": "EXPMAP"}, "exposure"),
        ({"HDUNAME": "EXPMAP"}, "exposure"),
        ({"HDUCLAS1": "IMAGE", "HDUCLAS2": "EXPOSURE"}, "exposure"),
        ({"HDUCLAS1": "IMAGE", "HDUCLAS2": "BKG"}, "background"),
        ({"HDUCLAS1": "IMAGE", "HDUCLAS2": "TOTAL"}, ""),
        ({"HDUCLAS1": "IMAGE", "HDUCLAS2": "NET"}, "net"),
        ({"HDUCLAS1": "EVENTS", "CONTENT": "EVT2", "HDUNAME": "broad_filled.fits"}, ""),
        ({"EXTNAME": "BACKGROUND-SUBTRACTED"}, "net"),
        ({"EXTNAME": "PSFMAP"}, "psf"),
        ({"EXTNAME": "ERROR"}, "error"),
        ({"BUNIT": "s"}, "exposure"),
        ({"BUNIT": "cm**2 s"}, "exposure"),
        ({"BUNIT": "count"}, "image"),
        ({"BUNIT": "count/s"}, ""),
        ({"BUNIT": "Primary Array"}, ""),
        ({"EXTNAME": "PRIMARY"}, ""),
        ({}, ""),
    ],
)
def test_what_headers_say(cards, kind):
    assert kind_of(cards).name == kind


def test_maps_that_are_given_as_something_else_are_refused(tmp_path):
    exposure = write_fits(tmp_path / "a.fits", EXPOSURE, CONTENT="EPIC EXPOSURE MAP")
    background = write_fits(tmp_path / "b.fits", BACKGROUND, HDUCLAS2="BKG")
    image = write_fits(tmp_path / "c.fits", IMAGE, CONTENT="EPIC IMAGE")
    psf = write_fits(tmp_path / "d.fits", EXPOSURE, HDUNAME="PSFMAP")
    for given, maps, message in (
        (exposure, {}, r"a.fits: expected an image.*an exposure map \(CONTENT.*--exposure"),
        (background, {}, r"b.fits: .*found a background map \(HDUCLAS2.*--background"),
        (psf, {}, "d.fits: .*point spread"),
        (image, {"exposure": background}, r"b.fits: expected an exposure map.*--background"),
        (image, {"exposure": image}, r"c.fits: expected an exposure map.*image of counts"),
        (image, {"background": exposure}, r"a.fits: expected a background map.*--exposure"),
    ):
        with pytest.raises(InputError, match=message):
            load_observation(given, **maps)
    observation = load_observation(image, exposure=exposure, background=background)
    assert set(observation.files) == {"image", "exposure", "background"}


@pytest.fixture
def several(tmp_path):
    """File of which each extension is another map."""
    parts = [
        fits.PrimaryHDU(),
        fits.ImageHDU(EXPOSURE, name="EXPMAP"),
        fits.ImageHDU(BACKGROUND, name="BKGMAP"),
        fits.ImageHDU(IMAGE, name="SCI"),
        fits.ImageHDU(IMAGE + 1, name="OTHER"),
    ]
    path = tmp_path / "several.fits"
    fits.HDUList(parts).writeto(path)
    return path


def test_extensions_by_number_and_name(several):
    def first(source):
        return source.data[0, 0]

    for given, hdu in (("[3]", None), ("[SCI]", None), ("[sci]", None), ("", 3), ("", "SCI")):
        source = read_source(f"{several}{given}", "image", hdu)
        np.testing.assert_array_equal(source.data, IMAGE)
        assert source.path == several
    other = read_source(f"{several}[OTHER]", "image")
    assert first(other) == IMAGE[0, 0] + 1
    # By default the first that does not say that it is something else.
    np.testing.assert_array_equal(read_source(several, "image").data, IMAGE)
    np.testing.assert_array_equal(read_source(several, "exposure").data, EXPOSURE)
    np.testing.assert_array_equal(read_source(several, "background").data, BACKGROUND)
    observation = load_observation(several, hdu="SCI", exposure=f"{several}[EXPMAP]")
    assert observation.files == {"image": several, "exposure": several}


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("NONE", "an extension 'NONE'.*EXPMAP"),
        ("9", "an extension 9"),
        ("EXPMAP", "exposure map"),
        ("0", "no data|axes"),
        ("energy=500:7000", "number or name of an extension"),
        ("", "number or name"),
    ],
)
def test_extensions_that_are_not_there(inside, message, several):
    with pytest.raises(InputError, match=message):
        load_observation(f"{several}[{inside}]")


def test_a_file_may_have_brackets_in_its_name(tmp_path):
    path = write_fits(tmp_path / "a[2].fits", IMAGE)
    assert split_extension(path) == (path, None)
    odd = write_fits(tmp_path / "b[2]", IMAGE)
    assert split_extension(odd) == (odd, None)
    assert split_extension(tmp_path / "c.fits[2]") == (tmp_path / "c.fits", 2)


NAMES = {
    "ciao": ("acis_0.5-7.0_thresh.img", "acis_0.5-7.0_thresh.expmap", "acis_0.5-7.0_bkg.img"),
    "xmm": (
        "P0098010101M2U009IMAGE_3000.FTZ",
        "P0098010101M2U009EXPMAP3000.FTZ",
        "P0098010101M2X000BKGMAP3000.FTZ",
    ),
    "esas": (
        "mos1S001-obj-im-400-7200.fits",
        "mos1S001-exp-im-400-7200.fits",
        "mos1S001-back-im-sky-400-7200.fits",
    ),
    "esas, sky": (
        "mos2S002-fovimsky-400-7200.fits.gz",
        "mos2S002-expimsky-400-7200.fits.gz",
        "mos2S002-bkgimsky-400-7200.fits.gz",
    ),
    "words": ("A1795_img.fits", "A1795_expmap.fits", "A1795_bkg.fits"),
    "short words": ("hydra.fits", "hydra_exp.fits", "hydra_background.fits"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_names_of_products(names):
    assert role_of_name(names[0]) in ("image", "")
    assert [role_of_name(n) for n in names[1:]] == ["exposure", "background"]
    assert len({key_of(n) for n in names}) == 1
    others = [other for group in NAMES.values() if group is not names for other in group]
    assert key_of(names[0]) not in {key_of(n) for n in others}


def write(path, data, **cards):
    hdu = fits.PrimaryHDU(data, fits.Header(cards))
    hdu.writeto(path)
    return path


def test_a_folder_of_products_is_sorted(tmp_path):
    files = [
        write(tmp_path / name, data)
        for group in ("ciao", "xmm", "esas", "words")
        for name, data in zip(NAMES[group], (IMAGE, EXPOSURE, BACKGROUND), strict=True)
    ]
    files += [
        write(tmp_path / "acis_0.5-7.0_flux.img", IMAGE / 1e9),
        write(tmp_path / "acis_0.5-7.0_thresh.psfmap.fits", EXPOSURE),
        write(tmp_path / "lonely_exp.fits", EXPOSURE),
        write(tmp_path / "other_flux.img", IMAGE / 1e9),
    ]
    found = sort_files(files)
    sets = {s.image.name: s for s in found.sets}
    for group in ("ciao", "xmm", "esas", "words"):
        image, exposure, background = NAMES[group]
        assert sets[image].exposure == tmp_path / exposure
        assert sets[image].background == tmp_path / background
    assert sets["other_flux.img"].exposure is None
    assert len(sets) == 5
    assert {f.name for f, _ in found.known} == {
        "acis_0.5-7.0_flux.img",
        "acis_0.5-7.0_thresh.psfmap.fits",
    }
    assert [(f.name, why) for f, why in found.skipped] == [
        ("lonely_exp.fits", "an exposure map without an image of its name")
    ]


def test_headers_go_before_names(tmp_path):
    image = write(tmp_path / "001.fits", IMAGE, CONTENT="EPIC IMAGE")
    exposure = write(tmp_path / "002.fits", EXPOSURE, CONTENT="EPIC EXPOSURE MAP")
    background = write(tmp_path / "003.fits", BACKGROUND, HDUCLAS2="BKG")
    (one,) = sort_files([exposure, background, image]).sets
    assert (one.image, one.exposure, one.background) == (image, exposure, background)
