"""Event finding on frames made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.background_events import PATTERNS, draw, frames_of, padded, with_truth

from physml.background.core.clusters import CLUSTER
from physml.background.core.events import (
    BORDER,
    EVENT,
    NEAR_BAD,
    NEGATIVE,
    SATURATED,
    find_events,
    frames_to_sparse,
    nearest_particle,
    truth,
)
from physml.background.core.frames import PIXEL, Frames


def one(image, **options):
    """Events of one image."""
    return find_events(frames_of(image[None]), **options)


@pytest.mark.parametrize(("pattern", "rows"), PATTERNS.items())
def test_every_pattern_in_a_frame(pattern, rows):
    image = padded(draw(*rows)) * np.float32(0.5)
    found = one(image)
    (event,) = found.events
    assert (event["y"], event["x"]) == (3, 3)
    assert event["pattern"] == pattern
    assert event["energy"] == image.sum()
    assert event["peak"] == 4.5
    assert event["n_pixels"] == (image > 0).sum()
    assert event["flag"] == 0
    assert event["valid"]
    y, x = np.indices(image.shape)
    np.testing.assert_allclose(event["xc"], (x * image).sum() / image.sum(), rtol=1e-6)
    np.testing.assert_allclose(event["yc"], (y * image).sum() / image.sum(), rtol=1e-6)
    np.testing.assert_array_equal(found.patches[0], image[1:6, 1:6])


def test_thresholds():
    image = np.zeros((9, 9), np.float32)
    image[4, 2], image[4, 3] = 0.2, 0.04  # the partner is below the split threshold
    image[4, 6] = 0.09  # a cluster, no event
    found = one(image)
    assert len(found.clusters) == 2
    assert len(found.events) == 1
    assert found.events["energy"][0] == np.float32(0.2)
    assert found.events["pattern"][0] == 0
    assert found.pixel_cluster.tolist() == [0, -1, 1]
    assert found.pixel_event.tolist() == [0, -1, -1]
    lower = one(image, split=0.03, event=0.08)
    assert lower.events["pattern"].tolist() == [2, 0]


def test_a_pixel_at_a_threshold_is_not_above_it():
    image = np.zeros((7, 7), np.float32)
    image[2, 2], image[4, 4] = 0.1, 0.05
    found = one(image)
    assert len(found.events) == 0
    assert len(found.clusters) == 1


def test_particles_are_above_the_upper_limit():
    image = np.zeros((9, 9), np.float32)
    image[2, 2], image[6, 5:7] = 15.0, [8.0, 7.5]
    found = one(image)
    assert found.events["valid"].tolist() == [True, False]
    assert found.clusters["particle"].tolist() == [False, True]
    assert found.clusters["valid"].tolist() == [True, False]
    assert found.events["pattern"].tolist() == [0, 2]  # its shape alone would do


@pytest.mark.parametrize("place", [(0, 3), (6, 3), (3, 0), (3, 6), (0, 0), (6, 6)])
def test_the_border_spoils_an_event(place):
    image = np.zeros((7, 7), np.float32)
    image[place] = 2.0
    (event,) = one(image).events
    assert event["flag"] == BORDER
    assert (event["pattern"], event["grade"]) == (-1, 7)
    assert not event["valid"]


def test_a_partner_on_the_border_spoils_an_event():
    image = np.zeros((7, 7), np.float32)
    image[3, 5], image[3, 6] = 3.0, 1.0
    (event,) = one(image).events
    assert event["flag"] == BORDER
    assert event["pattern"] == -1


@pytest.mark.parametrize("offset", [(1, 0), (1, 1), (-1, -1), (0, -1)])
def test_a_negative_pixel_next_to_an_event_spoils_it(offset):
    image = np.zeros((9, 9), np.float32)
    image[4, 4], image[4, 5] = 3.0, 1.0
    image[4 + offset[0], (4 if offset[1] < 0 else 5) + offset[1]] = -0.06
    (event,) = one(image).events
    assert event["flag"] == NEGATIVE
    assert event["pattern"] == -1


def test_negative_noise_and_negative_pixels_farther_away_do_no_harm():
    image = np.zeros((9, 9), np.float32)
    image[4, 4], image[4, 5], image[4, 2] = 3.0, -0.04, -5.0
    (event,) = one(image).events
    assert event["flag"] == 0
    assert event["valid"]
    assert event["energy"] == 3.0


def test_bad_pixels_are_ignored_and_their_neighbours_flagged():
    image = np.zeros((9, 9), np.float32)
    image[4, 4], image[4, 5], image[1, 1] = 3.0, 9.0, 2.0
    bad = np.zeros((9, 9), bool)
    bad[4, 5] = True
    found = one(image, bad=bad)
    assert found.events["energy"].tolist() == [2.0, 3.0]
    assert found.events["flag"].tolist() == [0, NEAR_BAD]
    assert found.events["pattern"].tolist() == [0, 0]
    assert found.patches[1, 2, 3] == 0
    assert found.pixel_cluster.tolist() == [0, 1, -1]


def test_saturated_pixels():
    image = np.zeros((9, 9), np.float32)
    image[4, 4], image[2, 2] = 30.0, 29.0
    assert one(image, saturation=30.0).events["flag"].tolist() == [0, SATURATED]


def test_two_maxima_in_one_cluster_are_one_event():
    """Two photons whose charge touches: the higher maximum takes all."""
    image = padded(draw("5949."))
    found = one(image, upper=50)
    (event,) = found.events
    assert (event["y"], event["x"]) == (2, 3)  # of the two equal ones the first
    assert event["n_pixels"] == 4
    assert event["pattern"] == -1
    # In a valid shape they make a valid event: a square of two pairs.
    (event,) = one(padded(draw("35", "92"))).events
    assert event["pattern"] == -1  # the minimum is beside the maximum
    (event,) = one(padded(draw("32", "95")), upper=50).events
    assert event["pattern"] == 9


@pytest.mark.parametrize(
    ("rows", "place", "pattern"), [(("44",), (2, 2), 2), (("4", "4"), (2, 2), 1)]
)
def test_of_equal_maxima_the_first_is_taken(rows, place, pattern):
    (event,) = one(padded(draw(*rows))).events
    assert (event["y"], event["x"]) == place
    assert event["pattern"] == pattern


def test_corners_do_not_connect():
    found = one(padded(draw("..2", ".3.", "5..")))
    assert len(found.clusters) == 3
    assert found.events["pattern"].tolist() == [0, 0, 0]
    assert found.events["grade"].tolist() == [1, 1, 1]


def test_frames_and_rows_do_not_touch_each_other():
    """The last pixel of a row, and of a frame, is not beside the first of the next."""
    images = np.zeros((2, 4, 4), np.float32)
    images[0, 1, 3] = images[0, 2, 0] = images[0, 3, 3] = images[1, 0, 0] = 1.0
    found = find_events(frames_of(images))
    assert len(found.clusters) == 4
    assert found.clusters["frame"].tolist() == [0, 0, 0, 1]
    inner = np.zeros((2, 4, 4), np.float32)
    inner[0, 3, 1] = inner[1, 0, 1] = inner[1, 1, 1] = 1.0
    patches = find_events(frames_of(inner)).patches
    assert patches[0].sum() == 1.0
    assert patches[1].sum() == 2.0


def test_huge_frame_numbers():
    images = np.zeros((2, 5, 5), np.float32)
    images[:, 2, 2] = 1.0
    found = find_events(frames_of(images, index=[3, 2**62]))
    assert found.events["frame"].tolist() == [3, 2**62]


def test_a_track():
    """Nine pixels along a diagonal staircase: one particle with a direction."""
    image = np.zeros((16, 16), np.float32)
    for k in range(5):
        image[3 + k, 4 + k] = image[3 + k, 5 + k] = 18.0
    found = one(image)
    (cluster,) = found.clusters
    assert cluster["particle"]
    assert cluster["n_pixels"] == 10
    angle = 0.5 * np.arctan2(cluster["sin2"], cluster["cos2"])
    assert 0.6 < angle < np.pi / 4  # a little towards x
    # From the centre of the first pixel to that of the last: 5 to the right, 4 up.
    length = 1 + 5 * np.cos(angle) + 4 * np.sin(angle)
    assert cluster["length"] == pytest.approx(length, rel=1e-5)
    assert cluster["width"] < 2
    (event,) = found.events
    assert event["pattern"] == -1
    assert event["n_pixels"] == 10


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("111",), (3, 1, 1, 0)),
        (("1", "1", "1", "1"), (4, 1, -1, 0)),
        (("1",), (1, 1, 0, 0)),
        (("11", "11"), (2, 2, 0, 0)),
    ],
)
def test_shapes_of_clusters(rows, expected):
    (cluster,) = one(padded(draw(*rows))).clusters
    found = [cluster[name] for name in ("length", "width", "cos2", "sin2")]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_direction_ignores_energies():
    image = padded(draw("1111"))
    image[3, 3] = 9.0
    bright = image.copy()
    bright[3, 3] = 900.0
    one_way, other = one(image).clusters[0], one(bright).clusters[0]
    for name in ("length", "width", "cos2", "sin2"):
        assert one_way[name] == other[name]
    assert one_way["yc"] != other["yc"]


def test_more_pixels_than_a_column_can_count():
    found = one(np.ones((200, 200), np.float32))
    assert found.clusters["n_pixels"].tolist() == [40000]
    assert found.events["n_pixels"].tolist() == [32767]
    assert found.events["pattern"].tolist() == [-1]


def test_nothing():
    found = find_events(frames_of(np.zeros((3, 8, 8))))
    assert found.events.dtype == EVENT
    assert found.clusters.dtype == CLUSTER
    assert len(found.events) == len(found.clusters) == len(found.pixel_cluster) == 0
    assert found.patches.shape == (0, 5, 5)
    distance, cluster = nearest_particle(found, frames_of(np.zeros((3, 8, 8))))
    assert distance.shape == cluster.shape == (0,)


def test_only_faint_pixels():
    image = np.zeros((8, 8), np.float32)
    image[2, 2] = 0.01
    found = find_events(frames_of(image[None]))
    assert len(found.clusters) == len(found.events) == 0
    assert found.pixel_event.tolist() == [-1]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([(0, 3, 4, 1.0), (0, 3, 4, 1.0)], "sorted"),
        ([(0, 3, 4, 1.0), (0, 3, 3, 1.0)], "sorted"),
        ([(1, 3, 4, 1.0), (0, 3, 5, 1.0)], "sorted"),
        ([(0, 3, 8, 1.0)], "within"),
        ([(0, -1, 4, 1.0)], "within"),
    ],
)
def test_pixels_that_cannot_be(pixels, message):
    table = np.array(pixels, PIXEL)
    frames = Frames(table, (8, 8), np.arange(2), np.ones(2, np.float32))
    with pytest.raises(ValueError, match=message):
        find_events(frames)


def test_thresholds_out_of_order():
    with pytest.raises(ValueError, match="split <= event"):
        find_events(frames_of(np.zeros((1, 8, 8))), split=0.2)


def test_bad_pixels_of_another_detector():
    with pytest.raises(ValueError, match="shape"):
        find_events(frames_of(np.zeros((1, 8, 8))), bad=np.zeros((4, 4), bool))


def test_dense_frames():
    images = np.zeros((2, 6, 5), np.float32)
    images[0, 1, 2], images[1, 5, 4], images[1, 0, 0], images[1, 0, 1] = 0.3, 2.0, -0.2, 0.04
    pixels = frames_to_sparse(images)
    expected = [(0, 1, 2, 0.3), (1, 0, 0, -0.2), (1, 5, 4, 2.0)]
    np.testing.assert_array_equal(pixels, np.array(expected, PIXEL))
    with pytest.raises(ValueError, match="axes"):
        frames_to_sparse(images[0])


def test_truth_of_events():
    images = np.zeros((1, 9, 9), np.float32)
    photon, inside, source = np.zeros_like(images), np.zeros_like(images), np.full((1, 9, 9), -1)
    # A photon (row 3) that a delta electron of particle 7 overlaps.
    photon[0, 2, 2], photon[0, 2, 3], inside[0, 2, 3] = 4.0, 1.0, 2.0
    source[0, 2, 2], source[0, 2, 3] = -5, 7
    # A background event of two particles.
    inside[0, 6, 2], inside[0, 6, 3], inside[0, 7, 2] = 2.0, 1.5, 1.0
    source[0, 6, 2], source[0, 6, 3], source[0, 7, 2] = 4, 9, 9
    noise = np.zeros_like(images)
    noise[0, 4, 6] = 0.2
    frames = with_truth(
        frames_of(photon + inside + noise), photon=photon, inside=inside, source=source
    )
    found = find_events(frames)
    result = truth(found, frames)
    assert found.events["y"].tolist() == [2, 4, 6]
    assert result["label"].tolist() == [0, 1, 1]
    assert result["source"].tolist() == [-5, -1, 9]
    np.testing.assert_allclose(result["share"][0], [0, 0, 2 / 7, 5 / 7], rtol=1e-6)
    np.testing.assert_allclose(result["share"][1], 0)
    np.testing.assert_allclose(result["share"][2], [0, 0, 1, 0])


def test_the_side_with_more_energy_names_an_event():
    images = np.zeros((1, 9, 9), np.float32)
    photon, outside, source = np.zeros_like(images), np.zeros_like(images), np.full((1, 9, 9), -1)
    # The photon leads in one pixel, the electron in the other and in total.
    photon[0, 2, 2], outside[0, 2, 3], source[0, 2, 2], source[0, 2, 3] = 2.0, 2.5, -2, 0
    photon[0, 6, 2], outside[0, 6, 2], source[0, 6, 2] = 1.0, 1.0, -3
    frames = with_truth(frames_of(photon + outside), photon=photon, outside=outside, source=source)
    result = truth(find_events(frames), frames)
    assert result["label"].tolist() == [1, 1]
    assert result["source"].tolist() == [0, -1]  # no pixel of the second is its own
    np.testing.assert_allclose(result["share"][0], [0, 2.5 / 4.5, 0, 2 / 4.5], rtol=1e-6)


def test_truth_has_to_be_there():
    frames = frames_of(np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match="what left"):
        truth(find_events(frames), frames)


def test_nearest_particle_is_one_of_the_same_frame():
    images = np.zeros((3, 20, 30), np.float32)
    images[0, 5, 5:8] = 20.0  # a particle at x 5 to 7
    images[0, 5, 12] = images[1, 5, 8] = images[2, 10, 10] = 1.0
    images[2, 10, 25] = 40.0
    frames = frames_of(images, index=[4, 9, 1000])
    found = find_events(frames)
    distance, cluster = nearest_particle(found, frames)
    table = {
        (int(e["frame"]), int(e["x"])): (float(d), int(c))
        for e, d, c in zip(found.events, distance, cluster, strict=True)
    }
    assert table[4, 12] == (5.0, 0)
    assert table[9, 8] == (np.inf, -1)
    assert table[1000, 10] == (15.0, 4)
    assert table[4, 5] == (0.0, 0)


def test_events_at_the_border_can_be_kept():
    image = np.zeros((7, 7), np.float32)
    image[0, 3], image[0, 4], image[3, 6] = 2.0, 1.0, 4.0
    image[6, 0:3] = 1.0
    found = one(image, keep_border=True)
    assert found.events["flag"].tolist() == [BORDER] * 3
    assert found.events["pattern"].tolist() == [2, 0, -1]
    assert found.events["grade"].tolist() == [4, 0, 4]
    assert found.events["valid"].tolist() == [True, True, False]
