"""`physml cavities predict` on event lists: in process with a detector that needs no weights."""

from __future__ import annotations

import runpy
import sys

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from fakes.cavities import Cavity, TruthDetector
from fakes.cavity_events import fake_events

import physml
from physml.cavities.predict import CavityPredictor
from physml.cli.main import main

#: Sky pixels of a cavity from the cluster's centre, (4096.5, 4096.5).
OFFSET = (30.0, 18.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    events = fake_events("chandra", number=60_000, half=120.0, sky_share=0.3)
    return events.write(tmp_path_factory.mktemp("events") / "acis_evt2.fits")


def run(*arguments):
    return main(["cavities", "predict", *map(str, arguments)])


def test_a_list_on_the_command_line(path, tmp_path, monkeypatch, caplog):
    # The detector knows the cavity in pixels from the centre, which the command is told on the sky.
    detector = TruthDetector([Cavity(*OFFSET, 12.0, 9.0, 0.4, 0.95)], (0.0, 0.0))
    monkeypatch.setattr(CavityPredictor, "load", classmethod(lambda cls, path=None: cls(detector)))
    (tmp_path / "src.reg").write_text("circle(4050,4150,6)\n")
    code = run(
        path, "--band", "0.5:7keV", "--bin", 1, "--chips", "1:4", "--mask", tmp_path / "src.reg",
        "--ra", 150.0, "--dec", 20.0, "--scales", 1, "--no-refine", "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "event list binned" in caplog.text
    table = QTable.read(tmp_path / "out" / "cavities.ecsv")
    step = 0.492 / 3600
    east, north = -OFFSET[0] * step, OFFSET[1] * step
    centre = SkyCoord(150.0, 20.0, unit="deg")
    expected = centre.spherical_offsets_by(east * centre.ra.unit, north * centre.ra.unit)
    found = SkyCoord(table["ra"][0], table["dec"][0])
    assert found.separation(expected).arcsec < 0.05
    assert any("good times" in remark for remark in table.meta["remarks"])
    header = fits.getheader(tmp_path / "out" / "probability.fits")
    assert header["TELESCOP"] == "CHANDRA"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--band", "0.5:7"], ["--band", "0.5:7keV"]),
        (["--bin", "no"], ["--bin", "no"]),
        (["--chips", "x"], ["--chips"]),
        (["--chips", "99"], ["acis_evt2.fits", "of other chips"]),
        (["--hdu", "GTI"], ["acis_evt2.fits", "GTI"]),
    ],
)
def test_selections_that_fail(path, tmp_path, monkeypatch, capsys, options, words):
    detector = TruthDetector([], (0.0, 0.0))
    monkeypatch.setattr(CavityPredictor, "load", classmethod(lambda cls, path=None: cls(detector)))
    assert run(path, *options, "-o", tmp_path / "out") == 2
    message = capsys.readouterr().err
    for word in words:
        assert word in message
    assert not (tmp_path / "out").exists()


@pytest.fixture
def example(root, tmp_path, monkeypatch):
    """Files of the tutorial's example."""
    script = root / "docs" / "examples" / "event_list" / "make_events.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    return tmp_path


@pytest.mark.slow
def test_the_example_of_the_tutorial(example):
    """The shipped weights find the two cavities that were made, and no other."""
    truth = Table.read(example / "truth.ecsv")
    result = physml.load("cavities").predict(
        example / "cluster_evt2.fits", mask=example / "sources.reg"
    )
    assert result.observation.filled.sum() > 150
    sure = result.catalogue[result.catalogue["probability"] > 0.8]
    assert len(sure) == 2
    with fits.open(example / "cluster_evt2.fits") as hdus:
        x, y = hdus["EVENTS"].data["x"], hdus["EVENTS"].data["y"]
        inside = hdus["EVENTS"].data["time"] < 5e4
    low = np.floor([x[inside].min() - 0.5, y[inside].min() - 0.5]) + 0.5
    for row in truth:
        away = np.hypot(
            sure["x"] - (row["x"] - low[0] - 0.5), sure["y"] - (row["y"] - low[1] - 0.5)
        )
        near = int(np.argmin(away))
        assert away[near] < 5
        assert 0.7 < sure["radius"][near].to_value("arcsec") / (
            0.492 * np.sqrt(row["a"] * row["b"])
        ) < 1.35  # fmt: skip
