"""Bad input: exit code 2, a message that names file, expectation and finding, and no output."""

from __future__ import annotations

import gzip
import os
import pickle

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from fakes.background_detector import (
    CAMERA,
    RuleDetector,
    event_table,
    exposure_table,
    quick_figure,
    register,
    scene,
    write_cube,
    write_dense,
    write_events,
    write_sparse,
)

import physml
from physml.background.core.detectors import DetectorSettings
from physml.background.core.frames import PIXEL
from physml.background.predict import BackgroundPredictor
from physml.cli.main import main
from physml.config import dump_yaml
from physml.exceptions import InputError


@pytest.fixture
def detector(monkeypatch):
    made = RuleDetector()
    load = classmethod(lambda cls, path=None: cls(made))
    monkeypatch.setattr(BackgroundPredictor, "load", load)
    return made


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    register(monkeypatch)
    quick_figure(monkeypatch)


@pytest.fixture(scope="module")
def seen():
    return scene(40)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    path = tmp_path_factory.mktemp("camera") / "toy.yaml"
    path.write_text(dump_yaml(CAMERA))
    return path


def snapshot(folder):
    return sorted(str(p) for p in folder.rglob("*"))


@pytest.fixture
def refused(detector, capsys, tmp_path, camera):
    """The command fails with 2, says why, and leaves nothing behind."""

    def check(*arguments, mentions=(), toy=True):
        before = snapshot(tmp_path)
        out = tmp_path / "result"
        options = ["--detector", str(camera)] if toy else []
        code = main(["background", "predict", *map(str, arguments), *options, "-o", str(out)])
        message = capsys.readouterr().err
        assert code == 2, message
        assert "Traceback" not in message
        for text in mentions:
            assert str(text) in message, message
        assert not out.exists()
        assert snapshot(tmp_path) == before
        return message

    return check


@pytest.fixture
def works(detector, capsys, caplog, tmp_path, camera):
    """The command succeeds and says what it did."""

    def check(*arguments, mentions=(), toy=True):
        out = tmp_path / "result"
        options = ["--detector", str(camera)] if toy else []
        code = main(["background", "predict", *map(str, arguments), *options, "-o", str(out)])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        for text in mentions:
            assert text in captured.err + caplog.text
        return Table.read(out / "events.fits", hdu="EVENTS")

    return check


# -------------------------------------------------------------------------- what the numbers mean


@pytest.mark.parametrize("dtype", ["u2", "i2", "i4"])
@pytest.mark.parametrize("write", [write_cube, write_dense])
def test_adu_without_a_gain(write, dtype, seen, refused, tmp_path):
    path = write(tmp_path / "frames.x", (seen.images / 0.0037 + 100).astype(dtype))
    message = refused(path, mentions=[path, "energies in keV", "whole numbers", "raw ADU"])
    assert "--gain" in message


def test_adu_as_floats(seen, refused, tmp_path):
    """With their noise, or with zeros where there is nothing."""
    rng = np.random.default_rng(0)
    adu = np.round(seen.images / 0.0037).astype("f4")
    path = write_dense(tmp_path / "zeros.h5", adu)
    refused(path, mentions=[path, "ADU", "--gain"])
    noisy = adu + np.round(rng.normal(100, 3, adu.shape)).astype("f4")
    path = write_dense(tmp_path / "noise.h5", noisy)
    refused(path, mentions=[path, "ADU", "--gain"])


def test_adu_in_a_table_and_by_unit(seen, refused, tmp_path):
    rows = np.empty(len(seen.pixels), [*PIXEL.descr[:3], ("energy", "i4")])
    for name in PIXEL.names:
        rows[name] = seen.pixels[name] * (270 if name == "energy" else 1)
    path = write_sparse(tmp_path / "table.h5", rows)
    refused(path, mentions=[path, "whole numbers", "--gain"])
    path = write_cube(tmp_path / "cube.fits", seen.images, BUNIT="adu")
    refused(path, mentions=[path, "found adu", "--gain"])


def test_an_offset_without_a_gain(seen, refused, tmp_path):
    path = write_dense(tmp_path / "f.h5", (seen.images * 100).astype("u2"))
    refused(path, "--offset", 10, mentions=["--offset", "--gain"])


