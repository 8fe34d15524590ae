"""From an event list to an image: events selected, binned, and the field of view found.

>>> binned = bin_events("acisf05908_evt2.fits", select_events("500:7000"))   # doctest: +SKIP
>>> binned.image.data.sum()   # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.progress import show_progress

from .energies import Energies, energies_of
from .field import find_field
from .good_times import GoodTimes, read_good_times
from .grid import Grid, choose_grid, image_header
from .reading import EventFile, open_events
from .selection import Selection
from .telescopes import Telescope, telescope_of

Reader = Callable[[str], NDArray[Any] | None]
#: Fewest events that make an image.
FEWEST = 20
#: Events from which a bar shows how far the reading is.
_MANY = 5_000_000


@dataclass
class BinnedEvents:
    """Image of an event list.

    Attributes
    ----------
    image : ImageHDU
        Counts, float64, with the coordinates of the sky and the physical pixels of the list.
    every : ndarray of int, shape (H, W)
        Counts of all energies.
    name : str
    path : Path or None
    header : Header
        Of the events.
    remarks : dict
        What was selected and assumed: texts by their form for many lists.
    """

    image: fits.ImageHDU
    every: NDArray[np.int64]
    name: str
    path: Path | None
    header: fits.Header
    remarks: dict[str, str] = field(default_factory=dict)

    def cut_field(self) -> None:
        """Find the field of view; pixels outside of it become NaN."""
        found = find_field(self.every)
        if found is None:
            self.remarks["with too few events to find the field of view"] = (
                "too few events to find the field of view: all of the rectangle is taken as "
                "observed, evenly"
            )
            return
        observed, side = found
        self.image.data[~observed] = np.nan
        self.remarks["whose exposure is taken as flat inside the field of view"] = (
            "no exposure map: the exposure is taken as flat inside the field of view, found from "
            f"events of all energies in blocks of {side} x {side} pixels ({observed.mean():.0%} "
            "of the image); vignetting and differences between chips are not corrected"
        )


@dataclass
class _Tally:
    """What became of the events."""

    all: int = 0
    bad: int = 0
    late: int = 0
    chip: int = 0
    nowhere: int = 0
    energy: int = 0
    kept: int = 0


@dataclass
class _Cuts:
    """Conditions on events."""

    telescope: Telescope
    times: GoodTimes
    chips: tuple[int, ...] | None
    chip_column: str | None
    energies: Energies | None

    def apply(
        self, column: Reader, tally: _Tally
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """X and Y of the good events of all energies, and which of them lie in the band."""
        x, y = column("X"), column("Y")
        assert x is not None
        assert y is not None
        tally.all += len(x)
        keep = np.ones(len(x), dtype=bool)

        def cut(good: NDArray[Any] | None) -> int:
            if good is None:
                return 0
            before = int(keep.sum())
            keep[:] &= np.asarray(good, dtype=bool)
            return before - int(keep.sum())

        tally.bad += cut(self.telescope.quality(column) if self.telescope.quality else None)
        chip = column(self.chip_column) if self.chip_column else None
        if self.chips is not None and chip is not None:
            tally.chip += cut(np.isin(chip, self.chips))
        time = column("TIME")
        if self.times and time is not None:
            tally.late += cut(self.times.hold(time.astype(np.float64), chip))
        tally.nowhere += cut(_on_the_sky(x) & _on_the_sky(y))
        in_band = np.ones(int(keep.sum()), dtype=bool)
        if self.energies is not None:
            in_band = self.energies.in_band(column, keep)
        tally.energy += int((~in_band).sum())
        tally.kept += int(in_band.sum())
        return x[keep], y[keep], in_band


def _on_the_sky(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Positions that are some: lists have NaN or huge negative ones where there is none."""
    return np.asarray(np.isfinite(values) & (np.abs(values) < 1e7))


def bin_events(
    given: Any,
    selection: Selection,
    *,
    hdu: int | str | None = None,
    progress: bool = True,
) -> BinnedEvents:
    """Bin an event list.

    Parameters
    ----------
    given : path or HDUList
    selection : Selection
    hdu : int or str, optional
        Extension of the events.
    progress : bool
        Show a bar for long lists.

    Raises
    ------
    InputError
        No events, or none is left; a selection that the list has no column for.
    """
    path = Path(given) if isinstance(given, str | PathLike) else None
    name = path.name if path else "event list"
    with open_events(given, hdu) as events:
        telescope = telescope_of(events.header)
        cuts = _Cuts(
            telescope,
            read_good_times(events),
            _chips(events, selection),
            events.chip_column,
            energies_of(events, telescope, selection.band),
        )
        tally, bounds = _survey(events, cuts, progress)
        if bounds is None or tally.kept < FEWEST:
            raise InputError.expected(
                events.path,
                f"an event list of which at least {FEWEST} events pass the selection",
                _few_left(tally),
            )
        grid = choose_grid(events, bounds, selection.bin, telescope.pixel)
        counts, every = _histograms(events, cuts, grid, progress)
        header = image_header(events, grid)
        binned = BinnedEvents(
            fits.ImageHDU(counts.astype(np.float64), header),
            every,
            name,
            path,
            events.header.copy(),
        )
        _remark(binned, events, cuts, tally, grid)
    return binned


