"""From frames to a clean event list: the Python interface.

>>> result = physml.Model.load("background").predict(frames, retention=0.98)  # doctest: +SKIP
>>> result.events["TIME", "ENERGY", "P_BKG"]                                  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.progress import show_progress

from .core.events import Found, find_events
from .core.frames import Frames
from .data.event_list import EventList, load_events
from .data.readers import is_event_list
from .data.stream import FrameStream, load_frames
from .inference.housing import ENOUGH, Housing
from .inference.retention import Correction
from .results.event_columns import Sky, frame_columns, list_rows
from .results.event_rows import (
    CHANNEL_KEV,
    EXTRAPOLATED,
    N_CHANNELS,
    REJECTED,
    ROW,
    WEIGHTED_ROW,
    RowStore,
)
from .results.outside_training import outside_training
from .results.result import BackgroundResult, Example, Tally

if TYPE_CHECKING:
    from .inference.detector import BackgroundDetector, Classified

log = logging.getLogger(__name__)

SHIPPED = "weights/background.safetensors"
HEAD_PIXELS = 1_000_000  # held while the housing is measured


class BackgroundPredictor:
    """Tells X-rays from charged particles, event by event.

    Parameters
    ----------
    detector : BackgroundDetector
        The trained network.
    sha256 : str, optional
        Hash of its weights.
    """

    def __init__(self, detector: BackgroundDetector, sha256: str = ""):
        self.detector = detector
        self.sha256 = sha256

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None) -> BackgroundPredictor:
        """Predictor with trained weights.

        Parameters
        ----------
        path : path, optional
            Weights (safetensors); those shipped with the package by default.
        """
        from importlib.resources import as_file, files

        from physml import provenance

        from .inference.detector import BackgroundDetector

        detector = BackgroundDetector.load(None if path is None else Path(path))
        if path is not None:
            return cls(detector, provenance.sha256(path))
        with as_file(files("physml") / SHIPPED) as shipped:
            return cls(detector, provenance.sha256(shipped))

    @property
    def card(self) -> dict[str, Any]:
        """Metadata of the weights, with their hash."""
        return {**dict(getattr(self.detector, "card", {}) or {}), "sha256": self.sha256}

    def predict(
        self,
        frames: Any,
        retention: float = 0.98,
        *,
        detector: Any = None,
        gain: Any = None,
        offset: Any = None,
        bad: Any = None,
        frame_time: float | None = None,
        standoff: float | None = None,
        split: float | None = None,
        event: float | None = None,
        channel: float | None = None,
        start: str | None = None,
        scratch: Path | None = None,
        progress: bool | None = None,
    ) -> BackgroundResult:
        """Find the events of frames, and how likely each was left by a particle.

        Parameters
        ----------
        frames : path, ndarray, structured ndarray or Table
            HDF5 file (dense ``frames`` or sparse ``pixels``), FITS cube or event list; an array
            of shape (frame, y, x) in keV; or a table with the columns frame, y, x, energy (keV).
            Of an event list only energy and grade are known, and probabilities are less sharp.
        retention : float
            Share of X-rays that are to stay; what is above the cut made for it is marked.
        detector : str, path or DetectorSettings, optional
            Detector that the frames come from; ``wfi`` by default.
        gain, offset : float, path or ndarray of shape (ny, nx), optional
            Raw values become keV as (value - offset) x gain.
        bad : path or ndarray of bool, shape (ny, nx), optional
            Pixels to ignore.
        frame_time : float, optional
            Seconds; by default the file's, else the detector's.
        standoff : float, optional
            Distance from the silicon to the camera's housing, mm; by default that which suits
            the first events best (`physml.background.inference.housing`).
        split, event : float, optional
            Thresholds of the event finder, keV.
        channel : float, optional
            Width of a PI channel of an event list without energies, keV.
        start : str, optional
            Date of TIME 0, such as 2031-03-01T12:00:00 (UTC).
        scratch : Path, optional
            Folder for a nameless temporary file, where there are very many events.
        progress : bool, optional
            Show a progress bar; by default for files on a terminal.

        Returns
        -------
        BackgroundResult

        Raises
        ------
        InputError
            For data or arguments that cannot be used.
        """
        self._check_retention(retention)
        if isinstance(frames, str | PathLike) and is_event_list(Path(frames)):
            unused = {
                "gain": gain,
                "offset": offset,
                "bad": bad,
                "detector": detector,
                "standoff": standoff,
            }
            for name, value in unused.items():
                if value is not None:
                    raise InputError(
                        f"{name}: expected with frames, found with the event list {frames}"
                    )
            return self.predict_events(
                load_events(Path(frames), channel=channel), retention, start=start
            )
        stream = load_frames(
            frames,
            detector=detector,
            gain=gain,
            offset=offset,
            bad=bad,
            frame_time=frame_time,
            split=split,
            event=event,
        )
        wanted = stream.source.path is not None if progress is None else progress
        with show_progress(stream.name, stream.source.length, wanted) as advance:
            return self.predict_stream(
                stream,
                retention,
                standoff=standoff,
                start=start,
                scratch=scratch,
                advance=advance,
            )

    @staticmethod
    def _correction(detector: BackgroundDetector, retention: float) -> Correction:
        table = detector.thresholds
        if table is None:
            raise InputError("these weights have no thresholds: no retention can be promised")
        return Correction.from_thresholds(table, retention)

    def _check_retention(self, retention: float) -> None:
        low, high = self.detector.retentions
        if not (isinstance(retention, int | float) and low <= retention <= high):
            raise InputError.expected(
                "retention",
                f"a share of X-rays to keep from {low:g} to {high:g}, for which cuts were made",
                f"{retention!r}",
            )

    def predict_stream(
        self,
        stream: FrameStream,
        retention: float,
        *,
        standoff: float | None = None,
        start: str | None = None,
        scratch: Path | None = None,
        advance: Callable[[float], None] | None = None,
    ) -> BackgroundResult:
        """Find and judge the events of frames that are open; see `predict`."""
        from .results.ogip import keywords

        keywords(None, "", np.empty((0, 2)), 0.0, start)  # refuses nonsense before any work
        if standoff is not None and not (np.isfinite(standoff) and standoff > 0):
            raise InputError(f"standoff: expected a positive number of mm, found {standoff}")
        self._correction(self.detector, retention)  # refuses weights without cuts
        c = stream.conditions
        row = WEIGHTED_ROW if stream.source.weighted else ROW
        store, tally = RowStore(row, scratch), Tally()
        place = Sky(stream)
        example: Example | None = None
        blocks = found_blocks(stream)
        head = beginning(blocks)
        detector, housing = self._settled(head, standoff)
        correction = self._correction(detector, retention)
        for frames, found, rate, done in chain(head, blocks):
            classified = detector.classify(frames, found, rate=rate)
            _count(tally, stream, frames, found)
            rows = self._rows(
                detector, stream, frames, classified, retention, correction, place, row
            )
            store.append(rows)
            example = better_example(example, frames, found, rows)
            if advance is not None:
                advance(done)
        tally.frames = stream.timeline.n_frames
        result = BackgroundResult(
            store=store,
            retention=retention,
            intervals=stream.timeline.intervals,
            live_time=stream.timeline.live_time,
            frame_time=stream.timeline.frame_time,
            tally=tally,
            name=stream.name,
            card=self.card,
            conditions=c,
            correction=correction,
            header=stream.header,
            remarks=stream.remarks,
            files=stream.files,
            weighted=stream.source.weighted,
            start=start,
            columns=frame_columns(stream, place),
            example=example,
            standoff=detector.standoff,
            housing=housing if standoff is None else None,
        )
        result.untrained = outside_training(result)
        for text in result.untrained:
            log.warning("%s: the network was not trained on this: %s", result.name, text)
        return result

    def _settled(
        self, head: list[Block], standoff: float | None
    ) -> tuple[BackgroundDetector, Housing]:
        """Measure the housing, and make the cuts hold, on the first blocks."""
        parts = [(block.frames, block.found, block.rate) for block in head]
        detector, housing = self.detector.settled(parts, standoff=standoff)
        low, high = housing.interval
        log.info(
            "housing at %.3g mm (%.3g - %.3g), from %d events",
            *(housing.standoff, low, high, housing.events),
        )
        return detector, housing

    @staticmethod
    def _rows(
        detector: BackgroundDetector,
        stream: FrameStream,
        frames: Frames,
        classified: Classified,
        retention: float,
        correction: Correction,
        place: Sky,
        dtype: np.dtype[Any],
    ) -> NDArray[Any]:
        """Rows of the event list for the valid events of a block."""
        events = classified.found.events
        order = np.flatnonzero(events["valid"])
        order = order[np.lexsort((events["x"][order], events["y"][order], events["frame"][order]))]
        e = events[order]
        at = frames.position(e["frame"])
        p, rate = classified.p_bkg[order], classified.rate[order]
        rows = np.zeros(len(e), dtype)
        rows["TIME"] = stream.timeline.time(e["frame"])
        rows["FRAME"] = e["frame"]
        rows["RAWX"], rows["RAWY"] = e["x"] + 1, e["y"] + 1
        rows["DETX"], rows["DETY"] = e["xc"] + 1, e["yc"] + 1
        rows["X"], rows["Y"] = place(rows["DETX"], rows["DETY"])
        rows["ENERGY"] = e["energy"]
        rows["PI"] = np.clip(e["energy"] / CHANNEL_KEV, 0, N_CHANNELS - 1)
        rows["PHA"] = rows["PI"]
        rows["PATTERN"], rows["GRADE"] = e["pattern"], e["grade"]
        rows["P_BKG"] = p
        rows["P_FRAME"] = classified.p_frame[at][:, 1:].sum(axis=1)
        rows["D_MIP"] = classified.d_mip[order]
        rejected = p > detector.threshold(e["energy"], retention, rate=rate)
        rows["FLAG"] = (
            e["flag"]
            | np.where(rejected, REJECTED, 0)
            | np.where(correction.covers(e["energy"]), 0, EXTRAPOLATED)
        )
        kept = correction.at(e["energy"], rate)
        rows["WEIGHT"] = np.where(rejected, 0.0, frames.weight[at] / kept)
        if "W_FRAME" in (dtype.names or ()):
            rows["W_FRAME"] = frames.weight[at]
        return rows

    def predict_events(
        self, events: EventList, retention: float, *, start: str | None = None
    ) -> BackgroundResult:
        """Judge the events of a list by energy and grade; nothing is rejected.

        A cut that keeps a promised share of the X-rays has few places to be at: there are only
        a handful of grades at each energy. So the probabilities are given, and no cut is made.
        """
        try:
            p = self.detector.classify_events(events.energy, events.grade)
        except ValueError as error:
            raise InputError(f"{events.name}: {error}") from error
        events.remark(
            "without frames probabilities rest on energy and grade alone, no cut is made and no "
            f"retention promised (asked for: {retention:g})"
        )
        rows, columns = list_rows(events)
        rows["P_BKG"], rows["P_FRAME"], rows["D_MIP"] = p, np.nan, np.nan
        rows["WEIGHT"] = 1.0
        rows["FLAG"] = np.where(
            (events.energy < 0.2) | (events.energy > 15), EXTRAPOLATED, rows["FLAG"]
        )
        store = RowStore(rows.dtype)
        store.append(rows)
        live_time = _live_time(events)
        result = BackgroundResult(
            store=store,
            retention=1.0,
            intervals=events.intervals,
            live_time=live_time,
            frame_time=events.frame_time,
            tally=Tally(),
            name=events.name,
            card=self.card,
            correction=Correction.nothing_cut(),
            header=events.header,
            remarks=events.remarks,
            files=events.files,
            with_frames=False,
            start=start,
            columns=columns,
        )
        result.untrained = outside_training(result)
        return result


def _live_time(events: EventList) -> float:
    """Live time of a list, s: its header's, unless that is more than its good time."""
    on_time = float(np.diff(events.intervals, axis=1).sum())
    told = events.header.get("LIVETIME", events.header.get("EXPOSURE"))
    if not isinstance(told, int | float) or not 0 < told < np.inf:
        return on_time
    if told > 1.001 * on_time:
        events.remark(
            f"the header tells {told:.6g} s of live time, the good time is {on_time:.6g} s: "
            "the latter is used"
        )
        return on_time
    return float(told)


