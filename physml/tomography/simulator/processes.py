"""Random processes by family, and counts of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg import expm

from ..core.operators import random_unitary
from ..core.process.channels import GATES, Complex, choi_of_kraus, transform

#: Angle of a drift [rad], and probability scale of all jumps together; log-uniform.
DRIFT, JUMPS = (1e-3, 0.5), (1e-4, 3.0)
_PAULI = np.stack([GATES[name] for name in "ixyz"])


def compose(after: Complex, before: Complex) -> Complex:
    """Kraus operators of one process after another."""
    return np.einsum("aij,bjk->abik", after, before).reshape(-1, *before.shape[1:])


def small_unitary(d: int, angle: float, rng: Generator) -> Complex:
    """Kraus operator (1, d, d) of a rotation about a random axis.

    Parameters
    ----------
    d : int
    angle : float
        Norm of its generator over sqrt d [rad].
    rng : Generator
    """
    a = rng.standard_normal((2, d, d))
    h = a[0] + a[0].T + 1j * (a[1] - a[1].T)
    h -= np.trace(h) / d * np.eye(d)
    values, vectors = np.linalg.eigh(h * angle * d**0.5 / np.linalg.norm(h))
    return np.asarray(((vectors * np.exp(1j * values)) @ vectors.conj().T)[None])


def haar(d: int, rng: Generator) -> Complex:
    """Kraus operator (1, d, d) of a random unitary."""
    return random_unitary(1, d, rng).numpy()


def depolarising(d: int, p: float) -> Complex:
    """Kraus operators: with probability p the state is lost to the maximally mixed one."""
    paulis = _PAULI if d == 2 else np.einsum("aij,bkl->abikjl", _PAULI, _PAULI)
    paulis = paulis.reshape(-1, d, d)
    weights = np.full(len(paulis), p / d**2)
    weights[0] += 1 - p
    return np.asarray(weights[:, None, None] ** 0.5 * paulis)


def amplitude_damping(gamma: float) -> Complex:
    """Kraus operators of one qubit that falls from 1 to 0 with probability gamma."""
    return np.array([[[1, 0], [0, (1 - gamma) ** 0.5]], [[0, gamma**0.5], [0, 0]]], np.complex128)


def dephasing(p: float) -> Complex:
    """Kraus operators of one qubit whose phase is flipped with probability p."""
    return np.stack([(1 - p) ** 0.5 * _PAULI[0], p**0.5 * _PAULI[3]])


def on_each(kraus: Sequence[Complex]) -> Complex:
    """Kraus operators of independent processes of the qubits, the first on qubit 0."""
    out = kraus[0]
    for other in kraus[1:]:
        d = out.shape[-1] * other.shape[-1]
        out = np.einsum("aij,bkl->abikjl", out, other).reshape(-1, d, d)
    return out


def _rate(rng: Generator, low: float = 1e-3, high: float = 0.2) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _gate(d: int, rng: Generator) -> Complex:
    """A gate by name with a random error, or a random unitary."""
    names = ("h", "s", "t", "sx") if d == 2 else ("cx", "cz", "iswap", "ii")
    if rng.uniform() < 0.5:
        return haar(d, rng)
    return compose(small_unitary(d, _rate(rng), rng), GATES[names[rng.integers(len(names))]][None])


def _n(d: int) -> int:
    return d.bit_length() - 1


def _random_kraus(d: int, rng: Generator) -> Complex:
    rank = int(rng.integers(1, d * d + 1))
    g = rng.standard_normal((rank, d, d, 2)) @ np.array([1, 1j])
    t = np.einsum("kai,kaj->ij", g.conj(), g)
    values, vectors = np.linalg.eigh(t)
    return np.asarray(g @ ((vectors / values**0.5) @ vectors.conj().T))


#: Processes of dimension d by family: Kraus operators (k, d, d) of one draw.
FAMILIES: dict[str, Callable[[int, Generator], Complex]] = {
    "depolarised": lambda d, rng: compose(depolarising(d, _rate(rng)), _gate(d, rng)),
    "damped": lambda d, rng: compose(
        on_each([amplitude_damping(_rate(rng)) for _ in range(_n(d))]), _gate(d, rng)
    ),
    "dephased": lambda d, rng: compose(
        on_each([dephasing(_rate(rng)) for _ in range(_n(d))]), _gate(d, rng)
    ),
    "coherent": lambda d, rng: compose(depolarising(d, _rate(rng, 1e-4, 3e-3)), _gate(d, rng)),
    "random_rank": _random_kraus,
    "mixed_noise": lambda d, rng: compose(
        on_each(
            [compose(amplitude_damping(_rate(rng)), dephasing(_rate(rng))) for _ in range(_n(d))]
        ),
        compose(depolarising(d, _rate(rng)), _gate(d, rng)),
    ),
}


def drifting(d: int, rng: Generator) -> tuple[Complex, Complex]:
    """Choi matrix of a random unitary under a random Lindblad equation, and the unitary (d, d).

    One continuous family from unitaries to strong noise of any rank: 1 to d^2 - 1 random jump
    operators with Dirichlet weights, a Hamiltonian and jumps of log-uniform strengths, for a time
    of one (G. Lindblad, Commun. Math. Phys. 48, 119, 1976).
    """
    u = haar(d, rng)[0]
    angle, scale = _rate(rng, *DRIFT), _rate(rng, *JUMPS)
    number = int(rng.integers(1, d * d))
    g = rng.standard_normal((number + 1, d, d, 2)) @ np.array([1, 1j])
    h = g[0] + g[0].conj().T
    h *= angle * d**0.5 / np.linalg.norm(h)
    weights = rng.dirichlet(np.full(number, 0.5)) * scale * d
    jumps = g[1:] * (weights / np.square(np.abs(g[1:])).sum((-2, -1)))[:, None, None] ** 0.5
    rate = np.einsum("kji,kjl->il", jumps.conj(), jumps)
    left = -1j * h - 0.5 * rate
    eye = np.eye(d)
    # Rows of rho one after another: A rho B has the matrix A (x) B^T.
    total = np.kron(left, eye) + np.kron(eye, left.conj())
    total += sum(np.kron(a, a.conj()) for a in jumps)
    step = expm(total) @ np.kron(u, u.conj())
    # The column |i><j| becomes E(|i><j|): indices (a b, i j) to (i a, j b).
    return np.asarray(step.reshape([d] * 4).transpose(2, 0, 3, 1).reshape(d * d, d * d)), u


def draw(family: str, d: int, rng: Generator) -> Complex:
    """Choi matrix (d^2, d^2) of a random process of a family of `FAMILIES`."""
    return choi_of_kraus(FAMILIES[family](d, rng))


def process_counts(
    choi: Complex, rho: Complex, effects: Complex, shots: NDArray[np.int64], rng: Generator
) -> NDArray[np.int64]:
    """Counts (S, k) of settings: inputs (S, d, d), effects (S, k, d, d), shots (S,)."""
    out = np.stack([transform(choi, r) for r in rho])
    p = np.clip(np.einsum("skij,sji->sk", effects, out).real, 0, None)
    return np.stack(
        [rng.multinomial(n, q / q.sum()) for n, q in zip(shots, p, strict=True)]
    ).astype(np.int64)
