"""Event lists of missions: energies, grades, flags and good times are what the mission means."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from fakes import mission_lists
from fakes.mission_lists import START, STOP, good_times, place, retell, table, write

from physml.background.data.event_list import (
    BAD_GRADE,
    ISLAND,
    LEFT_OUT,
    MISSION,
    NO_ENERGY,
    OUTSIDE,
    load_events,
)
from physml.background.data.missions import islands
from physml.background.data.missions.grades import PATTERN_GRADE
from physml.exceptions import InputError


@pytest.fixture
def read(tmp_path):
    def load(hdus, **options):
        return load_events(write(tmp_path / "list.fits", hdus), **options)

    return load


def flagged(events, bit):
    """Rows of the file that have a bit of FLAG."""
    rows = np.flatnonzero(events.flag & bit)
    return sorted(rows if events.order is None else events.order[rows])


@pytest.mark.parametrize(
    ("mission", "energy"),
    [
        ("chandra", lambda e: e["energy"] / 1000),
        ("xmm", lambda e: (e["PI"] + 0.5) / 1000),
        ("swift", lambda e: np.where(e["PI"] < 0, np.nan, (e["PI"] + 0.5) / 100)),
        ("nustar", lambda e: 1.62 + 0.04 * e["PI"]),
        ("suzaku", lambda e: 3.65e-3 * (e["PI"] + 0.5)),
        ("erosita", lambda e: e["PI"] / 1000),
        ("sixte", lambda e: e["SIGNAL"]),
    ],
)
def test_energies(mission, energy, read):
    hdus = mission_lists.MISSIONS[mission]()
    events = read(hdus)
    data = hdus["EVENTS"].data
    data = data[np.argsort(data["TIME"], kind="stable")]
    np.testing.assert_allclose(events.energy, energy(data), rtol=1e-6)


@pytest.mark.parametrize(
    ("mission", "channels"),
    [("chandra", (1, 1024)), ("xmm", (0, 20479)), ("swift", (0, 1023)), ("nustar", (0, 4095)),
     ("suzaku", (0, 4095)), ("erosita", None), ("sixte", None)],
)  # fmt: skip
def test_channels(mission, channels, read):
    assert read(mission_lists.MISSIONS[mission]()).channels == channels


@pytest.mark.parametrize("name", ["chandra", "swift", "nustar", "suzaku"])
def test_channels_of_an_instrument_do_not_hang_on_limits_in_the_file(name, read):
    hdus = mission_lists.MISSIONS[name]()
    before = read(hdus).channels
    for card in [c for c in hdus["EVENTS"].header if c.startswith(("TLMIN", "TLMAX"))]:
        del hdus["EVENTS"].header[card]
    assert read(hdus).channels == before


#: Published shapes: pattern by pattern, the pixel beside the brightest one.
EPIC = {0: 0, 1: 2, 2: 4, 3: 2, 4: 3, **dict.fromkeys(range(5, 13), 6)}


def test_grades_of_epic_and_of_those_that_follow_it(read):
    events = read(mission_lists.xmm())
    pattern = np.asarray(mission_lists.xmm()["EVENTS"].data["PATTERN"]).astype(int)[events.order]
    np.testing.assert_array_equal(events.grade, [EPIC.get(p, 7) for p in pattern])
    np.testing.assert_array_equal(events.pattern, np.where(pattern < 13, pattern, -1))
    assert {40, 128, 205} <= set(pattern)
    for mission, name in (("swift", "GRADE"), ("nustar", "GRADE"), ("sixte", "TYPE")):
        hdus = mission_lists.MISSIONS[mission]()
        given = hdus["EVENTS"].data[name]
        np.testing.assert_array_equal(read(hdus).grade, [EPIC.get(int(p), 7) for p in given])
    assert dict(enumerate(PATTERN_GRADE)) == EPIC


def test_grades_of_windowed_timing(read):
    """One row: single, then the pixel to the right, then that to the left."""
    events = read(mission_lists.swift(mode="WINDOWED"))
    np.testing.assert_array_equal(events.grade[:5], [0, 4, 3, 7, 7])
    assert (events.pattern == -1).all()


@pytest.mark.parametrize("mission", ["chandra", "suzaku"])
def test_grades_of_asca_stay(mission, read):
    events = read(mission_lists.MISSIONS[mission]())
    np.testing.assert_array_equal(events.grade, np.arange(60) % 8)
    np.testing.assert_array_equal(events.flag & BAD_GRADE > 0, np.isin(events.grade, (1, 5, 7)))


def test_grades_of_erosita_are_numbers_of_pixels(read):
    hdus = mission_lists.erosita()
    expected = [{1: 0, 2: 2, 3: 6, 4: 6}.get(int(p), 7) for p in hdus["EVENTS"].data["PAT_TYP"]]
    np.testing.assert_array_equal(read(hdus).grade, expected)


@pytest.mark.parametrize(
    ("mission", "rows"),
    [
        ("chandra", [3]),
        ("xmm", [0, 1, 2, 3, 4]),
        ("swift", [4, 5]),
        ("nustar", [1, 2]),  # others have bits that do not matter
        ("suzaku", [3, 9]),  # bits from 2^19 on
        ("erosita", [0, 1, 5, 6]),  # a bit of trouble; no main pixel; no valid pattern
        ("sixte", []),
    ],
)
def test_events_that_the_mission_marks(mission, rows, read):
    assert flagged(read(mission_lists.MISSIONS[mission]()), MISSION) == rows


def test_status_of_an_unknown_mission_counts_as_well(read):
    hdus = mission_lists.suzaku()
    hdus["EVENTS"].header["TELESCOP"] = "NEW"
    status = hdus["EVENTS"].data["STATUS"]
    events = read(hdus, channel=0.00365)
    assert flagged(events, MISSION) == np.flatnonzero(status).tolist()


def test_rows_without_a_channel_are_named_and_do_not_count(read):
    events = read(mission_lists.swift())
    assert flagged(events, NO_ENERGY) == [7]
    assert any("no energy" in r and "row 8" in r for r in events.remarks)


def test_values_outside_of_the_legal_range_are_none(read):
    hdus = mission_lists.swift()
    hdus["EVENTS"].data["PI"][[11, 12]] = 1024, 1023
    assert flagged(read(hdus), NO_ENERGY) == [7, 11]


def test_good_times_of_each_chip(read):
    """Chip 0 of the ACIS list has none from 1300 to 1310 s; FLAREGTI is no condition."""
    hdus = mission_lists.chandra()
    events = read(hdus)
    e = hdus["EVENTS"].data
    lost = np.flatnonzero((e["ccd_id"] == 0) & (e["time"] > 1300) & (e["time"] < 1310))
    assert len(lost) > 0
    assert flagged(events, OUTSIDE) == lost.tolist()
    np.testing.assert_allclose(events.intervals, [[START, STOP]])
    events = read(mission_lists.erosita())
    e = mission_lists.erosita()["EVENTS"].data
    early = np.flatnonzero((e["TM_NR"] == 2) & (e["TIME"] < 1100))
    assert flagged(events, OUTSIDE) == early.tolist()


def test_good_times_of_two_kinds_hold_together(read):
    """Those of the standard processing and those of a later filter (SAS: GTI00003)."""
    hdus = mission_lists.xmm()
    hdus.append(good_times("GTI00103", (1200.0, 1500.0)))
    events = read(hdus)
    e = hdus["EVENTS"].data
    begin = {1: START, 2: 1020.0, 3: 1200.0}
    end = {1: STOP, 2: STOP, 3: 1500.0}
    inside = [begin[c] <= t <= end[c] for t, c in zip(e["TIME"], e["CCDNR"], strict=True)]
    assert flagged(events, OUTSIDE) == np.flatnonzero(~np.array(inside)).tolist()


def test_tables_of_other_times_are_no_good_times(read):
    hdus = mission_lists.suzaku()
    hdus.append(good_times("GTILOST", (START, 1001.0)))
    np.testing.assert_allclose(read(hdus).intervals, [[START, STOP]])
    hdus = mission_lists.suzaku()
    hdus["GTI"].name = "GTIEVENT"
    np.testing.assert_allclose(read(hdus).intervals, [[START, STOP]])


def test_a_second_table_of_events_is_told(read):
    hdus = mission_lists.suzaku()
    hdus.append(hdus["EVENTS"].copy())
    events = read(hdus)
    assert len(events) == 60
    assert any("other tables EVENTS" in text for text in events.remarks)


def test_one_table_holds_for_all_chips_whatever_it_names(read):
    hdus = mission_lists.chandra()
    del hdus[2:]
    hdus.append(good_times("GTI", (START, 1200.0), CCD_ID=7))
    events = read(hdus)
    late = np.flatnonzero(hdus["EVENTS"].data["time"] > 1200)
    assert flagged(events, OUTSIDE) == late.tolist()
    assert events.live_time == pytest.approx(200 * 0.9874)


def test_outer_pixels_of_very_faint_mode(read):
    events = read(mission_lists.chandra(outer=(2, 20, 41)))
    assert flagged(events, ISLAND) == [2, 20, 41]
    assert events.islands
    assert not events.flag[2] & LEFT_OUT
    assert not read(mission_lists.suzaku()).islands


def test_outer_pixels_are_the_border_and_the_split_threshold_is_that_of_acis():
    header = fits.Header({"INSTRUME": "ACIS"})
    one = np.zeros((26, 5, 5), "i2")
    one[np.arange(25), np.arange(25) // 5, np.arange(25) % 5] = 14
    one[25, 0, 0] = 13  # not above it
    border = islands.outer_charge(one, header)
    inner = [6, 7, 8, 11, 12, 13, 16, 17, 18]
    assert np.flatnonzero(~border).tolist() == [*inner, 25]
    np.testing.assert_array_equal(islands.outer_charge(one.reshape(26, 25), header), border)
    assert islands.outer_charge(one[:, 1:4, 1:4], header) is None
    assert islands.outer_charge(one, fits.Header({"INSTRUME": "XIS0"})) is None


def test_a_bright_source_is_told_where_islands_would_be_cut(read):
    hdus = mission_lists.chandra()
    assert not any("pile up" in r for r in read(hdus).remarks)
    hdus["EVENTS"].data["x"][:40], hdus["EVENTS"].data["y"][:40] = 4000.2, 4100.7
    assert any("pile up" in r for r in read(hdus).remarks)
    # 60 events a second would be 0.08 in a frame of 3.2 s from 15 events on.
    hdus["EVENTS"].data["x"][:30] = np.linspace(3500, 3900, 30)
    assert not any("pile up" in r for r in read(hdus).remarks)


@pytest.mark.parametrize(
    ("unit", "factor"), [("eV", 1), ("EV", 1), ("keV", 1e-3), ("KeV", 1e-3), ("KEV", 1e-3)]
)
def test_the_unit_of_a_column_decides(unit, factor, read):
    hdus = mission_lists.chandra()
    expected = np.array(hdus["EVENTS"].data["energy"]) / 1000
    hdus["EVENTS"].data["energy"] *= factor
    np.testing.assert_allclose(read(with_unit(hdus, "ENERGY", unit)).energy, expected, rtol=1e-5)


def with_unit(hdus, name, unit):
    return retell(hdus, **{f"TUNIT{place(hdus, name)}": unit})


def test_a_width_that_contradicts_the_unit_is_refused(read):
    with pytest.raises(InputError, match="PI in eV"):
        read(mission_lists.erosita(), channel=0.01)
    with pytest.raises(InputError, match="PI in keV"):
        read(mission_lists.sixte(), channel=0.01)
    with pytest.raises(InputError, match="ENERGY in eV"):
        read(mission_lists.chandra(), channel=0.01)


def test_a_width_other_than_the_known_one_is_told(read):
    events = read(mission_lists.swift(), channel=0.02)
    assert any("those of Swift XRT are 0.01" in r for r in events.remarks)
    given = mission_lists.swift()["EVENTS"].data["PI"]
    np.testing.assert_allclose(events.energy[8:], 0.02 * (given[8:] + 0.5))
    assert not any("as told" in r for r in read(mission_lists.swift(), channel=0.01).remarks)


def test_pulse_heights_are_no_energies_without_a_gain(read):
    hdus = with_unit(mission_lists.swift(), "PI", "ADU")
    with pytest.raises(InputError, match="ADU"):
        read(hdus)
    assert np.nanmedian(read(hdus, channel=0.01).energy) > 0.3
    for unit in ("erg", "MeV", "m"):
        with pytest.raises(InputError, match=f"the unit '{unit}'"):
            read(with_unit(mission_lists.chandra(), "ENERGY", unit))


def test_energies_in_pulse_heights_give_way_to_channels(read):
    hdus = with_unit(mission_lists.chandra(), "ENERGY", "adu")
    pi = hdus["EVENTS"].data["pi"]
    np.testing.assert_allclose(read(hdus).energy, 0.0146 * (pi - 0.5), rtol=1e-6)


def test_integers_with_scale_and_null(read):
    """TSCAL, TZERO and TNULL go together: the null is that of the stored numbers."""
    hdus = mission_lists.swift()
    k, stored = place(hdus, "PI"), np.arange(60) + 100
    hdus["EVENTS"].data["PI"] = stored
    events = read(retell(hdus, **{f"TSCAL{k}": 2.0, f"TZERO{k}": 40.0, f"TNULL{k}": 103}))
    assert flagged(events, NO_ENERGY) == [3]
    np.testing.assert_allclose(events.energy[4:], 0.01 * (2 * stored[4:] + 40))


def test_a_list_without_events_is_one_with_exposure(read):
    for make in (mission_lists.chandra, mission_lists.sixte, mission_lists.erosita):
        hdus = make()
        hdus["EVENTS"].data = hdus["EVENTS"].data[:0]
        events = read(hdus)
        assert len(events) == 0
        assert events.live_time == pytest.approx(592.44 if make is mission_lists.chandra else 600)


def test_a_list_with_nothing_to_tell_a_shape_by(read):
    hdus = mission_lists.suzaku()
    columns = [c for c in hdus["EVENTS"].columns if c.name != "GRADE"]
    hdu = table(columns, TELESCOP="SUZAKU", INSTRUME="XIS0")
    with pytest.raises(InputError, match="GRADE or PATTERN"):
        read(fits.HDUList([fits.PrimaryHDU(), hdu, hdus["GTI"]]))


@pytest.mark.parametrize("name", ["EVENTS", "events", "XTI"])
def test_the_extension_is_found_by_name_or_class(name, read):
    hdus = mission_lists.suzaku()
    hdus[1].name = name
    hdus[1].header["EXTNAME"] = name
    hdus[1].header["HDUCLAS1"] = "EVENTS"
    assert len(read(hdus)) == 60
