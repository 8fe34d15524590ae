"""Sparse frames: selection, dense images, joining, reading what was written."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.frames import (
    EXPOSURE,
    PARTICLE,
    PHOTON,
    PIXEL,
    TRUE_PIXEL,
    Frames,
    check,
    concatenate,
    raw_spec,
    read_frames,
)
from physml.exceptions import InputError
from physml.io.shards import write_shard


def pixels(rows, dtype=TRUE_PIXEL):
    """Pixels from (frame, y, x, energy, source)."""
    table = np.zeros(len(rows), dtype)
    for i, (frame, y, x, energy, source) in enumerate(rows):
        table[i]["frame"], table[i]["y"], table[i]["x"] = frame, y, x
        table[i]["energy"] = energy
        if "source" in dtype.names:
            table[i]["source"] = source
    return table


def make(first: int = 0, exposure: int = 0) -> Frames:
    """Three frames held of five: two particles, two photons, one pixel of noise."""
    held = np.array([0, 2, 4]) + first
    rows = [(0, 1, 2, 3.0, 0), (2, 0, 0, 1.0, -2), (2, 5, 6, 9.0, 1), (4, 3, 3, 0.06, -1),
            (4, 3, 4, 2.0, -3)]  # fmt: skip
    particles = np.zeros(2, PARTICLE)
    particles["frame"] = [first, first + 2]
    particles["exposure"] = exposure
    photons = np.zeros(2, PHOTON)
    photons["frame"] = [first + 2, first + 4]
    photons["exposure"] = exposure
    table = np.zeros(1, EXPOSURE)
    table["exposure"], table["first_frame"], table["n_frames"] = exposure, first, 5
    table["ny"], table["nx"], table["frame_time"] = 8, 8, 0.005
    return Frames(
        pixels([(f + first, *rest) for f, *rest in rows]),
        (8, 8),
        held,
        np.array([1, 1, 100], np.float32),
        float(np.float32(0.005)),
        particles,
        photons,
        table,
    )


def test_dense_shows_one_frame() -> None:
    image = make().dense(2)
    assert image.shape == (8, 8)
    assert image[0, 0] == 1
    assert image[5, 6] == 9
    assert image.sum() == 10
    with pytest.raises(KeyError):
        make().dense(1)


def test_dense_and_back() -> None:
    rng = np.random.default_rng(1)
    images = rng.random((4, 6, 7)).astype(np.float32)
    images[2] = 0
    found = Frames.from_dense(images, 0.5, frame_time=0.01)
    assert len(found) == 4
    assert not found.has_truth
    check(found)
    for k in range(4):
        np.testing.assert_array_equal(found.dense(k), np.where(images[k] > 0.5, images[k], 0))


def test_from_dense_wants_three_axes() -> None:
    with pytest.raises(InputError, match="axes"):
        Frames.from_dense(np.zeros((4, 4)), 0.1)


@pytest.mark.parametrize("by_mask", [False, True])
def test_selection_takes_truth_along(by_mask: bool) -> None:
    whole = make()
    chosen = whole.select(np.array([False, True, True]) if by_mask else [4, 2])
    assert chosen.index.tolist() == [2, 4]
    assert chosen.weight.tolist() == [1, 100]
    assert chosen.particles["frame"].tolist() == [2]
    assert chosen.photons["frame"].tolist() == [2, 4]
    # The particle is row 0 now; photons and noise keep their codes.
    assert chosen.pixels["source"].tolist() == [-2, 0, -1, -3]
    check(chosen)
    assert whole.pixels["source"].tolist() == [0, -2, 1, -1, -3]  # not changed in place


def test_selection_of_the_last_frame_renumbers_photons() -> None:
    chosen = make().select([4])
    assert chosen.pixels["source"].tolist() == [-1, -2]
    assert len(chosen.particles) == 0


def test_selection_of_none() -> None:
    chosen = make().select([])
    assert len(chosen) == len(chosen.pixels) == 0


def test_selection_of_a_frame_that_is_not_held() -> None:
    with pytest.raises(KeyError, match="3"):
        make().select([2, 3])


def test_position_and_starts() -> None:
    f = make()
    assert f.position([0, 1, 4, 99]).tolist() == [0, -1, 2, -1]
    assert f.starts.tolist() == [0, 1, 3, 5]


def test_frames_know_their_exposure() -> None:
    both = concatenate([make(), make(1000, 1)])
    assert both.frame_exposure.tolist() == [0, 0, 0, 1, 1, 1]


def test_joining_moves_sources() -> None:
    both = concatenate([make(), make(1000, 1)])
    check(both)
    assert len(both) == 6
    assert both.pixels["source"].tolist() == [0, -2, 1, -1, -3, 2, -4, 3, -1, -5]
    again = both.select(both.index[3:])
    np.testing.assert_array_equal(again.pixels, make(1000, 1).pixels)


def test_joining_refuses_what_does_not_go_together() -> None:
    with pytest.raises(ValueError, match="increase"):
        concatenate([make(10), make()])
    plain = Frames(pixels([], PIXEL), (8, 8), np.array([5000]), np.ones(1, np.float32))
    with pytest.raises(ValueError, match="truth"):
        concatenate([make(), plain])
    with pytest.raises(ValueError, match="nothing"):
        concatenate([])


def test_written_and_read(tmp_path) -> None:
    whole = concatenate([make(), make(1000, 1)])
    path = tmp_path / "raw.h5"
    write_shard(path, whole.arrays(), tables=whole.tables(), provenance={})
    found = read_frames(path)
    for name in ("pixels", "index", "weight", "particles", "photons", "exposures"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert found.shape == (8, 8)
    assert found.frame_time == pytest.approx(0.005)
    assert found.has_truth


def test_spec_names_what_is_written() -> None:
    whole = make()
    assert set(raw_spec()) == set(whole.arrays()) | set(whole.tables())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["pixels"].__setitem__("x", 99), "within 8 x 8"),
        (lambda t: t["pixels"].__setitem__("frame", 3), "once, sorted"),
        (lambda t: t["pixels"]["frame"].__setitem__(0, -7), "listed in 'index'"),
        (lambda t: t["pixels"].__setitem__("source", 7), "sources"),
        (lambda t: t["pixels"].__setitem__("source", -9), "sources"),
        (lambda t: t["exposures"].__setitem__("ny", 4), "within 4 x 8"),
        (lambda t: t["exposures"]["nx"].__setitem__(1, 9), "one detector shape"),
        (lambda t: t["index"].__setitem__(slice(None), t["index"][::-1].copy()), "increase"),
        (lambda t: t.pop("photons"), "photons"),
    ],
)
def test_damaged_shards_are_refused(tmp_path, change, message: str) -> None:
    whole = concatenate([make(), make(1000, 1)])
    parts = {name: np.array(p) for name, p in (whole.arrays() | whole.tables()).items()}
    change(parts)
    arrays = {name: parts.pop(name) for name in whole.arrays()}
    path = tmp_path / "bad.h5"
    write_shard(path, arrays, tables=parts, provenance={})
    with pytest.raises(InputError, match=message) as caught:
        read_frames(path)
    assert str(path) in str(caught.value)
