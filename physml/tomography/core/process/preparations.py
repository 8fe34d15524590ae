"""Input states of process tomography by their labels, qubit 0 first."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np

from physml.exceptions import InputError

from .channels import Complex

_R = 0.5**0.5
_KETS = {
    "0": (1, 0),
    "1": (0, 1),
    "+": (_R, _R),
    "-": (_R, -_R),
    "+i": (_R, 1j * _R),
    "-i": (_R, -1j * _R),
}
#: Other names of the six cardinal states, in small letters: axis and sign, and qiskit's labels.
_NAMES = {
    **{name: name for name in _KETS},
    "i": "+i",
    "r": "+i",
    "l": "-i",
    **dict(zip(("z+", "z-", "x+", "x-", "y+", "y-"), _KETS, strict=True)),
    **dict(zip(("zp", "zm", "xp", "xm", "yp", "ym"), _KETS, strict=True)),
}
CARDINAL = tuple(_KETS)


def input_names(label: str, n_qubits: int, place: str = "input") -> tuple[str, ...]:
    """Cardinal states of a label such as ``0+``, ``+i,1``, ``Zp Xm``: one of each qubit.

    Parameters
    ----------
    label : str
        The names of the qubits one after another, or set apart by commas, spaces or bars.
    n_qubits : int
    place : str
        What to call it in errors.

    Raises
    ------
    InputError
        There is no such state, not one for each qubit, or more than one reading.
    """
    text = label.strip().lower().strip("|>")
    for mark in ",;|*":
        text = text.replace(mark, " ")
    readings: set[tuple[str, ...]] = set()
    if len(words := text.split()) > 1:
        if len(words) == n_qubits and all(word in _NAMES for word in words):
            readings.add(tuple(_NAMES[word] for word in words))
    else:
        for cut in product((1, 2), repeat=n_qubits):
            ends = np.cumsum((0, *cut))
            parts = [text[a:b] for a, b in pairwise(ends)]
            if ends[-1] == len(text) and all(part in _NAMES for part in parts):
                readings.add(tuple(_NAMES[part] for part in parts))
    if len(readings) != 1:
        found = repr(label)[:40] + (", which can be read in two ways" if readings else "")
        raise InputError.expected(
            place,
            f"a state of {n_qubits} qubits, each of 0, 1, +, -, +i, -i",
            found,
            "Set the names of qubits apart by commas." if readings else None,
        )
    return readings.pop()


def input_state(names: tuple[str, ...]) -> Complex:
    """Density matrix (d, d) of a cardinal state of each qubit."""
    psi: Complex = np.ones(1, np.complex128)
    for name in names:
        psi = np.asarray(np.kron(psi, np.array(_KETS[name], np.complex128)))
    return np.outer(psi, psi.conj())


def cardinal_inputs(n_qubits: int) -> list[tuple[str, ...]]:
    """All products of the six cardinal states, 6^n of them."""
    return list(product(CARDINAL, repeat=n_qubits))
