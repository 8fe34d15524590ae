"""The likelihood, its derivatives and what they are made of, against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.cavity_fields import CORE, SLOPE, field, halo, hidden
from scipy.integrate import quad
from scipy.stats import nbinom

from physml.cavities.core.ellipse import Ellipse
from physml.cavities.inference.refine.build import build
from physml.cavities.inference.refine.cells import gather
from physml.cavities.inference.refine.fit import posterior
from physml.cavities.inference.refine.likelihood import information, log_likelihood, score, size
from physml.cavities.inference.refine.null import RIDGE, SPLINES, Null
from physml.cavities.inference.refine.shapes import Start
from physml.cavities.inference.refine.shares import Shares

PAIR = [Ellipse(82.0, 70.0, 9.0, 6.5, 0.7), Ellipse(47.0, 55.0, 14.0, 10.0, 2.1)]


def test_likelihood_is_that_of_scipy():
    rng = np.random.default_rng(1)
    mu, other = rng.uniform(0.1, 300, (2, 40))
    pixels = rng.integers(1, 17, 40).astype(float)
    phi = size(pixels)
    counts = rng.poisson(mu).astype(float)
    ours = log_likelihood(counts, mu, phi) - log_likelihood(counts, other, phi)
    theirs = [nbinom.logpmf(counts, phi, phi / (phi + m)).sum() for m in (mu, other)]
    assert ours == pytest.approx(theirs[0] - theirs[1], rel=1e-9)


def test_score_and_information_are_derivative_and_variance():
    mu, phi = np.array([0.3, 4.0, 250.0]), np.array([400.0, 400.0, 1600.0])
    counts, step = np.array([1.0, 2.0, 260.0]), 1e-5
    for k in range(3):
        up, down = (
            log_likelihood(counts[k : k + 1], mu[k : k + 1] + s, phi[k : k + 1])
            for s in (step, -step)
        )
        assert score(counts, mu, phi)[k] == pytest.approx((up - down) / (2 * step), rel=1e-5)
    n = np.arange(2000.0)
    for m, p in zip(mu, phi, strict=True):
        chance = nbinom.pmf(n, p, p / (p + m))
        variance = (chance * score(n, m, p) ** 2).sum()
        assert information(m, p) == pytest.approx(variance, rel=1e-4)


def test_share_of_the_line_of_sight_is_the_integral():
    image = halo(10.0, 60.0, 62.0)
    shares = Shares.of(image, np.array([60.0, 75.0]), np.array([62.0, 90.0]))
    r2 = np.array([0.0, 15.0**2 + 28.0**2])
    for half in (0.5, 6.0, 40.0):
        ours, slope = shares.within(np.full(2, half))
        further, _ = shares.within(np.full(2, half + 1e-3))
        nearer, _ = shares.within(np.full(2, half - 1e-3))
        assert slope == pytest.approx((further - nearer) / 2e-3, rel=2e-2)
        for k in range(2):
            emission = lambda z, k=k: (1 + (r2[k] + z * z) / CORE**2) ** (-SLOPE - 0.5)  # noqa: E731
            part, whole = quad(emission, 0, half)[0], quad(emission, 0, np.inf)[0]
            assert ours[k] == pytest.approx(part / whole, abs=2e-4)


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.9, 3.0])
def test_chords_are_those_of_the_ellipsoid(turn):
    ellipse = Ellipse(40.3, 50.8, 16.0, 9.0, turn)
    start = Start.of(ellipse)
    theta = np.array([0, 0, 0, start.g1, start.g2, 1.0, 0.0, 0.0])
    back = start.ellipse(theta)
    for name in ("x", "y", "semi_major", "semi_minor", "theta"):
        assert getattr(back, name) == pytest.approx(getattr(ellipse, name), abs=1e-9)
    y, x = np.mgrid[20:80:0.25, 10:70:0.25].reshape(2, -1)
    q2 = ellipse.squared_radius(x, y)
    half = start.half_chord(theta, x, y)
    within = q2 < 1 - 1.1 * start.soft
    assert half[within] == pytest.approx(12.0 * np.sqrt(1 - q2[within]), rel=0.08)
    assert half[q2 > 1 + start.soft].max() == 0
    # The softened edge keeps the volume.
    assert 2 * half.sum() * 0.25**2 == pytest.approx(4 / 3 * np.pi * 12.0**3, rel=0.01)


def test_gradient_is_that_of_finite_differences():
    image = field(PAIR, total=4e4)
    model = build(image, PAIR)
    rng = np.random.default_rng(3)
    theta = model.mean + 0.3 * model.width * rng.normal(size=len(model.mean))
    for k in range(2):
        theta[model.of(k)][-2:] = 0.3, 0.2
    free = np.ones(len(theta), bool)
    _, gradient, curvature = posterior(model, theta, free)
    step = 1e-5
    for k in range(len(theta)):
        ends = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[k] += sign * step
            ends.append(posterior(model, moved, free)[0])
        slope = (ends[0] - ends[1]) / (2 * step)
        # The shares are a table of straight lines: they, not the chain rule, limit this.
        assert gradient[k] == pytest.approx(slope, rel=5e-3, abs=2e-3 * np.sqrt(curvature[k, k]))


def test_information_is_the_curvature_of_the_expected_likelihood():
    """Where counts are what is expected, - d2 ln L is the Fisher information."""
    image = field(PAIR, total=4e4, seed=None)
    model = build(image, PAIR)
    theta = model.mean.copy()
    mu = model.expected(theta)
    model.cells.counts[:] = mu
    free = np.ones(len(theta), bool)
    _, _, curvature = posterior(model, theta, free)
    step = 1e-4
    rows = [0, 3, 9, 20, model.smooth, model.smooth + 2, model.smooth + 5, len(theta) - 1]
    for k in rows:
        gradients = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[k] += sign * step
            gradients.append(posterior(model, moved, free)[1])
        numeric = -(gradients[0] - gradients[1]) / (2 * step)
        scale = np.sqrt(np.diag(curvature) * curvature[k, k])
        assert numeric[rows] / scale[rows] == pytest.approx(
            curvature[k][rows] / scale[rows], abs=0.03
        )


def test_the_model_is_the_sky_it_describes():
    """Expected counts of the true parameters against the field's own integral."""
    image = field(PAIR, total=1e6, seed=None)
    model = build(image, PAIR)
    theta = model.mean.copy()
    for k in range(2):
        theta[model.of(k).start + 5] = 1.0
    mu, truth = model.expected(theta), model.cells.counts
    # Edges are softened, and cells of 4 x 4 pixels hold them in part.
    assert np.abs(mu - truth).sum() / np.abs(truth - model.expected(theta, (0, 1))).sum() < 0.16
    assert hidden(PAIR[0], 63.5, 63.5).max() > 0.2


