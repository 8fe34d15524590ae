"""What holds for any state, any measurement and any rotation."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.random import stream
from physml.tomography.core import born as measure
from physml.tomography.core import measurements as povm
from physml.tomography.core import operators as op
from physml.tomography.core import readout, states

NAMES = [name for name in states.ENSEMBLES if name != "bell"]

seeds = st.integers(0, 2**32)
dimensions = st.sampled_from([2, 4, 8])
names = st.sampled_from(NAMES)


@given(seed=seeds, d=dimensions, a=names, b=names)
@settings(max_examples=40, deadline=None)
def test_fidelity_is_one_of_probabilities(seed, d, a, b):
    rng = stream(seed, "test", 0)
    rho, sigma = states.draw(a, 3, d, rng), states.draw(b, 3, d, rng)
    fidelity = op.fidelity(rho, sigma)
    assert (fidelity >= 0).all()
    assert (fidelity <= 1).all()
    assert torch.allclose(fidelity, op.fidelity(sigma, rho), atol=1e-9)
    u = op.random_unitary(3, d, rng)
    turned = op.fidelity(u @ rho @ u.mH, u @ sigma @ u.mH)
    assert torch.allclose(fidelity, turned, atol=1e-7)
    # Fuchs, van de Graaf: 1 - sqrt F <= T <= sqrt(1 - F).
    distance = op.trace_distance(rho, sigma)
    assert (1 - fidelity.sqrt() <= distance + 1e-7).all()
    assert (distance <= (1 - fidelity).sqrt() + 1e-7).all()
    # No measurement tells them apart better than the fidelity allows.
    effects = povm.basis_effects(u)
    p, q = (measure.probabilities(effects, x).clamp(min=0) for x in (rho, sigma))
    assert ((p * q).sqrt().sum(-1).square() >= fidelity - 1e-7).all()


@given(seed=seeds, d=dimensions)
@settings(max_examples=40, deadline=None)
def test_projection_gives_the_nearest_state(seed, d):
    rng = stream(seed, "test", 1)
    h = op.hermitian(op.random_gaussian((4, d, d), rng)) * float(np.exp(rng.normal()))
    near = op.project_to_states(h)
    values = torch.linalg.eigvalsh(near)
    assert values.min() > -1e-12
    assert torch.allclose(values.sum(-1), torch.ones(4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(op.project_to_states(near), near, atol=1e-9)
    # Of a convex set the nearest point is the one from which no other lies ahead.
    others = states.draw("mixture", 50, d, rng)
    ahead = torch.einsum("sij,osij->os", (h - near).conj(), others[:, None] - near).real
    assert ahead.max() < 1e-9


@given(seed=seeds, n=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_probabilities_turn_with_state_and_basis(seed, n):
    rng = stream(seed, "test", 2)
    rho = states.draw("mixture", 3, 1 << n, rng)
    u, v = op.random_unitary(3, 1 << n, rng), op.random_unitary(3, 1 << n, rng)
    p = measure.probabilities(povm.basis_effects(v), rho)
    turned = measure.probabilities(povm.basis_effects(u @ v), u @ rho @ u.mH)
    assert torch.allclose(p, turned, atol=1e-12)
    assert torch.allclose(p.sum(-1), torch.ones(3, dtype=torch.float64), atol=1e-12)
    confusion = readout.flips(*rng.uniform(0, 0.5, (2, n)))
    noisy = readout.Readout(confusion)(povm.basis_effects(v))
    joint = readout.joint_confusion(torch.from_numpy(confusion))
    assert torch.allclose(measure.probabilities(noisy, rho), p @ joint.mT, atol=1e-12)
    for effects in noisy:
        povm.check(effects.numpy())


@given(seed=seeds, n=st.integers(2, 3))
@settings(max_examples=20, deadline=None)
def test_what_is_local_to_one_qubit_changes_no_other(seed, n):
    rng = stream(seed, "test", 3)
    rho = states.draw("mixture", 2, 1 << n, rng)
    factors = [torch.eye(2, dtype=torch.complex128).expand(2, 2, 2) for _ in range(n)]
    factors[0] = op.random_unitary(2, 2, rng)
    u = op.kron_all(factors)
    rest = list(range(1, n))
    kept = op.partial_trace(u @ rho @ u.mH, rest)
    assert torch.allclose(kept, op.partial_trace(rho, rest), atol=1e-12)
    assert torch.allclose(op.purity(u @ rho @ u.mH), op.purity(rho), atol=1e-12)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_concurrence_is_local(seed):
    rng = stream(seed, "test", 4)
    rho = states.draw("bell", 3, 4, rng)
    u = op.kron_all(op.random_unitary(6, 2, rng).reshape(3, 2, 2, 2))
    found = op.concurrence(rho)
    assert torch.allclose(op.concurrence(u @ rho @ u.mH), found, atol=1e-7)
    # A concurrence needs a marginal that is not pure: C^2 <= 2 (1 - tr rho_A^2).
    bound = 2 * (1 - op.purity(op.partial_trace(rho, [0])))
    assert (found.square() <= bound + 1e-9).all()


@given(seed=seeds, shots=st.lists(st.integers(0, 10**12), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_no_copy_is_lost(seed, shots):
    rng = stream(seed, "test", 5)
    p = torch.from_numpy(rng.dirichlet(np.ones(5), len(shots)))
    counts = measure.sample_counts(p, shots, rng)
    assert counts.sum(-1).long().tolist() == shots
    assert (counts >= 0).all()
