"""One observation as the event finder needs it: checked frames in keV, their times, the detector.

Whatever holds frames (a path, an array, a table) becomes a `FrameStream`, which gives them block
by block: a file of any size takes the memory of one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.io.fits import Header

from physml.exceptions import InputError

from ..core.arrays import Bools, Rows
from ..core.frames import Frames
from .account import Account
from .frames import Raw, Source
from .inspector import Inspector
from .observed import within
from .timeline import Timeline
from .times import epoch_cards

#: Most frames in a block of which those without pixels are listed.
MAX_FILLED = 1 << 22


@dataclass
class Camera:
    """Properties of the camera of one observation.

    Attributes
    ----------
    name : str
        Of the detector's settings.
    shape : tuple of int
        Rows and columns.
    pixel_um, thickness_um : float
        Side of a pixel and depth of the silicon.
    frame_time : float
        Seconds.
    enc : float
        Readout noise, electrons.
    split, event, upper : float
        Thresholds of the event finder, keV.
    """

    name: str
    shape: tuple[int, int]
    pixel_um: float
    thickness_um: float
    frame_time: float
    enc: float
    split: float
    event: float
    upper: float


@dataclass
class FrameStream:
    """Frames of one observation, read and checked block by block.

    Attributes
    ----------
    source : Source
        Where they come from.
    camera : Camera
        The detector.
    timeline : Timeline
        Times of frames; complete once all blocks were read.
    inspector : Inspector
        Checks, with the bad pixels.
    name : str
        Name for titles.
    files : dict
        Input files by role, for the provenance.
    """

    source: Source
    camera: Camera
    timeline: Timeline
    inspector: Inspector
    name: str
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def account(self) -> Account:
        """Account of what was read, assumed and left out."""
        return self.inspector.account

    @property
    def remarks(self) -> list[str]:
        """Assumptions, changes of the data, and other things that the user should know."""
        return self.account.remarks

    @property
    def bad(self) -> Bools:
        """Bad pixels that are known so far, shape (ny, nx)."""
        return self.inspector.bad

    @property
    def header(self) -> Header | None:
        """Header of a FITS input."""
        return self.source.header

    @property
    def dated_header(self) -> Header | None:
        """Header with a reference time that agrees with the date that the input tells."""
        cards = epoch_cards(self.source.told, self.source.header or {})
        if not cards:
            return self.header
        header = Header() if self.header is None else self.header.copy()
        header.update(cards)
        return header

    def blocks(self) -> Iterator[tuple[Frames, int]]:
        """Read all frames once.

        Yields
        ------
        frames : Frames
            Of one block.
        done : int
            How much of `source.length` this block was.

        Raises
        ------
        InputError
            Anything is not as it has to be.
        """
        c = self.camera
        for raw in self._raws():
            pixels = self.inspector.pixels(raw)
            # Within good times all frames are listed, also those without pixels.
            self.timeline.see(raw.index, self.source.complete or self.source.good is not None)
            if (self.timeline.exposure_of(raw.index) < 0).any():
                raise InputError.expected(
                    self.source.label, "frames of the exposures that it lists", "others as well"
                )
            weight = raw.weight
            if weight is None:
                weight = np.ones(len(raw.index), np.float32)
            yield (
                Frames(
                    pixels,
                    c.shape,
                    raw.index,
                    weight,
                    frame_time=c.frame_time,
                    exposures=self._exposures(),
                ),
                len(raw.values),
            )
        self._conclude()

    def _raws(self) -> Iterator[Raw]:
        """Blocks with all frames that were observed, and no others."""
        if self.source.good is None:
            last = None
            for raw in self.source.read():
                raw = self._with_empty_frames(raw, last)
                last = int(raw.index[-1]) if len(raw.index) else last
                yield raw
            return
        yield from within(self.source, self.timeline, self.account)

    def _conclude(self) -> None:
        """Say what there was, once all was read."""
        t = self.timeline
        n, share = t.n_frames, t.live_share
        text = f"{t.live_time:.6g} s in {n} frame{'s' * (n != 1)}"
        if share < 1:
            text += f", {share:.2%} of {t.live_time / share:.6g} s"
        self.account.read("exposure", text)
        if self.inspector.largest > self.camera.split:
            return
        found = "there are no pixels at all"
        if np.isfinite(self.inspector.largest):
            found = (
                "all pixels are zero"
                if self.inspector.largest == 0
                else f"the largest has {self.inspector.largest:.3g} keV"
            )
        self.account.leave_out(
            f"no pixel lies above the split threshold of {self.camera.split:g} keV ({found}): no "
            "events",
            "events",
        )

    def _with_empty_frames(self, raw: Raw, last: int | None) -> Raw:
        """List also the frames that have no pixels, where the source lists only those that have.

        How many particles there are in a frame on average is part of what the network looks at.
        """
        if self.source.complete or len(raw.index) == 0:
            return raw
        first = int(raw.index[0]) if last is None else last + 1
        if raw.index[-1] - first >= MAX_FILLED:
            return raw
        return replace(raw, index=np.arange(first, raw.index[-1] + 1, dtype=np.int64))

    def _exposures(self) -> Rows | None:
        rows = self.source.exposures
        return rows if rows is not None and "first_frame" in (rows.dtype.names or ()) else None
