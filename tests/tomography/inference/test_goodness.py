"""Goodness of fit: silent for data of a state, loud for what no state gives, and for drift."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from physml.tomography.core import born as measure
from physml.tomography.core import measurements as povm
from physml.tomography.core import states
from physml.tomography.data.records_file import load_records
from physml.tomography.inference.goodness import ALARM, goodness_of_fit
from physml.tomography.inference.tomographer import Tomographer


def simulate(rho_of, settings, shots, rng):
    """Effects, counts and names; `rho_of(k)` is the state of setting k."""
    counts = []
    for k, setting in enumerate(settings):
        p = measure.probabilities(torch.from_numpy(setting.effects), rho_of(k)[None])
        counts.append(measure.sample_counts(p, shots, rng)[0].numpy().astype(np.int64))
    return [s.effects for s in settings], counts, [f"{k}" for k in range(len(settings))]


@pytest.mark.parametrize("ensemble", ["hs", "pure"])
def test_p_values_of_good_data_are_uniform_enough(ensemble):
    """Pauli data of 12 two-qubit states: for pure ones the estimate lies on the border."""
    found = []
    for k in range(12):
        rng = np.random.default_rng(k)
        rho = states.draw(ensemble, 1, 4, rng)[0]
        data = simulate(lambda _, rho=rho: rho, povm.pauli_settings(2) * 2, 300, rng)
        fit = goodness_of_fit(*data, rng, replicates=30)
        assert fit.passed
        found.append((fit.p_value, fit.drift_p_value))
    for values in zip(*found, strict=True):
        # The bootstrap at an estimated state is a little cautious: 1e-3 allows for that.
        assert kstest(values, "uniform").pvalue > 1e-3


def test_degrees_of_freedom_inside_the_ball():
    """Mixed states, many copies: chi-squared of 36 outcomes - 9 settings - 15 parameters."""
    rng = np.random.default_rng(1)
    rho = torch.diag(torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.complex128))
    data = simulate(lambda _: rho, povm.pauli_settings(2), 4000, rng)
    fit = goodness_of_fit(*data, rng, replicates=200)
    # The mean of 200 values of variance 24: error 0.35.
    assert fit.degrees_of_freedom == pytest.approx(36 - 9 - 15, abs=1.5)


def test_drift_is_told_from_misfit():
    rng = np.random.default_rng(3)
    a, b = states.draw("hs", 2, 4, rng)
    settings = povm.pauli_settings(2) * 4
    drifting = simulate(lambda k: a + (b - a) * (k // 9) / 6, settings, 1000, rng)
    fit = goodness_of_fit(*drifting, rng)
    assert fit.drift_p_value < ALARM
    assert "drifted" in fit.warnings[0]
    still = simulate(lambda _: a, settings, 1000, rng)
    swapped = [np.roll(c, 1) if k % 9 == 4 else c for k, c in enumerate(still[1])]
    wrong = goodness_of_fit(still[0], swapped, still[2], rng)
    assert wrong.p_value < ALARM
    assert "no state gives" in wrong.warnings[0]
    assert max(wrong.residuals, key=wrong.residuals.get) == "4"  # and which setting it was


def test_one_setting_fits_always_and_tells_nothing_of_drift():
    setting = povm.pauli_settings(1)[0]
    fit = goodness_of_fit([setting.effects], [np.array([90, 10])], ["X"], np.random.default_rng(0))
    assert fit.drift_p_value is None
    assert fit.passed


def test_cases_of_wrong_labels_and_of_drift(shared_data):
    """X and Y exchanged on qubit 0 is no drift; a phase that turns by 1.2 rad is."""
    folder = shared_data.parent / "cases" / "tomography"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}")

    def fit(name):
        records = load_records(folder / name)
        return Tomographer.from_records(records, estimator="linear").goodness_of_fit()

    swapped = fit("01_false_drift_xy_swapped.csv")
    assert "no state gives such data" in swapped.warnings[0]
    assert "it drifted" not in " ".join(swapped.warnings)
    assert swapped.drift_p_value is None
    assert "the axes X and Y of qubit 0 are exchanged" in swapped.warnings[1]
    drifted = fit("02_real_drift_called_labels.csv")
    assert "it drifted" in drifted.warnings[0]
    assert len(drifted.warnings) == 1
    # The case's README has chi2 801 of 81 degrees of freedom, Pearson's form of this.
    assert drifted.repeats_statistic == pytest.approx(801, rel=0.05)
    assert drifted.repeats_degrees_of_freedom == pytest.approx(81, rel=0.05)
