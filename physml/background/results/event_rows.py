"""Rows of the event list, and a store of them that does not outgrow the memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNEL_KEV = 0.01
"""Width of a channel of PHA and PI, keV."""

N_CHANNELS = 1600
"""Channels 0 to 1599: 0 to 16 keV."""

ROW = np.dtype(
    [
        ("TIME", "f8"),
        ("FRAME", "i8"),
        ("RAWX", "i2"),
        ("RAWY", "i2"),
        ("DETX", "f4"),
        ("DETY", "f4"),
        ("X", "f4"),
        ("Y", "f4"),
        ("PHA", "i4"),
        ("PI", "i4"),
        ("ENERGY", "f4"),
        ("PATTERN", "i2"),
        ("GRADE", "i2"),
        ("FLAG", "i4"),
        ("P_BKG", "f4"),
        ("P_FRAME", "f4"),
        ("D_MIP", "f4"),
        ("WEIGHT", "f4"),
    ]
)
"""One event. 72 bytes, a multiple of 4 as the checksums of FITS want it."""

WEIGHTED_ROW = np.dtype([*ROW.descr, ("W_FRAME", "f4")])
"""One event of a simulation whose frames stand for several."""

UNITS = {
    "TIME": "s",
    "RAWX": "pixel",
    "RAWY": "pixel",
    "DETX": "pixel",
    "DETY": "pixel",
    "X": "pixel",
    "Y": "pixel",
    "PHA": "chan",
    "PI": "chan",
    "ENERGY": "keV",
    "D_MIP": "pixel",
}

DESCRIPTIONS = {
    "TIME": "middle of the frame",
    "FRAME": "number of the frame, from 0",
    "RAWX": "brightest pixel, from 1",
    "RAWY": "brightest pixel, from 1",
    "DETX": "centroid of the charge, pixels from 1",
    "DETY": "centroid of the charge, pixels from 1",
    "X": "sky position, or DETX without attitude",
    "Y": "sky position, or DETY without attitude",
    "PHA": "pulse height",
    "PI": "energy channel",
    "ENERGY": "summed energy",
    "PATTERN": "EPIC-pn pattern, 0 to 12",
    "GRADE": "ASCA grade, 0 to 7",
    "FLAG": "bits, see the header; 0 is good",
    "P_BKG": "probability that a particle left it",
    "P_FRAME": "probability of a particle in its frame",
    "D_MIP": "distance to the nearest particle track",
    "WEIGHT": "0 rejected, else W_FRAME (or 1) / retention",
    "W_FRAME": "frames that this one stands for",
}

MISSING = -1
"""In columns of whole numbers: the list does not tell."""

REJECTED, EXTRAPOLATED = 16, 32
"""Bits of FLAG beyond those of `physml.background.core.events`: cut by the model; outside of the
energies that the cut was made for."""

FLAGS = {
    1: "touches the border of the detector",
    2: "next to a bad pixel",
    4: "next to a pixel far below zero",
    8: "a pixel is saturated",
    REJECTED: "rejected by the model at the promised retention",
    EXTRAPOLATED: "energy outside of the range of the promise",
}

SPILL_BYTES = 64 << 20
"""Rows beyond this size go to a temporary file."""


class RowStore:
    """Rows in order, in memory while they are few and in a nameless temporary file when not.

    Parameters
    ----------
    dtype : dtype
        Of the rows.
    folder : Path, optional
        Where the temporary file goes; the system's place by default. It has no name, so that
        nothing of it stays behind whatever happens.
    """

    def __init__(self, dtype: np.dtype[Any] = ROW, folder: Path | None = None) -> None:
        self.dtype = dtype
        self._folder = folder
        place = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(SPILL_BYTES, dir=place)  # noqa: SIM115
        self._rows = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._rows

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows behind the others."""
        plain = np.ascontiguousarray(rows, self.dtype)
        self._file.seek(0, 2)
        self._file.write(plain.view(np.uint8).reshape(-1).data)
        self._rows += len(plain)

    def chunks(self, size: int = 1 << 17) -> Iterator[NDArray[Any]]:
        """All rows in order, some at a time."""
        width = self.dtype.itemsize
        for start in range(0, self._rows, size):
            self._file.seek(start * width)
            raw = self._file.read(min(size, self._rows - start) * width)
            yield np.frombuffer(raw, self.dtype)

    def read(self) -> NDArray[Any]:
        """All rows at once."""
        parts = list(self.chunks())
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    def __del__(self) -> None:
        self.close()
