"""Result of cleaning one observation."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from astropy.io.fits import Header
from astropy.table import Table

from physml.stages.predict import Result

from ..core.arrays import Floats
from ..data.account import Account
from ..data.event_list import EventList
from ..data.stream import Camera
from ..inference.housing import Housing
from ..inference.retention import Correction
from .event_rows import DESCRIPTIONS, FLAGS, LIST_FLAGS, REJECTED, UNITS, RowStore, counted
from .list_columns import list_table
from .ogip import ColumnCards
from .tally import Example, Tally


@dataclass(repr=False)
class BackgroundResult(Result):
    """Events of one observation with their probabilities.

    Attributes
    ----------
    store : RowStore
        All events in order of time.
    retention : float
        Share of X-rays that was promised to stay.
    intervals : ndarray, shape (k, 2)
        Good time, s.
    live_time, frame_time : float
        s; the frame time is nan where it is not known.
    title : str
        Name of the observation.
    camera : Camera or None
        None for an event list.
    tally : Tally
    correction : Correction
        Retention against energy and rate.
    card : dict
        Metadata of the weights, with their SHA-256.
    untrained : list of str
        In what the data lie outside of what the network was trained on.
    account : Account
        What was read of the input, what was assumed, and what was left out.
    with_frames : bool
        Whether the probabilities rest on frames, or on energy and grade alone.
    weighted : bool
        Whether frames stand for several (simulations); counts are then not Poisson.
    standoff : float or None
        Distance from the silicon to the housing that the network was told, mm.
    housing : Housing or None
        How it was measured; None where it was given.
    listed : EventList or None
        The list that the events come from, where they come from one.
    """

    writer: ClassVar[str] = "physml.background.results.products:write_products"

    store: RowStore
    retention: float
    intervals: Floats
    live_time: float
    frame_time: float
    tally: Tally
    title: str
    card: dict[str, Any]
    correction: Correction
    camera: Camera | None = None
    header: Header | None = None
    untrained: list[str] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    files: dict[str, Path] = field(default_factory=dict)
    with_frames: bool = True
    weighted: bool = False
    start: str | None = None
    columns: dict[str, ColumnCards] = field(default_factory=dict)
    example: Example | None = None
    standoff: float | None = None
    housing: Housing | None = None
    listed: EventList | None = None

    @cached_property
    def counts(self) -> dict[str, int]:
        """Numbers of events: all, kept, rejected; of a list also those that do not count."""
        count = rejected = 0
        for rows in self.store.chunks():
            good = counted(rows)
            count += int(good.sum())
            rejected += int((good & ((rows["FLAG"] & REJECTED) > 0)).sum())
        found = {"events": len(self.store), "kept": count - rejected, "rejected": rejected}
        if self.listed is not None:
            found["left_out"] = len(self.store) - count
        return found

    @cached_property
    def events(self) -> Table:
        """Table of all events with units; those with WEIGHT above 0 are `kept`.

        That of a list has the list's own columns behind ours; see `list_columns.list_table`.
        """
        if self.listed is not None:
            table = list_table(self.listed, self.store)
        else:
            table = Table(self.store.read(), copy=False)
        for name in (n for n in table.colnames if n in DESCRIPTIONS):
            cards = self.columns.get(name)
            table[name].unit = (cards.unit if cards else "") or UNITS.get(name)
            table[name].info.description = (cards.comment if cards else "") or DESCRIPTIONS.get(
                name, ""
            )
        table.meta = {
            "retention": self.retention,
            "exposure": self.live_time,
            "gti": self.intervals.tolist(),
            "flags": dict(FLAGS if self.with_frames else LIST_FLAGS),
            "model": self.card.get("version"),
            "with_frames": self.with_frames,
            "untrained": list(self.untrained),
            "remarks": list(self.remarks),
        }
        return table

    @property
    def kept(self) -> Table:
        """The events that are kept."""
        rows = self.store.read()
        return self.events[counted(rows) & ((rows["FLAG"] & REJECTED) == 0)]

    @property
    def name(self) -> str:
        """Name of the observation."""
        return self.title

    @property
    def remarks(self) -> list[str]:
        """Assumptions and losses."""
        return self.account.remarks

    @property
    def promised(self) -> bool:
        """Whether the retention is promised: for frames like those of the training only."""
        return self.with_frames and not self.untrained

    @property
    def warnings(self) -> list[str]:
        """Remarks on the data, and what of them lies outside of the training."""
        return [*(f"not trained on: {text}" for text in self.untrained), *self.remarks]

    @property
    def conditions(self) -> Camera | None:
        """Alias of `camera`."""
        return self.camera

    def _words(self) -> str:
        c = self.counts
        if not c["events"]:
            return "no events"
        words = f"{c['events']} event{'s' * (c['events'] != 1)}"
        if not self.with_frames:
            return f"{words}, judged by energy and grade alone"
        at = f"{self.retention:.1%} retention"
        if not self.promised:
            at += " asked for, not promised"
        return f"{words}: {c['kept']} kept, {c['rejected']} rejected at {at}"

    def _origin(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        extra = {
            "weights": {k: self.card.get(k) for k in ("version", "sha256", "lineage")},
            "remarks": self.remarks,
            "untrained": self.untrained,
        }
        return {"retention": self.retention}, dict(self.files), extra
