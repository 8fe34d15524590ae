"""FITS images: every form of input, world coordinates, what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

from physml import provenance
from physml.exceptions import InputError
from physml.io import origin
from physml.io.fits import open_hdus, open_image, write_image

IMAGE = np.random.default_rng(0).poisson(5, (20, 30)).astype(np.float32)


def sky(angle: float = 0.0, scale: float = 0.5, cd: bool = True) -> WCS:
    """A tangent projection, turned by `angle` degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.crpix = 15.5, 10.5
    wcs.wcs.crval = 225.3, 1.7
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    matrix = scale / 3600 * np.array([[-cos, sin], [sin, cos]])
    if cd:
        wcs.wcs.cd = matrix
    else:
        wcs.wcs.cdelt = -scale / 3600, scale / 3600
    wcs.wcs.set()
    return wcs


def header_of(wcs: WCS) -> fits.Header:
    cards = wcs.to_header()
    for i in (1, 2):  # as observatories write it: CD, not PC
        for j in (1, 2):
            cards[f"CD{i}_{j}"] = cards.pop(f"PC{i}_{j}", 1.0 if i == j else 0.0)
        cards.remove(f"CDELT{i}", ignore_missing=True)
    return cards


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "image.fits"
    fits.PrimaryHDU(IMAGE, header_of(sky(30))).writeto(target)
    return target


def test_every_kind_of_input_gives_the_same(path: Path) -> None:
    wcs = sky(30)
    with fits.open(path) as hdus:
        inputs = {
            "path": path,
            "text": str(path),
            "hdus": hdus,
            "hdu": hdus[0],
            "ccd": CCDData(IMAGE, unit="count", wcs=wcs, header=header_of(wcs)),
        }
        for name, given in inputs.items():
            image = open_image(given)
            np.testing.assert_array_equal(image.data, IMAGE, err_msg=name)
            assert image.data.dtype == np.float64
            assert image.data.dtype.isnative
            assert image.wcs is not None, name
            np.testing.assert_allclose(
                image.wcs.wcs_pix2world([[3, 4]], 0), wcs.wcs_pix2world([[3, 4]], 0), rtol=1e-12
            )
    for given in (IMAGE, IMAGE.tolist(), IMAGE * u.ct, IMAGE.astype(">f4"), IMAGE.astype(int)):
        data, header, none = open_image(given)
        np.testing.assert_array_equal(data, IMAGE)
        assert none is None
        assert len(header) == 0


def test_the_input_is_not_changed() -> None:
    before = IMAGE.copy()
    open_image(IMAGE).data[:] = -1
    np.testing.assert_array_equal(IMAGE, before)


def test_masked_pixels_become_nan() -> None:
    mask = IMAGE > 8
    for given in (CCDData(IMAGE, unit="ct", mask=mask), np.ma.MaskedArray(IMAGE, mask)):
        data = open_image(given).data
        np.testing.assert_array_equal(np.isnan(data), mask)
        np.testing.assert_array_equal(data[~mask], IMAGE[~mask])


def test_scaled_and_blank_integers(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(np.array([[0, 1, 2], [3, 4, 99]], np.int16))
    hdu.header["BLANK"] = 99
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 10.0
    hdu.writeto(path)
    raw = path.read_bytes()
    assert b"BSCALE" in raw
    np.testing.assert_array_equal(open_image(path).data, [[10, 10.5, 11], [11.5, 12, np.nan]])


def test_first_image_extension_or_the_one_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0])], name="T")
    hdus = [fits.PrimaryHDU(), table, fits.ImageHDU(IMAGE, name="SCI"), fits.ImageHDU(IMAGE + 1)]
    fits.HDUList(hdus).writeto(path)
    np.testing.assert_array_equal(open_image(path).data, IMAGE)
    np.testing.assert_array_equal(open_image(path, hdu="SCI").data, IMAGE)
    np.testing.assert_array_equal(open_image(path, hdu=3).data, IMAGE + 1)
    with pytest.raises(InputError, match=r"extension 'ERR', found .*SCI"):
        open_image(path, hdu="ERR")
    with pytest.raises(InputError, match="found a table 'T'"):
        open_image(path, hdu="T")


def test_axes_of_length_one_are_dropped_and_cubes_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(IMAGE[None, None]).writeto(path)
    np.testing.assert_array_equal(open_image(path).data, IMAGE)
    fits.PrimaryHDU(np.zeros((4, 20, 30))).writeto(path, overwrite=True)
    with pytest.raises(InputError, match=r"a 2-D image, found 3 axes \(30 x 20 x 4\)"):
        open_image(path)
    fits.PrimaryHDU(np.zeros(30)).writeto(path, overwrite=True)
    with pytest.raises(InputError, match="a 2-D image, found 1 axes"):
        open_image(path)


def test_event_lists_and_tables_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    column = fits.Column("x", "E", array=[1.0])
    fits.BinTableHDU.from_columns([column], name="EVENTS").writeto(path)
    with pytest.raises(InputError, match=r"an event list\. Bin the events"):
        open_image(path)
    fits.BinTableHDU.from_columns([column], name="LIST").writeto(path, overwrite=True)
    with pytest.raises(InputError, match=r"only tables \(LIST\)"):
        open_image(path)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((3, 20, 30)),
        np.zeros(5),
        np.zeros((3, 4), complex),
        np.array([["a", "b"]]),
        np.zeros((0, 4)),
        3.0,
        None,
        {"a": 1},
        [[1, 2], [3]],
        object(),
    ],
)
def test_no_image(wrong) -> None:
    with pytest.raises(InputError):
        open_image(wrong)


