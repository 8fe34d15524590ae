"""Several files as one exposure: in which order, and when each begins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from physml.exceptions import InputError

from ...core.arrays import Floats, Ints
from ..account import READ, Account
from . import source as limits
from .source import PIECE, Raw, Source, block_length

#: Most frames of a block of sparse frames.
MOST_FRAMES = 4096
#: Seconds of a day.
DAY = 86400.0
#: Frames that are filled in between two with pixels, at most.
MAX_FILLED = 1 << 22


def in_order_of_names(paths: Sequence[Path]) -> list[Path]:
    """Paths in order of their names, numbers in them by their value."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", str(path))
        return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]

    return sorted(paths, key=key)


def join(sources: Sequence[Source]) -> Source:
    """One source of several, in order of time, or else of name.

    Parameters
    ----------
    sources : sequence of Source
        Of files.

    Raises
    ------
    InputError
        They do not go together.
    """
    begins, ordered, by = _in_order(sources)
    first = ordered[0]
    for other in ordered[1:]:
        _check_alike(first, other)
    dtype = np.result_type(*{s.dtype for s in ordered})
    n = len(ordered)
    label = f"{first.label} and {n - 1} more"
    good = _good_times(ordered, begins)
    joined = replace(
        first,
        label=label,
        dtype=dtype,
        length=sum(s.length for s in ordered),
        complete=good is None,
        read=lambda: iter(()),
        weighted=any(s.weighted for s in ordered),
        good=good,
        pieces=np.zeros(n, PIECE),
        files=[s.path for s in ordered if s.path is not None],
        account=_account(ordered, by),
    )
    joined.account.label = label
    _set_frame_time(joined, ordered)
    if begins is not None and _overlap(joined, ordered, begins):
        joined.account.assume(
            "the starts that the files tell are nearer to each other than their frames are long: "
            "they are taken to follow each other without a gap",
            "times",
        )
        begins = None
    elif begins is None and not (first.told.origin is not None and not first.dense):
        joined.account.assume(
            "files are taken to follow each other without a gap: they do not tell when each began",
            "times",
        )
    joined.read = lambda: _batched(_read(joined, ordered, begins), joined)
    return joined


def _account(ordered: Sequence[Source], by: str) -> Account:
    """Account of all files: what they are together, then what was said of each."""
    first = ordered[0]
    account = Account(aloud=False)
    names = [Path(s.label).name for s in ordered]
    what = next((text for part, what, text in first.account.rows if what == "input"), "")
    account.read("input", f"{len(ordered)} files in order of {by}: {names[0]} to {names[-1]}")
    account.read("first file", what)
    for s in ordered:
        account.rows += [
            row
            for row in s.account.rows
            if row not in account.rows and not (row[0] == READ and row[1] == "input")
        ]
    return account


def _check_alike(first: Source, other: Source) -> None:
    for what, a, b in (
        ("images or pixels", first.dense, other.dense),
        ("frames of one shape (y, x)", first.shape, other.shape),
        ("energies in one unit", first.unit, other.unit),
    ):
        if a != b:
            raise InputError.expected(other.label, f"{what}, as in {first.label}", f"{b}, not {a}")
    if other.exposures is not None or first.exposures is not None:
        raise InputError.expected(
            other.label, "one file, where it has a table of exposures", "several files"
        )


def _in_order(sources: Sequence[Source]) -> tuple[Floats | None, list[Source], str]:
    """Beginnings (s) where all files tell them, the files in order, and by what."""
    for name in ("origin", "mjd"):
        values = [getattr(s.told, name) for s in sources]
        if None in values:
            continue
        times = np.array(values, np.float64)
        if name == "mjd":
            start = sources[int(np.argmin(times))].told.origin or 0.0
            times = np.round((times - times.min()) * DAY, 6) + start
        order = np.argsort(times, kind="stable")
        step = sources[0].told.frame_time or 0.0
        # Files whose frames are numbered on have their frame 0 at the same time.
        if (np.diff(times[order]) > step / 2).all():
            return times[order], [sources[k] for k in order], "time"
    paths = [s.path or Path(s.label) for s in sources]
    names = in_order_of_names(paths)
    return None, [sources[paths.index(p)] for p in names], "name"


