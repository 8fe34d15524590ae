"""The fitter for qiskit-experiments, with bases as that package has them.

`Basis` follows `LocalMeasurementBasis` of qiskit-experiments 0.14: indices 0, 1, 2 are Z, X, Y,
qubit 0 is the rightmost factor and bit 0 of an outcome. The package itself is not needed: what its
own fitters make of the counts of its issue 1499 was written down (0.14.2, cvxpy 1.9.3).
"""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.tomography.core.operators import infidelity
from physml.tomography.core.readout import flips
from physml.tomography.core.states import hilbert_schmidt
from physml.tomography.inference.qiskit_fitter import qiskit_fitter, turned

ZERO, ONE = np.diag([1.0, 0]), np.diag([0, 1.0])
H = np.array([[1, 1], [1, -1]]) / 2**0.5
SDG = np.diag([1, -1j])
CIRCUITS = [np.eye(2), H, H @ SDG]


class Basis:
    """Pauli measurements, with the readout errors of each qubit."""

    def __init__(self, confusion=None):
        self.confusion = confusion

    def matrix(self, index, outcome, qubits):
        found = np.eye(1)
        for k, (i, q) in enumerate(zip(index, qubits, strict=True)):
            c = np.eye(2) if self.confusion is None else self.confusion[q]
            read = outcome >> k & 1
            effect = c[read, 0] * ZERO + c[read, 1] * ONE
            found = np.kron(CIRCUITS[i].conj().T @ effect @ CIRCUITS[i], found)
        return found


def data(rho, shots, basis, qubits, rng=None):
    """Counts of all bases, expected ones without `rng`; rho with qubit 0 last."""
    n = len(qubits)
    index = np.array(list(product(range(3), repeat=n)))
    p = np.array(
        [[np.trace(basis.matrix(i, k, qubits) @ rho).real for k in range(1 << n)] for i in index]
    )
    counts = (
        np.floor(shots * p) if rng is None else [rng.multinomial(shots, q / q.sum()) for q in p]
    )
    return (
        np.asarray(counts, int)[None],
        np.full(len(index), shots),
        index,
        np.zeros((len(index), 0)),
    )


def state(n, seed=1):
    return hilbert_schmidt(1, 1 << n, np.random.default_rng(seed))[0].numpy()


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("noisy", [False, True])
def test_expected_counts_give_the_state_back(n, noisy):
    """No symmetry hides an order: a random state, other errors on each qubit, other qubits."""
    rho, qubits = state(n), (4, 2)[:n]
    confusion = dict(zip((4, 2), flips([0.05, 0.2], [0.1, 0.02]), strict=True))
    basis = Basis(confusion if noisy else None)
    arrays = data(rho, 10**9, basis, qubits)
    (found,), metadata = qiskit_fitter(
        *arrays,
        measurement_basis=basis,
        measurement_qubits=qubits,
        estimator="maximum_likelihood",
        target=rho,
        goodness=False,
    )
    assert np.abs(found - rho).max() < 1e-5
    fidelity = metadata["functionals"][0]
    assert fidelity["name"] == "fidelity"
    assert fidelity["value"] == pytest.approx(1, abs=1e-8)
    assert metadata["copies"] == arrays[0].sum()


def linear_inversion(outcome, shots, index, basis, qubits):
    """Dual basis of all effects, as the linear inversion of qiskit-experiments."""
    effects, p = [], []
    for counts, number, i in zip(outcome[0], shots, index, strict=True):
        effects += [basis.matrix(i, k, qubits).ravel() for k in range(len(counts))]
        p += list(counts / number)
    x, *_ = np.linalg.lstsq(np.array(effects).conj(), np.array(p), rcond=None)
    return x.reshape([1 << len(qubits)] * 2)


def test_linear_inversion_is_the_same_as_by_dual_bases():
    """Of a state of full rank, where neither needs to make anything positive."""
    rho, qubits, basis = 0.5 * state(2) + 0.125 * np.eye(4), (0, 1), Basis()
    arrays = data(rho, 5000, basis, qubits, np.random.default_rng(3))
    (found,), _ = qiskit_fitter(
        *arrays, measurement_basis=basis, estimator="linear", goodness=False
    )
    theirs = linear_inversion(*arrays[:3], basis, qubits)
    assert np.linalg.eigvalsh(theirs).min() > 0
    assert np.abs(found - theirs).max() < 5e-3  # weights of the outcomes differ
    gap = infidelity(torch.from_numpy(found), torch.from_numpy(theirs))
    assert float(gap) < 1e-3