def test_no_world_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    linear = fits.Header({"CTYPE1": "X", "CTYPE2": "Y", "CRVAL1": 1.0, "CDELT1": 2.0})
    for header in (None, linear):
        fits.PrimaryHDU(IMAGE, header).writeto(path, overwrite=True)
        assert open_image(path).wcs is None


@pytest.mark.parametrize(
    "cards",
    [
        {"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
        {"CD1_1": 1e-4, "CD1_2": 1e-4, "CD2_1": 1e-4, "CD2_2": 1e-4},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CTYPE1": "RA---TAN", "CTYPE2": "RA---TAN"},
    ],
)
def test_useless_world_coordinates_are_refused(path: Path, cards: dict) -> None:
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(cards)
    with pytest.raises(InputError, match="celestial coordinates"):
        open_image(path)


@pytest.mark.parametrize("angle", [0.0, 30.0, 137.0])
@pytest.mark.parametrize("cd", [True, False])
def test_written_positions_are_the_read_ones(tmp_path: Path, angle: float, cd: bool) -> None:
    wcs = sky(angle, cd=cd)
    path = tmp_path / "out.fits"
    write_image(path, IMAGE, wcs=wcs)
    found = open_image(path).wcs
    assert found is not None
    pixels = np.array([[0, 0], [29, 0], [0, 19], [12.3, 4.5]])
    np.testing.assert_allclose(
        found.wcs_world2pix(wcs.wcs_pix2world(pixels, 0), 0), pixels, atol=1e-6
    )


def test_new_coordinates_replace_the_old_ones_completely(path: Path) -> None:
    """CD of the input beside PC of the output would be no system at all."""
    image = open_image(path)
    coarse = sky(0, scale=2.0, cd=False)
    out = path.with_name("out.fits")
    write_image(out, IMAGE[:5, :5], wcs=coarse, header=image.header)
    found = open_image(out).wcs
    assert found is not None
    np.testing.assert_allclose(
        found.wcs_pix2world([[3, 4]], 0), coarse.wcs_pix2world([[3, 4]], 0), rtol=1e-12
    )
    header = fits.getheader(out)
    assert not [name for name in header if name.startswith("CD1") or name.startswith("CD2")]


def test_real_chandra_and_xmm_images(shared_data: Path) -> None:
    chandra = open_image(shared_data / "chandra" / "NGC5813.fits")
    assert chandra.data.shape == (512, 512)
    assert chandra.data.sum() == pytest.approx(953_760, abs=1)
    assert chandra.wcs is not None
    from astropy.wcs.utils import proj_plane_pixel_scales

    scale = proj_plane_pixel_scales(chandra.wcs) * 3600
    np.testing.assert_allclose(scale, 0.492, atol=1e-3)
    ra, dec = chandra.wcs.wcs_pix2world([[255.5, 255.5]], 0)[0]
    assert (ra, dec) == pytest.approx((225.297, 1.702), abs=0.03)
    xmm = open_image(shared_data / "xmm" / "P0098010101M2U009IMAGE_3000.FTZ")
    assert xmm.data.shape == (648, 648)
    assert xmm.data.sum() == 36_174
    assert xmm.wcs is not None


def test_written_image_has_record_unit_and_checksums(path: Path) -> None:
    out = path.with_name("out.fits")
    record = provenance.record("predict", {"seed": 8, "threshold": 0.4}, {"image": path})
    source = open_image(path)
    source.header["OBJECT"] = "NGC5813"
    source.header["BZERO"] = 5.0
    source.header["HISTORY"] = "made before"
    write_image(
        out,
        IMAGE,
        wcs=source.wcs,
        header=source.header,
        provenance=record,
        unit="ct",
        overwrite=False,
    )
    assert origin.read(out) == record
    with fits.open(out, checksum=True) as hdus:  # a wrong checksum would warn
        header = hdus[0].header
        assert header["BUNIT"] == "ct"
        assert header["OBJECT"] == "NGC5813"
        assert header["PHYSEED"] == 8
        assert header["PHYSTAGE"] == "predict"
        assert "CHECKSUM" in header
        assert "BZERO" not in header
        assert "made before" in str(header["HISTORY"])
        assert hdus[0].data.dtype == np.dtype(">f4")
        np.testing.assert_array_equal(hdus[0].data, IMAGE)


@pytest.mark.filterwarnings("error")
def test_truth_values_integers_and_nan(tmp_path: Path) -> None:
    for name, data in {
        "b": IMAGE > 5,
        "i": IMAGE.astype(np.int32),
        "n": np.where(IMAGE > 5, np.nan, IMAGE),
    }.items():
        write_image(tmp_path / f"{name}.fits", data)
        np.testing.assert_array_equal(open_image(tmp_path / f"{name}.fits").data, data)


def test_gzipped_output_is_reproducible(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.fits.gz", IMAGE)
    first, second = (tmp_path / f"{name}.fits.gz" for name in ("a", "b"))
    np.testing.assert_array_equal(open_image(first).data, IMAGE)
    with open_hdus(first) as a, open_hdus(second) as b:
        assert a[0].header["DATASUM"] == b[0].header["DATASUM"]
