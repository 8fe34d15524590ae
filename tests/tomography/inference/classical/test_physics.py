"""Baselines against closed forms: unbiasedness, optima of the likelihood, exact posteriors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.random import stream
from physml.tomography.core.basis import Basis
from physml.tomography.core.basis_choice import (
    choose_basis,
    expected_infidelity,
    gains,
    global_candidates,
    infidelity_metric,
    product_candidates,
)
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.likelihood import fisher_information, log_likelihood
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.operators import PAULI, from_coordinates, infidelity, random_unitary
from physml.tomography.core.states import draw
from physml.tomography.inference.classical.likelihood import MaximumLikelihood
from physml.tomography.inference.classical.linear import LinearInversion
from physml.tomography.inference.classical.particle_filter import ParticleFilter
from physml.tomography.inference.classical.particle_moves import (
    MOVES,
    coordinates_of,
    gaussian,
    principal_logarithms,
)
from physml.tomography.inference.classical.tally import Tally
from physml.tomography.inference.classical.two_stage import TwoStage
from physml.tomography.simulator.experiment import experiment


def state(*bloch: float) -> torch.Tensor:
    vector = torch.tensor([1.0, *bloch], dtype=torch.float64)
    return 0.5 * torch.einsum("i,iab->ab", vector.to(torch.complex128), PAULI)[None]


def bloch(rho: torch.Tensor) -> torch.Tensor:
    return torch.einsum("iab,...ba->...i", PAULI[1:], rho).real


def test_linear_inversion_is_unbiased() -> None:
    # 20,000 experiments of 90 copies each on one state near the boundary.
    number = 20_000
    rho = draw("pure_white_5", 1, 4, stream(1, "test", 0)).expand(number, -1, -1)
    estimator = LinearInversion()
    estimator.start(number, 4, stream(1, "test", 1))
    rng = stream(1, "test", 2)
    for effects in pauli_effects(2):
        estimator.update(effects, sample_counts(probabilities(effects, rho), 10, rng))
    raw = estimator.raw()
    off = torch.view_as_real(raw.mean(0) - rho[0])
    error = torch.view_as_real(raw).std(0) / number**0.5
    assert (off.abs() < 4.5 * error + 1e-12).all()
    # The projected estimate cannot be unbiased so near the boundary.
    projected = torch.view_as_real(estimator.estimate().mean(0) - rho[0])
    assert (projected.abs() > 10 * error + 1e-12).any()


def test_linear_inversion_of_exact_frequencies_is_exact() -> None:
    rho = draw("hs", 5, 4, stream(2, "test", 0))
    for effects in (pauli_effects(2), pauli_effects(2)[[0, 3, 4]]):
        estimator = LinearInversion()
        estimator.start(5, 4, stream(2, "test", 1))
        for setting in effects:
            estimator.update(setting, 1e12 * probabilities(setting, rho))
        if len(effects) == 9:
            torch.testing.assert_close(estimator.estimate(), rho, rtol=0, atol=1e-10)
        else:  # not complete: what was measured is right, the rest is as white as can be
            for setting in effects:
                p = probabilities(setting, estimator.raw())
                torch.testing.assert_close(p, probabilities(setting, rho), rtol=0, atol=1e-9)


def test_maximum_likelihood_of_one_qubit_inside_the_sphere_is_the_frequencies() -> None:
    estimator = MaximumLikelihood(tolerance=1e-5)
    estimator.start(2, 2, stream(3, "test", 0))
    counts = torch.tensor([[[60, 40], [45, 55], [80, 20]], [[500, 500], [700, 300], [350, 650]]])
    for axis, effects in enumerate(pauli_effects(1)):
        estimator.update(effects, counts[:, axis])
    expected = torch.tensor([[0.2, -0.1, 0.6], [0.0, 0.4, -0.3]], dtype=torch.float64)
    # A log-likelihood that misses 1e-5 of its maximum at 300 copies, in Bloch coordinates.
    torch.testing.assert_close(bloch(estimator.estimate()), expected, rtol=0, atol=6e-4)


def test_maximum_likelihood_of_one_qubit_outside_the_sphere() -> None:
    # Z says 1 and X says 0.6: the optimum is on the circle, at the root of the derivative by angle.
    estimator = MaximumLikelihood(tolerance=1e-10)
    estimator.start(1, 2, stream(3, "test", 1))
    x_axis, _, z_axis = pauli_effects(1)
    estimator.update(x_axis, torch.tensor([[80.0, 20.0]]))
    estimator.update(z_axis, torch.tensor([[100.0, 0.0]]))
    angle = np.linspace(0, np.pi / 2, 2_000_001)[1:-1]
    with np.errstate(divide="ignore"):
        value = (
            80 * np.log(1 + np.sin(angle))
            + 20 * np.log(1 - np.sin(angle))
            + 100 * np.log(1 + np.cos(angle))
        )
    best = angle[value.argmax()]
    found = bloch(estimator.estimate())[0].numpy()
    np.testing.assert_allclose(found, [np.sin(best), 0, np.cos(best)], atol=2e-5)


@pytest.mark.parametrize("ensemble", ["hs", "pure", "pure_white_5"])
def test_no_state_is_likelier_than_the_maximum(ensemble: str) -> None:
    rho = draw(ensemble, 12, 4, stream(4, "test", 0))
    estimator = MaximumLikelihood()
    experiment(estimator, rho, "pauli", [900], stream(4, "test", 1))
    g, counts, _ = estimator.tally.stacked()
    near = draw("hs", 12 * 50, 4, stream(4, "test", 2)).reshape(12, 50, 4, 4)
    found = estimator.estimate()[:, None]
    rivals = torch.cat([rho[:, None], 0.999 * found + 0.001 * near, 0.9 * found + 0.1 * near], 1)
    basis = torch.as_tensor(_coordinates(torch.cat([found, rivals], 1)))
    value = log_likelihood(g, counts, basis)
    assert (estimator.gap <= 1.1e-3).all()
    assert (value[:, 1:] <= value[:, :1] + estimator.gap[:, None]).all()


def _coordinates(rho: torch.Tensor) -> torch.Tensor:
    from physml.tomography.core.operators import to_coordinates

    return to_coordinates(rho)


def quadrature(counts: np.ndarray, radial: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Posterior mean of the Bloch vector for X, Y, Z counts (3, 2) by a fine grid of the ball."""
    cosine, cosine_weight = np.polynomial.legendre.leggauss(60)
    azimuth = np.arange(120) * 2 * np.pi / 120
    sine = np.sqrt(1 - cosine**2)
    directions = np.stack(
        [
            sine[:, None] * np.cos(azimuth),
            sine[:, None] * np.sin(azimuth),
            np.repeat(cosine[:, None], len(azimuth), 1),
        ],
        -1,
    )
    r = radial[:, None, None, None] * directions
    with np.errstate(divide="ignore"):
        value = sum(
            counts[axis, 0] * np.log1p(r[..., axis]) + counts[axis, 1] * np.log1p(-r[..., axis])
            for axis in range(3)
        )
    w = np.exp(value - value.max()) * weight[:, None, None] * cosine_weight[:, None]
    return (w[..., None] * r).sum((0, 1, 2)) / w.sum()


