"""Bad input: exit code 2, a message that names file, expectation and finding, and no output."""

from __future__ import annotations

import gzip
import os
import pickle
from unittest.mock import Mock

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
def path(tmp_path, seen):
    """Sound frames, for what is wrong elsewhere."""
    return write_dense(tmp_path / "sound.h5", seen.images)


@pytest.fixture
def stored(tmp_path):
    """File of frames, of pixels or of an event list; a path stays what it is."""

    def store(given):
        if isinstance(given, fits.BinTableHDU):
            return write_events(tmp_path / "events.fits", given)
        if isinstance(given, np.ndarray):
            write = write_sparse if given.dtype.names else write_dense
            return write(tmp_path / "frames.h5", given)
        return given

    return store


@pytest.fixture
def predict(detector, tmp_path, camera):
    """Exit code of the command; event lists know their detector."""

    def run(path, *options, toy=True):
        if toy and path.name != "events.fits":
            options = (*options, "--detector", camera)
        arguments = map(str, (path, *options, "-o", tmp_path / "result"))
        return main(["background", "predict", *arguments])

    return run


@pytest.fixture
def refused(predict, stored, capsys, tmp_path):
    """The command fails with 2, says why and in which file, and leaves nothing behind."""

    def check(given, *options, mentions=(), toy=True):
        path = stored(given)
        before = snapshot(tmp_path)
        code = predict(path, *options, toy=toy)
        message = capsys.readouterr().err
        assert code == 2, message
        assert "Traceback" not in message
        for text in mentions if path is given else [path, *mentions]:
            assert str(text) in message, message
        assert snapshot(tmp_path) == before
        return message

    return check


@pytest.fixture
def works(predict, stored, capsys, caplog, tmp_path):
    """The command succeeds and says what it did."""

    def check(given, *options, mentions=(), toy=True):
        code = predict(stored(given), *options, toy=toy)
        said = capsys.readouterr().err + caplog.text
        assert code == 0, said
        for text in mentions:
            assert text in said
        return Table.read(tmp_path / "result" / "events.fits", hdu="EVENTS")

    return check


@pytest.mark.parametrize("dtype", ["u2", "i2", "i4"])
@pytest.mark.parametrize("write", [write_cube, write_dense])
def test_adu_without_a_gain(write, dtype, seen, refused, tmp_path):
    path = write(tmp_path / "frames.x", (seen.images / 0.0037 + 100).astype(dtype))
    refused(path, mentions=[path, "energies in keV", "whole numbers", "raw ADU", "--gain"])


def test_adu_as_floats(seen, refused):
    """With zeros where there is nothing, or with their noise."""
    adu = np.round(seen.images / 0.0037).astype("f4")
    noise = np.round(np.random.default_rng(0).normal(100, 3, adu.shape)).astype("f4")
    for images in (adu, adu + noise):
        refused(images, mentions=["ADU", "--gain"])


def test_adu_in_a_table_and_by_unit(seen, refused, tmp_path):
    rows = np.empty(len(seen.pixels), [*PIXEL.descr[:3], ("energy", "i4")])
    for name in PIXEL.names:
        rows[name] = seen.pixels[name] * (270 if name == "energy" else 1)
    refused(rows, mentions=["whole numbers", "--gain"])
    path = write_cube(tmp_path / "cube.fits", seen.images, BUNIT="adu")
    refused(path, mentions=[path, "found adu", "--gain"])


def test_an_offset_without_a_gain(seen, stored, refused):
    path = stored((seen.images * 100).astype("u2"))
    refused(path, "--offset", 10, mentions=["--offset", "--gain"])


@pytest.mark.parametrize("kind", ["dense", "noisy", "sparse", "few"])
def test_ev_instead_of_kev(kind, seen, refused):
    images = seen.images * np.float32(1000.3)
    if kind == "noisy":
        images += np.random.default_rng(0).normal(0, 11, images.shape).astype("f4")
    rows = seen.pixels[: 12 if kind == "few" else None]
    rows["energy"] *= 1000.3
    given = images if kind in ("dense", "noisy") else rows
    refused(given, mentions=["keV", "eV", "--gain 0.001"])


