"""Patterns and grades against their drawings and the published tables."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.background_events import PATTERNS, draw

from physml.background.core.grades import (
    GOOD_GRADES,
    asca_grades,
    epic_patterns,
    flight_grades,
    grade_of_flight_grade,
)

# Chandra Proposers' Observatory Guide, flight grades of ASCA grades 0 to 6; all others are 7.
ASCA = """
0
1 4 5 32 33 36 37 128 129 132 133 160 161 164 165
2 34 64 65 68 69 130 162
8 12 136 140
16 17 48 49
3 6 9 13 20 21 35 38 40 44 52 53 96 97 100 101 131 134 137 141 144 145 163 166 168 172 176 177 192 193 196 197
10 11 18 22 50 54 72 76 80 81 104 108 138 139 208 209
"""  # noqa: E501


def test_all_256_flight_grades():
    expected = np.full(256, 7)
    for grade, codes in enumerate(ASCA.split("\n")[1:-1]):
        expected[[int(code) for code in codes.split()]] = grade
    np.testing.assert_array_equal(grade_of_flight_grade(np.arange(256)), expected)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (("...", ".9.", "1.."), 1),
        (("...", ".9.", ".1."), 2),
        (("...", ".9.", "..1"), 4),
        (("...", "19.", "..."), 8),
        (("...", ".91", "..."), 16),
        (("1..", ".9.", "..."), 32),
        ((".1.", ".9.", "..."), 64),
        (("..1", ".9.", "..."), 128),
        (("111", "191", "111"), 255),
    ],
)
def test_weights_of_the_neighbours(rows, code):
    assert flight_grades(draw(*rows)[None], 0.05).tolist() == [code]


@pytest.mark.parametrize(("pattern", "rows"), PATTERNS.items())
def test_every_pattern(pattern, rows):
    image = draw(*rows)
    n = (image > 0).sum()
    assert epic_patterns(image[None], np.array([n]), 0.05).tolist() == [pattern]
    good = asca_grades(image[None], 0.05)[0]
    expected = [0, 2, 4, 2, 3, 6, 6, 6, 6, 6, 6, 6, 6][pattern]
    assert good == expected
    assert good in GOOD_GRADES


@pytest.mark.parametrize(("pattern", "rows"), PATTERNS.items())
def test_turning_the_frame_turns_the_pattern(pattern, rows):
    """A quarter turn clockwise leads to the next pattern of the family."""
    image = draw(*rows)
    turned = np.rot90(image)  # anticlockwise with y downwards, as arrays are printed
    n = np.array([(image > 0).sum()])
    first = 1 + 4 * ((pattern - 1) // 4)
    expected = 0 if pattern == 0 else first + (pattern - first + 1) % 4
    assert epic_patterns(turned[None], n, 0.05).tolist() == [expected]


@pytest.mark.parametrize("pattern", range(1, 13))
def test_one_pixel_more_elsewhere_spoils_a_pattern(pattern):
    image = draw(*PATTERNS[pattern])
    assert epic_patterns(image[None], np.array([(image > 0).sum() + 1]), 0.05).tolist() == [-1]


@pytest.mark.parametrize(
    "rows",
    [
        (".5.", ".9.", ".5."),  # a line
        ("...", "595", "..."),
        ("55.", ".9.", "..."),  # an L with the maximum at its end
        ("...", ".9.", ".55"),
        (".5.", "595", "..."),  # a T
        (".5.", ".93", ".1."),
        (".54", ".93", "..."),  # a square whose minimum is beside the maximum
        ("...", "39.", "45."),
        ("1..", ".93", "..."),  # with n_pixels 3, the third is not this corner
    ],
)
def test_invalid_shapes(rows):
    image = draw(*rows)
    assert epic_patterns(image[None], np.array([(image > 0).sum()]), 0.05).tolist() == [-1]


def test_a_detached_corner_is_another_event_for_the_pattern_but_counts_for_the_grade():
    image = draw("1..", ".9.", "...")[None]
    assert epic_patterns(image, np.array([1]), 0.05).tolist() == [0]
    assert asca_grades(image, 0.05).tolist() == [1]


def test_equal_pixels_of_a_square():
    tie = draw(".33", ".93", "...")[None]
    assert epic_patterns(tie, np.array([4]), 0.05).tolist() == [9]


def test_pixels_have_to_be_above_the_threshold():
    image = draw(".1.", ".9.", "...")[None]
    assert asca_grades(image, 1.0).tolist() == [0]
    assert epic_patterns(image, np.array([1]), 1.0).tolist() == [0]
    assert asca_grades(image, 0.999).tolist() == [2]


def test_no_events():
    none = np.empty((0, 3, 3), np.float32)
    assert asca_grades(none, 0.05).shape == (0,)
    assert epic_patterns(none, np.empty(0, int), 0.05).shape == (0,)
