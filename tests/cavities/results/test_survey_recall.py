"""Matches of found and known cavities, and the tables of a survey, without any image."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from scipy.spatial.transform import Rotation

from physml.cavities.results.survey.figures import recall_by_signal, survey_figures
from physml.cavities.results.survey.recall import SIZE_RATIO, _turned, pairs
from physml.cavities.results.survey.tables import (
    cavity_table,
    literature_table,
    recall_summary,
    target_table,
)


def circles(*rows):
    return np.array(rows, float).reshape(-1, 3)


def test_pairs_are_one_to_one_and_the_nearest():
    ours = circles((0, 10, 5), (0, 13, 5), (40, 0, 5))
    theirs = circles((0, 12, 5), (100, 0, 5))
    assert pairs(ours, theirs) == [(1, 0)]


def test_a_pair_that_leaves_another_without_one_is_not_taken():
    """The nearest of all pairs would leave two of four alone."""
    ours = circles((0, 0, 5), (4, 0, 5))
    theirs = circles((-3, 0, 5), (1, 0, 5))
    assert sorted(pairs(ours, theirs)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ((0, 0, 2), (5, 0, 5), True),  # on the rim of the larger
        ((0, 0, 2), (5.1, 0, 5), False),
        ((0, 0, 2), (0, 0, 2 * SIZE_RATIO), True),
        ((0, 0, 2), (0, 0, 2.01 * SIZE_RATIO), False),
    ],
)
def test_the_rule(ours, theirs, same):
    assert bool(pairs(circles(ours), circles(theirs))) is same
    assert bool(pairs(circles(theirs), circles(ours))) is same


def test_none_of_one_or_the_other():
    assert pairs(circles(), circles((0, 0, 1))) == []
    assert pairs(circles((0, 0, 1)), circles()) == []


def test_turns_keep_distances_and_radii():
    ours = circles((3, 4, 2), (-1, 2, 1))
    turned = _turned(ours, 35.0)
    np.testing.assert_allclose(turned[:, 2], ours[:, 2])
    other = Rotation.from_euler("z", 35.0, degrees=True).apply(ours * [1, 1, 0])
    np.testing.assert_allclose(turned[:, :2], other[:, :2])


def known(status, snr=5.0, ratio=np.nan, probability=np.nan):
    row = {"cavity": "1", "status": status, "snr": snr, "radius_ratio": ratio, "radius": 10.0}
    return {**row, "probability": probability}


def target(name, rows, sure=1, doubtful=0, chance=0.0):
    placed = sum(row["status"] in ("found", "candidate", "missed") for row in rows)
    return {
        "target": name,
        "folder": name,
        "verdict": "cavities",
        "n_cavities": sure,
        "n_candidates": doubtful,
        "known": {"rows": rows, "placed": placed, "by_chance": chance},
        "warnings": ["a", "b"],
    }


def outcomes():
    return [
        target("A", [known("found", 9, 1.5), known("missed", 2)], sure=3, chance=0.5),
        target("B", [known("candidate", 4, 0.8), known("outside")], sure=0, doubtful=2),
        {"target": "C", "folder": "C", "verdict": "not searched", "error": "no such file"},
    ]


def test_recall_counts_what_was_on_the_images():
    table = literature_table(
        outcomes(), [{"target": "D", "cavity": "1", "status": "not in the list"}]
    )
    found = recall_summary(table, outcomes())
    assert (found["known"], found["placed"], found["found"], found["candidates"]) == (5, 3, 1, 1)
    assert (found["outside"], found["not_searched"], found["new"]) == (1, 1, 2)
    assert found["share"] == pytest.approx(1 / 3)
    # Wilson's interval by its formula.
    n, p, z = 3, 1 / 3, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(found["interval"], (middle - half, middle + half), rtol=1e-6)
    assert found["radius_ratio"] == pytest.approx((1.5 + 0.8) / 2)
    assert found["share_by_chance"] == pytest.approx(0.5 / 3)


def test_recall_by_signal_adds_up():
    bins = recall_by_signal(literature_table(outcomes(), []))
    assert bins["known"].sum() == 3
    assert bins["found"].sum() == bins["candidates"].sum() == 1
    where = int(np.flatnonzero(bins["found"])[0])
    assert bins["low"][where] <= 9 < bins["high"][where]


def test_target_table_has_a_row_for_each_and_its_own_columns():
    carried = [{"obsid": 1, "note": "x"}, {"obsid": 2, "note": None}, {"obsid": None, "note": "z"}]
    table = target_table(outcomes(), carried, compared=True)
    assert table["verdict"].tolist() == ["cavities", "cavities", "not searched"]
    assert table["literature"].tolist() == [2, 1, 0]
    assert table["literature_found"].tolist() == [1, 0, 0]
    assert table["note"].tolist() == ["x", "", "z"]
    np.testing.assert_array_equal(table["obsid"], [1, 2, np.nan])
    assert table["warnings"][0] == "a | b"
    assert "literature" not in target_table(outcomes(), carried, compared=False).colnames


def test_catalogues_of_different_columns_are_one():
    sky = QTable({"id": [1, 2], "ra": [1.0, 2.0] * u.deg, "radius": [3.0, 4.0] * u.arcsec})
    sky["flags"] = ["", "core faint"]
    sky["radius"].info.description = "sqrt(ab)"
    minutes = QTable({"id": [1], "ra": [5.0] * u.deg, "radius": [0.1] * u.arcmin, "z": [0.1]})
    minutes["flags"] = ["edge"]
    pixels = QTable({"id": [1], "radius": [9.0] * u.pix, "flags": ["candidate"]})
    table = cavity_table({"A": sky, "B": minutes, "P": pixels, "empty": sky[:0]})
    assert table["target"].tolist() == ["A", "A", "B", "P"]
    assert table["radius"].unit == u.arcsec
    np.testing.assert_array_equal(table["radius"].value, [3, 4, 6, np.nan])
    np.testing.assert_array_equal(table["z"], [np.nan, np.nan, 0.1, np.nan])
    assert table["flags"].tolist() == ["", "core faint", "edge", "candidate"]
    assert table["radius"].info.description == "sqrt(ab)"
    only_pixels = cavity_table({"P": pixels})
    assert only_pixels["radius"].unit == u.pix
    assert len(cavity_table({})) == 0


def test_a_survey_without_cavities_has_no_figures():
    assert survey_figures(cavity_table({}), None) == {}
