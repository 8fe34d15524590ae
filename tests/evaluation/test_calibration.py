"""Calibration against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest, norm
from sklearn.calibration import _sigmoid_calibration, calibration_curve
from sklearn.linear_model import LogisticRegression

from physml.evaluation.bootstrap import bootstrap_sums
from physml.evaluation.calibration import (
    FOREGROUND,
    Reliability,
    Scaling,
    calibration_error,
    coverage,
    coverage_curve,
    error_scale,
    fit_platt,
    fit_temperature,
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
    assert reliability.mce() == pytest.approx(1 / 4, abs=0.03)
    # E (p - y)^2 = E p^2 - 2 p p^2 + p^2 = 2/3 - 1/2.
    assert reliability.brier() == pytest.approx(1 / 6, abs=3e-3)


def test_calibrated_predictions_have_next_to_no_error() -> None:
    reliability = Reliability(20)
    reliability.add(*drawn(400_000))
    assert reliability.ece() < 0.005
    assert reliability.foreground_ece() < 0.005


def test_foreground_error_is_not_diluted_by_the_sky() -> None:
    rng = np.random.default_rng(0)
    sky, source = np.full(95_000, 0.001), np.full(5_000, 0.81)
    outcome = np.concatenate([rng.random(95_000) < 0.001, rng.random(5_000) < 0.51])
    reliability = Reliability()
    reliability.add(np.concatenate([sky, source]), outcome)
    assert reliability.ece() == pytest.approx(0.05 * 0.30, abs=2e-3)
    assert reliability.foreground_ece() == pytest.approx(0.30, abs=0.03)
    # And a map that says nothing above the floor has none.
    background = Reliability()
    background.add(sky, outcome[:95_000])
    assert np.isnan(background.foreground_ece())


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
        assert other.brier() == pytest.approx(whole.brier())
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
    assert np.isnan(wilson(0, 0)).all()


# ---------------------------------------------------------------- recalibration


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(-1, 2, 200_000)
    outcome = rng.random(true.size) < expit(true)
    scaling = fit_temperature(temperature * true, outcome)
    assert scaling.temperature == pytest.approx(temperature, rel=0.02)
    assert scaling.offset == 0
    # And the calibration error goes with it.
    before, after = Reliability(), Reliability()
    before.add(expit(temperature * true), outcome)
    after.add(scaling(expit(temperature * true)), outcome)
    assert after.ece() < 0.006
    if temperature != 1:
        assert before.ece() > 0.03


def test_temperature_minimises_the_cross_entropy() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 3, 3000)
    y = (rng.random(x.size) < expit(x / 2 + 0.5)).astype(float)

    def entropy(slope: float) -> float:
        return float(np.mean(np.logaddexp(0, slope * x) - y * slope * x))

    best = fit_temperature(x, y).slope
    assert all(entropy(best) <= entropy(best * f) for f in (0.99, 0.999, 1.001, 1.01))


def test_temperature_equals_logistic_regression_without_offset() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(0, 3, 3000)
    y = rng.random(x.size) < expit(x / 2)
    weight = rng.integers(1, 4, x.size)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    model.fit(x[:, None], y, sample_weight=weight)
    assert fit_temperature(x, y, weight).slope == pytest.approx(model.coef_[0, 0], rel=1e-5)


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


def test_separable_outcomes() -> None:
    x = np.array([-3.0, -2, -1, 1, 2, 3])
    y = x > 0
    with pytest.raises(ValueError, match="agrees with its logit"):
        fit_temperature(x, y)
    assert 0 < fit_platt(x, y).slope < 100  # Platt's targets keep it finite


def test_reversed_and_useless_logits_are_refused() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 2, 1000)
    y = rng.random(1000) < expit(-x)
    with pytest.raises(ValueError, match="do not rise"):
        fit_temperature(x, y)
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.array([np.inf, 1.0]), np.array([1, 0]))
    with pytest.raises(ValueError, match="shapes differ"):
        fit_temperature(x, y[:10])


def test_scaling_keeps_certainty_and_order_and_survives_storage() -> None:
    scaling = Scaling(0.5, -1.0)
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    scaled = scaling(p)
    assert scaled[0] == 0
    assert scaled[-1] == 1
    assert scaled[1:4] == pytest.approx(expit(0.5 * logit(p[1:4]) - 1))
    assert np.all(np.diff(scaled) > 0)
    assert Scaling.from_dict(scaling.as_dict()) == scaling
    assert Scaling()(p) == pytest.approx(p)


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_coverage_of_normal_errors(scale: float) -> None:
    pulls = np.random.default_rng(6).normal(0, scale, 40_000)
    expected = 2 * norm.cdf(norm.ppf((1 + 0.6827) / 2) / scale) - 1
    fraction, (low, high) = coverage(pulls)
    assert fraction == pytest.approx(expected, abs=0.01)
    assert low < fraction < high
    assert high - low == pytest.approx(2 * np.sqrt(expected * (1 - expected) / 40_000), rel=0.05)
    assert error_scale(pulls) == pytest.approx(scale, rel=0.02)
    assert coverage(pulls / error_scale(pulls))[0] == pytest.approx(0.6827, abs=1e-3)


def test_coverage_curve_is_the_diagonal_for_right_errors() -> None:
    pulls = np.random.default_rng(7).normal(size=40_000)
    levels = np.linspace(0.05, 0.95, 19)
    assert coverage_curve(pulls, levels) == pytest.approx(levels, abs=0.01)
    assert coverage_curve(pulls, np.array([0.6827]))[0] == coverage(pulls)[0]


def test_no_errors_no_coverage() -> None:
    assert np.isnan(coverage(np.array([]))[0])
    assert np.isnan(error_scale(np.array([])))
    assert np.isnan(coverage_curve(np.array([]), np.array([0.5]))).all()