@pytest.mark.parametrize("kind", ["dense", "noisy", "sparse", "few"])
def test_ev_instead_of_kev(kind, seen, refused, tmp_path):
    ev = seen.images * np.float32(1000.3)
    if kind == "noisy":
        ev += np.random.default_rng(0).normal(0, 11, ev.shape).astype("f4")
    path = tmp_path / "frames.h5"
    if kind in ("dense", "noisy"):
        write_dense(path, ev)
    else:
        rows = seen.pixels[: 12 if kind == "few" else None]
        rows["energy"] *= 1000.3
        write_sparse(path, rows)
    message = refused(path, mentions=[path, "keV", "eV"])
    assert "--gain 0.001" in message


def test_ev_with_a_gain_or_a_unit_is_understood(seen, works, tmp_path):
    path = write_dense(tmp_path / "frames.h5", seen.images * np.float32(1000.3))
    table = works(path, "--gain", 0.001)
    assert len(table) == len(seen.photons)


def test_an_unknown_unit(seen, refused, tmp_path):
    path = write_cube(tmp_path / "cube.fits", seen.images, BUNIT="furlong")
    refused(path, mentions=[path, "'furlong'"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["dense", "cube", "sparse"])
def test_nan(kind, value, seen, refused, tmp_path):
    path = tmp_path / "frames.x"
    if kind == "sparse":
        rows = seen.pixels.copy()
        rows["energy"][17] = value
        write_sparse(path, rows)
    else:
        images = seen.images.copy()
        images[7, 20, 30] = value
        (write_cube if kind == "cube" else write_dense)(path, images)
    message = refused(path, mentions=[path, "finite energies", f"found {value}"])
    if kind != "sparse":
        assert "in frame 7 at (y, x) = (20, 30)" in message
        assert "--bad" in message


def test_blank_pixels_of_a_cube(refused, tmp_path):
    images = np.zeros((3, CAMERA.ny, CAMERA.nx), "i2")
    images[1, 4, 5] = -32768
    path = write_cube(tmp_path / "cube.fits", images, BLANK=-32768)
    refused(path, "--gain", 0.01, mentions=[path, "nan in frame 1 at (y, x) = (4, 5)"])


def test_an_offset_that_was_not_subtracted(seen, refused, tmp_path):
    rng = np.random.default_rng(1)
    images = (seen.images + rng.normal(0.4, 0.011, seen.images.shape)).astype("f4")
    path = write_dense(tmp_path / "frames.h5", images)
    refused(path, mentions=[path, "offset is subtracted", "a median of 0.4 keV", "--offset"])


def test_an_offset_that_was_subtracted_twice_in_part(seen, refused, tmp_path):
    """Two percent of the pixels lie far below zero; the median does not tell."""
    rng = np.random.default_rng(1)
    images = (seen.images + rng.normal(0, 0.011, seen.images.shape)).astype("f4")
    images[:, :, :2] -= 1.0
    path = write_dense(tmp_path / "frames.h5", images)
    refused(path, mentions=[path, "below minus five sigma", "Was the offset subtracted twice"])


def test_negative_down_to_five_sigma_is_handled(seen, works, tmp_path):
    """Noise of 3 electrons below zero: the same events, none of them spoilt."""
    rng = np.random.default_rng(1)
    noise = np.clip(rng.normal(0, 0.011, seen.images.shape), -0.055, 0.049)
    path = write_dense(tmp_path / "frames.h5", (seen.images + noise).astype("f4"))
    table = works(path)
    assert len(table) == len(seen.photons)
    assert (table["FLAG"] & 4 == 0).all()


# --------------------------------------------------------------------------------- the detector


def test_saturated_and_hot_columns_are_masked(seen, works, tmp_path):
    images = seen.images.copy()
    images[:, :, 50] = 65.535
    images[:, :, 81] = 0.3
    path = write_dense(tmp_path / "frames.h5", images)
    table = works(path, mentions=["2 hot or saturated columns (x = 50, 81)"])
    assert len(table) == len(seen.photons)
    assert not np.isin(table["RAWX"] - 1, [50, 81]).any()


def test_too_many_hot_columns(seen, refused, tmp_path):
    images = seen.images.copy()
    images[:, :, 10:21] = 0.3  # 11 of 96
    images[:, :5, :] = np.where(np.arange(CAMERA.nx) % 2, 0.2, 0)
    path = write_dense(tmp_path / "frames.h5", images)
    message = refused(path, mentions=[path])
    assert "bad pixels" in message or "photon-counting frames" in message


def test_a_detector_of_another_size(seen, refused, tmp_path):
    for write in (write_cube, write_dense):
        path = write(tmp_path / f"{write.__name__}.x", seen.images)
        refused(path, toy=False, mentions=[path, "512 x 512", "found 96 x 128", "--detector"])
    rows = np.array([(0, 20, 20, 1.0), (1, 20, 700, 2.0)], PIXEL)
    path = write_sparse(tmp_path / "f.h5", rows)
    refused(path, toy=False, mentions=[path, "(y, x) = (20, 700) in frame 1", "--detector"])
    path = write_sparse(tmp_path / "e.h5", rows[:1], exposure_table(9))
    refused(path, toy=False, mentions=[path, "512 x 512", "found 96 x 128"])


def test_frames_of_64_by_64(refused, works, tmp_path):
    """Not what the network was trained on: refused unless the detector is named, then told."""
    small = DetectorSettings(name="small", ny=64, nx=64)
    images = scene(30, small).images
    path = write_dense(tmp_path / "frames.h5", images)
    refused(path, toy=False, mentions=[path, "512 x 512", "found 64 x 64", "--detector"])
    mention = "not trained on this: frames of 64 x 64 pixels, trained on 512 x 512"
    works(path, "--detector", "wfi_fast", toy=False, mentions=[mention])


def test_detectors_that_are_none(seen, refused, tmp_path):
    path = write_dense(tmp_path / "f.h5", seen.images)
    refused(path, "--detector", "hubble", toy=False, mentions=["'hubble'", "wfi"])
    bad = tmp_path / "camera.yaml"
    bad.write_text("nz: 3\n")
    refused(path, "--detector", bad, toy=False, mentions=["nz"])


@pytest.mark.parametrize("option", ["--gain", "--offset", "--bad"])
def test_maps_that_do_not_fit(option, seen, refused, tmp_path):
    path = write_dense(tmp_path / "f.h5", (seen.images * 100).astype("u2"))
    write_cube(tmp_path / "map.fits", np.ones((64, 64)))
    more = [] if option == "--gain" else ["--gain", 0.01]
    refused(
        path, option, tmp_path / "map.fits", *more,
        mentions=[tmp_path / "map.fits", "96 x 128", "found 64 x 64"],
    )  # fmt: skip
    refused(path, option, tmp_path / "no.fits", *more, mentions=["no.fits", "no such file"])


# ------------------------------------------------------------------------------------- the stream


@pytest.mark.parametrize("write", [write_cube, write_dense])
def test_zeros(write, refused, tmp_path):
    path = write(tmp_path / "frames.x", np.zeros((30, CAMERA.ny, CAMERA.nx), "f4"))
    refused(path, mentions=[path, "pixels above 0.05 keV", "zeros only"])


def test_nothing_above_the_threshold(refused, tmp_path):
    images = np.zeros((30, CAMERA.ny, CAMERA.nx), "f4")
    images[3, 4, 5] = 0.031
    path = write_dense(tmp_path / "f.h5", images)
    refused(path, mentions=[path, "the largest is 0.031 keV"])


def test_no_frames_and_no_pixels(refused, tmp_path):
    path = write_sparse(tmp_path / "p.h5", np.empty(0, PIXEL))
    refused(path, mentions=[path, "data in 'pixels'", "length is 0"])
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["frames"] = np.zeros((0, CAMERA.ny, CAMERA.nx), "f4")
    refused(tmp_path / "f.h5", mentions=["f.h5", "data in 'frames'"])


def test_an_empty_frame_is_no_fault(seen, works, tmp_path):
    images = seen.images.copy()
    images[5:9] = 0
    table = works(write_dense(tmp_path / "f.h5", images))
    assert not np.isin(table["FRAME"], [5, 6, 7, 8]).any()
    header = fits.getheader(tmp_path / "result" / "events.fits", "EVENTS")
    assert header["ONTIME"] == pytest.approx(40 * 0.005)


def test_a_hundred_thousand_events_in_a_frame(refused, tmp_path):
    """On a grid, so that each pixel is an event; 1440 x 1440 pixels have room for them."""
    y, x = (a.ravel()[:100_000] for a in np.mgrid[2:1438:4, 2:1438:4])
    rows = np.zeros(len(y), PIXEL)
    rows["frame"], rows["y"], rows["x"], rows["energy"] = 3, y, x, 1.7
    path = write_sparse(tmp_path / "f.h5", rows)
    refused(
        path, "--detector", "axis", toy=False,
        mentions=[path, "at most 10000 events in a frame", f"found {len(rows)} in frame 3"],
    )  # fmt: skip


def test_a_frame_full_of_signal(seen, refused, tmp_path):
    images = seen.images.copy()
    images[17, 20:80, 20:80] = np.random.default_rng(0).uniform(0.1, 9, (60, 60))
    path = write_dense(tmp_path / "f.h5", images)
    refused(path, mentions=[path, "photon-counting frames", "in frame 17"])
    rows = np.zeros(CAMERA.ny * CAMERA.nx, PIXEL)
    rows["y"], rows["x"] = np.divmod(np.arange(len(rows)), CAMERA.nx)
    rows["energy"] = 0.3
    path = write_sparse(tmp_path / "s.h5", rows)
    refused(path, mentions=[path, "photon-counting frames", "(100%)"])


def test_frames_out_of_order(seen, refused, tmp_path):
    rows = np.concatenate([seen.pixels[50:], seen.pixels[:50]])
    path = write_sparse(tmp_path / "f.h5", rows)
    refused(path, mentions=[path, "sorted by frame", "frame 0 after 39", "Sort"])


def test_doubled_pixels(seen, refused, tmp_path):
    rows = np.concatenate([seen.pixels, seen.pixels[-1:]])
    path = write_sparse(tmp_path / "f.h5", rows)
    refused(path, mentions=[path, "each pixel of a frame once", "twice"])
    with pytest.raises(InputError, match="once"):
        BackgroundPredictor(RuleDetector()).predict(
            np.concatenate([seen.pixels, seen.pixels]), detector=CAMERA
        )


def test_indices_and_weights_that_do_not_fit(seen, refused, tmp_path):
    p = seen.pixels
    cases = {
        "increase": {"index": np.arange(40)[::-1].copy()},
        "listed in 'index'": {"index": np.arange(30)},
        "one for each frame": {"index": np.arange(40), "weight": np.ones(39, "f4")},
        "positive weights": {"index": np.arange(40), "weight": np.zeros(40, "f4")},
        "whole numbers in 'index'": {"index": np.arange(40.0)},
    }
    for number, (text, arrays) in enumerate(cases.items()):
        path = write_sparse(tmp_path / f"{number}.h5", p, **arrays)
        refused(path, mentions=[path, text])
    path = write_dense(tmp_path / "d.h5", seen.images, index=np.arange(39))
    refused(path, mentions=[path, "40 frame numbers", "39"])


def test_exposures_that_do_not_fit(seen, refused, tmp_path):
    cases = {
        "others as well": exposure_table(20),
        "positive frame times": exposure_table(40, frame_time=0.0),
        "do not overlap": np.concatenate([exposure_table(30), exposure_table(30, first=10)]),
        "one detector shape": np.concatenate(
            [exposure_table(20), exposure_table(20, first=20, ny=99)]
        ),
        "first_frame, n_frames, frame_time": exposure_table(40)[["ny", "nx"]],
    }
    for number, (text, table) in enumerate(cases.items()):
        path = write_sparse(tmp_path / f"{number}.h5", seen.pixels, table)
        refused(path, mentions=[path, text])


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
def test_truncated_hdf5(keep, seen, refused, tmp_path):
    for name, write, content in (
        ("dense", write_dense, seen.images),
        ("sparse", write_sparse, np.tile(seen.pixels, 10)),
    ):
        whole = write(tmp_path / "whole.h5", content)
        path = tmp_path / f"{name}.h5"
        raw = whole.read_bytes()
        path.write_bytes(raw[: int(keep * len(raw))])
        whole.unlink()
        refused(path, mentions=[path, "expected", "found"])


def test_a_damaged_chunk(seen, refused, tmp_path):
    """The file opens; what is in it does not unpack."""
    path = write_dense(tmp_path / "f.h5", seen.images)
    with h5py.File(path) as file:
        place = file["frames"].id.get_chunk_info(20)
    raw = bytearray(path.read_bytes())
    raw[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(raw)
    refused(path, mentions=[path, "chunk of 'frames'"])


@pytest.mark.parametrize("keep", [1000, 2880, 60_000, 1_000_000])
def test_truncated_cube(keep, seen, refused, tmp_path):
    whole = write_cube(tmp_path / "whole.fits", seen.images)
    path = tmp_path / "cut.fits"
    path.write_bytes(whole.read_bytes()[:keep])
    whole.unlink()
    refused(path, mentions=[path, "expected", "found"])
    path.write_bytes(gzip.compress(bytes(range(256)) * 400)[:300])
    refused(path, mentions=[path])


@pytest.mark.parametrize("kind", ["empty", "text", "png", "zip"])
def test_other_files_in_disguise(kind, refused, tmp_path):
    path = tmp_path / "frames.h5"
    content = {"empty": b"", "text": b"nothing of use\n" * 99, "png": b"\x89PNG\r\n", "zip": b"PK"}
    path.write_bytes(content[kind])
    refused(path, mentions=[path, "an HDF5 or FITS file"])


def test_no_file_or_a_folder(refused, tmp_path):
    refused(tmp_path / "no.h5", mentions=["no.h5", "no such file"])
    refused(tmp_path, mentions=[tmp_path, "a folder"])


def test_hdf5_without_frames(refused, tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.ones((3, 4, 5))
    refused(path, mentions=[path, "'frames'", "'pixels'", "only data"])
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros(3, [("frame", "i8"), ("x", "i2"), ("charge", "f4")])
    refused(path, mentions=[path, "without y, energy"])
    with h5py.File(path, "w") as file:
        file["frames"] = np.zeros((64, 64), "f4")
    refused(path, mentions=[path, "frames"])


@pytest.mark.parametrize("kind", ["external", "link", "virtual", "terabytes"])
def test_hostile_hdf5(kind, refused, tmp_path):
    path, shape = tmp_path / "f.h5", (4, CAMERA.ny, CAMERA.nx)
    (tmp_path / "secret.bin").write_bytes(b"s" * 4 * int(np.prod(shape)))
    with h5py.File(path, "w") as file:
        if kind == "external":
            file.create_dataset(
                "frames", shape, "f4", external=[(str(tmp_path / "secret.bin"), 0, 1 << 20)]
            )
        elif kind == "link":
            file["frames"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/frames")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "frames", shape)
            file.create_virtual_dataset("frames", layout)
        else:
            chunk = (1, CAMERA.ny, CAMERA.nx)
            file.create_dataset("frames", (10**8, CAMERA.ny, CAMERA.nx), "f4", chunks=chunk)
    refused(path, mentions=[path])


def test_cubes_that_are_none(seen, refused, tmp_path):
    path = write_cube(tmp_path / "one.fits", seen.images[0])
    refused(path, mentions=[path, "a cube of frames", "96 x 128"])
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(seen.images)]).writeto(tmp_path / "c.fits")
    refused(tmp_path / "c.fits", mentions=["c.fits"])
    raw = write_cube(tmp_path / "boast.fits", seen.images).read_bytes()
    card = f"NAXIS3  = {len(seen.images):20d}".encode()
    assert card in raw
    (tmp_path / "boast.fits").write_bytes(raw.replace(card, b"NAXIS3  = " + b"%20d" % 10_000_000))
    refused(tmp_path / "boast.fits", mentions=["boast.fits", "truncated or its header is wrong"])


# ------------------------------------------------------------------------------------ event lists


@pytest.mark.parametrize(
    ("columns", "mentions"),
    [
        ({"grade": None}, ["GRADE or PATTERN"]),
        ({"energy": None, "pi": None}, ["ENERGY or PI"]),
        ({"time": None}, ["TIME"]),
        ({"grade": np.arange(50, dtype="i2") * 5}, ["GRADE from 0 to 7", "245"]),
        ({"grade": np.linspace(0, 6, 50)}, ["whole numbers in GRADE"]),
        ({"energy": np.full(50, np.nan)}, ["finite energies"]),
        ({"time": np.full(50, np.inf)}, ["finite times"]),
    ],
)
def test_event_lists_without_what_is_needed(columns, mentions, refused, tmp_path):
    path = write_events(tmp_path / "e.fits", event_table(50, **columns))
    refused(path, toy=False, mentions=[path, *mentions])


def test_channels_of_an_unknown_instrument(refused, tmp_path):
    hdu = event_table(50, energy=None)
    hdu.header["INSTRUME"] = "NEWCAM"
    path = write_events(tmp_path / "e.fits", hdu)
    refused(path, toy=False, mentions=[path, "'NEWCAM'", "--channel"])
    refused(path, "--channel", -1, toy=False, mentions=["channel", "-1"])


def test_times_out_of_order(refused, tmp_path):
    time = np.sort(event_table(50).data["time"])
    time[[10, 30]] = time[[30, 10]]
    path = write_events(tmp_path / "e.fits", event_table(50, time=time))
    refused(path, toy=False, mentions=[path, "in order of TIME", "Sort the list"])


def test_doubled_events(refused, works, tmp_path):
    hdu = event_table(50)
    rows = Table(hdu.data)[sorted([*range(50), 20, 21])]
    columns = {name: np.asarray(rows[name]) for name in rows.colnames}
    path = write_events(tmp_path / "e.fits", event_table(52, **columns))
    refused(path, toy=False, mentions=[path, "each event once", "2 doubled"])
    # Several events of one frame share their time: no fault.
    path = write_events(tmp_path / "o.fits", event_table(50, time=np.full(50, 1000.0)))
    assert len(works(path, toy=False)) == 50


def test_energies_of_a_list_in_ev(refused, tmp_path):
    for unit, hint in (("keV", "TUNIT is wrong"), (None, "TUNITn = 'eV'")):
        path = write_events(tmp_path / "e.fits", event_table(50, unit=unit))
        refused(path, toy=False, mentions=[path, "this looks like eV", hint])
    path = write_events(tmp_path / "e.fits", event_table(50, unit="erg"))
    refused(path, toy=False, mentions=[path, "'erg'"])


def test_lists_that_are_none(refused, tmp_path):
    table = fits.BinTableHDU(Table({"a": [1.0]}).as_array(), name="OTHER")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    refused(tmp_path / "t.fits", toy=False, mentions=["an extension EVENTS", "OTHER"])
    empty = event_table(50)
    empty.data = empty.data[:0]
    path = write_events(tmp_path / "e.fits", empty)
    refused(path, toy=False, mentions=[path, "the list is empty"])
    path = write_events(tmp_path / "g.fits", event_table(50), gti=[(2000, 999)])
    refused(path, toy=False, mentions=[path, "GTI"])


@pytest.mark.parametrize("keep", [3000, 9000, 15_000])
def test_truncated_list(keep, refused, tmp_path):
    whole = write_events(tmp_path / "w.fits", event_table(300))
    path = tmp_path / "e.fits"
    path.write_bytes(whole.read_bytes()[:keep])
    whole.unlink()
    refused(path, toy=False, mentions=[path, "expected", "found"])


def test_options_for_frames_with_a_list(refused, tmp_path):
    path = write_events(tmp_path / "e.fits", event_table(50))
    refused(path, "--gain", 0.01, toy=False, mentions=["gain", "event list"])
    refused(path, "--detector", "wfi", toy=False, mentions=["detector", "event list"])


# -------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (["--retention", "0"], ["retention", "from 0.8 to 0.99", "found 0.0"]),
        (["--retention", "1.2"], ["retention", "found 1.2"]),
        (["--retention", "nan"], ["retention", "nan"]),
        (["--retention", "98"], ["retention", "98"]),
        (["--frame-time", "0"], ["--frame-time", "0"]),
        (["--split", "-1"], ["split", "-1"]),
        (["--split", "0.2", "--event", "0.1"], ["event", "0.2"]),
        (["--gain", "0"], ["gain", "0"]),
        (["--gain", "nan"], ["gain", "nan"]),
        (["--start", "yesterday"], ["--start", "yesterday"]),
        (["--bogus"], ["bogus"]),
    ],
)
def test_arguments_out_of_range(options, mentions, seen, refused, tmp_path):
    path = write_dense(tmp_path / "f.h5", seen.images)
    refused(path, *options, mentions=mentions)


