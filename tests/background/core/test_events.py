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


def lit(shape, energies, dark=0.0):
    """Image in which only some pixels are lit."""
    image = np.full(shape, dark, np.float32)
    for place, energy in energies.items():
        image[place] = energy
    return image


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
    # The partner is below the split threshold; the last is a cluster, no event.
    image = lit((9, 9), {(4, 2): 0.2, (4, 3): 0.04, (4, 6): 0.09})
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
    found = one(lit((7, 7), {(2, 2): 0.1, (4, 4): 0.05}))
    assert len(found.events) == 0
    assert len(found.clusters) == 1


def test_particles_are_above_the_upper_limit():
    found = one(lit((9, 9), {(2, 2): 15.0, (6, 5): 8.0, (6, 6): 7.5}))
    assert found.events["valid"].tolist() == [True, False]
    assert found.clusters["particle"].tolist() == [False, True]
    assert found.clusters["valid"].tolist() == [True, False]
    assert found.events["pattern"].tolist() == [0, 2]  # its shape alone would do


@pytest.mark.parametrize("place", [(0, 3), (6, 3), (3, 0), (3, 6), (0, 0), (6, 6)])
def test_the_border_spoils_an_event(place):
    (event,) = one(lit((7, 7), {place: 2.0})).events
    assert (event["flag"], event["pattern"], event["grade"]) == (BORDER, -1, 7)
    assert not event["valid"]


def test_a_partner_on_the_border_spoils_an_event():
    (event,) = one(lit((7, 7), {(3, 5): 3.0, (3, 6): 1.0})).events
    assert (event["flag"], event["pattern"]) == (BORDER, -1)


@pytest.mark.parametrize("place", [(5, 5), (5, 6), (3, 3), (4, 3)])
def test_a_negative_pixel_next_to_an_event_spoils_it(place):
    (event,) = one(lit((9, 9), {(4, 4): 3.0, (4, 5): 1.0, place: -0.06})).events
    assert (event["flag"], event["pattern"]) == (NEGATIVE, -1)


def test_negative_noise_and_negative_pixels_farther_away_do_no_harm():
    (event,) = one(lit((9, 9), {(4, 4): 3.0, (4, 5): -0.04, (4, 2): -5.0})).events
    assert (event["flag"], event["energy"]) == (0, 3.0)
    assert event["valid"]


def test_bad_pixels_are_ignored_and_their_neighbours_flagged():
    image = lit((9, 9), {(4, 4): 3.0, (4, 5): 9.0, (1, 1): 2.0})
    found = one(image, bad=lit((9, 9), {(4, 5): 1}) > 0)
    assert found.events["energy"].tolist() == [2.0, 3.0]
    assert found.events["flag"].tolist() == [0, NEAR_BAD]
    assert found.events["pattern"].tolist() == [0, 0]
    assert found.patches[1, 2, 3] == 0
    assert found.pixel_cluster.tolist() == [0, 1, -1]


def test_saturated_pixels():
    found = one(lit((9, 9), {(4, 4): 30.0, (2, 2): 29.0}), saturation=30.0)
    assert found.events["flag"].tolist() == [0, SATURATED]


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
    places = [(0, 1, 3), (0, 2, 0), (0, 3, 3), (1, 0, 0)]
    found = find_events(frames_of(lit((2, 4, 4), dict.fromkeys(places, 1.0))))
    assert found.clusters["frame"].tolist() == [0, 0, 0, 1]
    places = [(0, 3, 1), (1, 0, 1), (1, 1, 1)]
    found = find_events(frames_of(lit((2, 4, 4), dict.fromkeys(places, 1.0))))
    assert found.patches.sum((1, 2)).tolist() == [1.0, 2.0]


def test_huge_frame_numbers():
    images = lit((2, 5, 5), {(0, 2, 2): 1.0, (1, 2, 2): 1.0})
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
    found = one(lit((8, 8), {(2, 2): 0.01}))
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


@pytest.mark.parametrize(
    ("options", "message"),
    [({"split": 0.2}, "split <= event"), ({"bad": np.zeros((4, 4), bool)}, "shape")],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        one(np.zeros((8, 8)), **options)


def test_dense_frames():
    expected = [(0, 1, 2, 0.3), (1, 0, 0, -0.2), (1, 5, 4, 2.0)]
    images = lit((2, 6, 5), {(1, 0, 1): 0.04} | {row[:3]: row[3] for row in expected})
    np.testing.assert_array_equal(frames_to_sparse(images), np.array(expected, PIXEL))
    with pytest.raises(ValueError, match="axes"):
        frames_to_sparse(images[0])


def test_truth_of_events():
    a, b, c, d, e = (0, 2, 2), (0, 2, 3), (0, 6, 2), (0, 6, 3), (0, 7, 2)
    size = (1, 9, 9)
    # A photon (row 3) that a delta electron of particle 7 overlaps; an event of two particles.
    photon = lit(size, {a: 4.0, b: 1.0})
    inside = lit(size, {b: 2.0, c: 2.0, d: 1.5, e: 1.0})
    source = lit(size, {a: -5, b: 7, c: 4, d: 9, e: 9}, dark=-1)
    noise = lit(size, {(0, 4, 6): 0.2})
    frames = frames_of(photon + inside + noise)
    frames = with_truth(frames, photon=photon, inside=inside, source=source)
    found = find_events(frames)
    result = truth(found, frames)
    assert found.events["y"].tolist() == [2, 4, 6]
    assert result["label"].tolist() == [0, 1, 1]
    assert result["source"].tolist() == [-5, -1, 9]
    np.testing.assert_allclose(result["share"][0], [0, 0, 2 / 7, 5 / 7], rtol=1e-6)
    np.testing.assert_allclose(result["share"][1], 0)
    np.testing.assert_allclose(result["share"][2], [0, 0, 1, 0])


def test_the_side_with_more_energy_names_an_event():
    a, b, c, size = (0, 2, 2), (0, 2, 3), (0, 6, 2), (1, 9, 9)
    # The photon leads in one pixel, the electron in the other and in total.
    photon, outside = lit(size, {a: 2.0, c: 1.0}), lit(size, {b: 2.5, c: 1.0})
    source = lit(size, {a: -2, b: 0, c: -3}, dark=-1)
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
    events = {(0, 5, 12): 1.0, (1, 5, 8): 1.0, (2, 10, 10): 1.0, (2, 10, 25): 40.0}
    images = lit((3, 20, 30), events)
    images[0, 5, 5:8] = 20.0  # a particle
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
    image = lit((7, 7), {(0, 3): 2.0, (0, 4): 1.0, (3, 6): 4.0})
    image[6, 0:3] = 1.0
    found = one(image, keep_border=True)
    assert found.events["flag"].tolist() == [BORDER] * 3
    assert found.events["pattern"].tolist() == [2, 0, -1]
    assert found.events["grade"].tolist() == [4, 0, 4]
    assert found.events["valid"].tolist() == [True, True, False]
