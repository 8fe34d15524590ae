"""Bad input: exit code 2, a message that names file, expectation and finding, and no output."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import zipfile
from functools import partial

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from fakes.cavities import (
    Cavity,
    TruthDetector,
    beta_image,
    draw_no_overview,
    tan_wcs,
    write_fits,
)
from fakes.commands import Command

from physml.cavities.predict import CavityPredictor
from physml.cli.main import main
from physml.io import origin

SHAPE, CENTRE = (160, 170), (85.0, 80.0)
CAVITIES = [Cavity(110.0, 88.0, 10.0, 8.0, 0.4, 0.95)]


#: Tests of images whose picture might fail to be drawn.
PICTURES = ("test_many_nans_are_not_observed", "test_no_wcs", "test_any_linear_wcs")


@pytest.fixture(autouse=True)
def _few_pictures(request, monkeypatch):
    if request.node.originalname not in PICTURES:
        draw_no_overview(monkeypatch)


@pytest.fixture
def detector(monkeypatch):
    made = TruthDetector(CAVITIES, CENTRE, scales=(1, 2))
    monkeypatch.setattr(CavityPredictor, "load", classmethod(lambda cls, path=None: cls(made)))


@pytest.fixture(scope="module")
def data():
    return beta_image(SHAPE, CENTRE, cavities=CAVITIES, total=2e5)


@pytest.fixture
def good(tmp_path, data):
    return write_fits(tmp_path / "good.fits", data, tan_wcs(SHAPE))


def refused(capsys, tmp_path, *arguments, mentions=()):
    """The command fails with 2, says why, and leaves nothing behind."""
    before = snapshot(tmp_path)
    out = tmp_path / "result"
    code = main(["cavities", "predict", *map(str, arguments), "-o", str(out)])
    message = capsys.readouterr().err
    assert code == 2, message
    assert "Traceback" not in message
    for text in mentions:
        assert str(text) in message, message
    assert not out.exists()
    assert snapshot(tmp_path) == before
    return message


def snapshot(folder):
    return sorted(str(p) for p in folder.rglob("*"))


def test_not_a_fits_file(detector, capsys, tmp_path):
    path = tmp_path / "image.fits"
    path.write_text("this is no image\n" * 400)
    refused(capsys, tmp_path, path, mentions=[path, "expected a FITS file", "found"])


@pytest.mark.parametrize("kind", ["empty", "png", "hdf5", "zip", "gzip of nothing"])
def test_other_files_in_disguise(kind, detector, capsys, tmp_path):
    path = tmp_path / "image.fits"
    if kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["counts"] = np.ones((10, 10))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a", "b")
    else:
        path.write_bytes(
            {"empty": b"", "png": b"\x89PNG\r\n" * 500, "gzip of nothing": gzip.compress(b"")}[kind]
        )
    refused(capsys, tmp_path, path, mentions=[path, "FITS"])


def test_no_such_file(detector, capsys, tmp_path):
    refused(capsys, tmp_path, tmp_path / "none.fits", mentions=["none.fits", "no such file"])


@pytest.mark.parametrize("keep", [1000, 2880, 40_000, 200_000])
def test_truncated_fits(keep, detector, capsys, tmp_path, good):
    path = tmp_path / "cut.fits"
    path.write_bytes(good.read_bytes()[:keep])
    refused(capsys, tmp_path, path, mentions=[path, "expected", "found"])


def test_truncated_gzip(detector, capsys, tmp_path, good):
    path = tmp_path / "cut.fits.gz"
    path.write_bytes(gzip.compress(good.read_bytes())[:5000])
    refused(capsys, tmp_path, path, mentions=[path, "gzip"])


def test_header_that_claims_more_than_there_is(detector, capsys, tmp_path, good):
    raw = good.read_bytes()
    card = f"NAXIS1  = {SHAPE[1]:20d}".encode()
    assert card in raw
    path = tmp_path / "boast.fits"
    path.write_bytes(raw.replace(card, b"NAXIS1  = " + b"%20d" % 10_000_000))
    message = refused(capsys, tmp_path, path, mentions=[path, "10000000"])
    assert "truncated or its header is wrong" in message


def test_cube(detector, capsys, tmp_path, data):
    path = write_fits(tmp_path / "cube.fits", np.stack([data] * 3))
    refused(capsys, tmp_path, path, mentions=[path, "2-D image", "3 axes"])


def test_event_list(detector, capsys, tmp_path):
    path = tmp_path / "events.fits"
    table = fits.BinTableHDU(QTable({"x": [1.0], "y": [2.0]}).as_array(), name="EVENTS")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    refused(capsys, tmp_path, path, mentions=[path, "an event list"])


def test_zeros(detector, capsys, tmp_path):
    path = write_fits(tmp_path / "zeros.fits", np.zeros(SHAPE))
    refused(capsys, tmp_path, path, mentions=[path, "an image with counts", "zeros only"])


def test_negative_sum(detector, capsys, tmp_path, data):
    path = write_fits(tmp_path / "minus.fits", -data)
    refused(capsys, tmp_path, path, mentions=[path, "positive sum"])


def test_nothing_but_nans(detector, capsys, tmp_path, data):
    path = write_fits(tmp_path / "nan.fits", np.full_like(data, np.nan))
    refused(capsys, tmp_path, path, mentions=[path, "an image with counts", "undefined"])


def test_smaller_than_the_field(detector, capsys, tmp_path, data):
    path = write_fits(tmp_path / "small.fits", data[:100])
    refused(capsys, tmp_path, path, mentions=[path, "128 x 128", "170 x 100"])


def works(capsys, caplog, tmp_path, path, *more, mentions=()):
    out = tmp_path / "result"
    code = main(["cavities", "predict", str(path), "-o", str(out), "--scales", "1,2", *more])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    for text in mentions:
        assert text in captured.err + caplog.text
    return QTable.read(out / "cavities.ecsv")


@pytest.fixture
def at_centre(monkeypatch):
    """The halo's centre at the place that the fake detector expects."""
    monkeypatch.setattr("physml.cavities.results.searching.choose_centre", lambda *_: CENTRE)