def test_filter_gives_the_exact_bayesian_mean_of_one_qubit() -> None:
    counts = np.array([[12, 8], [5, 15], [19, 1]])
    # The HS measure of one qubit is uniform in the Bloch ball.
    node, node_weight = np.polynomial.legendre.leggauss(60)
    radius = 0.5 * (node + 1)
    exact = quadrature(counts, radius, node_weight * radius**2)
    number = 150
    estimator = ParticleFilter(300, prior="hs")
    estimator.start(number, 2, stream(5, "test", 0))
    for axis, effects in enumerate(pauli_effects(1)):
        estimator.update(effects, torch.as_tensor(counts[axis]).expand(number, -1))
    means = bloch(estimator.estimate())
    error = means.std(0) / number**0.5
    off = (means.mean(0) - torch.as_tensor(exact)).abs()
    assert (off < 4 * error + 2e-3).all()
    assert (means.std(0) < 0.03).all()


def test_moves_keep_the_prior() -> None:
    """Long chains without data: the purities stay those of fresh draws from the prior."""
    rng = stream(6, "test", 0)
    shape = (2, 4000)
    for name in ("mix", "stretch", "slide", "turn"):
        a, tau = gaussian((*shape, 4, 4), rng), torch.as_tensor(rng.uniform(0, 5, shape))
        before = coordinates_of(a, tau)
        # Directions from elsewhere: around the white state none of them has a trace.
        mean = draw("hs", 2, 4, rng)
        off = (before - before.mean(1, keepdim=True))[..., 1:]
        directions = 0.2 * principal_logarithms(mean, off.mT @ off / shape[1])
        move = MOVES[name]
        step = torch.full((2,), move.first, dtype=torch.float64)
        accepted = 0.0
        for _ in range(12):
            new = move.propose(a, tau, step, directions, rng)
            luck = torch.as_tensor(rng.random(shape)).log()
            accept = luck < new.log_ratio
            accepted += float(accept.double().mean()) / 12
            a = torch.where(accept[..., None, None], new.a, a)
            tau = torch.where(accept, new.tau, tau)
        after = coordinates_of(a, tau)
        assert 0.1 < accepted <= 1
        for quantity in (lambda x: x.square().sum(-1), lambda x: x.square().sum(-1).square()):
            old, now = quantity(before), quantity(after)
            error = (old.var() / old.numel() + now.var() / now.numel()).sqrt()
            assert abs(float(old.mean() - now.mean())) < 4 * float(error) + 1e-9, name
        error = 4 * (5 / 12**0.5) * (2 / tau.numel()) ** 0.5
        assert abs(float(tau.mean()) - 2.5) < error, name
        # 2 d^2 real numbers of unit variance: their sum of squares has mean 32 and variance 64.
        norm = torch.view_as_real(a).square().sum((-1, -2, -3))
        assert abs(float(norm.mean()) - 32) < 4 * 8 / norm.numel() ** 0.5, name
        assert abs(float(norm.var()) - 64) < 8, name
        if move.keeps_state:
            torch.testing.assert_close(after, before, rtol=0, atol=1e-9)
        else:
            assert float((after - before).abs().max()) > 0.1


