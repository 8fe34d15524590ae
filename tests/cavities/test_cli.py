"""The command `physml cavities predict`, in process, with a detector that needs no weights."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from fakes.cavities import Cavity, TruthDetector, beta_image, draw_no_overview, tan_wcs, write_fits

import physml
from physml.cavities.predict import CavityPredictor
from physml.cli.main import main

CENTRE = (100.0, 102.0)
CAVITIES = [Cavity(128.0, 110.0, 12.0, 9.0, 0.4, 0.95), Cavity(74.0, 95.0, 11.0, 9.0, 0.6, 0.6)]


@pytest.fixture(autouse=True)
def _detector(monkeypatch):
    detector = TruthDetector(CAVITIES, CENTRE, scales=(1, 2))
    monkeypatch.setattr(CavityPredictor, "load", classmethod(lambda cls, path=None: cls(detector)))


@pytest.fixture(autouse=True)
def _few_pictures(request, monkeypatch):
    if request.node.name != "test_everything_at_once":
        draw_no_overview(monkeypatch)


@pytest.fixture
def image(tmp_path):
    data = beta_image((204, 200), CENTRE, cavities=CAVITIES, total=3e5)
    return write_fits(tmp_path / "perseus.fits", data, tan_wcs(data.shape), OBJECT="Perseus")


def run(*arguments):
    return main(["cavities", "predict", *map(str, arguments)])


def centre(wcs=None):
    place = tan_wcs((204, 200)).pixel_to_world(*CENTRE)
    return ["--ra", place.ra.deg, "--dec", place.dec.deg, "--scales", "1,2"]


def test_everything_at_once(image, tmp_path, capsys):
    exposure = write_fits(tmp_path / "exp.fits", np.full((204, 200), 1e4))
    background = write_fits(tmp_path / "bkg.fits", np.full((204, 200), 0.05))
    (tmp_path / "src.reg").write_text("image\ncircle(20,20,5)\n")
    r = np.geomspace(1, 100, 10)
    QTable({"radius": r * u.kpc, "n_e": 0.1 / r / u.cm**3, "kT": np.full(10, 3) * u.keV}).write(
        tmp_path / "profile.ecsv", format="ascii.ecsv"
    )
    given = {
        "--exposure": exposure,
        "--background": background,
        "--mask": tmp_path / "src.reg",
        "--redshift": 0.0179,
        "--pressure": tmp_path / "profile.ecsv",
        "--probability": 0.3,
        "--seed": 3,
        "--recovery-draws": 2,
        "--threads": 1,
    }
    options = [part for pair in given.items() for part in pair]
    code = run(image, "-o", tmp_path / "out", *centre(), "--recovery", *options)
    assert code == 0
    table = QTable.read(tmp_path / "out" / "cavities.ecsv")
    assert len(table) == 2
    assert {"enthalpy", "completeness", "false_alarms", "radius_kpc"} <= set(table.colnames)
    shown = capsys.readouterr()
    assert "perseus.fits: 2 cavities" in shown.out
    assert str(tmp_path / "out") in shown.out
    names = {p.name for p in (tmp_path / "out").iterdir() if p.name[0] != "."}
    assert names == {
        "probability.fits",
        "cavities.reg",
        "cavities.ecsv",
        "cavities.fits",
        "overview.png",
        "completeness.ecsv",
        "completeness.png",
        "injections.ecsv",
    }


def test_info_prints_the_record_of_the_products(image, tmp_path, capsys):
    assert run(image, "-o", tmp_path / "out", *centre()) == 0
    for name in ("probability.fits", "cavities.ecsv", "cavities.fits", "overview.png"):
        capsys.readouterr()
        assert main(["info", str(tmp_path / "out" / name)]) == 0
        shown = capsys.readouterr().out
        assert "stage: predict" in shown
        assert "perseus.fits" in shown


def test_a_folder_gives_a_folder_for_each_image(image, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.fits", "a.fit", "b.fits.gz"):
        data = beta_image((204, 200), CENTRE, cavities=CAVITIES, total=3e5)
        write_fits(folder / name, data, tan_wcs(data.shape))
    assert run(folder, "-o", tmp_path / "out", *centre()) == 0
    made = sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".")
    assert made == ["a", "a_2", "b"]
    for name in made:
        assert len(QTable.read(tmp_path / "out" / name / "cavities.ecsv")) == 2


def test_python_and_command_line_agree(image, tmp_path):
    assert run(image, "-o", tmp_path / "out", *centre()) == 0
    result = physml.Model.load("cavities").predict(str(image), centre=CENTRE, scales=(1, 2))
    table = QTable.read(tmp_path / "out" / "cavities.ecsv")
    np.testing.assert_allclose(table["ra"].value, result.catalogue["ra"].value, atol=1e-7)


def test_an_existing_folder_is_replaced_only_with_overwrite(image, tmp_path, capsys):
    assert run(image, "-o", tmp_path / "out", *centre()) == 0
    before = (tmp_path / "out" / "cavities.ecsv").read_bytes()
    assert run(image, "-o", tmp_path / "out", *centre(), "--threshold", 0.8) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "cavities.ecsv").read_bytes() == before
    assert run(image, "-o", tmp_path / "out", *centre(), "--threshold", 0.8, "--overwrite") == 0
    assert len(QTable.read(tmp_path / "out" / "cavities.ecsv")) == 1


def test_negative_declination_and_sexagesimal_text(tmp_path):
    data = beta_image((204, 200), CENTRE, cavities=CAVITIES, total=3e5)
    wcs = tan_wcs(data.shape, dec=-31.2)
    image = write_fits(tmp_path / "south.fits", data, wcs)
    place = wcs.pixel_to_world(*CENTRE)
    texts = (
        place.ra.to_string("hourangle", sep=":", precision=4),
        place.dec.to_string(sep=":", precision=3),
    )
    assert texts[1].startswith("-31")
    code = run(
        image, "-o", tmp_path / "out", "--ra", texts[0], "--dec", texts[1], "--scales", "1,2"
    )
    assert code == 0
    meta = QTable.read(tmp_path / "out" / "cavities.ecsv").meta
    assert (meta["centre_x"], meta["centre_y"]) == pytest.approx(CENTRE, abs=0.01)


def test_help_is_complete(capsys):
    assert main(["cavities", "predict", "--help"]) == 0
    shown = capsys.readouterr().out
    names = "exposure background mask ra dec redshift pressure scales overwrite threshold recovery"
    for option in names.split():
        assert f"--{option}" in shown, option
