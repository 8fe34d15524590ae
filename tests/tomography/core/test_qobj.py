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
    assert torch.equal(qobj.as_density_matrix(q, 3), rho)
    ket = qutip.tensor(qutip.basis(2, 0), qutip.basis(2, 1))
    expected = torch.zeros(4, 4, dtype=torch.complex128)
    expected[1, 1] = 1
    assert torch.equal(qobj.as_density_matrix(ket, 2), expected)
    complex_ket = (qutip.basis(2, 0) + 1j * qutip.basis(2, 1)).unit()
    bra = qobj.as_density_matrix(complex_ket.dag(), 1)
    assert torch.allclose(qobj.as_density_matrix(complex_ket, 1), bra)
    with pytest.raises(InputError, match="a ket, a bra or a density matrix"):
        qobj.as_density_matrix(qutip.to_super(qutip.qeye(2)), 1)
    with pytest.raises(InputError, match=r"1 qubits \(d = 2\)"):
        qobj.as_density_matrix(q, 1)


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
