"""Families of one- and two-qubit processes that no factor was chosen on.

Frozen lists, drawn by a seed of their own: a gate, which is also what was meant, and noise that
the families of `simulator.processes` do not have. They were written down, with all their numbers,
before any score was computed; ``pipelines/tomography/SEALED.md`` says who looked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from physml.random import stream

from ..core.process.channels import GATES, Complex, choi_of_kraus
from ..simulator.processes import compose, dephasing, haar, on_each

#: Seed of all lists, unlike any of a choice of factors or of other lists.
SEED_PROCESSES = 73_905_161
#: Processes of a list; shorter lists are the first of it.
SEALED_SIZE = 100
GATE_NAMES = {2: ("i", "h", "s", "t", "sx"), 4: ("ii", "cx", "cz", "iswap")}
#: Duration in units of T1, log-uniform; T2 / T1 and the population of the excited state, uniform.
DURATION, COHERENCE, EXCITED = (1e-3, 0.5), (0.3, 2.0), (0.0, 0.3)
#: Angle of the coupling ZZ and of the turn about X too far [rad], and flips of all phases together.
COUPLING, TOO_FAR, FLIPS = (0.01, 0.5), (0.003, 0.2), (1e-3, 0.1)
#: Probability that another unitary is done, and that a qubit is set to some state; log-uniform.
OTHER, RESET = (0.01, 0.4), (0.01, 0.5)


def relaxed(d: int, rng: Generator) -> Complex:
    """Relaxation of each qubit with its T1, T2 and temperature."""
    each = []
    for _ in range(d.bit_length() - 1):
        t = _log_uniform(rng, *DURATION)
        decay, excited = 1 - np.exp(-t), rng.uniform(*EXCITED)
        # Decay alone takes exp(-t / 2) off the coherence; pure dephasing takes the rest.
        pure = np.exp(-t * (1 / rng.uniform(*COHERENCE) - 0.5))
        each.append(compose(dephasing((1 - pure) / 2), thermal_damping(decay, excited)))
    return on_each(each)


def thermal_damping(decay: float, excited: float) -> Complex:
    """Kraus operators of one qubit that goes towards a population of the excited state 1."""
    keep, lose = (1 - decay) ** 0.5, decay**0.5
    down = np.array([[[1, 0], [0, keep]], [[0, lose], [0, 0]]])
    up = np.array([[[keep, 0], [0, 1]], [[0, 0], [lose, 0]]])
    both = np.concatenate([(1 - excited) ** 0.5 * down, excited**0.5 * up])
    return both.astype(np.complex128)


def crosstalk(d: int, rng: Generator) -> Complex:
    """Turns about X too far, a coupling ZZ (Z of one qubit), and flips of all phases together."""
    n = d.bit_length() - 1
    turns = [_turn(GATES["x"], _log_uniform(rng, *TOO_FAR) * rng.choice((-1, 1))) for _ in range(n)]
    zz: Complex = GATES["z"] if n == 1 else np.asarray(np.kron(GATES["z"], GATES["z"]))
    p = _log_uniform(rng, *FLIPS)
    flips = np.stack([(1 - p) ** 0.5 * np.eye(d), p**0.5 * zz])
    return compose(flips, compose(_turn(zz, _log_uniform(rng, *COUPLING)), on_each(turns)))


def mixed_unitaries(d: int, rng: Generator) -> Complex:
    """Another unitary, one of two random ones, is done with some probability."""
    p = _log_uniform(rng, *OTHER)
    others = [(p / 2) ** 0.5 * haar(d, rng) for _ in range(2)]
    return np.concatenate([(1 - p) ** 0.5 * np.eye(d, dtype=np.complex128)[None], *others])


def reset(d: int, rng: Generator) -> Complex:
    """One qubit is set to a random pure state with some probability."""
    n = d.bit_length() - 1
    p = _log_uniform(rng, *RESET)
    state = haar(2, rng)[0][:, 0]
    lost = np.stack([np.outer(state, bra) for bra in np.eye(2)])
    kraus = np.concatenate([(1 - p) ** 0.5 * GATES["i"][None], p**0.5 * lost])
    still = GATES["i"][None]
    which = int(rng.integers(n))
    return on_each([kraus if k == which else still for k in range(n)])


def entanglement_breaking(d: int, rng: Generator) -> Complex:
    """Measurement in a random basis, and a random pure state prepared for each outcome."""
    bras = haar(d, rng)[0].conj().T
    kets = np.stack([haar(d, rng)[0][:, 0] for _ in range(d)])
    return np.einsum("ki,kj->kij", kets, bras)


#: Noise after the gate by family: Kraus operators (k, d, d) of one draw.
SEALED_PROCESSES: Mapping[str, Callable[[int, Generator], Complex]] = MappingProxyType(
    {f.__name__: f for f in (relaxed, crosstalk, mixed_unitaries, reset, entanglement_breaking)}
)


def sealed_processes(family: str, n_qubits: int, size: int) -> list[tuple[Complex, Complex]]:
    """First processes of a sealed list.

    Parameters
    ----------
    family : str
        Of `SEALED_PROCESSES`.
    n_qubits : int
        1 or 2.
    size : int
        At most `SEALED_SIZE`.

    Returns
    -------
    list of (ndarray (d^2, d^2), ndarray (d, d))
        Choi matrix, and the unitary that was meant: a gate by name, or in half of the cases a
        random one.
    """
    if not 0 < size <= SEALED_SIZE:
        raise ValueError(f"1 to {SEALED_SIZE} processes, not {size}")
    number = list(SEALED_PROCESSES).index(family)
    rng = stream(SEED_PROCESSES, "test", 10 * number + n_qubits)
    d = 1 << n_qubits
    out = []
    for _ in range(size):
        names = GATE_NAMES[d]
        gate = haar(d, rng) if rng.uniform() < 0.5 else GATES[rng.choice(names)][None]
        noise = SEALED_PROCESSES[family](d, rng)
        out.append((choi_of_kraus(compose(noise, gate)), gate[0]))
    return out


def _turn(axis: Complex, angle: float) -> Complex:
    """Kraus operator (1, d, d) of exp(-i angle axis / 2), axis^2 = 1."""
    return (np.cos(angle / 2) * np.eye(len(axis)) - 1j * np.sin(angle / 2) * axis)[None]


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
