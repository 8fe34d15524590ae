"""Files of other programs as records: qiskit's counts, coincidence tables of photonic laboratories.

qiskit: a JSON object of counts by Pauli label, ``{"XZ": {"00": 251, "01": 249}, ...}``; the last
letter of a label and the last bit of an outcome are qubit 0, as qiskit writes them; more forms in
`counts.qiskit_objects`. pyGSTi: see `counts.pygsti`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from physml.exceptions import InputError

from ..core.checks import check_counts
from ..core.measurements import Setting
from ..core.readout import Readout
from .counts.outcomes import Measured
from .counts.pygsti import is_pygsti, read_pygsti
from .json_file import read_strict_json
from .photonic import read_coincidences
from .qiskit import records_from_qiskit
from .records import Measurement, Records

KINDS = ("auto", "records", "qiskit", "photonic", "pygsti")
#: The first key is a label, or the text of a tuple of letters, and what stands behind it an
#: object of counts by bits.
_LABELS = re.compile(rb"""\{\s*"(?:[XYZ]{1,5}|\(\s*'[XYZ]'[^"]*\))"\s*:\s*[{\[]""", re.I)


def kind_of(path: Path) -> str:
    """Kind of a file: "records", "qiskit", "photonic" or "pygsti"; ours where nothing tells."""
    with open(path, "rb") as file:
        start = file.read(1 << 16).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"{"):
        if b'"measurement_states' in start or b'"measurement_densities"' in start:
            return "photonic"
        of_backend = b'"results"' in start and b'"counts"' in start
        if _LABELS.match(start) or of_backend:
            return "qiskit"
        return "pygsti" if is_pygsti(start) else "records"
    if start.startswith(b"[") and b'"metadata"' in start and b'"counts"' in start:
        return "qiskit"
    if b"tomo_input" in start:
        return "photonic"
    if is_pygsti(start):
        return "pygsti"
    first = start.split(b"\n", 1)[0].decode("ascii", "replace").strip()
    cells = first.split(",")
    if len(cells) > 4 and all(re.fullmatch(r"[-+0-9.eEij ]+", cell) for cell in cells):
        return "photonic"
    return "records"


def read_foreign(
    path: Path,
    kind: str,
    repeats: int = 1,
    rounded: bool = False,
    window: float | None = None,
    accidental_rate: float | None = None,
    measured: Measured | None = None,
) -> Records:
    """Read a file of another program; InputError otherwise.

    Parameters
    ----------
    path : Path
    kind : str
        "qiskit" (JSON), "photonic" or "pygsti".
    repeats : int
    rounded : bool
    window, accidental_rate : float, optional
        See `photonic.read_coincidences`.
    measured : Measured, optional
        Which bits of an outcome belong to the qubits, where there are more.
    """
    files = {"records": path}
    if kind == "pygsti":
        return read_pygsti(path, measured)
    if kind == "photonic":
        found = read_coincidences(path, repeats, rounded, window, accidental_rate)
        # Times of integration are no moments; whether the source drifted is told by the order.
        remarks = list(found.remarks)
        if rounded:
            remarks.append("counts were means and were rounded: less is known than was measured")
        records = _records(found.measurements, path, found.readout, files, remarks)
        return replace(records, frame=found.frame)
    try:
        made = records_from_qiskit(read_strict_json(path), measured=measured, name=path.stem)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return replace(made, files=files)


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
