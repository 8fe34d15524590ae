"""Settings of a round in one file, for a quantum computer's software or for a sequencer.

JSON (format "physml tomography batch 1") has for each setting its id, shots and outcomes, and what
is to be applied before 0 and 1 are read out:

- ``pauli``: the axes, such as "XZ", where they are such;
- ``euler``: for each qubit the angles [theta, phi, lambda] of the rotation U^+ = Rz(phi) Ry(theta)
  Rz(lambda) (the one of lambda comes first), up to a phase: the gate ``u3`` of OpenQASM;
- ``qasm``: OpenQASM 2 of rotations and readout, qubit 0 to the leftmost bit of the outcome, so that
  qiskit's counts have the names of ``outcomes``;
- ``unitary``: where the basis is of all qubits together, the matrix U^+ to apply, pairs
  [real, imaginary], qubit 0 leftmost (in qiskit, ``UnitaryGate(...)`` on the qubits n-1 ... 0).

CSV has one row a setting: id, shots, pauli, and theta, phi, lambda of each qubit in radians.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError
from physml.io.atomic import write_text

from ..core.measurements import Complex, Setting, pauli_settings

FORMAT = "physml tomography batch 1"
#: How far effects of a Pauli setting may be off.
SAME = 1e-9


def write_batch(settings: Sequence[Setting], path: Path, overwrite: bool = False) -> None:
    """Write settings to a file; its ending says how.

    Parameters
    ----------
    settings : sequence of Setting
    path : Path
        Ends in ``.json`` or ``.csv``.
    overwrite : bool
        Put it in the place of a file of that name.

    Raises
    ------
    InputError
        Another ending; or settings that the format cannot hold.
    OutputError
        There is something of that name already, or no place for it.
    """
    check_batch(path)
    if path.suffix.lower() == ".csv":
        text = _csv(settings, path)
    else:
        body = {"format": FORMAT, "settings": [describe(setting) for setting in settings]}
        text = json.dumps(body, indent=1) + "\n"
    write_text(path, text, overwrite=overwrite)


def check_batch(path: Path) -> None:
    """InputError where a name ends in nothing that can be written."""
    if path.suffix.lower() not in (".json", ".csv"):
        raise InputError.expected(path, "a name that ends in .json or .csv", repr(path.suffix))


def describe(setting: Setting) -> dict[str, Any]:
    """Description of one setting for a controller, as JSON holds it."""
    out: dict[str, Any] = setting.to_dict()
    if setting.local is not None:
        angles = [euler_angles(local.conj().T) for local in setting.local]
        out["pauli"] = pauli_of(setting)
        out["euler"] = [list(one) for one in angles]
        out["qasm"] = _qasm(angles)
    elif setting.basis is not None:
        adjoint = setting.basis.conj().T
        out["unitary"] = np.stack([adjoint.real, adjoint.imag], -1).tolist()
    return out


def pauli_of(setting: Setting) -> str | None:
    """Axes of a Pauli setting with the usual outcomes, qubit 0 first; None for any other."""
    n = setting.dimension.bit_length() - 1
    for pauli in pauli_settings(n):
        same = pauli.effects.shape == setting.effects.shape
        if same and np.abs(pauli.effects - setting.effects).max() < SAME:
            return pauli.id
    return None


def euler_angles(unitary: Complex) -> tuple[float, float, float]:
    """Angles (theta, phi, lambda) of a 2 x 2 unitary up to its phase.

    It is [[cos(theta/2), -e^(i lambda) sin(theta/2)], [e^(i phi) sin(theta/2), e^(i (phi + lambda))
    cos(theta/2)]], the gate ``u3`` of OpenQASM 2 (Cross et al., arXiv:1707.03429).
    """
    c, s = abs(unitary[0, 0]), abs(unitary[1, 0])
    theta = 2 * float(np.arctan2(s, c))
    if s < 1e-12:  # diagonal: only the sum of both phases matters
        return 0.0, 0.0, float(np.angle(unitary[1, 1] / unitary[0, 0]))
    if c < 1e-12:  # only their difference
        return float(np.pi), 0.0, float(np.angle(-unitary[0, 1] / unitary[1, 0]))
    phase = unitary[0, 0] / c
    phi = float(np.angle(unitary[1, 0] / phase))
    return theta, phi, float(np.angle(-unitary[0, 1] / phase))


def _qasm(angles: Sequence[tuple[float, float, float]]) -> str:
    n = len(angles)
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{n}];", f"creg c[{n}];"]
    lines += [f"u3({t:.15g},{p:.15g},{q:.15g}) q[{k}];" for k, (t, p, q) in enumerate(angles)]
    # qiskit writes the last classical bit leftmost.
    lines += [f"measure q[{k}] -> c[{n - 1 - k}];" for k in range(n)]
    return "\n".join(lines) + "\n"


def _csv(settings: Sequence[Setting], path: Path) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    n = settings[0].dimension.bit_length() - 1
    names = [f"{angle}{k}" for k in range(n) for angle in ("theta", "phi", "lambda")]
    writer.writerow(["id", "shots", "pauli", *names])
    for setting in settings:
        if setting.local is None:
            raise InputError.expected(
                path,
                "settings of each qubit by itself, for angles in a CSV",
                f"{setting.id!r}, a basis of all qubits together",
                "Write .json, or use the designs product, pauli or pauli_adaptive.",
            )
        angles = [x for local in setting.local for x in euler_angles(local.conj().T)]
        writer.writerow(
            [setting.id, setting.shots, pauli_of(setting) or "", *(f"{x:.12g}" for x in angles)]
        )
    return out.getvalue()
