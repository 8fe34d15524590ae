"""States to and from qutip, and what is no state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core import qobj, states


def test_qutip_and_back():
    qutip = pytest.importorskip("qutip")
    rho = states.hilbert_schmidt(1, 8, stream(9, "test", 0))[0]
    q = qobj.to_qutip(rho)
    assert q.dims == [[2, 2, 2], [2, 2, 2]]
    assert q.isherm
    assert torch.equal(qobj.from_qutip(q), rho)
    ket = qutip.tensor(qutip.basis(2, 0), qutip.basis(2, 1))
    expected = torch.zeros(4, 4, dtype=torch.complex128)
    expected[1, 1] = 1
    assert torch.equal(qobj.from_qutip(ket, d=4), expected)
    complex_ket = (qutip.basis(2, 0) + 1j * qutip.basis(2, 1)).unit()
    assert torch.allclose(qobj.from_qutip(complex_ket), qobj.from_qutip(complex_ket.dag()))
    with pytest.raises(InputError, match="a ket, a bra or a density matrix"):
        qobj.from_qutip(3)
    with pytest.raises(InputError, match=r"1 qubits \(d = 2\)"):
        qobj.from_qutip(q, d=2)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (np.eye(3) / 3, "2\\^n rows"),
        (np.eye(2), "trace 1"),
        (np.diag([1.5, -0.5]), "positive"),
        (np.array([[0.5, 0.2], [0, 0.5]]), "Hermitian"),
        (np.array([np.nan, 1]), "finite"),
        (np.ones((2, 2, 2)), "rows"),
        (np.array(["a", "b"]), "numbers"),
        (np.array([1.0, 1.0]), "trace 1"),
    ],
)
def test_what_is_no_state_is_refused(state, message):
    with pytest.raises(InputError, match=message):
        qobj.check_state(state)
