"""Features, and the rivals that use them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes.background_events import PATTERNS, draw, frames_of, padded

from physml.background.core.events import find_events
from physml.background.evaluation.features import CONTEXT, LOCAL, context_features, local_features
from physml.background.evaluation.rivals import BoostedTrees, SelfAntiCoincidence
from physml.background.learning.energy_matching import energy_matching, removed_at_retention
from physml.random import stream

SIDE = 112


def toy(seed, n=1200, reach=8.0):
    """Frames with a track each: background within reach of it, photons as near to another frame's.

    Background events are split more often, so that local features tell a little as well.
    """
    rng = stream(seed, "test", 0)
    images = np.zeros((n, SIDE, SIDE), np.float32)
    label = rng.integers(0, 2, n)
    k = np.arange(n)
    ty, tx = rng.integers(15, SIDE - 25, (2, n))
    for step in range(4):
        images[k, ty, tx + step] = 20.0
    at = np.where(label, k, rng.permutation(n))
    y, x = np.stack([ty, tx])[:, at] + rng.uniform(-reach, reach, (2, n)).round().astype(int)
    y += np.where(np.abs(y - ty[at]) < 3, 5, 0)
    energy = rng.uniform(2, 7, n)
    split = rng.random(n) < np.where(label, 0.7, 0.3)
    images[k, y, x] += np.where(split, 0.7, 1.0) * energy
    images[k[split], y[split] + 1, x[split]] += 0.3 * energy[split]
    frames = frames_of(images)
    found = find_events(frames)
    return frames, found, label[found.events["frame"]]


@pytest.fixture(scope="module")
def learn():
    return toy(1)


@pytest.fixture(scope="module")
def test():
    return toy(2)


def test_local_features_of_a_known_event():
    found = find_events(frames_of(padded(draw("2.1", ".9.", "...", digits="12389"))[None]))
    row = dict(zip(LOCAL, local_features(found)[np.argmax(found.events["peak"])], strict=True))
    assert row["log_energy"] == pytest.approx(np.log10(9))
    assert row["peak_share"] == 1
    assert (row["pixels"], row["shape"], row["grade"]) == (1, 0, 1)
    assert [row[f"corner_{k}"] for k in (1, 2, 3, 4)] == pytest.approx([2 / 9, 1 / 9, 0, 0])
    assert row["side_1"] == row["ring"] == row["centroid_offset"] == row["border"] == 0


@pytest.mark.parametrize(("pattern", "rows"), PATTERNS.items())
def test_shape_of_each_pattern(pattern, rows):
    row = local_features(find_events(frames_of(padded(draw(*rows))[None])))[0]
    expected = {0: 0, **{k: 1 + (k - 1) // 4 for k in range(1, 13)}}[pattern]
    assert row[LOCAL.index("shape")] == expected


def context_of(images):
    """Context features by energy of the event, and the table of all."""
    frames = frames_of(images)
    found = find_events(frames)
    table = context_features(found, frames)
    rows = [dict(zip(CONTEXT, row, strict=True)) for row in table.tolist()]
    return dict(zip(found.events["energy"].tolist(), rows, strict=True)), table


def test_features_do_not_change_when_the_detector_is_turned():
    rng = stream(5, "test", 0)
    image = np.zeros((40, 40), np.float32)
    image[8:20, 9] = rng.uniform(10, 30, 12)
    image[30, 12], image[31, 12], image[30, 13] = 4.0, 1.5, 1.0
    image[12, 30], image[12, 31] = 2.0, 0.5
    image[25, 30] = 16.0
    tables = []
    for k in range(8):
        turned = np.rot90(image, k // 2)
        frames = frames_of([turned.T if k % 2 else turned])
        found = find_events(frames)
        table = np.column_stack([local_features(found), context_features(found, frames)])
        tables.append(table[np.argsort(found.events["energy"])])
    for other in tables[1:]:
        np.testing.assert_allclose(other, tables[0], rtol=1e-4, atol=1e-4)


def test_context_features_of_a_known_frame():
    image = np.zeros((60, 60), np.float32)
    image[10, 20:30] = 20.0  # a track along x, 10 pixels, middle at 24.5
    image[14, 40] = 3.5  # the event
    image[50, 40] = 40.0  # a second particle
    image[14, 48:51] = 1.0  # something that is no photon
    empty = np.zeros_like(image)
    empty[30, 30] = 2.0
    rows, _ = context_of([image, empty])
    row, alone = rows[3.5], rows[2.0]
    assert row["track_distance"] == pytest.approx(np.hypot(4, 11))
    assert row["track_log_energy"] == pytest.approx(np.log10(200))
    assert (row["track_pixels"], row["track_length"], row["track_width"]) == (10, 10, 1)
    assert row["track_off_axis"] == pytest.approx(4, abs=1e-5)
    assert row["track_along"] == pytest.approx(15.5)
    assert row["track_border"] == 0
    assert row["second_track_distance"] == pytest.approx(36)
    assert row["neighbour_distance"] == pytest.approx(9)
    assert row["neighbour_log_energy"] == pytest.approx(np.log10(3))
    assert (row["neighbour_pixels"], row["neighbour_valid"]) == (3, 0)
    assert (row["tracks"], row["valid_events"], row["other_clusters"]) == (2, 1, 1)
    assert row["log_track_energy"] == pytest.approx(np.log10(241))
    assert alone["tracks"] == alone["other_clusters"] == 0
    assert alone["valid_events"] == 1
    missing = [name for name, value in alone.items() if np.isnan(value)]
    assert len(missing) == 13
    assert all(name.startswith(("track_", "second_", "neighbour_")) for name in missing)


def test_the_nearest_track_need_not_have_the_nearest_middle():
    image = np.zeros((90, 90), np.float32)
    image[10, 5:65] = 20.0  # ends 5 pixels from the event, its middle is 35.5 away
    image[30, 69] = 40.0
    image[10, 69] = 3.0
    row = context_of([image])[0][3.0]
    assert row["track_distance"] == 5
    assert row["track_along"] == pytest.approx(34.5)
    assert row["second_track_distance"] == pytest.approx(20)


def test_the_neighbour_of_a_particle_is_the_nearest_of_all_others():
    image = np.zeros((40, 40), np.float32)
    image[10, 10], image[10, 13], image[10, 20] = 40.0, 1.0, 2.0
    rows, _ = context_of([image])
    near = {energy: row["neighbour_distance"] for energy, row in rows.items()}
    assert near == {40.0: 3, 1.0: 7, 2.0: 7}


def test_context_is_that_of_the_own_frame():
    """Frames moved apart in number give the same features."""
    frames, found, _ = toy(7, n=40)
    moved = frames.pixels.copy()
    moved["frame"] = moved["frame"] * 1000 + 5
    other = type(frames)(moved, frames.shape, frames.index * 1000 + 5, frames.weight)
    np.testing.assert_array_equal(
        context_features(found, frames), context_features(find_events(other), other)
    )


def test_features_of_nothing():
    frames = frames_of(np.zeros((2, 8, 8)))
    found = find_events(frames)
    assert local_features(found).shape == (0, len(LOCAL))
    assert context_features(found, frames).shape == (0, len(CONTEXT))
    assert SelfAntiCoincidence().score(frames, found).shape == (0,)


def test_features_of_very_many_events_in_one_frame():
    image = np.zeros((400, 400), np.float32)
    image[1:-1:2, 1:-1:2] = 1.0
    image[200, 200] = 50.0
    table = context_features(find_events(frames_of([image])), frames_of([image]))
    assert len(table) == 199 * 199 + 1
    assert np.isfinite(table[:, CONTEXT.index("track_distance")]).all()


def test_sac_rejects_within_its_radius():
    images = np.zeros((2, 30, 30), np.float32)
    images[0, 10, 10] = 20.0
    images[0, 10, 13] = images[0, 20, 10] = images[1, 10, 10] = 1.0
    frames = frames_of(images)
    found = find_events(frames)
    score = SelfAntiCoincidence().score(frames, found)
    assert score.tolist() == [np.inf, -3.0, -10.0, -np.inf]
    for radius, rejected in ((2.9, 0), (3, 1), (9.9, 1), (10, 2)):
        assert (score[found.events["valid"]] >= -radius).sum() == rejected


def test_every_rival_under_one_interface(learn, test):
    """Scores of the test frames; trees beat SAC, as the toy is made."""
    frames, found, label = learn
    removed = {}
    for rival in (SelfAntiCoincidence(), *map(BoostedTrees, ("local", "context", "both"))):
        weight = energy_matching(
            found.events["energy"], label, found.events["valid"], band=(2, 7), bins=6
        )
        assert rival.fit(frames, found, label, weight) is rival
        test_frames, test_found, test_label = test
        score = rival.score(test_frames, test_found)
        assert score.shape == (len(test_found.events),)
        assert (score[~test_found.events["valid"]] == np.inf).all()
        used = test_found.events["valid"].astype(float)
        (interval,) = removed_at_retention(score, test_label, used, 0.9)
        removed[rival.name] = interval.value
    trees = "boosted trees, "
    assert list(removed) == ["SAC", f"{trees}local", f"{trees}context", f"{trees}both"]
    assert removed[f"{trees}local"] > 0.1
    assert removed["SAC"] > 0.5
    assert removed[f"{trees}context"] > 0.5
    assert removed[f"{trees}both"] > removed[f"{trees}local"] + 0.3


def test_context_of_other_frames_says_nothing(learn, test):
    """Events moved to other frames: what context told is gone, what local features told stays."""
    frames, found, label = learn
    trees = BoostedTrees("context").fit(frames, found, label)
    test_frames, test_found, test_label = test
    rng = stream(9, "test", 0)
    used = test_found.events["valid"]
    shuffled = test_found.events.copy()
    # Only the frame of the event changes: its cluster is not in the other frame, so that it is
    # looked at as if it had been there.
    shuffled["frame"][used] = rng.permutation(shuffled["frame"][used])
    weight, moved = used.astype(float), replace(test_found, events=shuffled)
    scores = [trees.score(test_frames, f) for f in (test_found, moved)]
    at_home, away = (removed_at_retention(s, test_label, weight, 0.9)[0].value for s in scores)
    assert at_home > 0.5
    assert away < 0.2


def test_trees_are_reproducible(learn, test):
    frames, found, label = learn
    scores = [
        BoostedTrees("both", iterations=20, seed=3).fit(frames, found, label).score(*test[:2])
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*scores)


def test_weights_scale_out(learn):
    """Weights of another unit change nothing: regularisation sees their average as one."""
    frames, found, label = learn
    rng = stream(8, "test", 0)
    weight = rng.uniform(0.5, 1.5, len(label))
    one = BoostedTrees("local", iterations=20).fit(frames, found, label, weight)
    other = BoostedTrees("local", iterations=20).fit(frames, found, label, 1024 * weight)
    np.testing.assert_allclose(one.score(frames, found), other.score(frames, found))


def test_events_without_weight_are_not_learnt_from(learn):
    """Fitting with weights of zero is fitting without those events."""
    frames, found, label = learn
    rng = stream(8, "test", 1)
    keep = rng.random(len(label)) < 0.6
    fewer = replace(found, events=found.events[keep], patches=found.patches[keep])
    one = BoostedTrees("local", iterations=10).fit(frames, found, label, keep.astype(float))
    other = BoostedTrees("local", iterations=10).fit(frames, fewer, label[keep])
    np.testing.assert_array_equal(one.score(frames, found), other.score(frames, found))


def test_mistakes(learn):
    frames, found, label = learn
    with pytest.raises(ValueError, match="local"):
        BoostedTrees("all")
    with pytest.raises(RuntimeError, match="fit"):
        BoostedTrees().score(frames, found)
    with pytest.raises(ValueError, match="both classes"):
        BoostedTrees().fit(frames, found, np.zeros_like(label))
    with pytest.raises(ValueError, match="labels"):
        BoostedTrees().fit(frames, found, label[:-1])
