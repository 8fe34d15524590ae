"""Probabilities of the kinds of structures, on pairs that the constants were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from physml.cavities.inference.two_bands import SYSTEMATIC
from physml.cavities.learning.band_pairs import SEED, fit, reliability, samples


@pytest.mark.slow
def test_verdicts_hold_on_other_pairs():
    found = reliability(samples(SEED + 3, range(150)))
    assert found["structures"] > 120
    assert found["right"] > 0.5
    assert 0.05 < found["told"] < 0.5
    # A verdict has at least 0.8; structures of one pair share their errors.
    assert found["told_right"] > 0.75
    assert found["score"] > np.log(1 / 3) + 0.1
    for said, right, number in found["bins"]:
        # Twice the binomial error: a pair holds two structures on average, and more.
        assert right > said - 2 * np.sqrt(2 * said * (1 - said) / number) - 0.05


def test_fit_finds_the_small_error_of_exact_models():
    """Two structures are enough to see that it returns what it tried."""
    chosen = samples(SEED, range(2))
    found = fit(chosen)
    assert found["small"] < found["large"]
    assert 0 < found["share"] < 1
    assert found["score"] < 0
    assert sum(share for _, share in SYSTEMATIC) == pytest.approx(1)
