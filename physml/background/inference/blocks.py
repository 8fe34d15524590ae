"""Blocks of frames with their events and particle rates, as an observation is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..core.arrays import Floats
from ..core.events import Found, find_events
from ..core.frames import Frames
from ..data.stream import FrameStream
from .housing import ENOUGH
from .inputs import FRAMES_OF_PRIOR

#: Pixels that are held, at most, while the housing is measured.
HEAD_PIXELS = 1_000_000


class Block(NamedTuple):
    """Frames of a block, their events, particles a frame by exposure, and how much is done."""

    frames: Frames
    found: Found
    rate: Floats
    done: int


def found_blocks(stream: FrameStream) -> Iterator[Block]:
    """Find the events of frames, block by block.

    Parameters
    ----------
    stream : FrameStream

    Yields
    ------
    Block
    """
    c, rates = stream.camera, Rates()
    for frames, done in stream.blocks():
        found = find_events(
            frames,
            split=c.split,
            event=c.event,
            upper=c.upper,
            bad=stream.bad if stream.bad.any() else None,
            saturation=stream.inspector.saturation,
        )
        stream.inspector.check_events(found.events["frame"])
        yield Block(frames, found, rates.update(found, frames), done)


def beginning(blocks: Iterator[Block]) -> list[Block]:
    """Take the first blocks: enough events to measure on, or what memory has room for."""
    head: list[Block] = []
    events = pixels = 0
    for block in blocks:
        head.append(block)
        events += int(block.found.events["valid"].sum())
        pixels += len(block.frames.pixels)
        if events >= ENOUGH or pixels >= HEAD_PIXELS:
            break
    return head


class Rates:
    """Particle tracks per frame, by exposure, learnt as frames go by.

    Later frames count more than those long past: the rate of particles changes within hours.
    """

    #: Frames after which what was seen counts for 1 / e.
    MEMORY = 20_000.0

    def __init__(self) -> None:
        self.seen: Floats = np.zeros(0)
        self.held: Floats = np.zeros(0)

    def update(self, found: Found, frames: Frames) -> Floats:
        """Take in a block and give the rates, shape (number of exposures, at least 1,)."""
        n = 1 if frames.exposures is None else max(1, len(frames.exposures))
        if len(self.seen) < n:
            self.seen, self.held = np.zeros(n), np.zeros(n)
        exposure, weight = frames.frame_exposure, np.asarray(frames.weight, np.float64)
        at = frames.position(found.clusters["frame"][found.clusters["particle"]])
        held = np.bincount(exposure, weight, minlength=n)
        keep = np.exp(-held / self.MEMORY)
        self.held = keep * self.held + held
        self.seen = keep * self.seen + np.bincount(exposure[at], weight[at], minlength=n)
        return (self.seen + 0.5 * FRAMES_OF_PRIOR) / (self.held + FRAMES_OF_PRIOR)
