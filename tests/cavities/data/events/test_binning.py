"""Event lists binned, against histograms by numpy and the WCS of the columns by astropy."""

from __future__ import annotations

import gzip
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from fakes.cavity_events import STYLES, fake_events

from physml.cavities.data.events import reading
from physml.cavities.data.events.binning import bin_events
from physml.cavities.data.events.reading import is_event_list
from physml.cavities.data.events.selection import select_events
from physml.exceptions import InputError


@pytest.fixture(scope="module")
def chandra(tmp_path_factory):
    events = fake_events("chandra")
    return events, events.write(tmp_path_factory.mktemp("chandra") / "acis_evt2.fits")


@pytest.fixture(scope="module")
def xmm(tmp_path_factory):
    events = fake_events("xmm")
    return events, events.write(tmp_path_factory.mktemp("xmm") / "mos2.fits")


def chosen(events, low=500, high=7000):
    c = events.columns
    good = np.isin(c["quality"], (0, 2, 3, 4, 6)) if events.style == "chandra" else (
        c["quality"] <= 12
    )  # fmt: skip
    energy = c["energy"] if events.style == "chandra" else np.rint(c["energy"])
    return good & (energy >= low) & (energy <= high)


def by_numpy(events, image, side, keep):
    """Histogram of the events on the image's pixels, by its physical coordinates."""
    x, y = events.columns["x"], events.columns["y"]
    if events.style == "chandra":
        x, y = x.astype(np.float32), y.astype(np.float32)
    else:
        x, y = np.rint(x), np.rint(y)
    low = [(0.5 - image.header[f"LTV{axis}"]) * side for axis in (1, 2)]
    edges = [start + side * np.arange(n + 1) for start, n in zip(low, image.data.shape[::-1],
                                                                 strict=True)]  # fmt: skip
    histogram, _, _ = np.histogram2d(y[keep], x[keep], bins=edges[::-1])
    return histogram


@pytest.mark.parametrize("side", [1, 2, 3])
def test_counts_are_those_of_a_histogram(chandra, side):
    events, path = chandra
    binned = bin_events(path, select_events("500:7000", side))
    keep = chosen(events)
    np.testing.assert_array_equal(binned.image.data, by_numpy(events, binned.image, side, keep))
    assert binned.image.data.sum() == keep.sum()
    text = binned.remarks["which are event lists, binned"]
    assert f"{keep.sum()} of {len(keep)} events of 0.5 to 7 keV" in text
    assert "of bad quality (GRADE 0, 2, 3, 4, 6 kept)" in text


