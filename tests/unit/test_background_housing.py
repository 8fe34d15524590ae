"""The stand-off of the housing, measured on events."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from physml.background.housing import Housing, log_likelihood, measure, nearest

STANDOFFS = np.array([4.0, 8.0, 16.0])


def mixture(share, m, rng):
    """Log-likelihood ratios of N(1, 1) to N(-1, 1) for a mixture of both."""
    x = rng.normal(np.where(rng.random(m) < share, 1.0, -1.0))
    return 2 * x


def test_the_likelihood_is_that_of_the_best_share():
    logit = mixture(0.3, 4000, np.random.default_rng(0))
    shares = np.linspace(0, 1, 401)[1:-1]
    each = [np.log(p * np.exp(logit) + 1 - p).sum() for p in shares]
    assert log_likelihood(logit, np.full(4000, 3.0)) == pytest.approx(max(each), abs=0.2)
    assert shares[int(np.argmax(each))] == pytest.approx(0.3, abs=0.05)


def test_each_energy_has_its_own_share():
    rng = np.random.default_rng(1)
    low, high = mixture(0.05, 3000, rng), mixture(0.9, 3000, rng)
    both = np.concatenate([low, high])
    energy = np.repeat([0.5, 6.0], 3000)
    apart = log_likelihood(low, energy[:3000]) + log_likelihood(high, energy[3000:])
    assert log_likelihood(both, energy) == pytest.approx(apart)
    assert log_likelihood(both, np.full(6000, 3.0)) < apart - 50


def test_few_events_say_nothing():
    assert log_likelihood(np.full(20, 5.0), np.full(20, 3.0)) == 0


@dataclass
class Told:
    """Detector whose logits are right for one stand-off and noise for the others."""

    true: float
    standoffs: np.ndarray = field(default_factory=lambda: STANDOFFS)

    def evidence(self, frames, found, rate, standoffs, most):
        rng = np.random.default_rng(int(frames))
        m = min(500, most)
        right = mixture(0.5, m, rng)
        return np.full(m, 3.0), [
            right if s == self.true else rng.permutation(right) for s in standoffs
        ]


def test_the_stand_off_that_suits_the_events_is_found():
    class Shifted(Told):
        def evidence(self, frames, found, rate, standoffs, most):
            energy, logits = super().evidence(frames, found, rate, standoffs, most)
            # Under a wrong stand-off the ratios say less than they claim.
            noise = np.random.default_rng(9).normal(0, 1.5, len(energy))
            pairs = zip(standoffs, logits, strict=True)
            return energy, [v if s == self.true else v + noise - 1.1 for s, v in pairs]

    for true in STANDOFFS:
        parts = [(k, None, np.zeros(1)) for k in range(8)]
        found = measure(Shifted(true), parts)
        assert found.events == 4000
        assert found.standoff == pytest.approx(true, rel=0.05)
        assert found.interval == (true, true)


def test_no_more_events_are_judged_than_needed():
    parts = [(k, None, np.zeros(1)) for k in range(8)]
    assert measure(Told(8.0), parts, enough=1200).events == 1200


def test_without_events_it_is_the_middle():
    housing = measure(Told(8.0), [])
    assert housing.events == 0
    assert housing.standoff == pytest.approx(8.0)
    assert housing.interval == (4.0, 16.0)
    assert Housing(STANDOFFS, np.zeros(3), 0).probability.tolist() == pytest.approx([1 / 3] * 3)


def test_the_nearest_is_told_by_its_logarithm():
    assert [nearest(STANDOFFS, s) for s in (1.0, 5.6, 5.7, 11.2, 11.4, 90.0)] == [0, 0, 1, 1, 2, 2]
