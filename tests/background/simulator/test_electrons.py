"""Transport of electrons against tabulated and measured values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from physml.background.simulator.electrons import Electrons, through_housing, through_slab
from physml.background.simulator.materials import ALUMINIUM, ELECTRON_MASS, SILICON
from physml.background.simulator.tracks import (
    HARD_LOSS,
    collision_loss,
    draw_moller,
    library,
    moller_rate,
    normals,
    radiative_loss,
    scattering,
    turn,
)


def beam(energy: float, number: int, cosine: float = 1.0) -> Electrons:
    """Electrons that fall on the middle of a face at z = 0."""
    direction = np.tile([np.sqrt(1 - cosine**2), 0.0, cosine], (number, 1))
    position = np.tile([5e5, 5e5, 0.0], (number, 1))
    return Electrons(
        np.full(number, energy), position, direction, np.arange(number), np.zeros(number, bool)
    )


def reflect(energy: float, cosine: float, seed: int, number: int = 6000) -> float:
    """Backscattering coefficient of thick aluminium."""
    e = beam(energy, number, cosine)
    normal = np.tile([0.0, 0.0, -1.0], (number, 1))
    rng = np.random.default_rng(seed)
    out = through_housing(library(ALUMINIUM), np.zeros(number), normal, e, rng)
    # By convention without the slow secondaries, and with each electron once.
    return len(np.unique(out.owner[out.energy > 0.05 * energy])) / number


@pytest.mark.parametrize(
    ("energy", "expected"), [(10, 16.49), (100, 3.177), (1000, 1.465), (10_000, 1.623)]
)
def test_collision_loss_is_that_of_estar(energy: float, expected: float) -> None:
    found = collision_loss(ALUMINIUM, energy) / ALUMINIUM.density * 10  # MeV cm2/g
    assert found == pytest.approx(expected, rel=0.015)


def test_radiative_loss() -> None:
    # Both losses are equal at the critical energy, 42.7 MeV in aluminium.
    ratio = float(radiative_loss(ALUMINIUM, 3e4) / collision_loss(ALUMINIUM, 3e4))
    assert ratio == pytest.approx(30 / 42.7, rel=0.1)


@pytest.mark.parametrize(("energy", "expected"), [(10, 3.539e-4), (100, 1.872e-2), (1000, 0.5546)])
def test_csda_range_is_that_of_estar(energy: float, expected: float) -> None:
    grid = np.exp(np.linspace(np.log(0.05), np.log(energy), 4000))
    loss = collision_loss(ALUMINIUM, grid) + radiative_loss(ALUMINIUM, grid)
    found = np.trapezoid(grid / loss, np.log(grid)) * ALUMINIUM.density * 1e-4  # g/cm2
    assert found == pytest.approx(expected, rel=0.02)


def test_restricted_and_hard_losses_add_up() -> None:
    energy, rng = 1000.0, np.random.default_rng(1)
    hard = moller_rate(SILICON, np.array([energy]), HARD_LOSS)[0]
    mean = draw_moller(np.full(200_000, energy), HARD_LOSS, rng).mean()
    soft = collision_loss(SILICON, energy, HARD_LOSS)
    assert soft + hard * mean == pytest.approx(float(collision_loss(SILICON, energy)), rel=5e-3)


def test_moller_draws_stay_within_limits() -> None:
    w = draw_moller(np.full(5000, 100.0), HARD_LOSS, np.random.default_rng(2))
    assert w.min() >= HARD_LOSS
    assert w.max() <= 50


def test_mean_angle_falls_off_with_the_transport_mean_free_path() -> None:
    lib = library(SILICON)
    near = int(np.searchsorted(-lib.energy, -100.0))
    first = lib.segment[:, near].astype(float)
    first /= np.linalg.norm(first, axis=1)[:, None]
    # Up to where the range has fallen by a factor of 1.35: about half a transport mean free path.
    steps = 20
    expected = 0.0
    for j in range(near, near + steps):
        middle = float(np.sqrt(lib.energy[j] * lib.energy[j + 1]))
        expected += (lib.range[j] - lib.range[j + 1]) / scattering(SILICON, middle).transport
    last = lib.segment[:, near + steps].astype(float)
    last /= np.linalg.norm(last, axis=1)[:, None]
    cosine = (first * last).sum(1)
    # From the middle of the first segment to the middle of the last.
    assert cosine.mean() == pytest.approx(np.exp(-expected), abs=4 * cosine.std() / 60)


@pytest.mark.parametrize(
    ("energy", "expected"),
    # Normal incidence on aluminium: Bishop, Darlington, Neubert and Rogaschewski; Tabata above.
    [(2.0, 0.18), (10.0, 0.17), (30.0, 0.155), (100.0, 0.14), (1000.0, 0.075)],
)
def test_backscattering_of_aluminium(energy: float, expected: float) -> None:
    assert reflect(energy, 1.0, 3) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("cosine", [0.707, 0.5, 0.26])
def test_backscattering_at_a_slant(cosine: float) -> None:
    # Darlington (1975): eta = 0.891 (eta_0 / 0.891)^cos.
    expected = 0.891 * (0.165 / 0.891) ** cosine
    assert reflect(20.0, cosine, 4) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("energy", [50.0, 100.0, 200.0])
def test_depth_in_silicon(energy: float) -> None:
    size = np.array([1e6, 1e6, 1e4])
    deposits, _ = through_slab(library(SILICON), size, beam(energy, 4000), np.random.default_rng(5))
    kanaya_okayama = 0.0319 * energy**1.67
    deepest = np.zeros(4000)
    np.maximum.at(deepest, deposits.owner, deposits.position[:, 2])
    assert 0.6 < np.percentile(deepest, 99) / kanaya_okayama < 1.1
    weighted = np.average(deposits.position[:, 2], weights=deposits.energy)
    assert 0.2 < weighted / kanaya_okayama < 0.45


@pytest.mark.parametrize("energy", [5.0, 40.0, 400.0])
def test_energy_is_conserved(energy: float) -> None:
    size = np.array([1e6, 1e6, 450.0])
    deposits, left = through_slab(
        library(SILICON), size, beam(energy, 3000), np.random.default_rng(6)
    )
    given = np.bincount(deposits.owner, deposits.energy, 3000)
    given += np.bincount(left.owner, left.energy, 3000)
    # What is missing went into hard photons, or left below the lowest energy that is followed.
    assert given.max() < energy * (1 + 1e-9)
    assert (energy - given < 1.0).mean() > (0.99 if energy < 100 else 0.97)
    assert (deposits.position >= 0).all()
    assert (deposits.position <= size).all()


def test_fast_electrons_cross_the_slab_like_minimum_ionising_particles() -> None:
    size = np.array([1e6, 1e6, 450.0])
    deposits, left = through_slab(
        library(SILICON), size, beam(5000.0, 2000), np.random.default_rng(7)
    )
    lost = np.bincount(deposits.owner, deposits.energy, 2000)
    assert 110 < np.median(lost) < 170
    assert (left.direction[:, 2] > 0).mean() > 0.98


def test_electrons_come_out_of_the_housing_only_outwards() -> None:
    rng = np.random.default_rng(8)
    n = 2000
    normal = np.tile([0.0, 0.0, -1.0], (n, 1))
    e = beam(200.0, n)
    deep = Electrons(e.energy, e.position + np.array([0, 0, 20.0]), e.direction, e.owner, e.inside)
    out = through_housing(library(ALUMINIUM), np.full(n, 20.0), normal, deep, rng)
    assert len(out) > 50
    assert (out.direction[:, 2] < 0).all()
    assert (out.energy < 200).all()
    np.testing.assert_allclose(out.position[:, 2], 0, atol=1e-2)


def test_beyond_their_range_nothing_comes_out() -> None:
    n = 500
    e = beam(50.0, n)
    reach = float(library(ALUMINIUM).range_of(50.0))
    deep = Electrons(
        e.energy, e.position + np.array([0, 0, reach]), -e.direction, e.owner, e.inside
    )
    normal = np.tile([0.0, 0.0, -1.0], (n, 1))
    rng = np.random.default_rng(9)
    assert len(through_housing(library(ALUMINIUM), np.full(n, reach), normal, deep, rng)) == 0


def test_turning_keeps_lengths_and_angles() -> None:
    rng = np.random.default_rng(10)
    v = rng.normal(size=(1000, 3))
    v[0] = [0, 0, -1]
    v /= np.linalg.norm(v, axis=1)[:, None]
    cosine = rng.uniform(-1, 1, 1000)
    turned = turn(v, cosine, rng)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose((turned * v).sum(1), cosine, atol=1e-12)
    a, b = normals(v)
    np.testing.assert_allclose(np.cross(a, b), v, atol=1e-12)


def test_screened_rutherford_falls_with_energy() -> None:
    free = [scattering(SILICON, e).transport for e in (1.0, 10.0, 100.0, ELECTRON_MASS)]
    assert all(a < b for a, b in pairwise(free))