def test_ev_with_a_gain_is_understood(seen, works):
    table = works(seen.images * np.float32(1000.3), "--gain", 0.001)
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
    place = [] if kind == "sparse" else ["in frame 7 at (y, x) = (20, 30)", "--bad"]
    refused(path, mentions=[path, "finite energies", f"found {value}", *place])


def test_blank_pixels_of_a_cube(refused, tmp_path):
    images = np.zeros((3, CAMERA.ny, CAMERA.nx), "i2")
    images[1, 4, 5] = -32768
    path = write_cube(tmp_path / "cube.fits", images, BLANK=-32768)
    refused(path, "--gain", 0.01, mentions=[path, "nan in frame 1 at (y, x) = (4, 5)"])


@pytest.mark.parametrize(
    ("columns", "left", "mentions"),
    [
        (slice(None), 0.4, ["offset is subtracted", "a median of 0.4 keV", "--offset"]),
        # Two percent of the pixels lie far below zero; the median does not tell.
        (slice(2), -1.0, ["below minus five sigma", "Was the offset subtracted twice"]),
    ],
)
def test_an_offset_that_is_left(columns, left, mentions, seen, refused):
    noise = np.random.default_rng(1).normal(0, 0.011, seen.images.shape)
    images = (seen.images + noise).astype("f4")
    images[:, :, columns] += left
    refused(images, mentions=mentions)


def test_negative_down_to_five_sigma_is_handled(seen, works):
    """Noise of 3 electrons below zero: the same events, none of them spoilt."""
    noise = np.random.default_rng(1).normal(0, 0.011, seen.images.shape)
    table = works((seen.images + np.clip(noise, -0.055, 0.049)).astype("f4"))
    assert len(table) == len(seen.photons)
    assert (table["FLAG"] & 4 == 0).all()


def test_saturated_and_hot_columns_are_masked(seen, works):
    images = seen.images.copy()
    images[:, :, 50] = 65.535
    images[:, :, 81] = 0.3
    table = works(images, mentions=["2 hot or saturated columns (x = 50, 81)"])
    assert len(table) == len(seen.photons)
    assert not np.isin(table["RAWX"] - 1, [50, 81]).any()


def test_too_many_hot_columns(seen, refused):
    images = seen.images.copy()
    images[:, :, 10:21] = 0.3  # 11 of 96
    images[:, :5, :] = np.where(np.arange(CAMERA.nx) % 2, 0.2, 0)
    message = refused(images)
    assert "bad pixels" in message or "photon-counting frames" in message


def test_a_detector_of_another_size(seen, refused, tmp_path):
    for write in (write_cube, write_dense):
        path = write(tmp_path / f"{write.__name__}.x", seen.images)
        refused(path, toy=False, mentions=[path, "512 x 512", "found 96 x 128", "--detector"])
    rows = np.array([(0, 20, 20, 1.0), (1, 20, 700, 2.0)], PIXEL)
    refused(rows, toy=False, mentions=["(y, x) = (20, 700) in frame 1", "--detector"])
    path = write_sparse(tmp_path / "e.h5", rows[:1], exposure_table(9))
    refused(path, toy=False, mentions=[path, "512 x 512", "found 96 x 128"])


def test_frames_of_64_by_64(refused, works):
    """Not what the network was trained on: refused unless the detector is named, then told."""
    images = scene(30, DetectorSettings(name="small", ny=64, nx=64)).images
    refused(images, toy=False, mentions=["512 x 512", "found 64 x 64", "--detector"])
    mention = "not trained on this: frames of 64 x 64 pixels, trained on 512 x 512"
    works(images, "--detector", "wfi_fast", toy=False, mentions=[mention])


def test_detectors_that_are_none(path, refused, tmp_path):
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


