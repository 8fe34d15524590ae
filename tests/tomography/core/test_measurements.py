"""Born's rule, identities of the fixed measurements, readout errors, shot noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.random import stream
from physml.tomography.core import born as measure
from physml.tomography.core import fixed_measurements as fixed_povm
from physml.tomography.core import measurements as povm
from physml.tomography.core import operators as op
from physml.tomography.core import readout, states


def rng(index: int = 0) -> np.random.Generator:
    return stream(6, "test", index)


def all_settings(n: int) -> list[povm.Setting]:
    random = op.random_unitary(n + 1, 2, rng())
    out = [
        *povm.pauli_settings(n, 10),
        povm.sic(n, 10),
        povm.pairwise(n, 10),
        povm.product_setting(random[:n], 10, "random product"),
        povm.global_setting(op.random_unitary(1, 1 << n, rng())[0], 10, "random"),
    ]
    if n <= 2:
        out += [povm.sic(n, 10, joint=True), *povm.mub(n, 10)]
    return out


@pytest.mark.parametrize("n", [1, 2, 3])
def test_all_settings_are_measurements(n):
    rho = states.draw("hs", 20, 1 << n, rng())
    for setting in all_settings(n):
        povm.check(setting.effects)
        effects = torch.from_numpy(setting.effects)
        p = measure.probabilities(effects, rho)
        assert p.shape == (20, len(effects))
        assert len(setting.outcomes) == len(effects)
        assert torch.allclose(p.sum(-1), torch.ones(20, dtype=torch.float64), atol=1e-12)
        assert float(p.min()) > -1e-14
        traced = torch.einsum("kij,sji->sk", effects, rho)
        assert torch.allclose(p, traced.real, atol=1e-13)
        own = effects.expand(20, -1, -1, -1)
        assert torch.allclose(measure.probabilities(own, rho), p, atol=1e-13)


def test_columns_are_the_basis_vectors_and_the_first_is_plus_one():
    for axis, pauli in zip(fixed_povm.BASES, op.PAULI[1:], strict=True):
        assert torch.allclose(pauli @ axis[:, 0], axis[:, 0])
        assert torch.allclose(pauli @ axis[:, 1], -axis[:, 1])


def test_outcomes_of_product_settings_are_digits_of_the_qubits():
    zero, one = torch.eye(2, dtype=torch.complex128)
    setting = povm.product_setting(fixed_povm.BASES[[2, 2, 2]], 1)
    rho = states.projector(op.kron_all([zero[:, None], one[:, None], one[:, None]])[:, 0])
    p = measure.probabilities(torch.from_numpy(setting.effects), rho[None])[0]
    assert setting.outcomes[int(p.argmax())] == "011"
    assert float(p.max()) == pytest.approx(1)


def test_probabilities_are_those_of_rotated_then_counted_states():
    """The laboratory applies the conjugate transpose of the basis, then measures 0 and 1."""
    setting = povm.product_setting(op.random_unitary(2, 2, rng()), 1)
    assert setting.local is not None
    rho = states.hilbert_schmidt(1, 4, rng())
    turn = np.kron(setting.local[0], setting.local[1]).conj().T
    expected = np.diag(turn @ rho[0].numpy() @ turn.conj().T).real
    found = measure.probabilities(torch.from_numpy(setting.effects), rho)[0]
    assert np.allclose(found, expected)


@pytest.mark.parametrize(("n", "joint"), [(1, False), (1, True), (2, True)])
def test_sic_overlaps_are_equal(n, joint):
    d = 1 << n
    effects = fixed_povm.sic_effects(n, joint)
    assert len(effects) == d * d
    overlap = d * d * torch.einsum("aij,bji->ab", effects, effects).real
    expected = (d * torch.eye(d * d) + 1).to(overlap) / (d + 1)
    assert torch.allclose(overlap, expected, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2])
def test_bases_are_mutually_unbiased(n):
    d = 1 << n
    bases = fixed_povm.mub_bases(n)
    assert bases.shape == (d + 1, d, d)
    overlap = torch.einsum("aij,bik->abjk", bases.conj(), bases).abs().square()
    for a in range(d + 1):
        for b in range(d + 1):
            expected = torch.eye(d) if a == b else torch.full((d, d), 1 / d)
            assert torch.allclose(overlap[a, b], expected.double(), atol=1e-13)


@pytest.mark.parametrize("n", [1, 2])
def test_sets_are_informationally_complete(n):
    d = 1 << n
    sets = {
        "pauli": povm.pauli_settings(n),
        "mub": povm.mub(n),
        "sic": [povm.sic(n)],
        "joint": [povm.sic(n, joint=True)],
        "pairwise": [povm.pairwise(n)],
    }
    for name, settings in sets.items():
        rows = np.concatenate([s.effects.reshape(len(s.effects), -1) for s in settings])
        assert np.linalg.matrix_rank(rows) == d * d, name
    assert np.linalg.matrix_rank(sets["pauli"][0].effects.reshape(d, -1)) == d


def test_counts_have_the_means_and_covariances_of_shot_noise():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    counts = measure.sample_counts(p.expand(20_000, 3), 50, rng())
    assert (counts.sum(-1) == 50).all()
    assert torch.equal(counts, counts.round())
    assert torch.allclose(counts.mean(0), 50 * p, atol=0.15)
    expected = 50 * (torch.diag(p) - torch.outer(p, p))
    assert torch.allclose(torch.cov(counts.T), expected, atol=0.4)


def test_counts_of_many_copies_and_of_each_state_its_own():
    p = torch.tensor([[1 / 3, 2 / 3], [1.0, 0.0]], dtype=torch.float64)
    counts = measure.sample_counts(p, np.array([10**12, 7]), rng())
    assert counts.sum(-1).tolist() == [1e12, 7]
    assert counts[1].tolist() == [7, 0]
    # Five sigma of a binomial.
    assert abs(float(counts[0, 0]) - 1e12 / 3) < 5 * (1e12 * 2 / 9) ** 0.5


@pytest.mark.parametrize("p", [[0.5, 0.6], [1.1, -0.1], [float("nan"), 1.0]])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="probabilities"):
        measure.sample_counts(torch.tensor([p], dtype=torch.float64), 10, rng())


def test_drift_goes_from_one_state_to_the_other():
    a, b = states.pure(3, 4, rng()), states.bures(3, 4, rng(1))
    path = measure.drift(a, b, 5)
    assert torch.equal(path[0], a)
    assert torch.allclose(path[-1], b)
    assert torch.allclose(path[2], 0.5 * (a + b))
    assert torch.equal(measure.drift(a, b, 1)[0], a)


def test_readout_errors_shrink_expectation_values():
    confusion = readout.flips([0.02, 0.1])
    zz = povm.pauli_settings(2)[-1]
    noisy = readout.Readout(confusion)(torch.from_numpy(zz.effects))
    povm.check(noisy.numpy())
    rho = states.hilbert_schmidt(10, 4, rng())
    sign = torch.tensor([1, -1, -1, 1], dtype=torch.float64)
    clean = measure.probabilities(torch.from_numpy(zz.effects), rho) @ sign
    found = measure.probabilities(noisy, rho) @ sign
    assert torch.allclose(found, 0.96 * 0.8 * clean)


def test_readout_of_one_way_errors():
    confusion = readout.flips([0.0, 0.0], [0.3, 0.0])
    zz = torch.from_numpy(povm.pauli_settings(2)[-1].effects)
    one = torch.zeros(1, 4, 4, dtype=torch.complex128)
    one[0, 2, 2] = 1  # qubit 0 in |1>, which is read as 0 in 30 %
    p = measure.probabilities(readout.Readout(confusion)(zz), one)[0]
    assert torch.allclose(p, torch.tensor([0.3, 0.0, 0.7, 0.0], dtype=torch.float64))


def test_confusion_is_found_again_from_calibration():
    true = readout.flips([0.01, 0.08], [0.03, 0.0])
    joint = readout.joint_confusion(torch.from_numpy(true)).numpy()
    counts = np.stack([rng(i).multinomial(20_000, joint[:, i]) for i in range(4)])
    found = readout.estimate_confusion(counts)
    assert found.known
    assert found.error is not None
    assert (np.abs(found.confusion - true) < 4 * found.error).all()
    assert found.error.max() < 0.003
    # A chance that was never seen is small, not impossible.
    assert 0 < found.confusion[1, 0, 1] < 1e-4
    again = readout.Readout.from_dict(found.to_dict())
    assert np.array_equal(again.confusion, found.confusion)


def test_readout_applies_to_bases_only():
    reader = readout.Readout(readout.flips([0.02, 0.1]))
    noisy = reader.apply(povm.pauli_settings(2, 7)[0])
    assert noisy.basis is None
    assert noisy.local is None
    assert noisy.shots == 7
    povm.check(noisy.effects)
    for bad in (povm.sic(2), povm.pauli_settings(1)[0]):
        with pytest.raises(Exception, match="a basis of 2 qubits"):
            reader.apply(bad)
