"""Lists of missions go through and come back: their columns, cards and extensions as they were."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from fakes import mission_lists
from fakes.background_detector import RuleDetector, quick_figure
from fakes.mission_lists import retell, write

from physml.background.data.event_list import load_events
from physml.background.predict import BackgroundPredictor
from physml.background.results.list_columns import gained
from physml.background.results.overview import plot_overview
from physml.background.results.products import corrected_area
from physml.exceptions import InputError

#: Cards that say how the bytes lie, or sum them up.
LAYOUT = {"NAXIS1", "TFIELDS", "THEAP", "CHECKSUM", "DATASUM"}


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """Predict for a list: the file as it was, the folder of the products, and the result."""

    def run(hdus, **options):
        place = tmp_path_factory.mktemp("list")
        path, folder = write(place / "list.fits", hdus), place / "out"
        result = BackgroundPredictor(RuleDetector()).predict(path, **options)
        folder.mkdir()
        result.write_into(folder, {})
        return path, folder, result

    with pytest.MonkeyPatch.context() as patch:
        quick_figure(patch)
        yield run


@pytest.fixture(scope="module")
def mission(process):
    """Products of the list of a mission, made once."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = process(mission_lists.MISSIONS[name]())
        return made[name]

    return run


def opened(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a wrong checksum is a warning in astropy
        hdus = fits.open(io.BytesIO(path.read_bytes()), checksum=True)
        hdus.verify("exception")
        return hdus


@pytest.mark.parametrize("name", sorted(mission_lists.MISSIONS))
def test_a_list_comes_back_with_all_it_had(name, mission):
    path, folder, result = mission(name)
    before, after = opened(path), opened(folder / "events.fits")
    assert [h.name for h in after] == [h.name for h in before] + ["PROVENANCE"]
    raw, now = path.read_bytes(), (folder / "events.fits").read_bytes()
    for was, here in zip(before, after, strict=False):
        if was.name != "EVENTS":
            a, b = was.fileinfo(), here.fileinfo()
            end = a["datLoc"] + a["datSpan"]
            size = end - a["hdrLoc"]
            assert raw[a["hdrLoc"] : end] == now[b["hdrLoc"] : b["hdrLoc"] + size]
    assert_events(before["EVENTS"], after["EVENTS"])
    header = after["EVENTS"].header
    assert header["MODELSHA"] == "ab" * 32
    assert header["EXPOSURE"] == pytest.approx(result.live_time)
    assert header["TELAPSE"] == header["TSTOP"] - header["TSTART"]


def assert_events(was, now):
    """Rows byte for byte in the order of time, and cards as they were."""
    order = np.argsort(was.data.field("TIME"), kind="stable")
    width = was.header["NAXIS1"]
    stored = np.frombuffer(was.data.tobytes(), f"V{width}")
    with_ours = np.frombuffer(now.data.tobytes(), np.uint8).reshape(len(order), -1)
    assert with_ours[:, :width].tobytes() == stored[order].tobytes()
    changed = {k for k in was.header if k and was.header[k] != now.header.get(k)}
    assert changed <= LAYOUT


@pytest.mark.parametrize("name", sorted(mission_lists.MISSIONS))
def test_weights_and_spectra_agree(name, mission):
    """What is left out has a flag and weight 0, and is in no spectrum."""
    _, folder, result = mission(name)
    events = opened(folder / "events.fits")["EVENTS"]
    names = gained(result.listed)
    flag, weight = events.data[names["FLAG"]], events.data[names["WEIGHT"]]
    out = (flag & (64 | 128 | 256)) > 0
    np.testing.assert_array_equal(weight, np.where(out, 0, 1))
    kept = fits.getdata(folder / "spectrum_kept.pha")["COUNTS"]
    assert kept.sum() == (~out).sum() == result.counts["kept"] == len(result.kept)
    assert result.counts["left_out"] == out.sum()
    assert fits.getdata(folder / "spectrum_rejected.pha")["COUNTS"].sum() == 0
    assert fits.getdata(folder / "background.fits").sum() == pytest.approx(
        events.data[names["P_BKG"]][~out].sum(), rel=1e-5
    )
    summary = json.loads((folder / "summary.json").read_text())
    band = next(b for b in summary["bands"] if (b["low_keV"], b["high_keV"]) == (0.3, 10.0))
    energy = np.asarray(result.events["ENERGY"])[~out]
    assert band["kept"] == ((energy >= 0.3) & (energy < 10)).sum()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("chandra", {"FLAG": "FLAG", "FRAME": "FRAME"}),
        ("xmm", {"FLAG": "FLAG_BKG", "ENERGY": "ENERGY", "GRADE": "GRADE", "FRAME": "FRAME"}),
        ("swift", {"FLAG": "FLAG", "ENERGY": "ENERGY", "FRAME": "FRAME"}),
        ("suzaku", {"FLAG": "FLAG", "ENERGY": "ENERGY", "FRAME": "FRAME"}),
        ("nustar", {"FLAG": "FLAG", "ENERGY": "ENERGY"}),  # no frame time
        ("sixte", {"FLAG": "FLAG", "ENERGY": "ENERGY", "GRADE": "GRADE"}),
    ],
)
def test_columns_that_are_added(name, names, tmp_path):
    """None of a list's own is replaced, and nothing is added that the list tells."""
    hdus = mission_lists.MISSIONS[name]()
    events = load_events(write(tmp_path / "l.fits", hdus))
    always = {name: name for name in ("P_BKG", "P_FRAME", "D_MIP", "WEIGHT")}
    assert gained(events) == {**names, **always}