def test_xmm_has_whole_numbers_and_channels(xmm):
    events, path = xmm
    binned = bin_events(path, select_events())
    keep = chosen(events)
    assert 1 / binned.image.header["LTM1_1"] == pytest.approx(80)  # 4 arcsec of 0.05
    np.testing.assert_array_equal(binned.image.data, by_numpy(events, binned.image, 80, keep))
    # Even background falls evenly: no comb of whole numbers against edges.
    columns = bin_events(path, select_events(bin=7)).image.data.sum(axis=0)
    outer = columns[: len(columns) // 3]
    assert outer.std() < 1.3 * np.sqrt(outer.mean())
    with pytest.raises(InputError, match="whole number"):
        bin_events(path, select_events(bin=1.5))


@pytest.mark.parametrize("style", ["chandra", "xmm"])
def test_places_on_the_sky(style, request):
    _, path = request.getfixturevalue(style)
    with fits.open(path) as hdus:
        columns = WCS(hdus[1].header, keysel=["pixel"], colsel=[2, 3])
    image = bin_events(path, select_events()).image
    wcs = WCS(image.header)
    side = 1 / image.header["LTM1_1"]
    pixel = np.array([[0.0, 0.0], [30.0, 100.0], [99.0, 5.0]])
    sky = wcs.wcs_pix2world(pixel, 0)
    low = [(0.5 - image.header[f"LTV{axis}"]) * side for axis in (1, 2)]
    centres = np.array(low) + (pixel + 0.5) * side
    np.testing.assert_allclose(sky, columns.wcs_pix2world(centres, 1), atol=1e-9)
    assert image.header["OBS_ID"] == "12345"


def test_a_list_of_sas_with_its_own_cards(xmm, tmp_path):
    _, path = xmm
    with fits.open(path) as hdus:
        expected = WCS(bin_events(path, select_events()).image.header)
        header = hdus[1].header
        for axis, number in (("X", 2), ("Y", 3)):
            for card in ("CTYP", "CRVL", "CRPX", "CDLT", "CUNI"):
                value = header.pop(f"T{card}{number}")
                header[f"REF{axis}{card}"] = value
        hdus.writeto(tmp_path / "sas.fits")
    found = WCS(bin_events(tmp_path / "sas.fits", select_events()).image.header)
    np.testing.assert_allclose(
        found.wcs_pix2world([[3, 90]], 0), expected.wcs_pix2world([[3, 90]], 0), atol=1e-10
    )


@pytest.mark.parametrize(
    ("band", "low", "high"),
    [("500:2000", 500, 2000), ("0.5-2 keV", 500, 2000), ((2e3, 7e3), 2e3, 7e3)],
)
def test_bands(chandra, band, low, high):
    events, path = chandra
    binned = bin_events(path, select_events(band))
    assert binned.image.data.sum() == chosen(events, low, high).sum()


def test_energies_in_kev_or_without_a_unit(chandra, tmp_path):
    events, _ = chandra
    keep = chosen(events).sum()
    plain = bin_events(events.write(tmp_path / "a.fits", units=False), select_events())
    assert np.nansum(plain.image.data) == keep
    assert any("taken as eV" in text for text in plain.remarks.values())
    hdus = events.hdus()
    hdus["EVENTS"].data["energy"] /= 1e3
    hdus["EVENTS"].columns["energy"].unit = "keV"
    hdus.writeto(tmp_path / "b.fits")
    found = np.nansum(bin_events(tmp_path / "b.fits", select_events()).image.data)
    assert found == pytest.approx(keep, abs=2)  # single precision at the edges
    hdus["EVENTS"].columns["energy"].unit = None
    hdus.writeto(tmp_path / "c.fits")
    bare = bin_events(tmp_path / "c.fits", select_events())
    assert bare.image.data.sum() == pytest.approx(keep, abs=2)
    assert any("taken as keV" in text for text in bare.remarks.values())


def test_chips(chandra):
    events, path = chandra
    keep = chosen(events) & np.isin(events.columns["chip"], (1, 2))
    for chips in ("1,2", "1:2", [1, 2]):
        found = bin_events(path, select_events(chips=chips))
        assert found.image.data.sum() == keep.sum()
    assert "of other chips" in found.remarks["which are event lists, binned"]
    with pytest.raises(InputError, match=r"at least 20 events pass.*found 0 of.*of other chips"):
        bin_events(path, select_events(chips=9))


def test_blocks_give_the_same(chandra, monkeypatch):
    _, path = chandra
    whole = bin_events(path, select_events()).image.data
    monkeypatch.setattr(reading, "BLOCK", 1234)
    np.testing.assert_array_equal(bin_events(path, select_events()).image.data, whole)


@pytest.mark.parametrize("parts", [1, 2])
def test_packed_and_open_lists(chandra, tmp_path, parts):
    _, path = chandra
    raw = path.read_bytes()
    half = len(raw) // 2
    packed = gzip.compress(raw) if parts == 1 else (
        gzip.compress(raw[:half]) + gzip.compress(raw[half:])
    )  # fmt: skip
    (tmp_path / "evt2.fits.gz").write_bytes(packed)
    whole = bin_events(path, select_events()).image.data
    assert is_event_list(tmp_path / "evt2.fits.gz")
    found = bin_events(tmp_path / "evt2.fits.gz", select_events())
    np.testing.assert_array_equal(found.image.data, whole)
    with fits.open(path) as hdus:
        assert is_event_list(hdus)
        np.testing.assert_array_equal(bin_events(hdus, select_events()).image.data, whole)
    (tmp_path / "cut.fits.gz").write_bytes(packed[:-50_000])
    with pytest.raises(InputError, match=r"cut\.fits\.gz"):
        bin_events(tmp_path / "cut.fits.gz", select_events())


def test_a_column_without_a_name_is_refused(chandra, tmp_path):
    _, path = chandra
    raw = path.read_bytes()
    first = raw.index(b"TTYPE")
    number = raw[first + 5 : first + 6]
    (tmp_path / "nameless.fits").write_bytes(
        raw.replace(b"TTYPE" + number + b" ", b"TTYP_" + number + b" ", 1)
    )
    with pytest.raises(InputError, match=r"nameless\.fits: expected a name and a format"):
        bin_events(tmp_path / "nameless.fits", select_events())


def test_a_packed_header_that_claims_endless_axes_is_no_list(tmp_path):
    cards = ("SIMPLE  =                    T", "BITPIX  =                    8")
    cards = (*cards, "NAXIS   =           2147483647", "END")
    raw = "".join(f"{card:<80}" for card in cards).ljust(2880).encode()
    (tmp_path / "endless.fits.gz").write_bytes(gzip.compress(raw))
    began = time.process_time()
    assert not is_event_list(tmp_path / "endless.fits.gz")
    assert time.process_time() - began < 5


def test_scaled_columns(chandra, tmp_path):
    """Positions as unsigned or scaled whole numbers, and bits as STATUS."""
    x = np.random.default_rng(1).integers(30_000, 60_000, 500).astype(np.uint16)
    columns = [
        fits.Column("X", "I", bzero=32768, array=x),
        fits.Column("Y", "I", array=(x // 4).astype(np.int16)),
        fits.Column("STATUS", "32X", array=np.arange(500)[:, None] % 7 == np.arange(32)),
        fits.Column("GRADE", "I", array=np.zeros(500)),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    table.header.update(TELESCOP="CHANDRA", INSTRUME="ACIS", CONTENT="EVT1")
    path = tmp_path / "evt1.fits"

    def write():
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)
        for card, value in (("TSCAL2", 2.0), ("TZERO2", 100.0)):
            fits.setval(path, card, value=value, ext=1)

    write()
    with pytest.raises(InputError, match="500 of bad quality"):
        bin_events(path, select_events())
    del table.header["CONTENT"]
    write()
    image = bin_events(path, select_events(bin=100)).image
    with fits.open(path) as hdus:
        same = bin_events(hdus, select_events(bin=100)).image
    low = [(0.5 - image.header[f"LTV{k}"]) * 100 for k in (1, 2)]
    edges = [a + 100 * np.arange(n + 1) for a, n in zip(low, image.data.shape[::-1], strict=True)]
    expected, _, _ = np.histogram2d(x // 4 * 2.0 + 100, x.astype(float), bins=edges[::-1])
    np.testing.assert_array_equal(image.data, expected)
    np.testing.assert_array_equal(same.data, expected)


def test_what_is_an_event_list(chandra, tmp_path):
    _, path = chandra
    assert is_event_list(path)
    assert is_event_list(path, "EVENTS")
    assert is_event_list(path, 1)
    assert not is_event_list(path, "GTI")
    image = fits.HDUList([fits.PrimaryHDU(np.ones((9, 9))), *fits.open(path)[1:]])
    image.writeto(tmp_path / "both.fits")
    assert not is_event_list(tmp_path / "both.fits")
    assert is_event_list(tmp_path / "both.fits", "EVENTS")
    (tmp_path / "text.fits").write_text("no list")
    for other in (tmp_path / "text.fits", tmp_path / "none.fits", np.ones((3, 3)), None):
        assert not is_event_list(other)


@pytest.mark.parametrize("damage", ["truncated", "vector", "text", "infinite", "empty"])
def test_damaged_lists(chandra, tmp_path, damage):
    events, path = chandra
    other = tmp_path / "evt.fits"
    if damage == "truncated":
        other.write_bytes(path.read_bytes()[:200_000])
    elif damage in ("vector", "text"):
        kind = {"vector": ("2E", np.ones((5, 2))), "text": ("4A", ["a"] * 5)}[damage]
        columns = [
            fits.Column("X", kind[0], array=kind[1]),
            fits.Column("Y", "E", array=np.ones(5)),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="EVENTS")
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(other)
    else:
        hdus = events.hdus()
        if damage == "infinite":
            hdus["EVENTS"].data["x"] = np.nan
        else:
            hdus["EVENTS"].data = hdus["EVENTS"].data[:0]
        hdus.writeto(other)
    with pytest.raises(InputError, match=r"evt\.fits"):
        bin_events(other, select_events())


def test_pixels_that_are_too_small_or_lists_that_are_small(chandra, tmp_path):
    _, path = chandra
    with pytest.raises(InputError, match="larger bin"):
        bin_events(path, select_events(bin=0.02))
    few = fake_events("chandra", number=160, half=40.0)
    image = bin_events(few.write(tmp_path / "few.fits"), select_events())
    image.cut_field()
    assert min(image.image.data.shape) >= 128
    assert any("too few events" in text for text in image.remarks.values())
    centre = STYLES["chandra"]["centre"]
    x = centre * image.image.header["LTM1_1"] + image.image.header["LTV1"]
    assert abs(x - image.image.data.shape[1] / 2) < 25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"band": "soft"}, "band=.*soft"),
        ({"band": "7000:500"}, "lower and a higher"),
        ({"band": "0.5:7"}, "0.5:7keV"),
        ({"band": 5}, "band="),
        ({"bin": 0}, "bin="),
        ({"bin": "two"}, "bin="),
        ({"chips": "all"}, "chips="),
        ({"chips": ""}, "chips="),
        ({"chips": []}, "chips="),
    ],
)
def test_selections_that_cannot_be_read(arguments, message):
    with pytest.raises(InputError, match=message):
        select_events(**arguments)


def test_the_case_of_an_event_list(shared_data):
    path = shared_data.parent / "cases" / "cavities" / "events.fits"
    binned = bin_events(path, select_events())
    with fits.open(path) as hdus:
        energy = hdus[1].data["energy"]
    assert np.nansum(binned.image.data) == ((energy >= 500) & (energy <= 7000)).sum()
    assert any("no unit" in text for text in binned.remarks.values())