def test_filter_takes_in_huge_blocks() -> None:
    rho = draw("hs", 2, 4, stream(7, "test", 0))
    estimator = ParticleFilter(100, prior="hs", moves=6)
    estimator.start(2, 4, stream(7, "test", 1))
    for effects in pauli_effects(2):
        estimator.update(effects, (1e5 * probabilities(effects, rho)).round())
    assert (estimator.effective_size() > 20).all()
    assert (infidelity(rho, estimator.estimate()) < 1e-3).all()


def test_metric_is_the_second_order_of_the_infidelity() -> None:
    rho = draw("hs", 6, 4, stream(8, "test", 0))
    step = torch.as_tensor(stream(8, "test", 1).standard_normal((6, 15)))
    step *= 1e-4 * torch.linalg.eigvalsh(rho)[:, :1]
    full = torch.cat([torch.zeros(6, 1, dtype=torch.float64), step], 1)
    exact = infidelity(rho, rho + from_coordinates(full))
    metric = torch.einsum("si,sij,sj->s", step, infidelity_metric(rho), step)
    torch.testing.assert_close(metric, exact, rtol=1e-3, atol=1e-14)


def test_gain_is_the_fall_of_the_expected_infidelity() -> None:
    rho = draw("hs", 3, 4, stream(9, "test", 0))
    covariance = torch.eye(15, dtype=torch.float64).expand(3, -1, -1) / 50
    unitary = random_unitary(3, 4, stream(9, "test", 1))
    g = _coordinates(Basis(unitary).effects)
    shots = torch.full((3, 4), 70.0, dtype=torch.float64)
    after = torch.linalg.inv(
        torch.linalg.inv(covariance) + fisher_information(g, shots, _coordinates(rho))
    )
    fall = expected_infidelity(rho, covariance) - expected_infidelity(rho, after)
    torch.testing.assert_close(gains(unitary[:, None], rho, covariance, 70)[:, 0], fall)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_candidates_are_bases(n: int) -> None:
    d = 2**n
    rho = draw("hs", 3, d, stream(10, "test", 0))
    one = torch.eye(d, dtype=torch.complex128)
    bases = global_candidates(rho, stream(10, "test", 1))
    torch.testing.assert_close(bases.mH @ bases, one.expand_as(bases))
    local = product_candidates(rho, stream(10, "test", 1))
    two = torch.eye(2, dtype=torch.complex128)
    torch.testing.assert_close(local.mH @ local, two.expand_as(local))
    basis = choose_basis("product", rho, None, stream(10, "test", 2), 10)
    assert basis.local is not None
    effects = basis.effects
    torch.testing.assert_close(effects.sum(1), one.expand(3, -1, -1))
    # The joint basis is that of the local ones, qubit 0 leftmost.
    first = basis.local[:, 0]
    corner = torch.einsum("si,sj->sij", first[:, :, 0], first[:, :, 0].conj())
    ones = torch.stack([effects[:, k] for k in range(d // 2)]).sum(0).reshape(3, 2, d // 2, 2, -1)
    torch.testing.assert_close(ones.diagonal(dim1=2, dim2=4).sum(-1) / (d // 2), corner)


def test_chains_make_outcomes_improbable() -> None:
    rho = draw("pure", 20, 4, stream(11, "test", 0))
    local = product_candidates(rho, stream(11, "test", 1))[:, -24:]
    effects = Basis.product(local.flatten(0, 1)).effects
    p = probabilities(effects, rho.repeat_interleave(24, 0))
    assert (p.min(-1).values < 1e-12).all()


def test_adapting_turns_the_slope_of_pure_states() -> None:
    """For 30 times the copies the infidelity of pure states falls by the root of that, or by 30."""
    rho = draw("pure", 12, 4, stream(12, "test", 0))
    ratio = {}
    for design in ("static", "adaptive"):
        values = []
        for total in (1000, 30_000):
            estimator = TwoStage(total) if design == "adaptive" else MaximumLikelihood()
            blocks = estimator.schedule("global", 4) if isinstance(estimator, TwoStage) else [total]
            kind = "global" if design == "adaptive" else "pauli"
            result = experiment(estimator, rho, kind, blocks, stream(12, "test", 1), marks=[total])
            values.append(result.infidelity.mean())
        ratio[design] = values[0] / values[1]
    assert 3 < ratio["static"] < 10
    assert 15 < ratio["adaptive"] < 60


def test_static_counts_are_kept_together() -> None:
    tally = Tally(3, 4)
    for _ in range(5):
        for effects in pauli_effects(2):
            tally.add(effects, torch.ones(3, 4))
    g, counts, shots = tally.stacked()
    assert g.shape == (3, 36, 16)
    assert (counts == 5).all()
    assert (shots == 20).all()
    assert (tally.copies() == 180).all()


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["hs", "rank_adaptive"])
def test_filter_is_calibrated_on_states_of_its_prior(prior: str) -> None:
    """Over draws from the prior an exact posterior expects of itself what it achieves."""
    number = 100
    rho = draw(prior, number, 4, stream(13, "test", 0))
    estimator = ParticleFilter(300, prior=prior)  # type: ignore[arg-type]
    experiment(estimator, rho, "global", [20] * 25, stream(13, "test", 1), marks=[500])
    estimate = estimator.estimate()
    each = infidelity(estimator.particles(), estimate[:, None])
    expected = (each * estimator.weights()).sum(1)
    off = infidelity(rho, estimate) - expected
    assert abs(float(off.mean())) < 4 * float(off.std()) / number**0.5
    assert 0.75 < float(infidelity(rho, estimate).mean() / expected.mean()) < 1.33
