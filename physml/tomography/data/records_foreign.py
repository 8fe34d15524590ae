"""Files of other programs as records: qiskit's counts, coincidence tables of photonic laboratories.

qiskit: a JSON object of counts by Pauli label, ``{"XZ": {"00": 251, "01": 249}, ...}``; the last
letter of a label and the last bit of an outcome are qubit 0, as qiskit writes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from physml.exceptions import InputError

from ..core.checks import check_counts
from ..core.measurements import Setting
from ..core.readout import Readout
from .photonic import read_coincidences
from .qiskit import from_qiskit
from .records import Measurement, Records, read_strict_json

KINDS = ("auto", "records", "qiskit", "photonic")


def kind_of(path: Path) -> str:
    """Kind of a file: "records", "qiskit" or "photonic"; ours where nothing tells."""
    with open(path, "rb") as file:
        start = file.read(1 << 16).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"{"):
        if b'"measurement_states"' in start:
            return "photonic"
        # The first key is a label, and what stands behind it an object of counts by bits.
        if re.match(rb'\{\s*"[XYZ]{1,5}"\s*:\s*\{', start):
            return "qiskit"
        return "records"
    if b"tomo_input" in start:
        return "photonic"
    first = start.split(b"\n", 1)[0].decode("ascii", "replace").strip()
    cells = first.split(",")
    if len(cells) > 4 and all(re.fullmatch(r"[-+0-9.eEij ]+", cell) for cell in cells):
        return "photonic"
    return "records"


def read_foreign(path: Path, kind: str, repeats: int = 1, rounded: bool = False) -> Records:
    """Read a file of another program; InputError otherwise.

    Parameters
    ----------
    path : Path
    kind : str
        "qiskit" or "photonic".
    repeats : int
    rounded : bool
        See `photonic.read_coincidences`.
    """
    files = {"records": path}
    if kind == "photonic":
        made, readout = read_coincidences(path, repeats, rounded)
        # Times of integration are no moments; whether the source drifted is told by the order.
        remarks = []
        if rounded:
            remarks.append("counts were means and were rounded: less is known than was measured")
        return _records(made, path, readout, files, remarks)
    try:
        made = from_qiskit(read_strict_json(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return _records(made, path, None, files, [])


def _records(
    made: Sequence[tuple[Setting, Any]],
    path: Path,
    readout: Readout | None,
    files: dict[str, Path],
    remarks: list[str],
) -> Records:
    measurements = [
        Measurement(s, check_counts(c, s, f"{path}, counts of {s.id!r}")) for s, c in made
    ]
    n = measurements[0].setting.dimension.bit_length() - 1
    return Records(n, measurements, readout, name=path.stem, files=files, remarks=remarks)
