"""Ensembles of random states, drawn in batches.

`ENSEMBLES` maps a name to `draw(n, d, rng)`, which gives density matrices (n, d, d), complex128.
All draws go through numpy, so that they do not depend on the device or the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from physml.exceptions import InputError

from .families import any_rank, noisy
from .operators import from_eigen, kron_all, n_qubits, random_gaussian, random_unitary
from .qobj import as_density_matrix

Draw = Callable[[int, int, Generator], Tensor]

#: Shares of the parts of the training prior `mixture`. Below 1e3 copies the prior decides; states
#: of nearly full and of nearly rank one must both be common in it, and no rank, no spectrum and no
#: noise may be missing.
MIXTURE: Mapping[str, float] = MappingProxyType(
    {
        **{"any_rank": 0.19, "noisy": 0.16, "rank_adaptive": 0.1, "hs": 0.3, "bures": 0.05},
        **{"pure": 0.07, "pure_white": 0.13},
    }
)

#: Largest tau of `rank_adaptive`, and shares of the white noise of `pure_white`.
LARGEST_TAU = 5.0
WHITE_NOISE = (1e-4, 0.3)

NAMED = ("phi+", "phi-", "psi+", "psi-", "ghz", "w", "0", "1", "+", "-", "i", "-i")


def named_state(name: str, n_qubits: int) -> Tensor:
    """Pure states by name: Bell states, GHZ, W, and ``0 1 + - i -i`` of each qubit.

    Raises
    ------
    InputError
        No such name, or not of that many qubits.
    """
    d = 1 << n_qubits
    psi: Any = np.zeros(d, np.complex128)
    key = name.lower()
    bells = {"phi+": (0, 3, 1), "phi-": (0, 3, -1), "psi+": (1, 2, 1), "psi-": (1, 2, -1)}
    single = {"0": (1, 0), "1": (0, 1), "+": (1, 1), "-": (1, -1), "i": (1, 1j), "-i": (1, -1j)}
    if key in bells:
        if n_qubits != 2:
            raise InputError.expected(f"state {name}", "2 qubits", str(n_qubits))
        a, b, sign = bells[key]
        psi[a], psi[b] = 1, sign
    elif key == "ghz":
        psi[0] = psi[-1] = 1
    elif key == "w":
        psi[[1 << k for k in range(n_qubits)]] = 1
    elif key in single:
        psi = np.ones(1, np.complex128)
        for _ in range(n_qubits):
            psi = np.kron(psi, np.array(single[key], np.complex128))
    else:
        raise InputError.expected("state", f"one of {', '.join(NAMED)}", repr(name))
    return as_density_matrix(psi, n_qubits, f"state {name}")


def normalised(a: Tensor) -> Tensor:
    """A A^+ / tr for each matrix (..., d, m), Hermitian to the last bit."""
    rho = a @ a.mH
    rho = 0.5 * (rho + rho.mH)
    return rho / torch.diagonal(rho, dim1=-2, dim2=-1).real.sum(-1)[..., None, None]


def projector(psi: Tensor) -> Tensor:
    """``|psi><psi| / <psi|psi>`` for vectors (..., d)."""
    return normalised(psi.unsqueeze(-1))


def with_white_noise(rho: Tensor, fraction: Tensor | float) -> Tensor:
    """(1 - fraction) rho + fraction / d; `fraction` is a number or (n,)."""
    d = rho.shape[-1]
    share = torch.as_tensor(fraction, dtype=torch.float64)[..., None, None]
    return (1 - share) * rho + share * torch.eye(d, dtype=rho.dtype) / d


def pure(n: int, d: int, rng: Generator) -> Tensor:
    """Haar-random pure states."""
    return projector(random_gaussian((n, d), rng))


def hilbert_schmidt(n: int, d: int, rng: Generator) -> Tensor:
    """Hilbert-Schmidt measure: reduced states of Haar-random ones with an ancilla of d.

    Zyczkowski, Sommers, J. Phys. A 34, 7111 (2001).
    """
    return normalised(random_gaussian((n, d, d), rng))


def bures(n: int, d: int, rng: Generator) -> Tensor:
    """Bures measure; Al Osipov, Sommers, Zyczkowski, J. Phys. A 43, 055302 (2010)."""
    ginibre = random_gaussian((n, d, d), rng)
    unitary = random_unitary(n, d, rng)
    return normalised(ginibre + unitary @ ginibre)


def rank_adaptive(n: int, d: int, rng: Generator, largest: float = LARGEST_TAU) -> Tensor:
    """a_0 a_0^+ + e^{-2 tau} sum_k a_k a_k^+ over its trace, tau in U(0, largest).

    The a_k (k < d) are Gaussian vectors: tau = 0 is the Hilbert-Schmidt measure, large tau nearly
    pure states.
    """
    vectors = random_gaussian((n, d, d), rng)
    tau = torch.from_numpy(rng.uniform(0, largest, n))
    scale = torch.ones(n, d, dtype=torch.float64)
    scale[:, 1:] = torch.exp(-tau)[:, None]
    return normalised(vectors * scale[:, None, :])


def pure_white(
    n: int, d: int, rng: Generator, fraction: float | tuple[float, float] = WHITE_NOISE
) -> Tensor:
    """Haar-random pure states with white noise; the fraction is fixed, or log-uniform."""
    states = pure(n, d, rng)
    return with_white_noise(states, _log_uniform(n, rng, fraction))


def thermal(
    n: int, d: int, rng: Generator, temperature: tuple[float, float] = (0.1, 10.0)
) -> Tensor:
    """Gibbs states e^{-H / T} / Z of random Hamiltonians.

    H is of the Gaussian unitary ensemble, scaled so that tr H^2 = d on average; T, in the same
    units, is log-uniform.
    """
    gauss = random_gaussian((n, d, d), rng)
    values, vectors = torch.linalg.eigh((gauss + gauss.mH) * (0.5 / d) ** 0.5)
    weights = torch.softmax(-values / _log_uniform(n, rng, temperature)[:, None], -1)
    rho = from_eigen(weights, vectors)
    return 0.5 * (rho + rho.mH)


def ghz(n: int, d: int, rng: Generator) -> Tensor:
    """``(|0...0> + |1...1>) / sqrt 2`` under random local unitaries and white noise up to 30 %."""
    psi = torch.zeros(d, dtype=torch.complex128)
    psi[0] = psi[-1] = 0.5**0.5
    return _family(psi, n, d, rng)


def w(n: int, d: int, rng: Generator) -> Tensor:
    """Equal sum of all basis states with one qubit in ``|1>``, as `ghz` otherwise."""
    psi = torch.zeros(d, dtype=torch.complex128)
    psi[[1 << q for q in range(n_qubits(d))]] = n_qubits(d) ** -0.5
    return _family(psi, n, d, rng)


def bell(n: int, d: int, rng: Generator) -> Tensor:
    """Bell pairs of neighbouring qubits under random local unitaries.

    Each pair is Bell-diagonal: a log-uniform part between 1e-3 and 0.3 is not in the first Bell
    state but spread at random over all four, as bit and phase flips do.
    """
    qubits = n_qubits(d)
    if qubits % 2:
        raise ValueError(f"Bell pairs need an even number of qubits, got {qubits}")
    pairs = qubits // 2
    lost = _log_uniform(n * pairs, rng, (1e-3, 0.3)).reshape(n, pairs, 1)
    weights = lost * torch.from_numpy(rng.dirichlet(np.ones(4), (n, pairs)))
    weights[..., :1] += 1 - lost
    states = kron_all(from_eigen(weights.to(torch.complex128), bell_basis()))
    return _under_local(states, rng)


def bell_basis() -> Tensor:
    """Bell states Phi+, Phi-, Psi+, Psi- in the columns of (4, 4)."""
    columns = [[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]]
    return torch.tensor(columns, dtype=torch.complex128).mT * 0.5**0.5


def bloch_length(n: int, d: int, rng: Generator, length: float = 1.0) -> Tensor:
    """One qubit whose Bloch vector has this length and a uniform direction."""
    if d != 2:
        raise ValueError(f"a Bloch vector is of one qubit (d = 2), got d = {d}")
    return with_white_noise(pure(n, 2, rng), 1 - length)


def mixture(n: int, d: int, rng: Generator, parts: Mapping[str, float] = MIXTURE) -> Tensor:
    """Training prior: each state is drawn from one of several ensembles (`MIXTURE`)."""
    return labelled_mixture(n, d, rng, parts)[0]


def labelled_mixture(
    n: int, d: int, rng: Generator, parts: Mapping[str, float] = MIXTURE
) -> tuple[Tensor, np.ndarray]:
    """As `mixture`, with the position in `parts` of each state's ensemble, int64 (n,)."""
    share = np.array(list(parts.values()), float)
    label = rng.choice(len(share), n, p=share / share.sum())
    out = torch.empty(n, d, d, dtype=torch.complex128)
    for i, name in enumerate(parts):
        chosen = np.flatnonzero(label == i)
        if len(chosen):
            out[torch.from_numpy(chosen)] = ENSEMBLES[name](len(chosen), d, rng)
    return out, label


