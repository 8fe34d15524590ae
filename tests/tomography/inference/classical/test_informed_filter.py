"""Particle filters with other priors, and with the mixture that a network was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.operators import from_coordinates, infidelity, purity
from physml.tomography.core.states import draw, mixture
from physml.tomography.inference.classical.informed_filter import InformedFilter, priors_of
from physml.tomography.inference.classical.particle_filter import ParticleFilter
from physml.tomography.inference.classical.particle_moves import MOVES, principal_logarithms
from physml.tomography.inference.classical.particle_priors import (
    KNOWN_MIXTURE,
    PRIORS,
    log_bures_over_hs,
)
from physml.tomography.simulator.experiment import experiment

UP, DOWN = 14, 3


def z_of(rho: Tensor) -> Tensor:
    """Bloch vector's z component."""
    return (rho[..., 0, 0] - rho[..., 1, 1]).real


def exact(density: str) -> tuple[float, float]:
    """Evidence of counts along Z, and the posterior mean of z, by quadrature.

    The z component of a pure qubit is uniform (Archimedes), that of the uniform ball goes as
    1 - z^2.
    """
    prior = {"pure": lambda z: 0.5, "hs": lambda z: 0.75 * (1 - z * z)}[density]

    def joint(z: float) -> float:
        return prior(z) * (0.5 * (1 + z)) ** UP * (0.5 * (1 - z)) ** DOWN

    evidence = quad(joint, -1, 1)[0]
    return evidence, quad(lambda z: z * joint(z), -1, 1)[0] / evidence


def measured_along_z(estimator: ParticleFilter, number: int) -> None:
    estimator.start(number, 2, stream(21, "test", 0))
    effects = pauli_effects(1)[2]
    for share in (0.5, 0.5):
        counts = torch.tensor([UP, DOWN]).double() * share
        estimator.update(effects, counts.expand(number, -1))


@pytest.mark.parametrize("prior", ["pure", "hs"])
def test_evidence_and_mean_are_exact(prior: str) -> None:
    estimator = ParticleFilter(300, prior=prior)
    measured_along_z(estimator, 60)
    evidence, mean = exact(prior)
    found = estimator.log_evidence.exp()
    assert abs(float(found.mean()) / evidence - 1) < 4 * float(found.std()) / 60**0.5 / evidence
    z = z_of(estimator.estimate())
    assert abs(float(z.mean()) - mean) < 4 * float(z.std()) / 60**0.5
    assert float(z.std()) < 0.05


def test_shares_are_those_of_bayes() -> None:
    estimator = InformedFilter({"pure": 0.3, "hs": 0.7}, n_particles=300)
    measured_along_z(estimator, 60)
    (pure, of_pure), (hs, of_hs) = exact("pure"), exact("hs")
    share = 0.3 * pure / (0.3 * pure + 0.7 * hs)
    found = estimator.shares()
    assert list(priors_of({"pure": 0.3, "hs": 0.7}).values()) == [0.3, 0.7]
    torch.testing.assert_close(found.sum(1), torch.ones(60).double())
    assert abs(float(found[:, 0].mean()) - share) < 4 * float(found[:, 0].std()) / 60**0.5 + 1e-3
    z = z_of(estimator.estimate())
    wanted = share * of_pure + (1 - share) * of_hs
    assert abs(float(z.mean()) - wanted) < 4 * float(z.std()) / 60**0.5 + 1e-3
    # Particles and weights say the same as the estimate.
    mean = (estimator.particles() * estimator.weights()[..., None, None]).sum(1)
    torch.testing.assert_close(mean, estimator.estimate(), rtol=0, atol=1e-9)


def test_hopeless_ensembles_are_dropped() -> None:
    """Many copies of a mixed state: pure ones are out, and cost nothing any more."""
    rho = 0.6 * draw("pure", 3, 4, stream(22, "test", 0)) + 0.1 * torch.eye(4)
    estimator = InformedFilter(n_particles=60, moves=3)
    experiment(estimator, rho, "pauli", [100] * 9, stream(22, "test", 1), marks=[900])
    pure = list(priors_of({"rank_adaptive": 1, "pure": 1})).index(PRIORS["pure"]())
    assert not estimator.filters[pure].live.any()
    assert (estimator.shares()[:, pure] == 0).all()
    assert (infidelity(rho, estimator.estimate()) < 0.15).all()


