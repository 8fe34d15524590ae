"""Frames in all the shapes that users have: the same pixels come out of each."""

from __future__ import annotations

import bz2
import gzip
import lzma

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from fakes.background_detector import CAMERA, event_table, scene, write_cube, write_events

from physml.background.core.detectors import DetectorSettings
from physml.background.data.frames import is_event_list, source, unpacked
from physml.background.data.frames.pixel_columns import parse_columns
from physml.background.data.loading import load_frames
from physml.exceptions import InputError

N = 12


@pytest.fixture(scope="module")
def seen():
    return scene(N)


def read(frames, **options):
    """All pixels and frame numbers, and the stream."""
    options.setdefault("detector", CAMERA)
    stream = load_frames(frames, **options)
    blocks = list(stream.blocks())
    pixels = np.concatenate([f.pixels for f, _ in blocks])
    return pixels, np.concatenate([f.index for f, _ in blocks]), stream


def same(pixels, seen, rtol=1e-5):
    for name in ("frame", "y", "x"):
        np.testing.assert_array_equal(pixels[name], seen.pixels[name])
    np.testing.assert_allclose(pixels["energy"], seen.pixels["energy"], rtol=rtol)


def adu(seen):
    """Whole numbers that a gain of 0.01 and an offset of 100 turn into energies again."""
    return np.round(seen.images / 0.01 + 100).astype("u2")


def mef(path, images, primary=(), each=lambda k: {}, pack=False, name="FRAME"):
    hdus = [fits.PrimaryHDU()]
    hdus[0].header.update(dict(primary))
    for k, image in enumerate(images):
        hdu = (fits.CompImageHDU if pack else fits.ImageHDU)(image, name=f"{name}{k + 1}")
        hdu.header.update(each(k))
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)
    return path


def table(path, seen, names="FRAME RAWX RAWY SIGNAL", unit="keV", first=0, cards=(), **columns):
    """Table of pixels in FITS, its columns under these names."""
    frame, x, y, signal = names.split()
    made = Table(
        {
            frame: seen.pixels["frame"].astype("i4"),
            x: seen.pixels["x"].astype("i2") + first,
            y: seen.pixels["y"].astype("i2") + first,
            signal: seen.pixels["energy"],
        }
        | columns
    )
    made[signal].unit = unit
    hdu = fits.table_to_hdu(made)
    hdu.name = "EVENTS"
    hdu.header.update(dict(cards))
    hdu.writeto(path, overwrite=True)
    return path


# FITS images


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_frame_in_each_extension(pack, size, seen, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "BLOCK_BYTES", size * 4 * CAMERA.ny * CAMERA.nx)
    path = mef(tmp_path / "m.fits", adu(seen), {"EXPTIME": 0.5}, pack=pack)
    pixels, index, stream = read(path, gain=0.01, offset=100)
    same(pixels, seen, rtol=0.03)
    np.testing.assert_array_equal(index, np.arange(N))
    assert stream.timeline.live_time == pytest.approx(0.5 * N)
    assert stream.source.dtype == np.dtype("u2")


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2"])
def test_packed_cubes(kind, seen, tmp_path):
    hdu = fits.CompImageHDU(adu(seen), compression_type=kind)
    hdu.header["FRAMETIM"] = (20.0, "[ms] frame time")
    hdu.header["OBJECT"] = "lamp"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "c.fits.fz")
    pixels, _, stream = read(tmp_path / "c.fits.fz", gain=0.01, offset=100)
    same(pixels, seen, rtol=0.03)
    assert stream.timeline.live_time == pytest.approx(0.02 * N)
    assert stream.header["OBJECT"] == "lamp"
    assert not [name for name in stream.header if name.startswith("ZTILE")]


