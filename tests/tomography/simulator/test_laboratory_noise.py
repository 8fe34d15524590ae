"""Faults of laboratories: what is measured in truth, and what an estimator takes for measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.basis import basis_effects
from physml.tomography.core.born import probabilities
from physml.tomography.core.fixed_measurements import BASES, sic_effects
from physml.tomography.core.operators import kron_all
from physml.tomography.core.readout import Readout, flips
from physml.tomography.core.schedule import schedule
from physml.tomography.inference.neural.corrector import Corrector
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.simulator.histories import measure
from physml.tomography.simulator.laboratory_noise import LaboratoryNoise, draw_confusion
from physml.tomography.simulator.recorded_bases import unpack

N = 3


def test_each_laboratory_misreads_with_its_own_chances() -> None:
    confusion = np.stack([flips([0.01 * k, 0.02], [0.1, 0.03 * k]) for k in (1, 2, 3)])
    noise = LaboratoryNoise(torch.from_numpy(confusion))
    basis = kron_all(BASES[[0, 1]]).expand(N, -1, -1)
    found = noise.known(basis_effects(basis))
    for k in range(N):
        expected = Readout(confusion[k])(basis_effects(basis[k]))
        torch.testing.assert_close(found[k], expected)
    assert torch.equal(noise.real(basis), found)
    with pytest.raises(InputError, match="those of a basis, 4 outcomes"):
        noise.known(sic_effects(2))


def test_an_ideal_laboratory_measures_what_is_asked() -> None:
    basis = kron_all(BASES[[0, 1]]).expand(N, -1, -1)
    noise = LaboratoryNoise()
    assert torch.equal(noise.real(basis, before=BASES.new_zeros(N, 4, 4)), basis_effects(basis))
    rho = states.draw("hs", N, 4, stream(0, "test", 50))
    assert noise.state(rho, 0.7) is rho


def test_an_inverted_rotation_measures_x_for_y() -> None:
    """U = (|0> + i|1>, |0> - i|1>) maps Z to Y; its adjoint maps Z to X."""
    noise = LaboratoryNoise(inverted=True)
    found = noise.real(BASES[1:2])
    plus = torch.tensor([[0.5, 0.5], [0.5, 0.5]], dtype=torch.complex128)
    # The outcomes of Y are then those of X, up to a phase between the vectors.
    assert torch.allclose(found[0].sum(0), torch.eye(2, dtype=torch.complex128))
    u = BASES[1]
    for k in range(2):
        row = u[k].conj()
        assert torch.allclose(found[0, k], torch.outer(row, row.conj()))
    # X and Z are their own adjoints.
    for axis in (0, 2):
        assert torch.allclose(noise.real(BASES[axis][None]), basis_effects(BASES[axis][None]))
    assert torch.allclose(LaboratoryNoise().real(BASES[:1])[0, 0], plus)


def test_a_stale_laboratory_measures_the_setting_before() -> None:
    noise = LaboratoryNoise(stale=True)
    x, y, z = (BASES[k : k + 1] for k in range(3))
    assert torch.allclose(noise.real(y, before=x), basis_effects(x))
    assert torch.allclose(noise.real(y), basis_effects(z))


def test_a_drift_ends_at_the_other_state() -> None:
    rho, end = states.draw("pure", 2, 4, stream(0, "test", 51))
    noise = LaboratoryNoise(drift_to=end[None])
    assert torch.equal(noise.state(rho[None], 0.0)[0], rho)
    torch.testing.assert_close(noise.state(rho[None], 0.25)[0], 0.75 * rho + 0.25 * end)


@pytest.mark.parametrize("design", ["pauli", "global"])
def test_counts_of_a_drifting_source_are_those_of_its_mean(design: str) -> None:
    """Of |0> that ends as |1>, over the settings ZZ... half of all outcomes of Z are 1."""
    n = 400
    start, end = (states.named_state(x, 1).expand(n, 2, 2) for x in "01")
    noise = LaboratoryNoise(drift_to=end)
    estimator = NeuralEstimator({2: Corrector(2, 8, 1)})
    blocks = schedule(3_000)
    how, counts = measure(estimator, start, design, blocks, noise, stream(0, "test", 52))
    ends = np.cumsum([0, *blocks])
    part = ends[:-1] / ends[-1]
    if how is None:
        z = counts[:, :, 4:6].astype(float)
        share = z[..., 1].sum(0) / z.sum((0, 2))
        off = (share - part) / np.sqrt(np.maximum(part * (1 - part), 1e-9) / z.sum((0, 2)))
        assert z[:, 0, 1].sum() == 0
        assert np.abs(off[1:]).max() < 5
    else:
        p = [
            probabilities(
                basis_effects(unpack(torch.from_numpy(how[:, k].copy()))),
                noise.state(start, part[k]),
            )
            for k in range(len(blocks))
        ]
        expected = torch.stack(p, 1).numpy() * np.asarray(blocks)[:, None]
        spread = np.sqrt(np.maximum(expected.sum(0), 1))
        assert np.abs((counts.sum(0) - expected.sum(0)) / spread).max() < 5


def test_shares_and_flips_of_readout() -> None:
    some = [draw_confusion(2, 0.3, (1e-3, 0.05), stream(k, "test", 53)) for k in range(600)]
    perfect = np.array([np.array_equal(c, np.tile(np.eye(2), (2, 1, 1))) for c in some])
    assert 0.24 < 1 - perfect.mean() < 0.36
    off = np.stack([c for c, p in zip(some, perfect, strict=True) if not p])[:, :, [0, 1], [1, 0]]
    assert off.min() >= 1e-3
    assert off.max() <= 0.05
    assert 0.4 < (off < 0.05**0.5 * 1e-3**0.5).mean() < 0.6
    for share in (0.0, 1.0):
        same = draw_confusion(2, share, (1e-3, 0.05), stream(1, "test", 53))
        assert np.array_equal(same, np.tile(np.eye(2), (2, 1, 1))) == (share == 0)
