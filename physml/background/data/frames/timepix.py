"""Sources of texts of Timepix chips; their forms: `timepix_text`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..times import Given, Told, told_times
from .source import Raw, Source, check_shape
from .timepix_text import MAX_TEXT, SIDE, Description, Parsed, parse, read_description
from .unpacked import Unpacked

#: MJD of the beginning of Unix time.
UNIX_EPOCH = 40587.0


def open_text(path: Path, data: Unpacked | None = None) -> Source:
    """Source of one text file; see the module.

    Raises
    ------
    InputError
        Numbers in it that are none of these.
    """
    data = data or Unpacked(path, MAX_TEXT)
    about = read_description(path)
    parsed = parse(path, data, about)
    shape = about.shape or parsed.shape or (SIDE, SIDE)
    check_shape(path, shape)
    kind = parsed.rows.dtype["energy"]

    def read() -> Iterator[Raw]:
        # Parsed anew: of many files only the one that is read is in memory.
        now = parse(path, data, about)
        index = np.arange(now.frames, dtype=np.int64) if now.numbers is None else now.numbers
        yield Raw(index, None, now.rows)

    source = Source(
        str(path), False, kind, shape, len(parsed.rows), complete=True, read=read, path=path,
        detector="timepix" if shape == (SIDE, SIDE) else None,
    )  # fmt: skip
    plural = "s" if parsed.frames != 1 else ""
    source.account.read(
        "input",
        f"text of {parsed.layout}: {len(parsed.rows)} pixels in {parsed.frames} frame{plural}",
    )
    if kind.kind == "f":
        source.account.assume("numbers with a point are taken to be energies in keV", "unit")
    source.told = _told(about, parsed, source)
    return source


def _told(about: Description, parsed: Parsed, source: Source) -> Told:
    """Times by the description, or by the frames' own lines."""
    known: dict[str, Given] = {}
    span = about.values.get("Acq time")
    if span is not None:
        known["ACQTIME"] = Given(span.replace(",", "."), "s", "Acq time")
    elif parsed.spans and min(parsed.spans) > 0:
        if max(parsed.spans) > 1.002 * min(parsed.spans):
            source.account.assume(
                f"frames of {min(parsed.spans):.6g} to {max(parsed.spans):.6g} s: the median is "
                "used",
                "frame time",
            )
        known["ACQTIME"] = Given(float(np.median(parsed.spans)), "s", "the frames' lines")
    start = about.values.get("Start time", "").replace(",", ".")
    try:
        unix = float(start) if start else (parsed.starts[0] if parsed.starts else np.nan)
    except ValueError:
        unix = float("nan")
    if np.isfinite(unix) and unix > 1e8:
        known["MJDOBS"] = Given(UNIX_EPOCH + unix / 86400, "", "Start time")
    return told_times(known, parsed.frames)
