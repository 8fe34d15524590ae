"""A second band from files to columns: what is given, what is refused, what is told."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import QTable
from fakes.cavities import Cavity, TruthDetector, beta_image, tan_wcs, write_fits

import physml
from physml.cavities.core.plasma import Band
from physml.cavities.predict import CavityPredictor
from physml.cavities.results.bands import COLUMNS, DEFAULT_BANDS, parse_bands
from physml.cli.main import main
from physml.exceptions import InputError

SHAPE, CENTRE = (160, 160), (80.0, 78.0)
CAVITIES = [Cavity(104.0, 84.0, 11.0, 8.0, 0.4), Cavity(56.0, 70.0, 9.0, 8.0, 0.6)]
OPTIONS = {"centre": CENTRE, "scales": "1", "refine": False}


@pytest.fixture(autouse=True)
def _detector(monkeypatch):
    detector = TruthDetector(CAVITIES, CENTRE)
    monkeypatch.setattr(CavityPredictor, "load", classmethod(lambda cls, path=None: cls(detector)))


def images(folder, soft_depth=0.4, hard_depth=0.4, **hard):
    """Two bands of one halo with holes of known depth, and background maps of nearly nothing."""
    soft = beta_image(SHAPE, CENTRE, cavities=CAVITIES, total=3e6, depth=soft_depth, seed=1)
    other = beta_image(SHAPE, CENTRE, cavities=CAVITIES, total=1.5e6, depth=hard_depth, seed=2)
    return (
        write_fits(folder / "soft.fits", soft, tan_wcs(SHAPE)),
        write_fits(folder / "hard.fits", other, hard.get("wcs", tan_wcs(SHAPE))),
        write_fits(folder / "flat.fits", np.full(SHAPE, 1e-3)),
    )


@pytest.mark.parametrize(
    ("hard_depth", "verdict"), [(0.4, "cavity"), (0.26, "isobaric"), (0.49, "shock")]
)
def test_verdicts_of_a_pair(tmp_path, hard_depth, verdict):
    soft, hard, flat = images(tmp_path, 0.4, hard_depth)
    maps = {"background": flat, "hard": hard, "hard_background": flat, "temperature": 3.0}
    result = physml.load("cavities").predict(soft, **maps, **OPTIONS)
    table = result.catalogue
    assert len(table) == 2
    np.testing.assert_allclose(table["decrement_soft"], 0.4, atol=0.03)
    np.testing.assert_allclose(table["decrement_hard"], hard_depth, atol=0.03)
    total = table["p_cavity"] + table["p_isobaric"] + table["p_shock"]
    np.testing.assert_allclose(total, 1)
    assert all(row[f"p_{verdict}"] > 0.6 for row in table)
    assert all(table[name].info.description for name in COLUMNS)
    assert any("0.5-2 keV" in text for text in result.warnings)
    assert result.observation.files["hard"] == hard


def test_the_command_writes_the_columns(tmp_path, capsys):
    soft, hard, flat = images(tmp_path)
    place = tan_wcs(SHAPE).pixel_to_world(*CENTRE)
    options = ["--hard", hard, "--hard-background", flat, "--background", flat]
    options += ["--ra", place.ra.deg, "--dec", place.dec.deg, "--scales", "1"]
    command = ["cavities", "predict", soft, "-o", tmp_path / "out", *options]
    assert main([str(part) for part in command]) == 2
    assert "--temperature" in capsys.readouterr().err
    command += ["--band-response", "-0.1,0.5"]
    assert main([str(part) for part in command]) == 0
    table = QTable.read(tmp_path / "out" / "cavities.ecsv")
    assert set(COLUMNS) <= set(table.colnames)
    assert list(table["band_verdict"]) == ["cavity", "cavity"]
    assert QTable.read(tmp_path / "out" / "cavities.fits")["p_cavity"][0] > 0.8


def test_no_cavity_has_the_columns_and_no_row(tmp_path, monkeypatch):
    detector = TruthDetector([], CENTRE)
    monkeypatch.setattr(CavityPredictor, "load", classmethod(lambda cls, path=None: cls(detector)))
    soft, hard, _ = images(tmp_path)
    result = physml.load("cavities").predict(soft, hard=hard, temperature=4, **OPTIONS)
    assert len(result.catalogue) == 0
    assert set(COLUMNS) <= set(result.catalogue.colnames)
    result.write(tmp_path / "out")


def test_without_background_maps_that_is_said(tmp_path):
    soft, hard, _ = images(tmp_path)
    result = physml.load("cavities").predict(soft, hard=hard, temperature=1.2, **OPTIONS)
    text = " ".join(result.warnings)
    assert "no background map of the soft and hard image" in text
    assert "below 2 keV lines rule" in text


def test_pixels_elsewhere_are_refused(tmp_path):
    soft, hard, _ = images(tmp_path, wcs=tan_wcs(SHAPE, rotation=3.0))
    with pytest.raises(InputError, match="away on the sky"):
        physml.load("cavities").predict(soft, hard=hard, temperature=4, **OPTIONS)
    small = write_fits(tmp_path / "small.fits", beta_image((150, 160), CENTRE, total=1e6))
    with pytest.raises(InputError, match="160 x 160"):
        physml.load("cavities").predict(soft, hard=small, temperature=4, **OPTIONS)


def test_bands_as_they_are_given():
    soft, hard = parse_bands(temperature=4, redshift=0.1)
    assert ((soft.low, soft.high), (hard.low, hard.high)) == DEFAULT_BANDS
    assert soft.redshift == 0.1
    soft, hard = parse_bands("0.7-1.5, 3.5-7.5", 4)
    assert (soft.low, soft.high, hard.low, hard.high) == (0.7, 1.5, 3.5, 7.5)
    assert parse_bands(response="-0.2, 0.9") == (Band("soft", given=-0.2), Band("hard", given=0.9))
    assert parse_bands(response=(0, 1))[1].response == 1.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "temperature="),
        ({"temperature": 300}, "0.1 to 30 keV"),
        ({"temperature": 4, "bands": "2-7,0.5-2"}, "the soft one first"),
        ({"temperature": 4, "bands": "0.5-2"}, "two bands"),
        ({"response": "0.5"}, "two responses"),
        ({"response": "0.5,0.1"}, "above that of the soft"),
        ({"response": "a,b"}, "two responses"),
    ],
)
def test_what_bands_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        parse_bands(**given)