@pytest.mark.parametrize("card", ["ZNAXIS3", "ZNAXIS1", "NAXIS2"])
def test_packed_tiles_that_claim_more_than_there_is(card, seen, tmp_path):
    path = tmp_path / "c.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(adu(seen))]).writeto(path)
    raw = path.read_bytes()
    at = raw.index(f"{card:<8}=".encode())
    path.write_bytes(raw[: at + 10] + b"%20d" % 9_000_000 + raw[at + 30 :])
    with pytest.raises(InputError, match=r"c\.fits: expected"):
        read(path, gain=0.01)


def test_extensions_of_their_own_times(seen, tmp_path):
    """TSTART of each: gaps between frames are no good time."""
    starts = {k: {"TSTART": 100.0 + 2.0 * k, "EXPTIME": 0.5} for k in range(N)}
    path = mef(tmp_path / "m.fits", seen.images, each=starts.get)
    _, index, stream = read(path)
    np.testing.assert_allclose(stream.timeline.time(index), 100.25 + 2.0 * np.arange(N))
    assert stream.timeline.live_time == pytest.approx(0.5 * N)
    assert len(stream.timeline.intervals) == N


def test_errors_and_masks_are_no_frames(seen, tmp_path):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(seen.images, name="SCI")]
    hdus += [fits.ImageHDU(0 * seen.images + 1, name=name) for name in ("ERR", "DQ")]
    fits.HDUList(hdus).writeto(tmp_path / "c.fits")
    pixels, _, stream = read(tmp_path / "c.fits")
    same(pixels, seen)
    assert "ERR" in stream.remarks[0]


def test_chips_that_were_read_together_are_refused(seen, tmp_path):
    path = mef(tmp_path / "m.fits", seen.images, each=lambda k: {"CCDNAME": f"ccd{k}"})
    with pytest.raises(InputError, match="chips or amplifiers"):
        read(path)


def test_a_cube_with_tables_beside_it_is_no_event_list(seen, tmp_path):
    """Its good time intervals hold, too."""
    gti = fits.BinTableHDU.from_columns(
        [fits.Column("START", "D", array=[0.0]), fits.Column("STOP", "D", array=[0.02])], name="GTI"
    )
    cube = fits.PrimaryHDU(seen.images)
    cube.header["TIMEDEL"] = 0.005
    fits.HDUList([cube, gti]).writeto(tmp_path / "c.fits")
    pixels, index, stream = read(tmp_path / "c.fits")
    np.testing.assert_array_equal(index, np.arange(4))
    assert pixels["frame"].max() < 4
    assert stream.timeline.live_time == pytest.approx(0.02)
    assert any(f"{N - 4} frames outside" in text for text in stream.remarks)


# Packed files


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_packed_files(ending, pack, seen, tmp_path):
    plain = write_cube(tmp_path / "c.fits", seen.images)
    path = tmp_path / f"c.fits.{ending}"
    path.write_bytes(pack(plain.read_bytes()))
    same(read(path)[0], seen)
    path.write_bytes(pack(plain.read_bytes()[:200_000]) + pack(plain.read_bytes()[200_000:]))
    same(read(path)[0], seen)  # joined
    path.write_bytes(pack(plain.read_bytes())[:-200])
    with pytest.raises(InputError, match=rf"c\.fits\.{ending}: expected a complete"):
        read(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_is_stopped_at_the_limit(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacked, "MAX_BYTES", 1 << 20)
    head = b"SIMPLE  =".ljust(80)
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(pack(head + bytes(50 << 20)))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match="at most 1048576 bytes when unpacked"):
        read(path)


def test_large_files_are_unpacked_to_the_disk(seen, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacked, "IN_MEMORY", 1000)
    path = tmp_path / "c.fits.gz"
    path.write_bytes(gzip.compress(write_cube(tmp_path / "c.fits", seen.images).read_bytes()))
    same(read(path)[0], seen)


def test_other_archives_are_named(tmp_path):
    (tmp_path / "f.zip").write_bytes(b"PK\x03\x04" + bytes(99))
    with pytest.raises(InputError, match=r"a zip archive\. Unpack it"):
        read(tmp_path / "f.zip")


# Tables of pixels


