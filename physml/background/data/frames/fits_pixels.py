"""Tables of pixels in FITS files: a row for each pixel above a threshold, with its frame.

Columns and what tells them from event lists: `pixel_columns`; their times: `pixel_times`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from physml.exceptions import InputError

from ...core.arrays import Floats, Ints, Rows
from ..times import Told, from_headers, told_times
from . import source as limits
from .fits_columns import Column, read_columns, read_intervals
from .fits_file import Extension, FitsFile
from .pixel_columns import find_pixels
from .pixel_times import by_time, line
from .source import MAX_FRAME, Raw, Source, by_frame, check_shape

#: Missions that count pixels from 1 (XMM-Newton's and eROSITA's RAWX and RAWY).
FROM_ONE = ("XMM", "EROSITA", "SRG")
#: Most rows that are sorted, or numbered by time, in memory.
MAX_SORTED = 1 << 25


def open_pixels(file: FitsFile, chosen: Mapping[str, str], raw: bool = False) -> Source:
    """Source of a table of pixels.

    Parameters
    ----------
    file : FitsFile
    chosen : mapping
        Columns by role that the user names.
    raw : bool
        Whether raw values are wanted rather than energies.

    Raises
    ------
    InputError
        No such table, or numbers in it that are none.
    """
    found = find_pixels(file, chosen, raw)
    if found is None:
        tables = "; ".join(f"{e.name or 'table'}: {', '.join(e.columns)}" for e in file.tables)
        raise InputError.expected(
            file.path,
            "a table of pixels with columns of frame, x, y and signal",
            tables or "no table",
            "Name them with columns=, such as frame=F,x=X,y=Y,signal=S.",
        )
    return _PixelTable(file, *found).source()


class _PixelTable:
    """A table of pixels while it is opened and read."""

    def __init__(self, file: FitsFile, extension: Extension, columns: dict[str, Column]) -> None:
        self.file, self.extension, self.columns = file, extension, columns
        self.path = file.path
        self.length = int(extension.header["NAXIS2"])
        self.header = file.whole_header(extension)
        # Rows in order of their frames, where they do not stand in it.
        self.order: Ints | None = None
        # Frame of each row, where there is no column of frames.
        self.index: Ints | None = None
        # First and last frame.
        self.ends: tuple[int, int] | None = None
        self.known = from_headers([extension.header, file.primary])
        self.shift = {"x": 0, "y": 0}
        self._whole: dict[str, Rows] | None = None

    def source(self) -> Source:
        """Look at the frames of all pixels once, and make a source."""
        columns = self.columns
        for role in ("frame", "x", "y"):
            if role in columns and not columns[role].whole:
                raise InputError.expected(
                    self.path,
                    f"whole numbers in {columns[role].name}",
                    f"numbers of type {columns[role].dtype}",
                )
        signal = columns["signal"]
        whole = signal.whole and signal.unit.lower() not in ("kev", "ev")
        source = Source(
            str(self.path), False, np.dtype("i8" if whole else "f8"), None, self.length,
            complete=False, read=self._read, unit=signal.unit or None, header=self.header,
            path=self.path,
        )  # fmt: skip
        used = ", ".join(f"{r} = {c.name}" for r, c in columns.items() if r != "clock")
        source.account.read(
            "input",
            f"FITS table of {self.length} pixels in {self.extension.name or 'a table'} ({used})",
        )
        source.good = read_intervals(self.file)
        known = self.known
        source.told = told_times(known)
        if "frame" in columns:
            last = self._frames(source)
            if source.told.frame_time is None and "clock" not in columns and last is not None:
                source.told = told_times(known, last + 1)
        else:
            self._number(source)
        if self.index is None and self.length:
            source.told = self._by_clock(source, source.told)
        if source.good is None:
            source.good = self._from_start_to_stop(source)
        self._first_pixels(source)
        source.shape = self._shape()
        return source

    def _from_start_to_stop(self, source: Source) -> Floats | None:
        """Good time from TSTART to TSTOP, where there are no intervals and it holds the frames."""
        told, known = source.told, told_times(self.known)
        step, start, stop = told.frame_time, known.origin, known.stop
        if step is None or start is None or stop is None or stop <= start:
            return None
        if self.ends is not None:
            first, last = (told.origin or 0.0) + step * np.array(self.ends)
            if first < start - step / 2 or last + step > stop + step / 2:
                source.account.assume(
                    "TSTART to TSTOP does not hold the frames of the pixels: the good time is that "
                    "from the first of them to the last",
                    "good time",
                )
                return None
        source.account.assume("no GTI: the good time is taken from TSTART to TSTOP", "good time")
        return np.array([[start, stop]])

    def _rows(self, a: int, b: int, *roles: str) -> dict[str, Rows]:
        return read_columns(
            self.file, self.extension, {role: self.columns[role] for role in roles}, a, b
        )

    def _column(self, role: str) -> Rows:
        """A whole column, of which each row has to be a number."""
        steps = range(0, self.length, limits.BLOCK_ROWS)
        parts = [self._rows(a, min(a + limits.BLOCK_ROWS, self.length), role)[role] for a in steps]
        values = np.concatenate(parts) if parts else np.empty(0)
        wrong = int((~np.isfinite(values)).sum())
        if wrong:
            name = self.columns[role].name
            raise InputError.expected(
                self.path, f"a number in {name} in each row", f"{wrong} undefined ones"
            )
        return values

    def _frames(self, source: Source) -> int | None:
        """Last frame; notes the order of the rows where they are not sorted."""
        if self.length > MAX_SORTED:
            return None  # looked at block by block, while it is read
        frame = self._column("frame")
        if len(frame) == 0:
            return None
        if frame.min() < 0 or frame.max() > MAX_FRAME:
            raise InputError.expected(
                self.path, f"frame numbers from 0 to {MAX_FRAME}", f"{frame.min()} to {frame.max()}"
            )
        self._sort(frame, source)
        self.ends = int(frame.min()), int(frame.max())
        return self.ends[1]

    def _sort(self, values: Rows, source: Source) -> None:
        if (np.diff(values) < 0).any():
            self.order = np.argsort(values, kind="stable")
            source.account.assume("pixels do not stand in order of their frames: sorted", "order")

    def _number(self, source: Source) -> None:
        """Number the readouts by time, where the table has no column of frames."""
        if self.length > MAX_SORTED:
            raise InputError.expected(
                self.path, f"a column of frames, where there are over {MAX_SORTED} pixels", "none"
            )
        time = self._column("time")
        if len(time) == 0:
            return
        self._sort(time, source)
        found = by_time(time, source.told)
        if found is None:
            raise InputError.expected(self.path, "a column of frames, or a frame time", "neither")
        self.index, step, begin = found
        self.ends = int(self.index.min()), int(self.index.max())
        if source.told.frame_time is None:
            source.account.assume(
                f"no frame time in the file: {step:.6g} s, the least time between two readouts",
                "frame time",
            )
        source.account.assume(
            f"no column of frames: numbered by TIME in steps of {step:.6g} s", "frame"
        )
        source.told = replace(source.told, frame_time=step, origin=begin)

    def _by_clock(self, source: Source, told: Told) -> Told:
        """Frame time and beginning of frame 0 from the TIME of the first and last pixel."""
        if "clock" not in self.columns:
            return told
        ends = (0, self.length - 1) if self.order is None else self.order[[0, -1]].tolist()
        pair = [self._rows(k, k + 1, "frame", "clock") for k in ends]
        frames = [int(p["frame"][0]) for p in pair]
        pixel = self.header.get("TIMEPIXR")
        known = isinstance(pixel, int | float) and 0 <= pixel <= 1
        found = line(
            frames, [float(p["clock"][0]) for p in pair], told, float(pixel) if known else None
        )
        if found is None:
            return told
        step, begin = found
        if told.frame_time is None:
            source.account.read("frame time", f"{step:.6g} s (TIME against frame number)")
        elif step != told.frame_time:
            source.account.assume(
                f"the header tells frames of {told.frame_time:.6g} s, TIME grows by {step:.6g} s a "
                "frame: the latter is used",
                "frame time",
            )
        return replace(told, frame_time=step, origin=begin)

    def _first_pixels(self, source: Source) -> None:
        """Number of the first column and row: by TLMIN, by the mission, or 0."""
        said = []
        mission = str(self.header.get("TELESCOP", "")).strip().upper()
        for role in ("x", "y"):
            column = self.columns[role]
            if column.low is not None and column.low in (0, 1):
                self.shift[role] = int(column.low)
                said.append(f"{column.name} from {int(column.low)} (TLMIN)")
            elif mission in FROM_ONE:
                self.shift[role] = 1
                said.append(f"{column.name} from 1 ({mission})")
        if said:
            source.account.read("pixels", "counted: " + ", ".join(said))
        else:
            source.account.assume("pixels count from 0: the table has no TLMIN", "pixels")

    def _shape(self) -> tuple[int, int] | None:
        """Rows and columns of the detector by TLMIN and TLMAX."""
        sides = []
        for role in ("y", "x"):
            column = self.columns[role]
            if column.low is None or column.high is None or column.high - column.low < 7:
                return None
            sides.append(int(column.high - column.low) + 1)
        check_shape(self.path, (sides[0], sides[1]))
        return sides[0], sides[1]

    def _cut(self, a: int, b: int) -> Rows:
        """Rows a to b in order of their frames, pixels counted from 0."""
        roles = [r for r in ("frame", "y", "x", "signal") if r in self.columns]
        place: slice | Ints = slice(a, b)
        if self.order is None:
            part = self._rows(a, b, *roles)
        else:
            if self._whole is None:
                self._whole = self._rows(0, self.length, *roles)
            place = self.order[a:b]
            part = {role: values[place] for role, values in self._whole.items()}
        kind = "i8" if part["signal"].dtype.kind in "ui" else "f8"
        rows = np.empty(
            b - a, np.dtype([("frame", "i8"), ("y", "i4"), ("x", "i4"), ("energy", kind)])
        )
        for role in ("y", "x"):
            if not np.isfinite(part[role]).all():
                name = self.columns[role].name
                raise InputError.expected(
                    self.path, f"a number in {name} in each row", "undefined ones"
                )
            rows[role] = part[role] - self.shift[role]
        rows["frame"] = part["frame"] if self.index is None else self.index[place]
        rows["energy"] = part["signal"]
        return rows

    def _read(self) -> Iterator[Raw]:
        for index, rows in by_frame(self.path, self.length, self._cut):
            yield Raw(index, None, rows)
