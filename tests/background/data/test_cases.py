"""Event lists of missions that were read wrongly or refused once, each with what is right."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from fakes.background_detector import RuleDetector, quick_figure

from physml.background.predict import BackgroundPredictor
from physml.exceptions import InputError

EXPOSURE = 987.4


@pytest.fixture(scope="module")
def cases(shared_data):
    folder = shared_data.parent / "cases" / "background"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}")
    return folder


@pytest.fixture(scope="module")
def clean(cases, tmp_path_factory):
    """Predict for a case, once, and open what was written: events, kept spectrum, result."""
    made = {}

    def run(name):
        if name not in made:
            result = BackgroundPredictor(RuleDetector()).predict(cases / f"{name}.fits")
            folder = tmp_path_factory.mktemp(name)
            result.write_into(folder, {})
            made[name] = (
                opened(folder / "events.fits"),
                opened(folder / "spectrum_kept.pha")[1],
                result,
            )
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        quick_figure(patch)
        yield run


def opened(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # wrong checksums are warnings
        return fits.open(io.BytesIO(path.read_bytes()), checksum=True)


def given(cases, name):
    return opened(cases / f"{name}.fits")


def assert_own(before, after):
    """All columns, cards and extensions of a list are in another one, as they were."""
    order = np.argsort(before["EVENTS"].data.field("TIME"), kind="stable")
    for k, name in enumerate(before["EVENTS"].columns.names, start=1):
        was, now = before["EVENTS"].data[name][order], after["EVENTS"].data[name]
        np.testing.assert_array_equal(was, now, err_msg=name)
        for root in ("TTYPE", "TFORM", "TDIM", "TNULL", "TSCAL", "TZERO"):
            assert before["EVENTS"].header.get(f"{root}{k}") == after["EVENTS"].header.get(
                f"{root}{k}"
            )
    assert [h.name for h in before[2:]] == [h.name for h in after[2 : len(before)]]
    for was, now in zip(before[2:], after[2 : len(before)], strict=True):
        assert was.header.tostring() == now.header.tostring()
        assert was.data.tobytes() == now.data.tobytes()


@pytest.mark.parametrize(
    ("name", "n", "kept", "exposure"),
    [
        # 30 have STATUS set, 17 lie outside of the good times of their chips, one of them both.
        ("acis_evt1_vfaint", 300, 254, EXPOSURE),
        ("acis_subset", 160, 144, 493.70),
        ("acis_one_nogti", 1, 1, EXPOSURE),
        # 157 in the good time, 16 of them with STATUS set.
        ("acis_outside_gti", 300, 141, 493.70),
        ("xmm_pn_byccd", 400, 292, 930.0),
        ("acis_zero", 0, 0, EXPOSURE),
        ("acis_nan_energy", 300, 269, EXPOSURE),
        ("acis_unit_KeV", 300, 270, EXPOSURE),
        ("mjdref_text", 300, 270, EXPOSURE),
        ("timezero", 300, 270, EXPOSURE),
        ("clockapp_text", 300, 270, EXPOSURE),
        ("swift_pc", 300, 300, 955.0),
        ("erosita", 300, 249, 1000.0),
        ("sixte_wfi_evt", 300, 300, 100.0),
    ],
)
def test_counts_and_exposure(name, n, kept, exposure, cases, clean):
    events, spectrum, result = clean(name)
    assert len(events["EVENTS"].data) == n
    assert spectrum.data["COUNTS"].sum() == kept
    assert (events["EVENTS"].data["WEIGHT"] > 0).sum() == kept
    assert result.counts["kept"] == kept
    for header in (spectrum.header, events["EVENTS"].header):
        assert header["EXPOSURE"] == pytest.approx(exposure, abs=0.005)
        assert header["ONTIME"] == pytest.approx(np.diff(result.intervals).sum())
    header = events["EVENTS"].header
    assert header["TELAPSE"] == pytest.approx(header["TSTOP"] - header["TSTART"])
    assert_own(given(cases, name), events)


def test_flagged_events_do_not_count(cases, clean):
    events, _, _ = clean("acis_evt1_vfaint")
    e, was = events["EVENTS"].data, given(cases, "acis_evt1_vfaint")["EVENTS"].data
    assert events["EVENTS"].columns["status"].format == "32X"
    assert e["phas"].shape == (300, 5, 5)
    bad = was["status"].any(axis=1)
    assert bad.sum() == 30
    assert (e["FLAG"][bad] != 0).all()
    assert (e["WEIGHT"][bad] == 0).all()


def test_channels_of_acis_are_those_of_its_response(clean):
    _, spectrum, _ = clean("acis_evt1_vfaint")
    np.testing.assert_array_equal(spectrum.data["CHANNEL"], np.arange(1, 1025))


def test_events_outside_of_the_good_time_are_flagged(clean):
    events, _, _ = clean("acis_outside_gti")
    e = events["EVENTS"].data
    outside = ~((e["time"] <= 1300) | ((e["time"] >= 1600) & (e["time"] <= 1800)))
    assert outside.sum() == 143
    assert (e["FLAG"][outside] & 128 > 0).all()
    assert (e["WEIGHT"][outside] == 0).all()
    assert not (e["FLAG"][~outside] & 128).any()


def test_rows_without_an_energy_are_named(clean):
    events, _, result = clean("acis_nan_energy")
    assert any("row 8" in text for text in result.remarks)
    e = events["EVENTS"].data
    assert e["WEIGHT"][7] == 0
    assert e["FLAG"][7] & 256
    assert np.isfinite(e["P_BKG"][np.arange(300) != 7]).all()


def test_units(clean):
    events, _, _ = clean("acis_unit_KeV")
    inside = (events["EVENTS"].data["energy"] > 0.4) & (events["EVENTS"].data["energy"] < 9.1)
    assert inside.all()  # keV


def test_dates_and_clocks(clean):
    events, spectrum, _ = clean("timezero")
    for header in (events["EVENTS"].header, spectrum.header):
        assert header["DATE-OBS"] == "1998-01-01T00:17:43.184"
        assert header["TIMEZERO"] == -1
    events, spectrum, _ = clean("mjdref_text")
    for header in (events["EVENTS"].header, spectrum.header):
        assert header["DATE-OBS"] == "1998-01-01T00:16:40.000"
        assert header["MJDREFI"] == 50814
    events, spectrum, _ = clean("clockapp_text")
    assert events["EVENTS"].header["CLOCKAPP"] is False
    assert spectrum.header["CLOCKAPP"] is False


def test_grades_of_swift(clean):
    events, _, result = clean("swift_pc")
    grade = events["EVENTS"].data["GRADE"]
    assert grade.max() == 12
    p = {g: result.events["P_BKG"][grade == g] for g in (0, 1, 2, 4, 9)}
    ours = RuleDetector().event_level
    for swift, asca in ((0, 0), (1, 2), (2, 4), (4, 3), (9, 6)):
        energy = 0.01 * (events["EVENTS"].data["PI"][grade == swift] + 0.5)
        np.testing.assert_allclose(
            p[swift], ours.probability(energy, np.full(len(energy), asca)), rtol=1e-5
        )


def test_energies_of_erosita_and_sixte(cases, clean):
    events, _, _ = clean("erosita")
    e = events["EVENTS"].data
    np.testing.assert_allclose(e["ENERGY"], e["PI"] / 1000, rtol=1e-6)
    assert (e["WEIGHT"][e["FLAG"] == 8192] == 0).all()
    events, _, result = clean("sixte_wfi_evt")
    e = events["EVENTS"].data
    np.testing.assert_allclose(e["ENERGY"], e["SIGNAL"], rtol=1e-6)
    np.testing.assert_array_equal(e["FRAME"], given(cases, "sixte_wfi_evt")["EVENTS"].data["FRAME"])
    assert events["EVENTS"].header["TIMEDEL"] == pytest.approx(0.005)
    assert any("no frame time in the header" in text for text in result.remarks)
    for name in ("erosita", "sixte_wfi_evt"):
        with pytest.raises(InputError, match="channel="):
            BackgroundPredictor(RuleDetector()).predict(cases / f"{name}.fits", channel=0.01)


def test_patterns_stay(cases, clean):
    events, _, _ = clean("xmm_pn_byccd")
    pattern = events["EVENTS"].data["PATTERN"]
    assert pattern.max() == 40
    assert (np.diff(events["EVENTS"].data["TIME"]) >= 0).all()
    assert {"SUBMODE", "REFXCRPX", "FRMTIME"} <= set(events["EVENTS"].header)
