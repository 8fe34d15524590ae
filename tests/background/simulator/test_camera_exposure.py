"""Exposures of cameras: their limits, and what their quadrants share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physml.background.core.camera import CameraSettings
from physml.background.core.camera_frames import (
    check_camera,
    one_quadrant,
    read_camera_frames,
    side_by_side,
)
from physml.background.core.frames import ORIGINS, Frames, check, read_frames
from physml.background.evaluation.sets import CAMERA_SETS, camera_set_settings
from physml.background.settings import BackgroundSettings, ConditionsPrior, SimulateSettings
from physml.background.simulator.exposure import simulate_exposure
from physml.config import load_settings
from physml.exceptions import InputError
from physml.io.shards import write_shard

SMALL = SimulateSettings(hits=150, keep=0.3)
FOUR = CameraSettings(across=2, down=2, gap=3.0, rolling=True, order="inward", neighbours=1)


def camera(settings: CameraSettings, index: int = 3, **change) -> Frames:
    changed = SMALL.model_copy(update={"camera": settings, **change})
    return simulate_exposure(changed, 7, index)


@pytest.fixture(scope="module")
def four() -> Frames:
    return camera(FOUR)


def test_one_detector_read_at_once_is_the_limit_bit_for_bit() -> None:
    plain, limit = simulate_exposure(SMALL, 7, 3), camera(CameraSettings())
    check_camera(limit)
    for name in ("frame", "y", "x", "energy", *ORIGINS):
        np.testing.assert_array_equal(plain.pixels[name], limit.pixels[name])
    np.testing.assert_array_equal(plain.index, limit.index)
    np.testing.assert_array_equal(plain.weight, limit.weight)
    for table in ("photons", "exposures"):
        expected, found = getattr(plain, table), getattr(limit, table)
        for name in expected.dtype.names:
            np.testing.assert_array_equal(expected[name], found[name])
    # The same particles are behind the pixels.
    on = plain.pixels["source"] >= 0
    energies = [f.particles["energy"][f.pixels["source"][on]] for f in (plain, limit)]
    np.testing.assert_array_equal(*energies)


def test_four_small_detectors_without_a_gap_are_one_large_one(tmp_path: Path) -> None:
    """The same cosmic rays leave the same charge, up to clouds that are cut at the seams."""
    text = "name: t\npixel_um: 130\nthickness_um: 450\nframe_time: 0.2 s\n"
    for name, side in (("small", 64), ("large", 128)):
        (tmp_path / f"{name}.yaml").write_text(f"{text}ny: {side}\nnx: {side}\n")
    conditions = ConditionsPrior(photons=(1e-6, 1e-6), bright=0.0, nominal=1.0, frame_time=(1, 1),
                                 offset=(0, 0), gain=(1, 1), column_gain=(0, 0), bad=0.0,
                                 cloud=(1, 1), bias=(1, 1))  # fmt: skip
    same = {"hits": 60, "keep": 1.0, "conditions": conditions}
    # What is drawn before the cosmic rays depends on the size of the maps: conditions are fixed,
    # and the random numbers of the maps are taken by as many pixels in both.
    parts = SimulateSettings(**same, detector=str(tmp_path / "small.yaml"),
                             camera=CameraSettings(across=2, down=2))  # fmt: skip
    whole = SimulateSettings(**same, detector=str(tmp_path / "large.yaml"), camera=CameraSettings())
    from physml.background.core.detectors import load_detector
    from physml.background.simulator.camera_exposure import expose_camera
    from physml.background.simulator.conditions import draw
    from physml.random import stream

    made = []
    for settings in (parts, whole):
        base = load_detector(settings.detector)
        drawn = draw(conditions, base, stream(1, "test", 0), settings.camera)
        fixed = {"phi": 0.4, "standoff": 15.0, "gap": 10.0, "shield": 20.0, "flat": 1e-4}
        from dataclasses import replace

        drawn = replace(drawn, **fixed)
        made.append(expose_camera(drawn, base, settings, 0, stream(2, "test", 0)))
    a, b = made
    p = a.pixels
    x = p["x"] + 64 * (p["quadrant"] % 2).astype(int)
    y = p["y"] + 64 * (p["quadrant"] // 2).astype(int)
    one = dict(zip(zip(p["frame"].tolist(), y.tolist(), x.tolist(), strict=True),
                   sum(p[n] for n in ORIGINS).tolist(), strict=True))  # fmt: skip
    q = b.pixels
    other = dict(zip(zip(q["frame"].tolist(), q["y"].tolist(), q["x"].tolist(), strict=True),
                     sum(q[n] for n in ORIGINS).tolist(), strict=True))  # fmt: skip
    inner = [k for k in one if k in other and min(abs(k[1] - 63.5), abs(k[2] - 63.5)) > 1]
    bright = [k for k in other if other[k] > 1 and min(abs(k[1] - 63.5), abs(k[2] - 63.5)) > 1]
    assert len(bright) > 300
    assert set(bright) <= set(inner)
    for k in inner:
        assert one[k] == pytest.approx(other[k], rel=1e-5, abs=1e-6)
    total = [sum(v.values()) for v in (one, other)]
    assert total[0] == pytest.approx(total[1], rel=1e-3)


def test_quadrants_share_particles(four: Frames) -> None:
    check_camera(four)
    assert set(four.pixels["quadrant"]) == {0, 1, 2, 3}
    source = four.pixels["source"]
    on = source >= 0
    np.testing.assert_array_equal(four.particles["frame"][source[on]], four.pixels["frame"][on])
    pair = np.unique(np.stack([source[on], four.pixels["quadrant"][on]], 1), axis=0)
    assert np.bincount(pair[:, 0]).max() > 1  # somebody was in two quadrants
    # Read row by row, some are in two frames, one after the other.
    primary, times = np.unique(four.particles["primary"], return_counts=True)
    assert times.max() == 2
    twice = four.particles[np.isin(four.particles["primary"], primary[times == 2])]
    frames = twice["frame"][np.argsort(twice["primary"], kind="stable")].reshape(-1, 2)
    assert (np.abs(np.diff(frames, axis=1)) == 1).all()
    # A particle's frames are those of its time, or the one before.
    begun = four.particles["time"] / four.frame_time - four.particles["frame"] % (1 << 22)
    assert ((begun > -1e-3) & (begun < 2 + 1e-3)).all()
    mm = np.stack([four.particles["x_mm"], four.particles["y_mm"]], 1)
    hit = mm[four.particles["hit"]]
    assert ((hit > -1e-3) & (hit < 2 * 66.56 + 3 + 1e-3)).all()
    assert four.exposures["area_cm2"][0] == pytest.approx(4 * 44.3, rel=1e-3)


def test_each_quadrant_is_served_by_what_knows_one_detector(four: Frames) -> None:
    parts = [one_quadrant(four, k) for k in range(4)]
    for k, part in enumerate(parts):
        check(part)
        own = four.pixels[four.pixels["quadrant"] == k]
        for name in ("frame", "y", "x", "energy"):
            np.testing.assert_array_equal(part.pixels[name], own[name])
        hit = part.particles[part.particles["hit"]]
        assert (np.abs(hit["x"] - 255.5) <= 256.01).all()
    together = side_by_side(four)
    check(together)
    assert len(together) == 4 * len(four)
    assert sum(len(part.photons) for part in parts) == len(four.photons) == len(together.photons)
    with pytest.raises(ValueError, match="0 to 3"):
        one_quadrant(four, 4)


def test_neighbours_are_kept_at_weight_zero(four: Frames) -> None:
    assert set(np.unique(four.weight)) <= {np.float32(0), np.float32(1), np.float32(1 / 0.3)}
    counted = four.index[four.weight > 0]
    for frame in four.index[four.weight == 0]:
        assert np.abs(counted - frame).min() == 1
    first = four.exposures["first_frame"][0]
    last = first + four.exposures["n_frames"][0] - 1
    for step in (-1, 1):
        inside = counted + step
        inside = inside[(inside >= first) & (inside <= last)]
        assert (four.position(inside) >= 0).all()


def test_frames_of_a_camera_through_a_file(tmp_path: Path, four: Frames) -> None:
    path = tmp_path / "four.h5"
    write_shard(path, four.arrays(), tables=four.tables(), provenance={})
    again = read_camera_frames(path)
    for name, table in four.tables().items():
        np.testing.assert_array_equal(again.tables()[name], table)
    with pytest.raises(InputError):
        read_frames(path)


def test_everything_at_once() -> None:
    every = CameraSettings(
        across=2, down=2, gap=3, rolling=True, cycles=(2, 5), light_side=40, opening=0.3,
        yield_board=2, lines=({"energy": 1.487, "photons": 0.05},), common_mode=1, crosstalk=0.02,
        cti=1e-5, transfer=0.01,
    )  # fmt: skip
    frames = camera(every)
    check_camera(frames)
    assert len(frames.pixels) > 100
    for name, table in frames.tables().items():
        for column in table.dtype.names:
            assert np.isfinite(table[column]).all(), (name, column)


def test_a_front_lit_detector_has_blooms() -> None:
    """Cosmic rays leave wide clouds where the field ends, X-rays keep their small ones."""
    conditions = ConditionsPrior(photons=(20, 20), bright=0, spot=0.0, frame_time=(0.05, 0.05))
    area = {}
    for name in ("acis", "acis_front"):
        settings = SimulateSettings(detector=name, hits=6, keep=1.0, conditions=conditions)
        frames = simulate_exposure(settings, 1, 0)
        check(frames)
        p = frames.pixels
        area[name] = [(p["source"] >= 0).mean() * len(p), (p["source"] <= -2).sum()]
    assert area["acis_front"][0] > 3 * area["acis"][0]


@pytest.mark.parametrize("file", ["four_quadrants.yaml", "four_chips.yaml"])
def test_shipped_cameras(root: Path, file: str) -> None:
    settings = load_settings(BackgroundSettings, root / "pipelines" / "background" / file)
    assert settings.simulate.camera is not None
    assert settings.simulate.camera.number == 4


def test_camera_sets() -> None:
    assert len(CAMERA_SETS) == 16
    for name in CAMERA_SETS:
        made = camera_set_settings(name)
        assert made.camera.number == (4 if "four" in name else 1)
        assert made.camera.rolling == ("rolling" in name)
        cycle = 5 * made.conditions.frame_time[0]
        assert f"{cycle:g} ms" in name
    with pytest.raises(ValueError, match="expected one of"):
        camera_set_settings("far")
