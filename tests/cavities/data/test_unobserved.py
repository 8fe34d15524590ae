"""Zeros that are no counts are found at any depth and shape; those that are counts are kept."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.cavities import beta_image
from scipy.ndimage import gaussian_filter

from physml.cavities.data.field_of_view import describe_unobserved
from physml.cavities.data.undefined import undefined_pixels
from physml.cavities.data.unobserved import find_unobserved

SIDE = 144


def field(kind: str) -> np.ndarray:
    """True where observed."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    x, y = x - 5, y + 8
    turn = np.radians(33)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    radius, angle = np.hypot(x, y), np.arctan2(v, u)
    sector = (angle + np.pi / 6) % (np.pi / 3) - np.pi / 6
    return {
        "round": radius < 64,
        "hexagon": radius * np.cos(sector) < 58,
        "turned square": np.maximum(abs(u), abs(v)) < 52,
        "half plane": u < 45,
        "square with a gap": (np.maximum(abs(u), abs(v)) < 52) & (abs(u - 25) > 4),
        "L": ~((u > 20) & (v > 10)),
    }[kind]


@pytest.mark.parametrize("total", [6e3, 1e6])
@pytest.mark.parametrize(
    "kind", ["round", "hexagon", "turned square", "half plane", "square with a gap", "L"]
)
def test_zeros_outside_the_field_are_found(kind, total):
    image = beta_image((SIDE, SIDE), core=9, total=0.6 * total, seed=3)
    image += np.random.default_rng(4).poisson(0.4 * total / SIDE**2, image.shape)
    seen = field(kind)
    found = find_unobserved(image * seen, np.ones(image.shape))
    # Of faint images, zeros beside the border may belong to either side.
    assert (found & seen).sum() < (0.035 if total < 1e4 else 0.015) * seen.sum()
    gap = (kind == "square with a gap" and total < 1e5) * 0.15
    assert (~found & ~seen).sum() < (0.05 + gap) * (~seen).sum()
    assert not image[found & seen].any()


def test_zeros_of_a_sparse_image_are_counts():
    """Uniform at any depth, faint clusters, and a bright source in an empty field."""
    rng = np.random.default_rng(8)
    ones = np.ones((SIDE, SIDE))
    for mean in (0.003, 0.02, 0.1, 0.4, 1.0, 2.0):
        assert not find_unobserved(rng.poisson(mean * ones).astype(float), ones).any(), mean
    for total, beta in ((400, 0.6), (4e3, 0.5), (4e3, 1.2), (1e5, 0.9), (1e6, 1.5)):
        image = beta_image((SIDE, SIDE), (60.0, 95.0), core=6, beta=beta, total=total)
        assert not find_unobserved(image, ones).any(), (total, beta)
    point = np.zeros((SIDE, SIDE))
    point[40, 110] = 3e4
    sources = gaussian_filter(point, 1.2) + 0.01
    sources += np.roll(sources, (70, -60), (0, 1)) / 9
    assert not find_unobserved(rng.poisson(sources).astype(float), ones).any()


def test_cavities_and_structure_are_no_unobserved_areas():
    """Half the light of a large part of the image is missing: that is for the search to find."""
    y, x = np.mgrid[:SIDE, :SIDE]
    deep = (x - 115) ** 2 / 30**2 + (y - 80) ** 2 / 22**2 < 1
    for total in (3e3, 5e4, 1e6):
        image = beta_image((SIDE, SIDE), core=8, total=total)
        thinned = np.random.default_rng(5).binomial(image.astype(int), np.where(deep, 0.4, 1.0))
        assert not find_unobserved(thinned.astype(float), np.ones(image.shape)).any(), total


