"""Bases as a file keeps them: in single precision, and exactly orthonormal when they are read.

An orthonormal basis that was rounded to float32 is none any more, by 1e-7: at 1e5 copies of a pure
state probabilities below zero and fidelities above one would follow. What is read is therefore the
nearest unitary to the rounded numbers, and that is what the simulation measured.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Each step squares the deviation, of 1e-7 from rounding.
STEPS = 2


def pack(unitary: Tensor) -> Tensor:
    """Pairs (..., d, d, 2), float32, of unitaries (..., d, d)."""
    return torch.view_as_real(unitary.resolve_conj()).to(torch.float32)


def unpack(pairs: Tensor) -> Tensor:
    """Unitaries (..., d, d), complex128, nearest to the rounded pairs (..., d, d, 2).

    Newton's iteration for the polar factor, U (3 - U^+ U) / 2 (Higham, SIAM J. Sci. Stat. Comput.
    7, 1160 (1986)), converges quadratically.
    """
    u = torch.view_as_complex(pairs.to(torch.float64).contiguous())
    for _ in range(STEPS):
        u = 1.5 * u - 0.5 * (u @ (u.mH @ u))
    return u
