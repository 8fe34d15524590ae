"""Products as other programs read them: OGIP keywords, units, checksums, good time, spectra."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS
from fakes.background_detector import (
    CAMERA,
    RuleDetector,
    event_table,
    exposure_table,
    quick_figure,
    scene,
    write_cube,
    write_events,
    write_sparse,
)

from physml.background.predict import BackgroundPredictor
from physml.background.results import event_rows as rows
from physml.background.results import ogip
from physml.background.results.event_rows import REJECTED, ROW, RowStore
from physml.background.results.products import corrected_area

PRODUCTS = {
    "events.fits",
    "spectrum_kept.pha",
    "spectrum_rejected.pha",
    "effective_area_correction.fits",
    "background.fits",
    "overview.png",
    "summary.json",
}


def write(given, out, *options, **more):
    """Result of a prediction whose products lie in a folder."""
    result = BackgroundPredictor(RuleDetector()).predict(given, *options, **more)
    result.write(out)
    return result


def events_header(folder):
    return fits.getheader(folder / "events.fits", "EVENTS")


def read(folder, file="events.fits", extension="EVENTS"):
    return Table.read(folder / file, hdu=extension)


@pytest.fixture
def quick(monkeypatch):
    quick_figure(monkeypatch)


@pytest.fixture(scope="module")
def seen():
    return scene(80, photons=5.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory, seen):
    """Products of frames of three exposures, and their result."""
    folder = tmp_path_factory.mktemp("frames")
    index = np.arange(80)
    exposures = np.concatenate(
        [exposure_table(40, first=0), exposure_table(40, first=40, frame_time=8e-3)]
    )
    path = write_sparse(folder / "frames.h5", seen.pixels, exposures, index=index)
    out = folder / "out"
    return out, write(path, out, 0.98, detector=CAMERA, start="2031-03-01T12:00:00")


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Products of an event list."""
    folder = tmp_path_factory.mktemp("list")
    hdu = event_table(300, CHIPX=np.arange(300, dtype="i2"), phas=np.ones((300, 9), "i2"))
    axes = [("x", "RA---TAN", 148.97, -1.37e-4), ("y", "DEC--TAN", 69.68, 1.37e-4)]
    for name, kind, value, step in axes:
        k = 1 + list(hdu.columns.names).index(name)
        cards = {"TCTYP": kind, "TCRPX": 4096.5, "TCRVL": value, "TCDLT": step, "TCUNI": "deg"}
        for root, card in {**cards, "TLMIN": 0.5, "TLMAX": 8192.5}.items():
            hdu.header[f"{root}{k}"] = card
    k = 1 + list(hdu.columns.names).index("pi")
    hdu.header[f"TLMIN{k}"], hdu.header[f"TLMAX{k}"] = 1, 1024
    path = write_events(folder / "evt2.fits", hdu, gti=[(999, 1500), (1500, 2000)])
    return folder / "out", write(path, folder / "out")


@pytest.fixture(params=["frames", "list"])
def any_made(request):
    return request.getfixturevalue("made" if request.param == "frames" else "listed")


MANDATORY = {
    "EVENTS": "EXTNAME HDUCLASS HDUCLAS1 HDUCLAS2 TELESCOP INSTRUME FILTER OBJECT OBS_ID DATE-OBS "
    "DATE-END TSTART TSTOP MJDREFI MJDREFF TIMESYS TIMEUNIT TIMEREF TIMEZERO TIMEDEL ONTIME "
    "LIVETIME EXPOSURE DEADC CREATOR ORIGIN DATE CHECKSUM DATASUM MODELSHA RETENTIO",
    "GTI": "EXTNAME HDUCLASS HDUCLAS1 TELESCOP INSTRUME TSTART TSTOP MJDREFI MJDREFF TIMESYS "
    "CHECKSUM DATASUM",
    "SPECTRUM": "EXTNAME TELESCOP INSTRUME FILTER EXPOSURE BACKFILE CORRFILE CORRSCAL RESPFILE "
    "ANCRFILE HDUCLASS HDUCLAS1 HDUCLAS2 HDUCLAS3 HDUVERS POISSERR CHANTYPE DETCHANS AREASCAL "
    "BACKSCAL SYS_ERR QUALITY GROUPING TLMIN1 TLMAX1 CHECKSUM DATASUM",
}


