"""Adaptive choice of the next basis: A-optimal among candidates around the estimate.

A measurement of n copies with effects of coordinates g and probabilities p takes the covariance C
of the state to (C^-1 + n sum g g^T / p)^-1. The best basis leaves the smallest tr(G C), where G is
the metric of the infidelity at the estimate. Which bases are candidates is what a design is; how
they are compared is the same for all of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError

from .basis import Basis, BasisKind, basis_effects
from .measurements import pauli_local
from .operators import hermitian_basis, n_qubits, partial_trace, random_unitary, to_coordinates

#: Haar random bases among the candidates; early on, when little is known, they are the best.
RANDOM_GLOBAL = 6
#: Random local bases of each kind (`product_candidates`) an experiment.
RANDOM_LOCAL = 24
#: Eigenvalues below this are taken as this: the metric is singular at the boundary.
FLOOR = 1e-12


def infidelity_metric(rho: Tensor) -> Tensor:
    """Metric G with 1 - F(rho, rho + delta) = delta^T G delta, to second order.

    In the eigenframe of rho the infidelity is the sum over j, k of
    ``|delta_jk|^2 / (2 (l_j + l_k))``.

    Parameters
    ----------
    rho : Tensor (S, d, d)

    Returns
    -------
    Tensor (S, d * d - 1, d * d - 1)

    References
    ----------
    Huebner, Phys. Lett. A 163, 239 (1992).
    """
    d = rho.shape[-1]
    values, vectors = torch.linalg.eigh(rho)
    values = values.clamp(min=FLOOR)
    basis = hermitian_basis(d)[1:]
    frame = vectors.mH[:, None] @ basis @ vectors[:, None]
    weight = 0.5 / (values[:, :, None] + values[:, None, :])
    flat = frame.flatten(2)
    weighted = flat * weight.flatten(1)[:, None].to(flat.dtype)
    return (weighted.conj() @ flat.mT).real


def expected_infidelity(rho: Tensor, covariance: Tensor) -> Tensor:
    """Infidelity (S,) to be expected of estimates `rho` (S, d, d) with this covariance."""
    return (infidelity_metric(rho) * covariance).sum((-2, -1))


def gains(unitaries: Tensor, rho: Tensor, covariance: Tensor, shots: float) -> Tensor:
    """Expected fall of the infidelity by a measurement in each candidate basis.

    Parameters
    ----------
    unitaries : Tensor (S, m, d, d)
        M candidates an experiment, basis vectors in columns.
    rho : Tensor (S, d, d)
        Estimates.
    covariance : Tensor (S, d * d - 1, d * d - 1)
    shots : float
        Copies to be measured.

    Returns
    -------
    Tensor (S, m)
    """
    g = to_coordinates(basis_effects(unitaries))
    p = (g @ to_coordinates(rho)[:, None, :, None])[..., 0].clamp(min=FLOOR)
    g = g[..., 1:]
    half = g @ covariance[:, None]
    metric = infidelity_metric(rho)[:, None]
    # Woodbury: only a matrix of the size of the number of outcomes has to be inverted.
    noise = torch.diag_embed(p / shots) + half @ g.mT
    return torch.linalg.solve(noise, half @ metric @ half.mT).diagonal(dim1=-2, dim2=-1).sum(-1)


def global_candidates(rho: Tensor, rng: np.random.Generator) -> Tensor:
    """Bases built on the eigenvectors of the estimate, (S, m, d, d).

    The eigenbasis tells the eigenvalues. A coherence between two eigenvectors is told best by their
    sum and difference, of any phase: bases of such pairs do not let a large eigenvalue drown the
    coherences of small ones. Fourier bases of all eigenvectors (with random phases) suit states
    close to white; Haar random ones suit estimates not to be believed.
    """
    n_states, d = rho.shape[:2]
    vectors = torch.linalg.eigh(rho).eigenvectors
    candidates = [vectors[:, None]]
    pairs = _pair_bases(d)
    candidates.append(vectors[:, None] @ pairs)
    k = torch.arange(d, dtype=torch.float64)
    fourier = torch.polar(torch.full((d, d), d**-0.5).double(), 2 * torch.pi / d * k[:, None] * k)
    angle = torch.as_tensor(rng.uniform(0, 2 * torch.pi, (n_states, d, d)))
    phases = torch.polar(torch.ones_like(angle), angle)
    candidates.append(vectors[:, None] @ (phases[..., None] * fourier))
    random = random_unitary(n_states * RANDOM_GLOBAL, d, rng)
    candidates.append(random.reshape(n_states, RANDOM_GLOBAL, d, d))
    return torch.cat(candidates, 1)


def _pair_bases(d: int) -> Tensor:
    """Sums and differences of index pairs j, j xor m; phases 1 and i; (2 (d - 1), d, d)."""
    out = torch.zeros(2 * (d - 1), d, d, dtype=torch.complex128)
    for m in range(1, d):
        for j in range(d):
            low, sign = min(j, j ^ m), 1 if j < j ^ m else -1
            for which, phase in enumerate((1, 1j)):
                out[2 * (m - 1) + which, low, j] = 0.5**0.5
                out[2 * (m - 1) + which, low ^ m, j] = sign * phase * 0.5**0.5
    return out


def product_candidates(rho: Tensor, rng: np.random.Generator) -> Tensor:
    """Local bases worth a trial, (S, m, n, 2, 2).

    Pauli bases in the frame of the reduced states and in the fixed one; random ones; and chains: a
    random basis of one qubit, then for the next one the state in which the largest eigenvector of
    the estimate leaves it after the first outcome. The latter make an outcome very improbable, and
    a seldom outcome tells most about states close to pure.
    """
    n_states, d = rho.shape[:2]
    n = n_qubits(d)
    reduced = torch.stack([partial_trace(rho, [q]) for q in range(n)], 1)
    frames = torch.linalg.eigh(reduced).eigenvectors
    paulis = pauli_local(n)
    own = frames[:, None] @ paulis
    fixed = paulis.expand(n_states, -1, -1, -1, -1)
    random = random_unitary(n_states * RANDOM_LOCAL * n, 2, rng)
    random = random.reshape(n_states, RANDOM_LOCAL, n, 2, 2)
    leading = torch.linalg.eigh(rho).eigenvectors[..., -1]
    return torch.cat([own, fixed, random, _chains(leading, random, rng)], 1)


def _chains(psi: Tensor, start: Tensor, rng: np.random.Generator) -> Tensor:
    """Local bases (S, m, n, 2, 2) which follow a pure state (S, d) from qubit to qubit.

    The qubits are taken in a random order; the first keeps its basis of `start`.
    """
    n_states, m, n = start.shape[:3]
    out = start.clone()
    order = rng.permutation(n)
    rest = psi.reshape(n_states, 1, *[2] * n).expand(-1, m, *[-1] * n)
    left = list(range(n))
    for step, qubit in enumerate(order):
        axis = 2 + left.index(int(qubit))
        rest = rest.movedim(axis, 2)
        if step:
            # The reduced state of this qubit, given the outcomes of those before it.
            flat = rest.reshape(n_states, m, 2, -1)
            out[:, :, qubit] = torch.linalg.eigh(flat @ flat.mH).eigenvectors
        chosen = out[:, :, qubit, :, 1].conj()
        rest = torch.einsum("smi,smi...->sm...", chosen, rest)
        left.remove(int(qubit))
    return out


def choose_basis(
    kind: BasisKind, rho: Tensor, covariance: Tensor | None, rng: np.random.Generator, shots: float
) -> Basis:
    """The best of the candidates.

    Parameters
    ----------
    kind : {"global", "product"}
        ``"global"`` or ``"product"``.
    rho : Tensor (S, d, d)
        Estimates.
    covariance : Tensor (S, d * d - 1, d * d - 1), optional
        None: one of the candidates at random.
    rng : Generator
        Randomness of the candidates.
    shots : float
        Copies to be measured.

    Raises
    ------
    InputError
        For another kind.
    """
    if kind not in ("global", "product"):
        raise InputError.expected("design=", "global or product", repr(kind))
    n_states = rho.shape[0]
    local: Tensor | None = None
    if kind == "product":
        local = product_candidates(rho, rng)
        flat = Basis.product(local.flatten(0, 1)).unitary
        unitaries = flat.reshape(n_states, -1, *rho.shape[1:])
    else:
        unitaries = global_candidates(rho, rng)
    if covariance is None:
        best = torch.as_tensor(rng.integers(0, unitaries.shape[1], n_states))
    else:
        best = gains(unitaries, rho, covariance, shots).argmax(-1)
    rows = torch.arange(n_states)
    return Basis(unitaries[rows, best], None if local is None else local[rows, best])
