"""Families of two-qubit states that were kept back from training, calibration and design.

Frozen lists, drawn by a seed of their own. None of these is an ensemble of the training mixture,
and none can be trained on by a setting, but for thermal states, whose share in the shipped recipe
is 0; several are special cases of what the continuous families of the training can draw.
The first eight are those whose bad coverage led to these families. The others were written down,
with all their numbers, before any score of the weights of these families was computed.
``pipelines/tomography/SEALED.md`` says who looked at which, and what was decided from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from physml.random import stream

from ..core.operators import PAULI, kron_all, random_gaussian, random_unitary
from ..core.states import Draw, hilbert_schmidt, named_state, normalised, thermal, with_white_noise

#: Seed of all lists, unlike any of a training or of other lists.
SEED_SEALED = 59_162_347
#: States of a list; shorter lists are the first of it.
SEALED_SIZE = 1_000
#: Probability of a phase flip, and of a decay of each qubit; uniform.
FLIP, DECAY = (0.01, 0.5), (0.01, 0.5)
#: White noise of the three qubits before one is lost; uniform.
NOISE = (0.0, 0.2)
#: Weight of the smaller eigenvalue of nearly pure states of rank 2; log-uniform.
SECOND = (1e-3, 0.1)
#: Field and temperature of two spins, uniform and log-uniform, in units of their coupling.
FIELD, TEMPERATURE = (0.2, 2.0), (0.2, 3.0)
#: Part of a Bell-like state that leaks; log-uniform.
LEAK = (3e-3, 0.3)


def rank_2(n: int, d: int, rng: Generator) -> Tensor:
    """Random states of rank 2: reduced states of Haar-random ones with an ancilla of 2."""
    return normalised(random_gaussian((n, d, 2), rng))


def nearly_pure_rank_2(n: int, d: int, rng: Generator) -> Tensor:
    """(1 - e) of one Haar-random vector and e of one orthogonal to it, e log-uniform."""
    vectors = random_unitary(n, d, rng)[..., :2]
    low, high = torch.tensor(SECOND, dtype=torch.float64).log()
    small = torch.exp(low + (high - low) * torch.as_tensor(rng.random(n)))
    weight = torch.stack([1 - small, small], -1)
    return normalised(vectors * weight.sqrt()[:, None, :])


def dephased_bell(n: int, d: int, rng: Generator) -> Tensor:
    """Phi+ after a phase flip of some probability, under random local unitaries."""
    p = _uniform(n, FLIP, rng)[:, None, None]
    return _locally(
        (1 - p) * named_state("phi+", 2) + p * named_state("phi-", 2),
        rng,
    )


def damped_bell(n: int, d: int, rng: Generator) -> Tensor:
    """Phi+ after amplitude damping of each qubit, under random local unitaries."""
    zero = torch.zeros(n, dtype=torch.complex128)
    kraus = []
    for _ in range(2):
        decay = _uniform(n, DECAY, rng).to(torch.complex128)
        keep = torch.stack([zero + 1, zero, zero, (1 - decay).sqrt()], -1)
        lose = torch.stack([zero, decay.sqrt(), zero, zero], -1)
        kraus.append(torch.stack([keep, lose], 1).reshape(n, 2, 2, 2))
    rho = named_state("phi+", 2)
    out = torch.zeros(n, 4, 4, dtype=torch.complex128)
    for i in range(2):
        for j in range(2):
            both = kron_all(torch.stack([kraus[0][:, i], kraus[1][:, j]], 1))
            out = out + both @ rho @ both.mH
    return _locally(out, rng)


def w_reduced(n: int, d: int, rng: Generator) -> Tensor:
    """Two qubits of a three-qubit W state with white noise, under random local unitaries."""
    return _locally(_without_third("w", n, rng), rng)


def ghz_reduced(n: int, d: int, rng: Generator) -> Tensor:
    """Two qubits of a three-qubit GHZ state with white noise, under random local unitaries."""
    return _locally(_without_third("ghz", n, rng), rng)


def product_mixed(n: int, d: int, rng: Generator) -> Tensor:
    """Products of two mixed qubits, each of the Hilbert-Schmidt measure."""
    return kron_all(torch.stack([hilbert_schmidt(n, 2, rng) for _ in range(2)], 1))


def separable_rank_2(n: int, d: int, rng: Generator) -> Tensor:
    """Mixture of two random product vectors, with a uniform weight."""
    single = random_gaussian((n, 2, 2, 2), rng)
    kets = torch.einsum("nka,nkb->nkab", single[:, :, 0], single[:, :, 1]).reshape(n, 2, 4)
    kets = kets / kets.norm(dim=-1, keepdim=True)
    weight = _uniform(n, (0.0, 1.0), rng)
    half = kets * torch.stack([weight, 1 - weight], -1).sqrt()[..., None]
    return normalised(half.mT)


def x_states(n: int, d: int, rng: Generator) -> Tensor:
    """States with elements on both diagonals only, in the axes of the laboratory."""
    weights = torch.as_tensor(rng.dirichlet(np.ones(4), n))
    rho = torch.diag_embed(weights).to(torch.complex128)
    for j, k in ((0, 3), (1, 2)):
        size = _uniform(n, (0.0, 1.0), rng) * (weights[:, j] * weights[:, k]).sqrt()
        coherence = torch.polar(size, _uniform(n, (0.0, 2 * np.pi), rng))
        rho[:, j, k], rho[:, k, j] = coherence, coherence.conj()
    return rho


def ising_thermal(n: int, d: int, rng: Generator) -> Tensor:
    """Gibbs states of two spins, -Z Z - g (X 1 + 1 X), in the axes of the laboratory."""
    one = torch.eye(2, dtype=torch.complex128)
    zz = kron_all([PAULI[3], PAULI[3]])
    field = kron_all([PAULI[1], one]) + kron_all([one, PAULI[1]])
    g, temperature = _uniform(n, FIELD, rng), _log_uniform(n, TEMPERATURE, rng)
    values, vectors = torch.linalg.eigh(-zz - g[:, None, None] * field)
    weights = torch.softmax(-values / temperature[:, None], -1)
    rho = (vectors * weights[:, None]) @ vectors.mH
    return 0.5 * (rho + rho.mH)


def choi(n: int, d: int, rng: Generator) -> Tensor:
    """Choi states of random channels of one qubit with two Kraus operators."""
    columns = torch.linalg.qr(random_gaussian((n, 4, 2), rng))[0].reshape(n, 2, 2, 2)
    # The channel on one half of Phi+.
    kets = columns.mT.reshape(n, 2, 4) / 2**0.5
    return normalised(kets.mT)


def leaky_bell(n: int, d: int, rng: Generator) -> Tensor:
    """Bell-like vectors of any angle and phase that leak into 01, under random local unitaries."""
    angle, phase = _uniform(n, (0.3, 1.3), rng), _uniform(n, (0.0, 2 * np.pi), rng)
    ket = torch.zeros(n, 4, dtype=torch.complex128)
    ket[:, 0] = angle.cos().to(ket)
    ket[:, 3] = torch.polar(angle.sin(), phase)
    lost = _log_uniform(n, LEAK, rng)[:, None, None]
    other = torch.zeros(4, 4, dtype=torch.complex128)
    other[1, 1] = 1
    return _locally((1 - lost) * ket[:, :, None] * ket[:, None, :].conj() + lost * other, rng)


#: Families that were written down after the continuous families of the training.
LATER = ("separable_rank_2", "x_states", "ising_thermal", "choi", "leaky_bell")
#: Families by name; their places are part of the data: only appended to.
SEALED: Mapping[str, Draw] = MappingProxyType(
    {
        "rank_2": rank_2,
        "nearly_pure_rank_2": nearly_pure_rank_2,
        "dephased_bell": dephased_bell,
        "damped_bell": damped_bell,
        "w_reduced": w_reduced,
        "ghz_reduced": ghz_reduced,
        "product_mixed": product_mixed,
        "thermal": thermal,
        "separable_rank_2": separable_rank_2,
        "x_states": x_states,
        "ising_thermal": ising_thermal,
        "choi": choi,
        "leaky_bell": leaky_bell,
    }
)


def sealed_list(name: str, n: int = SEALED_SIZE) -> Tensor:
    """First states (n, 4, 4) of a sealed list.

    Raises
    ------
    ValueError
        No such list, or more states than it has.
    """
    if name not in SEALED:
        raise ValueError(f"unknown list {name!r}: expected one of {', '.join(SEALED)}")
    if not 1 <= n <= SEALED_SIZE:
        raise ValueError(f"a list has {SEALED_SIZE} states, asked for {n}")
    rng = stream(SEED_SEALED, "evaluate", list(SEALED).index(name))
    return SEALED[name](SEALED_SIZE, 4, rng)[:n]


def _without_third(name: str, n: int, rng: Generator) -> Tensor:
    """Noisy three-qubit states (n, 4, 4) whose last qubit is lost."""
    whole = with_white_noise(named_state(name, 3).expand(n, 8, 8), _uniform(n, NOISE, rng))
    return torch.einsum("sikjk->sij", whole.reshape(n, 4, 2, 4, 2))


def _locally(rho: Tensor, rng: Generator) -> Tensor:
    """States (n, 4, 4) under random unitaries of each qubit, Hermitian to the last bit."""
    n = len(rho)
    local = kron_all(random_unitary(2 * n, 2, rng).reshape(n, 2, 2, 2))
    out = local @ rho @ local.mH
    return 0.5 * (out + out.mH)


def _log_uniform(n: int, ends: tuple[float, float], rng: Generator) -> Tensor:
    low, high = np.log(ends)
    return torch.as_tensor(np.exp(rng.uniform(low, high, n)))


def _uniform(n: int, ends: tuple[float, float], rng: Generator) -> Tensor:
    return torch.as_tensor(rng.uniform(*ends, n))