@pytest.mark.parametrize("write", [write_cube, write_dense])
def test_zeros(write, works, tmp_path):
    """No events, and the exposure of all frames."""
    path = write(tmp_path / "frames.x", np.zeros((30, CAMERA.ny, CAMERA.nx), "f4"))
    table = works(path, mentions=["split threshold of 0.05 keV", "all pixels are zero"])
    assert len(table) == 0
    header = fits.getheader(tmp_path / "result" / "events.fits", "EVENTS")
    assert header["EXPOSURE"] == pytest.approx(30 * 0.005)


def test_nothing_above_the_threshold(works):
    images = np.zeros((30, CAMERA.ny, CAMERA.nx), "f4")
    images[3, 4, 5] = 0.031
    assert len(works(images, mentions=["the largest has 0.031 keV"])) == 0


def test_no_frames_and_no_pixels(refused, tmp_path):
    refused(np.empty(0, PIXEL), mentions=["data in 'pixels'", "length is 0"])
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["frames"] = np.zeros((0, CAMERA.ny, CAMERA.nx), "f4")
    refused(tmp_path / "f.h5", mentions=["f.h5", "data in 'frames'"])


def test_an_empty_frame_is_no_fault(seen, works, tmp_path):
    images = seen.images.copy()
    images[5:9] = 0
    table = works(images)
    assert not np.isin(table["FRAME"], [5, 6, 7, 8]).any()
    header = fits.getheader(tmp_path / "result" / "events.fits", "EVENTS")
    assert header["ONTIME"] == pytest.approx(40 * 0.005)


def test_a_hundred_thousand_events_in_a_frame(refused):
    """On a grid, so that each pixel is an event; 1440 x 1440 pixels have room for them."""
    y, x = (a.ravel()[:100_000] for a in np.mgrid[2:1438:4, 2:1438:4])
    rows = np.zeros(len(y), PIXEL)
    rows["frame"], rows["y"], rows["x"], rows["energy"] = 3, y, x, 1.7
    mentions = ["at most 10000 events in a frame", "found 100000 in frame 3"]
    refused(rows, "--detector", "axis", toy=False, mentions=mentions)


def test_a_frame_full_of_signal(seen, refused):
    images = seen.images.copy()
    images[17, 20:80, 20:80] = np.random.default_rng(0).uniform(0.1, 9, (60, 60))
    refused(images, mentions=["photon-counting frames", "in frame 17"])
    rows = np.zeros(CAMERA.ny * CAMERA.nx, PIXEL)
    rows["y"], rows["x"] = np.divmod(np.arange(len(rows)), CAMERA.nx)
    rows["energy"] = 0.3
    refused(rows, mentions=["photon-counting frames", "(100%)"])


def test_frames_out_of_order(seen, refused):
    rows = np.concatenate([seen.pixels[50:], seen.pixels[:50]])
    refused(rows, mentions=["sorted by frame", "frame 0 after 39", "Sort"])


def test_doubled_pixels(seen, refused):
    rows = np.concatenate([seen.pixels, seen.pixels[-1:]])
    refused(rows, mentions=["each pixel of a frame once", "twice"])
    with pytest.raises(InputError, match="once"):
        BackgroundPredictor(RuleDetector()).predict(
            np.concatenate([seen.pixels, seen.pixels]), detector=CAMERA
        )


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ("increase", {"index": np.arange(40)[::-1]}),
        ("listed in 'index'", {"index": np.arange(30)}),
        ("one for each frame", {"index": np.arange(40), "weight": np.ones(39, "f4")}),
        ("positive weights", {"index": np.arange(40), "weight": np.zeros(40, "f4")}),
        ("whole numbers in 'index'", {"index": np.arange(40.0)}),
    ],
)
def test_indices_and_weights_that_do_not_fit(text, arrays, seen, refused, tmp_path):
    path = write_sparse(tmp_path / "f.h5", seen.pixels, **arrays)
    refused(path, mentions=[path, text])