def test_many_nans_are_not_observed(detector, at_centre, capsys, caplog, tmp_path, data):
    broken = data.copy()
    broken[:50] = np.nan
    path = write_fits(tmp_path / "nan.fits", broken, tan_wcs(SHAPE))
    said = "31.2 % of the image was not observed: undefined pixels outside a field"
    assert len(works(capsys, caplog, tmp_path, path, mentions=[said])) == 1


def test_few_nans_are_masked_with_a_warning(detector, at_centre, capsys, caplog, tmp_path, data):
    broken = data.copy()
    broken[:10, :20] = np.nan
    path = write_fits(tmp_path / "nan.fits", broken, tan_wcs(SHAPE))
    table = works(capsys, caplog, tmp_path, path, mentions=["200 undefined pixels"])
    assert len(table) == 1
    assert any("undefined" in r for r in table.meta["remarks"])


def test_background_subtracted_image(detector, at_centre, capsys, caplog, tmp_path, data):
    path = write_fits(tmp_path / "net.fits", data - 0.7, tan_wcs(SHAPE))
    assert len(works(capsys, caplog, tmp_path, path, mentions=["negative pixels"])) == 1


def test_no_wcs(detector, at_centre, capsys, caplog, tmp_path, data):
    path = write_fits(tmp_path / "plain.fits", data)
    table = works(capsys, caplog, tmp_path, path, mentions=["no celestial WCS"])
    assert "ra" not in table.colnames
    assert (table["x"][0], table["y"][0]) == pytest.approx((110, 88))


@pytest.mark.parametrize(
    "system", [{"cd": True}, {"rotation": 63.0}, {"stretch": 1.7, "rotation": 12.0}]
)
def test_any_linear_wcs(system, detector, at_centre, capsys, caplog, tmp_path, data):
    path = write_fits(tmp_path / "sky.fits", data, tan_wcs(SHAPE, **system))
    table = works(capsys, caplog, tmp_path, path)
    true = WCS(fits.getheader(path)).pixel_to_world(110, 88)
    assert table["ra"][0].value == pytest.approx(true.ra.deg, abs=1e-6)
    assert table["dec"][0].value == pytest.approx(true.dec.deg, abs=1e-6)