@pytest.mark.parametrize(
    "names",
    [
        "FRAME RAWX RAWY SIGNAL",
        "frame x y energy",
        "FRAME RAWX RAWY ENERGY",
        "Frame COL ROW Signal",
    ],
)
def test_names_of_columns(names, seen, tmp_path):
    pixels, _, stream = read(table(tmp_path / "t.fits", seen, names))
    same(pixels, seen)
    assert any("pixels count from 0" in text for text in stream.remarks)


def test_columns_that_are_named(seen, tmp_path):
    path = table(tmp_path / "t.fits", seen, "N A B Q")
    with pytest.raises(InputError):
        load_frames(path, detector=CAMERA)
    same(read(path, columns="frame=N, x=A, y=B, signal=Q")[0], seen)
    same(read(path, columns={"frame": "n", "x": "a", "y": "b", "energy": "q"})[0], seen)
    with pytest.raises(InputError, match=r"found EVENTS: N, A, B, Q.*columns="):
        read(path, columns="frame=N,x=A,y=B,signal=NONE")


@pytest.mark.parametrize("given", ["colour=N", "frame", "", 3, "frame="])
def test_columns_that_are_no_columns(given):
    with pytest.raises(InputError, match="columns="):
        parse_columns(given)


def test_a_table_with_grades_is_an_event_list(seen, tmp_path):
    assert not is_event_list(write_cube(tmp_path / "c.fits", seen.images))
    path = table(tmp_path / "t.fits", seen, TIME=np.arange(len(seen.pixels)) * 1.0)
    assert not is_event_list(path)
    path = table(tmp_path / "t.fits", seen, TYPE=np.zeros(len(seen.pixels), "i2"))
    assert is_event_list(path)
    assert is_event_list(write_events(tmp_path / "e.fits", event_table(20)))


def test_whole_numbers_need_a_gain(seen, tmp_path):
    """PHA beside SIGNAL: the energies count, unless a gain asks for the raw values."""
    pha = np.round(seen.pixels["energy"] / 0.01).astype("i4")
    path = table(tmp_path / "t.fits", seen, PHA=pha)
    same(read(path)[0], seen)
    same(read(path, gain=0.01)[0], seen, rtol=0.03)
    raw = table(tmp_path / "r.fits", seen, "FRAME RAWX RAWY CHARGE", unit="ADU")
    with pytest.raises(InputError, match="gain"):
        read(raw)


def test_energies_in_ev_by_their_unit(seen, tmp_path):
    made = scene(N)
    path = table(tmp_path / "t.fits", made, unit="eV", SIGNAL=made.pixels["energy"] * 1000)
    same(read(path)[0], made)


@pytest.mark.parametrize("cards", [{"TLMIN2": 1, "TLMIN3": 1}, {"TELESCOP": "XMM"}])
def test_pixels_that_count_from_one(cards, seen, tmp_path):
    same(read(table(tmp_path / "t.fits", seen, first=1, cards=cards))[0], seen)


def test_limits_of_the_columns_tell_the_detector(seen, tmp_path):
    cards = {"TLMIN2": 0, "TLMAX2": 63, "TLMIN3": 0, "TLMAX3": 63}
    with pytest.raises(InputError, match="found 64 x 64"):
        read(table(tmp_path / "t.fits", seen, cards=cards))


@pytest.mark.parametrize("rows", [7, 1 << 18])
def test_tables_in_any_order(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "BLOCK_ROWS", rows)
    made = scene(N)
    order = np.random.default_rng(3).permutation(len(made.pixels))
    path = tmp_path / "t.fits"
    frame, x, y, energy = (made.pixels[n][order] for n in ("frame", "x", "y", "energy"))
    Table({"FRAME": frame, "RAWX": x, "RAWY": y, "SIGNAL": energy}).write(path)
    pixels, _, stream = read(path)
    same(pixels, made)
    assert any("sorted" in text for text in stream.remarks)


