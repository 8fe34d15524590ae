"""Noise on one qubit of two: what the chart makes of its factors, and how well it is found."""

from __future__ import annotations

import numpy as np
import pytest

from physml.tomography.core.operators import hermitian_basis
from physml.tomography.core.process.channels import choi_of_kraus
from physml.tomography.evaluation.processes import choi_errors, fixed
from physml.tomography.inference.process.fit import fit_process
from physml.tomography.inference.process.latent import LOCAL, Latent, kinds_of_products
from physml.tomography.simulator.processes import compose, haar, on_each


def measured_anew(p: float, rng: np.random.Generator) -> np.ndarray:
    """Kraus operators: with probability p the first qubit is measured and prepared anew."""
    bras = haar(2, rng)[0].conj().T
    kets = np.stack([haar(2, rng)[0][:, 0] for _ in range(2)])
    lost = np.einsum("ki,kj->kij", kets, bras)
    one = np.concatenate([(1 - p) ** 0.5 * np.eye(2)[None], p**0.5 * lost])
    return on_each([one, np.eye(2, dtype=np.complex128)[None]])


def test_kinds_are_those_of_the_products_themselves():
    for number, product in enumerate(np.asarray(hermitian_basis(4).numpy())):
        parts = product.reshape(2, 2, 2, 2)
        first = np.einsum("abcb->ac", parts) / 2  # traces of the other qubit
        second = np.einsum("abad->bd", parts) / 2
        on_first = np.abs(product - np.kron(first, np.eye(2))).max() < 1e-12
        on_second = np.abs(product - np.kron(np.eye(2), second)).max() < 1e-12
        meant = [on_first and not on_second, on_second and not on_first, not on_first | on_second]
        assert kinds_of_products(4)[:, number].tolist() == meant
    assert kinds_of_products(2).shape == (0, 4)


@pytest.mark.parametrize(("kind", "quiet"), [(0, (1, 2)), (1, (0, 2))])
def test_noise_of_one_kind_acts_on_one_qubit(kind, quiet):
    rng = np.random.default_rng(4)
    gate = haar(4, rng)[0]
    latent = Latent(gate)
    x = rng.standard_normal((1, latent.size))
    factors = x[:, -1 - 3 * latent.noise : -1].reshape(1, latent.noise, 3)
    factors[..., quiet] = -20 / LOCAL
    operators = latent.parts(x)["g"][0, 1:] @ gate.conj().T  # what is done after the gate
    parts = operators.reshape(-1, 2, 2, 2, 2)
    if kind:
        parts = parts.transpose(0, 2, 1, 4, 3)
    alone = np.einsum("kabcb->kac", parts) / 2
    made = np.einsum("kac,bd->kabcd", alone, np.eye(2))
    assert np.abs(alone).max() > 1e-4
    assert np.abs(parts - made).max() < 1e-6 * np.abs(alone).max()


@pytest.mark.slow
def test_strong_noise_on_one_qubit_is_found_better_than_by_maximum_likelihood():
    """Without factors of their own the error is that of maximum likelihood or larger."""
    logs = []
    for k in range(4):
        rng = np.random.default_rng([5, k])
        truth = choi_of_kraus(compose(measured_anew(0.1, rng), haar(4, rng)))
        found = fit_process(fixed(truth, 2, 100_000, rng), "maximum_likelihood", k)
        ours, theirs = (choi_errors(c, truth)["frobenius2"] for c in (found.mean, found.choi))
        logs.append(np.log(ours / theirs))
    assert np.exp(np.mean(logs)) < 0.8
