"""Constants that say how far the network can be taken at its word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physml.background.inference.cuts import CutTables, Thresholds
from physml.background.inference.housing import ENDS, Evidence, Housing
from physml.background.learning.observations import (
    BOUNDS,
    RETENTION,
    Observation,
    coverage,
    fit_pseudo_xrays,
    fit_scatter,
)

STANDOFFS = np.array([3.8, 6.0, 9.5, 15.0, 24.0])


def measured(scatter: float, said: float, n: int, seed: int):
    """Housings whose log-likelihood has a width of `said`, where they scatter by `scatter`."""
    rng = np.random.default_rng(seed)
    true = np.exp(rng.uniform(*np.log(ENDS), n))
    found = np.log(true) + scatter * rng.standard_normal(n)
    each = [-0.5 * ((np.log(STANDOFFS) - x) / said) ** 2 for x in found]
    return [Housing(STANDOFFS, e, 1000) for e in each], true


def test_likelihoods_that_say_too_much_are_spread():
    """Measurements scatter by 0.6 and claim 0.2: what is missing is about 0.57."""
    housings, true = measured(0.6, 0.2, 200, 0)
    scatter = fit_scatter(housings, true)
    assert 0.3 < scatter < 0.9
    others, truth = measured(0.6, 0.2, 400, 1)

    def share(s):
        seen = [Observation(x, Evidence.none(5, 1), h) for h, x in zip(others, truth, strict=True)]
        return coverage([replace(h, scatter=s) for h in others], seen)

    assert share(0.0) < 0.75
    assert share(scatter) == pytest.approx(0.9, abs=0.05)


def test_likelihoods_that_are_right_stay_about_as_they_are():
    housings, true = measured(0.5, 0.5, 300, 2)
    assert fit_scatter(housings, true) < 0.35


def test_the_content_of_intervals_is_uniform_where_all_is_right():
    """Of true stand-offs, the share in an interval is its content."""
    housings, true = measured(0.5, 0.5, 2000, 3)
    content = np.array([h.content_at(s) for h, s in zip(housings, true, strict=True)])
    for level in (0.5, 0.8, 0.9):
        assert (content <= level).mean() == pytest.approx(level, abs=0.05)


class Cuts:
    """A detector with one table: the cut that keeps 98 % of a normal distribution."""

    def __init__(self):
        one = np.full((1, 1, 1), 2.0537)
        edges, rates = np.array([0.2, 15.0]), np.array([0.1, 1.0])
        table = Thresholds(
            np.array([RETENTION]), edges, rates, np.array([2.0]), np.array([0.3]), one,
            np.ones(1), one, one,
        )  # fmt: skip
        self.cuts = CutTables(np.array([10.0]), (table,))
        self.standoffs = self.cuts.standoff


def seen(scatter: float, n: int, m: int, seed: int) -> list[Observation]:
    """Observations of X-rays whose logits are shifted from one to the other."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        logit = rng.standard_normal((1, m, 4)) + scatter * rng.standard_normal()
        one = np.ones(m)
        out.append(
            Observation(
                10.0,
                Evidence(3 * one, 0.3 * one, one, np.full((1, m), -30.0), logit),
                Housing(np.array([10.0]), np.zeros(1), m),
            )
        )
    return out


def test_tables_that_differ_are_worth_few_xrays():
    """The variance of what is kept between observations is that of so many X-rays."""
    observations = seen(0.3, 400, 1500, 4)
    kept = [(o.evidence.elsewhere < 2.0537).mean() for o in observations]
    wanted = RETENTION * (1 - RETENTION) / np.mean((np.array(kept) - RETENTION) ** 2)
    assert wanted == pytest.approx(fit_pseudo_xrays(Cuts(), observations), rel=0.35)
    assert wanted < 1000


def test_tables_that_hold_are_worth_many():
    assert fit_pseudo_xrays(Cuts(), seen(0.0, 200, 1500, 5)) > 3000


def test_nothing_seen_says_nothing():
    z = Observation(10.0, Evidence.none(1, 4), Housing(np.array([10.0]), np.zeros(1), 0))
    assert BOUNDS[0] <= fit_pseudo_xrays(Cuts(), [z]) <= BOUNDS[1]
