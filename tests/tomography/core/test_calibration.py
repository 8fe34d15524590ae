"""Readout errors of several qubits: the test of factorisation, joint confusion, its uncertainty."""

from __future__ import annotations

import json

import numpy as np
import pytest

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core.calibration import by_qubit, factorisation, product_of, reversed_bits
from physml.tomography.core.readout import Readout, estimate_confusion, flips

#: Column t: how state t is read. 11 falls to 00 together, which no two qubits by themselves do.
CORRELATED = np.array(
    [
        [0.97, 0.03, 0.03, 0.09],
        [0.01, 0.9, 0.05, 0.01],
        [0.01, 0.05, 0.9, 0.01],
        [0.01, 0.02, 0.02, 0.89],
    ]
)


def rng(k: int = 0) -> np.random.Generator:
    return stream(31, "test", k)


def calibrated(matrix: np.ndarray, shots: int, k: int = 0) -> np.ndarray:
    """Counts of a calibration, prepared in rows."""
    generator = rng(k)
    return np.stack([generator.multinomial(shots, column) for column in matrix.T])


def test_product_of_confusions_is_the_tensor_product():
    each = flips([0.02, 0.1, 0.3], [0.05, 0.0, 0.2])
    assert np.allclose(product_of(each), np.kron(each[0], np.kron(each[1], each[2])))
    counts = calibrated(product_of(each), 1000)
    assert by_qubit(counts.astype(float)).sum() == 3 * 8 * 1000


@pytest.mark.parametrize("shots", [50, 500, 20_000])
def test_independent_qubits_pass_as_often_as_they_should(shots):
    matrix = product_of(flips([0.03, 0.05], [0.06, 0.08]))
    p = [factorisation(calibrated(matrix, shots, k).astype(float)).p_value for k in range(80)]
    # 10 % of 80 are 8; more than 18 or a mean off 1/2 by 4 sigma would be no chance.
    assert np.mean(np.array(p) < 0.1) < 0.225
    assert abs(np.mean(p) - 0.5) < 4 * 12**-0.5 / 80**0.5


def test_correlated_qubits_are_read_together():
    counts = calibrated(CORRELATED, 20_000)
    found = factorisation(counts.astype(float))
    assert found.correlated
    # For the state 11: phi = 0.886 of 20,000 shots, by hand from the matrix.
    assert found.sigma == pytest.approx(125, abs=4)
    assert found.pair == (0, 1)
    readout = estimate_confusion(counts)
    assert readout.joint is not None
    assert np.abs(readout.joint - CORRELATED).max() < 5 * np.sqrt(0.1 * 0.9 / 20_000)
    assert "12" in readout.notes[0]
    assert "G-test" in readout.notes[0]
    assert estimate_confusion(counts, joint=False).joint is None
    # What it says of each qubit.
    one = np.array([CORRELATED[2:, :2].sum() / 2, CORRELATED[:2, 2:].sum() / 2])
    assert readout.confusion[0, 1, 0] == pytest.approx(one[0], abs=0.005)
    assert readout.confusion[0, 0, 1] == pytest.approx(one[1], abs=0.005)


def test_independent_qubits_stay_by_themselves():
    readout = estimate_confusion(calibrated(product_of(flips([0.03, 0.05])), 20_000))
    assert readout.joint is None
    assert readout.notes == ()


def test_correlation_cannot_be_used_where_states_were_not_prepared():
    counts = calibrated(CORRELATED, 20_000)
    counts[1:3] = 0
    readout = estimate_confusion(counts)
    assert readout.joint is None
    assert "not all basis states were prepared" in readout.notes[0]
    with pytest.raises(InputError, match="each basis state prepared"):
        estimate_confusion(counts, joint=True)


def test_three_qubits_of_which_two_are_correlated():
    matrix = np.kron(CORRELATED, flips([0.02])[0])
    found = factorisation(calibrated(matrix, 5000).astype(float))
    assert found.correlated
    assert found.pair == (0, 1)


@pytest.mark.parametrize("joint", [False, True])
def test_draws_have_the_spread_of_the_calibration(joint):
    matrix = product_of(flips([0.04, 0.08], [0.06, 0.1]))
    readout = estimate_confusion(calibrated(matrix, 200), joint=joint)
    assert readout.uncertain
    generator = rng(1)
    drawn = np.stack([readout.draw(generator).matrix for _ in range(400)])
    assert np.allclose(drawn.sum(1), 1)
    mean = readout.matrix
    assert np.abs(drawn.mean(0) - mean).max() < 0.01
    shots = 200 if joint else 400  # of each qubit in each state
    place = (0, 0)
    p = mean[place] if joint else readout.confusion[0, 0, 0]
    of = drawn[:, 0, 0] if joint else np.stack([d[:2, :2].sum(0)[0] for d in drawn])
    expected = np.sqrt(p * (1 - p) / shots)
    assert of.std() == pytest.approx(expected, rel=0.25)


def test_draws_from_standard_errors_alone():
    error = np.full((1, 2, 2), 0.02)
    readout = Readout(flips([0.1], [0.2]), error=error)
    generator = rng(2)
    drawn = np.stack([readout.draw(generator).confusion[0] for _ in range(600)])
    assert drawn[:, 1, 0].mean() == pytest.approx(0.1, abs=0.004)
    assert drawn[:, 1, 0].std() == pytest.approx(0.02, rel=0.15)
    exact = Readout(flips([0.1]))
    assert not exact.uncertain
    assert exact.draw(generator) is exact


def test_readout_as_json_comes_back():
    for readout in (
        Readout(flips([0.1, 0.02]), known=False),
        Readout(CORRELATED),
        estimate_confusion(calibrated(CORRELATED, 500)),
    ):
        again = Readout.from_dict(json.loads(json.dumps(readout.to_dict())))
        assert np.array_equal(again.matrix, readout.matrix)
        assert again.known == readout.known
        assert again.notes == readout.notes
        assert again.uncertain == readout.uncertain


def test_reversed_readout_swaps_the_qubits():
    each = flips([0.02, 0.2, 0.1])
    assert np.allclose(Readout(each).reversed().confusion, each[::-1])
    turned = Readout(product_of(each)).reversed()
    assert np.allclose(turned.matrix, product_of(each[::-1]))
    assert reversed_bits(3).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        (CORRELATED.T, "transposed"),
        (CORRELATED[:, :3], "2\\^n"),
        (np.eye(3), "2\\^n"),
        (CORRELATED - 0.2, "sum to 1"),
        ([[[0.9, 0.1], [0.2, 0.8]]], "transposed"),
        (np.full((4, 4), np.nan), "finite"),
    ],
)
def test_bad_confusions_are_refused(confusion, message):
    with pytest.raises(InputError, match=message):
        Readout(np.asarray(confusion))


def test_calibration_whose_bits_are_turned_round_is_refused():
    counts = calibrated(product_of(flips([0.03, 0.05])), 1000)
    with pytest.raises(InputError, match="one bit order"):
        estimate_confusion(counts[:, reversed_bits(2)])
