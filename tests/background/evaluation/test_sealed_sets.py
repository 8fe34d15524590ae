"""Sealed sets and the readout of rows one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physml.background.evaluation import sets
from physml.background.evaluation.rolling import rolling
from physml.background.settings import BackgroundSettings
from physml.background.simulator.exposure import simulate_exposure

HITS = 150


@pytest.fixture(scope="module")
def frames():
    settings = sets.set_settings(sets.ROLLING, HITS)
    return simulate_exposure(settings, 1, 3)


def test_the_first_row_comes_in_time_and_the_last_a_frame_early(frames):
    """Of particles at any time, the share of pixels in the frame before grows with the row."""
    made = rolling(frames, np.random.default_rng(0))
    moved, rows = [], []
    for f in (frames, made):
        p = f.pixels[f.pixels["source"] >= 0]
        rows.append((p["y"] + 0.5) / f.shape[0])
        moved.append(p["frame"] - np.asarray(frames.particles["frame"])[p["source"]])
    assert (moved[0] == 0).all()
    assert set(np.unique(moved[1])) == {-1, 0}
    # Particles, not pixels, are independent: 150 of them, each at one time.
    upper, lower = rows[1] > 0.75, rows[1] < 0.25
    assert -moved[1][upper].mean() > 0.65
    assert -moved[1][lower].mean() < 0.35


def test_nothing_is_lost_but_the_frame_before_the_first(frames):
    made = rolling(frames, np.random.default_rng(0))
    lost = frames.pixels["energy"].sum(dtype=float) - made.pixels["energy"].sum(dtype=float)
    first = frames.pixels["frame"] == frames.index[0]
    assert -1e-3 <= lost <= frames.pixels["energy"][first].sum(dtype=float) + 1e-3
    place = [np.asarray(made.pixels[n], np.int64) for n in ("frame", "y", "x")]
    key = (place[0] * frames.shape[0] + place[1]) * frames.shape[1] + place[2]
    assert (np.diff(key) > 0).all()


def test_photons_stay_where_they_are(frames):
    made = rolling(frames, np.random.default_rng(0))
    for f in (frames, made):
        f.pixels.sort(order=("frame", "y", "x"))
    before, after = (f.pixels[f.pixels["source"] <= -2] for f in (frames, made))
    same = np.isin(before, after).mean()
    assert same > 0.99  # but for those on which a track fell


def test_pixels_that_fall_together_are_one(frames):
    """A track that is moved onto another one adds to it."""
    p = frames.pixels[:2].copy()
    p["frame"], p["y"], p["x"] = frames.index[[0, 1]], 511, 7
    p["energy"], p["source"] = (3.0, 5.0), (0, 1)
    p["primary"] = p["energy"]
    particles = frames.particles[:2].copy()
    particles["frame"] = p["frame"]

    class Times:
        def random(self, n):
            return np.array([0.9999, 0.0])[:n]

    one = rolling(replace(frames, pixels=p, particles=particles), Times())
    assert one.pixels["energy"].tolist() == [8.0]
    assert one.pixels["primary"].tolist() == [8.0]
    assert one.pixels["source"].tolist() == [1]


def test_mistakes(frames):
    with pytest.raises(ValueError, match="without gaps"):
        rolling(frames.select(frames.index[::2]), np.random.default_rng(0))


def test_sealed_sets_are_none_that_anything_was_made_with():
    """Stand-offs differ from those of cuts, of other sets, and of each other by more than 5 %."""
    used = [v for name in sets.SETS for v in sets.SETS[name].get("standoff", ())[:1]]
    used += list(BackgroundSettings().train.calibrate.standoffs)
    mine = [change["standoff"][0] for change in sets.SEALED.values()]
    assert len(set(mine)) == len(mine) == 4
    for standoff in mine:
        assert np.abs(np.log(np.array(used) / standoff)).min() > 0.05
    for change in sets.SEALED.values():
        assert change["standoff"] != change["gap"]
    assert set(sets.SEALED_RIVALS) == set(sets.SEALED)
    assert set(sets.SEALED_RIVALS.values()) == set(sets.GEOMETRIES)


def test_sealed_exposures_are_others_than_all_before():
    """Numbers of exposures do not overlap with those of any other set, however long."""
    assert sets.STRIDE * len(sets.SETS) < sets.SEALED_FIRST
    one = sets.evaluation_exposure("sealed near", 0, 60)
    other = sets.evaluation_exposure("sealed far", 0, 60)
    assert not set(one.index.tolist()) & set(other.index.tolist())
    again = sets.evaluation_exposure("sealed near", 0, 60)
    np.testing.assert_array_equal(one.pixels, again.pixels)


def test_an_unknown_set_is_refused():
    with pytest.raises(ValueError, match="sealed near"):
        sets.set_settings("sealed")