def test_dates_of_extensions(seen, tmp_path):
    """A frame every two seconds, half a second long; dates to a second tell no more."""
    dates = {k: {"DATE-OBS": f"2020-01-01T00:00:{2 * k:02}", "EXPTIME": 0.5} for k in range(N)}
    _, _, stream = read(mef(tmp_path / "m.fits", seen.images, each=dates.get))
    assert len(stream.timeline.intervals) == N
    assert stream.timeline.live_time == pytest.approx(0.5 * N)
    same_second = {k: {"DATE-OBS": "2020-01-01T00:00:00", "EXPTIME": 0.05} for k in range(N)}
    _, _, stream = read(mef(tmp_path / "n.fits", seen.images, each=same_second.get))
    np.testing.assert_allclose(stream.timeline.intervals, [[0, 0.05 * N]])


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_times_of_pixels_tell_the_frame_time(place, seen, tmp_path):
    """At the beginning, in the middle and at the end of frames, which TSTART and TSTOP tell."""
    time = 50.0 + 0.25 * (seen.pixels["frame"] + place)
    cards = {"TSTART": 50.0, "TSTOP": 50.0 + 0.25 * N}
    _, _, stream = read(table(tmp_path / "t.fits", seen, cards=cards, TIME=time))
    assert stream.camera.frame_time == pytest.approx(0.25)
    np.testing.assert_allclose(stream.timeline.time(np.arange(N)), 50.125 + 0.25 * np.arange(N))


def test_readouts_numbered_by_time(seen, tmp_path):
    time = 50.0 + 0.25 * (seen.pixels["frame"] + 0.5)
    pixels, _, stream = read(table(tmp_path / "t.fits", seen, "N RAWX RAWY PHA", unit="keV",
                                   TIME=time), columns="frame=TIME,signal=PHA")  # fmt: skip
    present = np.unique(seen.pixels["frame"])
    np.testing.assert_array_equal(np.unique(pixels["frame"]), present - present[0])
    assert any("numbered by TIME" in text for text in stream.remarks)


def test_good_times_tell_the_frames_without_pixels(tmp_path):
    """Two intervals: frames in them were exposed, pixels outside do not count."""
    rows = Table({"FRAME": [3, 12, 30], "RAWX": [40] * 3, "RAWY": [50] * 3, "SIGNAL": [1.0] * 3})
    hdu = fits.table_to_hdu(rows)
    hdu.header["TIMEDEL"] = 0.5
    gti = fits.BinTableHDU.from_columns(
        [fits.Column("START", "D", array=[0.0, 10.0]), fits.Column("STOP", "D", array=[5.0, 20.0])],
        name="STDGTI",
    )
    fits.HDUList([fits.PrimaryHDU(), hdu, gti]).writeto(tmp_path / "t.fits")
    pixels, index, stream = read(tmp_path / "t.fits")
    np.testing.assert_array_equal(index, [*range(10), *range(20, 40)])
    np.testing.assert_array_equal(pixels["frame"], [3, 30])
    assert stream.timeline.live_time == pytest.approx(15.0)
    assert any("1 pixels in frames outside" in text for text in stream.remarks)


def test_without_intervals_the_good_time_is_from_start_to_stop(tmp_path):
    rows = Table({"FRAME": [3, 12], "RAWX": [40] * 2, "RAWY": [50] * 2, "SIGNAL": [1.0] * 2})
    for stop, frames in ((110.0, range(20)), (106.0, range(3, 13))):
        hdu = fits.table_to_hdu(rows)
        hdu.header.update({"TIMEDEL": 0.5, "TSTART": 100.0, "TSTOP": stop})
        hdu.writeto(tmp_path / "t.fits", overwrite=True)
        _, index, stream = read(tmp_path / "t.fits")
        np.testing.assert_array_equal(index, frames)
        assert any("TSTART to TSTOP" in text for text in stream.remarks)


