"""From frames to a clean event list: the Python interface.

>>> result = physml.Model.load("background").predict(frames, retention=0.98)  # doctest: +SKIP
>>> result.events["TIME", "ENERGY", "P_BKG"]                                  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np

from physml.exceptions import InputError
from physml.progress import show_progress
from physml.stages.predict import Predictor

from .data.event_list import EventList, load_events
from .data.frames import open_input
from .data.loading import load_frames
from .data.stream import FrameStream
from .inference.blocks import beginning, found_blocks
from .inference.detector import BackgroundDetector
from .inference.list_cuts import ListCut
from .inference.retention import Correction
from .results.event_columns import Sky, frame_columns
from .results.event_rows import (
    EXTRAPOLATED,
    REJECTED,
    ROW,
    WEIGHTED_ROW,
    RowStore,
    block_rows,
    counted,
)
from .results.list_columns import list_rows
from .results.ogip import epoch_known, keywords
from .results.outside_training import outside_training
from .results.result import BackgroundResult
from .results.tally import Example, Tally, better_example

log = logging.getLogger(__name__)


class BackgroundPredictor(Predictor):
    """Tells X-rays from charged particles, event by event.

    Parameters
    ----------
    detector : BackgroundDetector
        The trained network.
    """

    def __init__(self, detector: BackgroundDetector) -> None:
        self.detector = detector

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None) -> Self:
        """Predictor with trained weights, which are read and checked now; see `Predictor.load`."""
        return cls(BackgroundDetector.load(path))

    @property
    def card(self) -> dict[str, Any]:
        """Metadata of the weights, with their SHA-256."""
        return self.detector.card

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
        cut: Sequence[str] = (),
        dataset: str | None = None,
        columns: Any = None,
        scratch: Path | None = None,
        progress: bool | None = None,
    ) -> BackgroundResult:
        """Find the events of frames, and how likely each was left by a particle.

        Parameters
        ----------
        frames : path, sequence of paths, ndarray, structured ndarray or Table
            HDF5 file, FITS file (cube, a frame in each extension, table of pixels, event list) or
            text of a Timepix; several files or a pattern (``run_*.fits``) as one exposure; an
            array of shape (frame, y, x) in keV; or a table with the columns frame, y, x, energy
            (keV). Of an event list only energy and grade are known, and probabilities are less
            sharp.
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
        cut : sequence of str
            Cuts of an event list: ``vfaint`` rejects events with charge in the outer pixels of
            their 5 x 5 islands (ACIS), ``grades`` those of grades 1, 5 and 7, which no X-ray
            leaves.
        dataset : str, optional
            Data set of an HDF5 file that holds the frames, such as ``entry/data/data``.
        columns : str or mapping, optional
            Columns of a table of pixels, ``frame=F,x=X,y=Y,signal=S``.
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
        camera = {"detector": detector, "gain": gain, "offset": offset, "bad": bad}
        source = open_input(frames, dataset=dataset, columns=columns, raw=gain is not None)
        if isinstance(source, Path):
            for name, value in {**camera, "standoff": standoff}.items():
                if value is not None:
                    raise InputError(
                        f"{name}=: expected with frames, found with the event list {source}"
                    )
            events = load_events(source, channel=channel)
            return self.predict_events(events, retention, start=start, cut=cut)
        if cut:
            raise InputError(f"cut=: expected with an event list, found with {frames}")
        stream = load_frames(
            source, **camera, frame_time=frame_time, split=split, event=event
        )  # fmt: skip
        wanted = stream.source.path is not None if progress is None else progress
        with show_progress(stream.name, stream.source.length, wanted) as advance:
            return self.predict_stream(
                stream, retention, standoff=standoff, start=start, scratch=scratch, advance=advance
            )

    def _check_retention(self, retention: float) -> None:
        low, high = self.detector.retentions
        if not (isinstance(retention, int | float) and low <= retention <= high):
            raise InputError.expected(
                "retention=",
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
        """Find and classify the events of frames that are open; see `predict`.

        Parameters
        ----------
        stream : FrameStream
        retention, standoff, start, scratch : float, float, str, Path
            See `predict`.
        advance : callable, optional
            Called with how much of the stream's length was done.

        Returns
        -------
        BackgroundResult
        """
        keywords(None, "", np.empty((0, 2)), 0.0, start)  # refuses nonsense before any work
        if standoff is not None and not (np.isfinite(standoff) and standoff > 0):
            raise InputError(f"standoff=: expected a positive number of mm, found {standoff}")
        if self.detector.thresholds is None:
            raise InputError("these weights have no thresholds: no retention can be promised")
        weighted = stream.source.weighted
        store, tally = RowStore(WEIGHTED_ROW if weighted else ROW, scratch), Tally()
        sky, time = Sky(stream), stream.timeline.time
        example: Example | None = None
        blocks = found_blocks(stream)
        head = beginning(blocks)
        parts = [(block.frames, block.found, block.rate) for block in head]
        detector, housing = self.detector.settled(parts, standoff=standoff)
        log.info(
            "housing at %.3g mm (%.3g - %.3g), from %d events",
            *(housing.standoff, *housing.interval, housing.events),
        )
        assert detector.thresholds is not None
        correction = Correction.from_thresholds(detector.thresholds, retention)
        for frames, found, rate, done in chain(head, blocks):
            classified = detector.classify(frames, found, rate=rate)
            tally.add(frames, found, time)
            rows = block_rows(
                frames, classified, detector, correction, time=time, sky=sky, weighted=weighted
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
            title=stream.name,
            card=self.card,
            camera=stream.camera,
            correction=correction,
            header=stream.header if start is not None else stream.dated_header,
            account=stream.account,
            files=stream.files,
            weighted=weighted,
            start=start,
            columns=frame_columns(stream, sky),
            example=example,
            standoff=detector.standoff,
            housing=housing if standoff is None else None,
        )
        result.untrained = outside_training(result)
        for text in result.untrained:
            log.warning("%s: the network was not trained on this: %s", result.name, text)
        return result

    def predict_events(
        self,
        events: EventList,
        retention: float,
        *,
        start: str | None = None,
        cut: Sequence[str] = (),
    ) -> BackgroundResult:
        """Classify the events of a list by energy and grade.

        A cut that keeps a promised share of the X-rays has few places to be at: there are only
        a handful of grades at each energy. So the probabilities are given, and nothing is rejected
        but by the cuts that are asked for. What the mission marks as bad does not count, nor what
        lies outside of the good time.

        Parameters
        ----------
        events : EventList
        retention : float
            That was asked for; the result says that it is not promised.
        start, cut : str, sequence of str
            See `predict`.

        Returns
        -------
        BackgroundResult
        """
        keywords(events.header, "", np.empty((0, 2)), 0.0, start)  # refuses nonsense
        made = ListCut.asked(cut, events)
        known = np.isfinite(events.energy)
        p = np.full(len(events), np.nan)
        try:
            p[known] = self.detector.classify_events(events.energy[known], events.grade[known])
        except ValueError as error:
            raise InputError(f"{events.name}: {error}") from error
        events.remark(
            "without frames probabilities rest on energy and grade alone, no cut is made by them "
            f"and no retention promised (asked for: {retention:g})"
        )
        if not epoch_known(events.header, start):
            events.remark("no date in the header (MJDREF, DATE-OBS): dates are not known")
        rows, columns = list_rows(events)
        rows["P_BKG"], rows["P_FRAME"], rows["D_MIP"] = p, np.nan, np.nan
        with np.errstate(invalid="ignore"):
            beyond = (events.energy < 0.2) | (events.energy > 15)
        rows["FLAG"] |= np.where(beyond, EXTRAPOLATED, 0).astype(np.int32)
        rows["FLAG"] |= np.where(made.takes(events), REJECTED, 0).astype(np.int32)
        out = ~counted(rows) | ((rows["FLAG"] & REJECTED) > 0)
        rows["WEIGHT"] = np.where(out, 0.0, 1 / made.retention)
        store = RowStore(rows.dtype)
        store.append(rows)
        result = BackgroundResult(
            store=store,
            retention=made.retention,
            intervals=events.intervals,
            live_time=events.live_time,
            frame_time=events.frame_time,
            tally=Tally(),
            title=events.name,
            card=self.card,
            correction=made.correction,
            header=events.header,
            account=events.account,
            files=events.files,
            with_frames=False,
            start=start,
            columns=columns,
            listed=events,
        )
        result.untrained = outside_training(result)
        return result
