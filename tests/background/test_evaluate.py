"""The evaluation with detectors whose answers are known, on the toy detector's frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes.background_methods import RETENTION, Compass, toy

from physml.background.core.events import find_events, find_in_exposures, nearest_particle
from physml.background.evaluation import compare, methods, metrics, sets, stress
from physml.background.evaluation.context_ablation import NEIGHBOURS, exchanged_pixels
from physml.background.evaluation.lessons import courses, lessons_of
from physml.background.evaluation.methods import CONTEXT, LOCAL, MODEL, MODEL_BAND, TREES
from physml.background.evaluation.rivals import BoostedTrees, SelfAntiCoincidence
from physml.background.evaluation.scored_set import (
    ScoredSet,
    add_ablations,
    score_set,
    with_exchanged_frames,
)
from physml.background.evaluation.set_metrics import cross_geometry, set_metrics, with_border
from physml.background.inference.inputs import members
from physml.background.settings import SimulateSettings


def at(methods, name, band="0.3-10", retention="0.9"):
    """Share of the background that a method removes."""
    return methods[name]["at_retention"][band][retention]["value"]


@pytest.fixture(scope="module")
def trained():
    frames = toy(1, exposures=6)
    rivals = [SelfAntiCoincidence(), BoostedTrees("both", iterations=40)]
    return methods.train(rivals, frames, find_events(frames), RETENTION)


@pytest.fixture(scope="module")
def scored(trained) -> ScoredSet:
    made = score_set(toy(2), Compass(), trained, retention=RETENTION)
    add_ablations(made, seed=0)
    return made


@pytest.fixture(scope="module")
def numbers(scored):
    return set_metrics(scored, retention=RETENTION, replicas=100, seed=0)


def test_all_methods_score_the_same_events(scored):
    assert set(scored.scores) == {MODEL, LOCAL, CONTEXT, "SAC", TREES}
    assert {len(s) for s in scored.scores.values()} == {len(scored.events)}
    assert scored.found.events["valid"][scored.events.row].all()


def test_the_distance_is_worth_as_much_under_either_name(numbers):
    """The compass and SAC rank by the same distance."""
    by = {m: numbers["methods"][m]["at_retention"] for m in (MODEL, "SAC")}
    assert by[MODEL] == by["SAC"]
    assert at(numbers["methods"], "SAC") > 0.5
    assert at(numbers["methods"], LOCAL) < 0.2


def test_fixed_cuts_are_those_of_the_detector(scored, numbers):
    events = scored.events
    near = scored.classified.d_mip[events.row] < 12.0
    photon = ~events.background
    weight = events.matched((0.3, 10.0))
    kept = (weight * (photon & ~near)).sum() / (weight * photon).sum()
    for method in (MODEL, MODEL_BAND):
        fixed = numbers["methods"][method]["fixed"]["0.98"]["0.3-10"]
        assert fixed["retention"]["value"] == pytest.approx(kept)


def test_rivals_keep_on_new_frames_what_they_promise(numbers):
    """Cuts set on exposures that were not learnt from hold on a third set."""
    for method in ("SAC", TREES):
        fixed = numbers["methods"][method]["fixed"]
        for r in RETENTION:
            kept = fixed[metrics.key(r)]["0.3-10"]["retention"]
            # A few hundred photons on either side: an error of 0.02.
            assert kept["value"] == pytest.approx(r, abs=0.06)


def test_learning_needs_exposures_to_set_cuts_on():
    frames = toy(3, exposures=1)
    with pytest.raises(ValueError, match="several exposures"):
        methods.train([SelfAntiCoincidence()], frames, find_events(frames), RETENTION)


def test_parts_learn_only_from_each_other(scored):
    """What a part is scored by has no weight on that part, and scores of all are comparable."""

    class Spy:
        def __init__(self):
            self.fitted, self.scored = [], []

        def fit(self, frames, found, label, weight):
            self.fitted.append(set(np.unique(found.events["frame"][weight > 0])))

        def score(self, frames, found):
            # Each fit has another scale; ranks must not care.
            scale = 10.0 ** len(self.fitted)
            distance, _ = nearest_particle(found, frames)
            return np.where(found.events["valid"], -scale * np.minimum(distance, 1e3), np.inf)

    spy = Spy()
    score = methods.crossed(spy, scored.frames, scored.found, scored.events, folds=4)
    everything = set().union(*spy.fitted)
    left_out = [everything - f for f in spy.fitted]
    assert len(spy.fitted) == 4
    assert all(len(f) > 100 for f in left_out)
    assert sum(map(len, left_out)) == len(everything)
    own, sac = (
        metrics.at_retention(scored.events, s, (0.9,), replicas=50, seed=0)["0.3-10"]["0.9"]
        for s in (score, scored.scores["SAC"])
    )
    assert own["value"] == pytest.approx(sac["value"], abs=0.04)


def test_events_at_the_border_can_be_accepted(scored):
    """Tracks of the toy stay off the border: there are more photons, and no more background."""
    learn = toy(7)
    lessons = lessons_of(learn, find_in_exposures(learn, keep_border=True))
    with_it = with_border(scored.frames, Compass(), lessons, retention=(0.9,), replicas=50, seed=0)
    inside = scored.events.within((0.3, 10.0))
    assert set(with_it["methods"]) == {MODEL, "SAC", TREES}
    assert with_it["background"] >= (inside & scored.events.background).sum()
    assert set(with_it["methods"]["SAC"]["at_retention"]) == {"2-7", "0.3-10"}
    assert at(with_it["methods"], "SAC") > 0.4


def test_numbers_of_a_set_are_consistent(scored, numbers):
    events = scored.events
    inside = events.within((0.3, 10.0))
    assert numbers["background"] == (inside & events.background).sum()
    assert numbers["live_s"] == pytest.approx(4 * 400 * 5e-3)
    graded = numbers["rates"]["0.3-10"]["graded"]["value"]
    expected = numbers["background"] / (numbers["live_s"] * numbers["area_cm2"] * 9.7)
    assert graded == pytest.approx(expected, rel=1e-6)
    removed = 1 - numbers["rates"]["0.3-10"]["0.98"]["value"] / graded
    fixed = numbers["methods"][MODEL]["fixed"]["0.98"]["0.3-10"]["removed"]["value"]
    assert removed == pytest.approx(fixed, abs=0.01)
    # Toy electrons are all born outside.
    assert numbers["origins"]["outside"]["share"]["value"] > 0.95
    assert numbers["origins"]["primary"]["share"]["value"] < 0.05


def test_background_with_its_track_in_the_frame_is_told_from_what_came_alone(numbers, scored):
    """In the toy every electron has a track; only where that is faint does it pass for none."""
    found = numbers["companions"]
    assert found["track"]["share"]["value"] > 0.9
    total = found["track"]["share"]["value"] + found["alone"]["share"]["value"]
    assert total == pytest.approx(1)
    assert found["track"]["removed"]["value"] > 0.5


def test_frames_with_a_particle_are_found_by_grading(numbers):
    found = numbers["frames_with_particle"]
    assert found["grading"]["found"]["value"] > 0.95
    assert found["most_probable"]["found"]["value"] > 0.95
    assert found["most_probable"]["false"]["value"] < 0.05


def test_the_loss_is_where_particles_are_near(numbers):
    near, *_, far = numbers["bias"]["particle_distance"]
    assert near["retention"]["value"] == 0
    assert far["retention"]["value"] in (1, None)
    assert numbers["bias"]["map"]["cells"] == 64


def test_bins_of_calibration_hold_all_events_of_the_band(scored, numbers):
    weight = scored.events.matched((0.3, 10.0))
    assert sum(numbers["calibration"]["count"]) == (weight > 0).sum()


def test_context_is_worth_nothing_in_another_frame(scored):
    found = with_exchanged_frames(scored, None, retention=0.9, replicas=100, seed=0)
    assert found["own"]["value"] > 0.5
    assert found["strangers"]["value"] < 0.3
    assert found["difference"]["low"] < 0.08


def test_pixels_are_exchanged_among_equal_energies(scored):

    m = members(scored.found, scored.frames, 24)
    other = exchanged_pixels(m, np.random.default_rng(0))
    rows = np.flatnonzero(m.event >= 0)
    clusters = np.flatnonzero(m.event < 0)
    assert np.array_equal(other.patch[clusters], m.patch[clusters])
    assert np.array_equal(other.feature[:, 2], m.feature[:, 2])
    assert np.array_equal(other.place, m.place)
    energy = 10.0 ** m.feature[rows, 2]
    # Each patch is scaled to its new event, unless something else lies in it as well.
    sums = other.patch[rows].sum((1, 2))
    assert np.median(np.abs(sums / energy - 1)) < 1e-3
    before, after = m.feature[rows, 3], other.feature[rows, 3]
    assert np.sort(before) == pytest.approx(np.sort(after))
    split = before < -0.01
    assert (before != after)[split].mean() > 0.5
    assert len(rows) > 5 * NEIGHBOURS


def test_the_loss_with_the_other_geometry_is_paired(scored):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=len(scored.events))
    scores = {TREES: scored.scores["SAC"], TREES + methods.OTHER: noise}
    one = replace(scored, scores=scores, cuts={})
    found = cross_geometry({"far": one, "bare": scored}, (0.9,), 100, 0)
    assert set(found) == {"far"}
    assert found["far"]["0.9"]["low"] > 0.3


def test_frames_of_several_thresholds_are_refused(scored):
    table = scored.frames.exposures.copy()
    table["threshold"][1] = 0.1
    with pytest.raises(ValueError, match="one split threshold"):
        find_in_exposures(replace(scored.frames, exposures=table))


def test_rivals_of_the_other_geometry_keep_their_names(trained):
    chosen = compare.for_set({"close": trained, "far": trained}, "far")
    names = [t.rival.name for t in chosen]
    assert names == ["SAC", TREES, TREES + methods.OTHER]
    assert trained[1].rival.name == TREES  # a copy was renamed


def test_the_example_takes_the_rates_of_its_set(numbers):
    found = compare.sensitivity(numbers)
    assert found["band"] == "2-7"
    assert [row["retention"] for row in found["rows"]] == [0.98, 0.9]
    assert found["particles"] > 0


def test_differences_are_paired(scored):
    """The interval of a difference is that of the same resamples, thresholds set anew in each."""
    events = scored.events
    scores = {m: scored.scores[m] for m in (MODEL, "SAC", TREES)}
    found = metrics.compared(events, scores, MODEL, (0.9,), replicas=200, seed=4)
    for m in scores:
        alone = metrics.at_retention(events, scores[m], (0.9,), replicas=200, seed=4)
        assert found[m]["at_retention"] == alone
    assert "behind" not in found[MODEL]
    # The compass and SAC rank alike: nothing differs in any resample.
    assert found["SAC"]["behind"]["0.3-10"]["0.9"] == {"value": 0, "low": 0, "high": 0}
    behind = found[TREES]["behind"]["0.3-10"]["0.9"]
    one, other = (found[m]["at_retention"]["0.3-10"]["0.9"] for m in (MODEL, TREES))
    assert behind["value"] == pytest.approx(one["value"] - other["value"])
    assert behind["low"] <= behind["value"] <= behind["high"]
    # They err together: the difference is known better than as if they did not.
    apart = np.hypot(*(x["high"] - x["low"] for x in (one, other)))
    assert behind["high"] - behind["low"] <= apart + 1e-9


def test_trees_learn_from_a_table_what_they_learn_from_frames(trained):
    """Lessons hold what `fit` looks at, and scores of both kinds are the same."""
    frames = toy(1, exposures=6)
    found = find_events(frames)
    lessons = lessons_of(frames, found)
    events = metrics.valid_events(found, frames)
    for one in trained:
        score = one.rival.score(frames, found)[events.row]
        np.testing.assert_array_equal(one.rival.rank(lessons.feature), score)
    np.testing.assert_array_equal(lessons.energy, events.energy)
    np.testing.assert_array_equal(lessons.background, events.background)
    assert len(np.unique(lessons.exposure)) == 6


def test_trees_stop_where_more_do_not_help(trained):
    trees = next(t.rival for t in trained if t.rival.name == TREES)
    assert 5 < trees.trees < 1000


def test_courses_grow_from_the_front_and_are_kept(tmp_path):
    one = courses("far_rivals", 2, 60, cache=tmp_path)
    kept = courses("far_rivals", 2, 60, cache=tmp_path)
    for name in ("inside", "border"):
        for column in ("feature", "energy", "weight", "background", "exposure"):
            a, b = (getattr(getattr(c, name), column) for c in (one, kept))
            np.testing.assert_array_equal(a, b)
    assert set(one.inside.exposure) == {0, 1}
    first = one.first(1)
    assert set(first.border.exposure) == {0}
    again = courses("far_rivals", 1, 60)
    np.testing.assert_array_equal(again.inside.feature, first.inside.feature)
    assert len(list(tmp_path.rglob("*.npz"))) == 2
    assert len(one.border) > len(one.inside)


def test_sets_are_frozen_and_grow_from_the_front():
    small = sets.evaluation_set("far", 1, hits=60)
    large = sets.evaluation_set("far", 2, hits=60)
    assert np.array_equal(small.pixels, large.pixels[: len(small.pixels)])
    assert np.array_equal(small.index, large.index[: len(small.index)])
    assert (large.exposures["standoff"] == 15).all()
    other = sets.evaluation_set("far_rivals", 1, hits=60)
    assert set(other.exposures["exposure"]).isdisjoint(large.exposures["exposure"])


@pytest.mark.parametrize("name", list(sets.SETS))
def test_a_set_differs_from_the_nominal_one_as_it_says(name):
    made = sets.set_settings(name).conditions
    nominal = sets.set_settings("far").conditions
    changed = {k for k in type(made).model_fields if getattr(made, k) != getattr(nominal, k)}
    if name in stress.CONDITIONS:
        assert changed <= set(stress.CONDITIONS[name])
        assert changed or not stress.CONDITIONS[name]
    else:
        assert changed <= {"standoff", "gap"}
    # What training draws is random; a set is not.
    free = ("energies", "bright_photons", "spot_share", "spot_width")
    assert all(v[0] == v[1] for k, v in made if isinstance(v, tuple) and k not in free)


@pytest.mark.parametrize("name", ["nearby", ""])
def test_an_unknown_set_is_refused(name):
    with pytest.raises(ValueError, match="expected one of close, far"):
        sets.evaluation_set(name, 1)


def test_bad_columns_are_silent():
    frames = toy(4, exposures=1)
    bad = stress.bad_columns(frames.shape, np.random.default_rng(0))
    assert bad.all(0).sum() == stress.N_BAD
    quiet = stress.without(frames, bad)
    assert 0 < len(quiet.pixels) < len(frames.pixels)
    assert not bad[quiet.pixels["y"], quiet.pixels["x"]].any()
    assert quiet.index is frames.index


def test_the_example_has_its_source_in_the_middle():
    frames = sets.example_frames(20.0, 1)
    assert (frames.weight == 1).all()
    assert len(frames) == frames.exposures["n_frames"][0]
    assert frames.exposures["live_s"][0] == pytest.approx(20, rel=0.1)
    near = np.hypot(frames.photons["x"] - 255.5, frames.photons["y"] - 255.5) < 90
    # Half of them in a Gaussian of 45 pixels, of which 86 % lie within two widths.
    assert near.mean() == pytest.approx(0.5 * 0.865 + 0.5 * np.pi * 90**2 / 512**2, abs=0.12)


def test_without_the_shared_data_there_is_no_geant4_set(monkeypatch, tmp_path):
    monkeypatch.setenv("PHYSML_SHARED_DATA", str(tmp_path))
    assert sets.geant4_folder() is None
    assert sets.geant4_set(10.0) is None


def test_the_geant4_set_has_its_natural_rate(shared_data):
    frames = sets.geant4_set(20.0)
    assert len(frames) == pytest.approx(4000, rel=0.01)
    assert len(frames.particles) / len(frames) == pytest.approx(0.535, rel=0.05)
    assert len(frames.photons) / len(frames) == pytest.approx(sets.GEANT4_PHOTONS, rel=0.1)


def test_settings_of_sets_are_settings_of_the_simulator():
    assert isinstance(sets.set_settings("close"), SimulateSettings)
    assert sets.set_settings("close", hits=100).hits == 100
