"""Numbers about found cavities, against cases worked out by hand and large samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physml.cavities.core.matching import CANDIDATE_DTYPE, LENIENT, PAIR_DTYPE, ScoredSet
from physml.cavities.evaluation import metrics

CAVITY_DTYPE = np.dtype(
    [
        ("image", "i8"),
        ("label", "i8"),
        ("radius", "f8"),
        ("volume", "f8"),
        ("snr", "f8"),
        ("distance", "f8"),
        ("line_of_sight", "f8"),
    ]
)


def scene_of(n_images, cavities, candidates, hits, counts=None) -> ScoredSet:
    """A scene from rows: cavities (image, radius), candidates (image, score, radius, error).

    ``hits`` are (candidate, cavity) pairs with full overlap.
    """
    truth = np.zeros(len(cavities), CAVITY_DTYPE)
    for row, (image, radius) in zip(truth, cavities, strict=True):
        row["image"], row["radius"], row["volume"] = image, radius, 4 / 3 * np.pi * radius**3
    got = np.zeros(len(candidates), CANDIDATE_DTYPE)
    for row, (image, score, radius, error) in zip(got, candidates, strict=True):
        row["image"], row["score"], row["radius"], row["radius_err"] = image, score, radius, error
        row["volume"] = 4 / 3 * np.pi * radius**3
    pairs = np.array([(a, b, 1.0, 1.0) for a, b in hits], PAIR_DTYPE)
    counts = np.full(n_images, 1e4) if counts is None else np.asarray(counts, float)
    return ScoredSet(counts, truth, got, pairs)


def value(summary):
    return summary["value"]


def test_companion_of_a_sure_cavity_needs_only_to_be_likely():
    rows = [(0, 0.9, 5, 1), (0, 0.6, 6, 1), (0, 0.4, 6, 1), (1, 0.6, 7, 1), (1, 0.55, 7, 1)]
    alone = scene_of(3, [(0, 5), (0, 6), (0, 7), (1, 7)], rows, [(0, 0), (1, 1), (2, 2), (3, 3)])
    both = replace(alone, companion=0.5)
    assert alone.decision.tolist() == [0.9, 0.6, 0.4, 0.6, 0.55]
    assert both.decision.tolist() == [0.9, 0.9, 0.4, 0.6, 0.6]
    w = metrics.image_weights(3, 10, seed=1)
    found = [
        value(metrics.detection_metrics(s, limit, w)["completeness"])
        for s in (alone, both)
        for limit in (0.95, 0.8, 0.58, 0.3)
    ]
    assert found == [0, 1 / 4, 3 / 4, 1, 0, 2 / 4, 3 / 4, 1]
    # What alarms is the best candidate of an image, so that the rule costs no false alarm.
    empty = scene_of(3, [], rows, [])
    for e in (empty, replace(empty, companion=0.5)):
        assert metrics.alarm_scores(e).tolist() == [0.9, 0.6, -np.inf]


def test_detection_metrics_by_hand():
    scene = scene_of(
        4,
        [(0, 5), (0, 6), (1, 7), (2, 8)],
        [(0, 0.9, 5, 1), (0, 0.4, 6, 1), (1, 0.8, 7, 1), (3, 0.7, 5, 1), (3, 0.2, 5, 1)],
        [(0, 0), (1, 1), (2, 2)],
    )
    w = metrics.image_weights(4, 50, seed=1)
    got = metrics.detection_metrics(scene, 0.5, w)
    assert value(got["completeness"]) == pytest.approx(2 / 4)
    assert value(got["purity"]) == pytest.approx(2 / 3)
    assert value(got["f1"]) == pytest.approx(4 / 7)
    assert value(got["false_per_image"]) == pytest.approx(1 / 4)
    assert value(got["alarmed"]) == pytest.approx(3 / 4)
    # A threshold of its own for each image.
    got = metrics.detection_metrics(scene, np.array([0.3, 0.85, 0.5, 0.1]), w)
    assert value(got["completeness"]) == pytest.approx(2 / 4)
    assert value(got["false_per_image"]) == pytest.approx(2 / 4)


def test_alarm_scores_and_threshold():
    rows = [(i, s, 5, 1) for i, s in ((0, 0.9), (0, 0.3), (1, 0.5), (2, 0.7), (2, 0.6))]
    empty = scene_of(20, [], rows, [])
    assert metrics.alarm_scores(empty)[:4].tolist() == [0.9, 0.5, 0.7, -np.inf]
    assert metrics.alarm_scores(empty, LENIENT)[:4].tolist() == [0.3, -np.inf, 0.6, -np.inf]
    one = np.ones((1, 20))
    scores = metrics.alarm_scores(empty)
    for level, expected in ((0.05, 0.7), (0.10, 0.5), (0.0, 0.9)):
        threshold = metrics.alarm_threshold(scores, one, level)[0]
        assert (scores >= threshold).mean() <= level
        assert threshold == np.nextafter(expected, 1)
    assert metrics.alarm_threshold(scores, one, 0.15)[0] == 0  # all three may alarm


def test_alarm_rate_needs_images_without_cavities():
    with pytest.raises(ValueError, match="without visible cavities"):
        metrics.alarm_scores(scene_of(1, [(0, 5)], [], []))


def test_ties_stay_below_the_alarm_level():
    """A detector that saturates at 1.0 cannot hide false alarms behind equal scores."""
    empty = scene_of(10, [], [(i, 1.0, 5, 1) for i in range(4)], [])
    threshold = metrics.alarm_threshold(metrics.alarm_scores(empty), np.ones((1, 10)), 0.2)
    assert threshold[0] > 1.0


def test_completeness_at_alarm_of_a_known_detector():
    """Scores N(2, 1) for cavities, N(0, 1) for noise: completeness Phi(2 - z_0.95) = 0.639."""
    rng = np.random.default_rng(5)
    n = 4000
    scores = rng.normal(2, 1, n)
    noise = rng.normal(0, 1, n)
    counts = 10 ** rng.uniform(3.31, 6.4, n)
    full = scene_of(
        n,
        [(i, 5) for i in range(n)],
        [(i, s, 5, 1) for i, s in enumerate(scores)],
        [(i, i) for i in range(n)],
        counts,
    )
    empty = scene_of(n, [], [(i, s, 5, 1) for i, s in enumerate(noise)], [], counts)
    w, we = (metrics.image_weights(n, 60, 1, i) for i in (0, 1))
    got = metrics.completeness_at_alarm(full, empty, w, we)
    assert got["threshold"] == pytest.approx(1.645, abs=0.1)
    assert value(got["overall"]) == pytest.approx(0.639, abs=0.03)
    assert value(got["binned"]) == pytest.approx(0.639, abs=0.03)
    assert got["overall"]["low"] < 0.639 < got["overall"]["high"]
    assert sum(b["cavities"] for b in got["bins"]) == n
    # At twice the alarms more is found.
    more = metrics.completeness_at_alarm(full, empty, w, we, level=0.1)
    assert value(more["overall"]) > value(got["overall"])


def test_interval_covers_as_often_as_it_says():
    """Completeness of a coin with p = 0.7, 200 images: the 95 % interval holds p about so often."""
    inside = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        hit = (rng.random(200) < 0.7).astype(float)
        w = metrics.image_weights(200, 200, seed=trial)
        s = metrics.summarise(metrics.ratio(w, hit, np.ones(200)))
        inside += s["low"] <= 0.7 <= s["high"]
    assert 52 <= inside <= 60


def test_resampling_keeps_images_whole():
    """Two cavities an image, always found together: the interval is that of images, not of 2n."""
    hit = np.repeat([1.0, 0.0], 50) * 2
    w = metrics.image_weights(100, 2000, seed=3)
    s = metrics.summarise(metrics.ratio(w, hit, np.full(100, 2.0)))
    assert s["high"] - s["low"] == pytest.approx(2 * 1.96 * 0.05, rel=0.15)


def test_weighted_quantile_repeats_what_repeating_gives():
    rng = np.random.default_rng(0)
    v = rng.normal(size=301)
    assert metrics.weighted_quantile(v, np.ones((1, 301)), 0.5)[0] == pytest.approx(np.median(v))
    w = rng.integers(0, 4, (3, 301)).astype(float)
    for row, q in zip(w, metrics.weighted_quantile(v, w, 0.84), strict=True):
        assert q == pytest.approx(np.quantile(np.repeat(v, row.astype(int)), 0.84), abs=0.03)
    assert np.isnan(metrics.weighted_quantile(np.zeros(0), np.zeros((2, 0)), 0.5)).all()


def test_sizes_of_a_known_error():
    rng = np.random.default_rng(2)
    n = 3000
    true = rng.uniform(5, 20, n)
    radius = true * 1.05 * np.exp(0.08 * rng.normal(size=n))
    scene = scene_of(
        n,
        list(zip(range(n), true, strict=True)),
        [(i, 0.9, r, 0.08 * r) for i, r in enumerate(radius)],
        [(i, i) for i in range(n)],
    )
    got = metrics.size_metrics(scene, 0.5, metrics.image_weights(n, 20, 1))
    assert got["matched"] == n
    assert value(got["radius_ratio"]) == pytest.approx(1.05, abs=0.01)
    assert value(got["radius_scatter"]) == pytest.approx(0.08 * 1.05, rel=0.06)
    assert value(got["volume_ratio"]) == pytest.approx(1.05**3, abs=0.03)
    assert value(got["pull_median"]) == pytest.approx(0.05 / 1.05 / 0.08, abs=0.08)
    assert value(got["pull_width"]) == pytest.approx(1.0, abs=0.06)
    assert 0.5 < value(got["coverage_68"]) < 0.7
    # What lies below the threshold is not measured.
    assert metrics.size_metrics(scene, 0.95, metrics.image_weights(n, 5, 1))["matched"] == 0


def test_calibration_error_of_honest_and_boastful_probabilities():
    rng = np.random.default_rng(4)
    n = 6000
    p = rng.uniform(0.05, 1, n)
    hits = np.flatnonzero(rng.random(n) < p)

    def error(score):
        scene = scene_of(
            n,
            [(i, 5) for i in hits],
            [(i, s, 5, 1) for i, s in enumerate(score)],
            [(i, k) for k, i in enumerate(hits)],
        )
        return metrics.calibration(scene, metrics.image_weights(n, 10, 1))

    honest = error(p)
    assert value(honest["error"]) < 0.03
    assert sum(b["candidates"] for b in honest["reliability"]) == n
    assert value(error(np.sqrt(p))["error"]) == pytest.approx((np.sqrt(p) - p).mean(), abs=0.02)


def test_completeness_curve_bins_by_property():
    scene = scene_of(4, [(0, 4), (1, 4), (2, 12), (3, 12)], [], [])
    w = metrics.image_weights(4, 10, 1)
    curve = metrics.completeness_curve(scene, [1, 0, 1, 1], w, "radius", (3, 6, 10, 20))
    assert [b["cavities"] for b in curve] == [2, 0, 2]
    assert [b["completeness"]["value"] for b in curve] == [0.5, None, 1.0]


def test_empty_sets_give_none_not_nan():
    scene = scene_of(3, [], [], [])
    w = metrics.image_weights(3, 10, 1)
    got = metrics.detection_metrics(scene, 0.5, w)
    assert got["completeness"]["value"] is None
    assert got["alarmed"]["value"] == 0
    assert metrics.size_metrics(scene, 0.5, w)["radius_ratio"]["value"] is None
    assert metrics.calibration(scene, w)["error"]["value"] is None


def test_alarm_curve_by_hand():
    scene = scene_of(2, [(0, 5), (1, 5)], [(0, 0.9, 5, 1), (1, 0.4, 5, 1)], [(0, 0), (1, 1)])
    empty = scene_of(4, [], [(0, 0.6, 5, 1), (1, 0.2, 5, 1)], [])
    alarmed, completeness = metrics.alarm_curve(scene, empty)
    assert alarmed.tolist() == [0, 0.25, 0.25, 0.5]
    assert completeness.tolist() == [0.5, 0.5, 1.0, 1.0]


def test_pixel_metrics_agree_with_scikit_learn():
    from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

    rng = np.random.default_rng(3)
    truth = rng.random((3, 40, 40)) < 0.2
    logit = rng.normal(size=truth.shape) * 1.5 + np.where(truth, 1.5, -2.0)
    p = (1 / (1 + np.exp(-logit))).astype(np.float16)
    valid = rng.random(truth.shape) < 0.9
    got = metrics.pixel_metrics(p, truth, valid, replicas=20, seed=1)
    y, q = truth[valid], p[valid].astype(float)
    assert value(got["auroc"]) == pytest.approx(roc_auc_score(y, q), abs=1e-3)
    assert value(got["ap"]) == pytest.approx(average_precision_score(y, q), abs=3e-3)
    assert value(got["f1"]) == pytest.approx(f1_score(y, q >= 0.5), abs=1e-9)
    assert value(got["iou"]) == pytest.approx(jaccard_score(y, q >= 0.5), abs=1e-9)


def test_pixel_calibration_error():
    rng = np.random.default_rng(3)
    p = rng.uniform(0, 1, (4, 100, 100))
    truth = rng.random(p.shape) < p
    everywhere = np.ones(p.shape, bool)

    def error(q):
        made = metrics.pixel_metrics(q, truth, everywhere, replicas=5, seed=1)
        return value(made["calibration_error"])

    assert error(p) < 0.02
    assert error(np.sqrt(p)) == pytest.approx(0.17, abs=0.03)