#: Issue 1499 of qiskit-experiments: a Bell state, and what was read of 00 and of 11.
ISSUE = {
    "XX": {"01": 38, "10": 40, "00": 450, "11": 496},
    "XY": {"10": 254, "00": 254, "11": 259, "01": 257},
    "XZ": {"01": 242, "00": 244, "10": 266, "11": 272},
    "YX": {"01": 249, "10": 273, "11": 231, "00": 271},
    "YY": {"01": 458, "11": 44, "00": 37, "10": 485},
    "YZ": {"01": 261, "00": 252, "11": 241, "10": 270},
    "ZX": {"01": 244, "10": 260, "00": 264, "11": 256},
    "ZY": {"10": 245, "11": 262, "00": 264, "01": 253},
    "ZZ": {"01": 40, "10": 28, "00": 432, "11": 524},
}
READ = {
    "00": {"01": 30, "11": 1, "00": 953, "10": 40},
    "11": {"01": 47, "00": 3, "10": 37, "11": 937},
}
BELL = np.outer([1, 0, 0, 1], [1, 0, 0, 1]) / 2


def assignment(qubit):
    """P(read | prepared) of one qubit, as the local mitigator has it."""
    table = np.zeros((2, 2))
    for prepared, counts in enumerate(READ.values()):
        for bits, number in counts.items():
            table[int(bits[::-1][qubit]), prepared] += number
    return table / table.sum(0)


@pytest.mark.parametrize(
    ("mitigated", "linear", "gaussian", "purity"),
    [(False, 0.8892, 0.8894, 0.7962), (True, 0.9878, 0.9902, 0.9769)],
)
def test_their_own_fitters_say_the_same(mitigated, linear, gaussian, purity):
    """`linear_inversion` and `cvxpy_gaussian_lstsq`, made positive as the analysis does it."""
    basis = Basis([assignment(0), assignment(1)] if mitigated else None)
    index = np.array([["ZXY".index(a) for a in label[::-1]] for label in ISSUE])
    counts = np.array([[c[format(k, "02b")] for k in range(4)] for c in ISSUE.values()])[None]
    found = {}
    for name in ("linear", "maximum_likelihood"):
        (rho,), _ = qiskit_fitter(
            counts,
            counts[0].sum(-1),
            index,
            np.zeros((9, 0)),
            measurement_basis=basis,
            estimator=name,
            goodness=False,
        )
        found[name] = float(np.trace(BELL @ rho).real), float(np.trace(rho @ rho).real)
    assert found["linear"] == pytest.approx((linear, purity), abs=1e-4)
    # Their weights are those of Gaussian errors at the frequencies, ours the likelihood's.
    assert found["maximum_likelihood"][0] == pytest.approx(gaussian, abs=1e-3)


def test_metadata_is_plain_and_says_the_errors():
    rho, basis = state(2), Basis()
    arrays = data(rho, 400, basis, (0, 1), np.random.default_rng(1))
    (found,), metadata = qiskit_fitter(*arrays, measurement_basis=basis, target=rho)
    assert json.loads(json.dumps(metadata))["estimator"] == "neural"
    assert metadata["output_dims"] == (2, 2)
    assert metadata["goodness_of_fit"]["p_value"] > 1e-3
    assert 0 < metadata["region"]["infidelity"] < 0.2
    names = [f["name"] for f in metadata["functionals"]]
    assert names == ["fidelity", "purity", "concurrence"]
    assert float(infidelity(torch.from_numpy(found), torch.from_numpy(rho))) < 0.1


def test_counts_that_do_not_add_up():
    basis = Basis()
    outcome, shots, *rest = data(state(1), 100, basis, (0,), np.random.default_rng(1))
    options = {"measurement_basis": basis, "estimator": "linear", "goodness": False}
    _, metadata = qiskit_fitter(outcome, shots + 20, *rest, **options)
    assert "do not add up to their shots" in metadata["warnings"][0]
    with pytest.raises(InputError, match="no more counts than shots"):
        qiskit_fitter(outcome, shots - 1, *rest, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preparation_data": np.zeros((3, 1))}, "that of a process"),
        ({"outcome_data": np.ones((2, 3, 2))}, "2 conditional components"),
        ({"conditional_measurement_indices": [0]}, "conditional indices"),
        ({"measurement_basis": None}, "a basis with matrix"),
        ({"outcome_data": np.full((1, 3, 2), 0.5)}, "whole counts"),
        ({"outcome_data": np.ones((1, 3, 4))}, "2 outcomes"),
        ({"outcome_data": np.ones((1, 2, 2))}, "counts .* of bases"),
        ({"level": 1.5}, "between 0 and 1"),
        ({"target": np.ones(3)}, "2.n rows"),
    ],
)
def test_what_is_no_tomography_of_a_state_is_refused(change, message):
    names = ("outcome_data", "shot_data", "measurement_data", "preparation_data")
    basis = Basis()
    arguments = dict(zip(names, data(state(1), 100, basis, (0,)), strict=True))
    arguments |= {"measurement_basis": basis, "estimator": "linear", "shot_data": None}
    with pytest.raises(InputError, match=message):
        qiskit_fitter(**{**arguments, **change})


def test_qubits_turned_twice_are_as_before():
    rho = state(3)
    assert np.array_equal(turned(turned(rho)), rho)
    a, b, c = (state(1, seed) for seed in (1, 2, 3))
    assert np.allclose(turned(np.kron(np.kron(a, b), c)), np.kron(np.kron(c, b), a))
