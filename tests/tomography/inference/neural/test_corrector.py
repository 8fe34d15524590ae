"""Parts of the infidelity: what they add up to, how the design uses them; finished trainings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.io.weights import save_weights
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.eigenframe import scales, unvec
from physml.tomography.core.operators import fidelity, infidelity
from physml.tomography.core.schedule import schedule
from physml.tomography.inference.neural import eigenframe_choice
from physml.tomography.inference.neural.corrector import Corrector, contributions, n_features
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.neural.information_filter import InformationFilter
from physml.tomography.inference.weights import named
from physml.tomography.learning import corrector_training
from physml.tomography.learning.corrector_training import train_corrector
from physml.tomography.learning.histories import NEEDED, CorrectorLoss, Histories
from physml.tomography.learning.replay import replay
from physml.tomography.settings import NetworkSettings, TrainSettings
from physml.tomography.simulator.experiment import experiment
from physml.tomography.simulator.histories import measure
from physml.tomography.simulator.laboratory_noise import LaboratoryNoise
from physml.training.loop import FitResult


def _diagonal(*values: float) -> torch.Tensor:
    return torch.diag(torch.tensor(values, dtype=torch.complex128))[None]


def test_parts_of_commuting_states_are_exact() -> None:
    one, other = _diagonal(0.9, 0.1, 0, 0), _diagonal(0.6, 0.2, 0.15, 0.05)
    found = contributions(one, other)
    bures_squared = 2 * (1 - fidelity(one, other).sqrt())
    assert float(found.sum()) == pytest.approx(float(bures_squared), abs=1e-5)
    assert float(found[:, 4:].abs().max()) < 1e-9


def test_a_turned_pure_state_differs_in_one_pair_only() -> None:
    """By the square of the angle it has an element on the diagonal, which is no part of its own."""
    angle = 0.05
    psi = torch.tensor([math.cos(angle), 0, math.sin(angle), 0], dtype=torch.complex128)
    truth = torch.outer(psi, psi.conj())[None]
    found = contributions(_diagonal(1, 0, 0, 0), truth)[0]
    wanted = float(infidelity(_diagonal(1, 0, 0, 0), truth))
    pair = 4 + 1  # vectors 0 and 2
    assert float(found[pair]) == pytest.approx(wanted, rel=0.01)
    assert float(found.sum() - found[pair]) < 2e-3 * wanted  # of the order of the angle squared


@pytest.mark.parametrize("d", [2, 4, 8])
def test_parts_add_up_to_the_infidelity_of_near_states(d: int) -> None:
    rho = states.draw("hs", 40, d, stream(0, "test", 1))
    values = torch.linalg.eigvalsh(rho).flip(-1)
    estimate = torch.diag_embed(values.to(torch.complex128))
    size = scales(values) * 0.01
    step = unvec(size * torch.as_tensor(stream(0, "test", 2).standard_normal(size.shape)))
    truth = estimate + step
    truth = truth / truth.diagonal(dim1=-2, dim2=-1).real.sum(-1)[:, None, None]
    found = contributions(estimate, truth).sum(-1)
    wanted = infidelity(estimate, truth)
    # To the next order in the step.
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0)
    assert float((found / wanted - 1).mean().abs()) < 0.02


def test_the_expected_covariance_has_the_parts_as_its_trace() -> None:
    rng = stream(0, "test", 3)
    a = torch.as_tensor(rng.standard_normal((5, 16, 20)))
    covariance = a @ a.mT
    parts = torch.as_tensor(rng.uniform(0.1, 2, (5, 10)))
    made = eigenframe_choice.expected_covariance(covariance, parts)
    variance = made.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(variance[:, :4], parts[:, :4])
    torch.testing.assert_close(variance[:, 4:10] + variance[:, 10:], parts[:, 4:])

    def correlation(c: torch.Tensor) -> torch.Tensor:
        s = c.diagonal(dim1=-2, dim2=-1).sqrt()
        return c / s[:, :, None] / s[:, None, :]

    torch.testing.assert_close(correlation(made), correlation(covariance))
    before = covariance.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(
        variance[:, 4:10] / variance[:, 10:], before[:, 4:10] / before[:, 10:]
    )


def test_the_design_measures_what_the_network_says_is_open() -> None:
    """At many copies nothing but the network's parts decides between the candidates."""
    d = 4
    posterior = InformationFilter(1, d)
    estimator = NeuralEstimator({d: Corrector(d, 8, 1)})
    rho = states.draw("hs", 1, d, stream(0, "test", 4))
    experiment(estimator, rho, "global", schedule(1_000_000), stream(0, "test", 5))
    posterior = estimator.filter
    covariance, made = estimator.correction()
    spectrum = torch.full_like(made.parts, 1e-12)
    spectrum[:, :d] = 1e-5
    basis = eigenframe_choice.choose(
        "global",
        posterior,
        covariance,
        type(made)(made.values, made.root, made.log_infidelity, spectrum),
        stream(0, "test", 6),
        100,
    )
    # Only the eigenbasis tells eigenvalues apart without loss.
    overlap = (posterior.vectors.mH @ basis.unitary).abs()[0]
    torch.testing.assert_close(overlap, torch.eye(d, dtype=torch.float64), atol=1e-9, rtol=0)


