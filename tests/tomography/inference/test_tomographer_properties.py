"""Estimates do not depend on the order or the grouping of the counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes.tomography import noisy, pauli_data
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.tomography import Tomographer

DATA = pauli_data(noisy("psi+", 0.1), 120)


def estimate(data, estimator):
    made = Tomographer(2, "pauli", estimator)
    for k, (setting, counts) in enumerate(data):
        made.update(replace(setting, id=f"{k}"), counts)
    return made.density_matrix


@pytest.mark.parametrize(
    ("estimator", "tolerance"), [("linear", 1e-10), ("maximum_likelihood", 0.02)]
)
@settings(max_examples=8, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_order_and_grouping_do_not_matter(estimator, tolerance, chance):
    """Maximum likelihood stops at a certified distance of 1e-3 from the maximum, not at it."""
    parts = []
    for setting, counts in DATA:
        share = np.array([chance.randint(0, int(c)) for c in counts])
        parts += [(setting, c) for c in (share, counts - share) if c.sum()]
    chance.shuffle(parts)
    difference = estimate(parts, estimator) - estimate(DATA, estimator)
    assert np.abs(difference).max() < tolerance
