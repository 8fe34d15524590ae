"""One experiment alone goes another way than a batch; both go where plain formulas lead."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core import measurements as povm
from physml.tomography.core import states
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.eigenframe import rotation, scales, unvec, vec
from physml.tomography.core.operators import random_unitary
from physml.tomography.inference.neural import single_corrector as single_corrector
from physml.tomography.inference.neural import single_filter
from physml.tomography.inference.neural.corrector import (
    Corrector,
    CovarianceSummary,
    correct,
    features,
)
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.neural.information_filter import BETA, InformationFilter

NAMES = ["hs", "pure", "pure_white_5"]


def data(name: str, d: int, blocks: int = 6, n: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Effects (n, d, d, d) and counts (n, d) of blocks that grow."""
    draw = stream(6, "test", d)
    rho = states.draw(name, n, d, draw)
    out = []
    for block in range(blocks):
        effects = povm.basis_effects(random_unitary(n, d, draw))
        counts = sample_counts(probabilities(effects, rho), 20 * 2**block, draw)
        out.append((effects, torch.as_tensor(counts).double()))
    return out


def plain_newton(
    rho: np.ndarray, effects: np.ndarray, counts: np.ndarray, beta: float
) -> tuple[np.ndarray, float]:
    """One step in complex matrices, by the definitions, and the decrement it began with.

    Y maximises tr(G Y) - tr(Y K Y) / 2 for scaled G and K.
    """
    d = len(rho)
    values, vectors = np.linalg.eigh(rho)
    root = vectors * np.sqrt(values)
    inside = root.conj().T @ effects @ root
    p = np.einsum("kij,ji->k", effects, rho).real
    gradient = np.einsum("k,kij->ij", counts / p, inside) + beta * np.eye(d)
    gradient = gradient - (counts.sum() + beta * d) * root.conj().T @ root
    flat = inside.reshape(len(p), -1)
    # tr(A Y) = conj(A) . Y for Hermitian A, so the curvature is that of a complex linear map.
    curvature = np.einsum("k,ki,kj->ij", counts / p**2, flat, flat.conj()) + beta * np.eye(d * d)
    step = np.linalg.solve(curvature, gradient.reshape(-1))
    decrement = np.sqrt(max(np.vdot(gradient.reshape(-1), step).real, 0) / min(1, beta))
    length = np.linalg.norm(step)
    step = step.reshape(d, d) * min(1.0, single_filter.LONGEST / length)
    new = root @ (np.eye(d) + step) @ root.conj().T
    size = min(1.0, single_filter.LONGEST / length)
    return new / np.trace(new).real, decrement * min(1.0, 1 - size + size * length)


@pytest.mark.parametrize("d", [2, 4])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("single", [True, False])
def test_steps_are_those_of_the_plain_formulas(d: int, name: str, single: bool) -> None:
    options = {"window": 10**6, "tolerance": 1e-5, "steps": 40}
    made = InformationFilter(1 if single else 2, d, **options)
    rho = np.eye(d, dtype=complex) / d
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    for effects, counts in data(name, d):
        if single:
            made.add(effects, counts)
        else:
            made.add(effects.expand(2, -1, -1, -1), counts.expand(2, -1))
        seen.append((effects[0].numpy(), counts[0].numpy()))
        all_effects, all_counts = (np.concatenate(t) for t in zip(*seen, strict=True))
        left = 1.0
        for _ in range(options["steps"]):
            rho, left = plain_newton(rho, all_effects, all_counts, BETA)
            if left <= options["tolerance"]:
                break
        found = made.matrix()[0].numpy()
        assert np.abs(found - rho).max() < 1e-8 * np.abs(rho).max()
        assert made.decrement[0] <= options["tolerance"]


