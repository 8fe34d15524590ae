"""Design in the eigenframe, moments of experiments, calibration, weights files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.io.weights import save_weights
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.basis import Basis
from physml.tomography.core.eigenframe import metric
from physml.tomography.core.operators import infidelity
from physml.tomography.core.schedule import schedule
from physml.tomography.inference.neural import eigenframe_choice
from physml.tomography.inference.neural.corrector import Corrector, root_fidelity
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.weights import named
from physml.tomography.learning.histories import CorrectorLoss, apply, designs, simulate_histories
from physml.tomography.settings import HistorySettings
from physml.tomography.simulator.experiment import experiment


@pytest.mark.parametrize("d", [2, 4, 8])
def test_candidates_are_orthonormal_bases(d: int) -> None:
    bases = torch.cat(
        [eigenframe_choice.fixed_bases(d), eigenframe_choice.flat_bases(3, d, stream(0, "test", 0))]
    )
    one = torch.eye(d, dtype=torch.complex128).expand(len(bases), -1, -1)
    torch.testing.assert_close(bases.mH @ bases, one)
    flat = bases[-3:].abs()
    torch.testing.assert_close(flat, torch.full_like(flat, d**-0.5))


def test_the_gain_prefers_what_is_not_known() -> None:
    values = torch.tensor([[0.6, 0.4]], dtype=torch.float64)
    rows = eigenframe_choice.vec(Basis(eigenframe_choice.fixed_bases(2)).effects).flatten(0, 1)[
        None
    ]
    unit = metric(values).rsqrt()
    known = torch.diag(torch.tensor([1e-6, 1e-6, 1e-6, 0.5], dtype=torch.float64))[None]
    gains = eigenframe_choice.gains(rows, values, unit, known, 100.0)[0]
    # Only the imaginary part of the coherence is open: the basis with the phase i measures it.
    assert gains.argmax() == 2
    assert gains[2] > 100 * gains[:2].max()


def test_product_designs_are_products() -> None:
    estimator = NeuralEstimator({4: Corrector(4, 8, 1)})
    estimator.start(3, 4, stream(0, "test", 1))
    basis = estimator.next_basis("product", stream(0, "test", 2), 10)
    assert basis.local is not None
    torch.testing.assert_close(Basis.product(basis.local).unitary, basis.unitary)


def test_moments_hold_what_the_estimator_would_say() -> None:
    d, size = 2, HistorySettings(copies=100, thin=1, product=0, random=0, pauli=0)
    rho = states.draw("mixture", 6, d, stream(0, "test", 3))
    torch.manual_seed(0)
    network = Corrector(d, 8, 1)
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    moments = simulate_histories(network, rho, size, stream(0, "test", 4), marks=[100])
    batch = moments.batch(np.arange(6), np.random.default_rng(0), augment=False)
    made, truth = apply(network, batch)
    found, expected = 1 - root_fidelity(made.root, truth).square(), made.log_infidelity
    estimator = NeuralEstimator({d: network})
    experiment(estimator, rho, "global", schedule(100), stream(0, "test", 4), marks=[100])
    exact = infidelity(estimator.estimate(), rho)
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(expected.exp().clamp(max=1), estimator.spread(), rtol=1e-3, atol=0)
    loss = CorrectorLoss()(network, batch)["loss"]
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_every_experiment_has_one_design() -> None:
    for n in (1, 7, 100):
        assert sum(designs(n, HistorySettings()).values()) == n


def test_weights_come_back(tmp_path: Path) -> None:
    network = Corrector(2, 8, 1)
    tensors = named(2, network)
    card = {"pipeline": "tomography", "networks": {"1": {"width": 8, "blocks": 1}}}
    save_weights(tmp_path / "good.safetensors", tensors, card)
    made = NeuralEstimator.load(tmp_path / "good.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(value, made.networks[2].state_dict()[name])
    with pytest.raises(InputError, match=r"n_qubits=.*number of qubits"):
        made.start(1, 8, stream(0, "test", 5))
    made.start(1, 2, stream(0, "test", 5))
    with pytest.raises(InputError, match="calibration"):
        made.radius(0.9)


@pytest.mark.parametrize("name", ["hs", "pure"])
def test_shipped_weights_beat_the_filter_alone(name: str) -> None:
    rho = states.draw(name, 60, 4, stream(0, "test", 6))
    found = {}
    plain = NeuralEstimator({4: Corrector(4)})
    for key, made in (("learned", NeuralEstimator()), ("filter", plain)):
        run = experiment(made, rho, "global", schedule(1_000), stream(0, "test", 7))
        found[key] = run.infidelity[:, -1].mean()
    assert found["learned"] < found["filter"] * (0.6 if name == "pure" else 1.1)
