"""Energy matching, cuts at a promised retention, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.background.learning.energy_matching import (
    energy_matching,
    operating_curve,
    removed_at_retention,
    threshold_at_retention,
)
from physml.random import stream


def test_photons_get_the_energies_of_the_background():
    rng = stream(1, "test", 0)
    energy = np.concatenate([rng.uniform(0.1, 12, 4000), rng.exponential(3, 3000)])
    label = np.repeat([0, 1], [4000, 3000])
    given_weight = rng.uniform(0.5, 2, 7000)
    weight = energy_matching(energy, label, given_weight, band=(2, 7), bins=10)
    edges = np.geomspace(2, 7, 11)
    histograms = [
        np.histogram(energy[label == k], edges, weights=weight[label == k])[0] for k in (0, 1)
    ]
    np.testing.assert_allclose(*histograms, rtol=1e-12)
    inside = (energy >= 2) & (energy < 7)
    assert (weight[~inside] == 0).all()
    background = inside & (label == 1)
    np.testing.assert_array_equal(weight[background], given_weight[background])
    # Within a bin, photons keep their weights relative to each other.
    some = np.flatnonzero(inside & (label == 0) & (energy >= edges[3]) & (energy < edges[4]))
    ratio = weight[some] / given_weight[some]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)


def test_bins_with_one_class_only_are_left_out(caplog):
    energy, label = np.array([2.1, 2.1, 5.0, 6.9]), np.array([0, 1, 1, 0])
    weight = energy_matching(energy, label, band=(2, 7), bins=5)
    assert weight.tolist() == [1, 1, 0, 0]
    assert "50.0 %" in caplog.text


def test_a_score_of_energy_alone_removes_nothing_when_energies_match():
    """What matching is for: the slope of the spectrum must not help."""
    rng = stream(1, "test", 1)
    n = 20000
    energy = np.concatenate([rng.uniform(2, 7, n), 2 + 5 * rng.random(n) ** 2])
    label = np.repeat([0, 1], n)
    score = -energy
    flat = removed_at_retention(score, label, np.ones(2 * n), 0.9)[0].value
    matched = removed_at_retention(score, label, energy_matching(energy, label, band=(2, 7)), 0.9)
    assert flat > 0.3
    # Bins are 5 % wide: what is left is the slope within one.
    assert matched[0].value == pytest.approx(0.1, abs=0.02)


def test_a_band_ends_below_its_upper_limit():
    energy, label = np.array([2.0, 2.0, 7.0, 7.0, 6.99, 6.99]), np.array([0, 1] * 3)
    assert energy_matching(energy, label, band=(2, 7)).tolist() == [1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("band", [(7, 2), (0, 5), (2, 2)])
def test_bands_that_are_none(band):
    with pytest.raises(ValueError, match="band"):
        energy_matching([1.0], [0], band=band)


def test_shapes_have_to_agree():
    with pytest.raises(ValueError, match="shapes"):
        energy_matching([1.0, 2.0], [0])
    with pytest.raises(ValueError, match="shapes"):
        removed_at_retention([1.0, 2.0], [0], [1.0], 0.9)


def test_a_hand_made_case():
    #                 photons               background
    score = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3.5, 8.5, 8.7, 20, -1])
    label = np.array([0] * 10 + [1] * 5)
    weight = np.ones(15)
    # One photon of ten may go: the one at 9, and the background from 8.5 on is gone at no price.
    assert threshold_at_retention(score, label, weight, 0.9) == 8.5
    assert removed_at_retention(score, label, weight, 0.9)[0].value == pytest.approx(3 / 5)
    assert threshold_at_retention(score, label, weight, 1.0) == 20
    assert removed_at_retention(score, label, weight, [1.0, 0.39])[1].value == pytest.approx(4 / 5)


def test_equal_scores_go_together_or_stay():
    score = np.array([0.0, 1, 1, 1, 1, 0])
    label = np.array([0, 0, 0, 1, 1, 1])
    assert threshold_at_retention(score, label, np.ones(6), 0.5) == np.inf
    assert removed_at_retention(score, label, np.ones(6), 0.5)[0].value == 0
    assert threshold_at_retention(score, label, np.ones(6), 1 / 3) == 1
    assert removed_at_retention(score, label, np.ones(6), 1 / 3)[0].value == pytest.approx(2 / 3)


def test_infinite_scores():
    """SAC gives -inf to frames without particles: rejecting those would reject nearly all."""
    score = np.array([-np.inf] * 6 + [-3.0, -2.0, -np.inf, -1.0])
    label = np.array([0] * 8 + [1] * 2)
    assert threshold_at_retention(score, label, np.ones(10), 0.7) == -3
    assert removed_at_retention(score, label, np.ones(10), 0.7)[0].value == 0.5


def test_events_without_weight_do_not_count():
    score, label = np.array([np.nan, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 0])
    weight = np.array([0, 1.0, 1.0, 0])
    assert removed_at_retention(score, label, weight, 0.99)[0].value == 1.0
    with pytest.raises(ValueError, match="NaN"):
        removed_at_retention(score, label, np.ones(4), 0.99)


@pytest.mark.parametrize("retention", [0.0, -0.1, 1.2, np.nan])
def test_retentions_that_cannot_be(retention):
    with pytest.raises(ValueError, match="retention"):
        removed_at_retention([1.0], [0], [1.0], retention)


def test_one_class_alone():
    assert np.isnan(removed_at_retention([1.0, 2.0], [0, 0], [1.0, 1.0], 0.9)[0].value)
    assert np.isnan(removed_at_retention([], [], [], 0.9)[0].value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_promise_is_kept_and_nothing_is_given_away(data):
    """At least the promised share stays, and the next lower threshold would break the promise."""
    n = data.draw(st.integers(2, 30))
    numbers = st.lists(st.integers(0, 8), min_size=n, max_size=n)
    score = np.array(data.draw(numbers), float)
    label = np.array(data.draw(numbers)) % 2
    weight = np.array(data.draw(numbers)) / 4.0
    retention = data.draw(st.floats(0.05, 1))
    photon = label == 0
    if weight[photon].sum() == 0 or weight[~photon].sum() == 0:
        return
    threshold = threshold_at_retention(score, label, weight, retention)
    total = weight[photon].sum()
    kept = weight[photon & (score < threshold)].sum()
    assert kept >= retention * total - 1e-6
    lower = np.unique(score[(score < threshold) & (weight > 0)])
    if len(lower):
        assert weight[photon & (score < lower[-1])].sum() < retention * total
    value = removed_at_retention(score, label, weight, retention)[0].value
    expected = weight[~photon & (score >= threshold)].sum() / weight[~photon].sum()
    assert value == pytest.approx(expected)
    at, kept_curve, removed_curve = operating_curve(score, label, weight)
    place = np.flatnonzero(at == threshold)[0]
    assert kept_curve[place] == pytest.approx(kept / total)
    assert removed_curve[place] == pytest.approx(expected)


def test_intervals_cover_the_truth():
    """Two normal distributions one and a half apart: at 90 % the removed share is known."""
    from scipy.stats import norm

    expected = norm.sf(norm.isf(0.1) - 1.5)
    hits = 0
    for k in range(60):
        rng = stream(2, "test", k)
        label = np.repeat([0, 1], [600, 300])
        score = rng.normal(1.5 * label)
        (interval,) = removed_at_retention(
            score, label, np.ones(900), 0.9, frame=np.arange(900), rng=rng, replicas=200
        )
        assert interval.low <= interval.value <= interval.high
        hits += interval.low <= expected <= interval.high
    assert 50 <= hits <= 60  # 95 % of 60 is 57; fewer than 50 has a chance of 1e-4


def test_events_of_a_frame_are_drawn_together():
    """Ten copies of each event in its frame say no more than one."""
    rng = stream(3, "test", 0)
    label = np.repeat([0, 1], 200)
    score, frame = rng.normal(label), np.arange(400)
    ten = np.repeat(np.arange(400), 10)
    widths = []
    for rows, where in ((np.arange(400), frame), (ten, frame[ten]), (ten, np.arange(4000))):
        drawn = {"frame": where, "rng": stream(3, "bootstrap", 0), "replicas": 400}
        ones = np.ones(len(rows))
        (interval,) = removed_at_retention(score[rows], label[rows], ones, 0.9, **drawn)
        widths.append(interval.high - interval.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    assert widths[2] < 0.6 * widths[0]


def test_a_bootstrap_needs_a_generator():
    with pytest.raises(ValueError, match="generator"):
        removed_at_retention([1.0, 2.0], [0, 1], [1.0, 1.0], 0.9, frame=[0, 1])


def test_the_same_generator_gives_the_same_interval():
    rng = stream(4, "test", 0)
    label = rng.integers(0, 2, 500)
    score = rng.normal(label)
    drawn = {"frame": np.arange(500), "replicas": 50}
    one, two = (
        removed_at_retention(
            score, label, np.ones(500), [0.99, 0.9], rng=stream(4, "bootstrap", 0), **drawn
        )
        for _ in range(2)
    )
    assert one == two
