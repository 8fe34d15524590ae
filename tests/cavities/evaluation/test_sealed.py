"""The sealed set: its physics against closed forms, and that it is not our simulator's."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from scipy import fft, integrate

from physml.cavities.core import matching
from physml.cavities.evaluation import sealed_halo, sealed_set
from physml.cavities.evaluation.sealed_halo import DEPTH, FLOOR, SIZE, Body, Gas, draw_sky
from physml.cavities.evaluation.sealed_set import FIRST, SEED, blurred, moffat, sealed
from physml.random import stream


def test_no_line_of_the_simulator_is_used():
    for module in (sealed_halo, sealed_set):
        tree = ast.parse(Path(module.__file__).read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert imports
        assert not [node.module for node in imports if "simulator" in (node.module or "")]


def test_deprojected_sersic_law_projects_to_sersics():
    """Prugniel & Simien's law is good to a few per cent of exp(-b R^(1/n)) where light is."""
    for n in (1.0, 2.0):
        b = 2 * n - 1 / 3 + 0.009876 / n
        radii = np.array([0.3, 0.7, 1.0, 1.6, 2.5])
        projected = [
            integrate.quad(lambda z, r=r, n=n: sealed_halo.sersic(np.hypot(r, z), n), 0, 60)[0]
            for r in radii
        ]
        ratio = np.array(projected) / np.exp(-b * radii ** (1 / n))
        assert np.allclose(ratio / ratio[2], 1, atol=0.05)


def test_hydrostatic_gas_is_in_equilibrium(monkeypatch):
    """d ln n / dr is -B times the enclosed mass of an NFW halo over r^2, up to its unit."""
    gas = Gas(np.random.default_rng(0))
    gas.family, gas.shape, gas.scale = "hydrostatic", 9.0, 40.0
    gas.lopsided = gas.core_share = gas.beside = 0.0
    monkeypatch.setattr(Gas, "radius", lambda self, x, y, z: np.sqrt(x * x + y * y + z * z))
    r = np.linspace(5, 100, 400)
    density = np.sqrt(gas.emissivity(r, np.zeros_like(r), np.zeros_like(r))[0].astype(float))
    slope = np.gradient(np.log(density), r)[5:-5]
    q = r[5:-5] / 40.0
    mass = np.log1p(q) - q / (1 + q)
    wanted = -9.0 / 40.0 * mass / q**2
    assert np.allclose(slope, wanted, rtol=2e-3)


def test_fluctuations_have_the_spectrum_they_claim():
    class Fixed:
        """Generator whose slope and outer scale are known."""

        def __init__(self):
            self.left, self.rng = [11 / 3, 40.0], np.random.default_rng(3)

        def uniform(self, low, high):
            return self.left.pop(0)

        def standard_normal(self, shape, dtype):
            return self.rng.standard_normal(shape, dtype=dtype)

    field = sealed_halo.fluctuations(Fixed())
    assert field.std() == pytest.approx(1, abs=1e-3)
    power = np.abs(fft.rfftn(field)) ** 2
    k = np.sqrt(
        np.fft.fftfreq(SIZE)[:, None, None] ** 2
        + np.fft.fftfreq(SIZE)[None, :, None] ** 2
        + np.fft.rfftfreq(DEPTH)[None, None] ** 2
    )
    low, high = ((k > a) & (k < 1.1 * a) for a in (0.08, 0.32))
    slope = np.log(power[high].mean() / power[low].mean()) / np.log(k[high].mean() / k[low].mean())
    assert slope == pytest.approx(-11 / 3, abs=0.12)


def test_a_body_has_the_volume_and_the_shadow_of_an_ellipsoid():
    axes = np.array([14.0, 10.0, 12.0])
    body = Body(2.0, -3.0, 5.0, axes, 0.4, 1.0, 0.1, (0.0, 2, 0.0), 0.0)
    side = np.arange(SIZE) - 64.0
    y, x, z = np.meshgrid(side, side, np.arange(DEPTH) - 80.0, indexing="ij", sparse=True)
    within = body.rho(x, y, z) < 1
    assert within.sum() == pytest.approx(4 / 3 * np.pi * axes.prod(), rel=0.01)
    row = sealed_halo.row_of(body, within.any(2), int(within.sum()))
    assert row[:2] == pytest.approx((66, 61), abs=0.1)
    assert row[2] == pytest.approx(np.sqrt(140), rel=0.01)
    assert row[4] == pytest.approx(np.sqrt(4 + 9 + 25))


def test_cavities_take_light_and_only_where_their_shadow_falls():
    sky = draw_sky(stream(SEED, "evaluate", 0), cavities=True)
    assert sky.light.sum() == pytest.approx(1)
    assert (sky.light > 0).all()
    assert sky.cavities["present"].sum() >= 1
    outside = ~sky.shadows.any(0)
    share = sky.removed[:, outside].sum() / sky.removed.sum()
    assert share < 0.05  # the walls are soft
    assert (sky.removed.sum((1, 2))[~sky.cavities["present"]] == 0).all()
    without = draw_sky(stream(SEED, "evaluate", 0), cavities=False)
    assert np.allclose(without.light, without.undisturbed)


def test_the_psf_keeps_all_light_and_does_not_move_it():
    kernel = moffat(np.random.default_rng(1))
    point = np.zeros((SIZE, SIZE))
    point[64, 60] = 1
    seen = blurred(point, kernel)
    assert seen.sum() == pytest.approx(1, abs=0.01)
    y, x = np.mgrid[:SIZE, :SIZE]
    core = np.hypot(y - 64, x - 60) < 20
    for axis, place in ((y, 64), (x, 60)):
        assert np.average(axis[core], weights=seen[core]) == pytest.approx(place, abs=0.01)


@pytest.fixture(scope="module")
def images():
    return {name: sealed(name, 3) for name in FIRST}


def test_sets_are_always_the_same(images):
    again = sealed("sealed", 2)
    assert (again.counts == images["sealed"].counts[:2]).all()
    assert (again.mask == images["sealed"].mask[:2]).all()
    assert not (images["sealed"].counts == images["sealed_none"].counts).all(axis=(1, 2)).any()
    with pytest.raises(ValueError, match="sealed set 'other'"):
        sealed("other", 1)


def test_labels_follow_the_missing_light(images):
    one, none = images["sealed"], images["sealed_none"]
    assert not none.mask.any()
    assert not none.cavities["present"].any()
    truth = matching.true_cavities(one.cavities, one.mask)
    assert len(truth) == one.cavities["visible"].sum() >= 3
    assert (truth["decrement"] > FLOOR).all()
    assert (truth["snr"] > 0).all()
    for row in truth:
        own = one.mask[row["image"]] == row["label"]
        assert own.sum() <= np.pi * row["radius"] ** 2 * 1.01
    assert (one.mask[one.exposure == 0] == 0).all()
    totals = np.concatenate([one.totals, none.totals])
    assert (totals > 4500).all()
    assert (totals < 1.01e6).all()
