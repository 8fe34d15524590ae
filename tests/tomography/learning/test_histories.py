"""Design in the eigenframe, weights files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from physml.exceptions import InputError
from physml.io.weights import save_weights
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.basis import Basis
from physml.tomography.core.eigenframe import metric
from physml.tomography.core.schedule import schedule
from physml.tomography.inference.neural import eigenframe_choice
from physml.tomography.inference.neural.corrector import Corrector
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.weights import named
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
