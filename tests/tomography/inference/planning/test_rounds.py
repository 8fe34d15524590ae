"""Plans of several settings: better than as many at random, whole copies, costs of changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.tomography import SimulatedLaboratory, Tomographer
from physml.tomography.core.basis import basis_effects
from physml.tomography.core.basis_choice import infidelity_metric
from physml.tomography.core.fixed_measurements import mub_bases
from physml.tomography.core.likelihood import fisher_information
from physml.tomography.core.measurements import pauli_effects, pauli_settings
from physml.tomography.core.operators import random_unitary, to_coordinates
from physml.tomography.core.readout import Readout, flips
from physml.tomography.core.states import draw, named_state, with_white_noise
from physml.tomography.inference.planning.joint import designed_for, plan, prior_precision
from physml.tomography.inference.planning.rounds import plan_round

WHITE = torch.eye(4, dtype=torch.complex128) / 4
BELL = with_white_noise(named_state("phi+", 2), 0.04)


def pool(seed, number=20):
    bases = torch.as_tensor(random_unitary(number, 4, np.random.default_rng(seed)))
    return basis_effects(torch.cat([mub_bases(2), bases]))


def test_of_the_white_state_unbiased_bases_are_the_best():
    """Five among 25, to which random ones cannot come up; each with a fifth of the copies."""
    found = plan(pool(1)[None], WHITE[None], prior_precision(1, 4), 1e4, 5)
    assert sorted(found.chosen[0].tolist()) == [0, 1, 2, 3, 4]
    assert torch.allclose(found.copies, torch.full((1, 5), 2000.0, dtype=torch.float64), rtol=1e-2)
    # Fisher information of five unbiased bases is isotropic: F = 4 / 5 N, the metric 1 / 2 x 2.
    precision = 1 / 0.0147 + 1e4 * 4 / 5
    assert float(found.expected) == pytest.approx(15 * 1.0 / precision, rel=0.02)


def test_a_plan_leaves_less_than_bases_at_random():
    rho = designed_for(draw("hs", 6, 4, np.random.default_rng(2)), 500)
    effects = pool(3).expand(6, -1, -1, -1, -1)
    precision = prior_precision(6, 4) + 300
    planned = plan(effects, rho, precision, 3000, 8).expected
    at_random = plan(effects[:, 5:13], rho, precision, 3000, 8).expected  # with shares of its own
    assert bool((planned < at_random).all())
    more = plan(effects, rho, precision, 3000, 16).expected
    assert bool((more < planned * 1.001).all())


def test_copies_are_whole_and_all_spent():
    for copies, settings in ((1000, 7), (10, 10), (3, 9), (12345, 25)):
        chosen, shots = plan_round(pool(4), WHITE, [], copies, settings)
        assert shots.sum() == copies
        assert (shots > 0).all()
        assert len(set(chosen)) == len(chosen) <= settings


def test_changes_that_cost_make_fewer_settings():
    measured = [(e, 400.0) for e in basis_effects(mub_bases(2))]
    rho = designed_for(draw("hs", 1, 4, np.random.default_rng(5)), 2000)[0]
    numbers = []
    for cost in (0.0, 30.0, 300.0):
        chosen, shots = plan_round(pool(6), rho, measured, 2000, 12, cost)
        assert shots.sum() == int(2000 - len(chosen) * cost)
        numbers.append(len(chosen))
    assert numbers[0] >= numbers[1] >= numbers[2]
    assert numbers[2] < numbers[0]
    with pytest.raises(InputError, match="a change of the setting costs"):
        plan_round(pool(6), rho, measured, 100, 12, 200.0)


@pytest.mark.parametrize("design", ["global", "product", "pauli_adaptive", "pauli"])
def test_a_tomographer_plans_and_carries_on(design, tmp_path):
    path, laboratory = tmp_path / "s.jsonl", SimulatedLaboratory(BELL, seed=3)
    with Tomographer(2, design, "maximum_likelihood", seed=3, session=path) as made:
        first = made.next_measurements(500, settings=5)
        assert sum(s.shots for s in first) == 500
        assert len({s.id for s in first}) == len(first) <= 5
    with Tomographer.resume(path) as again:
        assert [s.to_dict() for s in again.pending] == [s.to_dict() for s in first]
        for setting in reversed(first):  # in any order
            again.update(setting.id, laboratory.measure(setting))
        second = again.next_measurements(1500, settings=6)
        assert sum(s.shots for s in second) == 1500
        for setting in second:
            again.update(setting, laboratory.measure(setting))
        assert again.copies == 2000
        assert again.unmeasured == 0
        target = named_state("phi+", 2).numpy()
        assert np.trace(target @ again.density_matrix).real == pytest.approx(0.97, abs=0.05)


def test_adaptive_pauli_settings_are_pauli_settings_and_look_where_it_matters():
    """All are looked at, but not all alike."""
    made = Tomographer(2, "pauli_adaptive", "maximum_likelihood", readout=None, seed=1)
    laboratory = SimulatedLaboratory(named_state("phi+", 2), seed=1)
    known = {s.effects.tobytes(): s.id for s in pauli_settings(2)}
    spent: dict[str, int] = dict.fromkeys(known.values(), 0)
    while made.copies < 3000:
        setting = made.next_measurement()
        spent[known[setting.effects.tobytes()]] += setting.shots
        made.update(setting, laboratory.measure(setting))
    assert min(spent.values()) > 0  # none is left out for good
    assert made.unmeasured == 0
    assert max(spent.values()) > 2 * min(spent.values())
    # What is planned is expected to be better than an even round.
    rho = designed_for(with_white_noise(named_state("0", 2), 0.02)[None], 1000)
    precision, effects = prior_precision(1, 4) + 100, pauli_effects(2)[None]
    best = float(plan(effects, rho, precision, 9000, 9).expected)
    rows = to_coordinates(effects.flatten(0, 2))[None]
    even = precision + fisher_information(rows, 1000.0, to_coordinates(rho))
    assert best < 0.95 * float((infidelity_metric(rho) * torch.linalg.inv(even)).sum())


def test_readout_errors_are_planned_for():
    """Qubit 1 cannot be read at all: its settings tell nothing of it, and a plan does not break."""
    readout = Readout(flips([0.0, 0.45]))
    made = Tomographer(2, "pauli_adaptive", "linear", readout=readout)
    assert sum(s.shots for s in made.next_measurements(900, settings=9)) == 900


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"copies": 0, "settings": 3}, "copies="),
        ({"copies": 10, "settings": 0}, "settings="),
        ({"copies": 1000, "settings": 500}, "at most 200"),
        ({"copies": 10, "settings": 3, "setting_cost": -1}, "setting_cost="),
        ({"copies": 10, "settings": 3, "setting_cost": float("nan")}, "setting_cost="),
        ({"copies": 10, "settings": 3, "setting_cost": 50}, "costs"),
    ],
)
@pytest.mark.parametrize("design", ["product", "pauli"])
def test_plans_that_cannot_be(design, arguments, message):
    made = Tomographer(2, design, "linear")
    with pytest.raises(InputError, match=message):
        made.next_measurements(**arguments)
    assert not made.pending


def test_effects_of_pauli_candidates():
    chosen, _ = plan_round(pauli_effects(2), WHITE, [], 9000, 9)
    assert sorted(chosen) == list(range(9))
