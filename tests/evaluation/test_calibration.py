"""Calibration against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.calibration import _sigmoid_calibration, calibration_curve

from physml.evaluation.bootstrap import bootstrap_sums
from physml.evaluation.calibration import (
    FOREGROUND,
    Reliability,
    calibration_error,
    error_scale,
    fit_platt,
    wilson,
)


def drawn(n: int, seed: int = 0, bias=lambda p: p) -> tuple[np.ndarray, np.ndarray]:
    """Predictions, and outcomes that happen with probability bias(prediction)."""
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    return p, rng.random(n) < bias(p)


def test_curve_equals_scikit_learns() -> None:
    p, y = drawn(5000, bias=lambda p: p**2)
    reliability = Reliability(10)
    reliability.add(p, y)
    observed, predicted = calibration_curve(y, p, n_bins=10)
    assert reliability.observed == pytest.approx(observed)
    assert reliability.predicted == pytest.approx(predicted)


def test_error_has_its_closed_form() -> None:
    # Outcome with probability p^2 where p is said: E|p - p^2| = 1/2 - 1/3.
    p, y = drawn(400_000, bias=lambda p: p**2)
    reliability = Reliability(100)
    reliability.add(p, y)
    assert reliability.ece() == pytest.approx(1 / 6, abs=3e-3)


def test_calibrated_predictions_have_next_to_no_error() -> None:
    reliability = Reliability(20)
    reliability.add(*drawn(400_000))
    assert reliability.ece() < 0.005
    assert reliability.ece(FOREGROUND) < 0.005


def test_foreground_error_is_not_diluted_by_the_sky() -> None:
    rng = np.random.default_rng(0)
    sky, source = np.full(95_000, 0.001), np.full(5_000, 0.81)
    outcome = np.concatenate([rng.random(95_000) < 0.001, rng.random(5_000) < 0.51])
    reliability = Reliability()
    reliability.add(np.concatenate([sky, source]), outcome)
    assert reliability.ece() == pytest.approx(0.05 * 0.30, abs=2e-3)
    assert reliability.ece(FOREGROUND) == pytest.approx(0.30, abs=0.03)
    # And a map that says nothing above the floor has none.
    background = Reliability()
    background.add(sky, outcome[:95_000])
    assert np.isnan(background.ece(FOREGROUND))


def test_certainty_is_in_the_last_bin() -> None:
    reliability = Reliability(10)
    reliability.add(np.array([1.0, 0.95, 0.9, 0.0]), np.array([1, 1, 0, 0]))
    assert reliability.count.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert reliability.observed[-1] == pytest.approx(2 / 3)


def test_streaming_and_merging_give_the_same_as_all_at_once() -> None:
    p, y = drawn(3000, seed=1)
    whole, parts, first, second = (Reliability() for _ in range(4))
    whole.add(p, y)
    for chunk in np.array_split(np.arange(3000), 7):
        parts.add(p[chunk], y[chunk])
    first.add(p[:1000], y[:1000])
    second.add(p[1000:], y[1000:])
    for other in (parts, first + second):
        assert np.array_equal(other.count, whole.count)
        assert other.sums == pytest.approx(whole.sums)
    with pytest.raises(ValueError, match="20 bins and 10 bins"):
        whole + Reliability(10)


def test_memory_does_not_grow() -> None:
    reliability = Reliability(15)
    reliability.add(*drawn(100_000))
    held = [v for v in vars(reliability).values() if isinstance(v, np.ndarray)]
    assert {v.shape for v in held} == {(15,)}


def test_a_mask_chooses_what_counts() -> None:
    p, y = drawn(1000)
    where = p > 0.5
    masked, chosen = Reliability(), Reliability()
    masked.add(
        np.where(where, p, np.nan).reshape(10, 100), y.reshape(10, 100), where.reshape(10, 100)
    )
    chosen.add(p[where], y[where])
    assert np.array_equal(masked.sums, chosen.sums)


@pytest.mark.parametrize("bad", [np.nan, -1e-3, 1.001])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        Reliability().add(np.array([0.5, bad]), np.array([0, 1]))
    with pytest.raises(ValueError, match="shape"):
        Reliability().add(np.zeros(3), np.zeros(4))


def test_foreground_must_begin_at_a_bin() -> None:
    with pytest.raises(ValueError, match="not the lower edge"):
        Reliability(10).ece(above=FOREGROUND)


def test_error_has_a_bootstrap_interval_over_images() -> None:
    rows, total = [], Reliability()
    for seed in range(60):
        image = Reliability()
        image.add(*drawn(500, seed=seed, bias=lambda p: p**2))
        rows.append(image.sums)
        total = total + image
    interval = bootstrap_sums(np.array(rows), calibration_error, rng=np.random.default_rng(0))
    assert interval.value == pytest.approx(total.ece())
    assert interval.low < 1 / 6 < interval.high
    assert interval.high - interval.low < 0.03


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (480, 1000)])
def test_wilson_interval_equals_scipys(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(0.68, method="wilson")
    assert wilson(k, n, 0.68) == pytest.approx([expected.low, expected.high], abs=1e-12)
    # Without trials nothing is known.
    assert wilson([0, k], [0, n]).tolist() == [[0, 1], wilson(k, n).tolist()]


def test_platt_equals_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 2, 400)
    y = (rng.random(x.size) < expit(0.5 * x - 1)).astype(float)
    a, b = _sigmoid_calibration(x, y)  # sigmoid(-(a x + b))
    scaling = fit_platt(x, y)
    assert scaling.slope == pytest.approx(-a, rel=1e-4)
    assert scaling.offset == pytest.approx(-b, rel=1e-4)


def test_platt_recovers_slope_and_offset() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(0, 2, 300_000)
    y = rng.random(x.size) < expit(0.7 * x - 1.5)
    scaling = fit_platt(x.reshape(300, -1), y.reshape(300, -1))
    assert scaling.slope == pytest.approx(0.7, rel=0.02)
    assert scaling.offset == pytest.approx(-1.5, rel=0.02)


def test_separable_outcomes_have_a_finite_slope() -> None:
    x = np.array([-3.0, -2, -1, 1, 2, 3])
    assert 0 < fit_platt(x, x > 0).slope < 100  # Platt's targets


def test_useless_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_platt(np.array([np.inf, 1.0]), np.array([1, 0]))
    with pytest.raises(ValueError, match="shapes differ"):
        fit_platt(np.zeros(3), np.zeros(2))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_scale_of_errors(scale: float) -> None:
    pulls = np.random.default_rng(6).normal(0, scale, 40_000)
    assert error_scale(pulls) == pytest.approx(scale, rel=0.02)
    inside = np.abs(pulls / error_scale(pulls)) <= 1
    assert inside.mean() == pytest.approx(0.6827, abs=1e-3)
    assert np.isnan(error_scale(np.array([])))
