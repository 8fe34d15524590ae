"""Matching of predicted to true cavities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.cavities.core.matching import (
    CANDIDATE_DTYPE,
    LENIENT,
    STRICT,
    match,
    overlaps,
    scored_set,
    true_cavities,
)

TABLE_DTYPE = np.dtype([("radius", "f4"), ("present", "?"), ("visible", "?")])


def disc(x: float, y: float, radius: float, size: int = 64) -> np.ndarray:
    yy, xx = np.mgrid[:size, :size]
    return np.hypot(xx - x, yy - y) < radius


def label_image(*discs: tuple[float, float, float]) -> np.ndarray:
    out = np.zeros((64, 64), np.int32)
    for k, d in enumerate(discs, start=1):
        out[disc(*d)] = k
    return out


def scene_of(true, predicted, scores, counts=(1e4,)):
    """A set of images from lists of discs, one list an image."""
    true_images = np.stack([label_image(*t) for t in true])
    predicted_images = np.stack([label_image(*p) for p in predicted])
    table = np.zeros((len(true), 6), TABLE_DTYPE)
    for i, discs in enumerate(true):
        table[i, : len(discs)] = [(d[2], True, True) for d in discs]
    rows = [(i, k + 1, s) for i, part in enumerate(scores) for k, s in enumerate(part)]
    candidates = np.zeros(len(rows), CANDIDATE_DTYPE)
    for row, (i, k, s) in zip(candidates, rows, strict=True):
        row["image"], row["label"], row["score"] = i, k, s
        row["radius"] = predicted[i][k - 1][2]
    return scored_set(
        np.broadcast_to(counts, len(true)),
        true_cavities(table, true_images),
        true_images,
        candidates,
        predicted_images,
    )


def test_overlap_of_squares_is_exact():
    a, b = np.zeros((10, 10), int), np.zeros((10, 10), int)
    a[0:4, 0:4] = 7  # 16 pixels
    b[2:6, 0:4] = 3  # 16 pixels, 8 in common
    b[0:2, 8:10] = 1
    labels, iou, covered = overlaps(a, b)
    assert labels.tolist() == [[7, 3]]
    assert iou == pytest.approx([8 / 24])
    assert covered == pytest.approx([0.5])


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes"):
        overlaps(np.zeros((4, 4), int), np.zeros((4, 5), int))


def test_each_true_cavity_is_found_once():
    scene = scene_of([[(20, 20, 10)]], [[(17, 20, 7.5), (26, 20, 6)]], [[0.6, 0.9]])
    ious = dict(zip(scene.pairs["candidate"].tolist(), scene.pairs["iou"], strict=True))
    assert ious[1] < 0.3  # the more probable one overlaps too little
    assert ious[0] > 0.3
    assert match(scene).tolist() == [0, -1]
    # Five per cent of the true area are enough for the lenient rule: the more probable one wins.
    assert match(scene, LENIENT).tolist() == [-1, 0]


def test_more_probable_candidate_chooses_first_and_the_loser_gets_what_is_left():
    # One broad candidate over two cavities that touch, one narrow candidate on the left one.
    true = np.zeros((1, 20, 20), int)
    true[0, 5:15, 2:9], true[0, 5:15, 9:14] = 1, 2
    predicted = np.zeros((1, 20, 20), int)
    predicted[0, 5:15, 6:14] = 1
    predicted[0, 5:15, 1:6] = 2
    table = np.zeros((1, 2), TABLE_DTYPE)
    table["present"] = table["visible"] = True
    candidates = np.zeros(2, CANDIDATE_DTYPE)
    candidates["label"], candidates["score"] = [1, 2], [0.9, 0.5]
    scene = scored_set([1], true_cavities(table, true), true, candidates, predicted)
    assert match(scene).tolist() == [1, 0]


def test_only_visible_cavities_with_pixels_count():
    mask = np.zeros((2, 8, 8), np.uint8)
    mask[0, :3, :3], mask[1, :2, :2] = 1, 2
    table = np.zeros((2, 6), TABLE_DTYPE)
    table["present"][:, :3] = True
    table["visible"][0, :] = True  # of image 1 nothing is above the decrement floor
    table["radius"][0, :2] = 5, 7
    found = true_cavities(table, mask)
    assert found[["image", "label"]].tolist() == [(0, 1)]
    assert found["radius"].tolist() == [5]


def test_subset_keeps_the_matches():
    true = [[(20, 20, 10)], [], [(40, 40, 9), (15, 15, 6)]]
    predicted = [[(21, 20, 10)], [(30, 30, 5)], [(15, 16, 6), (40, 41, 9), (55, 8, 5)]]
    whole = scene_of(true, predicted, [[0.9], [0.8], [0.7, 0.6, 0.5]])
    part = whole.subset(np.array([False, True, True]))
    assert part.n_images == 2
    assert part.candidates["image"].tolist() == [0, 1, 1, 1]
    assert match(whole).tolist() == [0, -1, 2, 1, -1]
    assert match(part).tolist() == [-1, 1, 0, -1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([STRICT, LENIENT]))
def test_matching_is_one_to_one_and_nested_in_the_threshold(seed, rule):
    """What is matched among the candidates above a threshold does not depend on those below."""
    rng = np.random.default_rng(seed)
    true = [[tuple(rng.uniform([8, 8, 3], [56, 56, 12])) for _ in range(3)] for _ in range(3)]
    predicted = [[tuple(np.add(d, rng.normal(0, 2, 3))) for d in discs] for discs in true]
    scores = [rng.permutation(np.arange(1, 4) / 4 + i / 100) for i in range(3)]
    scene = scene_of(true, predicted, scores)
    found = match(scene, rule)
    hits = found[found >= 0]
    assert len(np.unique(hits)) == len(hits)
    above = scene.candidates["score"] >= 0.5
    renumber = np.where(above, np.cumsum(above) - 1, -1)
    pairs = scene.pairs[above[scene.pairs["candidate"]]].copy()
    pairs["candidate"] = renumber[pairs["candidate"]]
    from dataclasses import replace

    alone = match(replace(scene, candidates=scene.candidates[above], pairs=pairs), rule)
    assert alone.tolist() == found[above].tolist()


def test_perfect_prediction_matches_everything():
    discs = [[(20, 20, 8), (44, 44, 8)], [(30, 30, 12)]]
    scene = scene_of(discs, discs, [[0.3, 0.9], [0.5]])
    for rule in (STRICT, LENIENT):
        assert match(scene, rule).tolist() == [0, 1, 2]
    assert scene.pairs["iou"].tolist() == [1, 1, 1]
