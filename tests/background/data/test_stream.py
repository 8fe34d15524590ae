"""Frames from whatever holds them, in blocks of any size, with their times."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from fakes.background_detector import (
    CAMERA,
    event_table,
    exposure_table,
    scene,
    write_cube,
    write_dense,
    write_events,
    write_sparse,
)
from fakes.background_events import PATTERNS, draw, frames_of, padded

from physml.background.core.events import find_events
from physml.background.core.frames import PIXEL
from physml.background.data.event_list import PATTERN_GRADE, load_events, merge_intervals
from physml.background.data.frames import source as readers
from physml.background.data.loading import load_frames
from physml.background.data.timeline import Timeline


@pytest.fixture(scope="module")
def seen():
    return scene(50)


def read(frames, **options):
    """All pixels, all frame numbers, and the stream."""
    options.setdefault("detector", CAMERA)
    stream = load_frames(frames, **options)
    blocks = list(stream.blocks())
    pixels = np.concatenate([f.pixels for f, _ in blocks])
    index = np.concatenate([f.index for f, _ in blocks])
    assert sum(done for _, done in blocks) == stream.source.length
    return pixels, index, stream


def shuffled(rows):
    return np.random.default_rng(0).permutation(rows)


def places(pixels):
    return [tuple(p)[:3] for p in pixels]


def as_table_in_ev(s, path):
    table = Table(shuffled(s.pixels))
    table["energy"] *= 1000
    table["energy"].unit = u.eV
    return table


def as_wide_table(s, path):
    """Unsigned and wide columns, and others than those needed."""
    kinds = {"x": "u4", "energy": "f8", "y": "i8", "frame": "u2"}
    columns = {name: s.pixels[name].astype(kind) for name, kind in kinds.items()}
    return Table(columns | {"note": ["a"] * len(s.pixels)})


def as_cube_in_an_extension(s, path):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 4))), fits.ImageHDU(s.images)]
    fits.HDUList(hdus).writeto(path / "cube.fits")
    return path / "cube.fits"


KINDS = {
    "array": lambda s, path: s.images,
    "doubles": lambda s, path: s.images.astype(float),
    "quantity": lambda s, path: s.images * 1000 * u.eV,
    "rows": lambda s, path: shuffled(s.pixels),
    "table": lambda s, path: Table(shuffled(s.pixels)),
    "table in eV": as_table_in_ev,
    "wide table": as_wide_table,
    "dense file": lambda s, path: write_dense(path / "f.h5", s.images),
    "sparse file": lambda s, path: write_sparse(path / "f.h5", s.pixels),
    "cube": lambda s, path: write_cube(path / "c.fits", s.images, BUNIT="keV"),
    "packed cube": lambda s, path: write_cube(path / "cube.fits.gz", s.images),
    "cube in an extension": as_cube_in_an_extension,
    "doubles in eV": lambda s, path: write_cube(
        path / "c.fits", s.images.astype(float) * 1000, BUNIT="eV"
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same_pixels(kind, seen, tmp_path):
    pixels, index, _ = read(KINDS[kind](seen, tmp_path))
    assert places(pixels) == places(seen.pixels)
    np.testing.assert_allclose(pixels["energy"], seen.pixels["energy"], rtol=1e-6)
    np.testing.assert_array_equal(index, np.arange(index[0], index[-1] + 1))


@pytest.mark.parametrize("kind", ["array", "rows", "dense file", "sparse file", "cube"])
@pytest.mark.parametrize("size", [1, 7, 40])
def test_blocks_of_any_size_give_the_same(kind, size, seen, tmp_path, monkeypatch):
    source = KINDS[kind](seen, tmp_path)
    whole, _, _ = read(source)
    monkeypatch.setattr(readers, "BLOCK_BYTES", size * 4 * CAMERA.ny * CAMERA.nx)
    monkeypatch.setattr(readers, "BLOCK_ROWS", 3 * size)
    parts, index, stream = read(source)
    np.testing.assert_array_equal(parts, whole)
    assert len(np.unique(index)) == len(index)
    assert stream.timeline.n_frames == len(index)


def test_no_frame_is_cut_in_two(seen, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "BLOCK_ROWS", 5)
    path = write_sparse(tmp_path / "f.h5", seen.pixels)
    last = -1
    for frames, _ in load_frames(path, detector=CAMERA).blocks():
        assert frames.pixels["frame"].min() > last
        last = int(frames.pixels["frame"].max())
    assert last == seen.pixels["frame"][-1]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_adu_of_any_type_become_kev(dtype, tmp_path):
    """(value - offset) x gain, by hand, for what FITS and HDF5 can store."""
    adu = np.full((2, CAMERA.ny, CAMERA.nx), 10, dtype)
    adu[0, 20, 30], adu[1, 40, 50] = 210, 60
    for source in (adu, write_cube(tmp_path / "c.fits", adu), write_dense(tmp_path / "d.h5", adu)):
        pixels, _, _ = read(source, gain=0.01, offset=10)
        np.testing.assert_array_equal(pixels["y"], [20, 40])
        np.testing.assert_allclose(pixels["energy"], [2.0, 0.5], rtol=1e-6)


def test_maps_of_gain_and_offset(tmp_path):
    rng = np.random.default_rng(0)
    shape = (CAMERA.ny, CAMERA.nx)
    offset, gain = rng.uniform(90, 110, shape), rng.uniform(0.003, 0.004, shape)
    raw = np.repeat(offset[None], 3, 0)
    raw[1, 33, 44] += 2.0 / gain[33, 44]
    write_cube(tmp_path / "gain.fits", gain)
    for given in (gain, tmp_path / "gain.fits", str(tmp_path / "gain.fits")):
        pixels, _, _ = read(raw, gain=given, offset=offset)
        assert places(pixels) == [(1, 33, 44)]
        np.testing.assert_allclose(pixels["energy"], 2.0, rtol=1e-4)
    rows = np.array([(1, 33, 44, raw[1, 33, 44])], PIXEL)
    pixels, _, _ = read(rows, gain=gain, offset=offset)
    np.testing.assert_allclose(pixels["energy"], 2.0, rtol=1e-4)


def test_saturation_is_the_end_of_the_numbers(tmp_path):
    adu = np.zeros((1, CAMERA.ny, CAMERA.nx), "u2")
    adu[0, 30, 30] = 65535
    cube = write_cube(tmp_path / "c.fits", adu)
    for source, offset in ((adu, 35), (cube, 35), (cube, np.full((CAMERA.ny, CAMERA.nx), 35.0))):
        _, _, stream = read(source, gain=1e-3, offset=offset)
        assert stream.inspector.saturation == pytest.approx(65.5)
    assert read(adu * 1e-3)[2].inspector.saturation is None


def test_noise_below_zero_is_no_signal():
    rng = np.random.default_rng(3)
    images = rng.normal(0, 0.011, (30, CAMERA.ny, CAMERA.nx)).astype("f4")
    images[4, 50, 50] += 5.0
    pixels, _, stream = read(images)
    assert (pixels["energy"] > 0).all()
    assert (4, 50, 50) in places(pixels)
    assert not stream.bad.any()


def test_one_pixel_far_below_zero_stays_for_the_event_finder(seen):
    images = seen.images.copy()
    images[3, 7, 7] = -2.0
    pixels, _, _ = read(images)
    assert places(pixels[pixels["energy"] < 0]) == [(3, 7, 7)]


def test_hot_pixels_and_columns_are_masked(seen, caplog):
    images = seen.images.copy()
    images[:, :, 70] = 30.0
    images[::3, 11:60:2, 71] = 1.0  # not hot: lit in a third of the frames, half of its rows
    images[1:, 5, 6] = 0.3
    _, _, stream = read(images)
    assert stream.bad[:, 70].all()
    assert stream.bad[5, 6]
    assert stream.bad.sum() == CAMERA.ny + 1
    text = " ".join(stream.remarks)
    assert "1 hot or saturated column (x = 70)" in text
    assert "1 hot pixel (y, x) = (5, 6)" in text
    assert "hot pixel" in caplog.text


def test_a_pixel_that_becomes_hot_later_is_masked_from_then_on(monkeypatch):
    monkeypatch.setattr(readers, "BLOCK_BYTES", 25 * 4 * CAMERA.ny * CAMERA.nx)
    images = scene(100).images.copy()
    images[50:, 5, 6] = 0.3
    stream = load_frames(images, detector=CAMERA)
    states = [bool(stream.bad[5, 6]) for _ in stream.blocks()]
    assert states == [False, False, True, True]


def test_bad_pixels_that_are_named(seen, tmp_path):
    mask = np.zeros((CAMERA.ny, CAMERA.nx), bool)
    mask[9, 9] = True
    write_cube(tmp_path / "bad.fits", mask.astype("u1"))
    for given in (mask, tmp_path / "bad.fits"):
        _, _, stream = read(seen.images, bad=given)
        np.testing.assert_array_equal(stream.bad, mask)


def test_empty_frames_count(seen):
    images = np.zeros_like(seen.images)
    images[10, 30, 30] = 3.0
    _, index, stream = read(images)
    assert len(index) == len(images)
    assert stream.timeline.n_frames == len(images)
    assert stream.timeline.live_time == pytest.approx(0.25)


def test_frames_between_the_first_and_last_listed_pixel_were_exposed():
    rows = np.array([(7, 20, 20, 1.0), (12, 30, 30, 2.0)], PIXEL)
    _, index, stream = read(rows)
    np.testing.assert_array_equal(index, np.arange(7, 13))
    np.testing.assert_allclose(stream.timeline.intervals, [[0.035, 0.065]])


def test_an_index_tells_which_frames_were_observed(tmp_path):
    rows = np.array([(7, 20, 20, 1.0), (12, 30, 30, 2.0)], PIXEL)
    index = np.array([5, 6, 7, 11, 12, 14])
    path = write_sparse(tmp_path / "f.h5", rows, index=index)
    _, got, stream = read(path)
    np.testing.assert_array_equal(got, index)
    intervals = np.array([[5, 8], [11, 13], [14, 15]]) * 0.005
    np.testing.assert_allclose(stream.timeline.intervals, intervals)
    assert stream.timeline.n_frames == 6


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_the_index_of_a_long_file_is_read_along(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "BLOCK_ROWS", rows)
    index, weight = np.arange(45), np.linspace(1, 2, 45).astype("f4")
    path = write_sparse(tmp_path / "f.h5", scene(30).pixels, index=index, weight=weight)
    blocks = [f for f, _ in load_frames(path, detector=CAMERA).blocks()]
    np.testing.assert_array_equal(np.concatenate([f.index for f in blocks]), index)
    np.testing.assert_array_equal(np.concatenate([f.weight for f in blocks]), weight)


def test_exposures_tell_frame_time_and_good_time(tmp_path):
    short, long = (
        exposure_table(30, frame_time=2e-3),
        exposure_table(40, first=100, frame_time=0.01),
    )
    exposures = np.concatenate([short, long])
    rows = np.array([(29, 20, 20, 1.0), (100, 20, 20, 1.0), (139, 30, 30, 2.0)], PIXEL)
    path = write_sparse(tmp_path / "f.h5", rows, exposures, index=np.array([29, 100, 139]))
    stream = read(path)[2]
    t = stream.timeline
    np.testing.assert_allclose(t.time(rows["frame"]), [0.059, 0.065, 0.455])
    np.testing.assert_allclose(t.intervals, [[0, 0.46]])
    assert (t.n_frames, t.live_time) == (70, pytest.approx(0.46))
    assert not any("frame time" in r for r in stream.remarks)


def test_a_cube_tells_its_times(seen, tmp_path):
    path = write_cube(tmp_path / "c.fits", seen.images, TIMEDEL=0.02, TSTART=1000.0)
    _, _, stream = read(path)
    np.testing.assert_allclose(stream.timeline.intervals, [[1000, 1001]])
    assert stream.camera.frame_time == 0.02
    _, _, stream = read(path, frame_time=0.01)
    assert stream.camera.frame_time == 0.01


def test_runs_of_frames_join_over_blocks():
    t = Timeline(0.5)
    for part in ([0, 1, 2], [3], [7, 8], [10]):
        t.see(np.array(part), complete=True)
    np.testing.assert_allclose(t.intervals, [[0, 2], [3.5, 4.5], [5, 5.5]])
    assert t.n_frames == 7


def test_an_event_list_is_read_with_its_units(tmp_path):
    hdu = event_table(50)
    events = load_events(write_events(tmp_path / "e.fits", hdu))
    np.testing.assert_allclose(events.energy, hdu.data["energy"] / 1000)
    np.testing.assert_array_equal(events.grade, hdu.data["grade"])
    np.testing.assert_array_equal(events.frame, np.floor((hdu.data["time"] - 999) / 0.441))
    np.testing.assert_allclose(events.intervals, [[999, 2000]])


def test_energies_from_channels(tmp_path):
    hdu = event_table(50, energy=None)
    events = load_events(write_events(tmp_path / "e.fits", hdu))
    np.testing.assert_allclose(events.energy, 0.0146 * (hdu.data["pi"] - 0.5))
    hdu.header["INSTRUME"] = "OTHER"
    path = write_events(tmp_path / "o.fits", hdu)
    energy = load_events(path, channel=0.01).energy
    np.testing.assert_allclose(energy, 0.01 * (hdu.data["pi"] + 0.5))


def test_patterns_become_grades(tmp_path):
    """Top and bottom doubles are grade 2, left ones 3, right ones 4, L shapes and squares 6."""
    pattern = np.array([0, 1, 2, 3, 4, 5, 8, 9, 12, 31], "i2")
    hdu = event_table(10, grade=None, PATTERN=pattern)
    events = load_events(write_events(tmp_path / "e.fits", hdu))
    np.testing.assert_array_equal(events.grade, [0, 2, 4, 2, 3, 6, 6, 6, 6, 7])
    np.testing.assert_array_equal(events.pattern, [0, 1, 2, 3, 4, 5, 8, 9, 12, -1])


def test_patterns_become_the_grades_that_the_finder_gives():
    """Every valid EPIC pattern, drawn pixel by pixel, gets the grade of our table."""
    images = [0.5 * padded(draw(*rows)) for rows in PATTERNS.values()]
    events = find_events(frames_of(images)).events
    np.testing.assert_array_equal(events["pattern"], np.arange(13))
    np.testing.assert_array_equal(events["grade"], PATTERN_GRADE)


def test_good_times_of_several_chips_are_joined():
    merged = merge_intervals(np.array([[5.0, 7.0], [0, 2], [1, 3], [3, 4], [6, 6.5]]))
    np.testing.assert_allclose(merged, [[0, 4], [5, 7]])
    assert merge_intervals(np.empty((0, 2))).shape == (0, 2)


def test_events_outside_of_the_good_time_are_told(tmp_path):
    hdu = event_table(50)
    end = float(np.median(hdu.data["time"]))
    events = load_events(write_events(tmp_path / "e.fits", hdu, gti=[(999.0, end)]))
    outside = int((hdu.data["time"] > end).sum())
    assert any(f"{outside} of 50 events lie outside" in text for text in events.remarks)
    events = load_events(write_events(tmp_path / "n.fits", hdu, gti=None))
    assert any("no GTI" in text for text in events.remarks)


def test_hdf5_with_other_things_in_it(seen, tmp_path):
    path = write_sparse(tmp_path / "f.h5", seen.pixels)
    with h5py.File(path, "a") as file:
        file["notes"] = np.arange(3)
        file.create_group("log")
    assert len(read(path)[0]) == len(seen.pixels)
