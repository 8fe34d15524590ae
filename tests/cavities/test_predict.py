"""Positions, sizes and angles from the image to the catalogue, for every binning and WCS."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from fakes.cavities import Cavity, CentroidDetector, TruthDetector, beta_image, tan_wcs, write_fits
from regions import Regions

from physml.cavities.predict import CavityPredictor
from physml.cavities.results.products import regions
from physml.io.catalogues import write_regions

SHAPE = (430, 410)
SYSTEMS = {
    "north up": {"cd": False},
    "cd matrix": {"cd": True},
    "rotated": {"rotation": 37.0},
    "flipped and rotated": {"rotation": 160.0, "stretch": -1.0},
    "non-square": {"stretch": 1.6, "rotation": -20.0},
    "near the pole": {"dec": 88.5, "rotation": 10.0},
    "at 0h": {"ra": 0.001, "rotation": 5.0},
}


def blob(x, y, sigma):
    Y, X = np.indices(SHAPE)
    # The floor is far below the blob: an image that is nothing but a blob would be taken for one
    # of which only that part was observed.
    return 1e-5 + 1e4 * np.exp(-0.5 * ((X - x) ** 2 + (Y - y) ** 2) / sigma**2)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("system", SYSTEMS)
def test_round_trip_of_positions(scale, system, tmp_path):
    """A blob's place in the file -> field pixels -> catalogue -> sky -> the file's own WCS."""
    rng = np.random.default_rng(100 * scale + len(system))
    x, y = rng.uniform(180, 230, 2)
    wcs = tan_wcs(SHAPE, **SYSTEMS[system])
    path = write_fits(tmp_path / "blob.fits", blob(x, y, 5.0), wcs)
    result = CavityPredictor(CentroidDetector()).predict(
        path, scales=scale, centre=tuple(rng.uniform(190, 220, 2))
    )
    row = result.catalogue[0]
    assert np.hypot(row["x"] - x, row["y"] - y) < 0.02
    true = WCS(fits.getheader(path)).pixel_to_world(x, y)
    there = SkyCoord(row["ra"], row["dec"])
    pixel = np.sqrt(np.abs(np.linalg.det(result.observation.sky.jacobian(x, y))))
    assert there.separation(true).arcsec < 0.02 * pixel
    # And back through the regions that DS9 will draw.
    write_regions(tmp_path / "cavities.reg", regions(result))
    region = Regions.read(tmp_path / "cavities.reg", format="ds9")[0]
    bx, by = wcs.world_to_pixel(region.center)
    assert np.hypot(bx - x, by - y) < 0.1


CENTRE = (205.0, 215.0)
CAVITIES = [
    Cavity(232.0, 228.0, 13.0, 9.0, 0.5, 0.97),
    Cavity(181.0, 199.0, 11.0, 10.0, 2.2, 0.90),
    Cavity(150.0, 300.0, 40.0, 28.0, 1.9, 0.80),
    Cavity(330.0, 120.0, 36.0, 30.0, 0.1, 0.70),
]


@pytest.fixture(scope="module")
def image():
    return beta_image(SHAPE, CENTRE, cavities=CAVITIES, total=1e6)


def predictor(**more):
    return CavityPredictor(TruthDetector(CAVITIES, CENTRE, scales=(1, 2, 3, 4), **more))


@pytest.mark.parametrize("system", SYSTEMS)
def test_regions_cover_the_planted_pixels(system, image, tmp_path):
    """The sky ellipses, drawn back on pixels by `regions`, are the planted ellipses."""
    wcs = tan_wcs(SHAPE, **SYSTEMS[system])
    result = predictor().predict(
        write_fits(tmp_path / "i.fits", image, wcs), centre=CENTRE, scales="1,2,3,4"
    )
    write_regions(tmp_path / "cavities.reg", regions(result))
    assert len(result.catalogue) == 4
    Y, X = np.indices(SHAPE)
    drawn = Regions.read(tmp_path / "cavities.reg", format="ds9")
    for row, region in zip(result.catalogue, drawn, strict=True):
        c = min(CAVITIES, key=lambda c: np.hypot(c.x - row["x"], c.y - row["y"]))
        u_ = ((X - c.x) * np.cos(c.theta) + (Y - c.y) * np.sin(c.theta)) / c.a
        v_ = ((Y - c.y) * np.cos(c.theta) - (X - c.x) * np.sin(c.theta)) / c.b
        planted = u_**2 + v_**2 <= 1
        label = result.labels == row["id"]
        # Labels come in blocks of the binning.
        assert (planted & label).sum() / (planted | label).sum() > 0.8
        # `regions` takes pixels for squares: it cannot draw on others.
        if "stretch" not in SYSTEMS[system]:
            on_pixels = region.to_pixel(WCS(fits.getheader(tmp_path / "i.fits")))
            mask = on_pixels.to_mask("center").to_image(SHAPE) > 0
            assert (planted & mask).sum() / (planted | mask).sum() > 0.95


def test_position_angles_by_hand(image):
    """North up, east left: theta along +x is west-east (90 deg), along +y north (0 deg)."""
    from astropy.nddata import CCDData

    cavities = [
        Cavity(240.0, 215.0, 12.0, 8.0, 0.0),  # west of the centre, lying east-west
        Cavity(205.0, 250.0, 12.0, 8.0, np.pi / 2),  # north, lying north-south
        Cavity(170.0, 180.0, 12.0, 8.0, 3 * np.pi / 4),  # south-east; towards the north-east
    ]
    detector = TruthDetector(cavities, CENTRE, scales=(1,))
    wcs = tan_wcs(SHAPE, dec=0.0)
    rows = (
        CavityPredictor(detector)
        .predict(CCDData(image, unit="count", wcs=wcs), centre=CENTRE, scales=1)
        .catalogue
    )
    for c, azimuth, angle in zip(cavities, (270, 0, 135), (90, 0, 45), strict=True):
        row = rows[np.argmin(np.hypot(rows["x"] - c.x, rows["y"] - c.y))]
        turned = (row["azimuth"].to_value(u.deg) - azimuth + 180) % 360 - 180
        assert abs(turned) < 0.1
        turned = (row["position_angle"].to_value(u.deg) - angle + 90) % 180 - 90
        assert abs(turned) < 0.1
        distance = np.hypot(c.x - CENTRE[0], c.y - CENTRE[1]) * 0.492
        assert row["distance"].to_value(u.arcsec) == pytest.approx(distance, rel=1e-4)
        assert row["semi_major"].to_value(u.arcsec) == pytest.approx(12 * 0.492, rel=1e-4)
        assert row["semi_minor"].to_value(u.arcsec) == pytest.approx(8 * 0.492, rel=1e-4)


def test_the_catalogue_in_pixels_without_a_wcs(image):
    result = predictor().predict(image, centre=CENTRE, scales="1 2 3 4")
    table = result.catalogue
    assert "ra" not in table.colnames
    assert table["radius"].unit == u.pix
    assert table["area"].unit == u.pix**2
    row = table[np.argmin(np.hypot(table["x"] - 232, table["y"] - 228))]
    assert (row["x"], row["y"]) == pytest.approx((232, 228))
    assert row["position_angle"].to_value(u.deg) == pytest.approx(np.degrees(0.5))
    assert row["volume"].value == pytest.approx(4 / 3 * np.pi * 13 * 9 * 11)
    # Depth between 9 and 13, radius known to 5 %.
    error = np.hypot(4 / np.sqrt(12) / 11, 0.15)
    assert float(row["volume_err"] / row["volume"]) == pytest.approx(error)
    assert row["area"].value == pytest.approx(np.pi * 13 * 9, rel=0.03)
    assert row["decrement_err"] == pytest.approx(0.3 / 12 * np.sqrt(0.7))


def test_result_arrays_are_on_input_pixels_and_agree_with_the_catalogue(image):
    result = predictor().predict(image, centre=CENTRE, scales="1,2,3,4")
    assert result.probability.shape == result.labels.shape == image.shape
    assert result.labels.dtype.kind == "i"
    assert result.probability.min() >= 0
    assert result.probability.max() <= 1
    assert set(np.unique(result.labels)) == {0, *result.catalogue["id"]}
    for row in result.catalogue:
        inside = result.labels == row["id"]
        y, x = np.nonzero(inside)
        assert np.hypot(x.mean() - row["x"], y.mean() - row["y"]) < 0.3
        assert result.probability[inside].mean() > 0.5
    assert result.probability[result.labels == 0].mean() < 0.05


def test_products_are_complete_and_carry_their_record(image, tmp_path):
    from physml import provenance
    from physml.io import origin

    path = write_fits(tmp_path / "i.fits", image, tan_wcs(SHAPE), OBJECT="Perseus")
    result = predictor().predict(path, centre=CENTRE, scales="1,2,3,4", redshift=0.0179)
    out = result.write(tmp_path / "out", settings={"redshift": 0.0179})
    names = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    assert names == {
        "probability.fits",
        "cavities.reg",
        "cavities.ecsv",
        "cavities.fits",
        "overview.png",
    }
    with fits.open(out / "probability.fits") as hdus:
        np.testing.assert_allclose(hdus[0].data, result.probability)
        assert hdus[0].header["OBJECT"] == "Perseus"
        here = WCS(hdus[0].header).pixel_to_world(10, 20)
    there = WCS(fits.getheader(path)).pixel_to_world(10, 20)
    assert here.separation(there).arcsec < 1e-4
    ecsv = QTable.read(out / "cavities.ecsv")
    table = QTable.read(out / "cavities.fits", hdu=1)
    for name in result.catalogue.colnames:
        for copy in (ecsv, table):
            if result.catalogue[name].dtype.kind == "f":
                np.testing.assert_allclose(
                    u.Quantity(copy[name]).value, u.Quantity(result.catalogue[name]).value
                )
                assert u.Quantity(copy[name]).unit == u.Quantity(result.catalogue[name]).unit
            else:
                # Both formats read an empty text as missing.
                values = np.ma.filled(np.ma.asarray(copy[name]), 0 if name == "id" else "")
                assert [str(v) for v in values] == [str(v) for v in result.catalogue[name]]
    for name in ("probability.fits", "cavities.ecsv", "cavities.fits", "overview.png"):
        record = origin.read(out / name)
        assert record["settings"] == {"redshift": 0.0179}
        assert record["inputs"]["image"]["sha256"] == provenance.sha256(path)


def test_the_issue_s_columns_are_there(image, tmp_path):
    path = write_fits(tmp_path / "i.fits", image, tan_wcs(SHAPE))
    table = predictor().predict(path, centre=CENTRE).catalogue
    wanted = (
        "x y ra dec semi_major semi_minor position_angle radius radius_err area volume decrement "
        "snr probability flags"
    )
    assert set(wanted.split()) <= set(table.colnames)
    assert all(table[name].info.description for name in table.colnames)


def test_an_empty_catalogue_has_the_same_columns_and_can_be_written(image, tmp_path):
    path = write_fits(tmp_path / "i.fits", image, tan_wcs(SHAPE))
    full = predictor().predict(path, centre=CENTRE, redshift=0.1)
    empty = predictor().predict(path, centre=CENTRE, redshift=0.1, threshold=0.99)
    assert len(empty.catalogue) == 0
    assert empty.catalogue.colnames == full.catalogue.colnames
    assert not empty.labels.any()
    out = empty.write(tmp_path / "out")
    assert len(QTable.read(out / "cavities.ecsv")) == 0
    assert len(QTable.read(out / "cavities.fits", hdu=1)) == 0
    assert len(Regions.read(out / "cavities.reg", format="ds9")) == 0


def test_flags(tmp_path):
    centre, shape = (150.0, 150.0), (300, 300)
    cavities = [
        Cavity(180, 150, 12, 10),  # plain
        Cavity(150, 180, 10, 8),  # on a gap
        Cavity(120, 150, 10, 10),  # on filled sources
        Cavity(150, 118, 10, 9),  # low exposure
        Cavity(150, 150, 4, 3),  # centre
    ]
    exposure = np.ones(shape)
    exposure[178:184] = 0
    exposure[:132] *= 0.4
    mask = np.zeros(shape, bool)
    mask[142:158, 112:124] = True
    image = np.random.default_rng(0).poisson(20 * exposure).astype(float)
    detector = TruthDetector(cavities, centre, scales=(1, 2))
    table = (
        CavityPredictor(detector)
        .predict(image, exposure=exposure, mask=mask, centre=centre, scales="1,2")
        .catalogue
    )
    flags = {}
    for row in table:
        c = min(cavities, key=lambda c: np.hypot(c.x - row["x"], c.y - row["y"]))
        flags[cavities.index(c)] = set(str(row["flags"]).split())
    assert flags[0] == set()
    assert flags[1] == {"chip_gap"}
    assert flags[2] == {"masked_source"}
    assert flags[3] == {"low_exposure"}
    assert "core" in flags[4]


def test_edge_flag_of_a_cavity_cut_by_the_image():
    class Half(CentroidDetector):
        def detect(self, counts, **more):
            out = super().detect(counts, **more)
            for d in out:
                d.table["x"], d.table["y"] = 4.0, 64.0
            return out

    image = beta_image((128, 128), total=1e5)
    row = CavityPredictor(Half()).predict(image, scales=1).catalogue[0]
    assert "edge" in str(row["flags"]).split()


def test_many_images_in_one_call(image, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("b.fits", "a.fits", "c.fit"):
        write_fits(folder / name, image, tan_wcs(SHAPE))
    (folder / "notes.txt").write_text("no image")
    one = predictor().predict(folder / "a.fits", centre=CENTRE)
    many = predictor().predict(folder, centre=CENTRE)
    assert [r.observation.name for r in many] == ["a.fits", "b.fits", "c.fit"]
    listed = predictor().predict([image, str(folder / "a.fits")], centre=CENTRE)
    assert len(listed) == 2
    for result in (*many, *listed):
        np.testing.assert_allclose(result.catalogue["x"], one.catalogue["x"])


def test_a_remark_on_many_images_is_told_once(image, caplog):
    predictor().predict([image, image, image], centre=CENTRE)
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "3 images without celestial WCS: catalogues in pixels"
    ]
    caplog.clear()
    result = predictor().predict([image], centre=CENTRE)[0]
    assert result.warnings == ["no celestial WCS: the catalogue is in pixels"]
    assert f"image 1: {result.warnings[0]}" in caplog.text


def test_images_of_different_size_and_maps_share_a_batch():
    small, large = beta_image((140, 150)), beta_image((260, 300))
    results = CavityPredictor(CentroidDetector()).predict(
        [small, large, small], background=[np.full(small.shape, 0.1), None, None]
    )
    assert [r.probability.shape for r in results] == [(140, 150), (260, 300), (140, 150)]
    assert [len(r.search.fields) for r in results] == [2, 3, 2]


def test_the_centre_is_found_by_itself(tmp_path):
    image = beta_image((256, 256), (111.0, 140.0), core=5)
    result = CavityPredictor(CentroidDetector()).predict(image)
    assert np.hypot(result.centre[0] - 111, result.centre[1] - 140) < 3
    wcs = tan_wcs(image.shape)
    place = wcs.pixel_to_world(99.0, 133.0)
    given = CavityPredictor(CentroidDetector()).predict(
        write_fits(tmp_path / "i.fits", image, wcs), ra=place.ra.deg, dec=place.dec.deg
    )
    assert given.centre == pytest.approx((99, 133), abs=1e-4)


def test_threshold_overrides_the_shipped_one(image):
    shipped = predictor(cut=0.85).predict(image, centre=CENTRE)
    lower = predictor(cut=0.85).predict(image, centre=CENTRE, threshold=0.1)
    higher = predictor(cut=0.85).predict(image, centre=CENTRE, threshold=0.9)
    assert len(higher.catalogue) < len(shipped.catalogue) <= len(lower.catalogue) == 4
    assert (higher.catalogue["probability"] >= 0.9).all()
    assert (shipped.catalogue["probability"] >= 0.5).all()


def test_what_misses_the_threshold_is_flagged_as_candidate(image):
    result = predictor(cut=0.85).predict(image, centre=CENTRE)
    flagged = ["candidate" in str(f).split() for f in result.catalogue["flags"]]
    assert flagged == [c.support < 0.85 for c in result.cavities]
    assert set(flagged) == {True, False}


def test_no_row_is_sure_where_the_false_alarms_are_not_those_of_the_weights(image):
    """Another noise, a wrong background map, or counts far from those of the training."""
    usual = predictor().predict(image, centre=CENTRE)
    assert len(usual.catalogue) == 4
    assert not any(map(usual.is_candidate, range(4)))
    bump = image.mean() * (0.2 + image / image.max())
    for given, maps, words in (
        (7 * image, {}, "neighbouring pixels scatter with 7"),
        (image, {"background": bump}, "it holds light of the cluster"),
    ):
        result = predictor().predict(given, centre=CENTRE, **maps)
        assert len(result.catalogue) == 4
        assert all(map(result.is_candidate, range(4)))
        assert any(words in w for w in result.warnings)
    untrained = predictor()
    prior = {"simulate": {"instrument": {"counts": [2e3, 8e5]}}}
    untrained.detector.card = {**untrained.detector.card, "provenance": {"settings": prior}}
    result = untrained.predict(image, centre=CENTRE)
    counts = {f.scale: f.total for f in result.search.fields}
    beyond = [counts[c.scale] > 8.1e5 for c in result.cavities]
    assert [result.is_candidate(i) for i in range(4)] == beyond
    assert set(beyond) == {True, False}
    assert any("trained with 2,000 to 800,000" in w for w in result.warnings)


def test_the_smooth_model_has_no_seams_and_the_right_total():
    """The models of all binnings, patched together, are the one that they all came from."""

    class Smooth(CentroidDetector):
        def detect(self, counts, **more):
            out = super().detect(counts, **more)
            for d, c in zip(out, counts, strict=True):
                d.model = np.asarray(c, np.float32)  # a perfect fit of noiseless data
            return out

    y, x = np.indices(SHAPE)
    mu = 50 * (1 + ((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2) / 30**2) ** -1.0
    result = CavityPredictor(Smooth()).predict(mu, centre=CENTRE, scales="1,2,3,4")
    inner = np.s_[20:-20, 20:-20]
    np.testing.assert_allclose(result.model[inner], mu[inner], rtol=0.02)


def test_the_progress_adds_up_to_the_images(monkeypatch):
    """Whatever is read, searched, or skipped: a bar that stops short would look like a fault."""
    seen = []

    @contextmanager
    def show(what, total, wanted):
        seen.append([what, total, wanted])
        yield seen[-1].append

    monkeypatch.setattr("physml.cavities.predict.show_progress", show)
    image = beta_image((300, 300), (150.0, 148.0))
    predictor = CavityPredictor(TruthDetector([], (150.0, 148.0), scales=(1, 2)))
    options = {"centre": (150.0, 148.0), "scales": "1,2"}
    predictor.predict(image, **options)
    predictor.predict([image, np.zeros((300, 300)), image], on_skip=lambda *_: None, **options)
    predictor.predict(image, progress=False, **options)
    assert [one[:3] for one in seen] == [
        ["search", 1, True],
        ["images", 3, True],
        ["search", 1, False],
    ]
    for _, total, _, *steps in seen:
        assert sum(steps) == pytest.approx(total)
        assert len(steps) >= 5
        assert min(steps) > 0
