"""Rows read one after the other, the common plane, charge that is moved."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.camera import CameraSettings
from physml.background.core.detectors import load_detector
from physml.background.core.plane import Plane
from physml.background.simulator.charge import Charge
from physml.background.simulator.deposits import Left
from physml.background.simulator.sweeps import (
    frame_of_row,
    gather,
    lagging,
    mark,
    moved_rows,
    seen,
    widen,
)

WFI = load_detector("wfi")
ROLLING = CameraSettings(rolling=True)


def deposits(x: np.ndarray, y: np.ndarray, owner: np.ndarray, energy: float = 5.0) -> Left:
    """Charge in the middle of pixels, at the readout side."""
    position = np.stack([(x + 0.5) * 130, (y + 0.5) * 130, np.zeros(len(x))], 1)
    return Left(np.full(len(x), energy), position, owner, np.zeros(len(x), np.int8))


def test_a_row_shows_what_came_since_it_was_read_last() -> None:
    rng = np.random.default_rng(1)
    time, y = rng.uniform(0, 4, 500), rng.integers(0, 512, 500)
    frame = frame_of_row(ROLLING, WFI, time, np.zeros(500, int), y)
    read = frame + 1 + (y + 0.5) / 512  # when that row is read at the end of that frame
    assert (time < read).all()
    assert (read - time <= 1).all()


@pytest.mark.parametrize(("order", "first"), [("up", (0, 0)), ("inward", (0, 511)),
                                              ("outward", (511, 0))])  # fmt: skip
def test_orders(order: str, first: tuple[int, int]) -> None:
    camera = CameraSettings(rolling=True, order=order, across=2, down=2)
    y = np.arange(512)
    for quadrant in range(4):
        phase = camera.phase(WFI, np.full(512, quadrant), y)
        assert phase.argmin() == first[quadrant // 2]
        np.testing.assert_allclose(np.sort(phase), (y + 0.5) / 512)


@pytest.mark.parametrize("distance", [60.0, 165.0])
def test_a_track_and_its_electron_are_parted_as_often_as_their_rows_are_apart(distance) -> None:
    """A pair at a distance d in any direction lies in two sweeps with chance 2 d / (pi rows)."""
    rng, n = np.random.default_rng(2), 20_000
    angle = rng.uniform(0, 2 * np.pi, n)
    x, y = rng.uniform(180, 330, (2, n))
    other_x, other_y = x + distance * np.cos(angle), y + distance * np.sin(angle)
    left = deposits(
        np.rint(np.append(x, other_x)), np.rint(np.append(y, other_y)), np.tile(np.arange(n), 2)
    )
    time = rng.uniform(1, 5, n)
    _, pairs = gather(ROLLING, WFI, left, time, np.zeros(n, int), np.ones(7, bool))
    expected = 2 * distance / (np.pi * 512)
    assert len(pairs) / n - 1 == pytest.approx(expected, abs=4 * np.sqrt(expected / n))
    if distance == 165:
        assert expected == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("camera", [CameraSettings(), ROLLING, CameraSettings(across=2, down=2)])
def test_no_charge_is_lost_between_frames(camera: CameraSettings) -> None:
    rng, n = np.random.default_rng(3), 3000
    size = camera.plane(WFI).size_um
    position = np.concatenate([rng.random((n, 2)) * size, rng.uniform(0, 450, (n, 1))], 1)
    left = Left(rng.uniform(1, 50, n), position, np.arange(n), np.zeros(n, np.int8))
    time = rng.uniform(1, 9, n)
    charge, pairs = gather(camera, WFI, left, time, np.zeros(n, int), np.ones(10, bool))
    assert charge.total.sum() == pytest.approx(left.energy.sum(), rel=1e-4)
    assert len(np.unique(charge.frame * 2**20 + charge.pixel)) == len(charge)
    if not camera.rolling:
        np.testing.assert_array_equal(pairs, np.arange(n) * 10 + time.astype(int))


def test_charge_in_the_gap_is_lost() -> None:
    camera = CameraSettings(across=2, down=2, gap=3.0)
    plane = camera.plane(WFI)
    np.testing.assert_allclose(plane.size_um, 2 * 66_560 + 3000)
    rng, n = np.random.default_rng(4), 40_000
    where = rng.random((n, 2)) * plane.size_um
    quadrant, local = plane.locate(where)
    share = 4 * 66_560**2 / plane.size_um.prod()
    assert (quadrant >= 0).mean() == pytest.approx(share, abs=4 * np.sqrt(0.05 / n))
    on = quadrant >= 0
    np.testing.assert_allclose(plane.corner_um(quadrant[on]) + local[on], where[on])
    x, y = local[on].T / 130 - 0.5
    np.testing.assert_allclose(plane.to_mm(quadrant[on], x, y), 1e-3 * where[on])


def test_the_first_quadrant_is_the_detector_itself() -> None:
    plane = Plane(WFI)
    np.testing.assert_allclose(plane.size_um, [512 * 130, 512 * 130])
    assert plane.area_cm2 == WFI.area_cm2


def test_frames_that_can_see_something() -> None:
    time = np.array([0.2, 3.7])
    assert mark(CameraSettings(), time, 5).nonzero()[0].tolist() == [0, 3]
    assert mark(ROLLING, time, 5).nonzero()[0].tolist() == [0, 2, 3]
    frames = np.array([False, False, True, False, False])
    assert seen(ROLLING, np.array([1.5, 2.5, 3.5, 4.5]), frames).tolist() == [0, 1, 1, 0]
    assert seen(CameraSettings(), np.array([1.5, 2.5, 3.5]), frames).tolist() == [0, 1, 0]
    assert widen(frames, 1).tolist() == [0, 1, 1, 1, 0]
    assert widen(frames, 0).tolist() == frames.tolist()


def test_losses_of_the_transfer() -> None:
    camera = CameraSettings(cti=1e-4)
    y = np.array([0, 200, 511])
    charge = Charge(
        np.zeros(3, int), y * 512 + 7, np.diag([10.0, 10, 10, 0])[:3], np.arange(3), np.zeros(3)
    )
    after = lagging(camera, WFI, charge)
    found = {int(p) // 512: float(e) for p, e in zip(after.pixel, after.total, strict=True)}
    for row in y:
        assert found[row] == pytest.approx(10 * (1 - 1e-4) ** (row + 1), rel=1e-9)
    assert found[201] == pytest.approx(10 - found[200], rel=1e-9)
    lost = 10 - found[511]  # behind the last row there is none to catch it up
    assert after.total.sum() == pytest.approx(30 - lost, rel=1e-9)
    assert lagging(CameraSettings(), WFI, charge) is charge


def test_what_comes_during_the_transfer_lies_in_any_row_of_its_column() -> None:
    camera, n = CameraSettings(transfer=0.1), 20_000
    rng = np.random.default_rng(5)
    shift = moved_rows(camera, WFI, n, rng)
    left = deposits(np.full(n, 100.0), np.full(n, 300.0), np.arange(n))
    charge, _ = gather(camera, WFI, left, np.arange(n) + 0.5, shift, np.ones(n, bool))
    row, column = np.divmod(charge.pixel[charge.total > 2.5], 512)
    assert (column == 100).all()
    moved = row != 300
    assert moved.mean() == pytest.approx(0.1 * 511 / 512, abs=4 * np.sqrt(0.09 / n))
    share = np.histogram(row[moved], 4, (0, 512))[0] / moved.sum()
    np.testing.assert_allclose(share, 0.25, atol=4 * np.sqrt(0.19 / moved.sum()))
    assert not moved_rows(CameraSettings(), WFI, 5, rng).any()


@pytest.mark.parametrize(
    "change",
    [{"across": 0}, {"gap": -1}, {"order": "down"}, {"crosstalk": 0.5}, {"opening": 1.0},
     {"cycles": [0.0]}, {"lines": [{"energy": 1.5, "photons": -1}]}, {"rows": 2}],
)  # fmt: skip
def test_bad_cameras_are_refused(change: dict) -> None:
    with pytest.raises(ValueError):
        CameraSettings.model_validate(change)
