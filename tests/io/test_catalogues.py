"""Tables and regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from regions import CirclePixelRegion, EllipseSkyRegion, PixCoord, Regions

from physml import provenance
from physml.exceptions import InputError, OutputError
from physml.io import origin
from physml.io.catalogues import read_catalogue, write_catalogue, write_regions


def table(rows: int = 3) -> QTable:
    made = QTable(
        {
            "x": np.arange(rows, dtype=float),
            "ra": np.linspace(10, 11, rows) * u.deg,
            "radius": np.linspace(1, 2, rows) * u.arcsec,
            "flags": ["edge", "", "gap"][:rows] if rows else np.array([], "U4"),
            "visible": np.ones(rows, bool),
        }
    )
    made["ra"].info.description = "right ascension"
    made.meta = {
        "object": "NGC 5813",
        "threshold": np.float32(0.5),
        "list": [1, 2],
        "path": Path("a/b"),
    }
    return made


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
@pytest.mark.parametrize("rows", [3, 0])
def test_round_trip(tmp_path: Path, suffix: str, rows: int) -> None:
    path = tmp_path / f"cavities{suffix}"
    record = provenance.record("predict", {"seed": 1, "text": "x" * 500})
    original = table(rows)
    write_catalogue(path, original, record)
    found = read_catalogue(path)
    assert found.colnames == original.colnames
    assert len(found) == rows
    assert found["ra"].unit == u.deg
    for name in ("x", "visible"):
        np.testing.assert_array_equal(found[name], original[name])
    np.testing.assert_allclose(found["radius"].to_value("arcsec"), original["radius"].value)
    assert list(found["flags"]) == list(original["flags"])
    assert origin.read(path) == record
    assert "provenance" not in original.meta


def test_metadata_survive(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "a.ecsv", table())
    meta = read_catalogue(tmp_path / "a.ecsv").meta
    assert meta["object"] == "NGC 5813"
    assert meta["threshold"] == 0.5
    assert meta["list"] == [1, 2]
    assert meta["path"] == "b"  # no paths of the machine


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.ecsv or \.fits, found \.csv"):
        write_catalogue(tmp_path / "a.csv", table())
    write_catalogue(tmp_path / "a.ecsv", table())
    with pytest.raises(OutputError):
        write_catalogue(tmp_path / "a.ecsv", table())
    (tmp_path / "b.ecsv").write_text("1 2 3")
    with pytest.raises(InputError, match="ECSV"):
        read_catalogue(tmp_path / "b.ecsv")
    with pytest.raises(InputError, match="no such file"):
        read_catalogue(tmp_path / "c.ecsv")
    from physml.io.fits import write_image

    write_image(tmp_path / "d.fits", np.zeros((2, 2)), provenance={"stage": "x"})
    with pytest.raises(InputError, match="a FITS table"):
        read_catalogue(tmp_path / "d.fits")


def test_regions_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "cavities.reg"
    centre = SkyCoord(225.3, 1.7, unit="deg")
    ellipse = EllipseSkyRegion(
        centre, 20 * u.arcsec, 10 * u.arcsec, 30 * u.deg, meta={"text": "cavity 1: p = 0.97"}
    )
    write_regions(path, [ellipse])
    found = Regions.read(path, format="ds9")
    assert len(found) == 1
    assert found[0].center.separation(centre).arcsec < 1e-3
    assert found[0].width.to_value("arcsec") == pytest.approx(20)
    assert found[0].angle.to_value("deg") == pytest.approx(30)
    assert found[0].meta["text"] == "cavity 1: p = 0.97"
    with pytest.raises(OutputError):
        write_regions(path, [])
    write_regions(path, [CirclePixelRegion(PixCoord(3.0, 4.0), 2.0)], overwrite=True)
    circle = Regions.read(path, format="ds9")[0]
    assert (circle.center.x, circle.center.y, circle.radius) == pytest.approx((3, 4, 2))


def test_no_regions_is_a_valid_file(tmp_path: Path) -> None:
    write_regions(tmp_path / "none.reg", [])
    assert len(Regions.read(tmp_path / "none.reg", format="ds9")) == 0