def _set_frame_time(joined: Source, ordered: Sequence[Source]) -> None:
    """Frame time of all files together: the median where they differ."""
    steps = [s.told.frame_time for s in ordered]
    known = np.array([s for s in steps if s is not None])
    if len(known) and known.max() > 1.002 * known.min():
        joined.account.read(
            "frame time", f"{known.min():.6g} to {known.max():.6g} s, told by each file"
        )
    if len(known) and len(known) < len(steps):
        joined.account.assume(
            f"{len(steps) - len(known)} files tell no frame time: that of the others is used",
            "frame time",
        )
    if len(known):
        joined.told = replace(joined.told, frame_time=float(np.median(known)))


def _overlap(joined: Source, ordered: Sequence[Source], begins: Floats) -> bool:
    """Whether files begin long before those before them end."""
    step = joined.told.frame_time
    if step is None or not joined.dense:
        return False
    spans = np.array([s.length * (s.told.frame_time or step) for s in ordered])
    return bool((np.diff(begins) < 0.5 * spans[:-1]).any())


def _good_times(ordered: Sequence[Source], begins: Floats | None) -> Floats | None:
    """Good time of all files in the time of the first; None where one of them has none."""
    parts = []
    for k, s in enumerate(ordered):
        if s.good is None or begins is None:
            return None
        parts.append(s.good + (begins[k] - (s.told.origin or 0.0)))
    every = np.concatenate(parts)
    return every[np.argsort(every[:, 0], kind="stable")]


def _batched(raws: Iterator[Raw], joined: Source) -> Iterator[Raw]:
    """Put small blocks together: files may hold a frame each, and hot pixels need many frames."""
    most = MOST_FRAMES
    if joined.dense and joined.shape is not None:
        most = block_length((1, *joined.shape))
    held: list[Raw] = []
    frames = rows = 0
    for raw in raws:
        size = 0 if joined.dense else len(raw.values)
        if held and (frames + len(raw.index) > most or rows + size > limits.BLOCK_ROWS):
            yield _together(held)
            held, frames, rows = [], 0, 0
        held.append(raw)
        frames, rows = frames + len(raw.index), rows + size
    if held:
        yield _together(held)


def _together(held: Sequence[Raw]) -> Raw:
    if len(held) == 1:
        return held[0]
    weights = [r.weight for r in held if r.weight is not None]
    return Raw(
        np.concatenate([r.index for r in held]),
        np.concatenate(weights) if len(weights) == len(held) else None,
        np.concatenate([r.values for r in held]),
    )


def _read(joined: Source, ordered: Sequence[Source], begins: Floats | None) -> Iterator[Raw]:
    """Blocks of all files; frames are numbered on from file to file."""
    step = joined.told.frame_time or 1.0
    pieces = joined.pieces
    assert pieces is not None
    pieces[:] = (np.iinfo(np.int64).max, 0.0, step)
    free, clock = 0, joined.told.origin or 0.0
    for k, source in enumerate(ordered):
        shift: int | None = None
        own = source.told.frame_time or step
        last = -1
        for raw in source.read():
            if len(raw.index) == 0:
                continue
            if shift is None:
                # Numbers that go on from file to file stay what they are.
                shift = 0 if k and raw.index[0] >= free else free
                begin = clock if begins is None else float(begins[k])
                pieces[k] = free if k else 0, begin, own
                if shift == 0 and k:
                    at = int(raw.index[0])
                    pieces[k]["first"] = at
                    if begins is None and source.told.origin is not None:
                        pieces[k]["begin"] = source.told.origin + at * own
                last = int(raw.index[0]) - 1
            index: Ints = raw.index
            if not source.complete and index[-1] - last <= MAX_FILLED:
                index = np.arange(last + 1, index[-1] + 1, dtype=np.int64)
            last = int(index[-1])
            values = raw.values
            if values.dtype.names and shift:
                values = values.copy()
                values["frame"] = values["frame"].astype(np.int64) + shift
            yield Raw(index + shift, raw.weight, values)
            free = max(free, int(index[-1]) + shift + 1)
        if shift is not None:
            clock += (free - int(pieces[k]["first"])) * own
