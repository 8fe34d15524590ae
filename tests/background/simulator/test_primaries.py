"""Spectrum and arrival of cosmic rays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from physml.background.core.frames import HELIUM, PROTON
from physml.background.simulator.deposits import hits
from physml.background.simulator.geometry import Geometry
from physml.background.simulator.materials import ALUMINIUM
from physml.background.simulator.primaries import (
    draw_energies,
    draw_primaries,
    entering_rate,
    intensity,
    spectrum,
)
from physml.background.simulator.protons import ranges

SIZE = np.array([66_560.0, 66_560.0, 450.0])
FAR = Geometry(SIZE, 14_775.0, 11_720.0, 20_000.0)
LIVE = 600.0


@pytest.fixture(scope="module")
def sample():
    return draw_primaries(FAR, ALUMINIUM, 0.4, 0.0, LIVE, np.random.default_rng(1))


def test_spectrum_at_solar_minimum_is_that_of_creme96(shared_data) -> None:
    path = shared_data / "detector" / "spectra" / "creme96_proton_solar_minimum_1977.txt"
    energy, flux = np.loadtxt(path, comments="#", usecols=(0, 1)).T  # MeV, 1/(m2 s sr MeV)
    use = (energy > 72) & (energy < 2e4)  # through 2 cm of aluminium, to where they get rare
    ours = spectrum(energy[use] / 1e3, 0.40) / 1e3
    assert np.sqrt(np.mean(np.log10(ours / flux[use]) ** 2)) < 0.030  # dex


def test_crossings_a_second_are_two_pi_times_the_intensity() -> None:
    assert 2 * np.pi * intensity(0.4) == pytest.approx(2.24, rel=0.02)


def test_intensity_falls_with_solar_activity() -> None:
    values = [intensity(phi) for phi in (0.3, 0.4, 0.8, 1.2)]
    assert all(a > b for a, b in pairwise(values))


def test_drawn_energies_follow_the_spectrum() -> None:
    drawn = draw_energies(0.5, 0.1, 200_000, np.random.default_rng(2))
    for above in (0.2, 1.0, 5.0):
        share = intensity(0.5, above) / intensity(0.5, 0.1)
        assert (drawn > above).mean() == pytest.approx(share, abs=4 * np.sqrt(0.25 / 200_000))
    assert drawn.min() >= 0.1


def test_rate_of_primaries_that_enter(sample) -> None:
    expected = entering_rate(FAR, ALUMINIUM, 0.4, 0.0) * LIVE
    # Some that pass the housing head on do not pass it at a slant.
    assert 0.95 * expected < len(sample) < 1.01 * expected


def test_crossings_of_the_slab_per_area(sample) -> None:
    struck = hits(FAR, sample)
    area = SIZE[0] * SIZE[1] * 1e-8
    rate = len(struck.row) / LIVE / area
    # 2 pi I of those that have the energy to pass the housing; the Geant4 run has 2.23.
    least = float(ranges(ALUMINIUM).energy(FAR.housing)) / 1e6
    assert rate == pytest.approx(2 * np.pi * intensity(0.4, least), rel=0.015)


def test_paths_through_the_slab(sample) -> None:
    struck = hits(FAR, sample)
    projected = np.hypot(struck.direction[:, 0], struck.direction[:, 1]) * struck.path
    # An endless slab: 2 t and (pi / 2) t; the mean chord of a convex body is 4 V / S.
    a, b, c = SIZE
    chord = 4 * a * b * c / (2 * (a * b + b * c + c * a))
    assert struck.path.mean() == pytest.approx(chord, rel=0.02)
    assert chord == pytest.approx(900, rel=0.02)
    assert projected.mean() == pytest.approx(707, rel=0.03)


def test_isotropic_on_the_slab(sample) -> None:
    struck = hits(FAR, sample)
    top = np.abs(struck.start[:, 2] - SIZE[2]) < 1e-6
    cosine = -struck.direction[top, 2]
    # cos^2 is uniform; entries are.
    for values in (cosine**2, struck.start[top, 0] / SIZE[0], struck.start[top, 1] / SIZE[1]):
        counts, _ = np.histogram(values, 10, (0, 1))
        chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert chi2 < 27.9  # 99.9 % of 9 degrees of freedom


def test_the_housing_takes_its_toll(sample) -> None:
    assert (sample.energy < sample.outside).all()
    assert sample.outside.min() > 68e3  # keV: 2 cm of aluminium
    slow = sample.outside < 150e3
    table = ranges(ALUMINIUM)
    lost = table.range(sample.outside[slow]) - table.range(sample.energy[slow])
    np.testing.assert_allclose(lost, sample.path[slow], rtol=1e-3)
    assert sample.path.min() >= FAR.housing * (1 - 1e-9)


def test_helium_is_a_share_of_the_protons() -> None:
    p = draw_primaries(FAR, ALUMINIUM, 0.4, 0.1, 100.0, np.random.default_rng(3))
    share = (p.kind == HELIUM).sum() / (p.kind == PROTON).sum()
    assert share == pytest.approx(0.1, rel=0.1)
    assert set(p.charge2[p.kind == HELIUM]) == {4.0}
