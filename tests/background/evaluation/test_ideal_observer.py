"""The ideal observer of context against closed forms, and its pairs against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.events import find_in_exposures, leading_sources, truth
from physml.background.evaluation.features import LOCAL
from physml.background.evaluation.ideal_observer import (
    PAIR,
    IdealObserver,
    Pairs,
    Sample,
    joined,
    pairs_of,
    sample_of,
)
from physml.background.evaluation.metrics import at_retention, key, valid_events
from physml.background.evaluation.sets import evaluation_exposure

#: Radius of the field, scale of the offsets of pairs, share of background without a track.
RADIUS, SCALE, ALONE = 300.0, 40.0, 0.3


def drawn(rng: np.random.Generator, n: int) -> tuple[Sample, Pairs]:
    """One track a frame; X-rays anywhere, background near the track but for a share."""
    background = rng.random(n) < 0.5
    paired = background & (rng.random(n) >= ALONE)
    distance = RADIUS * np.sqrt(rng.random(n))
    # Exponential in two dimensions, cut at the border of the field.
    near = rng.gamma(2, SCALE, 20 * n)
    distance[paired] = near[near < RADIUS][: int(paired.sum())]
    energy = np.exp(rng.uniform(np.log(0.3), np.log(10), n))
    feature = np.zeros((n, len(PAIR)), np.float32)
    feature[:, PAIR.index("distance")] = distance
    feature[:, PAIR.index("log_energy")] = np.log10(energy)
    local = np.zeros((n, len(LOCAL)), np.float32)
    exposure = rng.integers(0, 40, n)
    sample = Sample(energy, np.ones(n), background, paired, local, exposure)
    return sample, Pairs(feature, np.arange(n), paired)


def ratio(distance: np.ndarray) -> np.ndarray:
    """Likelihood ratio in closed form."""
    x = RADIUS / SCALE
    inside = 1 - np.exp(-x) * (1 + x)
    return ALONE + (1 - ALONE) * RADIUS**2 / (2 * SCALE**2) * np.exp(-distance / SCALE) / inside


def test_the_ratio_is_that_of_the_closed_form():
    observer = IdealObserver(*drawn(np.random.default_rng(1), 40_000))
    sample, pairs = drawn(np.random.default_rng(2), 40_000)
    found = observer.context(sample.energy, pairs)
    true = ratio(pairs.feature[:, 0].astype(float))
    error = np.log(found / true)
    assert abs(np.median(error)) < 0.05
    assert np.abs(error).mean() < 0.12
    events = sample.events()
    removed = [
        at_retention(events, score, (0.9,), replicas=2, seed=0, bands=("0.3-10",))["0.3-10"]
        for score in (found, true)
    ]
    learnt, ideal = (r[key(0.9)]["value"] for r in removed)
    assert learnt == pytest.approx(ideal, abs=0.015)
    assert ideal > 0.4
    # Pixels that are all alike tell nothing.
    assert np.ptp(observer.local(sample.local)) < 0.05


def test_more_than_one_track_is_a_sum():
    observer = IdealObserver(*drawn(np.random.default_rng(1), 20_000))
    sample, pairs = drawn(np.random.default_rng(3), 50)
    twice = Pairs(
        np.concatenate([pairs.feature] * 2), np.tile(pairs.event, 2), np.tile(pairs.own, 2)
    )
    one, two = (observer.context(sample.energy, p) for p in (pairs, twice))
    none = observer.context(sample.energy, pairs[np.zeros(len(pairs), bool)])
    np.testing.assert_allclose(two - none, 2 * (one - none), rtol=1e-6)
    assert np.all(none < 0.5)


@pytest.fixture(scope="module")
def exposure():
    frames = evaluation_exposure("close_rivals", 7_000, 1_500)
    return frames, find_in_exposures(frames)


def test_pairs_of_one_primary_are_told_by_the_truth(exposure):
    frames, found = exposure
    events = valid_events(found, frames)
    pairs = pairs_of(found, frames, events)
    tracks = np.flatnonzero(found.clusters["particle"])
    number = [
        int((found.clusters["frame"][tracks] == frame).sum()) for frame in events.frame.tolist()
    ]
    np.testing.assert_array_equal(np.bincount(pairs.event, minlength=len(events)), number)
    # One by one, slowly.
    source, of_cluster = truth(found, frames)["source"][events.row], leading_sources(found, frames)
    for i in range(len(events)):
        here = tracks[found.clusters["frame"][tracks] == events.frame[i]]
        same = events.background[i] and source[i] >= 0 and (of_cluster[here] == source[i]).any()
        assert pairs.own[pairs.event == i].sum() == int(same)
    assert 0.5 < pairs.own.sum() / events.background.sum() < 0.95


def test_samples_of_several_exposures_join(exposure):
    parts = [sample_of(*exposure, k) for k in range(3)]
    sample, pairs = joined(parts)
    n = len(parts[0][0])
    assert len(sample) == 3 * n
    np.testing.assert_array_equal(np.unique(sample.exposure), [0, 1, 2])
    np.testing.assert_array_equal(np.flatnonzero(sample.paired), np.unique(pairs.event[pairs.own]))
    np.testing.assert_array_equal(pairs.event[: len(parts[0][1])] + n, parts[1][1].event + n)
