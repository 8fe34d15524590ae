"""Evidence of several binnings: closed form, no dilution, and what is printed is what decides."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.cavities import beta_image
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from physml.cavities.data.observation import Observation
from physml.cavities.data.sky import Sky
from physml.cavities.inference.candidate import Candidate
from physml.cavities.inference.evidence import Merging, evidence
from physml.cavities.inference.fields import cut_field
from physml.cavities.inference.merge import merge, resolution_weight
from physml.cavities.inference.search import LISTED, Search, is_sure
from physml.exceptions import InputError

RULE = Merging(silence=0.02, offset=-0.35, slope=1.1, dissent=0.35, fitted=True)
CARD = {"silence": 0.02, "same_ratio": 2.5, "offset": -0.35, "slope": 1.1, "dissent": 0.35}


def candidate(x, radius, probability, scale, row=0):
    area = np.pi * radius**2
    place = (x, 260.0, radius, radius, 0.0, radius, 0.1 * radius, area, 0.3, 9.0)
    return Candidate(*place, probability, scale, row)


@pytest.fixture(scope="module")
def fields():
    image = beta_image((520, 520), total=1e6)
    observation = Observation(
        image, np.ones_like(image), None, np.zeros(image.shape, bool), Sky(None, None)
    )
    return [cut_field(observation, k, (260, 260)) for k in (1, 2, 3, 4)]


def test_the_joint_probability_is_the_logistic_sum(fields):
    found = [[candidate(280, 14, 0.9, 1)], [candidate(281, 15, 0.8, 2)], [], []]
    only = merge(fields, found, RULE)[0]
    weight = np.array([resolution_weight(14, k) for k in (1, 2, 3, 4)])
    z = logit(np.array([0.9, 0.8, 0.02, 0.02]))
    expected = expit(-0.35 + 1.1 * z[0] + 0.35 * np.average(z - z[0], weights=weight))
    assert only.probability == pytest.approx(expected)
    assert only.support == only.probability


def test_one_binning_alone_is_calibrated_already(fields):
    # 200 pixels from the centre: outside the fields of binnings 1 to 3.
    far = merge(fields, [[], [], [], [candidate(460, 40, 0.8, 4)]], RULE)[0]
    assert far.seen_at == (4,)
    assert far.probability == far.support == 0.8


@pytest.mark.parametrize("radius", [5.0, 9.0, 14.0, 20.0, 30.0])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_what_is_sure_at_one_binning_stays_sure(fields, radius, scale):
    """Whichever binning it is, and however well the silent ones would resolve the place."""
    found = [[candidate(262, radius, 0.996, k)] if k == scale else [] for k in (1, 2, 3, 4)]
    only = merge(fields, found, RULE)[0]
    assert len(only.seen_at) > 1
    assert only.probability >= 0.9


probabilities = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6)


@settings(max_examples=100, deadline=None)
@given(probabilities, st.integers(0, 5), st.floats(0.0, 1.0), st.integers(1, 10**6))
def test_more_evidence_at_any_binning_is_never_less_of_a_cavity(said, which, more, seed):
    weight = np.random.default_rng(seed).uniform(0.01, 1, len(said))
    which %= len(said)
    raised = np.array(said)
    raised[which] = max(raised[which], more)
    low = RULE.probability(np.array(said), weight)
    assert 0 < low <= RULE.probability(raised, weight) + 1e-12 < 1
    surest, shortfall = evidence(np.array(said), weight)
    assert np.isfinite(surest)
    assert shortfall <= 0


def test_constants_go_into_a_card_and_back():
    assert Merging.of({"merging": CARD}) == RULE
    assert RULE.constants() == CARD
    mean = Merging(order=2.0, fitted=True)
    assert Merging.of({"merging": mean.constants()}) == mean
    assert mean.dissent is None


@pytest.mark.parametrize("wrong", [{"dissent": -0.1}, {"dissent": None}, {"dissent": float("nan")}])
def test_unsound_dissent_is_refused(wrong):
    with pytest.raises(InputError, match="dissent"):
        Merging.of({"merging": CARD | wrong})


class Threshold:
    """As much of a detector as says what is sure."""

    def __init__(self, threshold: float, rule: Merging) -> None:
        self.card, self.cut = {"merging": rule.constants()}, threshold

    def threshold(self, total_counts: float) -> float:
        return self.cut


@pytest.mark.parametrize("rule", [RULE, Merging(1.0, 0.02, 1.5, -0.09, 1.06, fitted=True)])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.62, 0.9])
def test_the_printed_probability_decides_and_none_below_is_sure(fields, rule, threshold):
    """Of both rules, and where the threshold of deep images lies below what is clearly likely."""
    rng = np.random.default_rng(7)
    detector = Threshold(threshold, rule)
    number = 0
    for _ in range(60):
        p = rng.uniform(0.3, 1, 3)
        found = [[candidate(262, 14, p[0], 1)], [candidate(262, 15, p[1], 2)], [], []]
        found[3] = [candidate(460, 40, p[2], 4)]
        made = Search((520, 520), fields, [], merge(fields, found, rule))
        for c in made.candidates:
            sure = made.confident(detector, c)
            assert sure == is_sure(c.probability, threshold)
            assert sure == (c.probability >= max(threshold, LISTED))
            number += sure
        listed = made.selected(detector)
        assert all(c in listed for c in made.found(detector))
        assert all(c.probability >= 0.5 for c in listed)
    assert number > 10
