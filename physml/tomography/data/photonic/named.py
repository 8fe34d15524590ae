"""JSON with named states, as the Kwiat group's programs write it.

States are two amplitudes or density matrices (2, 2), under ``measurement_states`` or
``measurement_densities``, or for each photon its own under ``measurement_states_per_qubit``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError

from .rows import Complex, Row, Table, make_row, number, positive, projectors

#: Raised by JSON of another form.
_OTHER_JSON = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
NAMES = ("measurement_states", "measurement_densities", "measurement_states_per_qubit")


def read_named(text: str, source: Path) -> Table:
    """Rows of a JSON text; InputError otherwise."""
    try:
        data = json.loads(text)
        n, detectors = int(data["n_qubits"]), int(data.get("n_detectors_per_qubit", 1))
        entries = list(data["data"])
        found = [data[name] for name in NAMES if name in data]
        per_photon = found[0] if isinstance(found[0], list) else [found[0]] * min(n, 5)
        named = [dict(states.items()) for states in per_photon]
    except (*_OTHER_JSON, IndexError) as error:
        raise InputError.expected(
            source, "measurement_states, n_qubits and data", f"something else ({error!r})"
        ) from error
    if not 1 <= n <= 5 or detectors not in (1, 2):
        raise InputError.expected(
            source, "1 to 5 qubits, 1 or 2 detectors each", f"{n} and {detectors}"
        )
    if len(named) != n:
        raise InputError.expected(source, f"states of {n} photons", f"of {len(named)}")
    states = [{k: _state(v, source, str(k)) for k, v in part.items()} for part in named]
    rows = [_row(entry, states, n, detectors, source, i) for i, entry in enumerate(entries, 1)]
    return Table(
        source,
        rows,
        detectors,
        data.get("coincidence_window"),
        data.get("relative_efficiency", data.get("coincidence_efficiency")),
        data.get("crosstalk"),
        data.get("accidental_rate"),
    )


def _state(value: Any, source: Path, name: str) -> Complex:
    """Density matrix (2, 2) of two amplitudes or of a matrix, of trace 1."""
    if not isinstance(value, list) or len(value) != 2:
        raise InputError.expected(source, "states of two amplitudes", repr(value)[:80])
    if not isinstance(value[0], list):
        vector = np.array([number(v, source, 0) for v in value], np.complex128)
        return projectors(vector[None], source, 0)[0]
    if not all(isinstance(row, list) and len(row) == 2 for row in value):
        raise InputError.expected(source, "states of 2 x 2 numbers", repr(value)[:80])
    matrix = np.array([[number(v, source, 0) for v in row] for row in value], np.complex128)
    trace = float(np.trace(matrix).real)
    if np.abs(matrix - matrix.conj().T).max() > 1e-4 * max(trace, 1e-300) or not trace > 1e-6:
        raise InputError.expected(
            source, f"a density matrix as state {name[:20]!r}", repr(value)[:80]
        )
    matrix = 0.5 * (matrix + matrix.conj().T) / trace
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-3:
        raise InputError.expected(
            source, f"a density matrix as state {name[:20]!r}", f"an eigenvalue of {values[0]:.3g}"
        )
    values = np.clip(values, 0, None)
    values[values < 1e-6] = 0.0  # digits that were rounded away
    made: Complex = (vectors * (values / values.sum())) @ vectors.conj().T
    return made


def _row(
    entry: Any, states: list[dict[Any, Complex]], n: int, detectors: int, source: Path, line: int
) -> Row:
    try:
        basis = list(entry["basis"])
        matrices = np.stack([states[q][name] for q, name in enumerate(basis)])
        numbers = np.array([number(v, source, line) for v in entry["counts"]], np.complex128)
        seconds = number(entry.get("integration_time", 1), source, line)
        intensity = number(entry.get("relative_intensity", 1), source, line)
        used = entry.get("detectors_used")
        used = None if used is None else tuple(int(k) for k in used)
        timed = "integration_time" in entry
        given = entry.get("accidentals")
        rate = entry.get("accidental_rate")
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError.expected(
            source, "basis and counts", f"something else in row {line} ({error!r})"
        ) from error
    if used is not None and (len(used) != n or not all(0 <= k < 2 * n for k in used)):
        raise InputError.expected(
            source, f"{n} numbers of detectors", f"{str(used)[:40]} in row {line}"
        )
    if intensity.imag or not 1e-9 <= intensity.real <= 1e9:
        raise InputError.expected(source, "an intensity > 0", f"{intensity} in row {line}")
    # Singles come first, if there are any; of a single qubit all counts are singles.
    singles = {0} if n == 1 else {0, n, 2 * n}
    if n > 2 and detectors == 1 and len(numbers) == (1 << n) - 1:
        # Coincidences of fewer photons stand between the singles and that of all.
        numbers = np.concatenate([numbers[:n], numbers[-1:]])
    for outcomes in (1, 1 << n):
        if len(matrices) == n and len(numbers) - outcomes in singles:
            accidentals = None
            if given is not None:
                accidentals = positive(given, source, f"accidentals >= 0 in row {line}")
            elif rate is not None:
                rates = positive(rate, source, f"an accidental rate >= 0 in row {line}")
                accidentals = rates * seconds.real
            if accidentals is not None:
                if accidentals.size not in (1, outcomes):
                    raise InputError.expected(
                        source, f"{outcomes} accidentals", f"{accidentals.size} in row {line}"
                    )
                accidentals = np.broadcast_to(accidentals.ravel(), (outcomes,)).copy()
            return make_row(
                seconds,
                numbers[-outcomes:],
                matrices,
                source,
                line,
                numbers[:-outcomes],
                name="".join(str(b) for b in basis),
                timed=timed,
                intensity=intensity.real,
                detectors=used,
                accidentals=accidentals,
            )
    raise InputError.expected(
        source,
        f"{n} states, and singles and coincidences",
        f"{len(matrices)} states and {len(numbers)} counts in row {line}",
    )
