"""Purities of subsystems, and fidelities to stabiliser states, from compatible shots.

Both are sums over Pauli observables, each estimated from all shots whose bases contain it
(`observables`), so that they have no bias however the bases were chosen. Their errors are those of
a jackknife over groups into which the shots of each setting are dealt evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.stats import norm

from physml.exceptions import InputError

from ...core.checks import check_probability
from ...core.stabilisers import named_generators, stabiliser_group
from ...data.shadow_records import ShadowRecords
from .observables import Array, ShadowEstimate, compatible_signs

#: Largest subsystem of a purity, which is a sum over 4^k observables.
MAX_SUBSYSTEM = 5
#: Most qubits of a fidelity, which is a sum over 2^n stabilisers.
MAX_FIDELITY = 10
#: Groups of a jackknife.
GROUPS = 40
#: Least shots of an observable that enters.
LEAST_SHOTS = 20


def purity(records: ShadowRecords, qubits: Sequence[int], level: float = 0.9) -> ShadowEstimate:
    """Purity tr rho_A^2 of some qubits, 2^(-Renyi-2 entropy), without bias.

    The mean of squares of all Pauli observables; the square of each is estimated from pairs of
    different shots. The interval is normal, with the standard error of a jackknife of groups.

    Parameters
    ----------
    records : ShadowRecords
        Of Pauli bases.
    qubits : sequence of int
        At most `MAX_SUBSYSTEM`.
    level : float

    Raises
    ------
    InputError
        No such qubits, too many, or an observable with fewer than two compatible shots.
    """
    level = check_probability(level, "level=")
    kept = list(qubits)
    if not kept or len(set(kept)) < len(kept) or not all(0 <= q < records.n_qubits for q in kept):
        raise InputError.expected(
            "purity", f"different qubits from 0 to {records.n_qubits - 1}", f"{kept}"[:60]
        )
    if len(kept) > MAX_SUBSYSTEM:
        raise InputError.expected("purity", f"at most {MAX_SUBSYSTEM} qubits", str(len(kept)))
    if records.axes is None:
        raise InputError.expected("purity", "Pauli bases", "others")
    total, numbers = _group_sums(records, _strings(records.n_qubits, kept))

    def value(sums: Array, shots: Array) -> float:
        squares = (sums**2 - shots) / (shots * (shots - 1))
        return float((1 + squares.sum()) / 2 ** len(kept))

    sums, shots = total.sum(0), numbers.sum(0)
    if (shots < LEAST_SHOTS).any():
        worst = _strings(records.n_qubits, kept)[int(shots.argmin())]
        raise InputError.expected(
            "purity", f"{LEAST_SHOTS} shots for each observable", f"{int(shots.min())} of {worst}"
        )
    left = np.array([value(sums - t, shots - m) for t, m in zip(total, numbers, strict=True)])
    # Where a mean is zero the square of it scatters by 2 / n^2, which a jackknife does not see.
    means = sums / shots
    second = (2 * np.square(1 - means**2) / (shots * (shots - 1))).sum() / 4 ** len(kept)
    variance = (GROUPS - 1) / GROUPS * np.square(left - left.mean()).sum() + second
    error = math.sqrt(variance)
    least = 0.5 ** len(kept)
    middle = min(max(value(sums, shots), least), 1.0)
    z = float(norm.ppf((1 + level) / 2))
    return ShadowEstimate(
        f"purity of {','.join(map(str, kept))}",
        middle,
        min(max(middle - z * error, least), 1.0),
        min(max(middle + z * error, least), 1.0),
        level,
        records.copies,
        None,
        "unbiased pairs, jackknife",
    )


def _strings(n: int, qubits: Sequence[int]) -> list[str]:
    """All Pauli strings but the identity on some of n qubits."""
    out = []
    for letters in product("IXYZ", repeat=len(qubits)):
        name = ["I"] * n
        for q, letter in zip(qubits, letters, strict=True):
            name[q] = letter
        out.append("".join(name))
    return out[1:]


def _group_sums(records: ShadowRecords, names: Sequence[str]) -> tuple[Array, Array]:
    """Sums of signs and numbers of compatible shots, (GROUPS, names), shots dealt out evenly."""
    rng = np.random.default_rng(0)
    share = np.full(GROUPS, 1 / GROUPS)
    dealt = np.stack([rng.multinomial(c, share) for c in records.counts]).T.astype(np.float64)
    sums, numbers = np.zeros((GROUPS, len(names))), np.zeros((GROUPS, len(names)))
    for k, name in enumerate(names):
        fits, signs = compatible_signs(records, name)
        sums[:, k], numbers[:, k] = dealt[:, fits] @ signs, dealt[:, fits].sum(1)
    return sums, numbers


def fidelity(
    records: ShadowRecords, target: str | Sequence[str], level: float = 0.9
) -> ShadowEstimate:
    """Fidelity to a stabiliser state: the mean of its 2^n stabilisers over compatible shots.

    The interval is normal, with the standard error of a jackknife of groups; stabilisers without
    a shot may be anything from -1 to 1, and the interval is as much wider.

    Parameters
    ----------
    records : ShadowRecords
        Of Pauli bases, of at most `MAX_FIDELITY` qubits.
    target : str or sequence of str
        Name (`named_generators`), or stabiliser generators, one for each qubit.
    level : float

    Raises
    ------
    InputError
    """
    level, n = check_probability(level, "level="), records.n_qubits
    if records.axes is None or n > MAX_FIDELITY:
        raise InputError.expected(
            "fidelity", f"Pauli bases of at most {MAX_FIDELITY} qubits", f"{n} qubits, or others"
        )
    generators = named_generators(target, n) if isinstance(target, str) else list(target)
    if len(generators) != n:
        raise InputError.expected("stabilisers", f"{n}, one for each qubit", str(len(generators)))
    group = stabiliser_group(generators)[1:]
    signs = np.array([sign for _, sign in group], np.float64)
    total, numbers = _group_sums(records, [name for name, _ in group])
    sums, shots = total.sum(0), numbers.sum(0)
    known = shots >= LEAST_SHOTS
    if known.sum() < len(group) / 2:
        raise InputError.expected(
            "fidelity",
            f"shots of at least half of the {len(group)} stabilisers",
            f"of {int(known.sum())}",
            "Measure settings that contain more of them.",
        )

    def value(t: Array, m: Array) -> float:
        return float((1 + (signs[known] * t[known] / m[known]).sum()) / 2**n)

    left = np.array([value(sums - t, shots - m) for t, m in zip(total, numbers, strict=True)])
    error = math.sqrt((GROUPS - 1) / GROUPS * np.square(left - left.mean()).sum())
    wide = float(norm.ppf((1 + level) / 2)) * error + (~known).sum() / 2**n
    middle = value(sums, shots)
    # Perfect outcomes have no scatter: at least what the fewest shots of a stabiliser leave open.
    floor = (len(group) / 2**n) * (1 - (1 - level) ** (1 / float(shots[known].min())))
    return ShadowEstimate(
        "fidelity",
        middle,
        min(max(middle - max(wide, floor), 0.0), 1.0),
        max(min(middle + wide, 1.0), 0.0),
        level,
        records.copies,
        None,
        f"{int(known.sum())} of {len(group)} stabilisers, jackknife",
    )
