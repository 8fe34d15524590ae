"""Limits agree with each other, with direct simulation and with optimal designs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.random import stream
from physml.tomography.core import limits, states
from physml.tomography.core import operators as op
from physml.tomography.core.basis import basis_effects
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.fixed_measurements import BASES, mub_bases
from physml.tomography.core.likelihood import fisher_information
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.evaluation.limit_designs import best_bases


def rng(index: int = 0) -> np.random.Generator:
    return stream(7, "test", index)


def test_gill_massar():
    assert limits.gill_massar(2, 1) == 2.25
    assert limits.gill_massar(4, 1) == 18.75
    assert limits.gill_massar(4, [10, 100]).tolist() == [1.875, 0.1875]
    assert limits.gill_massar_pure(2, 1) == 1
    assert limits.gill_massar_pure(4, 10) == pytest.approx(0.3)


def test_holevo():
    for r in (0.0, 0.5, 1.0):
        rho = states.bloch_length(3, 2, rng(), r)
        assert np.allclose(limits.holevo(rho), (3 + 2 * r) / 4)
    values = limits.holevo(states.hilbert_schmidt(1_000, 4, rng()))
    assert np.median(values) == pytest.approx(5.8, abs=0.1)
    # Known pure: 2 (d - 1) parameters only; as a limit of full rank there is more to learn.
    assert limits.holevo(states.pure(1, 4, rng()))[0] == pytest.approx((15 + 6) / 4)
    assert limits.holevo(states.pure(2, 4, rng()), [1, 10]).shape == (2, 2)


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_static_line_is_the_mean_over_directions(r):
    rho = states.bloch_length(20_000, 2, rng(), r)
    found = limits.asymptotic(basis_effects(BASES), rho)
    assert float(found.mean()) == pytest.approx(limits.static_xyz(r, 1), rel=0.01)
    assert limits.static_xyz(r, 100) == pytest.approx(limits.static_xyz(r, 1) / 100)


def test_asymptotic_line_is_what_an_efficient_estimate_reaches():
    """Scoring from the truth is efficient; its mean infidelity is compared by simulation."""
    rho = states.with_white_noise(states.hilbert_schmidt(1, 4, rng()), 0.2)
    settings = list(pauli_effects(2))
    copies, repeats = 10**8, 400
    basis = op.hermitian_basis(4)[1:]
    total = sum(
        fisher_information(op.to_coordinates(e), copies, op.to_coordinates(rho))[0]
        for e in settings
    )
    score = torch.zeros(repeats, 15, dtype=torch.float64)
    noise = rng(1)
    for effects in settings:
        p = probabilities(effects, rho)
        counts = sample_counts(p.expand(repeats, -1), copies, noise)
        slope = torch.einsum("kij,aji->ka", effects, basis).real
        score += ((counts - copies * p) / p) @ slope
    x = torch.linalg.solve(total, score.mT).mT
    estimate = rho + torch.einsum("sa,aij->sij", x.to(rho), basis)
    found = 9 * copies * op.infidelity(rho, estimate)
    error = float(found.std()) / repeats**0.5
    assert abs(float(found.mean()) - float(limits.asymptotic(settings, rho))) < 4 * error


def test_best_bases_of_a_qubit_reach_the_bound_of_gill_and_massar():
    rho = states.with_white_noise(states.hilbert_schmidt(4, 2, rng()), 0.05)
    found = best_bases(rho, "global", rng(), n_bases=6, steps=150)
    assert (found.value >= 2.25 - 1e-9).all()
    assert torch.allclose(found.value, torch.tensor(2.25, dtype=torch.float64), rtol=5e-3)
    again = limits.asymptotic(basis_effects(found.bases[0]), rho[:1], found.shares[0].numpy())
    assert float(again) == pytest.approx(float(found.value[0]), rel=1e-9)


@pytest.mark.slow
def test_best_bases_of_two_qubits():
    rho = states.hilbert_schmidt(6, 4, rng())
    any_basis = best_bases(rho, "global", rng(), steps=300)
    product = best_bases(rho, "product", rng(), steps=300)
    assert (any_basis.value > 18.75).all()
    assert float(any_basis.value.median()) == pytest.approx(
        limits.TWO_QUBITS["hs"]["any basis"], rel=0.05
    )
    # No product can do better than any basis, nor the nine Pauli settings than the best products.
    assert (product.value > any_basis.value).all()
    assert (product.value < limits.asymptotic(pauli_effects(2), rho) * 1.001).all()
    assert (any_basis.floor <= any_basis.value).all()
    assert float((any_basis.floor / any_basis.value).min()) > 0.9


@pytest.mark.parametrize("name", limits.TWO_QUBITS)
def test_lines_of_fixed_settings_are_medians_over_the_ensemble(name):
    rho = states.draw(name, 3_000, 4, rng())
    found = {
        "MUB": limits.asymptotic(basis_effects(mub_bases(2)), rho),
        "Pauli": limits.asymptotic(pauli_effects(2), rho),
    }
    for design, values in found.items():
        line = limits.TWO_QUBITS[name][design]
        assert float(values.median()) == pytest.approx(line, rel=0.12), design


def test_lines_for_plots():
    for name, n in (("hs", 2), ("pure", 2), ("r_0.9", 1), ("r_1", 1), ("thermal", 2)):
        for line in limits.lines(name, n).values():
            assert np.shape(line(np.array([100.0, 1000.0]))) == (2,)
    hs = limits.lines("hs", 2)
    assert hs["Gill-Massar"](100) == pytest.approx(0.1875)
    assert hs["Pauli"](1.0) > hs["product bases"](1.0) > hs["any basis"](1.0) > 18.75
    assert limits.lines("pure", 2)["Gill-Massar, known pure"](1e3) == pytest.approx(0.003)