def test_unusable_wcs(detector, capsys, tmp_path, data):
    path = write_fits(tmp_path / "sky.fits", data)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(
            CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CD1_1=0.0, CD1_2=0.0, CD2_1=0.0, CD2_2=0.0
        )
    refused(capsys, tmp_path, path, mentions=[path, "celestial coordinates"])


def test_exposure_map_of_another_shape(detector, capsys, tmp_path, good):
    path = write_fits(tmp_path / "exp.fits", np.ones((160, 160)))
    mentions = [path, "170 x 160", "found 160 x 160"]
    refused(capsys, tmp_path, good, "--exposure", path, mentions=mentions)
    refused(capsys, tmp_path, good, "--background", path, mentions=mentions)


def test_region_file_with_unknown_shapes(detector, capsys, tmp_path, good):
    path = tmp_path / "src.reg"
    path.write_text("image\ncircle(10,10,3)\nbanana(1,2,3)\n")
    refused(
        capsys, tmp_path, good, "--mask", path, mentions=[f"{path}, line 3", "banana", "circle"]
    )


def test_missing_or_foreign_companions(detector, capsys, tmp_path, good):
    text = tmp_path / "notes.txt"
    text.write_text("nothing of use")
    for option in ("--exposure", "--background", "--mask"):
        refused(capsys, tmp_path, good, option, tmp_path / "no.fits", mentions=["no.fits"])
        refused(capsys, tmp_path, good, option, text, mentions=[text, "expected", "found"])
    refused(capsys, tmp_path, good, "--redshift", 0.1, "--pressure", text, mentions=[text, "ECSV"])


def test_what_cannot_be_used_is_refused_before_torch_is_imported(tmp_path, good):
    cases = [[option, "none.fits"] for option in ("--exposure", "--background", "--mask")]
    cases += [["--redshift", "0.1", "--pressure", "none.ecsv"], ["--weights", "none.safetensors"]]
    cases += [["--pressure", "p.ecsv"], ["--threshold", "2"]]
    script = (
        "import json, sys; from physml.cli.main import main; command = sys.argv[1:-1]; "
        "codes = [main([*command, *case]) for case in json.loads(sys.argv[-1])]; "
        "sys.exit(3 if set(codes) != {2} or {'torch', 'astropy'} & sys.modules.keys() else 0)"
    )
    command = [sys.executable, "-c", script, "cavities", "predict", good, "-o", tmp_path / "out"]
    done = subprocess.run([*command, json.dumps(cases)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for case, message in zip(cases, done.stderr.splitlines(), strict=True):
        assert case[-2] in message or case[-1] in message


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (["--ra", "10"], ["--ra", "--dec"]),
        (["--ra", "10", "--dec", "20"], ["inside the image"]),
        (["--ra", "x", "--dec", "20"], ["sexagesimal", "'x'"]),
        (["--redshift", "-1"], ["--redshift", "-1"]),
        (["--redshift", "nan"], ["--redshift"]),
        (["--pressure", "p.ecsv"], ["--redshift"]),
        (["--scales", "1,two"], ["scales", "1,two"]),
        (["--scales", "99"], ["scales", "99"]),
        (["--threshold", "1.5"], ["threshold", "1.5"]),
        (["--units", "furlong"], ["furlong"]),
        (["--seed", "-1"], ["seed"]),
        (["--bogus"], ["bogus"]),
    ],
)
def test_arguments_out_of_range(options, mentions, detector, capsys, tmp_path, good):
    refused(capsys, tmp_path, good, *options, mentions=mentions)


def test_energetics_need_a_wcs(detector, capsys, tmp_path, data):
    path = write_fits(tmp_path / "plain.fits", data)
    refused(capsys, tmp_path, path, "--redshift", 0.1, mentions=["plain.fits", "kpc"])


