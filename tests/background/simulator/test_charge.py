"""Charge clouds, pixels, fluctuations and noise."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.detectors import FANO, PAIR, load_detector
from physml.background.core.events import find_events
from physml.background.core.frames import Frames
from physml.background.simulator.charge import Charge, Readout, collect, cut, merge
from physml.background.simulator.photons import absorb

WFI = load_detector("wfi")


def light(energy: float, detector, number: int = 20_000, seed: int = 1, **noise) -> np.ndarray:
    """Measured pixels of single X-rays, one a frame, and their charge."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(5e3, 6e4, (2, number))
    a = absorb(np.full(number, energy), x, y, detector.thickness_um, rng, escape=False)
    origin = np.full(len(a.photon), 3)
    return collect(detector, a.energy, a.position, a.photon, origin, np.arange(number))


def test_width_after_the_whole_drift() -> None:
    width = WFI.width(np.array([0.0, 450.0]))
    assert width[0] == 5
    assert np.sqrt(width[1] ** 2 - 25) == pytest.approx(8.6, abs=0.05)


@pytest.mark.parametrize(("energy", "expected"), [(1.0, (0.52, 0.41, 0.04, 0.03)),
                                                   (6.0, (0.35, 0.49, 0.07, 0.09))])  # fmt: skip
def test_split_fractions(energy: float, expected: tuple[float, ...]) -> None:
    # The sheet's width of 11 um at any depth.
    wide = WFI.model_copy(update={"sigma0_um": 11.0, "bias_V": 1e9})
    charge = light(energy, wide)
    readout = Readout.perfect(wide)
    pixels = readout.measure(readout.fluctuate(charge, np.random.default_rng(2)))
    n = int(pixels["frame"].max()) + 1
    frames = Frames(pixels, (512, 512), np.arange(n), np.ones(n, np.float32))
    pattern = find_events(frames).events["pattern"]
    found = [np.isin(pattern, p).mean() for p in ([0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12])]
    np.testing.assert_allclose(found, expected, atol=0.012)


def test_energy_is_conserved_between_pixels() -> None:
    charge = light(6.0, WFI)
    total = np.bincount(charge.frame, charge.total, 20_000)
    seen = total > 0
    assert seen.mean() > 0.999
    np.testing.assert_allclose(total[seen], 6.0, atol=2e-3)


def test_fano_width() -> None:
    rng = np.random.default_rng(3)
    n = 100_000
    charge = Charge(
        np.arange(n), np.full(n, 5), np.tile([0, 0, 0, 6.0], (n, 1)), np.arange(n), np.zeros(n)
    )
    measured = Readout.perfect(WFI).measure(Readout.perfect(WFI).fluctuate(charge, rng))["energy"]
    expected = np.sqrt(FANO * PAIR * 6.0 + (3 * PAIR) ** 2)
    assert expected * 2.355 == pytest.approx(0.124, abs=0.003)  # FWHM at 6 keV, keV
    assert measured.mean() == pytest.approx(6.0, abs=4 * expected / np.sqrt(n))
    assert measured.std() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", ["wfi", "acis"])
def test_shares_of_a_cloud(name: str) -> None:
    d = load_detector(name)
    position = np.array([10.3, 10.5, 11.0]) * d.pixel_um
    width = d.width(np.array([0.0, d.thickness_um, d.thickness_um]))
    first, shares = cut(d.pixel_um, position, width)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (shares >= 0).all()
    centre = ((first[:, None] + np.arange(shares.shape[1]) + 0.5) * shares).sum(1)
    assert abs(centre[2] - 11.0) < 1e-6  # on a border: half and half
    rows = np.arange(3)
    assert shares[rows, 10 - first].tolist()[:2] > [0.95, 0.95]


def test_charge_at_the_border_stays_in_the_detector() -> None:
    position = np.array([[0.0, 30_000.0, 200.0], [66_560.0, 66_560.0, 200.0]])
    charge = collect(
        WFI, np.array([5.0, 5.0]), position, np.arange(2), np.array([1, 2]), np.arange(2)
    )
    np.testing.assert_allclose(np.bincount(charge.frame, charge.total), 5, atol=1e-3)
    assert charge.pixel.min() >= 0
    assert charge.pixel.max() < 512 * 512
    assert charge.energy[charge.frame == 0, 1].sum() == pytest.approx(5, abs=1e-3)
    assert charge.energy[charge.frame == 1, 2].sum() == pytest.approx(5, abs=1e-3)


def test_merging_sums_and_keeps_the_largest_source() -> None:
    energy = np.array([[1.0, 0, 0, 0], [0, 0, 0, 3.0], [2.0, 0, 0, 0]])
    charge = Charge(
        np.array([7, 7, 8]),
        np.array([3, 3, 3]),
        energy,
        np.array([4, 5, 6]),
        np.array([0.1, 0.2, 0]),
    )
    one = merge(charge, 10)
    assert one.frame.tolist() == [7, 8]
    assert one.source.tolist() == [5, 6]
    np.testing.assert_allclose(one.energy, [[1, 0, 0, 3], [2, 0, 0, 0]])
    np.testing.assert_allclose(one.noise, [0.3, 0])


def test_noise_pixels() -> None:
    noisy = WFI.model_copy(update={"split_keV": 3.5 * WFI.noise_keV})
    readout = Readout.perfect(noisy)
    nothing = collect(
        WFI, np.zeros(0), np.zeros((0, 3)), np.zeros(0, int), np.zeros(0, int), np.zeros(0, int)
    )
    pixels = readout.noise_pixels(np.arange(200), nothing, np.random.default_rng(4))
    expected = 2.326e-4 * 512 * 512  # of a Gaussian beyond 3.5 sigma
    assert len(pixels) / 200 == pytest.approx(expected, rel=0.04)
    assert (pixels["source"] == -1).all()
    assert pixels["energy"].min() > noisy.split_keV
    place = (pixels["frame"] * 512 + pixels["y"]) * 512 + pixels["x"]
    assert len(np.unique(place)) == len(place)


def test_reading_noise_is_drawn_once_a_pixel() -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    one = Charge(np.arange(n), np.zeros(n, int), np.zeros((n, 4)), np.arange(n), np.zeros(n))
    readout = Readout.perfect(WFI)
    first = readout.fluctuate(one, rng)
    second = readout.fluctuate(one, rng, first)
    assert first.noise.std() == pytest.approx(WFI.noise_keV, rel=0.03)
    assert (second.noise == 0).all()


def test_dead_columns_and_gain() -> None:
    gain = np.ones(512)
    gain[3], gain[4] = 0.0, 1.02
    readout = Readout(WFI, gain, np.zeros((512, 512)))
    charge = Charge(
        np.zeros(3, int), np.array([2, 3, 4]), np.full((3, 4), 2.5), np.zeros(3, int), np.zeros(3)
    )
    pixels = readout.measure(charge)
    assert pixels["x"].tolist() == [2, 4]
    np.testing.assert_allclose(pixels["energy"], [10.0, 10.2], rtol=1e-6)
    dark = readout.noise_pixels(np.arange(100), charge, np.random.default_rng(6))
    assert 3 not in dark["x"]