def test_an_index_of_dense_frames_that_does_not_fit(seen, refused, tmp_path):
    path = write_dense(tmp_path / "d.h5", seen.images, index=np.arange(39))
    refused(path, mentions=[path, "40 frame numbers", "39"])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("others as well", [exposure_table(20)]),
        ("positive frame times", [exposure_table(40, frame_time=0.0)]),
        ("do not overlap", [exposure_table(30), exposure_table(30, first=10)]),
        ("one detector shape", [exposure_table(20), exposure_table(20, first=20, ny=99)]),
        ("first_frame, n_frames, frame_time", [exposure_table(40)[["ny", "nx"]]]),
    ],
)
def test_exposures_that_do_not_fit(text, rows, seen, refused, tmp_path):
    path = write_sparse(tmp_path / "f.h5", seen.pixels, np.concatenate(rows))
    refused(path, mentions=[path, text])


def cut(path, keep):
    """Leave the first bytes of a file."""
    path.write_bytes(path.read_bytes()[:keep])
    return path


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
def test_truncated_hdf5(keep, seen, refused, tmp_path):
    dense = write_dense(tmp_path / "dense.h5", seen.images)
    sparse = write_sparse(tmp_path / "sparse.h5", np.tile(seen.pixels, 10))
    for path in (dense, sparse):
        cut(path, int(keep * path.stat().st_size))
        refused(path, mentions=[path, "expected", "found"])