def test_our_columns_stand_behind_their_rows(mission):
    """An unsorted list: probabilities and energies are those of the row that they stand in."""
    path, folder, _ = mission("xmm")
    e = opened(folder / "events.fits")["EVENTS"].data
    np.testing.assert_allclose(e["ENERGY"], (e["PI"] + 0.5) / 1000, rtol=1e-6)
    expected = RuleDetector().classify_events(e["ENERGY"], e["GRADE"])
    np.testing.assert_allclose(e["P_BKG"], expected, rtol=1e-5)
    np.testing.assert_array_equal(e["FLAG_BKG"] & 64 > 0, e["FLAG"] > 0)
    assert sorted(e["TIME"]) == sorted(fits.getdata(path, "EVENTS")["TIME"])


def test_the_table_has_our_names_and_units(mission):
    _, _, result = mission("xmm")
    e = result.events
    assert str(e["ENERGY"].unit) == "keV"
    np.testing.assert_array_equal(e["FLAG"] & 64 > 0, e["FLAG_IN"] > 0)
    assert e["PATTERN_IN"].max() == 205
    assert e["PATTERN"].max() == 12
    _, _, result = mission("chandra")
    e = result.events
    np.testing.assert_allclose(e["ENERGY_IN"] / 1000, e["ENERGY"], rtol=1e-6)
    assert e["PHAS"].shape == (60, 5, 5)
    assert e["STATUS"].shape == (60, 32)


def test_a_list_is_read_again(process, mission):
    """Our flags do not count as the mission's, and another run adds columns of its own."""
    _, folder, first = mission("xmm")
    with fits.open(folder / "events.fits") as hdus:
        hdus.readall()
        again = fits.HDUList([h.copy() for h in hdus])
    _, other, second = process(again)
    np.testing.assert_array_equal(second.events["FLAG"], first.events["FLAG"])
    names = fits.getdata(other / "events.fits", "EVENTS").names
    assert {"FLAG", "FLAG_BKG", "FLAG_BKG2", "P_BKG", "P_BKG_BKG"} <= set(names)
    assert [h.name for h in opened(other / "events.fits")].count("PROVENANCE") == 1


