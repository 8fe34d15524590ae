"""Text files of Timepix and similar chips, as Pixelman and PIXet write them.

Pixels
    ``x y C`` in each line (or ``i C`` with i = x + width y, where the description says so); a line
    ``#`` between frames.
Matrices
    A line of numbers for each row of pixels; frames follow each other.
Clusters
    ``Frame 7 (1396447395.8, 1.0 s)``, then lines of ``[x, y, C] [x, y, C]``, one a cluster; a
    fourth number is the time of arrival.

A description ``NAME.dsc`` beside a file tells the time of the acquisition, when it began, and the
size of the chip (Turecek, Holy, Jakubek, Pospisil, Vykydal 2011, JINST 6 C01046).
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ...core.arrays import Ints, Rows
from .unpacked import Unpacked

#: Largest text, unpacked, and most pixels of one.
MAX_TEXT = 512 << 20
MAX_PIXELS = 1 << 26
#: Side of a chip where nothing tells it.
SIDE = 256
_FRAME = re.compile(
    r"^\s*Frame\s+(\d+)\s*(?:\(\s*([^,;)]*?)\s*s?\s*[,;]\s*([^)]*?)\s*s?\s*\))?\s*$", re.I
)
_TUPLE = re.compile(r"\[([^\[\]]*)\]|\(([^()]*)\)")
_HEADING = re.compile(r"^\W*x\W+y\W+(?:c|tot|counts?|energy|e|adc|value)\W*$", re.I)
_NUMBERS = re.compile(rb"^[\s\d.,;:eE+\-#\[\]()naNAifIF]*$")
_TYPE = re.compile(r"^Type=(\S+)\s+(.*?)(?:width=(\d+))?\s*(?:height=(\d+))?\s*$")
_ROWS = [("frame", "i8"), ("y", "i4"), ("x", "i4")]


@dataclass
class Description:
    """Description of a measurement, from the file beside a text.

    Attributes
    ----------
    layout : str
        ``[X,Y,C]``, ``[I,C]`` or ``matrix``; an empty text where there is none.
    shape : tuple of int, or None
        Rows and columns.
    values : dict
        By name: ``Acq time``, ``Start time`` and others.
    """

    layout: str = ""
    shape: tuple[int, int] | None = None
    values: dict[str, str] = field(default_factory=dict)


@dataclass
class Parsed:
    """Pixels of a text.

    Attributes
    ----------
    layout : str
        Which of the forms of the module it has, in words.
    rows : structured ndarray
        Columns frame, y, x, energy.
    frames : int
        Number of frames.
    shape : tuple of int, or None
        Rows and columns, where they are known.
    numbers : ndarray of int64, or None
        Numbers of the frames, where they are told.
    starts, spans : list of float
        Beginning and exposure of each frame, s, where they are told.
    """

    layout: str
    rows: Rows
    frames: int
    shape: tuple[int, int] | None = None
    numbers: Ints | None = None
    starts: list[float] = field(default_factory=list)
    spans: list[float] = field(default_factory=list)


def is_pixel_text(head: bytes) -> bool:
    """True for the beginning of a text of pixels, matrices or clusters."""
    if b"\0" in head:
        return False
    lines = [line for line in head.splitlines() if line.strip()]
    if not lines:
        return False
    first = lines[0].decode("ascii", "replace")
    if _FRAME.match(first) or _HEADING.match(first):
        return True
    whole = lines[:-1] if len(head) >= 4096 and len(lines) > 1 else lines
    return all(_NUMBERS.match(line) for line in whole) and any(
        re.search(rb"\d", line) for line in whole
    )


def read_description(path: Path) -> Description:
    """Description beside a text, ``NAME.dsc``; empty where there is none."""
    found = Description()
    for place in (path.with_name(path.name + ".dsc"), path.with_suffix(".dsc")):
        if place.is_file() and place != path:
            text = place.read_bytes()[: 1 << 16].decode("latin-1")
            break
    else:
        return found
    lines = text.splitlines()
    for k, line in enumerate(lines):
        kind = _TYPE.match(line)
        if kind and not found.layout:
            found.layout = kind[2].strip()
            if kind[3] and kind[4]:
                found.shape = (int(kind[4]), int(kind[3]))
        name = re.match(r'^"([^"]+)"', line)
        if name and k + 2 < len(lines):
            found.values.setdefault(name[1], lines[k + 2].strip())
    return found


def parse(path: Path, data: Unpacked, about: Description) -> Parsed:
    """Pixels of a text.

    Raises
    ------
    InputError
        A line that is not like the others, or numbers that cannot be pixels.
    """
    with data.open() as file:
        raw = file.read(MAX_TEXT + 1)
    if len(raw) > MAX_TEXT:
        raise InputError.expected(path, f"a text of at most {MAX_TEXT} bytes", "more")
    text = raw.decode("ascii", "replace")
    line, _, rest = text.partition("\n")
    if _HEADING.match(line):
        text = rest
    try:
        if re.search(r"^\s*Frame\s+\d+", text[:4096], re.I) or "[" in text[:4096]:
            return _clusters(text)
        return _numbers(text, about)
    except ValueError as error:
        raise InputError.expected(
            path,
            "lines of x, y and counts, matrices of counts, or lists of clusters",
            f"something else ({error})",
        ) from error


def _table(text: str) -> Any:
    """Numbers of equal lines, as whole numbers where they are."""
    plain = text.replace(",", " ").replace(";", " ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = np.loadtxt(plain.splitlines(), dtype=np.float64, ndmin=2, comments=None)
    if values.size > MAX_PIXELS:
        raise ValueError(f"over {MAX_PIXELS} numbers")
    return values


def _is_whole(values: Rows) -> bool:
    return bool(np.isfinite(values).all() and (values == np.round(values)).all())


def _numbers(text: str, about: Description) -> Parsed:
    """Lists of pixels, or matrices."""
    parts = re.split(r"^\s*#[^\n]*$", text, flags=re.M) if "#" in text else [text]
    if len(parts) > 1 and not parts[0].strip():
        parts = parts[1:]  # a comment at the head of the file
    if len(parts) > 1 and not parts[-1].strip():
        parts = parts[:-1]
    tables = [_table(part) if part.strip() else np.empty((0, 3)) for part in parts]
    widths = {t.shape[1] for t in tables if len(t)}
    if len(widths) > 1:
        raise ValueError(f"lines of {min(widths)} and of {max(widths)} numbers")
    width = widths.pop() if widths else 3
    if width >= 8:
        return _matrices(tables, about)
    if width == 2 and about.layout.upper().startswith("[I"):
        nx = (about.shape or (SIDE, SIDE))[1]
        tables = [np.column_stack([t[:, 0] % nx, t[:, 0] // nx, t[:, 1]]) for t in tables]
    elif width != 3:
        raise ValueError(f"lines of {width} numbers")
    values = np.concatenate([t.reshape(-1, 3) for t in tables])
    frame = np.repeat(np.arange(len(tables)), [len(t) for t in tables])
    return Parsed("lines x y C", _as_rows(frame, values), len(tables), about.shape)


def _as_rows(frame: Rows, values: Rows) -> Rows:
    """Sorted rows of x, y and counts."""
    if len(values) and not (_is_whole(values[:, :2]) and (values[:, :2] >= 0).all()):
        raise ValueError("places that are no whole numbers from 0")
    if len(values) and values[:, :2].max() >= 1 << 14:
        raise ValueError(f"a place of {values[:, :2].max():.0f}")
    kind = "i8" if _is_whole(values[:, 2]) else "f8"
    rows = np.empty(len(values), np.dtype([*_ROWS, ("energy", kind)]))
    rows["frame"], rows["x"], rows["y"], rows["energy"] = frame, *values.T
    return rows[np.lexsort((rows["x"], rows["y"], rows["frame"]))]


def _matrices(tables: list[Any], about: Description) -> Parsed:
    """Frames as matrices, all pixels of which stand in the text."""
    nx = tables[0].shape[1]
    ny = about.shape[0] if about.shape and about.shape[1] == nx else None
    if ny is None:
        ny = len(tables[0]) if len(tables) > 1 else nx
    values = np.concatenate(tables)
    if len(values) % ny:
        raise ValueError(f"{len(values)} lines of {nx} numbers, which are no frames of {ny}")
    images = values.reshape(-1, ny, nx)
    frame, y, x = np.nonzero(images)
    signal = images[frame, y, x]
    rows = _as_rows(frame, np.column_stack([x, y, signal]))
    return Parsed(f"matrices of {nx} x {ny}", rows, len(images), (ny, nx))


def _clusters(text: str) -> Parsed:
    """Frames as lists of clusters; lines before the first frame's are of one frame."""
    frame, values = [], []
    numbers: list[int] = []
    starts: list[float] = []
    spans: list[float] = []
    for line in text.splitlines():
        head = _FRAME.match(line)
        if head:
            numbers.append(int(head[1]))
            starts.append(_float(head[2]))
            spans.append(_float(head[3]))
            continue
        found = [a or b for a, b in _TUPLE.findall(line)]
        if not found:
            if line.strip() and not line.lstrip().startswith("#"):
                raise ValueError(f"a line {line.strip()[:40]!r}")
            continue
        if not numbers:
            numbers.append(0)
        for one in found:
            parts = [float(p) for p in re.split(r"[,;\s]+", one.strip()) if p]
            if len(parts) not in (3, 4):
                raise ValueError(f"a pixel of {len(parts)} numbers")
            values.append(parts[:3])
            frame.append(len(numbers) - 1)
        if len(values) > MAX_PIXELS:
            raise ValueError(f"over {MAX_PIXELS} pixels")
    index = np.array(numbers, np.int64)
    if len(index) == 0:
        raise ValueError("no frame")
    if (np.diff(index) <= 0).any():
        raise ValueError("frame numbers that do not increase")
    rows = _as_rows(index[np.array(frame, np.int64)], np.array(values, float).reshape(-1, 3))
    good = [s for s in spans if np.isfinite(s)]
    return Parsed(
        "clusters [x, y, C]", rows, len(index), None, index,
        [s for s in starts if np.isfinite(s)], good if len(good) == len(index) else [],
    )  # fmt: skip


def _float(text: str | None) -> float:
    try:
        return float((text or "").replace(",", "."))
    except ValueError:
        return float("nan")
