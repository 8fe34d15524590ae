"""Times that files tell of their frames, by whatever names and in whatever units."""

from __future__ import annotations

import pytest
from astropy.io.fits import Header
from astropy.time import Time

from physml.background.data.times import TIMED, epoch_cards, from_headers, from_values, told_times


def told(*cards, frames=8):
    header = Header()
    for card in cards:
        header[card[0]] = card[1:] if len(card) > 2 else card[1]
    return told_times(from_headers([header]), frames)


@pytest.mark.parametrize(
    ("cards", "step"),
    [
        ([("FRAMETIM", 50.0, "[ms] nominal frame time")], 0.05),
        ([("FRAMETIM", 50.0, "frame time in ms")], 0.05),
        ([("FRAMETIM", 80.0, "(us) frame time")], 8e-5),
        ([("FRAMTIME", 3.2, "nominal frame time")], 3.2),
        ([("FRAMETIM", "50 ms")], 0.05),
        ([("TIMEDEL", 5), ("TIMEUNIT", "ms")], 0.005),
        ([("TIMEDEL", 1e-4), ("TIMEUNIT", "d")], 8.64),
        ([("TIMEDEL", 3.2), ("TIMEUNIT", "s")], 3.2),
        ([("EXPTIME", 3.2)], 3.2),
        ([("EXPTIME", 3200.0, "[ms] exposure")], 3.2),
        ([("FRMTIME", 73)], 0.073),
        ([("INTTIME", 2.5)], 2.5),
        ([("FRAMERATE", 20.0, "[Hz]")], 0.05),
        ([("EXPOSURE", 25.6)], 3.2),
        ([("LIVETIME", 25.6)], 3.2),
        ([("TSTART", 100.0), ("TSTOP", 100.4)], 0.05),
        ([("TSTART", 0.001), ("TSTOP", 0.002), ("TIMEUNIT", "d")], 10.8),
        ([("FRAMETIM", 3.24), ("EXPTIME", 3.2)], 3.24),
    ],
)
def test_the_frame_time_in_seconds(cards, step):
    found = told(*cards)
    assert found.frame_time == pytest.approx(step)
    assert any(what == "frame time" for what, _ in found.said)


def test_what_is_shared_out_or_meant_otherwise_is_an_assumption():
    assert "all 8 frames" in told(("EXPOSURE", 25.6)).assumed[0]
    assert "TSTOP - TSTART" in told(("TSTART", 0.0), ("TSTOP", 8.0)).assumed[0]
    assert told(("EXPTIME", 3.2)).assumed == ()
    assert "furlong" in told(("EXPTIME", 3.2, "[furlong] how long")).assumed[0]
    twice = told(("FRAMETIM", 50.0, "[ms]"), ("TIMEDEL", 0.04))
    assert twice.frame_time == 0.05
    assert "not TIMEDEL 0.04 s" in twice.assumed[0]


@pytest.mark.parametrize("value", [0, -3.2, "soon", "1.2.3", "1e999", True, "", 1e300])
def test_what_is_no_time_is_not_used(value):
    assert told(("EXPTIME", value)).frame_time is None


@pytest.mark.parametrize(
    ("cards", "share"),
    [
        ([("FRAMETIM", 3.24), ("EXPTIME", 3.2)], 3.2 / 3.24),
        ([("TIMEDEL", 0.05), ("LIVETIME", 0.39)], 0.975),
        ([("TIMEDEL", 0.05), ("EXPOSURE", 0.4)], 1.0),
        ([("TIMEDEL", 0.05), ("EXPOSURE", 0.045)], 0.9),
        ([("TIMEDEL", 0.05), ("EXPOSURE", 40.0)], 1.0),
        ([("TIMEDEL", 0.05), ("EXPTIME", 0.4)], 1.0),
    ],
)
def test_the_share_of_a_frame_that_is_exposed(cards, share):
    assert told(*cards).live_share == pytest.approx(share)


def test_more_live_time_than_there_are_frames_is_said():
    assert "more than 8 frames" in told(("TIMEDEL", 0.05), ("LIVETIME", 40.0)).assumed[0]


@pytest.mark.parametrize(
    ("cards", "date"),
    [
        ([("DATE-OBS", "2019-05-01T10:00:00")], "2019-05-01T10:00:00"),
        ([("DATE-OBS", "2019-05-01T10:00:00Z")], "2019-05-01T10:00:00"),
        ([("DATE-OBS", "2019-05-01"), ("TIME-OBS", "10:00:00.5")], "2019-05-01T10:00:00.5"),
        ([("DATE-OBS", "2019-05-01 10:00:00")], "2019-05-01T10:00:00"),
        ([("DATE-OBS", "01/05/98")], "1998-05-01T00:00:00"),
        ([("MJD-OBS", 58604.25)], "2019-05-01T06:00:00"),
        ([("DATE-OBS", ""), ("MJD-OBS", 58604.25)], "2019-05-01T06:00:00"),
    ],
)
def test_the_date_becomes_the_reference_of_times(cards, date):
    cards_out = epoch_cards(told(*cards), {})
    mjd = cards_out["MJDREFI"] + cards_out["MJDREFF"]
    assert cards_out["TIMESYS"] == "UTC"
    assert mjd == pytest.approx(Time(date, scale="utc").mjd, abs=1e-9)


def test_a_date_is_that_of_tstart_and_in_the_header_s_own_scale():
    found = told(("DATE-OBS", "2019-05-01T10:00:00"), ("TSTART", 3600.0), ("TIMESYS", "TT"))
    cards = epoch_cards(found, {})
    assert cards["TIMESYS"] == "TT"
    assert cards["MJDREFI"] + cards["MJDREFF"] == pytest.approx(58604 + 9 / 24, abs=1e-9)
    assert epoch_cards(found, {"MJDREF": 50814.0}) == {}


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ({"frame_time": (3.2, "")}, 3.2),
        ({"frame_time": (3200, "ms")}, 3.2),
        ({"frame_time_ms": (50, "")}, 0.05),
        ({"exposure_time": (3.2, "")}, 3.2),
        ({"exposure": (3.2, "")}, 3.2),
        ({"count_time": (0.5, "s")}, 0.5),
        ({"frame_time": (0.05, ""), "exposure": (0.4, "")}, 0.05),
    ],
)
def test_names_of_other_formats(values, step):
    found = told_times(from_values(values, TIMED), 8, each=True)
    assert found.frame_time == pytest.approx(step)
    assert found.live_share == 1.0
    assert len(found.assumed) == (list(values) == ["exposure"])
