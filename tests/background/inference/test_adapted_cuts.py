"""Cuts that are moved to hold on the frames they are used on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from physml.background.inference.adapted_cuts import PSEUDO_XRAYS, Xrays, adapt
from physml.background.inference.cuts import Scores, fit_thresholds

LEVELS = np.array([0.8, 0.9, 0.95, 0.98, 0.99])
EDGES = np.array([0.2, 1.0, 3.0, 15.0])


def xrays(m, seed, shift=0.0, draws=6):
    """X-rays whose logits depend on energy and rate, and are higher by a shift."""
    rng = np.random.default_rng(seed)
    energy = np.exp(rng.uniform(np.log(0.2), np.log(15), m))
    rate = np.exp(rng.uniform(np.log(0.2), np.log(2), m))
    middle = 0.3 * np.log(energy) + 0.5 * np.log(rate) + shift
    return Xrays(rng.normal(middle[:, None], 1, (m, draws)), energy, rate, np.ones(m))


@pytest.fixture(scope="module")
def table():
    def scores(seed):
        made = xrays(60_000, seed, draws=1)
        return Scores(made.logit[:, 0], made.energy, made.rate)

    return fit_thresholds(
        scores(1),
        scores(2),
        retention=LEVELS,
        energy_edges=EDGES,
        rate_edges=[0.2, 0.6, 2.0],
        spectrum=(np.array([0.5, 2.0, 5.0]), np.ones(3)),
    )


def kept(table, of, level):
    cut = table.logit(of.energy, level, rate=of.rate)
    return float((of.logit < cut[:, None]).mean())


@pytest.mark.parametrize("shift", [-0.8, 0.0, 0.6])
def test_cuts_keep_what_they_promise_where_the_table_does_not(table, shift):
    moved = adapt(table, xrays(20_000, 3, shift))
    other = xrays(20_000, 4, shift)
    for level in LEVELS:
        assert kept(moved, other, level) == pytest.approx(level, abs=0.004)
        if shift:
            assert abs(kept(table, other, level) - level) > 0.008


def test_a_shift_that_depends_on_energy_is_followed(table):
    def tilted(seed):
        made = xrays(30_000, seed)
        return Xrays(made.logit + 0.5 * np.log(made.energy)[:, None], *_rest(made))

    moved, other = adapt(table, tilted(5)), tilted(6)
    for low, high in pairwise(EDGES):
        inside = (other.energy >= low) & (other.energy < high)
        part = Xrays(other.logit[inside], *(v[inside] for v in _rest(other)))
        assert kept(moved, part, 0.95) == pytest.approx(0.95, abs=0.01)


def _rest(x):
    return x.energy, x.rate, x.weight


def test_few_xrays_move_little(table):
    few = adapt(table, xrays(12, 7, shift=2.0))
    many = adapt(table, xrays(20_000, 7, shift=2.0))
    step = (few.cut - table.cut).mean() / (many.cut - table.cut).mean()
    number = 12 * 3 / (len(EDGES) - 1)
    assert step < 2 * number / (number + PSEUDO_XRAYS)


def test_without_xrays_nothing_moves(table):
    none = Xrays(np.zeros((0, 6)), np.zeros(0), np.zeros(0), np.zeros(0))
    made = adapt(table, none)
    np.testing.assert_array_equal(made.cut, table.cut)
    expected = np.broadcast_to(LEVELS[:, None, None], table.measured.shape)
    np.testing.assert_allclose(made.measured, expected)


def test_what_is_kept_is_measured_on_other_draws(table):
    made = adapt(table, xrays(20_000, 8, shift=0.6))
    off = made.measured - LEVELS[:, None, None]
    assert (np.abs(off) < 5 * made.error).all()
    assert np.abs(off).max() > 0  # not what the cuts were made from
    assert (made.error[-1] < 0.0025).all()


def test_larger_shares_never_have_lower_cuts(table):
    made = adapt(table, xrays(40, 9, shift=-1.0))
    assert (np.diff(made.cut, axis=0) >= 0).all()


def test_xrays_that_fell_onto_a_cluster_do_not_count(table):
    some = xrays(20_000, 10, shift=0.6)
    holes = some.logit.copy()
    holes[np.random.default_rng(0).random(holes.shape) < 0.2] = np.nan
    one, two = adapt(table, some), adapt(table, Xrays(holes, *_rest(some)))
    np.testing.assert_allclose(two.cut, one.cut, atol=0.15)