@pytest.mark.parametrize("retention", [0, 1.2, float("nan"), "98%", None])
def test_retention_from_python(retention, seen):
    with pytest.raises(InputError, match="retention"):
        BackgroundPredictor(RuleDetector()).predict(seen.images, retention, detector=CAMERA)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (np.zeros((64, 64)), "shape"),
        (np.zeros((2, 3, 64, 64)), "shape"),
        (np.zeros((2, 3, 3)), "8 to"),
        (np.array(["a"]), "axes"),
        (np.zeros((2, CAMERA.ny, CAMERA.nx), complex), "real numbers"),
        (3.0, "float"),
        ({"frame": [1]}, "dict"),
        (Table({"frame": [1], "y": [2], "x": [3]}), "without energy"),
        (Table({"frame": [1.5], "y": [2], "x": [3], "energy": [1.0]}), "whole numbers"),
        (Table({"frame": [-1], "y": [20], "x": [30], "energy": [1.0]}), "frame numbers"),
        (Table(masked=True, data={"frame": np.ma.array([1], mask=[True]), "y": [2], "x": [3],
                                  "energy": [1.0]}), "missing"),
    ],
)  # fmt: skip
def test_things_that_are_no_frames(given, text):
    with pytest.raises(InputError, match=text):
        BackgroundPredictor(RuleDetector()).predict(given, detector=CAMERA)


