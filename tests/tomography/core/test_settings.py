"""Settings: to and from JSON, checks of what comes from outside, schedule of copies."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core import measurements as povm
from physml.tomography.core import readout, schedule
from physml.tomography.core.operators import random_unitary
from physml.tomography.evaluation import sets


def rng() -> np.random.Generator:
    return stream(8, "test", 0)


def every_kind() -> list[povm.Setting]:
    local = random_unitary(2, 2, rng())
    return [
        povm.product_setting(local, 100, "a"),
        povm.global_setting(random_unitary(1, 4, rng())[0], 10**12, "b"),
        povm.sic(2, 5, joint=True),
        povm.pairwise(1, 0),
        povm.from_effects(np.eye(2)[None], 3, "nothing", ["always"]),
    ]


def test_settings_survive_json():
    for setting in every_kind():
        again = povm.Setting.from_dict(json.loads(json.dumps(setting.to_dict())))
        assert again.id == setting.id
        assert again.shots == setting.shots
        assert again.outcomes == setting.outcomes
        assert again.dimension == setting.dimension
        assert np.allclose(again.effects, setting.effects, atol=1e-15)
        assert (again.local is None) == (setting.local is None)
        assert (again.basis is None) == (setting.basis is None)
        if setting.local is not None:
            assert np.array_equal(again.local, setting.local)


def test_names_of_outcomes():
    assert povm.pauli_settings(2)[0].outcomes == ("00", "01", "10", "11")
    assert [s.id for s in povm.pauli_settings(2)][:4] == ["XX", "XY", "XZ", "YX"]
    assert povm.sic(1).outcomes == ("0", "1", "2", "3")


def broken(**changes):
    return povm.pauli_settings(1, 5)[0].to_dict() | changes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "an object"),
        (broken(id=3), "a string as id"),
        (broken(shots=-1), "shots"),
        (broken(shots=1.5), "shots"),
        (broken(shots=True), "shots"),
        (broken(local=[[[1, 0], [0, 1]]]), "pairs"),
        (broken(local=[[[[1, 0], [0, 0]], [[1, 0], [0, 0]]]]), "orthonormal"),
        (broken(local=[[[[float("nan"), 0], [0, 0]], [[0, 0], [1, 0]]]]), "finite"),
        (broken(local="x"), "pairs"),
        (broken(local=[[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]] * 7), "n <= 6"),
        (broken(outcomes=["0"]), "names of 2 outcomes"),
        (broken(outcomes=[0, 1]), "names of 2 outcomes"),
        ({"id": "x", "shots": 1}, "one of local, basis, effects"),
        ({"id": "x", "shots": 1, "effects": [[[[2, 0], [0, 0]], [[0, 0], [2, 0]]]]}, "identity"),
    ],
)
def test_settings_that_are_none_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        povm.Setting.from_dict(data)


EYE = np.eye(2)


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (EYE, "shape"),
        (np.ones((1, 2, 3)), "shape"),
        (np.eye(3)[None], "dimension"),
        (np.full((1, 2, 2), np.nan), "finite"),
        (np.array([[[1, 0.1], [0, 1]]]), "Hermitian"),
        (np.stack([1.5 * EYE, -0.5 * EYE]), "positive"),
        (np.stack([0.5 * EYE, 0.4 * EYE]), "identity"),
        (np.array([[["a", "b"], ["c", "d"]]]), "complex numbers"),
        (np.eye(128)[None], "dimension"),
    ],
)
def test_effects_that_are_no_measurement_are_refused(effects, message):
    with pytest.raises(InputError, match=message):
        povm.check(effects)


def test_builders_check_their_arguments():
    with pytest.raises(InputError, match=r"\(n, 2, 2\)"):
        povm.product_setting(np.eye(4)[None], 1)
    with pytest.raises(InputError, match="one matrix"):
        povm.global_setting(np.eye(2)[None], 1)
    with pytest.raises(InputError, match="orthonormal"):
        povm.global_setting(2 * np.eye(2), 1)
    with pytest.raises(InputError, match="shots"):
        povm.sic(1, -3)
    with pytest.raises(InputError, match="names of 1"):
        povm.from_effects(np.eye(2)[None], 1, "x", ["a", "b"])
    with pytest.raises(ValueError, match="1 or 2 qubits"):
        povm.mub(3)
    with pytest.raises(ValueError, match="1 or 2 qubits"):
        povm.sic(3, joint=True)


def test_batched_effects_are_those_of_each():
    local = random_unitary(6, 2, rng()).reshape(3, 2, 2, 2)
    batch = povm.basis_effects(povm.kron_all(local))
    assert batch.shape == (3, 4, 4, 4)
    for one, effects in zip(local, batch, strict=True):
        assert np.allclose(povm.product_setting(one, 1).effects, effects.numpy(), atol=1e-15)
    unitary = random_unitary(3, 4, rng())
    for one, effects in zip(unitary, povm.basis_effects(unitary), strict=True):
        assert np.allclose(povm.global_setting(one, 1).effects, effects.numpy(), atol=1e-15)
    for setting, effects in zip(povm.pauli_settings(2), povm.pauli_effects(2), strict=True):
        assert np.allclose(setting.effects, effects.numpy(), atol=1e-15)


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        (np.eye(3), "shape"),
        ([[[0.9, 0.2], [0.2, 0.8]]], "columns sum to 1"),
        ([[[1.1, 0.0], [-0.1, 1.0]]], "columns sum to 1"),
        ([[[np.nan, 0.0], [1.0, 1.0]]], "finite"),
        ("x", "numbers"),
    ],
)
def test_confusions_that_are_none_are_refused(confusion, message):
    with pytest.raises(InputError, match=message):
        readout.Readout(confusion)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([[1, 2, 3]], "shape"),
        ([[5, -1], [0, 5]], ">= 0"),
        ([[5.5, 0], [0, 5]], "whole"),
        ([[5, 5], [0, 0]], "prepared in 0 and in 1"),
    ],
)
def test_calibrations_that_are_none_are_refused(counts, message):
    with pytest.raises(InputError, match=message):
        readout.estimate_confusion(counts)


def test_readouts_survive_json():
    guess = readout.Readout(readout.flips([0.1, 0.2]), known=False)
    again = readout.Readout.from_dict(json.loads(json.dumps(guess.to_dict())))
    assert not again.known
    assert np.array_equal(again.confusion, guess.confusion)
    for bad in (None, {}, guess.to_dict() | {"known": 1}):
        with pytest.raises(InputError):
            readout.Readout.from_dict(bad)


def nested(depth: int) -> list:
    out: list = []
    for _ in range(depth):
        out = [out]
    return out


HUGE = 10**400

HOSTILE = [
    {"shots": HUGE, "local": [[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]]},
    {"shots": 1, "local": nested(500)},
    {"shots": 1, "effects": nested(500)},
    {"shots": 1, "effects": [[[[HUGE, 0], [0, 0]], [[0, 0], [1, 0]]]]},
    {"shots": 1, "effects": [[[[1e308, 0], [1e308, 0]], [[1e308, 0], [1e308, 0]]]] * 2},
    {"shots": 1, "effects": []},
    {"shots": 1, "effects": {"__reduce__": "os.system"}},
    # A product of many qubits would be 8^n numbers.
    {"shots": 1, "local": [[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]] * 40},
    {"shots": 1, "basis": [[[1e200, 0], [0, 0]], [[0, 0], [1e200, 0]]]},
    {"shots": 1, "local": [[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]], "outcomes": ["0", "0"]},
    {"shots": 1, "local": [[[[1, 0], [0, 0]], [[0, 0], [1, 0]]]], "outcomes": nested(50)},
]


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_settings_are_refused(data):
    with pytest.raises(InputError):
        povm.Setting.from_dict(data)


@pytest.mark.parametrize(
    "confusion", [nested(200), [[[HUGE, 0], [0, 1]]], {"a": 1}, [], [[[1, 0], [0, None]]]]
)
def test_hostile_readouts_are_refused(confusion):
    with pytest.raises(InputError):
        readout.Readout.from_dict({"confusion": confusion})
    with pytest.raises(InputError):
        readout.Readout.from_dict({"confusion": [[[1, 0], [0, 1]]], "error": confusion})


@pytest.mark.parametrize("n_max", [1, 2, 50, 99, 100, 101, 1_000, 12_345, 10**5, 10**12])
def test_schedule_spends_all_copies_and_stops_at_powers_of_ten(n_max):
    blocks = schedule.schedule(n_max)
    ends = schedule.ends(blocks)
    assert ends[-1] == sum(blocks) == n_max
    assert min(blocks) >= 1
    stops = {10**k for k in range(2, 13) if 10**k <= n_max}
    assert stops <= set(ends.tolist())
    # The number of updates is logarithmic.
    assert len(blocks) <= 10 + 25 * np.log10(n_max)
    # 10 % apart on the whole, but for blocks that were fitted to a stop.
    if n_max > 10**4:
        plain = [b / a for a, b in pairwise(blocks[20:])]
        assert np.median(plain) == pytest.approx(1.1, abs=0.01)


def test_schedule_to_1e5_is_the_rival_s():
    assert len(schedule.schedule(100_000)) == 85


def test_bad_lists_and_schedules():
    for arguments in ((0,), (10, 0), (10, 3, 1.0)):
        with pytest.raises(ValueError, match="expected n_max"):
            schedule.schedule(*arguments)
    with pytest.raises(ValueError, match="unknown list"):
        sets.evaluation_list("haar", 2)
    with pytest.raises(ValueError, match="160"):
        sets.evaluation_list("hs", 2, 161)
    with pytest.raises(ValueError, match="page"):
        sets.validation_list("hs", 2, page=-1)


def test_arguments_may_be_tensors():
    setting = povm.from_effects(torch.eye(2, dtype=torch.complex128)[None], 1)
    assert isinstance(setting.effects, np.ndarray)
