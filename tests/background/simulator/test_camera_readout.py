"""Noise that rows share and ghosts of bright pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from physml.background.core.camera import CameraSettings
from physml.background.core.detectors import PAIR, load_detector
from physml.background.simulator.camera_readout import CameraReadout
from physml.background.simulator.charge import Charge, Readout

WFI = load_detector("wfi")


def readout(quadrants: int = 1, **camera) -> CameraReadout:
    one = Readout.perfect(WFI)
    return CameraReadout(CameraSettings(**camera), (one,) * quadrants)


def charge_of(frame, y, x, energy) -> Charge:
    n = len(frame)
    by_origin = np.zeros((n, 4))
    by_origin[:, 0] = energy
    pixel = np.asarray(y) * 512 + np.asarray(x)
    return Charge(np.asarray(frame), pixel, by_origin, np.arange(n), np.zeros(n))


@pytest.mark.parametrize("common", [0.0, 4.0])
def test_pixels_of_a_row_are_shifted_together(common: float) -> None:
    """Covariance is that of the common part; the variance is the sum of both."""
    n, rng = 4000, np.random.default_rng(1)
    frames = np.arange(n)
    places = [(10, 20), (10, 400), (11, 20)]
    charge = Charge.join([charge_of(frames, [y] * n, [x] * n, 5.0) for y, x in places])
    quiet = Readout.perfect(WFI.model_copy(update={"split_keV": 1.0}))  # no noise pixels
    pixels = CameraReadout(CameraSettings(common_mode=common), (quiet,)).read(charge, frames, rng)
    lit = pixels[pixels["energy"] > 4]
    e = np.stack([lit["energy"][(lit["y"] == y) & (lit["x"] == x)] for y, x in places])
    cov = np.cov(e.astype(float))
    var = (common * PAIR) ** 2
    own = (3 * PAIR) ** 2
    # The noise of reading is not drawn here: only the common part is left.
    assert cov[0, 1] == pytest.approx(var, rel=0.1, abs=1e-9)
    assert cov[0, 0] == pytest.approx(var, rel=0.1, abs=1e-9)
    assert abs(cov[0, 2]) < 0.1 * var + 0.01 * own


@pytest.mark.parametrize("quadrants", [1, 2])
def test_noise_pixels_under_common_noise(quadrants: int) -> None:
    """Their number is that of one Gaussian of both variances; rows come and go together."""
    common, split, n = 2.0, 12.6, 20  # electrons
    noisy = WFI.model_copy(update={"split_keV": split * PAIR})
    one = Readout.perfect(noisy)
    made = CameraReadout(CameraSettings(common_mode=common, across=quadrants), (one,) * quadrants)
    none = charge_of(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    pixels = made.read(none, np.arange(n), np.random.default_rng(2))
    rows = 512 * n * quadrants
    level, weight = np.polynomial.hermite_e.hermegauss(60)
    chance = ndtr((common * level - split) / 3.0)
    mean = float(np.average(chance, weights=weight))
    assert mean == pytest.approx(ndtr(-split / np.hypot(3.0, common)), rel=1e-6)
    variance = 512 * mean + 512**2 * float(np.average((chance - mean) ** 2, weights=weight))
    assert len(pixels) == pytest.approx(512 * mean * rows, abs=4 * np.sqrt(variance * rows))
    assert pixels["energy"].min() >= noisy.split_keV
    by_row = np.bincount(pixels["frame"] * 512 + pixels["y"], minlength=rows)
    assert by_row.var() == pytest.approx(variance, rel=0.4)
    assert variance > 1.5 * 512 * mean


def test_ghosts_lie_beside_bright_pixels() -> None:
    n = 500
    charge = charge_of(np.arange(n), [100] * n, [100] * n, 100.0)
    shown = readout(crosstalk=0.02).crosstalk(charge, np.random.default_rng(3))
    y, x = np.divmod(shown.pixel, 512)
    assert set(zip(y.tolist(), x.tolist(), strict=True)) == {(100, 99), (100, 100), (100, 101)}
    ghost = shown.noise[x != 100]
    assert ghost.mean() == pytest.approx(2.0, abs=4 * WFI.noise_keV / np.sqrt(2 * n))
    assert ghost.std() == pytest.approx(WFI.noise_keV, rel=0.15)
    # Nothing is left by a ghost, and it is known whose it is.
    assert shown.total.sum() == pytest.approx(100.0 * n)
    np.testing.assert_array_equal(shown.source, shown.frame)


def test_ghosts_of_the_next_row_follow_the_readout() -> None:
    charge = charge_of(np.array([0, 3]), [100, 100], [50, 50], 100.0)  # quadrants 0 and 3
    made = readout(4, crosstalk=0.03, crosstalk_to="next row", rolling=True, order="inward",
                   across=2, down=2)  # fmt: skip
    shown = made.crosstalk(charge, np.random.default_rng(4))
    ghosts = shown[shown.total == 0]
    assert dict(zip(ghosts.frame.tolist(), (ghosts.pixel // 512).tolist(), strict=True)) == {
        0: 101,
        3: 99,
    }


def test_faint_pixels_and_borders_have_no_ghosts() -> None:
    rng = np.random.default_rng(5)
    faint = charge_of(np.array([0]), [7], [7], 0.2)
    assert len(readout(crosstalk=0.02).crosstalk(faint, rng)) == 1
    corner = charge_of(np.array([0]), [0], [511], 100.0)
    assert len(readout(crosstalk=0.02).crosstalk(corner, rng)) == 2


def test_two_ghosts_add_up() -> None:
    charge = charge_of(np.zeros(2, int), [5, 5], [10, 12], 100.0)
    shown = readout(crosstalk=0.02).crosstalk(charge, np.random.default_rng(6))
    between = shown.noise[shown.pixel == 5 * 512 + 11]
    assert between == pytest.approx(4.0, abs=5 * WFI.noise_keV)