def _histories(n: int, first: int) -> Histories:
    rho = states.draw("mixture", n, 2, stream(0, "test", first))
    blocks, noise = schedule(100), LaboratoryNoise()
    estimator = NeuralEstimator({2: Corrector(2, 8, 1)})
    bases, counts = measure(estimator, rho, "global", blocks, noise, stream(0, "test", first + 1))
    assert bases is not None
    found, row = replay("global", rho, bases, counts, noise, np.ones((n, len(blocks)), bool))
    return Histories({name: found[name] for name in NEEDED}, len(np.unique(row)))


def _settings(**changes: object) -> TrainSettings:
    return TrainSettings(
        epochs=1,
        batch_size=64,
        network=NetworkSettings(width=8, blocks=1),
        **changes,  # type: ignore[arg-type]
    )


def test_a_finished_training_is_not_made_again(tmp_path: Path) -> None:
    call = (_histories(12, 60), _histories(4, 62), tmp_path, 3, 1, lambda: None)
    first = train_corrector(_settings(), *call)
    assert first.is_main
    assert first.lineage == []
    assert first.learned["experiments"] == 12
    again = train_corrector(_settings(), *call)
    assert again.learned == first.learned
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])


def test_a_training_starts_from_the_network_of_its_dimension(tmp_path: Path) -> None:
    """Of weights that hold several, each under the name of its number of qubits."""
    train, valid = _histories(12, 60), _histories(4, 62)
    torch.manual_seed(1)
    tensors: dict[str, torch.Tensor] = {}
    networks = {d: Corrector(d, 8, 1) for d in (2, 4)}
    for d, network in networks.items():
        torch.nn.init.normal_(network.leave.weight, std=0.01)
        network.shift.fill_(0.5)
        tensors |= named(d, network)
    path = tmp_path / "before.safetensors"
    save_weights(path, tensors, {"pipeline": "tomography", "provenance": {"settings": {"a": 1}}})
    still = _settings(init=str(path), learning_rate=1e-12, weight_decay=0)
    made = train_corrector(still, train, valid, tmp_path / "state", 3, 1, lambda: None)
    for name, value in made.network.state_dict().items():
        torch.testing.assert_close(value, networks[2].state_dict()[name], rtol=1e-5, atol=1e-7)
    assert [parent["settings"] for parent in made.lineage] == [{"a": 1}]
    other = tmp_path / "other.safetensors"
    save_weights(other, named(4, networks[4]), {"pipeline": "tomography"})
    with pytest.raises(InputError, match="is missing"):
        train_corrector(
            _settings(init=str(other)), train, valid, tmp_path / "more", 3, 1, lambda: None
        )


def test_the_network_that_is_kept_stays_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop leaves what it trained on its device, here meta, which refuses tensors of others."""

    def fit(model: Corrector, *arguments: object, **more: object) -> FitResult:
        weights = {k: v + 1e-3 for k, v in model.state_dict().items()}
        model.to("meta")
        return FitResult(weights, [], [], 1, 0.0, is_main=True)

    monkeypatch.setattr(corrector_training, "fit", fit)
    call = (_histories(12, 60), _histories(4, 62), tmp_path, 3, 1, lambda: None)
    network = train_corrector(_settings(), *call).network
    assert {value.device.type for value in network.state_dict().values()} == {"cpu"}
    # So calibration and the weights file get what they can read.
    rho = states.draw("mixture", 3, 2, stream(0, "test", 7))
    estimator = NeuralEstimator({2: network})
    experiment(estimator, rho, "global", [20], stream(0, "test", 8), marks=[20])
    assert torch.isfinite(estimator.correction()[1].log_infidelity).all()


def test_the_loss_is_made_on_the_device_of_its_tensors() -> None:
    """The device ``meta`` refuses tensors of another one, as a GPU does."""
    d, n = 4, 5

    def some(*shape: int) -> torch.Tensor:
        return torch.ones(n, *shape, device="meta")

    batch = {
        "feature": some(n_features(d)),
        "values": some(d),
        "deviation": some(d),
        "binding": some(d * d - d, d),
        "parts": some(10),
        "truth": some(d, d, 2),
    }
    loss = CorrectorLoss()(Corrector(d, 8, 1).to("meta"), batch)["loss"]
    loss.backward()
    assert loss.device.type == "meta"
