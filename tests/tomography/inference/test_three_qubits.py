"""Three qubits: weights in a file of their own, that is used where it is meant to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import physml
from physml.exceptions import InputError
from physml.io.weights import read_metadata, save_weights
from physml.models import shipped_weights
from physml.provenance import sha256
from physml.random import stream
from physml.tomography import simulate
from physml.tomography.core import states
from physml.tomography.core.measurements import pauli_settings
from physml.tomography.core.operators import fidelity
from physml.tomography.core.schedule import schedule
from physml.tomography.data.records import Measurement, Records
from physml.tomography.evaluation.three_qubit_sets import FAMILIES, LISTS, three_qubit_list
from physml.tomography.inference import weights as weights_files
from physml.tomography.inference.neural import loading
from physml.tomography.inference.neural.corrector import Corrector
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.tomographer import Tomographer
from physml.tomography.inference.weights import named, shipped_file, shipped_files
from physml.tomography.settings import TomographySettings
from physml.tomography.simulator.experiment import experiment

THREE = shipped_weights("tomography", "three_qubits")
TWO = shipped_weights("tomography")


def pauli_counts(rho: Tensor, shots: int, rng: np.random.Generator) -> Records:
    """Counts of all Pauli settings of a state (d, d)."""
    n = rho.shape[-1].bit_length() - 1
    made = []
    for setting in pauli_settings(n, shots):
        p = np.einsum("kij,ji->k", setting.effects, rho.numpy()).real.clip(0)
        made.append(Measurement(setting, rng.multinomial(shots, p / p.sum())))
    return Records(n, made)


def noisy_ghz(share: float = 0.1) -> Tensor:
    """GHZ of three qubits with white noise."""
    return states.with_white_noise(states.named_state("ghz", 3).reshape(8, 8), share)


def test_the_files_are_of_the_package() -> None:
    assert shipped_files() == [TWO, THREE]
    assert [shipped_file(n) for n in (1, 2, 3)] == [TWO, TWO, THREE]
    assert shipped_files((3,)) == [THREE]
    assert shipped_files((1, 2)) == [TWO]
    # Four qubits have none: the first file's reader says what there is.
    assert shipped_file(4) == TWO
    assert THREE.parent == Path(physml.__file__).parent / "weights"
    assert THREE.with_suffix(".md").is_file()
    assert THREE.stat().st_size < 1.5e6


def test_networks_of_all_files_are_loaded() -> None:
    found = loading.load()
    assert set(found.networks) == set(found.calibrated) == {2, 4, 8}
    assert found.card["sha256"] == sha256(TWO)
    assert {d: card["sha256"] for d, card in found.cards.items()} == {
        **dict.fromkeys((2, 4), sha256(TWO)),
        8: sha256(THREE),
    }
    assert set(loading.load(THREE).networks) == {8}


def test_an_estimator_goes_from_one_number_of_qubits_to_another() -> None:
    """The card is that of the file in use, and nothing of the state before is left."""
    both, fresh = NeuralEstimator.load(), NeuralEstimator.load(TWO)
    rng = np.random.default_rng(1)
    assert both.card["sha256"] == sha256(TWO)
    for n, path in ((3, THREE), (2, TWO), (3, THREE), (2, TWO)):
        both.start(1, 1 << n, rng)
        assert both.card["sha256"] == sha256(path)
        assert both.quantiles.regions.first.weight.shape[1] == both.inputs()[0].shape[1]
    one, other = (Tomographer(2, "pauli", e, seed=3) for e in (both, fresh))
    counts = pauli_counts(states.draw("hs", 1, 4, rng)[0], 40, rng).measurements
    one.add(counts)
    other.add(counts)
    assert np.array_equal(one.density_matrix, other.density_matrix)
    assert one.credible_region(0.9) == other.credible_region(0.9)


def test_prediction_takes_the_weights_of_its_number_of_qubits() -> None:
    predictor = physml.load("tomography")
    assert predictor.card["sha256"] == sha256(TWO)
    rng = np.random.default_rng(2)
    for n, path in ((3, THREE), (2, TWO)):
        rho = states.draw("hs", 1, 1 << n, rng)[0]
        counts = pauli_counts(rho, 200, rng)
        result = predictor.predict(counts, goodness=False, history=False, target=rho)
        assert result.card["sha256"] == sha256(path)
        assert result.region.effective_size is None
        thin = [note for note in result.region.notes if "calibrated" in note]
        experiments = result.card["regions"][str(n)]["experiments"]
        # A calibration with few experiments is told, with what it held.
        assert [f"{experiments:,} simulated" in note for note in thin] == [True] * (n == 3)
        assert result.functionals[0].value > 0.8


def test_a_session_of_three_qubits_is_carried_on(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    rng = np.random.default_rng(4)
    rho = noisy_ghz()
    with Tomographer(3, "global", session=path, seed=5) as begun:
        for shots in (50, 100, 200):
            setting = begun.next_measurement(shots=shots)
            p = np.einsum("kij,ji->k", setting.effects, rho.numpy()).real.clip(0)
            begun.update(setting, rng.multinomial(shots, p / p.sum()))
        assert isinstance(begun.estimator, NeuralEstimator)
        assert begun.estimator.card["sha256"] == sha256(THREE)
        kept = begun.density_matrix
    with Tomographer.resume(path) as resumed:
        assert np.array_equal(resumed.density_matrix, kept)
    for n in (2, 4):
        with pytest.raises(InputError, match="n_qubits"):
            Tomographer(n, "global", session=path, seed=5)


@pytest.mark.parametrize(("path", "n", "known"), [(TWO, 3, "1, 2"), (THREE, 2, "3")])
def test_weights_of_another_number_of_qubits_are_refused(path: Path, n: int, known: str) -> None:
    white = torch.eye(1 << n, dtype=torch.complex128) / 2**n
    counts = pauli_counts(white, 10, stream(1, "test", 0))
    with pytest.raises(InputError, match=rf"there are weights for \({known}\).*found {n}"):
        physml.load(path).predict(counts)


def test_four_qubits_have_no_weights_and_others_are_not_calibrated() -> None:
    with pytest.raises(InputError, match=r"weights for \(1, 2, 3\).*found 4"):
        Tomographer(4)
    made = Tomographer(3, "pauli", "maximum_likelihood", seed=1)
    made.add(pauli_counts(noisy_ghz(), 1, np.random.default_rng(6)).measurements)
    assert any(note.startswith("not calibrated") for note in made.credible_region(0.9).notes)


def test_what_was_not_measured_is_told_of_three_qubits_as_of_two() -> None:
    """Samples of the learned posterior are not called those of a particle filter."""
    made = Tomographer(3, "pauli", seed=1)
    made.add(pauli_counts(noisy_ghz(), 20, np.random.default_rng(6)).measurements[:5])
    notes = made.credible_region(0.9).notes
    assert any("not informationally complete" in note for note in notes)
    assert not any("particle filter" in note for note in notes)


def test_without_the_file_two_qubits_go_on(tmp_path: Path, monkeypatch) -> None:
    """A copy of the package without it has weights of one and two qubits, and says so."""
    where = {None: TWO, "three_qubits": tmp_path / "none.safetensors"}
    monkeypatch.setattr(weights_files, "shipped_weights", lambda _, preset=None: where[preset])
    assert set(loading.load().networks) == {2, 4}
    with pytest.raises(InputError, match=r"weights for \(1, 2\).*found 3"):
        Tomographer(3)


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(THREE.read_bytes()[:-100])
    where = {None: TWO, "three_qubits": broken}
    monkeypatch.setattr(weights_files, "shipped_weights", lambda _, preset=None: where[preset])
    with pytest.raises(InputError, match=r"broken\.safetensors"):
        physml.load("tomography")


def test_networks_of_each_number_of_qubits_design(tmp_path: Path, monkeypatch) -> None:
    """Where no designer is named, that of the number of qubits is the shipped one."""

    def of(*n: int) -> list[Path]:
        made = TomographySettings.model_validate({"simulate": {"n_qubits": n}})
        return simulate.designing(made.simulate)

    assert of(1, 2) == [TWO]
    assert of(3) == [THREE]
    assert of(2, 3) == [TWO, THREE]
    path = tmp_path / "own.safetensors"
    network = Corrector(8, 8, 1)
    torch.nn.init.normal_(network.leave.weight, std=0.3)
    card = {"pipeline": "tomography", "networks": {"3": {"width": 8, "blocks": 1}}}
    save_weights(path, named(8, network), card)
    found = simulate.designer([TWO, path], (2, 3))
    three, two = found(8), found(4)
    assert isinstance(three, NeuralEstimator)
    assert isinstance(two, NeuralEstimator)
    assert torch.equal(three.networks[8].leave.weight, network.leave.weight)
    assert set(two.networks) == {4}


def test_regions_hold_the_truth_of_a_noisy_ghz() -> None:
    """Case of a laboratory: the "90 %" regions of samples held it in 3 of 10."""
    rho = noisy_ghz()
    inside = []
    for seed in range(10):
        made = Tomographer.from_records(pauli_counts(rho, 520, np.random.default_rng(seed)))
        region = made.credible_region(0.9)
        assert region.effective_size is None
        inside.append(1 - float(fidelity(made._state(), rho[None])[0]) <= region.infidelity)
    # At 90 %, fewer than 6 of 10 happen in 2 of 1,000 cases.
    assert sum(inside) >= 6


@pytest.mark.parametrize("name", ["hs", "pure"])
def test_the_learned_estimate_beats_the_filter_without_it(name: str) -> None:
    """On fresh states, with the same Pauli counts; a corrector before training changes nothing."""
    rho = states.draw(name, 16, 8, np.random.default_rng(11))
    marks, blocks = [1_000], schedule(1_000, first=100, growth=2.0)
    with_, without = (
        experiment(e, rho, "pauli", blocks, np.random.default_rng(12), marks=marks)
        for e in (NeuralEstimator.load(THREE), NeuralEstimator({8: Corrector(8, 8, 1)}))
    )
    away = (with_.infidelity - without.infidelity)[:, 0]
    assert away.mean() < -2 * away.std() / len(away) ** 0.5


def test_the_card_tells_of_three_qubits() -> None:
    card = read_metadata(THREE)
    assert card["pipeline"] == "tomography"
    assert set(card["networks"]) == set(card["regions"]) == {"3"}
    assert 0.85 < card["regions"]["3"]["regions"]["coverage"]["all"] < 0.97


@pytest.mark.parametrize("name", LISTS)
def test_lists_are_frozen_states(name: str) -> None:
    rho = three_qubit_list(name, 12)
    values = torch.linalg.eigvalsh(rho)
    assert torch.allclose(rho, rho.mH)
    assert torch.allclose(values.sum(-1), torch.ones(12, dtype=torch.float64))
    assert values.min() > -1e-12
    assert torch.equal(three_qubit_list(name, 5), rho[:5])
    with pytest.raises(ValueError, match="asked for"):
        three_qubit_list(name, 5_000)


def test_families_are_what_they_are_called() -> None:
    rank = {n: torch.linalg.matrix_rank(three_qubit_list(n, 20), hermitian=True) for n in FAMILIES}
    assert set(rank["rank_2"].tolist()) == set(rank["dephased_ghz"].tolist()) == {2}
    assert rank["ghz_w"].min() == 8
    with pytest.raises(ValueError, match="unknown list"):
        three_qubit_list("none", 1)