def test_a_folder_is_searched_without_what_is_no_image(
    detector, at_centre, capsys, caplog, tmp_path, data
):
    """The images are searched; what was skipped is said at the end, and by the exit code."""
    folder = tmp_path / "images"
    folder.mkdir()
    write_fits(folder / "a.fits", data, tan_wcs(SHAPE))
    write_fits(folder / "a_exp.fits", np.full(SHAPE, 100.0), tan_wcs(SHAPE))
    write_fits(folder / "b.fits", np.zeros(SHAPE))
    write_fits(folder / "z.fits", data, tan_wcs(SHAPE))
    (folder / "c.fits").write_text("no FITS file")
    table = fits.BinTableHDU(QTable({"x": [1.0]}).as_array(), name="SPECTRUM")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "d.fits")
    out = tmp_path / "result"
    command = ["cavities", "predict", str(folder), "-o", str(out), "--scales", "1,2"]
    code = main(command)
    message = capsys.readouterr().err
    assert code == 2
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["a", "z"]
    for name in ("a", "z"):
        assert len(QTable.read(out / name / "cavities.ecsv")) == 1
    assert "2 images were searched, 3 files were skipped" in message
    for text in ("b.fits: expected an image with counts", "c.fits: expected", "d.fits: expected"):
        assert text in message
    # Without them all is well, and the map was taken with its image.
    for name in ("b.fits", "c.fits", "d.fits"):
        (folder / name).unlink()
    assert main([*command, "--overwrite"]) == 0
    record = origin.read(out / "a" / "cavities.ecsv")
    assert set(record["inputs"]) >= {"image", "exposure"}


