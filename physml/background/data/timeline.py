"""From frame numbers to seconds, and the good time that the frames cover."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ..core.arrays import Floats, Ints, Rows

_NAMES = ("first_frame", "n_frames", "frame_time")


@dataclass
class Timeline:
    """Times of frames.

    Without a table of exposures frame k lasts from k to k + 1 frame times, and the good time is
    that of the runs of frames that were `seen`. With one, exposures follow each other without a
    gap, each with its own frame time, and all their frames are good time whether listed or not.

    Attributes
    ----------
    frame_time : float
        Seconds; of the first exposure where they differ.
    first, count : ndarray of int64, shape (k,)
        First frame and number of frames of each exposure; empty without exposures.
    step : ndarray of float64, shape (k,)
        Frame time of each exposure, s.
    origin : float
        Time of the beginning of frame 0, or of the first exposure, s.
    pieces : structured ndarray or None
        From which frame on frames begin when, for several files: columns first, begin (s) and
        step (s), see `frames.source.PIECE`. It may be filled in while frames are read.
    live_share : float
        Share of each frame in which the detector sees.
    """

    frame_time: float
    first: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    count: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    step: Floats = field(default_factory=lambda: np.empty(0))
    origin: float = 0.0
    pieces: Rows | None = None
    live_share: float = 1.0
    _runs: list[list[int]] = field(default_factory=list)

    @classmethod
    def from_exposures(cls, exposures: Rows, path: Any, origin: float = 0.0) -> Timeline:
        """Timeline of a table with the columns first_frame, n_frames and frame_time.

        Raises
        ------
        InputError
            Exposures overlap, have no frames, or no positive frame time.
        """
        missing = [name for name in _NAMES if name not in (exposures.dtype.names or ())]
        if missing or len(exposures) == 0:
            raise InputError.expected(
                path,
                f"a table 'exposures' with a row and the columns {', '.join(_NAMES)}",
                f"{len(exposures)} rows, without {', '.join(missing) or 'none of them'}",
            )
        rows = exposures[np.argsort(exposures["first_frame"], kind="stable")]
        first = rows["first_frame"].astype(np.int64)
        count = rows["n_frames"].astype(np.int64)
        step = rows["frame_time"].astype(np.float64)
        if (count <= 0).any() or (first < 0).any() or (first[1:] < (first + count)[:-1]).any():
            raise InputError.expected(
                path, "exposures with frames that do not overlap", "some that do, or are empty"
            )
        if not np.isfinite(step).all() or (step <= 0).any():
            raise InputError.expected(path, "positive frame times in 'exposures'", f"{step.min()}")
        # float32 tables would give 0.004999999888 s.
        return cls(float(f"{step[0]:.7g}"), first, count, np.round(step, 9), origin)

    @property
    def known(self) -> bool:
        """True where exposures tell which frames there were."""
        return len(self.first) > 0

    def see(self, frames: Ints, complete: bool) -> None:
        """Note frames that were read, in increasing order.

        Parameters
        ----------
        frames : ndarray of int64
            Their numbers.
        complete : bool
            Whether frames that are not listed were not observed; if not, they had no pixels.
        """
        if self.known or len(frames) == 0:
            return
        if not complete:
            first = self._runs[0][0] if self._runs else int(frames[0])
            self._runs = [[first, int(frames[-1])]]
            return
        cuts = np.flatnonzero(np.diff(frames) > 1)
        starts = frames[np.append(0, cuts + 1)].tolist()
        ends = frames[np.append(cuts, len(frames) - 1)].tolist()
        for start, end in zip(starts, ends, strict=True):
            if self._runs and start == self._runs[-1][1] + 1:
                self._runs[-1][1] = end
            else:
                self._runs.append([start, end])

    def exposure_of(self, frames: Ints) -> Ints:
        """Row of the exposure of each frame, -1 where it lies in none; 0 without exposures."""
        if not self.known:
            return np.zeros(len(frames), np.int64)
        row = np.searchsorted(self.first, frames, side="right") - 1
        at = np.maximum(row, 0)
        return np.where((row >= 0) & (frames < self.first[at] + self.count[at]), row, -1)

    def time(self, frames: Ints) -> Floats:
        """Middle of each frame, s."""
        if not self.known:
            return self._at(np.asarray(frames, np.float64) + 0.5, np.asarray(frames))
        row = np.maximum(self.exposure_of(frames), 0)
        return self._start()[row] + (frames - self.first[row] + 0.5) * self.step[row]

    def _at(self, place: Floats, frames: Ints) -> Floats:
        """Time of places on the axis of frames, which lie in (or at the end of) some frames."""
        if self.pieces is None:
            return np.asarray(self.origin + place * self.frame_time, np.float64)
        p = self.pieces[np.maximum(self._piece_of(frames), 0)]
        return np.asarray(p["begin"] + (place - p["first"]) * p["step"], np.float64)

    def _piece_of(self, frames: Ints) -> Ints:
        assert self.pieces is not None
        return np.searchsorted(self.pieces["first"], frames, side="right") - 1

    def _start(self) -> Floats:
        spans = self.count * self.step
        return self.origin + np.cumsum(spans) - spans

    @property
    def intervals(self) -> Floats:
        """Good time, start and stop in s, shape (k, 2); sorted and apart from each other."""
        if not self.known:
            runs = np.array(self._cut_runs(), np.int64).reshape(-1, 2)
            first, stop = runs[:, 0].astype(np.float64), runs[:, 1].astype(np.float64) + 1
            ends = np.stack([self._at(first, runs[:, 0]), self._at(stop, runs[:, 1])], axis=1)
            return _joined(ends, 1e-6 * self.frame_time)
        start = self._start()
        # Exposures follow each other: one interval.
        return np.array([[start[0], start[-1] + self.count[-1] * self.step[-1]]])

    def _cut_runs(self) -> list[list[int]]:
        """Runs of frames, cut where another file begins."""
        if self.pieces is None:
            return self._runs
        borders = self.pieces["first"].tolist()
        cut = []
        for start, end in self._runs:
            inside = [b for b in borders if start < b <= end]
            firsts = [start, *inside]
            cut += [[a, b] for a, b in zip(firsts, [*(i - 1 for i in inside), end], strict=True)]
        return cut

    @property
    def n_frames(self) -> int:
        """Frames in the good time."""
        if self.known:
            return int(self.count.sum())
        return int(sum(end - start + 1 for start, end in self._runs))

    @property
    def live_time(self) -> float:
        """Sum of the good time in which the detector sees, s."""
        return self.live_share * float(np.diff(self.intervals, axis=1).sum())


def _joined(intervals: Floats, gap: float) -> Floats:
    """Sorted intervals, of which those are joined that follow each other within a gap."""
    if len(intervals) < 2:
        return intervals
    new = np.append(True, intervals[1:, 0] - intervals[:-1, 1] > gap)
    first = np.flatnonzero(new)
    return np.column_stack([intervals[first, 0], intervals[np.append(first[1:] - 1, -1), 1]])
