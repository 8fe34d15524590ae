"""Good time intervals and the field of view of event lists whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from fakes.cavity_events import fake_events
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.cavities.data.events.binning import bin_events
from physml.cavities.data.events.field import find_field
from physml.cavities.data.events.good_times import intersect, merge, read_good_times
from physml.cavities.data.events.reading import open_events
from physml.cavities.data.events.selection import select_events
from physml.exceptions import InputError


def inside(time, intervals):
    return np.any([(time >= a) & (time <= b) for a, b in intervals], axis=0)


def gti(name, intervals, **cards):
    start, stop = np.transpose(np.reshape(intervals, (-1, 2)))
    columns = [fits.Column("START", "D", array=start), fits.Column("STOP", "D", array=stop)]
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    hdu.header.update(cards)
    return hdu


def kept(tmp_path, events, tables):
    """Number of events binned with these tables of good times."""
    hdus = events.hdus()
    fits.HDUList([*hdus[:2], *tables]).writeto(tmp_path / "evt.fits", overwrite=True)
    binned = bin_events(tmp_path / "evt.fits", select_events("1:100000"))
    return int(binned.image.data.sum()), binned.remarks


@pytest.fixture(scope="module")
def events():
    made = fake_events("xmm", number=8000)
    made.columns["quality"][:] = 0
    return made


ONE, TWO = [(100, 300), (250, 400), (600, 700)], [(350, 650)]


def test_one_table(events, tmp_path):
    number, remarks = kept(tmp_path, events, [gti("GTI", ONE)])
    assert number == inside(events.columns["time"], ONE).sum()
    assert remarks["of whose events the good times are kept"] == "good times of GTI: 400 s"


def test_tables_of_one_kind_are_of_several_observations(events, tmp_path):
    number, _ = kept(tmp_path, events, [gti("GTI", ONE), gti("GTI", TWO)])
    assert number == inside(events.columns["time"], ONE + TWO).sum()


def test_filters_that_hold_together(events, tmp_path):
    """XMM's standard good times and those of a flare filter."""
    number, _ = kept(tmp_path, events, [gti("STDGTI", ONE), gti("GTI", TWO)])
    time = events.columns["time"]
    assert number == (inside(time, ONE) & inside(time, TWO)).sum()


@pytest.mark.parametrize("form", ["name", "card"])
def test_each_chip_has_its_own(events, tmp_path, form):
    time, chip = events.columns["time"], events.columns["chip"]
    of_chip = {1: [(0, 500)], 2: [(100, 200)], 3: [(400, 900)], 4: [(0, 1000)]}
    tables = [
        gti(f"STDGTI{c:02d}", of_chip[c]) if form == "name" else gti("GTI", of_chip[c], CCDNR=c)
        for c in of_chip
    ]
    expected = np.zeros(len(time), bool)
    for c, intervals in of_chip.items():
        expected |= (chip == c) & inside(time, intervals)
    number, _ = kept(tmp_path, events, tables)
    assert number == expected.sum()
    # A filter of all chips, and SAS's filtered tables of each.
    both = [*tables, gti("GTI00101", [(300, 400)])] if form == "name" else (
        [*tables, gti("STDGTI", [(300, 400)])]
    )  # fmt: skip
    number, _ = kept(tmp_path, events, both)
    later = (chip != 1) if form == "name" else np.zeros(len(time), bool)
    assert number == (expected & (later | inside(time, [(300, 400)]))).sum()


def test_no_table_is_said(events, tmp_path):
    number, remarks = kept(tmp_path, events, [])
    assert number == len(events.columns["time"])
    assert any("no good time intervals" in text for text in remarks.values())


def test_tables_that_are_none(events, tmp_path):
    with pytest.raises(InputError, match="end after they begin"):
        kept(tmp_path, events, [gti("GTI", [(5, 1)])])
    bad = fits.BinTableHDU.from_columns([fits.Column("T", "D", array=[1.0])], name="GTI")
    with pytest.raises(InputError, match="START and STOP"):
        kept(tmp_path, events, [bad])


_INTERVALS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda p: (p[0], p[0] + p[1])), max_size=8
)


