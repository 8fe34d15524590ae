"""Rows of the event list, and a store of them that does not outgrow the memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Bools, Rows
from ..core.events import BORDER, NEAR_BAD, NEGATIVE, SATURATED
from ..core.frames import Frames
from ..data.event_list import BAD_GRADE, ISLAND, LEFT_OUT, MISSION, NO_ENERGY, OUTSIDE
from ..inference.detector import BackgroundDetector, Classified
from ..inference.retention import Correction

#: Width of a channel of PHA and PI, keV.
CHANNEL_KEV = 0.01
#: Channels 0 to 1599: 0 to 16 keV.
N_CHANNELS = 1600
#: Columns of the event list: name, type, unit, description. W_FRAME is there for simulations whose
#: frames stand for several.
COLUMNS = (
    ("TIME", "f8", "s", "middle of the frame"),
    ("FRAME", "i8", "", "number of the frame, from 0"),
    ("RAWX", "i2", "pixel", "brightest pixel, from 1"),
    ("RAWY", "i2", "pixel", "brightest pixel, from 1"),
    ("DETX", "f4", "pixel", "centroid of the charge, pixels from 1"),
    ("DETY", "f4", "pixel", "centroid of the charge, pixels from 1"),
    ("X", "f4", "pixel", "sky position, or DETX without attitude"),
    ("Y", "f4", "pixel", "sky position, or DETY without attitude"),
    ("PHA", "i4", "chan", "pulse height"),
    ("PI", "i4", "chan", "energy channel"),
    ("ENERGY", "f4", "keV", "summed energy"),
    ("PATTERN", "i2", "", "EPIC-pn pattern, 0 to 12"),
    ("GRADE", "i2", "", "ASCA grade, 0 to 7"),
    ("FLAG", "i4", "", "bits, see the header; 0 is good"),
    ("P_BKG", "f4", "", "probability that a particle left it"),
    ("P_FRAME", "f4", "", "probability of a particle in its frame"),
    ("D_MIP", "f4", "pixel", "distance to the nearest particle track"),
    ("WEIGHT", "f4", "", "0 rejected, else W_FRAME (or 1) / retention"),
    ("W_FRAME", "f4", "", "frames that this one stands for"),
)
#: One event of a simulation, and any other: 72 bytes, a multiple of 4 as FITS' checksums want it.
WEIGHTED_ROW = np.dtype([(name, kind) for name, kind, _, _ in COLUMNS])
ROW = np.dtype(WEIGHTED_ROW.descr[:-1])
UNITS = {name: unit for name, _, unit, _ in COLUMNS if unit}
DESCRIPTIONS = {name: text for name, _, _, text in COLUMNS}
#: In columns of whole numbers: the list does not tell.
MISSING = -1
#: Bits of FLAG beyond those of `physml.background.core.events`: cut by the model; outside of the
#: energies that the cut was made for.
REJECTED, EXTRAPOLATED = 16, 32
#: Meaning of the bits of FLAG.
FLAGS = {
    BORDER: "touches the border of the detector",
    NEAR_BAD: "next to a bad pixel",
    NEGATIVE: "next to a pixel far below zero",
    SATURATED: "a pixel is saturated",
    REJECTED: "rejected by the model at the promised retention",
    EXTRAPOLATED: "energy outside of the range of the promise",
}
#: Meaning of those bits that only events of lists have.
LIST_FLAGS = {
    REJECTED: "rejected by a cut that was asked for",
    EXTRAPOLATED: "energy outside of 0.2 to 15 keV",
    MISSION: "marked as bad by the mission (STATUS, FLAG)",
    OUTSIDE: "outside of the good time",
    NO_ENERGY: "no energy",
    ISLAND: "charge in the outer pixels of its island",
    BAD_GRADE: "grade 1, 5 or 7: no X-ray's",
}
#: Rows beyond this size go to a temporary file.
SPILL_BYTES = 64 << 20


def counted(rows: Rows) -> Bools:
    """Events that count at all, as a mask: of lists some are marked as bad or out of good time."""
    return np.asarray((rows["FLAG"] & LEFT_OUT) == 0)


def block_rows(
    frames: Frames,
    classified: Classified,
    detector: BackgroundDetector,
    correction: Correction,
    *,
    time: Callable[[Any], Any],
    sky: Callable[[Any, Any], tuple[Any, Any]],
    weighted: bool,
) -> Rows:
    """Rows of the event list for the valid events of a block.

    Parameters
    ----------
    frames : Frames
    classified : Classified
        Their events.
    detector : BackgroundDetector
        With the cuts.
    correction : Correction
        Retention that is promised, and that which was measured.
    time : callable
        From frame numbers to the middles of the frames, s.
    sky : callable
        From detector positions to X and Y.
    weighted : bool
        Whether frames stand for several.

    Returns
    -------
    structured ndarray
        `ROW`, or `WEIGHTED_ROW`.
    """
    events = classified.found.events
    order = np.flatnonzero(events["valid"])
    order = order[np.lexsort((events["x"][order], events["y"][order], events["frame"][order]))]
    e = events[order]
    at = frames.position(e["frame"])
    p, rate = classified.p_bkg[order], classified.rate[order]
    rows = np.zeros(len(e), WEIGHTED_ROW if weighted else ROW)
    rows["TIME"] = time(e["frame"])
    rows["FRAME"] = e["frame"]
    rows["RAWX"], rows["RAWY"] = e["x"] + 1, e["y"] + 1
    rows["DETX"], rows["DETY"] = e["xc"] + 1, e["yc"] + 1
    rows["X"], rows["Y"] = sky(rows["DETX"], rows["DETY"])
    rows["ENERGY"] = e["energy"]
    rows["PI"] = np.clip(e["energy"] / CHANNEL_KEV, 0, N_CHANNELS - 1)
    rows["PHA"] = rows["PI"]
    rows["PATTERN"], rows["GRADE"] = e["pattern"], e["grade"]
    rows["P_BKG"] = p
    rows["P_FRAME"] = classified.p_frame[at][:, 1:].sum(axis=1)
    rows["D_MIP"] = classified.d_mip[order]
    rejected = p > detector.threshold(e["energy"], correction.promised, rate=rate)
    rows["FLAG"] = (
        e["flag"]
        | np.where(rejected, REJECTED, 0)
        | np.where(correction.covers(e["energy"]), 0, EXTRAPOLATED)
    )
    kept = correction.at(e["energy"], rate)
    rows["WEIGHT"] = np.where(rejected, 0.0, frames.weight[at] / kept)
    if weighted:
        rows["W_FRAME"] = frames.weight[at]
    return rows


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
        """Number of rows."""
        return self._rows

    def append(self, rows: Rows) -> None:
        """Add rows behind the others."""
        plain = np.ascontiguousarray(rows, self.dtype)
        self._file.seek(0, 2)
        self._file.write(plain.view(np.uint8).reshape(-1).data)
        self._rows += len(plain)

    def chunks(self, size: int = 1 << 17) -> Iterator[Rows]:
        """Rows in order, some at a time; no rows once where there are none."""
        if self._rows == 0:
            yield np.empty(0, self.dtype)
        width = self.dtype.itemsize
        for start in range(0, self._rows, size):
            self._file.seek(start * width)
            raw = self._file.read(min(size, self._rows - start) * width)
            yield np.frombuffer(raw, self.dtype)

    def read(self) -> Rows:
        """Rows, all at once."""
        parts = list(self.chunks())
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    def __del__(self) -> None:
        self.close()
