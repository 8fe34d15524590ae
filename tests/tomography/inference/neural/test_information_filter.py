"""The information filter, its coordinates, the learned correction and the posterior sampler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.random import stream
from physml.tomography.core import measurements as povm
from physml.tomography.core import states
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.eigenframe import rotation, scaled_metric, scales, unvec, vec
from physml.tomography.core.operators import fidelity, infidelity, random_unitary
from physml.tomography.inference.neural.corrector import (
    Corrector,
    CovarianceSummary,
    correct,
    features,
    n_outputs,
    root_fidelity,
)
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.neural.information_filter import InformationFilter


def rng(index: int = 0) -> np.random.Generator:
    return stream(4, "test", index)


def network(d: int) -> Corrector:
    """Untrained, but not the identity."""
    torch.manual_seed(3)
    made = Corrector(d, 16, 1)
    torch.nn.init.normal_(made.leave.weight, std=0.1)
    return made


def measured(n: int, d: int, name: str, shots: int, own: bool = True, **options: int):
    """Filter after six bases of `shots` copies each, and the true states."""
    draw = rng(d)
    rho = states.draw(name, n, d, draw)
    made = InformationFilter(n, d, **options)
    for _ in range(6):
        bases = random_unitary(n if own else 1, d, draw)
        effects = povm.basis_effects(bases)
        counts = sample_counts(probabilities(effects, rho), shots, draw)
        made.add(effects if own else effects[0], counts)
    return made, rho


@pytest.mark.parametrize("d", [2, 4])
def test_coordinates_are_orthonormal_and_turn(d: int) -> None:
    a, b = (states.draw("hs", 5, d, rng(i)) for i in (1, 2))
    product = torch.einsum("sij,sji->s", a, b).real
    torch.testing.assert_close((vec(a) * vec(b)).sum(-1), product)
    torch.testing.assert_close(unvec(vec(a)), a)
    u = random_unitary(5, d, rng(3))
    turned = (rotation(u) @ vec(a)[..., None])[..., 0]
    torch.testing.assert_close(turned, vec(u @ a @ u.mH))


def test_metric_is_that_of_the_infidelity() -> None:
    values = torch.tensor([[0.6, 0.25, 0.1, 0.05]], dtype=torch.float64)
    rho = torch.diag_embed(values).to(torch.complex128)
    y = torch.as_tensor(rng(4).normal(size=(1, 16))) * 1e-4
    y[:, 0] -= (values * y[:, :4]).sum() / values[0, 0]  # the trace stays
    near = rho + unvec(y * scales(values))
    expected = (scaled_metric(values) * y.square()).sum(-1)
    torch.testing.assert_close(infidelity(rho, near), expected, rtol=2e-3, atol=0)


def test_one_qubit_in_its_eigenbasis_has_a_closed_form() -> None:
    made = InformationFilter(1, 2, tolerance=1e-9, steps=50)
    made.add(povm.pauli_effects(1)[2], torch.tensor([[73, 4]]))
    # p^n (1 - p)^m (p (1 - p))^beta is largest at (n + beta) / (n + m + 2 beta).
    torch.testing.assert_close(made.values[0, 0].item(), 73.5 / 78)
    assert made.matrix()[0, 0, 1].abs() < 1e-6


@pytest.mark.parametrize("name", ["hs", "pure"])
def test_the_gradient_vanishes_at_the_maximum(name: str) -> None:
    made, _ = measured(4, 4, name, 200, window=10**6, tolerance=1e-8, steps=60)
    rows, counts = made.record()
    x = vec(made.matrix())
    p = (rows @ x[..., None])[..., 0]
    gradient = (rows.mT @ (counts / p)[..., None])[..., 0] + made.beta * vec(
        torch.linalg.inv(made.matrix())
    )
    total = made.copies + made.beta * 4
    one = vec(torch.eye(4, dtype=torch.complex128)) * total[:, None]
    assert ((gradient - one) / total[:, None]).abs().max() < 1e-6


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(9)), st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_order_and_grouping_leave_no_trace(order: list[int], seed: int, part: float) -> None:
    draw = np.random.default_rng(seed)
    rho = states.draw("mixture", 1, 4, draw)
    effects = povm.pauli_effects(2)
    counts = [sample_counts(probabilities(e, rho), 50, draw) for e in effects]
    one, other = NeuralEstimator({4: network(4)}), NeuralEstimator({4: network(4)})
    for estimator in (one, other):
        estimator.start(1, 4, draw)
    for e, c in zip(effects, counts, strict=True):
        one.update(e, c)
    first = [(c * part).floor() for c in counts]
    for k in order:
        other.update(effects[k], first[k])
    for k in reversed(order):
        other.update(effects[k], counts[k] - first[k])
    # Each is followed until a step is below 1e-5 of what is uncertain (`neural.EXACT`).
    torch.testing.assert_close(one.estimate(), other.estimate(), atol=1e-5, rtol=0)


def test_what_leaves_the_window_is_hardly_missed() -> None:
    rho = states.draw("hs", 40, 4, rng(7))
    filters = [InformationFilter(40, 4, window=w, steps=6, tolerance=0.01) for w in (24, 10**6)]
    draw = rng(8)
    for shots in (20, 40, 80, 160, 320, 640, 1280, 2560, 5120):
        effects = povm.basis_effects(random_unitary(40, 4, draw))
        counts = sample_counts(probabilities(effects, rho), shots, draw)
        for made in filters:
            made.add(effects, counts)
    short, full = filters
    assert short.record()[0].shape[1] <= 24 < full.record()[0].shape[1]
    apart = infidelity(short.matrix(), full.matrix()).mean()
    assert apart < 0.1 * infidelity(full.matrix(), rho).mean()


@pytest.mark.parametrize("d", [2, 4])
def test_own_and_shared_measurements_give_the_same(d: int) -> None:
    own, _ = measured(6, d, "hs", 100, own=False, window=10**6, steps=40, tolerance=1e-9)
    draw = rng(d)
    rho = states.draw("hs", 6, d, draw)
    wide = InformationFilter(6, d, window=10**6, steps=40, tolerance=1e-9)
    for _ in range(6):
        effects = povm.basis_effects(random_unitary(1, d, draw))[0]
        counts = sample_counts(probabilities(effects, rho), 100, draw)
        wide.add(effects.expand(6, -1, -1, -1), counts)
    torch.testing.assert_close(own.matrix(), wide.matrix(), atol=1e-6, rtol=0)


def test_a_million_million_copies_and_outcomes_never_seen() -> None:
    made = InformationFilter(1, 2, tolerance=1e-6, steps=60)
    for effects, counts in zip(
        povm.pauli_effects(1), ([5e11, 5e11], [5e11, 5e11], [1e12, 0]), strict=True
    ):
        made.add(effects, torch.tensor([counts]))
    truth = torch.tensor([[[1, 0], [0, 0]]], dtype=torch.complex128)
    assert infidelity(made.matrix(), truth) < 1e-11
    assert torch.isfinite(made.information).all()


def test_the_estimate_turns_with_the_state() -> None:
    draw = rng(9)
    rho = states.draw("rank_adaptive", 20, 4, draw)
    turn = random_unitary(20, 4, draw)
    one, other = NeuralEstimator({4: network(4)}), NeuralEstimator({4: network(4)})
    for estimator in (one, other):
        estimator.window, estimator.steps, estimator.tolerance = 10**6, 60, 1e-9
        estimator.start(20, 4, draw)
    for _ in range(7):
        effects = povm.basis_effects(random_unitary(20, 4, draw))
        counts = sample_counts(probabilities(effects, rho), 60, draw)
        one.update(effects, counts)
        other.update(turn[:, None] @ effects @ turn[:, None].mH, counts)
    torch.testing.assert_close(turn @ one.estimate() @ turn.mH, other.estimate(), atol=1e-6, rtol=0)
    torch.testing.assert_close(one.spread(), other.spread(), atol=1e-5, rtol=1e-4)
    values = torch.linalg.eigvalsh(one.estimate())
    assert values.min() > -1e-12
    torch.testing.assert_close(values.sum(-1), torch.ones(20, dtype=torch.float64))


def test_root_fidelity_and_its_gradient_survive_degenerate_states() -> None:
    truth = torch.eye(4, dtype=torch.complex128)[None, :, :1].repeat(1, 1, 4) * 0.5
    root = torch.eye(4, dtype=torch.complex128)[None] * 0.5
    expected = fidelity(root @ root.mH, truth @ truth.mH).sqrt()
    torch.testing.assert_close(root_fidelity(root, truth), expected)
    full = states.draw("hs", 3, 4, rng(11))
    b = torch.linalg.cholesky(full)
    a = torch.linalg.cholesky(states.draw("hs", 3, 4, rng(12))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: root_fidelity(x, b), a, atol=1e-5)


def test_corrections_fade_as_copies_come_in() -> None:
    raw = torch.ones(1, n_outputs(4))
    values = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)
    moved = []
    for n in (1e2, 1e4, 1e12):
        covariance = torch.eye(16, dtype=torch.float64)[None] / n
        raw[:, 0] = -1
        made = correct(raw, CovarianceSummary.of(values, covariance))
        moved.append(float((made.values - values).abs().max()))
    assert moved[0] > 5 * moved[1] > 0
    assert moved[2] < 1e-5


def test_features_do_not_know_the_phases() -> None:
    values = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)
    a = torch.as_tensor(rng(13).normal(size=(1, 16, 20)))
    covariance = a @ a.mT
    phases = torch.exp(1j * torch.as_tensor(rng(14).uniform(0, 6, 4)))
    q = rotation(torch.diag(phases)[None])
    copies = torch.tensor([300.0], dtype=torch.float64)
    one = features(values, covariance, copies)
    other = features(values, q @ covariance @ q.mT, copies)
    torch.testing.assert_close(one, other)