@pytest.mark.parametrize("d", [2, 4])
def test_mean_purities_of_the_priors(d: int) -> None:
    """Means that are known in closed form (Zyczkowski & Sommers 2001, 2003)."""
    known = {"hs": 2 * d / (d * d + 1), "bures": (5 * d * d + 1) / (2 * d * (d * d + 2))}
    for name, wanted in known.items():
        prior = PRIORS[name]()
        found = purity(
            from_coordinates(prior.coordinates(*prior.start((1, 4000), d, stream(23, "test", d))))
        )
        assert abs(float(found.mean()) - wanted) < 4 * float(found.std()) / 4000**0.5, name


def test_density_of_bures_turns_one_measure_into_the_other() -> None:
    """Bures means as means over the Hilbert-Schmidt measure with weights; det keeps them tame."""
    states = {name: draw(name, 20_000, 4, stream(24, "test", 0)) for name in ("hs", "bures")}
    values = {name: torch.linalg.eigvalsh(rho) for name, rho in states.items()}

    def tame(v: Tensor) -> Tensor:
        return v.prod(-1).clamp(min=0).sqrt() * v.square().sum(-1)

    weighted = tame(values["hs"]) * log_bures_over_hs(values["hs"]).exp()
    plain = tame(values["bures"])
    error = (weighted.var() + plain.var()).sqrt() / 20_000**0.5
    assert abs(float(weighted.mean() - plain.mean())) < 4 * float(error)
    assert float(plain.mean()) > 20 * float(error)


@pytest.mark.parametrize("name", ["pure_white", "pure", "bures"])
def test_moves_keep_the_priors(name: str) -> None:
    """Long chains without data: purities and overlaps stay those of fresh draws."""
    rng = stream(25, "test", 0)
    prior = PRIORS[name]()
    a, tau = prior.start((1, 3000), 4, rng)
    x = before = prior.coordinates(a, tau)
    off = (draw("hs", 500, 4, rng).flatten(1) @ torch.randn(16, 15, dtype=torch.complex128)).real
    directions = 0.2 * principal_logarithms(draw("hs", 1, 4, rng), (off.mT @ off / 500)[None])
    changed = False
    for _ in range(15):
        for kind in prior.kinds:
            move = MOVES[kind]
            new = move.propose(a, tau, torch.tensor([0.3]).double(), directions, rng)
            new_x = prior.coordinates(new.a, new.tau)
            ratio = new.log_ratio + prior.log_density(new_x) - prior.log_density(x)
            accept = torch.as_tensor(rng.random(tau.shape)).log() < ratio
            changed |= bool(accept.any())
            a = torch.where(accept[..., None, None], new.a, a)
            tau, x = torch.where(accept, new.tau, tau), torch.where(accept[..., None], new_x, x)
    assert changed
    assert float((x - before).abs().max()) > 0.1
    for of in (lambda x: x.square().sum(-1), lambda x: x[..., 3], lambda x: x[..., 7].square()):
        old, now = of(before), of(x)
        error = (old.var() / old.numel() + now.var() / now.numel()).sqrt()
        assert abs(float(old.mean() - now.mean())) < 4 * float(error) + 1e-9


def test_ensembles_without_a_prior() -> None:
    with pytest.raises(InputError, match="thermal"):
        InformedFilter({"hs": 0.5, "thermal": 0.5})
    with pytest.raises(InputError, match="none above 0"):
        InformedFilter({"hs": 0.0})


@pytest.mark.slow
def test_filter_is_calibrated_on_states_of_its_mixture() -> None:
    """Over draws from the mixture it expects of itself what it achieves."""
    number = 100
    rho = mixture(number, 4, stream(26, "test", 0), KNOWN_MIXTURE)
    estimator = InformedFilter()
    experiment(estimator, rho, "global", [20] * 25, stream(26, "test", 1), marks=[500])
    estimate = estimator.estimate()
    each = infidelity(estimator.particles(), estimate[:, None])
    expected = (each * estimator.weights()).sum(1)
    off = infidelity(rho, estimate) - expected
    assert abs(float(off.mean())) < 4 * float(off.std()) / np.sqrt(number)
    assert 0.7 < float(infidelity(rho, estimate).mean() / expected.mean()) < 1.4
