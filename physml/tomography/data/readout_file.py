"""Readout errors as laboratories and other programs keep them: JSON, and objects of qiskit.

Read are, each with its own convention of bits and axes:

- ``{"confusion": ...}``: P(read | true), (n, 2, 2) or one matrix (2^n, 2^n) of all qubits;
- ``{"calibration": ...}``: counts, a row for each prepared state, or ``{"01": {"01": 96, ...}}``;
- a bare ``{"01": {"01": 96, ...}}``: counts of qiskit by the bits that were prepared;
- ``{"assignment_matrix": ...}`` and ``{"assignment_matrices": [...]}``: what qiskit's correlated
  and local mitigators hold, P(read | true) as well, of all qubits and of each;
- ``{"cals": [...], "shots": ...}``: what mthree writes, of each qubit, null where it has none.

``"bit_order"`` is "first" where qubit 0 is the first bit, as everywhere in physml, or "qiskit"
where it is the last one. Only of qiskit's own forms it is the latter by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.files import require_file

from ..core.readout import Readout, check_joint, estimate_confusion, flips
from .calibration_table import FIRST, QISKIT, bit_order, by_prepared, calibration_counts
from .json_file import read_strict_json


def read_readout(given: str | None, n_qubits: int, order: str | None = None) -> Readout | None:
    """Readout errors from a probability or a JSON file.

    Parameters
    ----------
    given : str, optional
        Probability to misread a qubit, or a path.
    n_qubits : int
    order : str, optional
        Bit order of the file, "first" or "qiskit"; by default what the file says.

    Raises
    ------
    InputError
    """
    if given is None:
        if order is not None:
            raise InputError.expected("readout_order=", "readout errors that have one", "none")
        return None
    try:
        probability = float(given)
    except ValueError:
        pass
    else:
        if not 0 <= probability < 0.5:
            raise InputError.expected("readout=", "a probability from 0 to 0.5", given)
        return Readout(flips([probability] * n_qubits))
    path = require_file(given, "a probability, or a file of readout errors")
    data = read_strict_json(path)
    if not isinstance(data, dict):
        raise InputError.expected(path, "an object", type(data).__name__)
    try:
        made = readout_from(data, n_qubits, order)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if made.n_qubits != n_qubits:
        raise InputError.expected(
            path, f"readout errors of {n_qubits} qubits", f"of {made.n_qubits}"
        )
    return made


def readout_from(data: Mapping[str, Any], n_qubits: int, order: str | None = None) -> Readout:
    """Readout errors from what JSON holds; InputError otherwise.

    Parameters
    ----------
    data : mapping
        Of one of the forms above.
    n_qubits : int
    order : str, optional
        As of `read_readout`.
    """
    said = _one_order(data.get("bit_order"), order)
    if "calibration" in data:
        counts, notes = calibration_counts(data["calibration"], "calibration", said)
        made = estimate_confusion(counts)
        return replace(made, notes=(*made.notes, *notes))
    if "assignment_matrix" in data:
        made = Readout(check_joint(data["assignment_matrix"]))
        return made if said == FIRST else made.reversed()
    if "assignment_matrices" in data:
        # Of each qubit, qubit 0 first, whatever the order of the bits.
        return Readout(_each(data["assignment_matrices"], n_qubits))
    if "cals" in data:
        return _of_mthree(data, n_qubits)
    if data and all(isinstance(k, str) and re.fullmatch("[01]+", k) for k in data):
        made = estimate_confusion(by_prepared(data, "calibration", said or QISKIT))
        text = "prepared and read bits are taken to be in qiskit's order, the last is qubit 0"
        return made if said or n_qubits == 1 else replace(made, notes=(*made.notes, text))
    made = Readout.from_dict({k: v for k, v in data.items() if k != "bit_order"})
    return made.reversed() if said == QISKIT else made


def _one_order(field: Any, option: str | None) -> str | None:
    """Bit order of a file's field and a user's word, which must not differ."""
    a = None if field is None else bit_order(field, "bit_order")
    b = None if option is None else bit_order(option, "readout_order=")
    if a and b and a != b:
        raise InputError.expected("readout_order=", f"{a!r}, as the file says", repr(option))
    return a or b


def _each(matrices: Any, n_qubits: int) -> NDArray[np.float64]:
    """Confusion (n, 2, 2) of a list of matrices; InputError for another number of them."""
    if not isinstance(matrices, list) or len(matrices) != n_qubits:
        raise InputError.expected(
            "assignment_matrices",
            f"{n_qubits} matrices, one a qubit",
            f"{len(matrices)}" if isinstance(matrices, list) else type(matrices).__name__,
        )
    return Readout(np.asarray(matrices, dtype=object)).confusion


def _of_mthree(data: Mapping[str, Any], n_qubits: int) -> Readout:
    """Readout of mthree's calibration, whose matrices stand at the numbers of the qubits."""
    cals, shots = data["cals"], data.get("shots")
    if not isinstance(cals, list):
        raise InputError.expected("cals", "a list with a matrix a qubit", type(cals).__name__)
    wanted = data.get("qubits")
    places = [k for k, c in enumerate(cals) if c is not None] if wanted is None else wanted
    if not isinstance(places, list) or not all(
        isinstance(k, int) and 0 <= k < len(cals) and cals[k] is not None for k in places
    ):
        raise InputError.expected("qubits", "numbers of calibrated qubits", repr(wanted)[:80])
    if len(places) != n_qubits:
        raise InputError.expected(
            "cals",
            f"calibrations of {n_qubits} qubits",
            f"of {len(places)}: {places}"[:80],
            'Name them in their order: "qubits": [...].',
        )
    try:
        flat = np.array([np.asarray(cals[k], np.float64).reshape(2, 2) for k in places])
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError.expected("cals", "four numbers a qubit", str(error)[:80]) from error
    made = Readout(flat)
    if isinstance(shots, int) and not isinstance(shots, bool) and shots > 0:
        mean = (made.confusion * shots + 0.5) / (shots + 1)
        made = Readout(mean, True, np.sqrt(mean * (1 - mean) / (shots + 2)))
    text = f"qubits {', '.join(map(str, places))} of mthree's calibration, in this order"
    return replace(made, notes=(text,))


def readout_of_object(given: Any) -> Readout | None:
    """Readout of a mitigator of qiskit or mthree; None for anything else.

    Parameters
    ----------
    given : object
        With a method ``assignment_matrix`` (qiskit's local and correlated readout mitigators), or
        with ``single_qubit_cals`` (mthree).
    """
    cals = getattr(given, "single_qubit_cals", None)
    if cals is not None:
        return Readout(np.stack([np.asarray(c, np.float64) for c in cals if c is not None]))
    method = getattr(given, "assignment_matrix", None)
    if not callable(method):
        return None
    return Readout(check_joint(np.asarray(method(), np.float64))).reversed()
