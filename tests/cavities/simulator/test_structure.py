"""Large-scale structure of the gas and the maps that an observer has of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from physml.cavities.settings import MapsPrior, SimulateSettings, StructurePrior
from physml.cavities.simulator.batch import NO_EXPOSURE, simulate_batch, true_exposure
from physml.cavities.simulator.maps import observer_maps, round_field
from physml.cavities.simulator.prior import draw
from physml.cavities.simulator.render import build_scene, render
from physml.cavities.simulator.structure import (
    LIMIT,
    edge,
    harmonics,
    light_factor,
    smooth_error,
    spiral,
    turbulence,
)

SIZE = 128
Y, X = np.mgrid[:SIZE, :SIZE] - 0.5 * (SIZE - 1)
RADIUS, ANGLE = np.hypot(X, Y), np.arctan2(Y, X)


def rng(number: int) -> np.random.Generator:
    return np.random.default_rng(number)


def azimuthal(image, m: int, radius: float) -> complex:
    """Fourier coefficient m of an image on a circle, by interpolation on 720 points."""
    t = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    middle = 0.5 * (SIZE - 1)
    where = [middle + radius * np.sin(t), middle + radius * np.cos(t)]
    ring = map_coordinates(image, where, order=3)
    return complex((ring * np.exp(-1j * m * t)).mean())


@pytest.mark.parametrize("number", range(5))
def test_harmonics_have_no_mean_and_orders_up_to_three_on_any_circle(number):
    image = harmonics(rng(number), (0.2, 0.2001), RADIUS, ANGLE)
    for radius in (10.0, 25.0, 50.0):
        power = np.array([abs(azimuthal(image, m, radius)) for m in range(7)])
        assert power[0] < 2e-3
        assert power[4:].max() < 2e-3  # nothing but m = 1, 2, 3
        assert 2 * power.max() <= 0.2002  # amplitude of a cosine is twice its coefficient


def test_a_spiral_is_one_armed_and_winds_with_the_logarithm_of_the_radius():
    image = next(
        made
        for made in (spiral(rng(k), (0.1, 0.1001), RADIUS, ANGLE) for k in range(20))
        if abs(azimuthal(made, 2, 40.0)) < 1e-3  # a cosine, no saw-tooth
    )
    phases = np.unwrap([np.angle(azimuthal(image, 1, r)) for r in (20.0, 22.0, 24.0, 26.0)])
    steps = np.diff(np.log(np.array([20.0, 22.0, 24.0, 26.0]) + 1))
    winding = -np.diff(phases) / steps
    assert winding == pytest.approx(np.full(3, winding[0]), rel=0.02)
    assert 0.5 <= abs(winding[0]) <= 4


@pytest.mark.parametrize("number", range(5))
def test_an_edge_is_brighter_inside_by_its_jump_and_never_darker(number):
    image = edge(rng(number), (0.3, 0.3001), X, Y)
    assert image.min() >= 0
    assert image.max() <= 0.3002


def test_turbulence_has_its_scatter_and_red_spectrum():
    image = turbulence(rng(1), (0.05, 0.0501), SIZE, (63.5, 63.5))
    assert image.std() == pytest.approx(0.05, rel=1e-2)
    power = np.abs(np.fft.rfft2(image * np.hanning(SIZE)[:, None] * np.hanning(SIZE))) ** 2
    wave = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :])
    large = power[(wave > 0.02) & (wave < 0.05)].mean()
    small = power[(wave > 0.2) & (wave < 0.5)].mean()
    assert large > 30 * small


def test_structure_moves_with_the_cluster():
    prior = StructurePrior(share=1.0)
    for number in range(12):
        here = light_factor(prior, rng(number), SIZE, (63.0, 63.0))
        there = light_factor(prior, rng(number), SIZE, (70.0, 58.0))
        # Radii of the splines reach to the farther corner: a small change of the amplitude.
        difference = here[5:, :-7] - there[:-5, 7:]
        assert np.abs(difference).mean() < 0.2 * (np.abs(here - 1).mean() + 1e-3)
        assert here.min() >= np.exp(-LIMIT) - 1e-6
        assert here.max() <= np.exp(LIMIT) + 1e-6


def test_without_structure_the_light_is_what_it_was():
    assert np.all(light_factor(StructurePrior(share=0.0), rng(0), SIZE, (60.0, 60.0)) == 1)


def test_structure_changes_no_decrement_and_counts_keep_their_total():
    settings = SimulateSettings.model_validate(
        {"structure": {"share": 1.0}, "cavities": {"none": 0.0}, "nuisance": {"clump": 0.0}}
    )
    changed = 0
    for number in range(4):
        one = draw(settings, 11, number)
        scene = build_scene([one])
        exposure = torch.as_tensor(true_exposure(settings, one))[None]
        nothing = torch.zeros_like(exposure)
        factor = torch.as_tensor(one.structure)[None]
        with_it = render(scene, nothing, exposure, structure=factor)
        without = render(scene, nothing, exposure)
        torch.testing.assert_close(with_it.decrement, without.decrement, rtol=1e-5, atol=1e-7)
        total = float(without.expected.sum())
        assert float(with_it.expected.sum()) == pytest.approx(total, rel=0.05)
        changed += not torch.allclose(with_it.expected, without.expected, rtol=0.01)
    assert changed == 4


def test_a_round_field_is_a_disc_and_unobserved_outside():
    settings = SimulateSettings.model_validate(
        {"maps": {"round": 1.0}, "instrument": {"exposure": 0.0}}
    )
    batch = simulate_batch(settings, 5, range(6))
    for row in range(6):
        live = batch.exposure[row] > 0
        assert 0.2 < live.mean() < 1
        assert np.all(batch.counts[row][~live] == 0)
        np.testing.assert_array_equal((batch.invalid[row] & NO_EXPOSURE) > 0, ~live)
    whole = round_field(MapsPrior(round=0.0), rng(0), SIZE)
    assert whole.all()


def test_maps_are_as_wrong_as_they_are_meant_to_be():
    exposure = np.ones((SIZE, SIZE), np.float32)
    exposure[:, :20] = 0
    exposure[:, 100:] = 0.5
    missing = MapsPrior(missing=1.0, wrong=0.0)
    seen, factor = observer_maps(missing, rng(1), exposure)
    np.testing.assert_array_equal(seen, exposure > 0)
    assert factor == 1
    wrong = MapsPrior(missing=0.0, wrong=1.0, exposure_error=0.03, background_error=0.2)
    made = [observer_maps(wrong, rng(k), exposure) for k in range(200)]
    factors = np.log([f for _, f in made])
    assert factors.std() == pytest.approx(0.2, rel=0.2)
    for seen, _ in made[:20]:
        assert seen.max() == pytest.approx(1)
        np.testing.assert_array_equal(seen > 0, exposure > 0)
    errors = [np.log(smooth_error(rng(k), 0.03, SIZE)).std() for k in range(50)]
    assert 0.005 < np.mean(errors) < 0.035
    perfect, factor = observer_maps(MapsPrior(missing=0.0, wrong=0.0), rng(1), exposure)
    assert perfect is exposure
    assert factor == 1