def _chips(events: EventFile, selection: Selection) -> tuple[int, ...] | None:
    if selection.chips is not None and events.chip_column is None:
        raise InputError.expected(
            events.path, "a column of chips for chips=", ", ".join(events.columns)
        )
    return selection.chips


def _survey(
    events: EventFile, cuts: _Cuts, progress: bool
) -> tuple[_Tally, tuple[float, float, float, float] | None]:
    """Count the events and find the bounds of those that are selected."""
    tally = _Tally()
    bounds = np.array([np.inf, -np.inf, np.inf, -np.inf])
    with show_progress("events", len(events), progress and len(events) > _MANY) as advance:
        for column in events.blocks():
            x, y, in_band = cuts.apply(column, tally)
            if in_band.any():
                x, y = x[in_band], y[in_band]
                ends = np.array([x.min(), x.max(), y.min(), y.max()], dtype=float)
                bounds[::2] = np.minimum(bounds[::2], ends[::2])
                bounds[1::2] = np.maximum(bounds[1::2], ends[1::2])
            advance(len(x))
    if not np.isfinite(bounds).all():
        return tally, None
    return tally, (bounds[0], bounds[1], bounds[2], bounds[3])


def _histograms(
    events: EventFile, cuts: _Cuts, grid: Grid, progress: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images of the selected events and of those of all energies."""
    size = grid.shape[0] * grid.shape[1]
    selected, every = np.zeros(size, np.int64), np.zeros(size, np.int64)
    with show_progress("events", len(events), progress and len(events) > _MANY) as advance:
        for column in events.blocks():
            x, y, in_band = cuts.apply(column, _Tally())
            number = grid.numbers(x, y)
            for image, kept in ((selected, in_band), (every, np.ones(len(x), dtype=bool))):
                inside = number[kept & (number >= 0)]
                image += np.bincount(inside, minlength=size)
            advance(len(x))
    return selected.reshape(grid.shape), every.reshape(grid.shape)


def _few_left(tally: _Tally) -> str:
    if not tally.all:
        return "none: the list is empty"
    return (
        f"{tally.kept} of {tally.all}: {tally.bad} of bad quality, {tally.chip} of other chips, "
        f"{tally.late} outside of the good times, {tally.nowhere} without a place on the sky, "
        f"{tally.energy} of other energies"
    )


def _remark(
    binned: BinnedEvents, events: EventFile, cuts: _Cuts, tally: _Tally, grid: Grid
) -> None:
    """Say what was binned and what was left out."""
    height, width = grid.shape
    energies = "of all energies" if cuts.energies is None else cuts.energies.words
    text = f"event list binned: {tally.kept} of {tally.all} events {energies} in {width} x "
    text += f"{height} pixels of {grid.bin:g}"
    left = [
        f"{number} {words}"
        for number, words in (
            (tally.bad, f"of bad quality ({cuts.telescope.words} kept)"),
            (tally.chip, "of other chips"),
            (tally.late, "outside of the good times"),
            (tally.nowhere, "without a place on the sky"),
            (tally.energy, "of other energies"),
        )
        if number
    ]
    binned.remarks["which are event lists, binned"] = text + (
        f"; left out: {', '.join(left)}" if left else ""
    )
    if cuts.times:
        names = ", ".join(dict.fromkeys(cuts.times.names))
        binned.remarks["of whose events the good times are kept"] = (
            f"good times of {names}: {cuts.times.seconds:.6g} s"
        )
    else:
        binned.remarks["whose events come without good times: all count"] = (
            "no good time intervals: events of all times count"
        )
    if events.others:
        binned.remarks["with more than one table of events: the first was binned"] = (
            f"of several tables of events the first was binned, not {', '.join(events.others)}"
        )
    if cuts.energies is not None and cuts.energies.assumed:
        binned.remarks["of whose energies something was assumed"] = cuts.energies.assumed