def verify(path):
    """What fitsverify looks at: structure, checksums, columns, units, keywords."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a wrong checksum is a warning in astropy
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            for hdu in hdus:
                _verify_header(hdu)
                if isinstance(hdu, fits.BinTableHDU):
                    _verify_table(hdu)
    assert path.stat().st_size % 2880 == 0


def _verify_header(hdu):
    keys = [k for k in hdu.header if k not in ("COMMENT", "HISTORY", "")]
    assert len(keys) == len(set(keys)), "a keyword twice"
    assert "CHECKSUM" in hdu.header
    assert "DATASUM" in hdu.header
    for card in hdu.header.cards:
        assert len(card.image) % 80 == 0
        assert all(32 <= ord(c) < 127 for c in card.image)
    for key in ("DATE", "DATE-OBS", "DATE-END"):
        if key in hdu.header:
            Time(hdu.header[key], format="isot", scale="tt")


def _verify_table(hdu):
    header, data = hdu.header, hdu.data
    assert len({n.upper() for n in hdu.columns.names}) == len(hdu.columns.names)
    for number, column in enumerate(hdu.columns, start=1):
        assert column.name.replace("_", "").isalnum()
        if column.unit:
            u.Unit(column.unit, format="fits")
        values = np.asarray(data[column.name])
        if f"TLMIN{number}" not in header or values.dtype.kind not in "iuf" or not len(values):
            continue
        low, high = header[f"TLMIN{number}"], header[f"TLMAX{number}"]
        good = values[np.isfinite(values) & (values != header.get(f"TNULL{number}", np.inf))]
        assert (good >= low).all(), column.name
        assert (good <= high).all(), column.name


@pytest.mark.parametrize("name", sorted(n for n in PRODUCTS if n.endswith((".fits", ".pha"))))
def test_files_are_valid_fits(name, any_made):
    verify(any_made[0] / name)


def test_the_verifier_finds_faults(made, tmp_path):
    """A check that cannot fail checks nothing."""
    raw = bytearray((made[0] / "events.fits").read_bytes())
    with fits.open(made[0] / "events.fits") as hdus:
        place = hdus["EVENTS"].fileinfo()["datLoc"]
    raw[place + 100] ^= 1
    (tmp_path / "flipped.fits").write_bytes(raw)
    with pytest.raises(Warning, match="verification failed"):
        verify(tmp_path / "flipped.fits")
    cut = tmp_path / "header.fits"
    cut.write_bytes(bytes(raw).replace(b"TELESCOP= 'UNKNOWN '", b"TELESCOP= 'UNKNOWM '"))
    with pytest.raises(Warning, match="verification failed"):
        verify(cut)


def test_all_files_are_there(any_made):
    assert {p.name for p in any_made[0].iterdir() if p.name[0] != "."} == PRODUCTS


@pytest.mark.parametrize(
    ("file", "extension"),
    [
        ("events.fits", "EVENTS"),
        ("events.fits", "GTI"),
        ("spectrum_kept.pha", "SPECTRUM"),
        ("spectrum_rejected.pha", "SPECTRUM"),
    ],
)
def test_mandatory_keywords(file, extension, any_made):
    header = fits.getheader(any_made[0] / file, extension)
    if extension == "GTI" and not any_made[1].with_frames:
        assert header["NAXIS2"] == 2  # the list's own, as it was
        return
    missing = [k for k in MANDATORY[extension].split() if k not in header]
    assert not missing
    assert header["HDUCLASS"] == "OGIP"


def test_good_time_is_sorted_and_covers_the_events(any_made):
    with fits.open(any_made[0] / "events.fits") as hdus:
        start, stop = hdus["GTI"].data["START"], hdus["GTI"].data["STOP"]
        time, header = hdus["EVENTS"].data["TIME"], hdus["EVENTS"].header
        assert hdus["GTI"].columns["START"].unit == "s"
        assert (stop > start).all()
        assert (start[1:] >= stop[:-1]).all()
        assert (np.diff(time) >= 0).all()
        row = np.searchsorted(start, time, side="right") - 1
        assert (row >= 0).all()
        assert (time <= stop[row]).all()
        assert header["TSTART"] == start[0]
        assert header["TSTOP"] == stop[-1]
        assert header["ONTIME"] == pytest.approx((stop - start).sum())


def test_times_of_two_exposures_and_the_date(made):
    header = events_header(made[0])
    assert header["TSTOP"] == pytest.approx(40 * 5e-3 + 40 * 8e-3)
    zero = Time(header["MJDREFI"], header["MJDREFF"], format="mjd", scale=header["TIMESYS"].lower())
    assert zero.utc.isot == "2031-03-01T12:00:00.000"
    assert Time(header["DATE-OBS"], scale="tt").utc.isot == "2031-03-01T12:00:00.000"
    table = read(made[0])
    late = table[table["FRAME"] >= 40]
    np.testing.assert_allclose(late["TIME"], 0.2 + (late["FRAME"] - 39.5) * 8e-3, rtol=1e-12)


def test_the_model_and_its_promise_are_in_the_header(made):
    header = events_header(made[0])
    assert header["MODELSHA"] == "ab" * 32
    assert header["RETENTIO"] == 0.98
    assert header["SPLITTHR"] == 0.05
    assert [header[f"PCUT{k}"] for k in (1, 2, 3)] == pytest.approx([0.6] * 3)
    assert header["INDOMAIN"] is False
    assert "512 x 512" in header["UNTRAIN1"]
    cuts = read(made[0], extension="THRESHOLDS")
    assert len(cuts) == 6
    np.testing.assert_allclose(cuts["P_CUT"], 0.6)


def test_the_event_list_is_the_table(made):
    folder, result = made
    table = read(folder).filled()
    assert table.colnames == result.events.colnames
    for name in table.colnames:
        np.testing.assert_array_equal(table[name], result.events[name], err_msg=name)


def test_stingray_reads_it(any_made):
    stingray = pytest.importorskip(
        "stingray", reason="stingray is not installed", exc_type=ImportError
    )
    folder, result = any_made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = stingray.EventList.read(
            str(folder / "events.fits"), fmt="ogip", additional_columns=["P_BKG", "FLAG"]
        )
    table = result.events
    np.testing.assert_allclose(np.asarray(events.time, float), table["TIME"])
    np.testing.assert_allclose(events.energy, table["ENERGY"], rtol=1e-6)  # keV, also of eV
    if result.with_frames:
        np.testing.assert_allclose(events.gti, result.intervals)
    assert np.diff(events.gti).sum() == pytest.approx(np.diff(result.intervals).sum())
    header = events_header(folder)
    assert float(events.mjdref) == pytest.approx(header["MJDREFI"] + header["MJDREFF"])
    np.testing.assert_allclose(events.p_bkg, table["P_BKG"])
    kept = events.apply_mask((events.flag & REJECTED) == 0)
    assert len(kept.time) == result.counts["kept"]


@pytest.mark.parametrize(
    ("file", "rejected", "kind"),
    [("spectrum_kept.pha", False, "TOTAL"), ("spectrum_rejected.pha", True, "BKG")],
)
def test_spectra_hold_every_event_once(file, rejected, kind, made):
    folder, result = made
    chosen = result.events[((result.events["FLAG"] & REJECTED) > 0) == rejected]
    counts, bounds = read(folder, file, "SPECTRUM")["COUNTS"], read(folder, file, "EBOUNDS")
    np.testing.assert_array_equal(counts, np.bincount(chosen["PI"], minlength=len(counts)))
    edges = np.append(bounds["E_MIN"], bounds["E_MAX"][-1]).astype("f8")
    np.testing.assert_array_equal(counts, np.histogram(chosen["ENERGY"], edges)[0])
    header = fits.getheader(folder / file, "SPECTRUM")
    assert header["EXPOSURE"] == pytest.approx(0.52)
    assert (header["DETCHANS"], header["HDUCLAS2"]) == (len(counts), kind)


def test_spectra_of_a_list_keep_its_channels(listed):
    folder, result = listed
    table = read(folder, "spectrum_kept.pha", "SPECTRUM")
    np.testing.assert_array_equal(table["CHANNEL"], np.arange(1, 1025))
    counts = np.bincount(result.events["PI"], minlength=1025)[1:]
    np.testing.assert_array_equal(table["COUNTS"], counts)
    assert read(folder, "spectrum_rejected.pha", "SPECTRUM")["COUNTS"].sum() == 0


@pytest.mark.usefixtures("quick")
def test_weighted_spectra_have_errors(tmp_path, seen):
    weight = np.full(80, 4.0, "f4")
    path = write_sparse(tmp_path / "f.h5", seen.pixels, index=np.arange(80), weight=weight)
    n = write(path, tmp_path / "out", detector=CAMERA).counts["kept"]
    table = read(tmp_path / "out", "spectrum_kept.pha", "SPECTRUM")
    assert table["COUNTS"].sum() == pytest.approx(4 * n)
    assert np.sqrt((table["STAT_ERR"] ** 2).sum()) == pytest.approx(4 * np.sqrt(n))
    assert fits.getheader(tmp_path / "out" / "spectrum_kept.pha", 1)["POISSERR"] is False


def test_the_correction_multiplies_an_effective_area(made):
    folder, _ = made
    file = "effective_area_correction.fits"
    table = read(folder, file, "RETENTION")
    np.testing.assert_allclose(table["RETENTION"], [0.98, 0.978, 0.98], rtol=1e-6)
    np.testing.assert_allclose(table["PROMISED"], 0.98)
    assert (table["ERROR"] > 0).all()
    rate = read(folder, file, "RETENTION_RATE")
    np.testing.assert_allclose(rate["RETENTION"][1], [0.979, 0.977, 0.979], rtol=1e-6)
    assert rate["TIME_SHARE"].sum() == pytest.approx(1)
    low, high = np.array([0.1, 1.0, 5.0, 14.0]), np.array([0.15, 1.1, 5.1, 16.0])
    area = corrected_area(low, high, np.full(4, 100.0), folder / file)
    np.testing.assert_allclose(area, [98.0, 98.0, 97.8, 98.0], rtol=1e-6)


def test_images_count_what_they_say(made):
    folder, result = made
    e = result.events
    rejected = np.asarray(e["FLAG"] & REJECTED) > 0
    with fits.open(folder / "background.fits") as hdus:
        assert hdus[0].data.shape == (CAMERA.ny, CAMERA.nx)
        assert hdus[0].header["BUNIT"] == "count"
        assert hdus[0].data.sum() == pytest.approx(e["P_BKG"].sum(), rel=1e-5)
        residual = hdus["RESIDUAL"].data
        assert residual.sum() == pytest.approx(e["P_BKG"][~rejected].sum(), rel=1e-5)
        assert hdus["REJECTED"].data.sum() == rejected.sum()
        row = e[~rejected][0]
        assert hdus["KEPT"].data[row["RAWY"] - 1, row["RAWX"] - 1] >= 1


def test_the_summary_says_what_was_promised_and_where_it_does_not_hold(made, listed):
    summary = json.loads((made[0] / "summary.json").read_text())
    promise = summary["promise"]
    assert promise["retention"] == 0.98
    assert promise["energies_keV"] == [0.2, 15.0]
    assert not promise["holds"]
    bands = {(b["low_keV"], b["high_keV"]): b for b in promise["bands"]}
    assert set(bands) == {(0.3, 2.0), (2.0, 7.0), (7.0, 10.0), (0.3, 10.0)}
    assert bands[(2.0, 7.0)]["measured"] == pytest.approx(0.978)
    assert "512 x 512" in summary["not_trained_on"][0]
    assert summary["counts"]["kept"] + summary["counts"]["rejected"] == len(made[1].events)
    assert summary["exposure"]["frames"] == 80
    assert summary["model"]["sha256"] == "ab" * 32
    summary = json.loads((listed[0] / "summary.json").read_text())
    assert summary["promise"]["retention"] is None
    assert "CHANDRA ACIS" in summary["not_trained_on"][0]


def test_bands_of_the_summary_add_up(made):
    summary = json.loads((made[0] / "summary.json").read_text())
    e = made[1].events
    assert len(summary["bands"]) == 4
    for band in summary["bands"]:
        inside = (e["ENERGY"] >= band["low_keV"]) & (e["ENERGY"] < band["high_keV"])
        assert band["kept"] + band["rejected"] == inside.sum()
        assert band["mean_p_bkg"] == pytest.approx(e["P_BKG"][inside].mean(), abs=1e-5)


def test_the_picture_shows_every_event(any_made):
    """Counts in the histograms and images of the figure are those of the list."""
    from physml.background.results.overview import plot_overview

    _, result = any_made
    figure = plot_overview(result)
    panels = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
    assert len(panels) == 6
    drawn = sum(panels[name].images[0].get_array().sum() for name in panels if "vents" in name
                and panels[name].images)  # fmt: skip
    assert drawn == len(result.events)
    bars = [p.get_data() for p in panels["Probability"].patches]
    # Stacked: the last one's values go up to all events.
    assert bars[-1].values.sum() == len(result.events)
    texts = " ".join(t.get_text() for t in figure.texts)
    assert result.summary in texts
    assert "Not trained on" in texts


def test_a_list_keeps_its_columns_and_gains_ours(listed):
    folder, result = listed
    e = result.events
    assert {"CHIPX", "PHAS"} <= set(e.colnames)
    np.testing.assert_array_equal(e["RAWX"], np.arange(300))
    assert (e["RAWY"] == -1).all()
    assert e["PHAS"].shape == (300, 9)
    header = events_header(folder)
    names = read(folder).colnames
    assert names[:8] == ["time", "x", "y", "energy", "pi", "grade", "CHIPX", "phas"]
    number = names.index("x") + 1
    assert header[f"TCTYP{number}"] == "RA---TAN"
    assert header[f"TCRVL{number}"] == 148.97
    assert header["TELESCOP"] == "CHANDRA"
    assert header["OBJECT"] == "M82"
    assert header["MJDREFI"] == 50814
    assert str(e["ENERGY"].unit) == "keV"


@pytest.mark.usefixtures("quick")
def test_our_own_list_is_read_again(made, tmp_path):
    """Without the frames, by energy and grade."""
    again = write(made[0] / "events.fits", tmp_path / "again")
    for name in ("ENERGY", "DETX"):
        np.testing.assert_allclose(again.events[name], made[1].events[name], err_msg=name)
    verify(tmp_path / "again" / "events.fits")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("turn", [0.0, 37.0])
@pytest.mark.parametrize("mirror", [-1, 1])
def test_sky_positions_agree_with_the_wcs_of_the_cube(turn, mirror, seen, tmp_path):
    """X, Y and the keywords of their columns give the sky position that astropy finds."""
    t, s = np.radians(turn), 2.2 / 3600
    cd = np.array([[mirror * np.cos(t), -np.sin(t)], [mirror * np.sin(t), np.cos(t)]]) * s
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 148.97, "CRVAL2": 69.68,
        "CRPIX1": 40.0, "CRPIX2": 70.0, "CD1_1": cd[0, 0], "CD1_2": cd[0, 1],
        "CD2_1": cd[1, 0], "CD2_2": cd[1, 1],
    }  # fmt: skip
    path = write_cube(tmp_path / "cube.fits", seen.images, **cards)
    e = write(path, tmp_path / "out", detector=CAMERA).events
    ra, dec = WCS(fits.getheader(path)).celestial.wcs_pix2world(e["DETX"], e["DETY"], 1)
    header = events_header(tmp_path / "out")
    made = WCS(naxis=2)
    columns = [e.colnames.index(n) + 1 for n in "XY"]
    roots = {"ctype": "TCTYP", "crval": "TCRVL", "crpix": "TCRPX", "cdelt": "TCDLT"}
    for name, root in roots.items():
        setattr(made.wcs, name, [header[f"{root}{k}"] for k in columns])
    np.testing.assert_allclose((e["X"], e["Y"]), made.wcs_world2pix(ra, dec, 1), atol=2e-3)
    verify(tmp_path / "out" / "events.fits")
    # The image of the background lies on the detector's pixels, as the cube does.
    sky = WCS(fits.getheader(tmp_path / "out" / "background.fits"))
    np.testing.assert_allclose(sky.wcs_pix2world(e["DETX"], e["DETY"], 1), (ra, dec), rtol=1e-9)


def test_the_image_of_a_list_lies_on_the_sky_of_its_columns(listed):
    """A pixel of the image is where its events are, by both kinds of coordinates."""
    folder, result = listed
    with fits.open(folder / "background.fits") as hdus:
        image, header = hdus["KEPT"].data, hdus["KEPT"].header
    assert image.sum() == len(result.events)
    e = result.events[7]
    i = round(header["LTM1_1"] * e["X"] + header["LTV1"]) - 1
    j = round(header["LTM2_2"] * e["Y"] + header["LTV2"]) - 1
    assert image[j, i] >= 1
    table = events_header(folder)
    k = read(folder).colnames.index("x") + 1
    world = header["CRVAL1"] + (i + 1 - header["CRPIX1"]) * header["CDELT1"]
    expected = table[f"TCRVL{k}"] + (np.round(e["X"]) - table[f"TCRPX{k}"]) * table[f"TCDLT{k}"]
    assert world == pytest.approx(expected, abs=abs(header["CDELT1"]))


def test_a_store_gives_back_what_it_took(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "SPILL_BYTES", 500)
    store = RowStore(folder=tmp_path)
    whole = np.zeros(54, ROW)
    for name in ROW.names:
        whole[name] = np.random.default_rng(0).permutation(54)
    for part in np.split(whole, [3, 3, 53]):
        store.append(part)
    assert len(store) == 54
    np.testing.assert_array_equal(store.read(), whole)
    np.testing.assert_array_equal(np.concatenate(list(store.chunks(7))), whole)
    assert list(tmp_path.iterdir()) == []  # the file has no name


@pytest.mark.parametrize("n", [0, 1, 39, 4001])
def test_streamed_tables_equal_those_of_astropy(n, tmp_path):
    """Bytes and checksums of odd rows, in pieces of any size."""
    rng = np.random.default_rng(n)
    dtype = np.dtype(
        [("A", "f8"), ("B", "i2"), ("C", "?"), ("D", "S3"), ("E", "i2", (3,)), ("F", "u1")]
    )
    table = np.zeros(n, dtype)
    table["A"], table["B"] = rng.normal(size=n), rng.integers(-9, 9, n)
    table["C"], table["D"] = rng.random(n) < 0.5, b"xyz"
    table["E"], table["F"] = rng.integers(0, 9, (n, 3)), rng.integers(0, 255, n)
    header = ogip.table_header(dtype, n, {})
    header["EXTNAME"] = "T"
    path = tmp_path / "t.fits"
    with open(path, "wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode())
        chunks = [table[i : i + 17] for i in range(0, n, 17)]
        ogip.stream_table(file, header, dtype, lambda: chunks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as hdus:
            assert len(hdus["T"].data) == n
            expected = fits.BinTableHDU(hdus["T"].data.copy(), name="T")
            for name in dtype.names:
                got = np.asarray(hdus["T"].data[name])
                want = np.char.decode(table[name]) if name == "D" else table[name]
                np.testing.assert_array_equal(got, want)
            expected.add_datasum()
            assert hdus["T"].header["DATASUM"] == expected.header["DATASUM"]


def test_checksums_have_only_letters_and_digits():
    for total in (0, 1, 0xFFFFFFFF, 0x3A5B3A5B, 0x12345678, 0xE7E7E7E7):
        text = ogip.encode_checksum(total)
        assert len(text) == 16
        assert text.isalnum()
