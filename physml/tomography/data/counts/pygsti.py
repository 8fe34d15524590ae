"""Data sets of pyGSTi, where they are tomography of a state: gates that turn a basis, then counts.

A line holds a circuit and its counts, in columns that the head names or as ``outcome:count``::

    ## Columns = 00 count, 01 count, 10 count, 11 count
    {}@(0,1)                 520 11 12 457
    [Gypi2:0Gypi2:1]@(0,1)   498 20 14 468

The state is the one before the first gate. Each qubit is turned by at most `LONGEST` gates of
known names, as the fiducials of measurements are; longer circuits and gates of two qubits are data
of gate-set tomography, where the gates are what is sought, and are refused.

Grammar and gates: `pygsti.io.stdinput`, `pygsti.circuits.circuitparser` and
`pygsti.tools.internalgates` of pyGSTi 0.10.2. Outcomes have the first line label first.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ...core.checks import MAX_ID, check_counts, check_qubits
from ...core.measurements import product_setting
from ..measurement import Measurement
from ..records import MAX_MEASUREMENTS, Records
from .outcomes import Measured, read_outcomes
from .tables import number_of, read_text

#: Gates of a qubit in a fiducial: pyGSTi's standard ones have up to three.
LONGEST = 3
_PAULI = {
    "x": np.array([[0, 1], [1, 0]], np.complex128),
    "y": np.array([[0, -1j], [1j, 0]], np.complex128),
    "z": np.array([[1, 0], [0, -1]], np.complex128),
}
_HADAMARD = np.array([[1, 1], [1, -1]], np.complex128) / 2**0.5
_TOKEN = re.compile(
    r"\{\}|[\[\]()*]|\^(?P<power>\d{1,3})|(?P<rho>rho[a-z0-9_]*)|(?P<m>M[a-z0-9_]*)"
    r"|(?P<gate>G[a-z0-9_]*)(?P<args>(?:;[a-z0-9_Q./-]+)*)(?P<lines>(?::[a-z0-9_Q]+)*)"
)
_HEAD = re.compile(rb"^##\s*(Columns|Outcomes|StdOutcomeQubits)\s*=", re.M)
_LINE = re.compile(rb"(?:\{\}(?:@\S*)?|G[a-z]\w*\S*)[ \t]+\S")

_Gates = list[tuple[str, str]]


def is_pygsti(start: bytes) -> bool:
    """Whether a file that begins so is a data set of pyGSTi."""
    lines = [line for line in start.splitlines() if line.strip() and not line.startswith(b"#")]
    return bool(_HEAD.search(start)) or bool(lines and _LINE.match(lines[0]))


def gates() -> dict[str, NDArray[np.complex128]]:
    """Unitary of each gate of one qubit that is known by its name."""
    out = {"Gi": np.eye(2, dtype=np.complex128), "Gh": _HADAMARD}
    for axis, sigma in _PAULI.items():
        angles = {
            "pi": np.pi,
            "pi2": np.pi / 2,
            "mpi2": -np.pi / 2,
            "pi4": np.pi / 4,
            "": np.pi / 2,
        }
        for name, angle in angles.items():
            turn = np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * sigma
            out[f"G{axis}{name}"] = turn
    return {**out, "Gp": np.diag([1, 1j]), "Gpdag": np.diag([1, -1j])}


def read_pygsti(path: Path, measured: Measured | None = None) -> Records:
    """Read a data set of pyGSTi that is tomography of a state.

    Parameters
    ----------
    path : Path
    measured : Measured, optional
        Which bits of an outcome belong to the qubits, where there are more.

    Raises
    ------
    InputError
        It is no such data set; the line is named.
    """
    text = read_text(path, "a data set of pyGSTi")
    columns = _columns(path, text)
    left_out = []
    found: list[tuple[int, str, _Gates, list[str] | None, dict[str, float]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.partition("#")[0].split()
        if not cells:
            continue
        if cells[0] in ("times:", "outcomes:", "repetitions:", "aux:") or len(cells) == 1:
            raise InputError.expected(
                f"{path}, line {number}", "a circuit and its counts", line.strip()[:40]
            )
        if "BAD" in cells[1:]:
            left_out.append(f"line {number}")
            continue
        counts = _counts(path, number, cells[1:], columns)
        if not any(counts.values()):
            left_out.append(f"line {number}")
            continue
        circuit, lines = _circuit(cells[0], f"{path}, line {number}")
        found.append((number, cells[0], circuit, lines, counts))
        if len(found) > MAX_MEASUREMENTS:
            raise InputError.expected(path, f"at most {MAX_MEASUREMENTS} circuits", "more")
    if not found:
        raise InputError.expected(path, "circuits and their counts", "none")
    lines = _lines(path, found)
    bits, remark = read_outcomes(
        (name for *_, counts in found for name in counts), len(lines), str(path), measured
    )
    made = []
    seen: Counter[str] = Counter()
    for number, name, circuit, _, counts in found:
        where = f"{path}, line {number}"
        local = np.stack([_turned(circuit, line, where) for line in lines])
        seen[name] += 1
        label = name[: MAX_ID - 8] + (f"#{seen[name]}" if seen[name] > 1 else "")
        setting = product_setting(local, 0, label)
        summed: dict[str, float] = {}
        for outcome, value in counts.items():
            summed[bits[outcome]] = summed.get(bits[outcome], 0) + value
        values = check_counts(summed, setting, f"{where}, counts")
        made.append(Measurement(replace(setting, shots=int(values.sum())), values))
    remarks = ["gates are taken to be perfect; the state is the one before the first of them"]
    remarks += [] if remark is None else [remark]
    if left_out:
        remarks.append(f"without counts, or marked BAD, and left out: {', '.join(left_out[:5])}")
    places = [f"line {number}" for number, *_ in found]
    return Records(
        len(lines),
        made,
        name=path.stem,
        files={"records": path},
        remarks=remarks,
        places=places,
    )


def _columns(path: Path, text: str) -> list[str] | None:
    """Names of the outcomes in the head; None where each count has its own."""
    head = re.search(r"^##\s*Columns\s*=(.*)$", text, re.M)
    if head is None:
        return None
    names = [name.strip() for name in head[1].split(",")]
    for name in names:
        if not name.endswith(" count"):
            raise InputError.expected(path, "columns such as '00 count'", repr(name[:40]))
    names = [name.removesuffix(" count").strip() for name in names]
    if len(set(names)) < len(names):
        raise InputError.expected(path, "each column once", str(names)[:60])
    return names


def _counts(path: Path, line: int, cells: list[str], columns: list[str] | None) -> dict[str, float]:
    if columns is not None:
        if len(cells) != len(columns):
            raise InputError.expected(
                path, f"{len(columns)} counts in line {line}", str(len(cells))
            )
        return {n: number_of(path, line, n, c) for n, c in zip(columns, cells, strict=True)}
    out: dict[str, float] = {}
    for cell in cells:
        name, _, value = cell.rpartition(":")
        if not name or name in out:
            raise InputError.expected(
                f"{path}, line {line}", "outcome:count, each outcome once", repr(cell[:40])
            )
        out[name] = number_of(path, line, name, value)
    return out


def _circuit(text: str, place: str) -> tuple[_Gates, list[str] | None]:
    """Gates of a circuit in their order, each with its line, and the lines where it names them."""
    code, *extras = text.split("@")
    lines = None
    if extras:
        lines = [x.strip() for x in extras[0].strip("( )").split(",") if x.strip()]
    stack: list[_Gates] = [[]]
    last: _Gates = []
    at = 0
    while at < len(code):
        token = _TOKEN.match(code, at)
        if token is None:
            raise InputError.expected(place, "a circuit of pyGSTi", repr(code[at : at + 20]))
        at = token.end()
        if token[0] in ("(", "["):
            stack.append([])
            continue
        if token[0] in (")", "]"):
            if len(stack) < 2:
                raise InputError.expected(place, "brackets that match", repr(code[:40]))
            last = stack.pop()
        elif token["power"]:
            # What was put down once is taken away, and put down as often as it says.
            inner = stack[-1][: len(stack[-1]) - len(last)]
            stack[-1][:] = inner
            last = last * min(int(token["power"]), LONGEST + 1)
        elif token["gate"]:
            last = _gate(token, place)
        else:
            last = []
        stack[-1] += last
    if len(stack) > 1:
        raise InputError.expected(place, "brackets that match", repr(code[:40]))
    return stack[0], lines


def _gate(token: re.Match[str], place: str) -> _Gates:
    lines = token["lines"].split(":")[1:]
    name = token["gate"]
    if token["args"] or name not in gates() or len(lines) > 1:
        raise InputError.expected(
            place,
            f"gates of one qubit, among {', '.join(sorted(gates()))}",
            repr(token[0][:40]),
            "Circuits with other gates are data of gate-set tomography.",
        )
    return [(name, lines[0] if lines else "*")]


def _lines(
    path: Path, found: list[tuple[int, str, _Gates, list[str] | None, dict[str, float]]]
) -> list[str]:
    """Line of each qubit, in the order of the bits of an outcome."""
    named = {tuple(lines) for _, _, _, lines, _ in found if lines is not None}
    used = {line for _, _, circuit, _, _ in found for _, line in circuit}
    if len(named) > 1:
        raise InputError.expected(path, "circuits of the same lines", str(sorted(named))[:60])
    if named:
        lines = list(named.pop())
    elif used - {"*"}:
        lines = sorted(used, key=lambda x: (not x.isdecimal(), int(x) if x.isdecimal() else 0, x))
    else:
        lines = ["*"]
    if odd := sorted(used - set(lines)):
        raise InputError.expected(path, f"gates on the lines {', '.join(lines)}", f"on {odd[0]}")
    check_qubits(len(lines), f"{path}, lines")
    return lines


def _turned(circuit: _Gates, line: str, place: str) -> NDArray[np.complex128]:
    """Basis (2, 2), in columns, that a qubit is measured in after its gates."""
    mine = [name for name, where in circuit if where == line and name != "Gi"]
    if len(mine) > LONGEST:
        raise InputError.expected(
            place,
            f"fiducials, of at most {LONGEST} gates a qubit",
            f"{len(mine)} or more on line {line}",
            "Longer circuits are data of gate-set tomography.",
        )
    unitary = np.eye(2, dtype=np.complex128)
    for name in mine:
        unitary = gates()[name] @ unitary
    return unitary.conj().T
