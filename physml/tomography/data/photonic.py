"""Coincidence tables of photonic laboratories.

Two kinds of tables are common. With one detector a photon each row is one projector: its counts
are grouped with those of the orthogonal ones into whole measurements. With two detectors a photon
each row is a whole measurement. Both come as tables of numbers (the rows of `tomo_input`)

    seconds, singles of each detector, coincidences, two amplitudes for each photon

or as JSON with named states. Singles are not used; accidental coincidences are not subtracted:
differences are no counts, and their noise is not that of counts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.files import require_file

from ..core.fixed_measurements import AXES, BASES
from ..core.measurements import Setting, product_setting
from ..core.operators import PAULI
from ..core.readout import Readout, check_confusion

MAX_BYTES = 16 << 20
MAX_ROWS = 100_000

#: Raised by JSON of another form.
_OTHER_JSON = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
#: Directions on the Bloch sphere that differ by less are the same.
_SAME = 1e-4

Complex = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class _Row:
    """One row: `counts` of one projector (1,), or of all outcomes (2^n,)."""

    seconds: float
    counts: NDArray[np.float64]
    vectors: Complex  # (n, 2), normalised: the state that the first outcome of a photon stands for


def read_coincidences(
    path: str | PathLike[str], repeats: int = 1, rounded: bool = False
) -> tuple[list[tuple[Setting, NDArray[np.int64]]], Readout | None]:
    """Read a coincidence table.

    Parameters
    ----------
    path : path
        Comma-separated numbers (CSV), a text with `tomo_input=[[...], ...]`, or JSON.
    repeats : int
        Counts are means over this many runs, and are multiplied by it.
    rounded : bool
        Round means to whole counts, as if they were those of one run. Less is then known from
        them than really was measured.

    Returns
    -------
    measurements : list of (Setting, ndarray (2^n,))
    readout : Readout or None
        Crosstalk between the two detectors of each photon, where the file tells of it.

    Raises
    ------
    InputError
        The file cannot be read; counts are negative or not whole; projectors do not make whole
        measurements; or detectors have different efficiencies, so that coincidences are not
        proportional to probabilities.
    """
    source = require_file(path, "a coincidence table", MAX_BYTES)
    if isinstance(repeats, bool) or repeats < 1 or int(repeats) != repeats:
        raise InputError.expected("repeats=", "a whole number from 1 on", repr(repeats))
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.expected(source, "text", "another kind of file") from error
    readout = None
    if text.lstrip().startswith("{"):
        rows, readout = _json_rows(text, source)
    else:
        rows = _table_rows(text, source)
    if not rows:
        raise InputError.expected(source, "measurements", "none")
    if len(rows) > MAX_ROWS:
        raise InputError.expected(source, f"at most {MAX_ROWS} rows", str(len(rows)))
    if len({(row.vectors.shape, len(row.counts)) for row in rows}) > 1:
        raise InputError.expected(source, "rows of one kind", "several kinds")
    made = _whole(rows) if len(rows[0].counts) > 1 else _grouped(rows, source)
    return _counted(made, source, repeats, rounded), readout


_Made = tuple[str, Complex, NDArray[np.float64]]


def _counted(
    made: list[_Made], source: Path, repeats: int, rounded: bool
) -> list[tuple[Setting, NDArray[np.int64]]]:
    measurements, used = [], dict[str, int]()
    for name, local, raw in made:
        values = raw * repeats
        counts = np.rint(values)
        if not rounded and np.abs(values - counts).max() > 1e-6 * max(1.0, values.max()):
            raise InputError.expected(
                source,
                "whole counts",
                f"{raw[np.abs(values - counts).argmax()]:.8g} in {name}",
                "Give the number of runs if these are means, or have them rounded.",
            )
        if counts.max() > 1 << 53 or counts.min() < 0:
            raise InputError.expected(source, f"counts from 0 to 2^53 in {name}", str(counts))
        if not counts.sum():
            raise InputError.expected(source, f"coincidences in {name}", "none")
        used[name] = used.get(name, 0) + 1
        # An id names one measurement; the same setting may be measured again.
        identifier = name if used[name] == 1 else f"{name} {used[name]}"
        setting = product_setting(local, int(counts.sum()), identifier)
        measurements.append((setting, counts.astype(np.int64)))
    return measurements


def _whole(rows: list[_Row]) -> list[_Made]:
    """Settings of rows that hold all outcomes."""
    out = []
    for i, row in enumerate(rows):
        axes = _bloch(row.vectors)
        letters = [_letter(axis) for axis in axes]
        plain = all(sign > 0 for _, sign in letters) and all(name for name, _ in letters)
        name = "".join(a for a, _ in letters) if plain else f"row{i}"
        out.append((name, np.stack([_basis(axis) for axis in axes]), row.counts))
    return out


def _grouped(rows: list[_Row], source: Path) -> list[_Made]:
    """Settings of rows of one projector each: those along the same axes belong together."""
    n = len(rows[0].vectors)
    groups: list[tuple[NDArray[np.float64], dict[int, _Row]]] = []
    for row in rows:
        axes = _bloch(row.vectors)
        signs = np.array([_sign(axis) for axis in axes])
        outcome = int("".join("0" if s > 0 else "1" for s in signs), 2)
        axes = axes * signs[:, None]
        for known, members in groups:
            if outcome not in members and np.abs(known - axes).max() < _SAME:
                members[outcome] = row
                break
        else:
            groups.append((axes, {outcome: row}))
    out = []
    for i, (axes, members) in enumerate(groups):
        letters = [_letter(axis)[0] for axis in axes]
        name = "".join(letters) if all(letters) else f"group{i}"
        if len(members) < 1 << n:
            raise InputError.expected(
                source,
                f"all {1 << n} orthogonal projectors along {name}",
                f"{len(members)} of them",
                "Without them the number of photons of a projector is not known.",
            )
        each = [members[k] for k in range(1 << n)]
        times = [row.seconds for row in each]
        if max(times) - min(times) > 1e-9 * max(times):
            raise InputError.expected(source, f"equal times for all of {name}", str(sorted(times)))
        counts = np.concatenate([row.counts for row in each])
        out.append((name, np.stack([_basis(a) for a in axes]), counts))
    return out


def _bloch(vectors: Complex) -> NDArray[np.float64]:
    """Bloch vectors (n, 3) of normalised vectors (n, 2)."""
    pauli = PAULI[1:].numpy()
    found: NDArray[np.float64] = np.einsum("qi,aij,qj->qa", vectors.conj(), pauli, vectors).real
    return found


def _sign(axis: NDArray[np.float64]) -> int:
    """Sign that makes the first component of any size positive, Z before Y before X."""
    for value in axis[::-1]:
        if abs(value) > 1e-3:
            return 1 if value > 0 else -1
    return 1


def _letter(axis: NDArray[np.float64]) -> tuple[str, int]:
    """Name and sign of an axis along X, Y or Z; an empty name for any other."""
    k = int(np.abs(axis).argmax())
    sign = 1 if axis[k] > 0 else -1
    along = np.zeros(3)
    along[k] = sign
    return (AXES[k] if np.abs(axis - along).max() < _SAME else ""), sign


def _basis(axis: NDArray[np.float64]) -> Complex:
    """Basis (2, 2) whose first column has this Bloch vector."""
    name, sign = _letter(axis)
    if name:
        exact = BASES[AXES.index(name)]
        return (exact if sign > 0 else torch.flip(exact, [1])).numpy()
    theta, phi = math.acos(min(1.0, max(-1.0, axis[2]))), math.atan2(axis[1], axis[0])
    turn = complex(math.cos(phi), math.sin(phi))
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    return np.array([[c, -s], [s * turn, c * turn]], np.complex128)


def _table_rows(text: str, source: Path) -> list[_Row]:
    named = re.search(r"tomo_input\s*=\s*\[(.*?)\]\s*\]", text, re.DOTALL)
    if named:
        lines = re.findall(r"\[([^\[\]]*)", named.group(1))
        weights = re.search(r"intensity\s*=\s*\[([^\[\]]*)\]", text)
        if weights and len({_number(v, source, 0) for v in weights.group(1).split(",")}) > 1:
            raise InputError.expected(source, "equal intensities", "different ones")
    else:
        lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    return [_table_row(line.split(","), source, i) for i, line in enumerate(lines, 1)]


def _table_row(cells: Sequence[str], source: Path, line: int) -> _Row:
    # Columns: time, singles (one or two a photon), coincidences (one or 2^n), two amplitudes each.
    layouts = {3 * n + 2: (n, n, 1) for n in range(1, 6)}
    layouts |= {1 + 2 * n + (1 << n) + 2 * n: (n, 2 * n, 1 << n) for n in range(1, 6)}
    if len(cells) not in layouts:
        raise InputError.expected(
            source, "as many columns as a coincidence table has", f"{len(cells)} in row {line}"
        )
    n, singles, outcomes = layouts[len(cells)]
    values = np.array([_number(cell, source, line) for cell in cells])
    counts = values[1 + singles : 1 + singles + outcomes]
    vectors = values[1 + singles + outcomes :].reshape(n, 2)
    return _row(values[0], counts, vectors, source, line)


def _row(
    seconds: complex, counts: NDArray[Any], vectors: NDArray[Any], source: Path, line: int
) -> _Row:
    real = np.concatenate([[seconds], counts])
    if np.abs(real.imag).max() > 0 or counts.real.min() < 0 or not real[0].real > 0:
        raise InputError.expected(
            source, "a time > 0 and counts >= 0", f"{[complex(v) for v in real]} in row {line}"
        )
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if norm.min() < 1e-6:
        raise InputError.expected(source, "states of length > 0", f"another in row {line}")
    return _Row(float(real[0].real), counts.real.astype(np.float64), vectors / norm)


def _number(cell: Any, source: Path, line: int) -> complex:
    try:
        value = complex(cell.strip().replace("i", "j") if isinstance(cell, str) else cell)
    except (TypeError, ValueError, OverflowError):
        value = complex("nan")
    if isinstance(cell, bool) or not (math.isfinite(value.real) and math.isfinite(value.imag)):
        where = f" in row {line}" if line else ""
        raise InputError.expected(source, "finite numbers", f"{str(cell)[:40]!r}{where}")
    return value


def _json_rows(text: str, source: Path) -> tuple[list[_Row], Readout | None]:
    try:
        data = json.loads(text)
        states = {name: _pair(v, source) for name, v in data["measurement_states"].items()}
        n, detectors = int(data["n_qubits"]), int(data.get("n_detectors_per_qubit", 1))
        entries = list(data["data"])
    except _OTHER_JSON as error:
        raise InputError.expected(
            source, "measurement_states, n_qubits and data", f"something else ({error!r})"
        ) from error
    if not 1 <= n <= 5 or detectors not in (1, 2):
        raise InputError.expected(
            source, "1 to 5 qubits, 1 or 2 detectors each", f"{n} and {detectors}"
        )
    efficiency = data.get("relative_efficiency", data.get("coincidence_efficiency", 1))
    flat = [_number(v, source, 0) for v in np.asarray(efficiency, object).ravel()]
    if any(abs(v - flat[0]) > 1e-9 for v in flat):
        raise InputError.expected(source, "detectors of equal efficiency", "different ones")
    rows = [_json_row(entry, states, n, source, i) for i, entry in enumerate(entries, 1)]
    crosstalk = data.get("crosstalk")
    if crosstalk is None:
        return rows, None
    readout = Readout(check_confusion(crosstalk))
    if len(readout.confusion) != n:
        raise InputError.expected(
            source, f"the crosstalk of {n} photons", f"that of {len(readout.confusion)}"
        )
    return rows, readout


def _json_row(entry: Any, states: dict[str, Complex], n: int, source: Path, line: int) -> _Row:
    try:
        vectors = np.stack([states[name] for name in entry["basis"]])
        numbers = [_number(v, source, line) for v in entry["counts"]]
        seconds = _number(entry.get("integration_time", 1), source, line)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError.expected(
            source, "basis and counts", f"something else in row {line} ({error!r})"
        ) from error
    # Singles come first, if there are any; of a single qubit all counts are singles.
    singles = {0} if n == 1 else {0, n, 2 * n}
    for outcomes in (1, 1 << n):
        if len(vectors) == n and len(numbers) - outcomes in singles:
            return _row(seconds, np.array(numbers[-outcomes:]), vectors, source, line)
    raise InputError.expected(
        source,
        f"{n} states, and singles and coincidences",
        f"{len(vectors)} states and {len(numbers)} counts in row {line}",
    )


def _pair(value: Any, source: Path) -> Complex:
    if not isinstance(value, list) or len(value) != 2:
        raise InputError.expected(source, "states of two amplitudes", repr(value)[:80])
    return np.array([_number(v, source, 0) for v in value], np.complex128)
