"""The stand-off of the housing, measured on events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physml.background.inference.cuts import nearest
from physml.background.inference.housing import ENDS, Housing, mixture

STANDOFFS = np.array([4.0, 8.0, 16.0])


def sample(share, m, rng):
    """Log-likelihood ratios of N(1, 1) to N(-1, 1) for a mixture of both, and for the second."""
    x = rng.normal(np.where(rng.random(m) < share, 1.0, -1.0))
    return 2 * x, 2 * rng.normal(-1.0, size=(m, 2))


def of(energy, here, elsewhere, weight=None):
    weight = np.ones(len(energy)) if weight is None else weight
    return mixture(energy, weight, here, elsewhere)[0]


def test_the_likelihood_is_that_of_the_best_share():
    here, elsewhere = sample(0.3, 4000, np.random.default_rng(0))
    shares = np.linspace(0, 1, 401)[1:-1]
    ratio = np.exp(here) / np.exp(elsewhere).mean()
    each = [np.log(p * ratio + 1 - p).sum() for p in shares]
    assert of(np.full(4000, 3.0), here, elsewhere) == pytest.approx(max(each), abs=0.2)
    assert shares[int(np.argmax(each))] == pytest.approx(0.3, abs=0.05)


def test_each_energy_has_its_own_share():
    rng = np.random.default_rng(1)
    low, high = sample(0.05, 3000, rng), sample(0.9, 3000, rng)
    here, elsewhere = (np.concatenate(v) for v in zip(low, high, strict=True))
    energy = np.repeat([0.5, 6.0], 3000)
    apart = of(energy[:3000], *low) + of(energy[3000:], *high)
    assert of(energy, here, elsewhere) == pytest.approx(apart)
    assert of(np.full(6000, 3.0), here, elsewhere) < apart - 50


def test_a_ratio_that_is_wrong_about_xrays_wins_nothing():
    """Ratios that are too large by a factor say what they say without it."""
    here, elsewhere = sample(0.3, 2000, np.random.default_rng(2))
    energy = np.full(2000, 3.0)
    assert of(energy, here + 1.5, elsewhere + 1.5) == pytest.approx(of(energy, here, elsewhere))


def test_events_of_a_frame_that_stands_for_two_count_twice():
    here, elsewhere = sample(0.3, 500, np.random.default_rng(3))
    twice = of(np.full(1000, 3.0), np.tile(here, 2), np.tile(elsewhere, (2, 1)))
    assert twice == pytest.approx(2 * of(np.full(500, 3.0), here, elsewhere))
    weighted = of(np.full(500, 3.0), here, elsewhere, np.full(500, 2.0))
    assert weighted == pytest.approx(of(np.full(500, 3.0), here, elsewhere))


def test_events_that_fell_onto_a_cluster_are_no_xrays():
    here, elsewhere = sample(0.3, 500, np.random.default_rng(4))
    some = elsewhere.copy()
    some[::2, 0] = np.nan
    energy = np.full(500, 3.0)
    assert of(energy, here, some) == pytest.approx(of(energy, here, elsewhere), rel=0.15)


def test_xrays_are_told_from_background_by_their_share():
    rng = np.random.default_rng(5)
    background = rng.random(20_000) < 0.3
    here = 2 * rng.normal(np.where(background, 1.0, -1.0))
    _, xray = mixture(
        np.full(20_000, 3.0), np.ones(20_000), here, 2 * rng.normal(-1, 1, (20_000, 1))
    )
    for low, high in ((0.1, 0.4), (0.4, 0.8), (0.8, 1.0)):
        inside = (xray >= low) & (xray < high)
        assert (~background[inside]).mean() == pytest.approx(xray[inside].mean(), abs=0.03)


def test_few_events_say_nothing():
    assert of(np.full(20, 3.0), np.full(20, 5.0), np.zeros((20, 2))) == 0


def test_without_events_it_is_the_middle_and_may_be_anywhere():
    housing = Housing(STANDOFFS, np.zeros(3), 0)
    assert housing.standoff == pytest.approx(8.0)
    assert housing.interval == pytest.approx(ENDS)
    assert housing.probability.tolist() == pytest.approx([1 / 3] * 3)


def test_the_likeliest_is_taken():
    housing = Housing(STANDOFFS, np.array([-3.0, 0.0, -9.0]), 100)
    assert 7 < housing.standoff < 8
    low, high = housing.interval
    assert 3.0 < low < 8 < high < 16


def test_a_measurement_that_scatters_leaves_more_open():
    housing = Housing(STANDOFFS, np.array([-30.0, 0.0, -30.0]), 100)
    widths = []
    for scatter in (0.0, 0.2, 0.4, 0.8):
        low, high = replace(housing, scatter=scatter).interval
        assert low < 8 < high
        widths.append(np.log(high / low))
    assert widths == sorted(widths)
    assert widths[-1] > 2 * widths[0]


def test_the_interval_holds_what_it_says():
    housing = Housing(STANDOFFS, np.array([-2.0, 0.0, -4.0]), 100)
    low, high = housing.interval
    inside = (housing.grid >= low) & (housing.grid <= high)
    # Beyond the last stand-off that was tried all are as likely, and come together.
    assert 0.89 < housing.density[inside].sum() < 0.95
    assert housing.content_at(8.0) < 0.02
    assert housing.content_at(high * 1.1) > 0.9


def test_spreading_loses_nothing():
    """Probability stays one, also near the ends, and its variance grows by that of the scatter."""
    sharp = Housing(STANDOFFS, np.array([-400.0, 0.0, -400.0]), 100)
    wide = replace(sharp, scatter=0.2)
    x = np.log(sharp.grid)
    variance = [h.density @ x**2 - (h.density @ x) ** 2 for h in (sharp, wide)]
    assert variance[1] - variance[0] == pytest.approx(0.04, rel=0.02)
    edge = Housing(STANDOFFS, np.array([0.0, -50.0, -90.0]), 100, scatter=0.5)
    assert edge.density.sum() == pytest.approx(1)
    assert edge.interval[0] == pytest.approx(ENDS[0])


def test_a_standoff_that_is_known_is_no_interval():
    assert Housing(np.array([7.0]), np.zeros(1), 5).interval == (7.0, 7.0)


def test_the_nearest_is_told_by_its_logarithm():
    assert [nearest(STANDOFFS, s) for s in (1.0, 5.6, 5.7, 11.2, 11.4, 90.0)] == [0, 0, 1, 1, 2, 2]
