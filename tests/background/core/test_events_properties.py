"""The fast event finder against the slow one, on random frames."""

from __future__ import annotations

import numpy as np
from fakes.background_events import frames_of, slow_events
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physml.background.core.events import find_events

# Few values, so that ties, connections and pixels at the thresholds are frequent.
LEVELS = st.sampled_from([0, 0, 0, 0.05, 0.06, 0.1, 0.11, 1, 1, 2, 3, 6, 14.9, 20, -0.04, -0.3])
IMAGES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7),
    elements=LEVELS.map(np.float32),
)


def compare(images, **options):
    found = find_events(frames_of(images, split=0.0), **options)
    slow = [(k, c) for k, image in enumerate(images) for c in slow_events(image, **options)]
    assert len(found.clusters) == len(slow)
    labels = np.full(images.shape, -1)
    labels[images != 0] = found.pixel_cluster
    event = 0
    for row, (frame, expected) in enumerate(slow):
        cluster = found.clusters[row]
        assert cluster["frame"] == frame
        assert {(int(y), int(x)) for y, x in np.argwhere(labels[frame] == row)} == expected[
            "pixels"
        ]
        assert cluster["energy"] == expected["energy"]
        assert cluster["particle"] == expected["particle"]
        if not expected["is_event"]:
            assert not cluster["valid"]
            continue
        found_event = found.events[event]
        assert (int(found_event["y"]), int(found_event["x"])) == expected["peak"]
        for name in ("energy", "pattern", "grade", "flag", "valid"):
            assert found_event[name] == expected[name], name
        assert found_event["cluster"] == row
        assert found_event["n_pixels"] == len(expected["pixels"])
        assert cluster["valid"] == expected["valid"]
        event += 1
    assert event == len(found.events)
    return found


@settings(max_examples=150, deadline=None)
@given(IMAGES)
def test_it_agrees_with_the_slow_finder(images):
    compare(images)


@settings(max_examples=60, deadline=None)
@given(IMAGES, st.data())
def test_it_agrees_with_bad_pixels_and_other_thresholds(images, data):
    bad = data.draw(hnp.arrays(bool, images.shape[1:], elements=st.booleans()))
    compare(images, bad=bad, split=0.1, event=1.5, upper=9.0)


@settings(max_examples=60, deadline=None)
@given(IMAGES)
def test_patches_show_the_frame(images):
    found = find_events(frames_of(images))
    around = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    for e, patch in zip(found.events, found.patches, strict=True):
        y, x = int(e["y"]), int(e["x"])
        np.testing.assert_array_equal(patch, around[e["frame"], y : y + 5, x : x + 5])


@settings(max_examples=60, deadline=None)
@given(IMAGES)
def test_frames_are_independent(images):
    """Each frame alone gives what it gives among others."""
    together = find_events(frames_of(images))
    for k, image in enumerate(images):
        alone = find_events(frames_of(image[None]))
        mine = together.events[together.events["frame"] == k]
        for name in mine.dtype.names:
            if name not in ("frame", "cluster"):
                np.testing.assert_array_equal(mine[name], alone.events[name])


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float32, (9, 9), elements=st.floats(0, 4, width=32)), st.integers(0, 7))
def test_the_symmetries_of_the_square(image, symmetry):
    """Energies, counts and validity do not depend on how the detector is turned."""
    # No ties, so that the brightest pixel is the same one.
    image = image + np.arange(81, dtype=np.float32).reshape(9, 9) * 1e-4
    image = np.where(image < 2.5, 0, image).astype(np.float32)
    turned = np.rot90(image if symmetry < 4 else image.T, symmetry % 4)
    tables = [find_events(frames_of(i[None])).events for i in (image, turned)]
    for name in ("peak", "n_pixels", "valid"):
        np.testing.assert_array_equal(*(np.sort(t[name]) for t in tables))
    np.testing.assert_allclose(*(np.sort(t["energy"]) for t in tables), rtol=1e-6)