def _family(psi: Tensor, n: int, d: int, rng: Generator) -> Tensor:
    noise = _log_uniform(n, rng, (1e-3, 0.3))
    return _under_local(with_white_noise(projector(psi).expand(n, d, d), noise), rng)


def _under_local(rho: Tensor, rng: Generator) -> Tensor:
    """Random local unitaries on each state (n, d, d)."""
    n, qubits = len(rho), n_qubits(rho.shape[-1])
    local = kron_all(random_unitary(n * qubits, 2, rng).reshape(n, qubits, 2, 2))
    out = local @ rho @ local.mH
    return 0.5 * (out + out.mH)


def _log_uniform(n: int, rng: Generator, ends: float | tuple[float, float]) -> Tensor:
    if isinstance(ends, tuple):
        low, high = np.log(ends)
        return torch.from_numpy(np.exp(rng.uniform(low, high, n)))
    return torch.full((n,), ends, dtype=torch.float64)


ENSEMBLES: Mapping[str, Draw] = MappingProxyType(
    {
        "pure": pure,
        "hs": hilbert_schmidt,
        "bures": bures,
        "rank_adaptive": rank_adaptive,
        "pure_white": pure_white,
        "pure_white_1": partial(pure_white, fraction=0.01),
        "pure_white_5": partial(pure_white, fraction=0.05),
        "any_rank": any_rank,
        "noisy": noisy,
        "thermal": thermal,
        "w": w,
        "ghz": ghz,
        "bell": bell,
        "mixture": mixture,
    }
)


def draw(name: str, n: int, d: int, rng: Generator) -> Tensor:
    """States of a named ensemble; ValueError where there is none of that name."""
    if name not in ENSEMBLES:
        raise ValueError(f"unknown ensemble {name!r}: expected one of {', '.join(ENSEMBLES)}")
    return ENSEMBLES[name](n, d, rng)
