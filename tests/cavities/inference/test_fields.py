"""Binnings and fields; detections of several binnings become one list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from fakes.cavities import beta_image

from physml.cavities.core.ellipse import overlap
from physml.cavities.data.loading import load_observation
from physml.cavities.inference.candidate import Candidate
from physml.cavities.inference.evidence import Merging
from physml.cavities.inference.fields import choose_scales, cut_field
from physml.cavities.inference.merge import merge, resolution_weight
from physml.exceptions import InputError


@dataclass
class Exposed:
    """As much of an observation as says where an image is searched."""

    exposed: np.ndarray


@pytest.fixture(scope="module")
def observation():
    return load_observation(beta_image((300, 260), total=3e5))


@pytest.mark.parametrize(
    ("size", "scales"),
    [(128, (1,)), (129, (1, 2)), (200, (1, 2)), (512, (1, 2, 3, 4)), (529, (1, 2, 3, 4, 6))],
)
def test_auto_grows_until_the_image_is_covered(size, scales):
    assert choose_scales(Exposed(np.ones((size, 128), bool)), "auto") == scales


def test_auto_climbs_a_ladder_for_large_images():
    scales = choose_scales(Exposed(np.ones((2000, 1500), bool)), "auto")
    assert scales == (1, 2, 3, 4, 6, 8, 12, 16)


def test_auto_covers_the_exposed_part_only():
    exposed = np.zeros((600, 600), bool)
    exposed[200:328, 250:378] = True
    assert choose_scales(Exposed(exposed)) == (1,)


@pytest.mark.parametrize("given", ["1,2,4", "4 2 1", [4, 1, 2, 2], "1, 2,4"])
def test_scales_may_be_chosen(observation, given):
    assert choose_scales(observation, given) == (1, 2, 4)


@pytest.mark.parametrize("given", ["0", "1,-2", "two", "1.5", "", [], 1000, [1.5]])
def test_nonsense_scales_are_refused(observation, given):
    with pytest.raises(InputError, match="whole numbers from 1 to 18"):
        choose_scales(observation, given)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_field_sums_counts_and_averages_exposure(scale):
    rng = np.random.default_rng(scale)
    image, exposure = rng.poisson(3.0, (300, 260)).astype(float), rng.uniform(0.2, 1, (300, 260))
    observation = load_observation(image, exposure=exposure, background=0.1 * exposure)
    image, background = observation.counts, observation.background
    field = cut_field(observation, scale, (140.3, 120.8))
    inside = field.spread(np.ones_like(field.counts), image.shape).astype(bool)
    assert field.counts.sum() == pytest.approx(image[inside].sum())
    assert field.background.sum() == pytest.approx(background[inside].sum())
    # One field pixel by hand.
    x, y = (round(float(v) - (scale - 1) / 2) for v in field.to_image(64, 70))
    block = np.s_[y : y + scale, x : x + scale]
    assert field.counts[70, 64] == image[block].sum()
    expected = observation.relative_exposure[block].mean()
    assert field.exposure[70, 64] == pytest.approx(expected)


def test_the_centre_is_in_the_middle_of_the_field(observation):
    for scale in (1, 2, 3):
        field = cut_field(observation, scale, (100.2, 170.7))
        assert field.centre == pytest.approx((63.5, 63.5), abs=0.51)
        np.testing.assert_allclose(field.to_image(*field.centre), (100.2, 170.7))


def test_outside_the_image_a_field_is_invalid(observation):
    field = cut_field(observation, 2, (5.0, 150.0))
    x, _ = field.to_image(np.arange(128), 0)
    outside = x < -0.5
    assert outside.sum() > 50
    assert field.invalid[:, outside].all()
    assert not field.counts[:, outside].any()
    assert not field.invalid[40:90, ~outside].any()


def test_filled_sources_are_invalid(observation):
    mask = np.zeros(observation.counts.shape, bool)
    mask[140:160, 120:140] = True
    filled = load_observation(observation.counts, mask=mask)
    field = cut_field(filled, 2, (130, 150))
    assert field.invalid.sum() == 100


def test_spread_and_interpolate_agree_on_flat_fields(observation):
    field = cut_field(observation, 3, (130, 150))
    flat = np.full(field.counts.shape, 2.5)
    np.testing.assert_allclose(field.interpolate(flat, observation.counts.shape), 2.5)
    spread = field.spread(flat, observation.counts.shape)
    assert set(np.unique(spread)) <= {0.0, 2.5}


def test_interpolation_puts_a_slope_where_it_belongs(observation):
    field = cut_field(observation, 3, (130, 150))
    X = np.broadcast_to(field.to_image(np.arange(128), 0)[0], (128, 128)).astype(float)
    fine = field.interpolate(X, observation.counts.shape)
    np.testing.assert_allclose(fine[100, 30:230], np.arange(30, 230))


def candidate(x, y, radius, probability, scale, ratio=1.0, theta=0.0, row=0):
    a, b = radius * ratio**0.5, radius / ratio**0.5
    return Candidate(
        x, y, a, b, theta, radius, 0.1 * radius, np.pi * a * b, 0.3, 10.0, probability, scale, row
    )


def test_overlap_of_circles_is_the_lens():
    one, other = candidate(0, 0, 10, 1, 1), candidate(10, 0, 10, 1, 1)
    lens = 2 * 100 * np.arccos(0.5) - 0.5 * 10 * np.sqrt(4 * 100 - 100)
    iou, part = overlap(one, other)
    assert iou == pytest.approx(lens / (2 * np.pi * 100 - lens), abs=0.01)
    assert part == pytest.approx(lens / (np.pi * 100), abs=0.01)
    assert overlap(one, candidate(30, 0, 10, 1, 1)) == (0.0, 0.0)
    assert overlap(one, candidate(2, 0, 4, 1, 1)) == (pytest.approx(0.16), 1.0)


@pytest.fixture
def fields():
    big = load_observation(beta_image((520, 520), total=1e6))
    return [cut_field(big, k, (260, 260)) for k in (1, 2, 3, 4)]


def test_a_cavity_found_at_several_binnings_is_one_row(fields):
    found = [
        [candidate(280, 260, 14, 0.9, 1)],
        [candidate(281, 261, 15, 0.8, 2)],
        [candidate(279, 260, 13, 0.6, 3)],
        [],
    ]
    merged = merge(fields, found)
    assert len(merged) == 1
    only = merged[0]
    assert only.found_at == (1, 2, 3)
    assert only.seen_at == (1, 2, 3, 4)
    # Shape from the binning that resolves it best: 14 pixels of the field at scale 1.
    assert (only.x, only.scale) == (280, 1)
    weights = [resolution_weight(14, k) for k in (1, 2, 3, 4)]
    said = np.array([0.9, 0.8, 0.6, 0.02])
    support = (np.dot(weights, said**4) / sum(weights)) ** 0.25
    assert only.support == pytest.approx(support)
    logit = np.log(only.probability / (1 - only.probability))
    # The constants are those of the weights, whatever they are.
    assert logit == pytest.approx(np.log(support / (1 - support)))
    card = {"order": 4, "silence": 0.02, "same_ratio": 2.5, "offset": -0.5, "slope": 1.2}
    other = merge(fields, found, Merging.of({"merging": card}))[0]
    assert other.support == only.support
    logit = np.log(other.probability / (1 - other.probability))
    assert logit == pytest.approx(1.2 * np.log(support / (1 - support)) - 0.5)
    card |= {"order": 1, "silence": 0.1}
    mean = np.dot(weights, [0.9, 0.8, 0.6, 0.1]) / sum(weights)
    assert merge(fields, found, Merging.of({"merging": card}))[0].support == pytest.approx(mean)


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": 0},
        {"silence": 0},
        {"same_ratio": 0.5},
        {"slope": -1},
        {"offset": float("nan")},
        {"offset": "much"},
        {"order": None},
    ],
)
def test_unsound_constants_of_the_weights_are_refused(wrong):
    card = {"order": 4, "silence": 0.02, "same_ratio": 2.5, "offset": -0.5, "slope": 1.2}
    assert Merging.of({"merging": card}).fitted
    assert not Merging.of({}).fitted
    with pytest.raises(InputError, match="merging"):
        Merging.of({"merging": card | wrong})
    with pytest.raises(InputError, match="merging"):
        Merging.of({"merging": {}})


def test_how_different_two_detections_of_one_cavity_may_be_is_said_by_the_weights(fields):
    found = [[candidate(270, 260, 12, 0.9, 1)], [], [candidate(275, 260, 30, 0.8, 3)], []]
    assert len(merge(fields, found, Merging(same_ratio=2.0))) == 2
    assert len(merge(fields, found, Merging(same_ratio=3.0))) == 1


def test_the_joint_probability_lies_between_the_single_ones(fields):
    found = [[candidate(280, 260, 14, 0.9, 1)], [candidate(281, 261, 15, 0.7, 2)], [], []]
    assert 0.02 < merge(fields, found)[0].support < 0.9
    # The better resolved look counts more.
    worse = [[candidate(280, 260, 14, 0.7, 1)], [candidate(281, 261, 15, 0.9, 2)], [], []]
    assert merge(fields, worse)[0].support < merge(fields, found)[0].support


def test_a_binning_that_cannot_see_a_place_does_not_vote(fields):
    # 200 pixels from the centre: outside the field of binning 1 to 3.
    merged = merge(fields, [[], [], [], [candidate(260, 460, 40, 0.8, 4)]])
    assert merged[0].seen_at == (4,)
    assert merged[0].support == pytest.approx(0.8)


def test_different_cavities_stay_apart(fields):
    found = [
        [candidate(245, 260, 10, 0.9, 1), candidate(275, 260, 10, 0.9, 1, row=1)],
        [candidate(245, 260, 10, 0.8, 2), candidate(275, 260, 10, 0.8, 2, row=1)],
        [candidate(200, 330, 35, 0.7, 3)],
        [candidate(202, 331, 36, 0.9, 4)],
    ]
    merged = merge(fields, found)
    assert sorted(round(c.x) for c in merged)[1:] == [245, 275]
    assert len(merged) == 3


def test_neighbours_of_one_binning_are_never_joined(fields):
    found = [[candidate(250, 260, 12, 0.9, 1), candidate(262, 260, 12, 0.8, 1, row=1)], [], [], []]
    assert len(merge(fields, found)) == 2


def test_fragments_of_a_large_cavity_join_it(fields):
    found = [
        [candidate(280, 275, 18, 0.3, 1), candidate(312, 275, 18, 0.3, 1, row=1)],
        [candidate(300, 275, 40, 0.9, 2)],
        [candidate(300, 275, 40, 0.95, 3)],
        [],
    ]
    merged = merge(fields, found)
    assert len(merged) == 1
    assert merged[0].scale == 3


def test_a_small_cavity_does_not_swallow_a_large_one_behind_it(fields):
    """The inner cavity of NGC 5813 lies on the border of the five times larger middle one."""
    found = [
        [candidate(266, 246, 12, 0.95, 1)],
        [],
        [candidate(325, 209, 69, 0.8, 3)],
        [candidate(325, 209, 68, 0.8, 4)],
    ]
    merged = merge(fields, found)
    assert sorted(c.radius for c in merged) == [12, 68]


def test_the_list_is_sorted_and_does_not_depend_on_the_order(fields):
    rng = np.random.default_rng(0)
    cloud = [
        candidate(*rng.uniform(230, 290, 2), rng.uniform(6, 15), rng.uniform(0.1, 1), 1, row=i)
        for i in range(12)
    ]
    one = merge(fields, [cloud, [], [], []])
    other = merge(fields, [cloud[::-1], [], [], []])
    assert [c.probability for c in one] == sorted((c.probability for c in one), reverse=True)
    assert {(c.x, c.y) for c in one} == {(c.x, c.y) for c in other}


def test_nothing_found_is_an_empty_list(fields):
    assert merge(fields, [[], [], [], []]) == []