def test_a_folder_of_nothing_but_damage(detector, capsys, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    write_fits(folder / "b.fits", np.zeros(SHAPE))
    (folder / "c.fits").write_text("no FITS file")
    refused(capsys, tmp_path, folder, mentions=["b.fits", "zeros", "c.fits"])


def test_an_extension_by_its_name(detector, at_centre, capsys, caplog, tmp_path, data):
    path = tmp_path / "several.fits"
    parts = [fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI"), fits.ImageHDU(data, name="PSF")]
    fits.HDUList(parts).writeto(path)
    assert len(works(capsys, caplog, tmp_path, f"{path}[SCI]")) == 1
    for arguments, text in (
        ([f"{path}[PSF]"], "point spread"),
        ([path, "--hdu", "NONE"], "an extension 'NONE'"),
        ([tmp_path / "no.fits[SCI]"], "no such file"),
    ):
        found = tmp_path / "other"
        code = main(["cavities", "predict", *map(str, arguments), "-o", str(found)])
        assert code == 2
        assert text in capsys.readouterr().err


def test_an_empty_folder(detector, capsys, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    refused(capsys, tmp_path, folder, mentions=[folder, "image files"])


class _Evil:
    def __reduce__(self):
        return (os.mkdir, (os.environ["PHYSML_TEST_TRAP"],))


@pytest.mark.parametrize("kind", ["pickle", "torch", "zip", "text", "missing"])
def test_weights_that_are_no_safetensors(kind, capsys, tmp_path, good, monkeypatch):
    trap = tmp_path.parent / f"{tmp_path.name}_trap"
    monkeypatch.setenv("PHYSML_TEST_TRAP", str(trap))
    path = tmp_path / "weights.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Evil()))
    elif kind == "torch":
        import torch

        torch.save({"w": _Evil()}, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps(_Evil()))
    elif kind == "text":
        path.write_text("no weights")
    refused(capsys, tmp_path, good, "--weights", path, mentions=[path, "safetensors"])
    assert not trap.exists()


@pytest.mark.parametrize("kind", ["external", "soft link", "virtual", "terabytes"])
def test_hostile_hdf5(kind, capsys, tmp_path):
    """A raw shard that points elsewhere, or claims the earth, stops preprocessing at once."""
    path = tmp_path / "raw.h5"
    shape = (2, 128, 128)
    (tmp_path / "secret.bin").write_bytes(b"s" * 4 * int(np.prod(shape)))
    with h5py.File(path, "w") as file:
        if kind == "external":
            file.create_dataset(
                "counts", shape, np.uint32, external=[(str(tmp_path / "secret.bin"), 0, 131072)]
            )
        elif kind == "soft link":
            file["counts"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/counts")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, np.uint32)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "counts", shape)
            file.create_virtual_dataset("counts", layout)
        else:
            file.create_dataset("counts", (10**8, 128, 128), np.uint32, chunks=(1, 128, 128))
    before = snapshot(tmp_path)
    out = tmp_path / "processed"
    code = main(["cavities", "preprocess", str(path), "-o", str(out), "--threads", "1"])
    message = capsys.readouterr().err
    assert code == 2, message
    assert str(path) in message
    assert snapshot(tmp_path) == before


def test_an_existing_output_folder(detector, capsys, tmp_path, good):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        code = main(["cavities", "predict", str(good), "-o", str(out), *more])
        message = capsys.readouterr().err
        assert code == 2
        assert str(out) in message
        assert [p.name for p in out.iterdir()] == ["precious.txt"]


def test_the_output_is_checked_before_any_work(capsys, tmp_path, good, monkeypatch):
    def loading(cls, path=None):
        raise AssertionError("work was started")

    monkeypatch.setattr(CavityPredictor, "load", classmethod(loading))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_text("")
    assert main(["cavities", "predict", str(good), "-o", str(tmp_path / "out")]) == 2


def test_a_read_only_place(detector, at_centre, capsys, tmp_path, good, monkeypatch):
    from pathlib import Path

    def mkdir(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)  # root may write anywhere
    refused(capsys, tmp_path, good, "--scales", "1,2", mentions=["result", "can be written"])


@pytest.mark.parametrize(
    "victim", ["probability.fits", "cavities.reg", "cavities.ecsv", "cavities.fits", "overview.png"]
)
def test_a_disk_that_is_full_at_any_file(
    victim, detector, at_centre, capsys, tmp_path, good, monkeypatch
):
    """ENOSPC at the very end of each file, when its bytes are forced to the disk."""
    from physml.io import atomic

    fsync = atomic._fsync

    def full(path):
        if path.name.lstrip(".").startswith(victim.split(".")[0]) and path.suffix == (
            "." + victim.split(".")[1]
        ):
            raise OSError(28, "No space left on device", str(path))
        return fsync(path)

    monkeypatch.setattr(atomic, "_fsync", full)
    refused(capsys, tmp_path, good, "--scales", "1,2", mentions=["room for the output"])


def limit_files(largest: int) -> None:
    """In a process of its own: a fake detector, and no file above a size [byte]."""
    from physml.cavities import predict
    from physml.cavities.results import searching

    made = TruthDetector(CAVITIES, CENTRE, scales=(1, 2))
    predict.CavityPredictor.load = classmethod(lambda cls, path=None: cls(made))
    searching.choose_centre = lambda *_: CENTRE
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))


def fails_without_room(folder, image, out, largest=1 << 30):
    arguments = ["cavities", "predict", str(image), "-o", str(out), "--scales", "1,2"]
    command = Command(arguments, folder / "errors.txt", partial(limit_files, largest))
    code, errors = command.finish()
    assert code == 2, errors
    assert "room for the output" in errors


def test_a_real_limit_on_file_size(tmp_path, tmp_path_factory, good):
    """The kernel itself refuses to write on: nothing remains, exit code 2."""
    before = snapshot(tmp_path)
    fails_without_room(tmp_path_factory.mktemp("log"), good, tmp_path / "out", 3000)
    assert snapshot(tmp_path) == before


def test_a_real_full_disk(tmp_path, good):
    """A file system of 128 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small file system here")
    try:
        fails_without_room(tmp_path, good, disk / "out")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_ctrl_c_leaves_nothing(detector, at_centre, capsys, tmp_path, good, monkeypatch):
    from physml.cavities.results import products

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(products, "write_regions", interrupt)
    before = snapshot(tmp_path)
    code = main(["cavities", "predict", str(good), "-o", str(tmp_path / "out"), "--scales", "1,2"])
    assert code == 130
    assert snapshot(tmp_path) == before
