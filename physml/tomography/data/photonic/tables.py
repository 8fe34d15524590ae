"""Tables of numbers: comma-separated rows, and the `tomo_input` of the Kwiat group's programs.

A row has the seconds, the singles of each detector, the coincidences, and two amplitudes for each
photon. With one detector a photon there is one coincidence, with two there are 2^n.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError

from .rows import Row, Table, make_row, number, projectors


def read_table(text: str, source: Path) -> Table:
    """Rows of a text; InputError otherwise."""
    named = re.search(r"tomo_input\s*=\s*(?:np\.array\()?\[(.*?)\]\s*\]", text, re.DOTALL)
    if not named:
        lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
        rows = [_row(line.split(","), source, i, 1.0) for i, line in enumerate(lines, 1)]
        return Table(source, rows)
    lines = re.findall(r"\[([^\[\]]*)", named.group(1))
    weights = re.search(r"intensity\s*=\s*(?:np\.array\()?\[([^\[\]]*)\]", text)
    intensities = [1.0] * len(lines)
    if weights:
        given = [number(v, source, 0) for v in weights.group(1).split(",")]
        if any(v.imag or not 1e-9 <= v.real <= 1e9 for v in given) or len(given) != len(lines):
            raise InputError.expected(
                source, "an intensity > 0 for each row", f"{[v.real for v in given]}"[:80]
            )
        intensities = [v.real for v in given]
    rows = [
        _row(line.split(","), source, i, intensity)
        for i, (line, intensity) in enumerate(zip(lines, intensities, strict=True), 1)
    ]
    table = Table(source, rows)
    for key in ("Window", "Efficiency", "Crosstalk"):
        setattr(table, key.lower(), _setting(text, key, source))
    detectors = _setting(text, "NDetectors", source)
    table.detectors = 2 if detectors == 2 or (rows and len(rows[0].counts) > 1) else 1
    return table


def _setting(text: str, key: str, source: Path) -> Any:
    """Value of a line ``conf['Key'] = ...``; None where there is none, or 0 or -1 for none."""
    found = re.search(rf"conf\[\s*['\"]{key}['\"]\s*\]\s*=\s*(.+)", text, re.IGNORECASE)
    if not found:
        return None
    body = re.sub(r"np\.array\(|\)", "", found.group(1)).strip().rstrip(";")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError.expected(source, f"numbers as {key}", body[:40]) from error
    return None if value in (0, -1, [], [0]) else value


def _row(cells: Sequence[str], source: Path, line: int, intensity: float) -> Row:
    layouts = {3 * n + 2: (n, n, 1) for n in range(1, 6)}
    layouts |= {1 + 2 * n + (1 << n) + 2 * n: (n, 2 * n, 1 << n) for n in range(1, 6)}
    if len(cells) not in layouts:
        raise InputError.expected(
            source, "as many columns as a coincidence table has", f"{len(cells)} in row {line}"
        )
    n, singles, outcomes = layouts[len(cells)]
    values = np.array([number(cell, source, line) for cell in cells])
    counts = values[1 + singles : 1 + singles + outcomes]
    states = projectors(values[1 + singles + outcomes :].reshape(n, 2), source, line)
    return make_row(
        values[0], counts, states, source, line, values[1 : 1 + singles], intensity=intensity
    )
