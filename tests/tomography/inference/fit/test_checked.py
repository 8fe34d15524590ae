"""The test of the fit in the loop: faults are found, good laboratories are not blamed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.tomography import SimulatedLaboratory, Stop, Tomographer, steer
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.measurements import global_setting
from physml.tomography.core.operators import from_coordinates, random_unitary, to_coordinates
from physml.tomography.core.states import draw, named_state, with_white_noise
from physml.tomography.inference.fit.checked import Misfit
from physml.tomography.inference.fit.faults import _exchanged, _inverted
from physml.tomography.inference.goodness import GoodnessOfFit

BELL = with_white_noise(named_state("phi+", 2), 0.02)
FAILED = GoodnessOfFit(1, 1, 0, None, None, {}, 0, ["no state gives such data"])
WORDS = {
    "inverted": "each rotation was applied as U",
    "swapped": "the axes X and Y of qubit 0 are exchanged",
    "stale": "the setting before",
}


class Faulty:
    """A laboratory that measures something else than it is asked for."""

    def __init__(self, rho, fault, seed):
        self.rho, self.fault, self.before = rho, fault, None
        self.rng = np.random.default_rng([seed, 77])

    def measure(self, setting):
        effects = torch.from_numpy(setting.effects)
        if self.fault == "inverted":
            effects = torch.from_numpy(_inverted(setting))
        elif self.fault == "swapped":
            rows = _exchanged(to_coordinates(effects).numpy(), 2, 0, 1, 2)
            effects = from_coordinates(torch.from_numpy(rows))
        elif self.fault == "stale":
            effects, self.before = (effects if self.before is None else self.before), effects
        p = probabilities(effects, self.rho[None]).clamp(min=0)
        return sample_counts(p / p.sum(), setting.shots, self.rng)[0].numpy().astype(int)


@pytest.mark.parametrize(
    ("design", "fault"),
    # Axes are those of single qubits: entangled bases have none to exchange.
    [("global", "inverted"), ("global", "stale")]
    + [(design, fault) for design in ("product", "pauli") for fault in WORDS],
)
def test_a_faulty_laboratory_is_found_within_1000_copies(design, fault):
    """A Bell pair with 2 % noise; the fault is named among the likely ones."""
    made = Tomographer(2, design, "maximum_likelihood", seed=1)
    with pytest.raises(Misfit) as caught:
        steer(made, Faulty(BELL, fault, 1), Stop(copies=1000))
    assert made.copies <= 1000
    assert caught.value.exit_code == 3
    assert not caught.value.fit.passed
    assert "No error is given" in str(caught.value)
    assert WORDS[fault] in str(caught.value)


def test_the_maximally_mixed_state_is_blind_to_faults():
    white = torch.eye(4, dtype=torch.complex128) / 4
    made = Tomographer(2, "product", "maximum_likelihood", seed=2)
    steer(made, Faulty(white, "inverted", 2), Stop(copies=1000))
    assert made.goodness_of_fit().passed


def test_many_settings_are_looked_at_before_they_are_simulated(monkeypatch):
    """600 settings of 2 shots: no bootstrap of 2400 outcomes unless a look is suspicious."""
    for fault in ("none", "inverted"):
        made = Tomographer(2, "global", "linear", seed=4)
        rng, lab = np.random.default_rng(4), Faulty(BELL, fault, 4)
        for k in range(600):
            basis = torch.as_tensor(random_unitary(1, 4, rng))[0]
            setting = global_setting(basis, 2, f"r{k}")
            made.update(setting, lab.measure(setting))
        asked = []
        monkeypatch.setattr(made, "goodness_of_fit", lambda asked=asked: asked.append(1) or FAILED)
        assert (made.final_fit() is None) == (fault == "none")
        assert len(asked) == (fault == "inverted")


def test_a_killed_loop_with_a_misfit_does_not_go_on(tmp_path):
    path = tmp_path / "s.jsonl"
    lab = Faulty(BELL, "inverted", 3)
    with (
        Tomographer(2, "product", "linear", seed=3, session=path) as made,
        pytest.raises(Misfit),
    ):
        steer(made, lab, Stop(copies=2000))
    before = path.read_bytes()
    with Tomographer.resume(path) as again, pytest.raises(Misfit):
        steer(again, lab, Stop(copies=again.copies))
    assert path.read_bytes() == before


@pytest.mark.parametrize("design", ["global", "pauli"])
@pytest.mark.parametrize("ensemble", ["hs", "pure"])
def test_good_laboratories_are_not_blamed(design, ensemble):
    """6 of each here, 100 of each in the slow test below."""
    rho = draw(ensemble, 6, 4, np.random.default_rng(4))
    for k in range(6):
        made = Tomographer(2, design, "linear", seed=k)
        steer(made, SimulatedLaboratory(rho[k], seed=k), Stop(copies=1000))


@pytest.mark.slow
@pytest.mark.parametrize("design", ["global", "product", "pauli"])
@pytest.mark.parametrize("ensemble", ["hs", "pure"])
def test_false_alarms_are_rare(design, ensemble):
    """100 loops of 1000 copies, promised 1 % or less: four or more alarms have p = 0.02."""
    rho = draw(ensemble, 100, 4, np.random.default_rng(5))
    alarms = 0
    for k in range(100):
        made = Tomographer(2, design, seed=k)
        try:
            steer(made, SimulatedLaboratory(rho[k], seed=k), Stop(copies=1000))
        except Misfit:
            alarms += 1
    assert alarms <= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ensemble", "design"), [("pure", "global"), ("pure", "product"), ("hs", "global")]
)
@pytest.mark.parametrize("fault", ["inverted", "stale"])
def test_faults_are_found(ensemble, design, fault):
    """50 loops of 1000 copies, promised 99 %: three or more misses have p = 0.014."""
    rho = draw(ensemble, 50, 4, np.random.default_rng(6))
    missed = 0
    for k in range(50):
        made = Tomographer(2, design, seed=k)
        try:
            steer(made, Faulty(rho[k], fault, k), Stop(copies=1000))
            missed += 1
        except Misfit:
            pass
    assert missed <= 2
