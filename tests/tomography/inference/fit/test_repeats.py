"""Repeats against one another: drift is found whatever state fits; honest data are not blamed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest

from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.measurements import pauli_settings
from physml.tomography.core.readout import Readout, flips
from physml.tomography.core.states import draw, named_state, with_white_noise
from physml.tomography.inference.fit.repeats import compare_repeats
from physml.tomography.inference.goodness import ALARM, goodness_of_fit

BELL = with_white_noise(named_state("phi+", 2), 0.04)
SETTINGS = pauli_settings(2)


def turned(angle):
    """phi+ with white noise after a phase of qubit 0."""
    phase = torch.tensor([1, 1, np.exp(1j * angle), np.exp(1j * angle)], dtype=torch.complex128)
    return phase[:, None] * BELL * phase.conj()


def measure(state_of, order, shots, rng, readout=None):
    """Effects, counts, names of settings in an order; `state_of(t)`, t from 0 to 1."""
    settings = [SETTINGS[k] for k in order]
    if readout is not None:
        settings = [readout.apply(s) for s in settings]
    counts = []
    for place, setting in enumerate(settings):
        rho = state_of(place / max(1, len(order) - 1))
        p = probabilities(torch.from_numpy(setting.effects), rho[None])
        counts.append(sample_counts(p, shots, rng)[0].numpy().astype(np.int64))
    return [s.effects for s in settings], counts, [f"m{k}" for k in range(len(order))]


DRIFTS = {
    "a phase that turns by 1.2 rad": lambda t: turned(1.2 * t),
    "an amplitude that decays": lambda t: with_white_noise(BELL, 0.35 * t),
    "a jump at two thirds": lambda t: turned(0.8 * (t > 2 / 3)),
    "a jump in the middle and back": lambda t: turned(0.8 * (0.4 < t < 0.7)),
}
ORDERS = {
    "in turn": lambda rng: list(range(9)) * 4,
    "at random": lambda rng: rng.permutation(list(range(9)) * 4).tolist(),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_is_found_and_called_drift(drift, order):
    rng = np.random.default_rng(5)
    found = goodness_of_fit(*measure(DRIFTS[drift], ORDERS[order](rng), 500, rng), rng)
    assert found.repeats_p_value < ALARM
    assert "it drifted" in found.warnings[0]
    assert "no state gives" not in " ".join(found.warnings)


def test_a_slow_drift_among_many_small_repeats_is_found_by_its_trend():
    """40 repeats of 20 shots: the ratio of any difference has 1053 degrees of freedom."""
    rng = np.random.default_rng(6)
    data = measure(lambda t: with_white_noise(BELL, 0.35 * t), list(range(9)) * 40, 20, rng)
    found = compare_repeats(*data, rng)
    assert found.p_value < ALARM
    assert chi2.sf(found.statistic, 9 * 3 * 39) > ALARM  # nothing of it there


def test_blocks_that_drift_are_no_drift_that_could_be_shown():
    """Repeats next to one another agree; the halves share one setting only: labels or drift?"""
    rng = np.random.default_rng(7)
    order = [k for k in range(9) for _ in range(4)]
    found = goodness_of_fit(*measure(lambda t: turned(2.5 * t), order, 1000, rng), rng)
    assert found.p_value < ALARM
    assert found.drift_p_value is None
    assert found.warnings


@pytest.mark.parametrize("name", ["X and Y exchanged", "a sign", "two outcomes exchanged"])
def test_wrong_labels_are_no_drift(name):
    """Four rounds, so that repeats agree; and one, whose halves share no setting."""
    right = {s.id: s for s in SETTINGS}
    for rounds in (4, 1):
        rng = np.random.default_rng(8)
        effects, counts, names = measure(lambda t: BELL, list(range(9)) * rounds, 1000, rng)
        if name == "X and Y exchanged":
            labels = [s.id.replace("X", "x").replace("Y", "X").replace("x", "Y") for s in SETTINGS]
            labels = [new[0] + old.id[1] for new, old in zip(labels, SETTINGS, strict=True)]
            effects = [right[label].effects for label in labels] * rounds
        elif name == "a sign":
            counts = [c[[2, 3, 0, 1]] if k % 9 < 3 else c for k, c in enumerate(counts)]
        else:
            counts = [c[[1, 0, 2, 3]] for c in counts]
        found = goodness_of_fit(effects, counts, names, rng)
        assert found.p_value < ALARM
        assert "no state gives such data" in found.warnings[0]
        assert "it drifted" not in found.warnings[0]
        if rounds == 1:
            assert found.drift_p_value is None
            assert found.repeats_p_value is None
            assert "of drift nothing can be said" in found.warnings[0]


@pytest.mark.parametrize("kind", ["mixed", "pure", "few counts", "noisy readout", "one setting"])
def test_honest_repeats_are_not_blamed(kind):
    """60 data sets: p-values no smaller than uniform ones."""
    found = []
    readout = Readout(flips([0.08, 0.03], [0.02, 0.1])) if kind == "noisy readout" else None
    for k in range(60):
        rng = np.random.default_rng([9, k])
        rho = draw("pure" if kind == "pure" else "hs", 1, 4, rng)[0]
        order = [4] * 6 if kind == "one setting" else list(range(9)) * 3
        shots = 5 if kind == "few counts" else 200
        data = measure(lambda _, rho=rho: rho, order, shots, rng, readout)
        found.append(compare_repeats(*data, rng).p_value)
    assert kstest(found, "uniform", alternative="greater").pvalue > 1e-3
    assert min(found) > ALARM / 10


def test_rates_that_change_are_no_drift():
    """Repeats of 20 and of 2000 copies of the same state: only shares are compared."""
    rng = np.random.default_rng(10)
    parts = [measure(lambda t: BELL, list(range(9)), shots, rng) for shots in (20, 2000, 200)]
    data = [[x for part in parts for x in part[i]] for i in range(3)]
    assert compare_repeats(*data, rng).p_value > 0.01


def test_without_repeats_there_is_nothing_to_compare():
    data = measure(lambda t: BELL, list(range(9)), 100, np.random.default_rng(1))
    assert compare_repeats(*data, np.random.default_rng(1)) is None
