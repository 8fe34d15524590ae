"""Ensembles have the moments that theory gives; distances agree with scipy and qutip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from physml.random import stream
from physml.tomography.core import operators as op
from physml.tomography.core import states
from physml.tomography.evaluation.sets import BLOCH, LISTS, evaluation_list, validation_list

N = 4_000

#: First number of a list of each number of qubits.
FIRST = {1: ("r_0.9", 0.6419355625770342), 2: ("hs", 0.029391183905400336)}


def rng(index: int = 0) -> np.random.Generator:
    return stream(5, "test", index)


def is_state(rho: torch.Tensor) -> bool:
    values = torch.linalg.eigvalsh(rho)
    trace = torch.diagonal(rho, dim1=-2, dim2=-1).sum(-1)
    return bool(
        (rho - rho.mH).abs().max() < 1e-14
        and values.min() > -1e-14
        and (trace - 1).abs().max() < 1e-12
    )


@pytest.mark.parametrize("name", states.ENSEMBLES)
@pytest.mark.parametrize("d", [2, 4, 8])
def test_all_ensembles_give_states_whose_mean_is_white(name, d):
    if name == "bell" and d != 4:
        pytest.skip("Bell pairs need an even number of qubits")
    rho = states.draw(name, 600, d, rng())
    assert rho.shape == (600, d, d)
    assert rho.dtype == torch.complex128
    assert is_state(rho)
    # Each is invariant under local unitaries. Five sigma of the mean of 600 bounded entries.
    assert (rho.mean(0) - torch.eye(d) / d).abs().max() < 5 * 0.5 / 600**0.5


def test_unknown_ensemble_is_named():
    with pytest.raises(ValueError, match="'haar'"):
        states.draw("haar", 1, 2, rng())


@pytest.mark.parametrize("d", [2, 4])
def test_purity_of_the_measures(d):
    pure = states.pure(N, d, rng())
    assert torch.allclose(op.purity(pure), torch.ones(N, dtype=torch.float64), atol=1e-12)
    # Second moment of a Haar-random vector.
    p = pure[:, 0, 0].real
    assert float(p.square().mean()) == pytest.approx(2 / (d * (d + 1)), rel=0.05)
    expected = {"hs": 2 * d / (d * d + 1), "bures": (5 * d * d + 1) / (2 * d * (d * d + 2))}
    for name, purity in expected.items():
        found = op.purity(states.draw(name, N, d, rng(1)))
        error = float(found.std()) / N**0.5
        assert abs(float(found.mean()) - purity) < 4 * error


def test_rank_adaptive_reaches_from_hilbert_schmidt_to_pure():
    flat = states.rank_adaptive(N, 4, rng(), largest=0.0)
    assert float(op.purity(flat).mean()) == pytest.approx(8 / 17, abs=0.01)
    steep = op.purity(states.rank_adaptive(N, 4, rng(), largest=20.0))
    assert float((steep > 0.999).double().mean()) > 0.5


def test_white_noise_sets_the_least_eigenvalues():
    values = torch.linalg.eigvalsh(states.draw("pure_white_5", 50, 4, rng()))
    expected = torch.tensor([0.0125, 0.0125, 0.0125, 0.9625], dtype=torch.float64)
    assert torch.allclose(values, expected.expand(50, 4), atol=1e-12)


def test_bloch_length():
    rho = states.bloch_length(50, 2, rng(), 0.9)
    values = torch.linalg.eigvalsh(rho)
    assert torch.allclose(values[:, 1] - values[:, 0], torch.tensor(0.9, dtype=torch.float64))
    with pytest.raises(ValueError, match="d = 4"):
        states.bloch_length(1, 4, rng())


@pytest.mark.parametrize("d", [2, 4])
def test_thermal_states_have_the_spectrum_of_the_hamiltonian(d):
    rho = states.thermal(N, d, rng(), temperature=(0.7, 0.7))
    energy = -0.7 * torch.linalg.eigvalsh(rho).log()
    # tr H^2 - (tr H)^2 / d, in which the partition function falls out: d - 1 / d on average.
    spread = (energy - energy.mean(-1, keepdim=True)).square().sum(-1)
    assert float(spread.mean()) == pytest.approx(d - 1 / d, rel=0.05)
    cold = states.thermal(200, d, rng(), temperature=(1e-3, 1e-3))
    assert float(op.purity(cold).median()) > 0.99


def test_two_qubit_ghz_has_the_concurrence_of_its_noise():
    for name in ("ghz", "w"):
        rho = states.draw(name, 200, 4, rng())
        noise = 1 - ((op.purity(rho) - 0.25) / 0.75).sqrt()
        assert float(noise.min()) > 0.9e-3
        assert float(noise.max()) < 0.31
        assert torch.allclose(op.concurrence(rho), (1 - 1.5 * noise).clamp(min=0), atol=1e-9)


def test_three_qubit_families_differ_in_what_is_left_when_a_qubit_is_lost():
    left = {
        name: op.concurrence(op.partial_trace(states.draw(name, 100, 8, rng()), [0, 2]))
        for name in ("ghz", "w")
    }
    assert float(left["ghz"].max()) < 1e-9
    # Of a W state without noise 2/3 is left.
    assert 0.55 < float(left["w"].max()) < 2 / 3
    assert float(left["w"].median()) > 0.4


def test_bell_states_are_mixtures_of_maximally_entangled_ones():
    rho = states.bell(100, 4, rng())
    vectors = torch.linalg.eigh(rho).eigenvectors
    each = states.projector(vectors.mT)
    assert float(op.concurrence(each).min()) > 1 - 1e-6
    assert float(torch.linalg.eigvalsh(rho)[:, -1].min()) > 0.7
    marginal = op.partial_trace(rho, [1])
    assert (marginal - torch.eye(2) / 2).abs().max() < 1e-12


def test_mixture_has_the_shares_of_its_parts():
    rho, label = states.labelled_mixture(N, 4, rng(), {"pure": 1.0, "hs": 3.0})
    assert float((label == 0).mean()) == pytest.approx(0.25, abs=0.03)
    pure = op.purity(rho) > 1 - 1e-9
    assert (pure.numpy() == (label == 0)).all()


@pytest.mark.parametrize("n_qubits", [1, 2])
def test_frozen_lists_are_frozen(n_qubits):
    for name in LISTS[n_qubits]:
        whole = evaluation_list(name, n_qubits)
        assert whole.shape == (160, 1 << n_qubits, 1 << n_qubits)
        assert is_state(whole)
        assert torch.equal(evaluation_list(name, n_qubits, 7), whole[:7])
        other = validation_list(name, n_qubits)
        assert (other - whole).abs().amax((1, 2)).min() > 1e-6
        assert (validation_list(name, n_qubits, page=1) - other).abs().amax((1, 2)).min() > 1e-6
        if name in BLOCH:
            length = (2 * op.purity(whole) - 1).sqrt()
            assert torch.allclose(length, torch.tensor(BLOCH[name], dtype=torch.float64))
    # The numbers themselves: a change of any draw would make old figures worthless.
    name, first = FIRST[n_qubits]
    found = evaluation_list(name, n_qubits, 1)[0, 0, 0].real
    assert float(found) == pytest.approx(first, abs=1e-12)


@pytest.mark.parametrize("d", [2, 4, 8])
def test_fidelity_agrees_with_matrix_roots(d):
    pairs = [
        (states.draw(a, 6, d, rng(1)), states.draw(b, 6, d, rng(2)))
        for a, b in (("hs", "bures"), ("hs", "pure"), ("pure_white_1", "hs"))
    ]
    for rho, sigma in pairs:
        for a, b, found in zip(rho.numpy(), sigma.numpy(), op.fidelity(rho, sigma), strict=True):
            root = sqrtm(a)
            expected = np.trace(sqrtm(root @ b @ root)).real ** 2
            assert float(found) == pytest.approx(expected, abs=1e-7)


def test_fidelity_of_rank_deficient_states_is_exact():
    psi, phi = op.random_gaussian((2, 50, 4), rng())
    a, b = states.projector(psi), states.projector(phi)
    overlap = (psi.conj() * phi).sum(-1).abs() ** 2
    overlap = overlap / psi.abs().square().sum(-1) / phi.abs().square().sum(-1)
    assert torch.allclose(op.fidelity(a, b), overlap, rtol=1e-11, atol=0)
    mixed = states.hilbert_schmidt(50, 4, rng())
    inside = torch.einsum("si,sij,sj->s", psi.conj(), mixed, psi).real / psi.abs().square().sum(-1)
    assert torch.allclose(op.fidelity(a, mixed), inside, rtol=1e-11, atol=0)
    assert float(op.infidelity(a, a).abs().max()) < 1e-13
    low, high = torch.diag_embed(torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]).to(mixed))
    assert float(op.fidelity(low, high)) == 0
    assert float(op.fidelity(low, low)) == pytest.approx(1, abs=1e-14)


def test_distances_agree_with_qutip():
    qutip = pytest.importorskip("qutip")
    from physml.tomography.core.qobj import to_qutip

    rho, sigma = states.hilbert_schmidt(5, 4, rng(3)), states.bures(5, 4, rng(4))
    for i in range(5):
        a, b = to_qutip(rho[i]), to_qutip(sigma[i])
        # qutip's fidelity is the root.
        assert float(op.fidelity(rho, sigma)[i]) == pytest.approx(qutip.fidelity(a, b) ** 2)
        assert float(op.trace_distance(rho, sigma)[i]) == pytest.approx(qutip.tracedist(a, b))
        assert float(op.purity(rho)[i]) == pytest.approx(a.purity())
        assert float(op.concurrence(rho)[i]) == pytest.approx(qutip.concurrence(a), abs=1e-7)
        for keep in (0, 1):
            kept = a.ptrace(keep).full()
            assert np.allclose(op.partial_trace(rho[i], [keep]).numpy(), kept, atol=1e-13)


def test_concurrence_of_known_states():
    werner = states.with_white_noise(
        states.projector(states.bell_basis().mT), torch.tensor([0.0, 0.2, 0.5, 0.9])
    )
    expected = torch.tensor([1.0, 0.7, 0.25, 0.0], dtype=torch.float64)
    assert torch.allclose(op.concurrence(werner), expected, atol=1e-7)
    with pytest.raises(ValueError, match="d = 8"):
        op.concurrence(torch.eye(8) / 8)


def test_haar_unitaries_are_unitary_and_uniform():
    u = op.random_unitary(N, 3, rng())
    assert (u.mH @ u - torch.eye(3)).abs().max() < 1e-13
    # Frame potential of a group average: E |tr U|^2 = 1, E |tr U|^4 = 2.
    trace = torch.diagonal(u, dim1=1, dim2=2).sum(-1).abs()
    assert float(trace.square().mean()) == pytest.approx(1, abs=0.08)
    assert float(trace.pow(4).mean()) == pytest.approx(2, abs=0.35)
    # Phases are uniform only if QR's choice is undone.
    assert float(u[:, 0, 0].real.mean()) == pytest.approx(0, abs=0.04)


@pytest.mark.parametrize("d", [2, 4, 8])
def test_hermitian_basis_is_orthonormal(d):
    basis = op.hermitian_basis(d)
    gram = torch.einsum("aij,bji->ab", basis, basis)
    assert torch.allclose(gram, torch.eye(d * d).to(gram), atol=1e-14)
    assert torch.equal(basis, basis.mH)
    assert torch.allclose(basis[0], torch.eye(d).to(basis) / d**0.5)
    h = op.hermitian(op.random_gaussian((7, d, d), rng()))
    assert torch.allclose(op.from_coordinates(op.to_coordinates(h)), h, atol=1e-13)
    expected = torch.einsum("aij,sji->sa", basis, h).real
    assert torch.allclose(op.to_coordinates(h), expected, atol=1e-13)


def test_products_have_qubit_zero_on_the_left():
    a, b, c = op.random_gaussian((3, 2, 2), rng())
    expected = np.kron(np.kron(a.numpy(), b.numpy()), c.numpy())
    assert np.allclose(op.kron_all([a, b, c]).numpy(), expected)
    assert np.allclose(op.kron_all(torch.stack([a, b, c])).numpy(), expected)
    product = states.projector(torch.kron(a[0], b[0]))
    assert torch.allclose(op.partial_trace(product, [0]), states.projector(a[0]), atol=1e-13)
    assert torch.allclose(op.partial_trace(product, [1]), states.projector(b[0]), atol=1e-13)
    swapped = states.projector(torch.kron(b[0], a[0]))
    assert torch.allclose(op.partial_trace(product, [1, 0]), swapped, atol=1e-13)
