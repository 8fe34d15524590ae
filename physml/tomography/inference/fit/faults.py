"""Faults of laboratories, as other measurements than were asked for.

Data that fit a state under a fault and none without are explained by it: it is a place to look
first, no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.measurements import Setting, global_setting, product_setting
from ...core.operators import to_coordinates

Rows = list[NDArray[np.float64]]


def faults_of(
    settings: Sequence[Setting], really: Callable[[Setting], Setting]
) -> Iterator[tuple[str, Rows]]:
    """Each fault in words, with the coordinates of what is measured under it.

    Parameters
    ----------
    settings : sequence of Setting
        That were asked for, in the order of time.
    really : callable
        Puts the readout errors into a setting.

    Yields
    ------
    words : str
        To be read behind "if".
    rows : list of ndarray (k, d * d)
        Coordinates of the effects of each setting under the fault.
    """

    def rows(changed: Sequence[Setting]) -> Rows:
        return [to_coordinates(torch.from_numpy(really(s).effects)).numpy() for s in changed]

    asked = rows(settings)
    n = settings[0].dimension.bit_length() - 1
    if all(s.basis is not None for s in settings):
        yield (
            "each rotation was applied as U in place of its conjugate transpose",
            rows([_inverted(s) for s in settings]),
        )
    if len({len(row) for row in asked}) == 1 and len(asked) > 1:
        yield (
            "each count belongs to the setting before (a stale setting or answer)",
            [asked[0], *asked[:-1]],
        )
        yield "each count belongs to the setting after", [*asked[1:], asked[-1]]
    if all(len(s.effects) == s.dimension for s in settings):
        if n > 1:
            order = [int(format(k, f"0{n}b")[::-1], 2) for k in range(1 << n)]
            yield (
                "the bits of the outcomes are in the reverse order of the qubits",
                rows([replace(s, effects=s.effects[order]) for s in settings]),
            )
        for mask in range(1, 1 << n):
            flipped = [q for q in range(n) if mask >> (n - 1 - q) & 1]
            order = [k ^ mask for k in range(1 << n)]
            yield (
                f"the outcomes 0 and 1 of {_qubits(flipped)} are exchanged",
                rows([replace(s, effects=s.effects[order]) for s in settings]),
            )
    for q in range(n):
        for a, b in combinations(range(3), 2):
            yield (
                f"the axes {'XYZ'[a]} and {'XYZ'[b]} of qubit {q} are exchanged",
                [_exchanged(row, n, q, a + 1, b + 1) for row in asked],
            )


def _inverted(setting: Setting) -> Setting:
    if setting.local is not None:
        adjoint = setting.local.conj().swapaxes(-1, -2)
        return product_setting(adjoint, setting.shots, setting.id, setting.outcomes)
    assert setting.basis is not None
    return global_setting(setting.basis.conj().T, setting.shots, setting.id, setting.outcomes)


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
