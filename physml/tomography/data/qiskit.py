"""Counts of qiskit.

Qubit 0 is the leftmost factor here. In qiskit it is the last character of a bit string or of a
Pauli label; both are turned round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.checks import check_qubits
from ..core.measurements import Setting, pauli_setting
from .counts.marginals import marginal
from .counts.outcomes import Measured
from .counts.qiskit_keys import qiskit_counts
from .counts.qiskit_objects import Labelled, label_text, labelled
from .counts.whole import compare_shots
from .records import Measurement, Records


def from_qiskit(
    results: Any,
    labels: Sequence[Any] | None = None,
    *,
    measured: Sequence[int] | Measured | None = None,
    register: str | None = None,
    tuples: str | None = None,
    remarks: list[str] | None = None,
) -> list[tuple[Setting, NDArray[np.int64]]]:
    """Settings and counts of circuits that end in Pauli measurements.

    Parameters
    ----------
    results : mapping, or objects of qiskit
        Label, one of X, Y, Z for each qubit, of which the last is qubit 0 -> counts as for
        `qiskit_counts`; or objects of qiskit, see `counts.qiskit_objects.labelled`.
    labels : sequence, optional
        Label of each circuit, where the results have none: those of samplers.
    measured : sequence of int, optional
        Bits of the qubits, where there are more bits; bit 0 is the last one.
    register : str, optional
        Classical register that holds the outcomes, where there are several.
    tuples : {"first", "last"}, optional
        Where qubit 0 stands in labels that are sequences.
    remarks : list of str, optional
        Gets what was assumed.

    Returns
    -------
    list of (Setting, ndarray (2^n,))
        The id of a setting is its label with qubit 0 first; if it is there several times, with a
        number behind.

    Raises
    ------
    InputError
        Labels of other letters or of different lengths, a setting without counts, or bad counts.
    """
    circuits = labelled(results, labels, register)
    if not circuits:
        raise InputError.expected("qiskit results", "counts by label", repr(results)[:80])
    choice = measured if isinstance(measured, Measured) else Measured.of(measured)
    _not_probabilities(circuits)
    names = [label_text(c.label, tuples) for c in circuits]
    lengths = sorted({len(name) for name in names})
    if len(lengths) > 1:
        raise InputError.expected("qiskit results", "labels of one length", str(lengths))
    check_qubits(lengths[0], "qiskit results, labels")
    repeated = Counter(names)
    if isinstance(results, Mapping) and max(repeated.values()) > 1:
        name = repeated.most_common(1)[0][0]
        both = [repr(c.label) for c, other in zip(circuits, names, strict=True) if other == name]
        raise InputError.expected("qiskit results", "each label once", " and ".join(both))
    seen: Counter[str] = Counter()
    every = {key for c in circuits if isinstance(c.counts, Mapping) for key in c.counts}
    out = []
    for circuit, name in zip(circuits, names, strict=True):
        place = f"counts of {circuit.label}"
        own = choice
        if choice.places is None and circuit.bits is not None:
            own = _of_circuit(circuit.bits, len(name), place)
        values = qiskit_counts(circuit.counts, len(name), place, own, every, remarks)
        if not values.sum():
            raise InputError.expected(place, "at least one", "none")
        seen[name] += 1
        label = name if repeated[name] == 1 else f"{name}#{seen[name]}"
        shots = int(values.sum()) if circuit.shots is None else circuit.shots
        out.append((replace(pauli_setting(name), id=label, shots=shots), values))
    return out


def records_from_qiskit(
    results: Any,
    labels: Sequence[Any] | None = None,
    *,
    measured: Sequence[int] | Measured | None = None,
    register: str | None = None,
    tuples: str | None = None,
    name: str = "qiskit",
) -> Records:
    """Records of circuits that end in Pauli measurements.

    Parameters
    ----------
    results : mapping, or objects of qiskit
    labels : sequence, optional
        See `from_qiskit`.
    measured : sequence of int, optional
        Bits of the qubits of the labels, where there are more bits; where there are not, the
        qubits that are wanted, the others are left out.
    register : str, optional
    tuples : {"first", "last"}, optional
        See `from_qiskit`.
    name : str
        For titles.

    Raises
    ------
    InputError
        See `from_qiskit`.
    """
    choice = measured if isinstance(measured, Measured) else Measured.of(measured)
    remarks: list[str] = []
    made = from_qiskit(
        results, labels, measured=choice, register=register, tuples=tuples, remarks=remarks
    )
    n = made[0][0].dimension.bit_length() - 1
    remarks += compare_shots([(s.id, s.shots, int(c.sum())) for s, c in made], name)
    records = Records(n, [Measurement(s, c) for s, c in made], name=name, remarks=remarks)
    if choice.places is not None and not choice.used:
        choice.used = True
        return marginal(records, choice.places)
    return records


def _of_circuit(bits: tuple[int, ...], n: int, place: str) -> Measured:
    """Choice of the bits that a circuit itself names."""
    if len(bits) != n:
        raise InputError.expected(f"{place}, clbits", f"{n} bits", f"{len(bits)}")
    return Measured(bits)


def _not_probabilities(circuits: Sequence[Labelled]) -> None:
    """Refuse floats that add up to one in each circuit: one copy each, or probabilities."""
    for circuit in circuits:
        values = list(circuit.counts.values()) if isinstance(circuit.counts, Mapping) else []
        if not values or not all(isinstance(v, float | np.floating) for v in values):
            return
        if abs(sum(values) - 1) > 1e-9 or any(v not in (0, 1) for v in values):
            return
    raise InputError.expected(
        "qiskit results", "counts", "numbers that are 1 together, as probabilities are"
    )
