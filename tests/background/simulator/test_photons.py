"""X-rays in silicon, Compton scattering, and light from the housing."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.simulator.geometry import Geometry
from physml.background.simulator.materials import (
    ALUMINIUM,
    CLASSICAL_RADIUS,
    ELECTRON_MASS,
    SILICON,
)
from physml.background.simulator.photons import (
    K_LINE,
    LOWEST,
    absorb,
    compton_coefficient,
    convert,
    draw_compton,
    shine,
    thick_target,
)
from physml.background.simulator.primaries import draw_primaries


def fall(energy: float, number: int = 40_000, *, escape: bool = True):
    rng = np.random.default_rng(1)
    middle = np.full(number, 3e4)
    return absorb(np.full(number, energy), middle, middle, 450.0, rng, escape=escape)


@pytest.mark.parametrize(
    ("energy", "expected"),
    [
        (0.5, 0.51),
        (1, 2.7),
        (1.83, 13.8),
        (1.85, 1.4),
        (3, 4.4),
        (5.9, 28),
        (7, 46),
        (10, 130),
        (15, 436),
    ],
)
def test_attenuation_lengths(energy: float, expected: float) -> None:
    assert 1 / SILICON.photoelectric(energy) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("energy", "expected"), [(10.0, 0.97), (15.0, 0.64)])
def test_share_that_is_stopped(energy: float, expected: float) -> None:
    stopped = len(np.unique(fall(energy).photon)) / 40_000
    law = -np.expm1(-450.0 * float(SILICON.photoelectric(energy)))
    assert law == pytest.approx(expected, abs=0.01)
    assert stopped == pytest.approx(law, abs=0.01)


def test_depths_are_exponential_from_the_back() -> None:
    depth = 450 - fall(5.9, escape=False).position[:, 2]
    assert depth.mean() == pytest.approx(28, rel=0.03)
    assert depth.min() >= 0


def test_escape_line() -> None:
    a = fall(3.0)
    total = np.bincount(a.photon, a.energy, 40_000)
    escaped = np.abs(total - (3.0 - K_LINE)) < 1e-9
    assert np.allclose(total[~escaped & (total > 0)], 3.0)
    # Fluorescence in 4.6 % of the absorptions 4.4 um below the surface, 12 um range: some 30 %
    # of it gets out.
    assert 0.005 < escaped.mean() < 0.02
    below_edge = fall(1.8)
    assert np.allclose(below_edge.energy, 1.8)
    assert np.allclose(fall(3.0, escape=False).energy, 3.0)


def test_compton_total_is_thomsons_at_low_energy() -> None:
    thomson = 8 * np.pi / 3 * CLASSICAL_RADIUS**2 * ALUMINIUM.atoms * ALUMINIUM.z
    assert compton_coefficient(ALUMINIUM, 0.1) == pytest.approx(thomson, rel=1e-3)
    # Klein and Nishina at the electron's rest energy: 0.4313 of Thomson's.
    at_rest_energy = compton_coefficient(ALUMINIUM, ELECTRON_MASS)
    assert at_rest_energy == pytest.approx(0.4313 * thomson, rel=2e-3)


@pytest.mark.parametrize(("energy", "expected"), [(100.0, 0.138), (1000.0, 0.440)])
def test_mean_energy_of_compton_electrons(energy: float, expected: float) -> None:
    scattered, cosine = draw_compton(np.full(100_000, energy), np.random.default_rng(2))
    assert 1 - scattered.mean() / energy == pytest.approx(expected, abs=0.004)
    np.testing.assert_allclose(
        scattered, energy / (1 + energy / ELECTRON_MASS * (1 - cosine)), rtol=1e-12
    )


def test_light_of_stopping_electrons() -> None:
    table = thick_target(ALUMINIUM)
    # Kramers: about 1.5e-5 T / keV / k photons per keV of an electron in aluminium.
    one_mev = float(np.interp(np.log(1e3), table.log_energy, table.emitted))
    assert one_mev == pytest.approx(1.5e-2 * (np.log(1e3 / LOWEST) - 1), rel=0.3)


def test_light_from_the_housing_reaches_the_silicon() -> None:
    size = np.array([66_560.0, 66_560.0, 450.0])
    g = Geometry(size, 14_775.0, 11_720.0, 20_000.0)
    rng = np.random.default_rng(3)
    live = 300.0
    primaries = draw_primaries(g, ALUMINIUM, 0.4, 0.0, live, rng)
    light = shine(g, ALUMINIUM, primaries, rng)
    outside = np.maximum(np.maximum(g.low - light.position, light.position - g.high), 0)
    # What is thrown lies in the housing and has its first stretch settled.
    np.testing.assert_allclose(np.sqrt((outside**2).sum(1)), light.safe, atol=1e-6)
    electrons = convert(g, ALUMINIUM, light, rng)
    assert electrons.inside.all()
    assert ((electrons.position >= 0) & (electrons.position <= size)).all()
    np.testing.assert_allclose(np.linalg.norm(electrons.direction, axis=1), 1, atol=1e-9)
    # A few thousandths of the rate of primaries.
    rate = len(electrons) / live / 44.3
    assert 0.004 < rate < 0.02


def test_thin_housings_shine_less_but_let_more_through() -> None:
    size = np.array([66_560.0, 66_560.0, 450.0])
    number = {}
    for housing in (1_000.0, 20_000.0):
        g = Geometry(size, 14_775.0, 11_720.0, housing)
        rng = np.random.default_rng(4)
        primaries = draw_primaries(g, ALUMINIUM, 0.4, 0.0, 100.0, rng)
        number[housing] = len(convert(g, ALUMINIUM, shine(g, ALUMINIUM, primaries, rng), rng))
    assert number[1_000.0] < number[20_000.0]
