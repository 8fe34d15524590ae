"""Faults of laboratories, as other measurements than were asked for.

Data that fit a state under a fault and none without are explained by it: it is a place to look
first, no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.measurements import Setting
from ...core.operators import from_coordinates, to_coordinates

#: Rounding of eigenvalues of effects.
SMALL = 1e-9

Rows = list[NDArray[np.float64]]


@dataclass(frozen=True)
class Fault:
    """A fault, or several under which data of any state are those of another state of the same set.

    Attributes
    ----------
    words : tuple of str
        To be read behind "if": each of them explains the data equally well.
    rows : list of ndarray (k, d * d)
        Coordinates of the effects of each setting under the fault.
    """

    words: tuple[str, ...]
    rows: Rows


def faults_of(
    settings: Sequence[Setting], really: Callable[[Setting], Setting], asked: Rows | None = None
) -> Iterator[Fault]:
    """Each fault that data could show.

    Parameters
    ----------
    settings : sequence of Setting
        That were asked for, in the order of time.
    really : callable
        Puts the readout errors into a setting.
    asked : list of ndarray (k, d * d), optional
        Coordinates of their effects with the readout errors.

    Notes
    -----
    Where all settings are products, the exchange of two axes of one qubit and the exchange of its
    outcomes are mirrors of its Bloch sphere. They differ by rotations, which are another state's:
    all of them are as likely as a transposition of that qubit. Of two qubits a transposition of the
    one is as likely as that of the other, and the mirrors of both together, a transposition of the
    whole state, cannot be seen at all.
    """
    asked = _rows(settings, really) if asked is None else asked
    n = settings[0].dimension.bit_length() - 1
    if all(s.basis is not None for s in settings):
        changed = [replace(s, effects=_inverted(s)) for s in settings]
        yield Fault(
            ("each rotation was applied as U in place of its conjugate transpose",),
            _rows(changed, really),
        )
    if len({len(row) for row in asked}) == 1 and len(asked) > 1:
        yield Fault(
            ("each count belongs to the setting before (a stale setting or answer)",),
            [asked[0], *asked[:-1]],
        )
        yield Fault(("each count belongs to the setting after",), [*asked[1:], asked[-1]])
    binary = all(len(s.effects) == s.dimension for s in settings)
    if binary and n > 1:
        order = [int(format(k, f"0{n}b")[::-1], 2) for k in range(1 << n)]
        yield Fault(
            ("the bits of the outcomes are in the reverse order of the qubits",),
            _rows([replace(s, effects=s.effects[order]) for s in settings], really),
        )
    local = all(s.local is not None for s in settings)
    if n > 1 and (local or _positive_when_transposed(asked, n)):
        yield from _mirrors(asked, n, local)
    if binary and not local:
        for mask in range(1, 1 << n):
            order = [k ^ mask for k in range(1 << n)]
            yield Fault(
                (_flipped(mask, n),),
                _rows([replace(s, effects=s.effects[order]) for s in settings], really),
            )


def _mirrors(asked: Rows, n: int, outcomes: bool) -> Iterator[Fault]:
    """Transposition of each qubit; of two, that of the one is that of the other."""
    for qubits in [range(n)] if n == 2 else [range(q, q + 1) for q in range(n)]:
        words = [
            f"the axes {'XYZ'[a]} and {'XYZ'[b]} of qubit {q} are exchanged"
            for q in qubits
            for a, b in combinations(range(3), 2)
        ]
        if outcomes:
            words += [_flipped(1 << (n - 1 - q), n) for q in qubits]
        yield Fault(tuple(words), [_exchanged(row, n, qubits[0], 1, 2) for row in asked])


def _positive_when_transposed(asked: Rows, n: int) -> bool:
    """Whether exchanged axes leave effects: those that are entangled become what cannot be."""
    rows = np.concatenate(asked)
    return all(
        float(torch.linalg.eigvalsh(from_coordinates(torch.from_numpy(turned))).min()) > -SMALL
        for turned in (_exchanged(rows, n, q, 1, 2) for q in range(n))
    )


def _flipped(mask: int, n: int) -> str:
    qubits = [q for q in range(n) if mask >> (n - 1 - q) & 1]
    return f"the outcomes 0 and 1 of {_qubits(qubits)} are exchanged"


def _rows(settings: Sequence[Setting], really: Callable[[Setting], Setting]) -> Rows:
    """Coordinates of what is measured, with the readout errors."""
    effects = [really(s).effects for s in settings]
    ends = np.cumsum([len(e) for e in effects])[:-1]
    return np.split(to_coordinates(torch.from_numpy(np.concatenate(effects))).numpy(), ends)


def _inverted(setting: Setting) -> NDArray[np.complex128]:
    """Effects (d, d, d) of a setting whose basis U was applied as its adjoint."""
    assert setting.basis is not None
    rows = setting.basis.conj()  # the columns of the adjoint
    return rows[:, :, None] * rows.conj()[:, None, :]


def _exchanged(
    rows: NDArray[np.float64], n: int, qubit: int, a: int, b: int
) -> NDArray[np.float64]:
    """Coordinates of effects with two Pauli axes of a qubit exchanged."""
    cube = rows.reshape(len(rows), *[4] * n)
    order = np.arange(4)
    order[[a, b]] = order[[b, a]]
    out: NDArray[np.float64] = np.take(cube, order, axis=1 + qubit).reshape(rows.shape)
    return out


def _qubits(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"qubit {numbers[0]}"
    return f"qubits {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
