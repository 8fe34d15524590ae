"""The command `physml background predict`, in process, with a detector that needs no weights."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from fakes.background_detector import (
    CAMERA,
    RuleDetector,
    event_table,
    quick_figure,
    register,
    scene,
    write_cube,
    write_dense,
    write_events,
    write_sparse,
)

from physml.background.cli import show
from physml.background.predict import BackgroundPredictor
from physml.cli.main import main
from physml.config import dump_yaml


@pytest.fixture(autouse=True)
def _detector(monkeypatch):
    register(monkeypatch)
    quick_figure(monkeypatch)
    load = classmethod(lambda cls, path=None: cls(RuleDetector()))
    monkeypatch.setattr(BackgroundPredictor, "load", load)


@pytest.fixture(scope="module")
def seen():
    return scene(40)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    path = tmp_path_factory.mktemp("camera") / "toy.yaml"
    path.write_text(dump_yaml(CAMERA))
    return path


def run(*arguments):
    return main(["background", "predict", *map(str, arguments)])


def test_everything_at_once(seen, camera, tmp_path, capsys):
    adu = np.round(seen.images / 0.002 + 100).astype("u2")
    path = write_cube(tmp_path / "cube.fits", adu)
    write_cube(tmp_path / "bad.fits", np.zeros((CAMERA.ny, CAMERA.nx), "u1"))
    write_cube(tmp_path / "dark.fits", np.full((CAMERA.ny, CAMERA.nx), 100.0))
    given = {
        "--retention": 0.9,
        "--detector": camera,
        "--gain": 0.002,
        "--offset": tmp_path / "dark.fits",
        "--bad": tmp_path / "bad.fits",
        "--frame-time": 0.004,
        "--split": 0.06,
        "--event": 0.12,
        "--start": "2031-03-01T12:00:00",
        "--threads": 1,
    }
    options = [part for pair in given.items() for part in pair]
    assert run(path, "-o", tmp_path / "out", *options) == 0
    table = Table.read(tmp_path / "out" / "events.fits", hdu="EVENTS")
    assert len(table) == len(seen.photons)
    header = fits.getheader(tmp_path / "out" / "events.fits", "EVENTS")
    assert header["RETENTIO"] == 0.9
    assert header["TIMEDEL"] == 0.004
    assert (header["SPLITTHR"], header["EVTTHR"]) == (0.06, 0.12)
    assert header["MODELSHA"] == "ab" * 32
    shown = capsys.readouterr().out
    assert f"{len(seen.photons)} events" in shown
    assert "90.0% retention" in shown
    assert "Not trained on: frames of 96 x 128 pixels" in shown
    assert str(tmp_path / "out") in shown
    # Data to stdout, warnings to stderr, nothing else beside the products.
    names = {p.name for p in (tmp_path / "out").iterdir() if p.name[0] != "."}
    assert len(names) == 7


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_hdf5(kind, seen, camera, tmp_path):
    path = tmp_path / "f.h5"
    if kind == "dense":
        write_dense(path, seen.images)
    else:
        write_sparse(path, seen.pixels)
    assert run(path, "-o", tmp_path / "out", "--detector", camera) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["counts"]["events"] == len(seen.photons)
    assert summary["promise"]["retention"] == 0.98


def test_several_files_in_quotes_or_by_name(seen, camera, tmp_path, capsys):
    """What was read, assumed and left out stands in one table."""
    for k in range(4):
        cards = {"TIMEDEL": 0.25, "TSTART": 100.0 + 10 * k}
        write_cube(tmp_path / f"run{k}.fits", seen.images[10 * k : 10 * (k + 1)], **cards)
    options = ("-o", tmp_path / "out", "--detector", camera)
    assert run(tmp_path / "run*.fits", *options) == 0
    shown = capsys.readouterr().out
    assert "4 files in order of time: run0.fits to run3.fits" in shown
    assert "10 s in 40 frames" in shown
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["counts"]["events"] == len(seen.photons)
    assert summary["exposure"]["good_time_s"] == [[100 + 10 * k, 102.5 + 10 * k] for k in range(4)]
    files = [tmp_path / f"run{k}.fits" for k in (2, 0)]
    assert run(*files, *options, "--overwrite") == 0
    assert "2 files in order of time: run0.fits to run2.fits" in capsys.readouterr().out
    assert run(tmp_path / "walk*.fits", *options, "--overwrite") == 2


def test_a_data_set_and_columns(seen, camera, tmp_path, capsys):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file["entry/data"], file["dark"] = seen.images, 0 * seen.images
        file["entry"].attrs["frame_time"] = 0.1
    options = ("-o", tmp_path / "out", "--detector", camera)
    assert run(path, *options) == 2
    assert "--dataset" in capsys.readouterr().err
    assert run(path, *options, "--dataset", "entry/data") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["counts"]["events"] == len(seen.photons)
    assert summary["exposure"]["live_time_s"] == pytest.approx(4.0)
    table = Table(seen.pixels)
    table.rename_columns(["frame", "energy"], ["N", "Q"])
    table.write(tmp_path / "t.fits")
    assert run(tmp_path / "t.fits", *options, "--columns", "frame=N,signal=Q", "--overwrite") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["counts"]["events"] == len(seen.photons)
    said = [row["text"] for row in summary["account"]["assumed"]]
    assert any("pixels count from 0" in text for text in said)
    assert any("no frame time given" in text for text in said)


def test_the_share_kept_is_shown_where_it_is_promised(seen, tmp_path, capsys):
    result = BackgroundPredictor(RuleDetector()).predict(seen.images, detector=CAMERA)
    assert result.untrained
    show(result, tmp_path)
    shown = capsys.readouterr().out
    assert "98.00%" not in shown
    assert "not promised for these data" in shown
    assert "asked for, not promised" in shown
    result.untrained = []
    show(result, tmp_path)
    shown = capsys.readouterr().out
    assert "X-rays kept" in shown
    assert "97.80%" in shown
    assert "not promised" not in shown


def test_an_event_list(tmp_path, capsys):
    path = write_events(tmp_path / "evt2.fits", event_table(60))
    assert run(path, "-o", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "by energy and grade alone" in shown
    assert "CHANDRA ACIS" in shown


def test_channels_of_a_list(tmp_path):
    hdu = event_table(60, energy=None)
    hdu.header["TELESCOP"] = "NEW"
    path = write_events(tmp_path / "evt.fits", hdu)
    assert run(path, "-o", tmp_path / "out", "--channel", 0.01) == 0
    table = Table.read(tmp_path / "out" / "events.fits", hdu="EVENTS")
    np.testing.assert_allclose(table["ENERGY"], 0.01 * (hdu.data["pi"] + 0.5), rtol=1e-6)


def test_info_prints_the_record_of_the_products(seen, camera, tmp_path, capsys):
    path = write_sparse(tmp_path / "photons.h5", seen.pixels)
    assert run(path, "-o", tmp_path / "out", "--detector", camera) == 0
    products = sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".")
    assert len(products) == 7
    for name in products:
        capsys.readouterr()
        assert main(["info", str(tmp_path / "out" / name)]) == 0
        shown = capsys.readouterr().out
        assert "stage: predict" in shown, name
        assert "photons.h5" in shown, name
        assert str(tmp_path) not in shown, name


def test_an_existing_folder_is_replaced_only_with_overwrite(seen, camera, tmp_path, capsys):
    path = write_sparse(tmp_path / "f.h5", seen.pixels)
    options = ["-o", tmp_path / "out", "--detector", camera]
    assert run(path, *options) == 0
    before = (tmp_path / "out" / "events.fits").read_bytes()
    assert run(path, *options, "--retention", 0.8) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "events.fits").read_bytes() == before
    assert run(path, *options, "--retention", 0.8, "--overwrite") == 0
    header = fits.getheader(tmp_path / "out" / "events.fits", "EVENTS")
    assert header["RETENTIO"] == 0.8


def test_help_is_complete(capsys):
    assert main(["background", "predict", "--help"]) == 0
    shown = capsys.readouterr().out
    names = "output retention detector gain offset bad frame-time split event channel start"
    names += " dataset columns"
    for option in names.split():
        assert f"--{option}" in shown, option
    assert "--retention 0.98" in shown  # in the examples
    for product in ("events.fits", "effective_area_correction.fits", "summary.json"):
        assert product in shown
