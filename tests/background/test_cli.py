"""The command `physml background predict`, in process, with a detector that needs no weights."""

from __future__ import annotations

import json

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
    for option in names.split():
        assert f"--{option}" in shown, option
    assert "--retention 0.98" in shown  # in the examples
    for product in ("events.fits", "effective_area_correction.fits", "summary.json"):
        assert product in shown
