"""Frames of the good time: those without pixels are listed, those outside are left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..core.arrays import Bools, Ints
from .account import Account
from .frames import Raw, Source
from .timeline import Timeline

#: Most frames without pixels that are listed between two with pixels.
MAX_FILLED = 1 << 22


def within(source: Source, timeline: Timeline, account: Account) -> Iterator[Raw]:
    """Blocks of a source with good time intervals.

    Parameters
    ----------
    source : Source
        Its `good` is not None.
    timeline : Timeline
        Times of its frames.
    account : Account
        Notes what lies outside.

    Yields
    ------
    Raw
    """
    good = source.good
    assert good is not None
    account.read(
        "good time", f"{len(good)} interval{'s' * (len(good) != 1)}, "
        f"{float(np.diff(good, axis=1).sum()):.6g} s (GTI)"
    )  # fmt: skip
    fill = not source.complete
    ends = _frame_range(timeline, good) if fill and len(good) else None
    last = None if ends is None else ends[0] - 1
    outside_frames = outside_pixels = 0
    empty: Raw | None = None
    for raw in source.read():
        empty = replace(raw, index=raw.index[:0], weight=None, values=raw.values[:0])
        index = raw.index
        if fill and last is not None and len(index) and index[-1] - last <= MAX_FILLED:
            first = min(last + 1, int(index[0]))
            index = np.arange(first, index[-1] + 1, dtype=np.int64)
        inside = _inside(timeline, good, index)
        kept = index[inside]
        if inside.all():
            raw = replace(raw, index=index)
        else:
            values, lost = _select(raw, kept, source.dense, inside)
            outside_frames += int((~inside).sum()) if source.complete else 0
            outside_pixels += lost
            weight = raw.weight
            raw = Raw(kept, weight if weight is None else weight[inside], values)
        last = max(int(index[-1]), last or 0) if len(index) else last
        yield raw
    if ends is not None and last is not None and 0 <= ends[1] - last <= MAX_FILLED:
        rest = np.arange(last + 1, ends[1] + 1, dtype=np.int64)
        rest = rest[_inside(timeline, good, rest)]
        if empty is None:
            columns = [("frame", "i8"), ("y", "i4"), ("x", "i4"), ("energy", source.dtype)]
            empty = Raw(rest[:0], None, np.empty(0, columns))
        if len(rest):
            yield replace(empty, index=rest)
    if outside_frames:
        account.leave_out(f"{outside_frames} frames outside of the good time", "frames")
    if outside_pixels and not source.dense:
        account.leave_out(f"{outside_pixels} pixels in frames outside of the good time", "pixels")


def _frame_range(timeline: Timeline, good: np.ndarray) -> tuple[int, int] | None:
    """First and last frame of the good time, where frames are even in time."""
    if timeline.known or timeline.pieces is not None:
        return None
    first = (good[0, 0] - timeline.origin) / timeline.frame_time
    last = (good[-1, 1] - timeline.origin) / timeline.frame_time
    return max(0, round(first)), max(0, round(last) - 1)


def _inside(timeline: Timeline, good: np.ndarray, index: Ints) -> Bools:
    """Frames whose middle lies in the good time."""
    time = timeline.time(index)
    if len(good) == 0:
        return np.zeros(len(index), bool)
    row = np.searchsorted(good[:, 0], time, side="right") - 1
    return (row >= 0) & (time <= good[np.maximum(row, 0), 1])


def _select(raw: Raw, kept: Ints, dense: bool, inside: Bools) -> tuple[np.ndarray, int]:
    """Values of the frames that are kept, and how many rows are lost."""
    if dense:
        return raw.values[inside], int((~inside).sum())
    keep = np.isin(raw.values["frame"], kept)
    return raw.values[keep], int((~keep).sum())
