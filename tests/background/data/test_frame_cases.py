"""Frames that were read wrongly once, each with what is right."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from fakes.background_detector import RuleDetector

from physml.background.data.frames import is_event_list
from physml.background.data.loading import load_frames
from physml.background.predict import BackgroundPredictor
from physml.background.results.ogip import keywords

ADU = {"gain": 0.0037, "offset": 500}


@pytest.fixture
def cases(shared_data):
    folder = shared_data.parent / "cases" / "background"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}")
    return folder


def read(path, **options):
    """All pixels above the threshold, and the stream."""
    assert not is_event_list(path)
    stream = load_frames(path, detector="wfi_fast", **options)
    pixels = np.concatenate([f.pixels for f, _ in stream.blocks()])
    return pixels[pixels["energy"] > stream.camera.split], stream


def cards(stream):
    """Keywords of the products."""
    t = stream.timeline
    found = keywords(stream.dated_header, "wfi_fast", t.intervals, t.live_time)
    return {name: value for name, (value, _) in found.items()}


def from_image(images, split=0.05):
    """Pixels above the threshold of images in keV, by hand."""
    place = np.argwhere(images > split)
    return place, images[images > split]


def same(pixels, images):
    place, energy = from_image(images)
    np.testing.assert_array_equal(np.stack([pixels[n] for n in ("frame", "y", "x")], 1), place)
    np.testing.assert_allclose(pixels["energy"], energy, rtol=2e-5)


def in_kev(path, hdu=0):
    return (fits.getdata(path, hdu).astype(np.float32) - 500) * np.float32(0.0037)


def test_raw_pixels_of_sixte(cases):
    """A table EVENTS with FRAME and SIGNAL and no grades holds pixels, not events."""
    path = cases / "sixte_raw_pixels.fits"
    table = fits.getdata(path, "EVENTS")
    pixels, stream = read(path)
    assert len(pixels) == len(table) == 119
    for name, column in (("frame", "FRAME"), ("y", "RAWY"), ("x", "RAWX"), ("energy", "SIGNAL")):
        assert sorted(pixels[name]) == pytest.approx(sorted(table[column]))
    out = cards(stream)
    assert out["EXPOSURE"] == pytest.approx(0.00064)
    assert (out["TELESCOP"], out["MJDREFI"]) == ("ATHENA", 54101)
    assert stream.camera.frame_time == pytest.approx(8e-5)
    np.testing.assert_allclose(stream.timeline.time(table["FRAME"]), table["TIME"], atol=1e-9)


def test_a_table_of_pixels(cases):
    pixels, stream = read(cases / "pixel_table.fits")
    other, _ = read(cases / "sixte_raw_pixels.fits")
    np.testing.assert_array_equal(pixels, other)
    assert any("no frame time given" in text for text in stream.remarks)


def test_exptime_and_a_date(cases):
    path = cases / "cube_exptime_date.fits"
    pixels, stream = read(path, **ADU)
    same(pixels, in_kev(path))
    out = cards(stream)
    assert out["EXPOSURE"] == pytest.approx(25.6)
    assert out["DATE-OBS"] == "2019-05-01T10:00:00.000"
    assert out["DATE-END"] == "2019-05-01T10:00:25.600"
    assert out["TIMESYS"] == "UTC"
    assert stream.remarks == []


def test_frametim_in_milliseconds(cases):
    path = cases / "cube_frametim_ms.fits"
    pixels, stream = read(path, **ADU)
    same(pixels, in_kev(path))
    assert stream.timeline.live_time == pytest.approx(0.4)
    assert stream.camera.frame_time == pytest.approx(0.05)


def test_attributes_of_hdf5(cases):
    pixels, stream = read(cases / "frames_attrs.h5")
    assert stream.timeline.live_time == pytest.approx(12.8)
    assert stream.source.unit == "keV"
    assert len(pixels) > 0
    assert stream.remarks == []


def test_noise_only_is_no_events(cases, tmp_path):
    path = cases / "cube_dark4.fits"
    result = BackgroundPredictor(RuleDetector()).predict(path, detector="wfi_fast")
    assert len(result.events) == 0
    assert result.live_time == pytest.approx(4 * 80e-6)
    assert any("no pixel lies above the split threshold" in text for text in result.remarks)
    result.write(tmp_path / "out")
    header = fits.getheader(tmp_path / "out" / "events.fits", "EVENTS")
    assert header["NAXIS2"] == 0
    assert header["EXPOSURE"] == pytest.approx(4 * 80e-6)
    assert fits.getdata(tmp_path / "out" / "spectrum_kept.pha", 1)["COUNTS"].sum() == 0


def test_a_frame_in_each_extension(cases):
    path = cases / "mef.fits"
    pixels, stream = read(path, **ADU)
    same(pixels, np.stack([in_kev(path, k) for k in range(1, 9)]))
    assert stream.timeline.n_frames == 8


def test_packed_tiles(cases):
    path = cases / "cube_rice.fits.fz"
    pixels, stream = read(path, **ADU)
    same(pixels, in_kev(path, 1))
    np.testing.assert_array_equal(pixels, read(cases / "cube_frametim_ms.fits", **ADU)[0])
    assert stream.source.shape == (64, 64)
