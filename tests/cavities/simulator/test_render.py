"""Projections of haloes and cavities against closed forms and dense quadratures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, special

from physml.cavities.settings import SimulateSettings
from physml.cavities.simulator.ellipsoids import Ellipsoids, ellipsoid_matrix
from physml.cavities.simulator.prior import draw
from physml.cavities.simulator.profiles import Component, line_of_sight
from physml.cavities.simulator.render import _overlapping, build_scene, excavate, project_halo

T = torch.tensor
SIZE = 128


def component(core=6.0, beta=0.55, q=0.8, s=1.2, theta=0.5, alpha=0.0, steep=0.0):
    values = (2.0, core, beta, q, s, theta, alpha, steep, 60.0)
    return Component(*(T([v], dtype=torch.float64) for v in values))


def scenes(n: int, seed: int = 5, **changes):
    settings = SimulateSettings.model_validate(changes)
    draws = [draw(settings, seed, i) for i in range(n)]
    return draws, build_scene(draws, dtype=torch.float64, cuspy=settings.halo.family != "beta")


def dense_line(scene, row: int, px: float, py: float):
    """Emission and what is emptied along one line of sight, on 40,001 nodes."""
    halo, bodies = scene.halo[row : row + 1], scene.cavities[row : row + 1]
    x, y = T([px], dtype=torch.float64), T([py], dtype=torch.float64)
    core = min(float(halo.first.core_radius), float(halo.second.core_radius))
    scale = np.hypot(np.hypot(px - float(halo.x), py - float(halo.y)), core)
    top = np.arcsinh(3e4 / scale)
    t = torch.linspace(-top, top, 40_001, dtype=torch.float64)
    z = scale * torch.sinh(t)
    weight = scale * torch.cosh(t) * (t[1] - t[0])
    emission = halo[:, None].emissivity(x, y, z[None])[0] * weight
    emptied = torch.zeros_like(emission)
    for k in range(scene.present.shape[1]):
        inside = bodies[:, k].rho2(x, y, z[None])[0] < 1
        f = scene.emptied[row, k] * scene.present[row, k]
        emptied = torch.maximum(emptied, torch.where(inside, f, 0.0))
    return float(emission.sum()), float((emission * emptied).sum())


@pytest.mark.parametrize("beta", [0.35, 0.6, 1.1])
@pytest.mark.parametrize("radius", [0.0, 3.0, 40.0])
def test_projected_beta_model_is_the_integral_of_its_emissivity(beta, radius):
    c = component(beta=beta)
    r2 = T([radius**2], dtype=torch.float64)

    def emissivity(z: float) -> float:
        return float(c.emissivity(r2, T([z], dtype=torch.float64), cuspy=False))

    near = integrate.quad(emissivity, 0, 300, limit=400)[0]
    # Far out the profile is a pure power law.
    slope = 6 * beta
    far = emissivity(300.0) * 300 / (slope - 1)
    assert float(c.projected(r2)) == pytest.approx(2 * (near + far), rel=2e-3)


def test_line_of_sight_quadrature_agrees_with_the_closed_form():
    for beta in (0.32, 0.5, 1.2):
        c = component(beta=beta, s=1.0)
        r2 = torch.linspace(0, 80, 30, dtype=torch.float64) ** 2
        got = line_of_sight(
            lambda z, c=c, r2=r2: c.emissivity(r2[:, None], z, False),
            torch.sqrt(r2 + 36.0),
            torch.full_like(r2, 3e4),
            20,
        )
        # For beta = 0.32 the tail beyond 3e4 pixels holds up to 0.3 % at 80 pixels.
        assert torch.allclose(got, c.projected(r2), rtol=4e-3)


def test_cuspy_family_contains_the_beta_model():
    c = component()
    z = torch.linspace(1, 50, 20, dtype=torch.float64)
    r2 = T([25.0], dtype=torch.float64)
    plain, cuspy = c.emissivity(r2, z, False), c.emissivity(r2, z, True)
    assert torch.allclose(plain, cuspy, rtol=1e-2)
    steep = component(steep=3.0).emissivity(r2, z, True)
    assert bool((steep < cuspy).all())


def test_excavated_emission_against_the_incomplete_beta_function():
    """A sphere about the centre of a round beta model, emptied: closed form of the sheet."""
    quiet = dict.fromkeys(("sloshing", "front", "clump", "agn", "jet", "sources"), 0.0)
    draws, _ = scenes(
        1,
        halo={"double": 0.0, "ellipticity": (0.0, 0.0), "depth_ratio": (1.0, 1.0)},
        nuisance=quiet,
        cavities={"none": 0.0, "number": {1: 1.0}, "rims": 0.0, "full": 1.0},
    )
    radius = 15.0
    hole = draws[0].cavities[0]
    hole |= {"a": radius, "b": radius, "c_z": radius, "distance": 0.0, "tilt": 0.0}
    scene = build_scene(draws, dtype=torch.float64)
    removed, exact = (excavate(scene, SIZE, n).removed[0].numpy() for n in (16, 64))
    c = scene.halo.first
    core, beta, amplitude = (float(v) for v in (c.core_radius, c.beta, c.amplitude))
    y, x = np.mgrid[:SIZE, :SIZE]
    r2 = (x - float(scene.halo.x)) ** 2 + (y - float(scene.halo.y)) ** 2
    half = np.sqrt(np.maximum(radius**2 - r2, 0))
    b2 = r2 + core**2
    u = half**2 / (b2 + half**2)
    a = 3 * beta - 0.5
    closed = core ** (6 * beta) * b2 ** (0.5 - 3 * beta)
    closed = amplitude * closed * special.beta(0.5, a) * special.betainc(0.5, a, u)
    np.testing.assert_allclose(exact, closed, rtol=1e-6, atol=1e-9 * closed.max())
    # 16 nodes on a chord much longer than the core are good to half a per cent.
    np.testing.assert_allclose(removed, closed, rtol=5e-3, atol=1e-9 * closed.max())


def test_excavation_and_projection_against_dense_lines():
    """Spirals, fronts, single phases, overlapping and partly emptied cavities, all at once."""
    draws, scene = scenes(
        24, nuisance={"sloshing": 0.6, "front": 0.4}, cavities={"none": 0.0, "full": 0.3}
    )
    smooth, removed = project_halo(scene.halo, SIZE), excavate(scene, SIZE, 16).removed
    assert bool(_overlapping(scene).any())  # otherwise the union is not tested
    rng = np.random.default_rng(0)
    errors = []
    for row in range(len(draws)):
        deep = np.flatnonzero((removed[row] > 0.02 * smooth[row]).numpy().ravel())
        for pixel in rng.choice(deep, 3) if len(deep) else []:
            px, py = float(pixel % SIZE), float(pixel // SIZE)
            halo, hole = dense_line(scene, row, px, py)
            away = np.hypot(px - float(scene.halo.x[row]), py - float(scene.halo.y[row]))
            got = float(removed[row].ravel()[pixel])
            errors.append(abs(got - hole) / halo)
            if away > 6:  # nearer, the projection is an average over the pixel
                assert float(smooth[row].ravel()[pixel]) == pytest.approx(halo, rel=0.02)
    assert len(errors) > 30
    assert np.median(errors) < 1e-4
    # The union of overlapping cavities is a step along the chord: a node's worth of error.
    assert np.max(errors) < 0.05
    assert np.mean(errors) < 2e-3


def test_pixel_average_near_a_core_smaller_than_a_pixel():
    draws, _ = scenes(1, halo={"double": 0.0}, nuisance={"sloshing": 0.0, "front": 0.0})
    draws[0].params |= {"core_radius": 0.4, "beta": 0.5, "x": 64.0, "y": 64.0}
    scene = build_scene(draws, dtype=torch.float64)
    got = float(project_halo(scene.halo, SIZE)[0, 64, 64])
    c = scene.halo.first
    fine = (torch.arange(400, dtype=torch.float64) + 0.5) / 400 - 0.5
    truth = float(c.projected(c.sky_radius2(fine[None, :], fine[:, None])).mean())
    assert got == pytest.approx(truth, rel=0.1)
    at_centre = float(c.projected(T([0.0], dtype=torch.float64)))
    assert at_centre > 1.5 * truth  # sampling the pixel's centre would be far off


def bodies(n: int, seed: int):
    rng = np.random.default_rng(seed)
    a = rng.uniform(8, 16, n)
    b = a * rng.uniform(0.5, 1, n)
    c = rng.uniform(b, a)
    theta, tilt = rng.uniform(0, np.pi, n), rng.uniform(-1, 1, n)
    t = [T(v, dtype=torch.float64) for v in (a, b, c, theta, tilt)]
    centre = [torch.full((n,), v, dtype=torch.float64) for v in (40.3, 39.6, 5.0)]
    return a, b, c, Ellipsoids(*centre, ellipsoid_matrix(*t))


def test_chords_fill_the_volume_of_the_ellipsoid():
    a, b, c, many = bodies(12, 1)
    assert np.allclose(many.volume(), 4 / 3 * np.pi * a * b * c)
    grid = torch.arange(0, 80, 0.25, dtype=torch.float64)
    for k in range(12):
        _, half = many[k].chord(grid[None, :], grid[:, None])
        assert float(2 * half.sum() * 0.25**2) == pytest.approx(float(many.volume()[k]), rel=3e-3)


def test_outline_is_the_shadow_of_the_ellipsoid():
    _, _, _, many = bodies(12, 2)
    major, minor, theta = many.outline()
    grid = torch.arange(0, 80, 0.25, dtype=torch.float64)
    gx, gy = grid[None, :], grid[:, None]
    for k in range(12):
        _, half = many[k].chord(gx, gy)
        u, v = gx - many.x[k], gy - many.y[k]
        p, q = u * theta[k].cos() + v * theta[k].sin(), v * theta[k].cos() - u * theta[k].sin()
        ellipse = (p / major[k]) ** 2 + (q / minor[k]) ** 2 < 1
        assert int((ellipse != (half > 0)).sum()) < 0.002 * int(ellipse.sum())


def test_rims_hold_at_most_the_mass_that_the_cavity_lost():
    """The widest and densest rim of the prior, without a bow, in masses of the emptied gas."""
    prior = SimulateSettings().cavities
    width, excess = prior.rim_width[1], prior.rim_excess[1]
    rho = np.linspace(1, 1 + width, 1001)
    mass = np.trapezoid(excess * (1 + width - rho) / width * 3 * rho**2, rho)
    assert 0.2 < mass < 1


def test_rim_emission_against_dense_lines():
    draws, scene = scenes(
        6,
        nuisance={"sloshing": 0.0, "front": 0.0},
        cavities={"none": 0.0, "number": {1: 1.0}, "rims": 1.0, "full": 1.0},
    )
    dug = excavate(scene, SIZE, 24)
    for row in range(len(draws)):
        pixel = int(dug.rims[row].argmax())
        px, py = T([float(pixel % SIZE)]), T([float(pixel // SIZE)])
        body, halo = scene.cavities[row, 0], scene.halo[row]
        z = torch.linspace(-200, 200, 40_001, dtype=torch.float64)
        rho = body.rho2(px, py, z).clamp_min(0).sqrt()
        width = scene.rim_width[row, 0]
        weight = torch.where(rho > 1, (1 + width - rho) / width, 0.0).clamp(0, 1)
        r2 = (px - halo.x) ** 2 + (py - halo.y) ** 2 + z**2
        d2 = (body.x - halo.x) ** 2 + (body.y - halo.y) ** 2 + body.z**2
        bow = (r2 / d2).clamp(1e-3, 4) ** (0.5 * scene.rim_bow[row, 0])
        n = 1 + scene.rim_excess[row, 0] * weight * bow
        emission = halo.emissivity(px, py, z)
        truth = float((emission * (n**2 - 1)).sum() * (z[1] - z[0]))
        assert float(dug.rims[row].max()) == pytest.approx(truth, rel=0.02)
