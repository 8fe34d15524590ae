"""Two stages without knowing how many copies there will be: in sessions and for files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fakes.tomography import noisy, pauli_data, write_csv

from physml.cli.main import main
from physml.exceptions import InputError
from physml.tomography import SimulatedLaboratory, Stop, Tomographer, steer
from physml.tomography.core.operators import infidelity
from physml.tomography.inference.classical.two_stage import TwoStage


def test_a_file_is_estimated_by_maximum_likelihood(tmp_path, capsys):
    path = write_csv(tmp_path / "counts.csv", pauli_data(noisy("phi+", 0.04), 1000))

    def estimate(name):
        command = ["tomography", "predict", str(path), "--estimator", name, "--json", "--quick"]
        assert main(command) == 0
        return np.array(json.loads(capsys.readouterr().out)["density_matrix"])

    found = estimate("two_stage")
    assert np.abs(found - estimate("maximum_likelihood")).max() < 1e-6


@pytest.mark.parametrize(("design", "first"), [("product", 9), ("global", 5)])
def test_a_session_adapts_and_is_carried_on(tmp_path, design, first):
    """The fixed bases once, then better ones; in a session that is opened again as well."""
    truth, path = noisy("phi+", 0.0), tmp_path / "s.jsonl"
    laboratory = SimulatedLaboratory(truth, seed=3)
    for copies in (60, 2000):  # killed within the first stage, and begun again
        with Tomographer(2, design, "two_stage", seed=1, session=path) as made:
            steer(made, laboratory, Stop(copies=copies), 20 if copies == 60 else None)
            records, found = made.records, torch.from_numpy(made.density_matrix)
    effects = [m.setting.effects for m in records.measurements]
    different = [e for k, e in enumerate(effects[:first]) if not _known(e, effects[:k])]
    assert len(different) == first
    assert np.mean([_known(e, effects[:first]) for e in effects[first:]]) < 0.5
    # A pure state by fixed Pauli bases is off by about 0.7 / sqrt(N) = 0.016 at 2,000 copies.
    assert float(infidelity(found, truth)) < 8e-3


def _known(effects, others):
    return any(np.abs(effects - other).max() < 1e-9 for other in others)


def test_stages_follow_each_other():
    """Without a total, the method adapts anew when the copies since are its share of all."""
    estimator = TwoStage()
    rng = np.random.default_rng(0)
    estimator.start(1, 2, rng)
    moments = []
    for _ in range(40):
        basis = estimator.next_basis("global", rng, 10.0)
        moments.append(estimator._before)
        estimator.update(basis.effects, torch.tensor([[7.0, 3.0]]))
    assert moments[:3] == [0, 0, 0]
    assert sorted(set(moments))[1:] == [30, 70, 150, 310]


def test_blocks_need_a_total():
    with pytest.raises(InputError, match="copies of the whole experiment"):
        TwoStage().schedule("global", 4)
    with pytest.raises(InputError, match="total >= 1"):
        TwoStage(0)