def test_a_damaged_chunk(path, refused):
    """The file opens; what is in it does not unpack."""
    with h5py.File(path) as file:
        place = file["frames"].id.get_chunk_info(20)
    raw = bytearray(path.read_bytes())
    raw[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(raw)
    refused(path, mentions=[path, "chunk of 'frames'"])


@pytest.mark.parametrize("keep", [1000, 2880, 60_000, 1_000_000])
def test_truncated_cube(keep, seen, refused, tmp_path):
    path = cut(write_cube(tmp_path / "cut.fits", seen.images), keep)
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
    raw = write_cube(tmp_path / "boast.fits", seen.images).read_bytes()
    card = f"NAXIS3  = {len(seen.images):20d}".encode()
    assert card in raw
    (tmp_path / "boast.fits").write_bytes(raw.replace(card, b"NAXIS3  = " + b"%20d" % 10_000_000))
    refused(tmp_path / "boast.fits", mentions=["boast.fits", "truncated or its header is wrong"])


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
def test_event_lists_without_what_is_needed(columns, mentions, refused):
    refused(event_table(50, **columns), mentions=mentions)


def test_channels_of_an_unknown_instrument(refused, stored):
    hdu = event_table(50, energy=None)
    hdu.header["INSTRUME"] = "NEWCAM"
    refused(hdu, mentions=["'NEWCAM'", "--channel"])
    refused(stored(hdu), "--channel", -1, mentions=["channel", "-1"])


def test_times_out_of_order_are_sorted_and_told(works):
    time = np.sort(event_table(50).data["time"])
    time[[10, 30]] = time[[30, 10]]
    result = works(event_table(50, time=time))
    assert (np.diff(result["time"]) >= 0).all()


def test_doubled_events(refused, works):
    rows = Table(event_table(50).data)[sorted([*range(50), 20, 21])]
    columns = {name: np.asarray(rows[name]) for name in rows.colnames}
    refused(event_table(52, **columns), mentions=["each event once", "2 doubled"])
    # Several events of one frame share their time: no fault.
    assert len(works(event_table(50, time=np.full(50, 1000.0)))) == 50


@pytest.mark.parametrize(
    ("unit", "mentions"),
    [
        ("keV", ["this looks like eV", "TUNIT is wrong"]),
        (None, ["this looks like eV", "TUNITn = 'eV'"]),
        ("erg", ["'erg'"]),
    ],
)
def test_energies_of_a_list_in_another_unit(unit, mentions, refused):
    refused(event_table(50, unit=unit), mentions=mentions)


def test_lists_that_are_none(refused, tmp_path):
    table = fits.BinTableHDU(Table({"a": [1.0]}).as_array(), name="OTHER")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    refused(tmp_path / "t.fits", toy=False, mentions=["an extension EVENTS", "OTHER"])
    path = write_events(tmp_path / "g.fits", event_table(50), gti=[(2000, 999)])
    refused(path, toy=False, mentions=[path, "GTI"])


@pytest.mark.parametrize("keep", [3000, 9000, 15_000])
def test_truncated_list(keep, refused, tmp_path):
    path = cut(write_events(tmp_path / "events.fits", event_table(300)), keep)
    refused(path, mentions=[path, "expected", "found"])


def test_options_for_frames_with_a_list(refused, stored):
    path = stored(event_table(50))
    refused(path, "--gain", 0.01, mentions=["gain", "event list"])
    refused(path, "--detector", "wfi", mentions=["detector", "event list"])


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
def test_arguments_out_of_range(options, mentions, path, refused):
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


class _Evil:
    def __reduce__(self):
        return (os.mkdir, (os.environ["PHYSML_TEST_TRAP"],))


@pytest.mark.parametrize("kind", ["pickle", "text", "missing", "of another pipeline"])
def test_weights_that_are_none(kind, capsys, tmp_path, path, monkeypatch):
    trap = tmp_path.parent / f"{tmp_path.name}_trap"
    monkeypatch.setenv("PHYSML_TEST_TRAP", str(trap))
    weights = tmp_path / "weights.safetensors"
    if kind == "pickle":
        weights.write_bytes(pickle.dumps(_Evil()))
    elif kind == "text":
        weights.write_text("no weights")
    elif kind == "of another pipeline":
        import torch

        from physml.io.weights import save_weights

        save_weights(weights, {"w": torch.ones(3)}, {"pipeline": "cavities"})
    before = snapshot(tmp_path)
    arguments = map(str, (path, "-o", tmp_path / "out", "--weights", weights))
    code = main(["background", "predict", *arguments])
    message = capsys.readouterr().err
    assert code == 2, message
    assert str(weights) in message
    assert snapshot(tmp_path) == before
    assert not trap.exists()


def test_weights_without_thresholds_promise_nothing(seen):
    made = RuleDetector()
    made.thresholds = None
    with pytest.raises(InputError, match="no thresholds"):
        BackgroundPredictor(made).predict(seen.images, 0.9, detector=CAMERA)


def test_an_existing_output_folder(detector, refused, path, tmp_path):
    out = tmp_path / "result"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        refused(path, *more, mentions=[out])
        assert (out / "precious.txt").read_text() == "mine"
    assert detector.calls == 0  # said before any work


@pytest.mark.parametrize(
    "victim",
    ["events.fits", "spectrum_kept.pha", "effective_area_correction.fits", "background.fits",
     "overview.png", "summary.json"],
)  # fmt: skip
def test_a_disk_that_is_full_at_any_file(victim, refused, path, monkeypatch):
    """ENOSPC at the very end of each file, when its bytes are forced to the disk."""
    from physml.background.results import products
    from physml.io import atomic

    fsync = atomic._fsync
    stem, suffix = victim.split(".")

    def full(path):
        if path.name.lstrip(".").startswith(f"{stem}.") and path.suffix == f".{suffix}":
            raise OSError(28, "No space left on device", str(path))
        return fsync(path)

    if victim not in ("overview.png", "summary.json"):
        monkeypatch.setattr(products, "plot_overview", None)  # not reached
    monkeypatch.setattr(atomic, "_fsync", full)
    refused(path, mentions=["room for the output"])


def test_a_disk_that_is_full_while_events_are_found(refused, path, monkeypatch):
    from physml.background.results.event_rows import RowStore

    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr(RowStore, "append", full)
    refused(path, mentions=["room for the output"])


def test_ctrl_c_leaves_nothing(predict, path, tmp_path, monkeypatch):
    from physml.background.results import products

    monkeypatch.setattr(products, "write_spectrum", Mock(side_effect=KeyboardInterrupt))
    before = snapshot(tmp_path)
    assert predict(path) == 130
    assert snapshot(tmp_path) == before


def test_model_load_of_nothing(tmp_path):
    with pytest.raises(InputError):
        physml.Model.load(tmp_path / "none.safetensors")