def test_a_table_without_pixels_has_its_exposure(tmp_path):
    rows = Table({"FRAME": np.empty(0, "i4"), "RAWX": np.empty(0, "i2"),
                  "RAWY": np.empty(0, "i2"), "SIGNAL": np.empty(0)})  # fmt: skip
    hdu = fits.table_to_hdu(rows)
    hdu.header["TIMEDEL"] = 0.5
    gti = fits.BinTableHDU.from_columns(
        [fits.Column("START", "D", array=[0.0]), fits.Column("STOP", "D", array=[5.0])], name="GTI"
    )
    fits.HDUList([fits.PrimaryHDU(), hdu, gti]).writeto(tmp_path / "t.fits")
    pixels, index, stream = read(tmp_path / "t.fits")
    assert (len(pixels), len(index)) == (0, 10)
    assert stream.timeline.live_time == pytest.approx(5.0)


# HDF5


def test_the_only_data_set_of_three_axes(seen, tmp_path):
    path = tmp_path / "n.h5"
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/data")
        data["data"] = seen.images
        data["data"].attrs["units"] = "keV"
        data["time"] = np.arange(N)
        file["entry/instrument/frame_time"] = 40.0
        file["entry"].attrs["count_time"] = 0.25
        file["thumbnail"] = np.zeros((4, 4))
    pixels, _, stream = read(path)
    same(pixels, seen)
    assert stream.timeline.live_time == pytest.approx(0.25 * N)
    assert stream.source.unit == "keV"


def test_several_data_sets_have_to_be_named(seen, tmp_path):
    path = tmp_path / "n.h5"
    with h5py.File(path, "w") as file:
        file["a/data"], file["b/data"] = seen.images, 0 * seen.images
    with pytest.raises(InputError, match=r"2: a/data, b/data.*dataset="):
        read(path)
    for name in ("a/data", "/a/data"):
        same(read(path, dataset=name)[0], seen)
    for name in ("a/none", "a", "../a/data", "c/data"):
        with pytest.raises(InputError, match="a data set"):
            read(path, dataset=name)


def test_data_elsewhere_are_not_followed(seen, tmp_path):
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["data"] = seen.images
    path = tmp_path / "n.h5"
    with h5py.File(path, "w") as file:
        file["entry"] = h5py.ExternalLink("o.h5", "/")
        file["soft"] = h5py.SoftLink("/entry/data")
    for name in (None, "entry/data", "soft"):
        with pytest.raises(InputError):
            read(path, dataset=name)


def test_a_table_in_a_group_with_other_names(seen, tmp_path):
    rows = np.empty(len(seen.pixels), [("f", "i8"), ("r", "i2"), ("c", "i2"), ("e", "f4")])
    for new, old in zip("frce", ("frame", "y", "x", "energy"), strict=True):
        rows[new] = seen.pixels[old]
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["run/hits"] = rows
    pixels, _, _ = read(tmp_path / "p.h5", dataset="run/hits", columns="frame=f,y=r,x=c,signal=e")
    same(pixels, seen)


