"""Pixel metrics against scikit-learn, intervals against their theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from physml.evaluation import bootstrap as boot
from physml.evaluation.metrics import (
    PixelScores,
    auroc,
    average_precision,
    f1,
    iou,
    precision,
    recall,
)


def maps(n: int = 12, size: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probability maps that are right more often than not, mostly near 0, and truth masks."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, size, size)) < 0.08
    logits = rng.normal(-4, 2, truth.shape) + 5 * truth
    return expit(logits), truth


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray, PixelScores]:
    probability, truth = maps()
    scores = PixelScores()
    for part in (slice(0, 5), slice(5, 12)):  # streamed
        scores.add(probability[part], truth[part])
    return probability, truth, scores


def test_ranking_metrics_agree_with_scikit_learn(scored) -> None:
    probability, truth, scores = scored
    p, n = scores.positives.sum(axis=0), scores.negatives.sum(axis=0)
    y, s = truth.ravel(), probability.ravel()
    assert auroc(p, n) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-4)
    assert average_precision(p, n) == pytest.approx(sk.average_precision_score(y, s), abs=5e-4)


def test_ranking_metrics_are_exact_for_scores_with_ties() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(500) < 0.3
    level = np.clip(rng.integers(0, 8, 500) + 2 * truth, 0, 8)  # nine values: many ties
    p = np.bincount(level[truth], minlength=9)
    n = np.bincount(level[~truth], minlength=9)
    assert auroc(p, n) == pytest.approx(sk.roc_auc_score(truth, level), rel=1e-12)
    assert average_precision(p, n) == pytest.approx(
        sk.average_precision_score(truth, level), rel=1e-12
    )


def test_threshold_metrics_equal_scikit_learn(scored) -> None:
    probability, truth, scores = scored
    y, guess = truth.ravel(), probability.ravel() >= 0.5
    total = scores.counts.sum(axis=0)
    assert f1(total) == pytest.approx(sk.f1_score(y, guess))
    assert iou(total) == pytest.approx(sk.jaccard_score(y, guess))
    assert precision(total) == pytest.approx(sk.precision_score(y, guess))
    assert recall(total) == pytest.approx(sk.recall_score(y, guess))


def test_threshold_itself_counts_as_positive() -> None:
    scores = PixelScores(0.3)
    scores.add(np.array([[[0.3, 0.29999]]]), np.array([[[True, True]]]))
    assert scores.counts.tolist() == [[1, 0, 1]]


def test_invalid_pixels_are_not_counted(scored) -> None:
    probability, truth, _ = scored
    valid = np.random.default_rng(2).random(truth.shape) < 0.7
    # What is masked may be anything, even NaN.
    scores = PixelScores()
    scores.add(np.where(valid, probability, np.nan), truth, valid)
    y, s = truth[valid], probability[valid]
    p, n = scores.positives.sum(axis=0), scores.negatives.sum(axis=0)
    assert p.sum() + n.sum() == valid.sum()
    assert auroc(p, n) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-4)
    assert f1(scores.counts.sum(axis=0)) == pytest.approx(sk.f1_score(y, s >= 0.5))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    probability = np.full((1, 2, 2), 0.5)
    probability[0, 1, 1] = bad
    with pytest.raises(ValueError, match="must lie in"):
        PixelScores().add(probability, np.zeros((1, 2, 2), bool))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 2\), \(1, 2, 3\)"):
        PixelScores().add(np.zeros((1, 2, 2)), np.zeros((1, 2, 3), bool))


def test_undefined_metrics_are_nan() -> None:
    scores = PixelScores()
    scores.add(np.zeros((3, 4, 4)), np.zeros((3, 4, 4), bool))
    summary = scores.summary(np.random.default_rng(0), replicas=20)
    for name in ("auroc", "average_precision", "f1", "recall", "precision", "iou"):
        assert np.isnan(summary[name].value), name
        assert np.isnan(summary[name].low), name


def test_summary_has_intervals_around_its_values(scored) -> None:
    probability, truth, scores = scored
    summary = scores.summary(np.random.default_rng(0), replicas=200)
    for name, interval in summary.items():
        assert interval.low <= interval.value <= interval.high, name
    jaccard = sk.jaccard_score(truth.ravel(), probability.ravel() >= 0.5)
    assert summary["iou"].value == pytest.approx(jaccard)


def test_bootstrap_of_the_average_precision_equals_the_slow_way() -> None:
    """Resampling images and computing anew gives the replicas of the matrix product."""
    probability, truth = maps(n=6, size=16, seed=3)
    scores = PixelScores()
    scores.add(probability, truth)
    (weights,) = boot.resampling_weights(6, 5, np.random.default_rng(9))
    for row in weights.astype(int):
        drawn = np.repeat(np.arange(6), row)
        slow = sk.average_precision_score(truth[drawn].ravel(), probability[drawn].ravel())
        fast = average_precision(row @ scores.positives, row @ scores.negatives)
        assert fast == pytest.approx(slow, abs=2e-3)


def mean(values: np.ndarray, **options) -> boot.Interval:
    """Bootstrap of a mean."""
    return boot.bootstrap_ratio(values, np.ones_like(values), **options)


def test_interval_of_a_mean_has_the_width_of_theory() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, 400)
    interval = mean(values, rng=rng, replicas=4000, level=0.95)
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        interval = mean(rng.exponential(1.0, 80), rng=rng, replicas=300, level=0.68)
        inside += interval.low <= 1.0 <= interval.high
    # 0.68 with a binomial error of 0.027, and the percentile method's small deficit.
    assert inside / 300 == pytest.approx(0.67, abs=0.08)


def test_images_are_resampled_and_not_their_cavities() -> None:
    """Ten copies of each cavity in an image must not make the interval narrower."""
    rng = np.random.default_rng(2)
    hits = (rng.random(200) < 0.8).astype(float)
    one = boot.bootstrap_ratio(hits, np.ones(200), rng=rng, replicas=3000)
    ten = boot.bootstrap_ratio(10 * hits, np.full(200, 10.0), rng=rng, replicas=3000)
    assert ten.value == pytest.approx(one.value)
    assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=0.1)


def test_replicas_do_not_depend_on_the_chunks(monkeypatch) -> None:
    values = np.arange(50.0)
    whole = mean(values, rng=np.random.default_rng(3))
    monkeypatch.setattr(boot, "CHUNK_ELEMENTS", 700)
    assert mean(values, rng=np.random.default_rng(3)) == whole


def test_replicas_that_are_not_defined_are_left_out() -> None:
    # One image in three has a cavity: some replicas have none at all.
    interval = boot.bootstrap_ratio(
        np.array([1.0, 0, 0]), np.array([2.0, 0, 0]), rng=np.random.default_rng(0)
    )
    assert interval == (0.5, 0.5, 0.5)
    empty = boot.bootstrap_ratio(np.zeros(3), np.zeros(3), rng=np.random.default_rng(0))
    assert np.isnan(empty).all()
    assert np.isnan(mean(np.array([]), rng=np.random.default_rng(0))).all()


def test_interval_formats_all_three() -> None:
    assert f"{boot.Interval(0.5, 0.25, 0.75):.2f}" == "0.50 [0.25, 0.75]"


def test_quantiles_of_repeated_values_equal_numpys() -> None:
    rng = np.random.default_rng(4)
    values = np.sort(rng.normal(size=23))
    repeats = rng.multinomial(23, np.full(23, 1 / 23), size=40)
    wanted = np.array([0.0, 0.16, 0.5, 0.84, 1.0])
    found = boot.repeated_quantile(values, repeats, wanted)
    for row, quantiles in zip(repeats, found, strict=True):
        assert quantiles == pytest.approx(np.quantile(np.repeat(values, row), wanted))
    assert np.isnan(boot.repeated_quantile(values, np.zeros(23), wanted)).all()
