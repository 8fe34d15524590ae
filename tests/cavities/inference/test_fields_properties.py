"""Geometry of fields for any binning, centre and WCS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from fakes.cavities import tan_wcs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from physml.cavities.core.ellipse import overlap
from physml.cavities.data.loading import load_observation
from physml.cavities.data.sky import Sky
from physml.cavities.inference.candidate import Candidate
from physml.cavities.inference.fields import choose_scales, cut_field, field_window

IMAGE = np.random.default_rng(7).poisson(2.0, (150, 190)).astype(float)
OBSERVATION = load_observation(IMAGE)
scales = st.integers(1, 9)
positions = st.tuples(st.floats(0, 189), st.floats(0, 149))


@settings(max_examples=60, deadline=None)
@given(scales, positions, positions)
def test_to_image_and_back(scale, centre, place):
    field = cut_field(OBSERVATION, scale, centre)
    np.testing.assert_allclose(field.to_image(*field.from_image(*place)), place, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(scales, positions)
def test_no_count_is_lost_or_made(scale, centre):
    field = cut_field(OBSERVATION, scale, centre)
    inside = field.spread(np.ones_like(field.counts), IMAGE.shape) > 0
    assert field.counts.sum() == IMAGE[inside].sum()


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-180, 180),
    st.booleans(),
    st.floats(0.4, 2.5),
    st.floats(-85, 85),
    st.floats(0, np.pi),
    st.floats(1.05, 3),
)
@example(0.0, False, 0.4375, 0.0, 3.0, 3.0)
def test_an_ellipse_on_the_sky_has_the_true_axes(rotation, cd, stretch, dec, theta, ratio):
    """Points drawn on the pixel ellipse lie on the sky ellipse that `Sky.ellipse` names."""
    wcs = tan_wcs((200, 200), pixel=1.0, rotation=rotation, cd=cd, stretch=stretch, dec=dec)
    sky = Sky(wcs)
    x, y, a, b = 90.0, 110.0, 6.0 * ratio, 6.0
    major, minor, angle = sky.ellipse(x, y, a, b, theta)
    # So dense that the drawn minimum of an ellipse of 1 : 7.5 is that of the curve to 1e-4.
    t = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    px = x + a * np.cos(t) * np.cos(theta) - b * np.sin(t) * np.sin(theta)
    py = y + a * np.cos(t) * np.sin(theta) + b * np.sin(t) * np.cos(theta)
    middle, edge = sky.coordinates(x, y), sky.coordinates(px, py)
    separation, direction = middle.separation(edge).arcsec, middle.position_angle(edge).deg
    np.testing.assert_allclose(separation.max(), major, rtol=1e-3)
    np.testing.assert_allclose(separation.min(), minor, rtol=1e-3)
    if major / minor > 1.05:
        found = direction[np.argmax(separation)] % 180
        off = (found - angle + 90) % 180 - 90
        # Near a turning point the distance is flat: the angle is known to the drawn step.
        assert abs(off) < 6
    area = np.pi * a * b * sky.pixel_area(x, y)
    np.testing.assert_allclose(np.pi * major * minor, area, rtol=1e-6)


ellipses = st.builds(
    lambda x, y, r, q, t: Candidate(
        x, y, r / q**0.5, r * q**0.5, t, r, 0.1, np.pi * r * r, 0.3, 9, 0.5, 1, 0
    ),
    st.floats(-20, 20),
    st.floats(-20, 20),
    st.floats(2, 25),
    st.floats(0.3, 1),
    st.floats(0, np.pi),
)


@settings(max_examples=60, deadline=None)
@given(ellipses, ellipses)
def test_overlap_is_symmetric_and_bounded(one, other):
    iou, part = overlap(one, other)
    np.testing.assert_allclose(overlap(other, one), (iou, part), atol=0.02)  # sampled
    assert 0 <= iou <= part + 1e-9 <= 1 + 1e-9


@settings(max_examples=25, deadline=None)
@given(ellipses, ellipses)
def test_overlap_agrees_with_counting_pixels(one, other):
    y, x = np.mgrid[-60:60:0.25, -60:60:0.25]
    a, b = one.inside(x, y), other.inside(x, y)
    expected = (a & b).sum() / (a | b).sum()
    assert abs(overlap(one, other)[0] - expected) < 0.03


@dataclass
class Exposed:
    """As much of an observation as says where an image is searched."""

    exposed: np.ndarray


@settings(max_examples=80, deadline=None)
@given(st.data())
@example(None)
def test_the_fields_cover_every_pixel_of_images_of_any_size(data):
    """Whatever the image's size, its exposed part and the cluster's place in it."""
    if data is None:
        exposed, centre = np.ones((8192, 8192), bool), (700.0, 7900.0)
    else:
        height, width = data.draw(st.integers(1, 3000)), data.draw(st.integers(1, 3000))
        exposed = np.zeros((height, width), bool)
        rows, columns = (
            sorted((data.draw(st.integers(0, side - 1)), data.draw(st.integers(0, side - 1))))
            for side in (height, width)
        )
        exposed[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True
        centre = data.draw(st.tuples(st.floats(-0.5, width - 0.5), st.floats(-0.5, height - 0.5)))
    observation = Exposed(exposed)
    chosen = choose_scales(observation, "auto", centre)
    searched = np.zeros(exposed.shape, bool)
    for k in chosen:
        rows, columns = field_window(observation, k, centre)
        searched[rows, columns] = True
    assert searched[exposed].all()
    # No larger a binning than it takes: the one before leaves something out, or is the first.
    assert len(chosen) <= 3 + 2 * np.log2(max(exposed.shape) / 128 + 1) + 2
