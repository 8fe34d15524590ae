"""Hedged fits and the test for known faults: against other optimisers, symmetries and laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.tomography.core.measurements import (
    from_effects,
    global_setting,
    pauli_settings,
    product_setting,
)
from physml.tomography.core.operators import from_coordinates, random_unitary, to_coordinates
from physml.tomography.core.states import draw
from physml.tomography.inference.classical.likelihood import maximum_likelihood
from physml.tomography.inference.fit.directed import FaultSearch, _p_value, find_fault
from physml.tomography.inference.fit.faults import faults_of
from physml.tomography.inference.fit.hedged import BETA, hedged_maximum


def rows_of(settings):
    return [to_coordinates(torch.from_numpy(s.effects)).numpy() for s in settings]


def product_settings(number, shots, rng):
    local = torch.as_tensor(random_unitary(2 * number, 2, rng)).reshape(number, 2, 2, 2)
    return [product_setting(local[k], shots, f"m{k}") for k in range(number)]


def counts_of(rows, rho, shots, rng):
    x = to_coordinates(rho).numpy()
    out = []
    for row in rows:
        p = np.maximum(row @ x, 0)
        out.append(rng.multinomial(shots, p / p.sum()))
    return out


@pytest.mark.parametrize("ensemble", ["pure", "hs"])
@pytest.mark.parametrize("qubits", [1, 2])
def test_hedged_fits_maximise_what_they_say(ensemble, qubits):
    """The slope of the sum vanishes, and the likelihood misses at most beta d of its maximum."""
    rng = np.random.default_rng(0)
    d = 1 << qubits
    rows = np.concatenate(rows_of(pauli_settings(qubits)))
    rho = draw(ensemble, 6, d, rng)
    p = (to_coordinates(rho).numpy() @ rows.T).clip(0)
    counts = rng.poisson(p * 200).astype(np.float64)
    value, states = hedged_maximum(np.broadcast_to(rows, (6, *rows.shape)), counts)
    found = from_coordinates(torch.from_numpy(states))
    probable = states @ rows.T
    likelihood = (counts * np.log(probable)).sum(1)
    np.testing.assert_allclose(value, likelihood + BETA * torch.logdet(found).real.numpy())
    slope = (counts / probable) @ rows + BETA * to_coordinates(torch.linalg.inv(found)).numpy()
    assert np.abs(slope[:, 1:]).max() < 0.02 * counts.sum(1).max() ** 0.5
    white = torch.eye(d, dtype=torch.complex128).expand(6, d, d) / d
    best, _ = maximum_likelihood(torch.from_numpy(rows), torch.from_numpy(counts), white)
    missed = (counts * np.log((to_coordinates(best).numpy() @ rows.T).clip(1e-300))).sum(1)
    missed -= likelihood
    assert (missed > -2e-3).all()
    assert (missed <= BETA * d + 2e-3).all()


def test_one_matrix_for_all_data_gives_what_a_matrix_for_each_does():
    rng = np.random.default_rng(1)
    rows = torch.from_numpy(np.concatenate(rows_of(pauli_settings(2))))
    p = to_coordinates(draw("hs", 5, 4, rng)) @ rows.mT
    counts = torch.from_numpy(rng.poisson(50 * p.numpy()).astype(np.float64))
    white = torch.eye(4, dtype=torch.complex128).expand(5, 4, 4) / 4
    shared, _ = maximum_likelihood(rows, counts, white)
    each, _ = maximum_likelihood(rows.expand(5, *rows.shape), counts, white)
    torch.testing.assert_close(shared, each, atol=1e-3, rtol=0)


def test_all_words_of_a_fault_explain_data_equally_well():
    """Mirrors of either qubit are as likely as each other; of both, as likely as no fault."""
    rng = np.random.default_rng(2)
    settings = product_settings(30, 40, rng)
    asked = rows_of(settings)
    counts = np.concatenate(counts_of(asked, draw("hs", 1, 4, rng)[0], 40, rng))

    def best(rows):
        return hedged_maximum(np.concatenate(rows)[None], counts[None].astype(float))[0][0]

    def exchanged(qubit, a, b):
        order = np.arange(4)
        order[[a, b]] = order[[b, a]]
        return [row.reshape(-1, 4, 4).take(order, 1 + qubit).reshape(-1, 16) for row in asked]

    (mirror,) = (f for f in faults_of(settings, lambda s: s) if "axes" in f.words[0])
    assert len(mirror.words) == 8
    for qubit in (0, 1):
        for a, b in ((1, 2), (1, 3), (2, 3)):
            assert best(exchanged(qubit, a, b)) == pytest.approx(best(mirror.rows), abs=2e-3)
        flip = [0b10, 0b01][qubit]
        flipped = [row[[k ^ flip for k in range(4)]] for row in asked]
        assert best(flipped) == pytest.approx(best(mirror.rows), abs=2e-3)
    assert best([row[::-1] for row in asked]) == pytest.approx(best(asked), abs=2e-3)
    assert abs(best(mirror.rows) - best(asked)) > 0.1


def test_axes_are_exchanged_where_that_leaves_measurements():
    """Not of entangled bases; of product effects without a basis, too."""
    rng = np.random.default_rng(3)
    entangled = [global_setting(torch.as_tensor(random_unitary(1, 4, rng))[0], 1)]
    assert not any("axes" in f.words[0] for f in faults_of(entangled, lambda s: s))
    product = [from_effects(s.effects, 1) for s in pauli_settings(2)]
    found = [f.words for f in faults_of(product, lambda s: s)]
    assert any("axes" in words[0] for words in found)
    assert not any("rotation" in words[0] for words in found)


@pytest.mark.parametrize("ensemble", ["hs", "pure"])
def test_a_swap_of_bits_is_found_and_good_data_are_not_blamed(ensemble):
    """Only of states whose qubits have Bloch vectors: correlations do not show it."""
    rng = np.random.default_rng(4)
    able = [
        rho
        for rho in draw(ensemble, 12, 4, rng)
        if 2 * np.linalg.norm(to_coordinates(rho)[[1, 2, 3]]) > 0.4
    ]
    assert len(able) >= 3
    for rho in able[:4]:
        settings = product_settings(30, 40, rng)
        rows = rows_of(settings)
        swapped = counts_of([row[[0, 2, 1, 3]] for row in rows], rho, 40, rng)
        found = find_fault(settings, swapped, lambda s: s, rng, 1e-3)
        assert found is not None
        assert "reverse order" in found.faults[0]
        assert found.p_value < 1e-3
        good = counts_of(rows, rho, 40, rng)
        assert find_fault(settings, good, lambda s: s, rng, 1e-3) is None


def test_faults_that_were_ruled_out_are_looked_for_no_more():
    rng = np.random.default_rng(5)
    settings = product_settings(30, 200, rng)
    rows = rows_of(settings)
    rho = draw("pure", 1, 4, rng)[0]
    search = FaultSearch()
    assert search.look(settings, counts_of(rows, rho, 200, rng), lambda s: s, rng, 1e-3) is None
    assert len(search._hopeless) == sum(1 for _ in faults_of(settings, lambda s: s))
    inverted = counts_of([row[[0, 2, 1, 3]] for row in rows], rho, 200, rng)
    assert search.look(settings, inverted, lambda s: s, rng, 1e-3) is None
    assert FaultSearch().look(settings, inverted, lambda s: s, rng, 1e-3) is not None


@pytest.mark.parametrize("law", ["losses", "exponential above zero"])
def test_probabilities_of_gains_are_no_smaller_than_they_are(law):
    """Mean over simulated laws against the exact tail."""
    rng = np.random.default_rng(6)

    def draws(shape):
        if law == "losses":
            return rng.normal(-12, 5, shape)
        return rng.exponential(1.0, shape) - rng.exponential(1.0, shape)

    for gain in (4.0, 6.0, 8.0):
        told = np.mean([_p_value(gain, draws(200)) for _ in range(200)])
        exact = float(np.mean(draws(4_000_000) >= gain))
        assert told >= 0.9 * exact
