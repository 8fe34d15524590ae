"""Times of event lists: units, frames, good time and live time by whatever cards tell them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from fakes import mission_lists
from fakes.mission_lists import START, STOP, retell, write

from physml.background.data.event_list import OUTSIDE, load_events
from physml.background.data.missions.cards import number, seconds, truth
from physml.background.results.ogip import epoch_known, keywords
from physml.exceptions import InputError

DAY = 86400.0


@pytest.fixture
def read(tmp_path):
    def load(hdus):
        return load_events(write(tmp_path / "list.fits", hdus))

    return load


def listed(good=True, **cards):
    """A list with other cards; those that are None are taken out."""
    hdus = mission_lists.suzaku()
    for name in ("EXPOSURE",):
        del hdus["EVENTS"].header[name]
    for name, value in cards.items():
        if value is None:
            hdus["EVENTS"].header.remove(name, ignore_missing=True)
        else:
            hdus["EVENTS"].header[name] = value
    return hdus if good else fits.HDUList(hdus[:2])


@pytest.mark.parametrize(
    ("cards", "live"),
    [
        ({"DTCOR": 0.9}, 540),
        ({"DTCOR": 0.9, "LIVETIME": 999.0, "ONTIME": 1000.0}, 540),
        ({"LIVETIME": 950.0, "ONTIME": 1000.0}, 570),
        ({"DEADC": 0.8}, 480),
        ({"LIVETIME": 550.0}, 550),
        ({"EXPOSURE": 580.0}, 580),
        ({"EXPOSURE": 5000.0}, 600),  # that of a longer list
        ({"EXPOSURE": -1.0}, 600),
        ({"DTCOR": "0.9"}, 540),
        ({"DTCOR": 17.0}, 600),
        ({}, 600),
    ],
)
def test_live_time(cards, live, read):
    events = read(listed(**cards))
    assert events.live_time == pytest.approx(live)
    told = [r for r in events.remarks if "live" in r]
    assert bool(told) == (live == 600 or cards.get("LIVETIME", live) != live)


@pytest.mark.parametrize("dead", [{"DTCOR": 0.9}, {"LIVETIME": 540.0}])
def test_live_time_without_a_table_of_good_times(dead, read):
    events = read(listed(good=False, **dead))
    assert events.live_time == pytest.approx(540)
    np.testing.assert_allclose(events.intervals, [[START, STOP]])
    assert any("TSTART to TSTOP" in r for r in events.remarks)


def test_the_first_and_last_event_where_nothing_else_tells(read):
    events = read(listed(good=False, TSTART=None, TSTOP=" "))
    np.testing.assert_allclose(events.intervals, [[events.time[0] - 4, events.time[-1] + 4]])
    assert any("first event" in r for r in events.remarks)
    empty = listed(good=False, TSTART=None)
    empty["EVENTS"].data = empty["EVENTS"].data[:0]
    with pytest.raises(InputError, match="TSTART and TSTOP"):
        read(empty)


def test_events_before_and_after_tstart_and_tstop_do_not_count(read):
    events = read(listed(good=False, TSTART=1100.0, TSTOP=1500.0))
    np.testing.assert_array_equal(
        events.flag & OUTSIDE > 0, (events.time < 1100) | (events.time > 1500)
    )


@pytest.mark.parametrize(("unit", "second"), [("d", DAY), ("ms", 1e-3), ("min", 60.0)])
@pytest.mark.parametrize("told_by", ["TIMEUNIT", "TUNIT"])
def test_units_of_times(unit, second, told_by, read):
    plain = read(listed(DTCOR=0.9))
    hdus = listed(DTCOR=0.9)
    hdus["EVENTS"].data["TIME"] /= second
    if told_by == "TUNIT":
        retell(hdus, TUNIT1=unit)
    else:
        header = retell(hdus, TUNIT1=None)["EVENTS"].header
        header["TIMEUNIT"] = unit
        for name in ("TSTART", "TSTOP", "TIMEDEL"):
            header[name] = header[name] / second
    events = read(hdus)
    np.testing.assert_allclose(events.time, plain.time, rtol=1e-12)
    np.testing.assert_array_equal(events.frame, plain.frame)
    assert events.frame_time == pytest.approx(8)
    assert events.live_time == pytest.approx(540)
    assert not (events.flag & OUTSIDE).any()


def test_a_table_of_good_times_has_a_unit_of_its_own(read):
    hdus = listed(DTCOR=0.9)
    for name in ("START", "STOP"):
        hdus["GTI"].data[name] /= DAY
    retell(hdus, "GTI", TUNIT1="d", TUNIT2="d")
    np.testing.assert_allclose(read(hdus).intervals, [[START, STOP]])


def test_a_unit_that_is_none_of_time(read):
    with pytest.raises(InputError, match="unit of time"):
        read(retell(listed(), TUNIT1="keV"))


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"TIMEDEL": 8.0}, 8),
        ({"TIMEDEL": None, "FRMTIME": 8000}, 8),
        ({"TIMEDEL": 0.0, "FRAMETIM": 8.0}, 8),
        ({"TIMEDEL": None, "FRAMETIM": (8000.0, "[ms] nominal frame time")}, 8),
        ({"TIMEDEL": None, "EXPTIME": 600.0}, np.nan),  # that of the observation
        ({"TIMEDEL": None}, np.nan),
        ({"TIMEDEL": "none"}, np.nan),
    ],
)
def test_frame_times(cards, expected, read):
    np.testing.assert_allclose(read(listed(**cards)).frame_time, expected)


def test_frame_times_of_missions(read):
    assert read(mission_lists.xmm()).frame_time == pytest.approx(0.073)
    assert read(mission_lists.erosita()).frame_time == pytest.approx(0.05)
    hdus = mission_lists.chandra()
    del hdus["EVENTS"].header["TIMEDEL"]
    hdus["EVENTS"].header["EXPTIME"] = 3.2
    events = read(hdus)
    assert events.frame_time == 3.2
    assert any("EXPTIME" in r for r in events.remarks)


def test_a_frame_time_by_the_columns_is_told(read):
    hdus = mission_lists.sixte()
    events = read(hdus)
    assert events.frame_time == pytest.approx(0.005)
    assert any("by the columns TIME and FRAME" in r for r in events.remarks)
    np.testing.assert_array_equal(events.frame, hdus["EVENTS"].data["FRAME"])
    # Frames that do not go with the times tell none.
    hdus["EVENTS"].data["FRAME"] = np.arange(60)[::-1]
    assert np.isnan(read(hdus).frame_time)


@pytest.mark.parametrize("phase", [0.0, 0.5, 1.0])
def test_frames_are_counted_from_the_stamp_within_a_frame(phase, read):
    number = np.arange(60)
    hdus = listed(TIMEPIXR=phase)
    hdus["EVENTS"].data["TIME"] = START + 8 * (number + phase)
    np.testing.assert_array_equal(read(hdus).frame, number)


def test_an_unsorted_list_is_sorted_and_its_rows_stay_together(read):
    hdus = mission_lists.xmm()
    events = read(hdus)
    e = hdus["EVENTS"].data
    assert (np.diff(events.time) >= 0).all()
    np.testing.assert_allclose(events.energy, (e["PI"][events.order] + 0.5) / 1000)
    assert any("sorted" in r for r in events.remarks)


def test_times_that_are_not_known_do_not_count(read):
    hdus = mission_lists.suzaku()
    hdus["EVENTS"].data["TIME"][4] = np.nan
    events = read(hdus)
    assert np.flatnonzero(events.flag & OUTSIDE).tolist() == [59]
    assert events.order[-1] == 4


@pytest.mark.parametrize(
    ("cards", "date"),
    [
        ({"MJDREF": 50814.0}, "1998-01-01T00:16:40"),
        ({"MJDREF": "5.0814D+04"}, "1998-01-01T00:16:40"),
        ({"MJDREFI": 50814, "MJDREFF": 0.5}, "1998-01-01T12:16:40"),
        ({"MJDREF": 50814.0, "TIMEZERO": -1.0}, "1998-01-01T00:16:39"),
        ({"MJDREF": 50814.0, "TIMEZERO": "-1"}, "1998-01-01T00:16:39"),
        ({"MJDREF": 50814.0, "TIMEUNIT": "d", "TIMEZERO": 1.0}, "1998-01-02T00:16:40"),
        ({"MJDREF": " ", "DATE-OBS": "2019-05-06T07:08:09"}, "2019-05-06T07:08:09"),
        ({"DATE-OBS": "2019-05-06", "TIME-OBS": "07:08:09"}, "2019-05-06T07:08:09"),
        ({"DATE-OBS": "2019-05-06T07:08:09", "TIMEZERO": 5.0}, "2019-05-06T07:08:09"),
        ({"MJD-OBS": 58609.5}, "2019-05-06T12:00:00"),
    ],
)
def test_dates(cards, date):
    header = fits.Header({"TSTART": 1000.0, "TIMESYS": "TT", **cards})
    if "TIMEUNIT" in cards:
        header["TSTART"] = 1000 / DAY
    made = keywords(header, "", np.array([[1000.0, 1500.0]]), 1.0)
    assert made["DATE-OBS"][0].startswith(date)
    assert made["TELAPSE"][0] == 500
    # MJDREF + TIMEZERO + TSTART is that date again.
    again = {name: made[name][0] for name in ("MJDREFI", "MJDREFF", "TIMEZERO", "TIMESYS")}
    same = keywords(fits.Header(again), "", np.array([[1000.0, 1500.0]]), 1.0)
    assert same["DATE-OBS"][0][:19] == date
    assert epoch_known(header)
    assert not epoch_known(fits.Header({"TSTART": 1000.0, "MJDREF": ""}))


@pytest.mark.parametrize(
    ("value", "told"), [("F", False), ("T", True), (False, False), (True, True), ("no", False)]
)
def test_clock_corrections(value, told):
    header = fits.Header({"CLOCKAPP": value})
    assert truth(header, "CLOCKAPP") is told
    assert keywords(header, "", np.empty((0, 2)), 0.0)["CLOCKAPP"][0] is told


def test_cards_that_tell_nothing():
    header = fits.Header({"A": " ", "B": True, "C": "1.5", "D": "x"})
    header["E"] = None
    assert [number(header, k) for k in "ABCDEF"] == [None, None, 1.5, None, None, None]
    assert [truth(header, k) for k in "BDEF"] == [True, None, None, None]
    assert [seconds(u) for u in ("", "s", "sec", "DAYS", "m")] == [1, 1, 1, DAY, None]
