"""Counts of qiskit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.born import probabilities
from physml.tomography.core.fixed_measurements import BASES
from physml.tomography.core.operators import kron_all
from physml.tomography.data import qiskit


def rng() -> np.random.Generator:
    return stream(9, "test", 0)


def test_qiskit_bits_are_turned_round():
    # Qubit 0 gave 1 in all runs: the last bit in qiskit, the first digit here.
    expected = [0, 0, 7, 0]
    for key in ("01", "0 1", "0x1", 1):
        assert qiskit.qiskit_counts({key: 7}, 2).tolist() == expected
    both = qiskit.qiskit_counts({"011": 5, "110": 2, "0 11": 1}, 3)
    assert both[0b110] == 6
    assert both[0b011] == 2


def test_qiskit_results_give_the_state_that_was_prepared():
    # |+> on qubit 0, |1> on qubit 1; the label XZ of qiskit is Z on qubit 0.
    results = {"ZX": {"10": 100}, "XZ": {"10": 52, "11": 48}}
    (first, a), (second, b) = qiskit.from_qiskit(results)
    assert (first.id, second.id) == ("XZ", "ZX")
    assert first.shots == 100
    psi = kron_all([BASES[0][:, :1], torch.tensor([[0], [1]], dtype=torch.complex128)])
    rho = states.projector(psi[:, 0])[None]
    p = probabilities(torch.from_numpy(first.effects), rho)[0]
    assert p[int(a.argmax())] == pytest.approx(1)
    assert a.max() == 100
    # Qubit 0 in Z is random, qubit 1 in X too: our outcomes are digits of qubit 0, then 1.
    assert b.tolist() == [0, 52, 0, 48]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "counts by label"),
        ({"XQ": {"00": 1}}, "labels"),
        ({"X": {"0": 1}, "XX": {"00": 1}}, "one length"),
        ({"XX": {"0": 1}}, "2 bits"),
        ({"XX": {"00": -1}}, "whole number"),
        ({"XX": {"00": 0.5}}, "whole number"),
        ({"XX": {"00": True}}, "whole number"),
        ({"XX": {"0a": 1}}, "2 bits"),
        ({"XX": {"0x4": 1}}, "2 bits"),
        ({"XX": {}}, "at least one"),
        ({"XX": [1, 2]}, "a mapping"),
    ],
)
def test_bad_qiskit_results_are_refused(results, message):
    with pytest.raises(InputError, match=message):
        qiskit.from_qiskit(results)
