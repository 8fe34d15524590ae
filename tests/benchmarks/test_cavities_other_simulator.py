"""The second generator of clusters, and the table that is made of what is found there."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def scenes(script):
    script("cavities_other_simulator")
    return script("cavities_other_simulator.scenes")


def test_chords_add_up_to_the_volume(scenes):
    body = scenes.draw_bodies(np.random.default_rng(3), partial=True)[0]
    a, b, theta = body.outline()
    y, x = np.mgrid[-120:120:0.5, -120:120:0.5]
    _, half = body.chord(x, y)
    assert (2 * half).sum() * 0.25 == pytest.approx(body.volume, rel=0.01)
    assert (half > 0).sum() * 0.25 == pytest.approx(np.pi * a * b, rel=0.02)
    u, v = x - body.centre[0], y - body.centre[1]
    along, across = u * np.cos(theta) + v * np.sin(theta), v * np.cos(theta) - u * np.sin(theta)
    shadow = (along / a) ** 2 + (across / b) ** 2 < 1
    assert (shadow == (half > 0)).mean() > 0.999


def test_each_kind_has_what_it_says(scenes):
    def drawn(number=2, **what):
        return scenes.draw_scene(number, scenes.JUDGING, scenes.Kind(**what))

    plain, again = drawn(), drawn()
    np.testing.assert_array_equal(plain.counts, again.counts)
    assert plain.labels.max() >= 1
    assert np.all(plain.exposure == 1)
    none = drawn(empty=True)
    assert none.bodies == []
    assert none.labels.max() == 0
    field = drawn(empty=True, round=True)
    assert np.all(field.exposure == 1)  # as far as the observer knows
    assert field.counts[0, 0] == 0
    assert (field.counts[40:88, 40:88] > 0).mean() > 0.2
    noisy = drawn(empty=True, noisy=True)
    values = np.unique(noisy.counts[noisy.counts > 0])
    np.testing.assert_allclose(values / values[0], np.round(values / values[0]), atol=1e-9)
    assert 1.5 <= values[0] <= 3
    seeds = [
        tuple(scenes.Kind(**what).seed(2, judging))
        for judging in (True, False)
        for what in ({}, {"empty": True}, {"strength": 1.5}, {"nuisance": True}, {"partial": True})
    ]
    assert len(set(seeds)) == len(seeds)


def test_perfect_findings_are_perfect_in_the_tables(script):
    benchmark = script("cavities_other_simulator")
    searched = script("cavities_other_simulator.searched")
    n = 12
    true = np.zeros((n, 128, 128), np.uint8)
    true[:, 20:40, 20:40] = 1
    cavities = np.array([(i, 1, 10.0, 4000.0) for i in range(n)], searched.CAVITY)

    def found(radius, score, cavities, true):
        rows = [(i, 1, score, 30, 30, radius, 0.5, 4000 * (radius / 10) ** 3) for i in range(n)]
        made = np.array(rows, searched.CANDIDATE_DTYPE)
        totals = np.geomspace(6e3, 5e5, n)
        labels = np.zeros((n, 128, 128), np.uint8)
        labels[:, 20:40, 20:40] = 1
        network = made.copy()
        network["radius"] *= 1.1
        sure = np.full(n, int(score > 0.6))
        return searched.Searched(
            totals, np.full(n, 0.6), sure, cavities, true, labels, made, network, np.full(n, 0.5)
        )

    empty = np.zeros(0, searched.CAVITY)
    sets = {
        "clean": found(10.0, 0.9, cavities, true),
        "none": found(10.0, 0.2, empty, np.zeros_like(true)),
    }
    numbers = benchmark.numbers_of(sets, 20) | {"ledger": "sealed"}
    clean, none = numbers["sets"]["clean"], numbers["sets"]["none"]
    assert clean["overall"]["value"] == clean["faint"]["value"] == clean["f1"]["value"] == 1
    assert clean["printed"]["radius_scatter"]["value"] == 0
    assert clean["network"]["radius_ratio"]["value"] == pytest.approx(1.1)
    assert none["alarmed"]["value"] == none["sure"]["value"] == 0
    text = benchmark.tables(numbers)
    assert "| radius scatter, clean | **<= 0.060** | 0.000 (0.000-0.000) | met |" in text["goals"]
    assert "+10.0%" in text["sizes"]