class Block(NamedTuple):
    """Frames of a block, their events, particles a frame by exposure, and how much is done."""

    frames: Frames
    found: Found
    rate: NDArray[np.float64]
    done: int


def found_blocks(stream: FrameStream) -> Iterator[Block]:
    """Find the events of frames, block by block."""
    c, rates = stream.conditions, Rates()
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

    MEMORY = 20_000.0  # frames

    def __init__(self) -> None:
        self.seen: NDArray[np.float64] = np.zeros(0)
        self.held: NDArray[np.float64] = np.zeros(0)

    def update(self, found: Found, frames: Frames) -> NDArray[np.float64]:
        """Take in a block and give the rates, shape (number of exposures, at least 1,)."""
        from .inference.inputs import FRAMES_OF_PRIOR

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


def _count(tally: Tally, stream: FrameStream, frames: Frames, found: Found) -> None:
    """Count the frames of a block by their particle tracks."""
    at = frames.position(found.clusters["frame"][found.clusters["particle"]])
    tracks = np.bincount(at, minlength=len(frames))
    top = len(tally.particles) - 1
    tally.particles += np.bincount(
        np.minimum(tracks, top), frames.weight.astype(float), minlength=top + 1
    )
    tally.read += len(frames)
    bad = ~found.events["valid"]
    tally.invalid += float(frames.weight[frames.position(found.events["frame"][bad])].sum())
    if len(frames):
        tally.time.append(float(stream.timeline.time(frames.index[len(frames) // 2 :][:1])[0]))
        tally.rate.append(float(np.average(tracks, weights=frames.weight)))


def better_example(
    example: Example | None, frames: Frames, found: Found, rows: NDArray[Any]
) -> Example | None:
    """Take the frame with the most to see: rejected and kept events, and tracks."""
    if len(rows) == 0:
        return example
    at = frames.position(rows["FRAME"])
    rejected = np.bincount(at, (rows["FLAG"] & REJECTED) > 0, minlength=len(frames))
    kept = np.bincount(at, minlength=len(frames)) - rejected
    particle = found.clusters["particle"]
    tracks = np.bincount(frames.position(found.clusters["frame"][particle]), minlength=len(frames))
    score = 4 * np.minimum(rejected, 2) + 2 * np.minimum(kept, 2) + np.minimum(tracks, 3)
    best = int(np.argmax(score))
    value = float(score[best])
    if example is not None and value <= example.score:
        return example
    frame = int(frames.index[best])
    a, b = np.searchsorted(frames.pixels["frame"], [frame, frame + 1])
    return Example(frame, frames.pixels[a:b].copy(), rows[rows["FRAME"] == frame].copy(), value)