def test_multiples_of_counts_are_no_more_evidence_than_counts():
    image = beta_image((SIDE, SIDE), core=7, total=3e3)
    for factor in (1.0, 10.0, 137.5):
        assert not find_unobserved(factor * image, np.ones(image.shape)).any()
    seen = field("round")
    flat = np.random.default_rng(1).poisson(0.3, image.shape)
    one, ten = (find_unobserved(f * (image + flat) * seen, np.ones(image.shape)) for f in (1, 10))
    assert (one ^ ten).mean() < 0.01


def test_an_area_that_is_known_is_not_told_again():
    seen = field("round")
    image = beta_image((SIDE, SIDE), total=2e5) * seen
    assert not find_unobserved(image, seen.astype(float)).any()
    # The map knows the field, but not that a chip was off.
    off = np.zeros_like(seen)
    off[60:110, 100:140] = True
    found = find_unobserved(image * ~off, seen.astype(float))
    assert (found ^ (off & seen)).sum() < 0.05 * off.sum()


def test_a_large_image_is_binned_first():
    seen = np.kron(field("round"), np.ones((8, 8), bool))
    image = np.random.default_rng(0).poisson(0.05, seen.shape) * seen.astype(float)
    found = find_unobserved(image, np.ones(seen.shape))
    assert (found & seen).mean() < 0.01
    assert (~found & ~seen).sum() < 0.03 * (~seen).sum()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("round", "outside a round field"),
        ("turned square", "outside a field with straight edges"),
        ("hexagon", "outside a field with straight edges"),
        ("L", "beyond the edges of the field"),
    ],
)
def test_what_is_missing_is_told_in_one_line(kind, words):
    missing = ~field(kind)
    nothing = np.zeros_like(missing)
    line = describe_unobserved(nothing, missing, "")
    assert line == f"{100 * missing.mean():.3g} % of the image was not observed: zeros {words}"
    line = describe_unobserved(missing, nothing, "undefined")
    assert f"not observed: undefined pixels {words}" in line
    gap = nothing.copy()
    gap[20:120, 60:66] = True
    assert describe_unobserved(nothing, gap, "").endswith("zeros in gaps or holes inside the field")
    if kind == "turned square":
        gap[:30] = gap[-30:] = False
        assert describe_unobserved(nothing, gap | missing, "").endswith(f"{words} and in gaps")
    few = nothing.copy()
    few[3, 5:9] = True
    assert describe_unobserved(few, nothing, "-1") == "4 pixels that are -1 are masked"


IMAGE = beta_image((SIDE, SIDE), total=6e4)
FAINT = beta_image((SIDE, SIDE), total=3e3)


@pytest.mark.parametrize(
    ("image", "value", "words"),
    [
        (IMAGE, np.nan, "undefined"),
        (IMAGE, np.inf, "undefined"),
        (IMAGE, 1e30, "undefined"),
        (IMAGE, -1.0, "-1"),
        (FAINT, -1.0, "-1"),
        (IMAGE, -99.0, "-99"),
        (FAINT, -32768.0, "-32768"),
        (IMAGE / 3000, -1.0, "-1"),
        (IMAGE * 1.37 + 0.01, 1e-6, "1e-06"),
    ],
)
def test_values_that_say_there_is_none(image, value, words):
    seen = field("round")
    found, said = undefined_pixels(np.where(seen, image, value))
    np.testing.assert_array_equal(found, ~seen)
    assert said == words


def test_the_header_s_blank_value_and_scattered_codes():
    image = IMAGE.copy()
    image[5, 7:12] = 777.0
    np.testing.assert_array_equal(undefined_pixels(image, 777.0)[0], image == 777)
    image[5, 7:12] = -999.0
    np.testing.assert_array_equal(undefined_pixels(image)[0], image == -999)


@pytest.mark.parametrize("image", [IMAGE, FAINT, IMAGE + 0.3, IMAGE - 1, FAINT - 0.5, FAINT - 1])
def test_values_of_pixels_are_values(image):
    """Counts, and counts less a constant: the smallest is where no count is."""
    found, said = undefined_pixels(image)
    assert not found.any()
    assert said == ""