@given(_INTERVALS, _INTERVALS)
@settings(max_examples=60, deadline=None)
def test_union_and_intersection_of_intervals(a, b):
    a, b = (np.array(one, float).reshape(-1, 2) for one in (a, b))
    times = np.arange(0, 90, 0.25) + 0.125  # never on an edge
    both = intersect(merge(a), merge(b))
    united = merge(np.concatenate([a, b]))
    in_a, in_b = (inside(times, one) if len(one) else np.zeros(len(times), bool) for one in (a, b))
    found = inside(times, both) if len(both) else np.zeros(len(times), bool)
    np.testing.assert_array_equal(found, in_a & in_b)
    found = inside(times, united) if len(united) else np.zeros(len(times), bool)
    np.testing.assert_array_equal(found, in_a | in_b)
    assert (np.diff(united.ravel()) >= 0).all()


def shapes():
    Y, X = np.indices((300, 320))
    turned = np.abs((X - 160) * 0.8 + (Y - 150) * 0.6), np.abs((Y - 150) * 0.8 - (X - 160) * 0.6)
    return {
        "all": np.ones((300, 320), bool),
        "round": (X - 170) ** 2 + (Y - 150) ** 2 < 130**2,
        "turned square": (turned[0] < 110) & (turned[1] < 110),
        "two chips": (np.abs(turned[0] - 60) < 50) & (turned[1] < 110),
    }


@pytest.mark.parametrize("rate", [0.15, 1.0, 6.0])
@pytest.mark.parametrize("name", list(shapes()))
def test_the_field_is_found(name, rate):
    """Most of what was observed is kept, and hardly anything beside it."""
    rng = np.random.default_rng(8)
    truth = shapes()[name]
    Y, X = np.indices(truth.shape)
    cluster = 40 * (1 + ((X - 160) ** 2 + (Y - 150) ** 2) / 15**2) ** -1.5
    found, side = find_field(rng.poisson((rate + cluster) * truth))
    assert side <= 16
    assert (found & truth).sum() > 0.93 * truth.sum()
    assert (found & ~truth).sum() < (0.06 if name != "two chips" else 0.1) * truth.sum()


def test_a_dead_column_is_not_filled_up():
    rng = np.random.default_rng(8)
    counts = rng.poisson(20.0, (200, 200))
    counts[:, 90:93] = 0
    counts[40, 40] = 0
    found, side = find_field(counts)
    assert side == 1
    assert not found[:, 90:93].any()
    assert found[:, :89].sum() >= found[:, :89].size - 1


def test_too_few_events_tell_nothing():
    counts = np.zeros((200, 200), int)
    counts[np.random.default_rng(1).integers(0, 200, (2, 60))] = 1
    assert find_field(np.zeros((200, 200), int)) is None
    rng = np.random.default_rng(1)
    assert find_field(rng.poisson(0.001, (200, 200))) is None


def test_the_image_is_undefined_outside_of_the_field(tmp_path):
    events = fake_events("chandra", number=60_000)
    # The field of the list is a square; a stray event beyond it stretches the image.
    events.columns["x"][0] = events.columns["x"].max() + 150
    events.columns["energy"][0], events.columns["quality"][0] = 1000.0, 0
    path = events.write(tmp_path / "evt2.fits")
    binned = bin_events(path, select_events(bin=2))
    bare = binned.image.data.copy()
    binned.cut_field()
    data = binned.image.data
    width = int(2 * events.half / 2)
    assert np.isfinite(data).sum() == pytest.approx(width**2, rel=0.05)
    assert np.isnan(data[:, -40:]).all()
    assert "taken as flat" in " ".join(binned.remarks.values())
    np.testing.assert_array_equal(data[np.isfinite(data)], bare[np.isfinite(data)])


def test_good_times_without_a_chip_column(tmp_path):
    events = fake_events("xmm", number=300)
    hdus = events.hdus(gti=((0.0, 100.0),))
    hdus["GTI"].name = "STDGTI01"
    columns = hdus["EVENTS"].columns
    columns.del_col("CCDNR")
    table = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    fits.HDUList([fits.PrimaryHDU(), table, hdus["STDGTI01"]]).writeto(tmp_path / "e.fits")
    with open_events(tmp_path / "e.fits") as opened:
        times = read_good_times(opened)
    np.testing.assert_array_equal(times.common, [[0.0, 100.0]])
    assert times.of_chip == {}
    assert times.seconds == 100
