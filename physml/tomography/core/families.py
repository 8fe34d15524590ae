"""Continuous families of states: any rank, any spectrum down to the boundary, any local noise.

What is calibrated on a few ensembles holds on those ensembles. These two families have no number
that is special: ranks and spectra are drawn over decades, and noise is drawn by kind, axis and
strength for each qubit, on pure states from products to maximally entangled ones.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from .operators import PAULI, kron_all, n_qubits, random_gaussian, random_unitary

#: Decades over which the eigenvalues of a spectrum may spread; uniform for each state.
DECADES = 4.0
#: Strength of a noise channel; log-uniform.
STRENGTH = (1e-3, 0.5)
#: Share of the qubits that have no noise, and of the states whose axes are those of the
#: laboratory: X, Y and Z, where outcomes of Pauli settings may never occur.
QUIET, ALIGNED = 0.2, 0.2
#: Shares of pure states before the noise: Haar random, products, a|0...0> + b|1...1>, W.
KINDS = (0.3, 0.2, 0.4, 0.1)


def any_rank(n: int, d: int, rng: Generator) -> Tensor:
    """States of uniform rank whose eigenvalues spread over decades, in Haar random frames.

    Relative to the first the others are log-uniform over a range that is itself uniform between
    none and `DECADES`; beyond the rank they are exactly zero.
    """
    rank = rng.integers(1, d + 1, n)
    spread = rng.uniform(0, DECADES, (n, 1))
    values = 10.0 ** (-spread * rng.random((n, d)))
    values[:, 0] = 1.0
    values[np.arange(d) >= rank[:, None]] = 0.0
    values /= values.sum(1, keepdims=True)
    half = random_unitary(n, d, rng) * torch.from_numpy(np.sqrt(values))[:, None, :]
    return _positive(half)


def noisy(n: int, d: int, rng: Generator) -> Tensor:
    """Pure states after a noise channel on each qubit.

    A channel is dephasing, amplitude damping or depolarising along a random axis, with a
    log-uniform strength; some qubits have none. Axes of states and channels are random, and those
    of the laboratory for a share of the states.
    """
    qubits = n_qubits(d)
    aligned = torch.from_numpy(rng.random(n) < ALIGNED)[:, None, None, None]
    one = torch.eye(2, dtype=torch.complex128)

    def turns() -> Tensor:
        return torch.where(aligned, one, random_unitary(n * qubits, 2, rng).view(n, qubits, 2, 2))

    psi = _pure(n, d, rng)
    frame = kron_all(turns())
    psi = (frame @ psi[..., None])[..., 0]
    rho = psi[:, :, None] * psi[:, None, :].conj()
    kraus = _kraus(n * qubits, rng).view(n, qubits, 4, 2, 2)
    axis = turns()[:, :, None]
    kraus = axis @ kraus @ axis.mH
    for q in range(qubits):
        rho = _apply(rho, kraus[:, q], q, qubits)
    return rho / rho.diagonal(dim1=-2, dim2=-1).real.sum(-1)[:, None, None]


def _pure(n: int, d: int, rng: Generator) -> Tensor:
    """Vectors (n, d) of the kinds of `KINDS`, in the axes of the laboratory but for Haar's."""
    qubits = n_qubits(d)
    kind = rng.choice(len(KINDS), n, p=KINDS)
    haar = random_gaussian((n, d), rng)
    single = random_gaussian((n, qubits, 2), rng)
    product = single[:, 0]
    for q in range(1, qubits):
        product = (product[:, :, None] * single[:, q, None, :]).flatten(1)
    angle = torch.from_numpy(rng.uniform(0, np.pi / 2, n))
    # Half of them are maximally entangled: the states that laboratories aim at.
    angle = torch.where(torch.from_numpy(rng.random(n) < 0.5), torch.pi / 4, angle)
    twin = torch.zeros(n, d, dtype=torch.complex128)
    twin[:, 0], twin[:, -1] = torch.cos(angle).to(twin), torch.sin(angle).to(twin)
    w = torch.zeros(n, d, dtype=torch.complex128)
    w[:, [1 << q for q in range(qubits)]] = 1.0
    out = torch.stack([haar, product, twin, w])[torch.from_numpy(kind), torch.arange(n)]
    return out / out.abs().square().sum(-1, keepdim=True).sqrt()


def _kraus(n: int, rng: Generator) -> Tensor:
    """Kraus operators (n, 4, 2, 2) of one qubit: dephasing, damping or depolarising, or none."""
    low, high = np.log(STRENGTH)
    p = np.exp(rng.uniform(low, high, n)) * (rng.random(n) >= QUIET)
    kind = rng.integers(0, 3, n)
    share = torch.from_numpy(p)
    zero = torch.zeros_like(share)
    dephase = torch.stack([1 - share, zero, zero, share], -1)
    depolarise = torch.stack([1 - 0.75 * share, *[share / 4] * 3], -1)
    mixed = torch.where(torch.from_numpy(kind == 0)[:, None], dephase, depolarise)
    flips = mixed.sqrt().to(torch.complex128)[..., None, None] * PAULI
    damp = torch.zeros(n, 4, 2, 2, dtype=torch.complex128)
    damp[:, 0, 0, 0], damp[:, 0, 1, 1] = 1, (1 - share).sqrt().to(damp)
    damp[:, 1, 0, 1] = share.sqrt().to(damp)
    return torch.where(torch.from_numpy(kind == 1)[:, None, None, None], damp, flips)


def _apply(rho: Tensor, kraus: Tensor, q: int, qubits: int) -> Tensor:
    """States (n, d, d) after Kraus operators (n, m, 2, 2) on qubit q."""
    n, d = rho.shape[:2]
    before, after = 1 << q, 1 << (qubits - 1 - q)
    wide = rho.view(n, before, 2, after, before, 2, after)
    out = torch.einsum("nmij,najbckd,nmlk->naibcld", kraus, wide, kraus.conj())
    out = out.reshape(n, d, d)
    return 0.5 * (out + out.mH)


def _positive(half: Tensor) -> Tensor:
    rho = half @ half.mH
    rho = 0.5 * (rho + rho.mH)
    return rho / rho.diagonal(dim1=-2, dim2=-1).real.sum(-1)[:, None, None]