# ---------------------------------------------------------------------------- weights and output


class _Evil:
    def __reduce__(self):
        return (os.mkdir, (os.environ["PHYSML_TEST_TRAP"],))


@pytest.mark.parametrize("kind", ["pickle", "text", "missing", "of another pipeline"])
def test_weights_that_are_none(kind, capsys, tmp_path, seen, monkeypatch):
    trap = tmp_path.parent / f"{tmp_path.name}_trap"
    monkeypatch.setenv("PHYSML_TEST_TRAP", str(trap))
    frames = write_dense(tmp_path / "f.h5", seen.images)
    path = tmp_path / "weights.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Evil()))
    elif kind == "text":
        path.write_text("no weights")
    elif kind == "of another pipeline":
        import torch

        from physml.io.weights import save_weights

        save_weights(path, {"w": torch.ones(3)}, {"pipeline": "cavities"})
    before = snapshot(tmp_path)
    code = main(["background", "predict", str(frames), "-o", str(tmp_path / "out"),
                 "--weights", str(path)])  # fmt: skip
    message = capsys.readouterr().err
    assert code == 2, message
    assert str(path) in message
    assert snapshot(tmp_path) == before
    assert not trap.exists()


def test_weights_without_thresholds_promise_nothing(seen):
    made = RuleDetector()
    made.thresholds = None
    with pytest.raises(InputError, match="no thresholds"):
        BackgroundPredictor(made).predict(seen.images, 0.9, detector=CAMERA)