@pytest.mark.parametrize("d", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_one_alone_is_estimated_as_in_a_batch(d: int, name: str) -> None:
    torch.manual_seed(3)
    network = Corrector(d, 16, 2)
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    one, two = (NeuralEstimator({d: network}, window=10**6) for _ in range(2))
    two.tolerance, two.steps = 1e-5, 40
    one.start(1, d, stream(6, "test", 0))
    two.start(2, d, stream(6, "test", 0))
    for effects, counts in data(name, d):
        one.update(effects, counts)
        two.update(effects.expand(2, -1, -1, -1), counts.expand(2, -1))
    torch.testing.assert_close(one.filter.matrix()[0], two.filter.matrix()[0], atol=1e-9, rtol=0)
    information = two.filter.information[0]
    error = (one.filter.information[0] - information).abs().max()
    assert error < 1e-9 * information.abs().max()
    # The network is of single precision.
    torch.testing.assert_close(one.estimate()[0], two.estimate()[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(one.spread()[0], two.spread()[0], atol=0, rtol=1e-5)


@pytest.mark.parametrize("d", [2, 4, 8])
def test_coordinates_are_the_same_both_ways(d: int) -> None:
    u = random_unitary(3, d, stream(6, "test", 1))
    rho = states.draw("hs", 3, d, stream(6, "test", 2))
    np.testing.assert_array_equal(single_filter.vec(rho.numpy()), vec(rho).numpy())
    np.testing.assert_allclose(
        single_filter.unvec(vec(rho)[0].numpy()), unvec(vec(rho))[0], atol=1e-15
    )
    np.testing.assert_allclose(single_filter.congruence(u[0].numpy()), rotation(u)[0], atol=1e-14)
    # Any matrix, not only unitary ones.
    a = rho[0] @ u[0]
    turned = single_filter.congruence(a.numpy()) @ single_filter.vec(rho.numpy())[1]
    np.testing.assert_allclose(turned, vec(a @ rho[1] @ a.mH), atol=1e-14)


@pytest.mark.parametrize("d", [2, 4])
def test_the_correction_is_the_same_both_ways(d: int) -> None:
    draw = stream(6, "test", 3)
    torch.manual_seed(4)
    network = Corrector(d, 16, 2)
    torch.nn.init.normal_(network.leave.weight, std=0.3)
    network.standardise(torch.randn(50, network.enter.in_features))
    a = torch.as_tensor(draw.normal(size=(5, d * d, 2 * d * d))) * 0.3
    covariance = a @ a.mT
    values = torch.as_tensor(np.sort(draw.dirichlet(np.ones(d), 5))[:, ::-1].copy())
    copies = torch.as_tensor(10 ** draw.uniform(1, 9, 5))
    x = features(values, covariance, copies)
    with torch.no_grad():
        raw = network(x)
    made = correct(raw, CovarianceSummary.of(values, covariance))
    small = single_corrector.Network(network)
    for i in range(5):
        v, c = values[i].numpy(), covariance[i].numpy()
        own = single_corrector.features(v, c, float(copies[i]))
        np.testing.assert_allclose(own, x[i], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(small(x[i].numpy()), raw[i], rtol=1e-4, atol=1e-5)
        new, root, level, parts = single_corrector.correct(raw[i].numpy(), v, c)
        np.testing.assert_allclose(new, made.values[i], rtol=1e-12)
        np.testing.assert_allclose(root, made.root[i], atol=1e-12)
        assert level == pytest.approx(float(made.log_infidelity[i]), rel=1e-12)
        np.testing.assert_allclose(parts, made.parts[i], rtol=1e-12)


def test_the_covariance_is_an_inverse() -> None:
    made = InformationFilter(1, 4, steps=10)
    for effects, counts in data("hs", 4):
        made.add(effects, counts)
    scale = scales(made.values)
    q = made.frame * scale[:, None, :]
    scaled = q.mT @ made.information @ q + BETA * torch.eye(16)
    one = torch.eye(16, dtype=torch.float64)[None]
    torch.testing.assert_close(made.covariance() @ scaled, one, atol=1e-9, rtol=0)


def test_a_measurement_that_comes_again_is_added_up() -> None:
    made = single_filter.Record(2)
    rows = single_filter.vec(povm.pauli_effects(1)[0].numpy())
    for n in range(100):
        made.add(rows * (1 + n % 50), np.array([1.0, 2.0]))
    assert made.size == 100
    assert made.copies == 300
    np.testing.assert_array_equal(made.counts, np.tile([2.0, 4.0], 50))
    np.testing.assert_array_equal(made.rows[-2:], rows * 50)


def test_bad_counts_of_one_experiment_are_refused() -> None:
    made = InformationFilter(1, 2)
    effects = povm.pauli_effects(1)[0]
    for counts in ([-1.0, 2.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0]):
        with pytest.raises(InputError, match="counts"):
            made.add(effects, torch.tensor(counts))
    assert made.copies[0] == 0
    assert len(made.record()[0][0]) == 0
    made.add(effects, torch.tensor([3, 4]))
    assert made.copies[0] == 7
