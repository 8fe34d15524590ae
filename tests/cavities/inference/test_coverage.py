"""What was searched is what is said to have been."""

from __future__ import annotations

import numpy as np
from fakes.cavities import TruthDetector, beta_image
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.cavities.inference.coverage import describe_search, remark_on_search, share_left_out
from physml.cavities.inference.fields import FIELD, Field
from physml.cavities.predict import CavityPredictor


def field(scale, x0, y0):
    nothing = np.broadcast_to(np.zeros(()), (FIELD, FIELD))
    return Field(scale, x0, y0, nothing, nothing, None, nothing > 0, (63.5, 63.5))


def test_each_binning_is_told_with_its_part():
    fields = [field(2, -40, 60), field(1, 22, 100), field(4, -12, -6)]
    text = describe_search(fields, (400, 300), (86.0, 160.0))
    assert text == (
        "about (86.0, 160.0): 128 x 128 pixels at binning 1, 216 x 256 pixels at binning 2, "
        "the whole image at binning 4"
    )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(-600, 500), st.integers(-600, 500)), max_size=5
    ),
    st.integers(130, 400),
    st.integers(130, 400),
)
def test_the_share_left_out_is_that_of_the_pixels(places, height, width):
    fields = [field(*place) for place in places]
    exposed = np.random.default_rng(height).random((height, width)) < 0.7
    searched = np.zeros(exposed.shape, bool)
    for one in fields:
        searched[one.window(exposed.shape)] = True
    assert share_left_out(fields, exposed) == (exposed & ~searched).sum() / exposed.sum()


def test_what_the_chosen_binnings_leave_out_is_said():
    image = beta_image((300, 300))
    predictor = CavityPredictor(TruthDetector([], (150.0, 150.0), scales=(1,)))
    chosen = predictor.predict(image, centre=(150.0, 150.0), scales=1)
    share = 1 - 128**2 / 300**2
    assert any(f"{share:.0%}" in w and "not searched" in w for w in chosen.warnings)
    assert chosen.catalogue.meta["searched"].endswith("128 x 128 pixels at binning 1")
    everywhere = predictor.predict(image, centre=(150.0, 150.0))
    assert not any("not searched" in w for w in everywhere.warnings)
    assert "the whole image at binning 3" in everywhere.catalogue.meta["searched"]


def test_next_to_nothing_is_no_remark():
    assert remark_on_search(0.001) is None