@pytest.mark.parametrize("name", ["chandra", "swift", "suzaku", "nustar"])
def test_stingray_goes_on_with_it(name, mission):
    stingray = pytest.importorskip(
        "stingray", reason="stingray is not installed", exc_type=ImportError
    )
    path, folder, _ = mission(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        was, now = (
            stingray.EventList.read(str(p), fmt="ogip") for p in (path, folder / "events.fits")
        )
    np.testing.assert_array_equal(np.asarray(was.time, float), np.asarray(now.time, float))
    np.testing.assert_array_equal(was.gti, now.gti)
    assert float(was.mjdref) == pytest.approx(float(now.mjdref))


def test_columns_of_variable_length_stay(process):
    """Their values lie behind the rows, which are wider now."""
    hdus = mission_lists.suzaku()
    lists = np.array([np.arange(k % 5, dtype="i2") for k in range(60)], dtype=object)
    wide = fits.BinTableHDU.from_columns(
        hdus["EVENTS"].columns + fits.ColDefs([fits.Column("PIXELS", "PI()", array=lists)]),
        header=hdus["EVENTS"].header, name="EVENTS",
    )  # fmt: skip
    _, folder, _ = process(fits.HDUList([fits.PrimaryHDU(), wide, hdus["GTI"]]))
    found = opened(folder / "events.fits")["EVENTS"].data["PIXELS"]
    for was, now in zip(lists, found, strict=True):
        np.testing.assert_array_equal(was, now)


def test_live_times_that_contradict_the_good_times_are_corrected(process):
    hdus = mission_lists.chandra()
    del hdus[2:]
    hdus.append(mission_lists.good_times("GTI", (1000.0, 1200.0)))
    _, folder, _ = process(hdus)
    for header in (
        fits.getheader(folder / "events.fits", "EVENTS"),
        fits.getheader(folder / "spectrum_kept.pha", "SPECTRUM"),
    ):
        assert header["EXPOSURE"] == header["LIVETIME"] == pytest.approx(200 * 0.9874)
        assert header["ONTIME"] == pytest.approx(200)
    assert "was 592.44" in fits.getheader(folder / "events.fits", "EVENTS").comments["EXPOSURE"]


def test_texts_become_what_they_stand_for(process):
    hdus = mission_lists.chandra()
    header = hdus["EVENTS"].header
    header["MJDREF"], header["CLOCKAPP"] = "5.0814E+04", "F"
    hdus["EVENTS"].data["energy"] /= 1000
    _, folder, _ = process(retell(hdus, TUNIT10="KEV"))
    header = fits.getheader(folder / "events.fits", "EVENTS")
    assert header["MJDREF"] == 50814
    assert header["CLOCKAPP"] is False
    assert header["TUNIT10"] == "keV"


@pytest.mark.parametrize("value", [b"'          '", b"'1234567890'"])
def test_sums_that_are_blank_or_wrong_are_made(value, process):
    """Archives have both; readers that check sums stop at them."""
    path, folder, _ = process(mission_lists.suzaku())
    raw = path.read_bytes()
    place = raw.index(b"DATASUM =", raw.index(b"'GTI"))
    path.write_bytes(raw[: place + 10] + value + raw[place + 22 :])
    result = BackgroundPredictor(RuleDetector()).predict(path)
    again = folder.parent / "again"
    again.mkdir()
    result.write_into(again, {})
    np.testing.assert_array_equal(opened(again / "events.fits")["GTI"].data["START"], [1000.0])
    assert any("checksum of GTI" in text for text in result.remarks) == (b"1" in value)


def test_a_list_without_good_times_gets_them_in_its_unit(process):
    hdus = mission_lists.suzaku()
    hdus["EVENTS"].data["TIME"] /= 86400
    _, folder, _ = process(retell(fits.HDUList(hdus[:2]), TUNIT1="d"))
    made = opened(folder / "events.fits")
    assert made["GTI"].header["TUNIT1"] == "d"
    np.testing.assert_allclose(made["GTI"].data["START"] * 86400, 1000)
    np.testing.assert_allclose(made["GTI"].data["STOP"] * 86400, 1600)


def test_a_date_that_is_told_replaces_that_of_the_list(process):
    _, folder, _ = process(mission_lists.chandra(), start="2031-03-01T12:00:00")
    header = fits.getheader(folder / "events.fits", "EVENTS")
    assert header["MJDREF"] == pytest.approx(header["MJDREFI"] + header["MJDREFF"])
    assert header["MJDREFI"] == 62926
    assert header["DATE-OBS"].startswith("2031-03-01T12:17")  # TSTART is 1000 s


def test_a_list_without_events(process):
    hdus = mission_lists.chandra()
    hdus["EVENTS"].data = hdus["EVENTS"].data[:0]
    _, folder, result = process(hdus)
    made = opened(folder / "events.fits")["EVENTS"]
    assert len(made.data) == 0
    assert made.header["EXPOSURE"] == pytest.approx(592.44)
    assert fits.getdata(folder / "spectrum_kept.pha")["COUNTS"].sum() == 0
    assert result.counts["kept"] == 0
    assert len(plot_overview(result).axes) >= 6


def test_the_cut_by_islands(process):
    """Events with charge in the border of their islands are rejected, and the price is told."""
    hdus = mission_lists.chandra(outer=(2, 20, 41))
    _, folder, result = process(hdus, cut=["vfaint"])
    e = Table.read(folder / "events.fits", hdu="EVENTS")
    assert np.flatnonzero(e["FLAG"] & 16).tolist() == [2, 20, 41]
    assert (e["WEIGHT"][[2, 20, 41]] == 0).all()
    assert fits.getdata(folder / "spectrum_rejected.pha")["COUNTS"].sum() == 3
    np.testing.assert_allclose(e["WEIGHT"][(e["FLAG"] & (16 | 448)) == 0], 1 / 0.98, rtol=1e-6)
    area = corrected_area(
        np.array([1.0]), np.array([2.0]), np.array([50.0]),
        folder / "effective_area_correction.fits",
    )  # fmt: skip
    np.testing.assert_allclose(area, 49.0)
    assert any("keeps 98%" in text for text in result.remarks)
    assert result.counts["rejected"] == 3


def test_the_cut_by_grades(process):
    _, folder, result = process(mission_lists.suzaku(), cut=["grades"])
    e = Table.read(folder / "events.fits", hdu="EVENTS")
    np.testing.assert_array_equal(e["FLAG"] & 16 > 0, np.isin(e["GRADE"], (1, 5, 7)))
    counted = (e["FLAG"] & 448) == 0
    assert result.counts["rejected"] == (counted & np.isin(e["GRADE"], (1, 5, 7))).sum()


def test_cuts_that_cannot_be_made(tmp_path):
    predictor = BackgroundPredictor(RuleDetector())
    path = write(tmp_path / "l.fits", mission_lists.suzaku())
    with pytest.raises(InputError, match="5 x 5 islands"):
        predictor.predict(path, cut=["vfaint"])
    with pytest.raises(InputError, match="one of vfaint, grades"):
        predictor.predict(path, cut=["sharp"])
    with pytest.raises(InputError, match="with an event list"):
        predictor.predict(np.zeros((3, 64, 64)), cut=["grades"])