@pytest.mark.parametrize(("unit", "factor"), [("eV", 1000), (b"keV", 1), ("electron", 1 / 3.71e-3)])
def test_units_by_an_attribute(unit, factor, seen, tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["frames"] = (seen.images * factor).astype("f4")
        file["frames"].attrs["unit"] = unit
    same(read(tmp_path / "f.h5")[0], seen)


def test_a_data_set_of_a_fits_file_is_refused(seen, tmp_path):
    with pytest.raises(InputError, match="an HDF5 file"):
        read(write_cube(tmp_path / "c.fits", seen.images), dataset="a")


# Several files


def parts(tmp_path, seen, cards, ending="fits"):
    """Files of four frames each, their names not in order of their letters."""
    paths = []
    for k in range(0, N, 4):
        path = tmp_path / f"run_{k + 8}.{ending}"
        paths.append(write_cube(path, seen.images[k : k + 4], **cards(k)))
    return paths


def test_a_pattern_is_one_exposure(seen, tmp_path):
    parts(tmp_path, seen, lambda k: {"TIMEDEL": 0.5})
    pixels, index, stream = read(tmp_path / "run_*.fits")
    same(pixels, seen)
    np.testing.assert_array_equal(index, np.arange(N))
    assert stream.timeline.live_time == pytest.approx(6.0)
    assert any("without a gap" in text for text in stream.remarks)
    said = [text for _, what, text in stream.account.rows if what == "input"]
    assert said[0] == "3 files in order of name: run_8.fits to run_16.fits"
    same(read(str(tmp_path / "run_*.fits"))[0], seen)
    with pytest.raises(InputError, match="none"):
        read(tmp_path / "walk_*.fits")


def test_dates_put_files_in_order_and_tell_the_gaps(seen, tmp_path):
    """The last of the names was taken first."""
    dates = {0: "2020-01-01T00:00:30", 4: "2020-01-01T00:01:00", 8: "2020-01-01T00:00:00"}
    paths = parts(tmp_path, seen, lambda k: {"EXPTIME": 0.5, "DATE-OBS": dates[k]})
    pixels, index, stream = read(paths)
    order = np.concatenate([seen.images[8:], seen.images[:8]])
    np.testing.assert_array_equal(pixels["frame"], np.argwhere(order > 0)[:, 0])
    np.testing.assert_allclose(stream.timeline.intervals, [[0, 2], [30, 32], [60, 62]])
    np.testing.assert_allclose(stream.timeline.time(index[[0, 4, 11]]), [0.25, 30.25, 61.75])
    assert stream.timeline.live_time == pytest.approx(6.0)
    assert stream.dated_header["MJDREFI"] == 58849


def test_single_images_are_frames_where_there_are_several(seen, tmp_path):
    for k, image in enumerate(seen.images):
        write_cube(tmp_path / f"f{k}.fits", image, EXPTIME=2.0)
    pixels, _, stream = read(str(tmp_path / "f*.fits"))
    same(pixels, seen)
    assert len(list(stream.source.read())) == 1  # a block of all files: hot pixels need many frames
    assert stream.timeline.live_time == pytest.approx(2.0 * N)


def test_tables_whose_frames_begin_anew_or_go_on(seen, tmp_path):
    for kind, first in (("anew", 4), ("on", 0)):
        paths = []
        for k in range(0, N, 4):
            inside = (seen.pixels["frame"] >= k) & (seen.pixels["frame"] < k + 4)
            made = Table(seen.pixels[inside])
            made["frame"] -= k * (first > 0)
            paths.append(tmp_path / f"{kind}{k:02}.fits")
            made.write(paths[-1])
        pixels, index, _ = read(paths)
        if kind == "on":
            same(pixels, seen)
        assert (np.diff(index) > 0).all()
        assert len(pixels) == len(seen.pixels)
        np.testing.assert_array_equal(pixels["x"], seen.pixels["x"])


@pytest.mark.parametrize("other", ["shape", "kind", "list", "twice"])
def test_files_that_do_not_go_together(other, seen, tmp_path):
    one = write_cube(tmp_path / "a.fits", seen.images)
    if other == "shape":
        two = write_cube(tmp_path / "b.fits", seen.images[:, :64])
    elif other == "kind":
        two = table(tmp_path / "b.fits", seen)
    elif other == "list":
        two = write_events(tmp_path / "b.fits", event_table(20))
    else:
        two = tmp_path / "." / "a.fits"
    with pytest.raises(InputError, match="twice" if other == "twice" else r"b\.fits"):
        read([one, two])


# Texts of a Timepix

CHIP = DetectorSettings(name="chip", ny=256, nx=256, split_keV=0.5, event_keV=0.5)


def dsc(path, layout="[X,Y,C]", acq=30.0, start=1396447395.0):
    path.with_name(path.name + ".dsc").write_text(
        f'A000000001\n[F0]\nType=i16 {layout} width=256 height=256\n"Acq time" ("s"):\n'
        f'double[1]\n{acq:f} \n\n"Start time" ("start"):\ndouble[1]\n{start:f} \n'
    )


def chip_frames(n=3):
    """Sparse images of counts, with an empty one."""
    rng = np.random.default_rng(9)
    images = np.zeros((n, 256, 256), int)
    for k in range(0, n, 2):
        images[k, rng.integers(0, 256, 20), rng.integers(0, 256, 20)] = rng.integers(5, 90, 20)
    return images


def as_text(kind, images, path):
    if kind == "matrix":
        text = "\n".join(" ".join(map(str, row)) for image in images for row in image)
    elif kind == "clusters":
        lines = []
        for k, image in enumerate(images):
            lines.append(f"Frame {k + 1} ({1396447395.0 + 30 * k:.3f}, 30.000 s)")
            lines += [f"[{x}, {y}, {image[y, x]}] " for y, x in np.argwhere(image)]
        text = "\n".join(lines)
    else:
        blocks = []
        for image in images:
            gap = {"xyC": "\t", "csv": ","}[kind]
            blocks.append(
                "".join(f"{x}{gap}{y}{gap}{image[y, x]}\n" for y, x in np.argwhere(image))
            )
        text = "#\n".join(blocks) + ("#\n" if kind == "xyC" else "")
    path.write_text(text)
    if kind != "clusters":
        dsc(path, "matrix" if kind == "matrix" else "[X,Y,C]")
    return path


@pytest.mark.parametrize("kind", ["xyC", "csv", "matrix", "clusters"])
def test_texts_of_a_timepix(kind, tmp_path):
    images = chip_frames()
    pixels, index, stream = read(as_text(kind, images, tmp_path / "d.txt"), detector=CHIP, gain=0.5)
    np.testing.assert_array_equal(
        np.stack([pixels["frame"] - index[0], pixels["y"], pixels["x"]], 1), np.argwhere(images)
    )
    np.testing.assert_allclose(pixels["energy"], 0.5 * images[images > 0])
    assert len(index) == 3
    assert stream.timeline.live_time == pytest.approx(90.0)
    assert stream.source.told.mjd == pytest.approx(Time(1396447395, format="unix").mjd)


def test_counts_need_a_gain_and_the_detector_is_told(tmp_path):
    path = as_text("xyC", chip_frames(), tmp_path / "d.txt")
    with pytest.raises(InputError, match="gain"):
        load_frames(path)
    stream = load_frames(path, gain=0.5)
    assert stream.camera.name == "timepix"
    assert any("timepix" in text for text in stream.remarks)


def test_many_texts_of_a_frame_each(tmp_path):
    """An empty file is a frame without pixels; descriptions beside them are no frames."""
    images = chip_frames(5)
    for k, image in enumerate(images):
        path = tmp_path / f"data{k:03}.txt"
        path.write_text("".join(f"{x}\t{y}\t{image[y, x]}\n" for y, x in np.argwhere(image)))
        dsc(path, acq=2.0, start=1396447395.0 + 10 * k)
    pixels, index, stream = read(str(tmp_path / "data*"), detector=CHIP, gain=1.0)
    np.testing.assert_array_equal(
        np.stack([pixels[n] for n in ("frame", "y", "x")], 1), np.argwhere(images)
    )
    np.testing.assert_array_equal(index, np.arange(5))
    np.testing.assert_allclose(
        stream.timeline.intervals, [[10 * k, 10 * k + 2] for k in range(5)], atol=1e-5
    )


@pytest.mark.parametrize(
    "text", ["1 2\n3 4\n", "1 2 3\n4 5\n", "1.5 2 3\n", "-1 2 3\n", "Frame 1 (0, 1 s)\n[1, 2]\n",
             "Frame 2 (0, 1 s)\n[1, 2, 3]\nFrame 1 (1, 1 s)\n[1, 2, 3]\n", "99999 1 2\n"],
)  # fmt: skip
def test_texts_that_are_none(text, tmp_path):
    (tmp_path / "d.txt").write_text(text)
    with pytest.raises(InputError, match=r"d\.txt: expected"):
        read(tmp_path / "d.txt", gain=1.0)
