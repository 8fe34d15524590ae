"""What cleaning one observation gives, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .event_rows import DESCRIPTIONS, FLAGS, REJECTED, UNITS, RowStore

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table

    from ..data.stream import Conditions
    from ..inference.housing import Housing
    from ..inference.retention import Correction
    from .ogip import ColumnCards


@dataclass
class Tally:
    """What is counted while frames go by; events are counted afterwards, from their rows.

    Attributes
    ----------
    frames : int
        Frames in the good time.
    read : int
        Frames that were looked at: fewer where some were not kept.
    invalid : float
        Events whose shape is no photon's, or above the upper energy, weighted.
    particles : ndarray of float64, shape (k,)
        Frames with 0, 1, ... particle tracks, weighted; the last entry is k - 1 or more.
    time, rate : list of float
        Middle of each block, s, and its tracks per frame.
    """

    frames: int = 0
    read: int = 0
    invalid: float = 0.0
    particles: NDArray[np.float64] = field(default_factory=lambda: np.zeros(64))
    time: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    @property
    def mean_rate(self) -> float:
        """Particle tracks in a frame."""
        total = self.particles.sum()
        return float(np.arange(len(self.particles)) @ self.particles / total) if total else 0.0


@dataclass
class Example:
    """One frame to look at.

    Attributes
    ----------
    frame : int
        Its number.
    pixels : structured ndarray
        `PIXEL`.
    events : structured ndarray
        Rows of its events.
    score : float
        How much there is to see.
    """

    frame: int
    pixels: NDArray[Any]
    events: NDArray[Any]
    score: float = 0.0


@dataclass
class BackgroundResult:
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
    conditions : Conditions or None
        The detector; None for an event list.
    tally : Tally
        Counts of frames and tracks.
    correction : Correction
        Retention against energy and rate.
    card : dict
        Metadata of the weights, with their SHA-256.
    untrained : list of str
        In what the data lie outside of what the network was trained on.
    remarks : list of str
        What else the user should know.
    with_frames : bool
        Whether the probabilities rest on frames, or on energy and grade alone.
    weighted : bool
        Whether frames stand for several (simulations); counts are then not Poisson.
    standoff : float or None
        Distance from the silicon to the housing that the network was told, mm.
    housing : Housing or None
        How it was measured; None where it was given.
    """

    store: RowStore
    retention: float
    intervals: NDArray[np.float64]
    live_time: float
    frame_time: float
    tally: Tally
    name: str
    card: dict[str, Any]
    correction: Correction
    conditions: Conditions | None = None
    header: Header | None = None
    untrained: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    with_frames: bool = True
    weighted: bool = False
    start: str | None = None
    columns: dict[str, ColumnCards] = field(default_factory=dict)
    example: Example | None = None
    standoff: float | None = None
    housing: Housing | None = None

    @cached_property
    def counts(self) -> dict[str, int]:
        """Numbers of events: all, kept, rejected."""
        kept = sum(int(((rows["FLAG"] & REJECTED) == 0).sum()) for rows in self.store.chunks())
        return {"events": len(self.store), "kept": kept, "rejected": len(self.store) - kept}

    @cached_property
    def events(self) -> Table:
        """All events as a table with units; ``kept`` of it are those with WEIGHT above 0."""
        from astropy.table import Table

        table = Table(self.store.read(), copy=False)
        for name in table.colnames:
            cards = self.columns.get(name)
            table[name].unit = (cards.unit if cards else "") or UNITS.get(name)
            table[name].info.description = (cards.comment if cards else "") or DESCRIPTIONS.get(
                name, ""
            )
        table.meta = {
            "retention": self.retention,
            "exposure": self.live_time,
            "gti": self.intervals.tolist(),
            "flags": dict(FLAGS),
            "model": self.card.get("version"),
            "with_frames": self.with_frames,
            "untrained": list(self.untrained),
            "remarks": list(self.remarks),
        }
        return table

    @property
    def kept(self) -> Table:
        """The events that are kept."""
        return self.events[(self.events["FLAG"] & REJECTED) == 0]

    @property
    def summary(self) -> str:
        """What came out, in words."""
        c = self.counts
        if not c["events"]:
            return "no events"
        words = f"{c['events']} event{'s' * (c['events'] != 1)}"
        if not self.with_frames:
            return f"{words}, judged by energy and grade alone"
        return (
            f"{words}: {c['kept']} kept, {c['rejected']} rejected at {self.retention:.1%} retention"
        )

    def __repr__(self) -> str:
        return f"<BackgroundResult {self.name}: {self.summary}>"

    def write(
        self,
        folder: str | PathLike[str],
        overwrite: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> Path:
        """Write all products into a folder, as a whole or not at all.

        Parameters
        ----------
        folder : path
            Output folder; its name is free, or `overwrite` is set.
        overwrite : bool
            Replace a folder that was written like this before.
        settings : dict, optional
            How the cleaning was asked for; kept in the provenance.

        Returns
        -------
        Path
            The folder.
        """
        from physml.io.atomic import atomic_directory

        with atomic_directory(folder, overwrite=overwrite) as temporary:
            self.write_into(temporary, settings)
        return Path(folder)

    def write_into(self, folder: Path, settings: dict[str, Any] | None = None) -> None:
        """Write all products into a folder that exists; `write` does it safely."""
        from physml import provenance

        from .products import write_products

        record = provenance.record(
            "predict",
            {**(settings or {}), "retention": self.retention},
            inputs=dict(self.files),
            extra={
                "weights": {k: self.card.get(k) for k in ("version", "sha256", "lineage")},
                "remarks": self.remarks,
                "untrained": self.untrained,
            },
        )
        write_products(self, folder, record)