def test_an_existing_output_folder(detector, capsys, tmp_path, seen, camera):
    path = write_dense(tmp_path / "f.h5", seen.images)
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        arguments = [str(path), "-o", str(out), "--detector", str(camera), *more]
        assert main(["background", "predict", *arguments]) == 2
        assert str(out) in capsys.readouterr().err
        assert [p.name for p in out.iterdir()] == ["precious.txt"]
    assert detector.calls == 0  # said before any work


@pytest.mark.parametrize(
    "victim",
    ["events.fits", "spectrum_kept.pha", "effective_area_correction.fits", "background.fits",
     "overview.png", "summary.json"],
)  # fmt: skip
def test_a_disk_that_is_full_at_any_file(victim, refused, seen, tmp_path, monkeypatch):
    """ENOSPC at the very end of each file, when its bytes are forced to the disk."""
    from physml.background.results import products
    from physml.io import atomic

    frames = write_dense(tmp_path / "f.h5", seen.images)
    fsync = atomic._fsync
    stem, suffix = victim.split(".")

    def full(path):
        if path.name.lstrip(".").startswith(f"{stem}.") and path.suffix == f".{suffix}":
            raise OSError(28, "No space left on device", str(path))
        return fsync(path)

    if victim not in ("overview.png", "summary.json"):
        monkeypatch.setattr(products, "plot_overview", None)  # not reached
    monkeypatch.setattr(atomic, "_fsync", full)
    refused(frames, mentions=["room for the output"])


def test_a_disk_that_is_full_while_events_are_found(refused, seen, tmp_path, monkeypatch):
    from physml.background.results import event_rows as rows

    frames = write_dense(tmp_path / "f.h5", seen.images)

    def append(self, new):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows.RowStore, "append", append)
    refused(frames, mentions=["room for the output"])


def test_ctrl_c_leaves_nothing(detector, capsys, tmp_path, seen, camera, monkeypatch):
    from physml.background.results import products

    path = write_dense(tmp_path / "f.h5", seen.images)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(products, "write_spectrum", interrupt)
    before = snapshot(tmp_path)
    arguments = [str(path), "-o", str(tmp_path / "out"), "--detector", str(camera)]
    assert main(["background", "predict", *arguments]) == 130
    assert snapshot(tmp_path) == before


def test_model_load_of_nothing(tmp_path):
    with pytest.raises(InputError):
        physml.Model.load(tmp_path / "none.safetensors")
