"""Energy loss of cosmic rays against closed formulas and tabulated values."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.simulator.materials import ALUMINIUM, SILICON
from physml.background.simulator.protons import (
    CUT,
    beta_squared,
    delta_cosine,
    draw_transfers,
    largest_transfer,
    ranges,
    soft_loss,
    stopping_power,
    xi_rate,
)

LAYER = 450.0


def draw_losses(energy: float, number: int, seed: int) -> np.ndarray:
    """Losses in the layer, keV: soft collisions and every delta electron."""
    rng = np.random.default_rng(seed)
    e, one = np.full(number, energy), np.ones(number)
    total = soft_loss(SILICON, e, one, LAYER * one, rng)
    mean = xi_rate(SILICON, e) * LAYER * (1 / CUT - 1 / largest_transfer(e))
    owner = np.repeat(np.arange(number), rng.poisson(mean))
    transfer, happens = draw_transfers(e[owner], rng)
    return total + np.bincount(owner, transfer * happens, number)


def test_xi_of_a_fast_particle() -> None:
    assert xi_rate(SILICON, 1e9) * LAYER == pytest.approx(8.0, rel=0.01)


def test_drawn_losses_of_1_gev_protons() -> None:
    losses = draw_losses(1e6, 60_000, 1)
    low, median, high = np.percentile(losses, [5, 50, 95])
    # The Geant4 run of the sheet: 155.8; Landau's law: 155.3; 5 to 95 %: 123 to 297.
    assert median == pytest.approx(155.5, rel=0.015)
    assert low == pytest.approx(123, rel=0.03)
    # Some of the hardest electrons leave the layer there; here all their energy counts.
    assert 290 < high < 350


@pytest.mark.parametrize(("gev", "peak"), [(0.3, 242), (1.0, 138.8), (10.0, 122)])
def test_most_probable_loss_is_where_most_draws_fall(gev: float, peak: float) -> None:
    """Landau's most probable loss in the layer, keV (PDG 2022, eq. 34.12)."""
    losses = draw_losses(gev * 1e6, 60_000, 2)
    xi = xi_rate(SILICON, gev * 1e6) * LAYER
    edges = peak + xi * np.arange(-6.5, 7)
    counts, _ = np.histogram(losses, edges)
    assert abs(int(counts.argmax()) - 6) <= 1  # to within xi


def test_mean_is_bethes() -> None:
    # Where the largest transfer is small the mean converges: 100 MeV, T_max = 230 keV.
    losses = draw_losses(1e5, 20_000, 3)
    expected = stopping_power(SILICON, 1e5) * LAYER
    assert losses.mean() == pytest.approx(expected, rel=0.01)


def test_number_and_spectrum_of_delta_electrons() -> None:
    rng = np.random.default_rng(4)
    n, energy = 40_000, 1e6
    e = np.full(n, energy)
    xi = xi_rate(SILICON, energy) * LAYER
    owner = np.repeat(np.arange(n), rng.poisson(xi * (1 / CUT - 1 / largest_transfer(e))))
    transfer, happens = draw_transfers(e[owner], rng)
    drawn = transfer[happens]
    b2, largest = beta_squared(energy), largest_transfer(energy)
    for cut in (CUT, 10.0, 100.0):
        expected = xi * (1 / cut - 1 / largest - b2 / largest * np.log(largest / cut))
        assert (drawn > cut).sum() / n == pytest.approx(expected, rel=4 / np.sqrt(expected * n))


def test_limits_of_transfers_are_kept() -> None:
    rng = np.random.default_rng(5)
    transfer, _ = draw_transfers(np.full(1000, 1e6), rng, 20.0, 50.0)
    assert transfer.min() >= 20
    assert transfer.max() <= 50


def test_head_on_electrons_go_straight_on_and_slow_ones_sideways() -> None:
    e = np.full(2, 1e6)
    cosine = delta_cosine(e, np.array([float(largest_transfer(1e6)), 1.0]))
    assert cosine[0] == pytest.approx(1)
    assert cosine[1] < 0.1


def test_ranges() -> None:
    # PSTAR: 70 MeV protons go 20.1 mm in aluminium, 10 MeV ones 709 um in silicon.
    assert ranges(ALUMINIUM).range(70e3) == pytest.approx(20.1e3, rel=0.03)
    assert ranges(SILICON).range(10e3) == pytest.approx(709, rel=0.03)
    table = ranges(SILICON)
    energies = np.array([1e3, 1e4, 1e6, 1e8])
    np.testing.assert_allclose(table.energy(table.range(energies)), energies, rtol=1e-3)
    assert table.energy(-1.0) == 0


def test_stopping_power_against_the_table(shared_data) -> None:
    path = shared_data / "detector" / "spectra" / "protons-in-silicon_stopping-power.csv"
    rows = np.genfromtxt(path, delimiter=",", comments="#", invalid_raise=False)
    rows = rows[np.isfinite(rows).all(1)]
    energy, power = rows[:, 0] * 1e3, rows[:, 1]  # MeV, MeV cm2/g
    use = (energy > 1e4) & (energy < 9e6)
    assert use.sum() > 10
    ours = stopping_power(SILICON, energy[use]) / SILICON.density * 10
    np.testing.assert_allclose(ours, power[use], rtol=0.02)