def test_cells_keep_every_count():
    image = field(PAIR, total=3e4)
    image.invalid[30:41, 50:57] = True
    cells = gather(image, PAIR)
    live = ~image.invalid
    assert cells.counts.sum() == pytest.approx(image.counts[live].sum())
    assert cells.pixels.sum() == live.sum()
    assert len(cells) < 0.5 * live.sum()
    middle = (cells.pixels * cells.x).sum() / cells.pixels.sum()
    assert middle == pytest.approx(np.mgrid[:128, :128][1][live].mean())


def test_null_knows_a_dipole_and_is_calm_at_the_centre():
    cells = gather(field(PAIR), PAIR)
    null = Null.of(cells, (63.5, 63.5))
    assert null.basis.shape == (len(cells), SPLINES[0] + 2 * SPLINES[1] + 2 * SPLINES[2])
    assert sorted(set(null.width)) == sorted(RIDGE)
    assert null.basis[:, null.order == 0].sum(1) == pytest.approx(1.0)
    x, y = cells.x - 63.5, cells.y - 63.5
    r = np.hypot(x, y)
    # ln(1 + dipole) of an offset halo, within the ridge.
    wanted = 0.2 * np.tanh(r / 20) * x / np.maximum(r, 1e-9)
    c, *_ = np.linalg.lstsq(null.basis, wanted, rcond=None)
    assert np.abs(null.basis @ c - wanted)[r > 4].max() < 0.02
    assert np.abs(c).max() < RIDGE[1]
    assert np.abs(null.basis[:, null.order > 0][r < 0.8]).max() < 0.3
