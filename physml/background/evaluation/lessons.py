"""Lessons of the rivals: features and truth of events, from as many exposures as wanted.

Frames of a thousand exposures do not fit in memory, a table of their events does. Each exposure is
simulated, searched for events, described, and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from physml.io.atomic import atomic_path
from physml.parallel.tasks import in_order

from ..core.arrays import Bools, Floats, Ints, Singles
from ..core.events import Found, find_in_exposures
from ..core.frames import Frames
from ..core.records import Records
from .features import all_features
from .metrics import Events, valid_events
from .sets import evaluation_exposure

#: Memory of a worker that simulates, MB.
WORKER_MB = 1500


@dataclass(frozen=True)
class Lessons(Records):
    """Events that passed grading, as rivals see them.

    Attributes
    ----------
    feature : ndarray of float32, shape (m, 33)
        `features.ALL`.
    energy, weight : ndarray of float64, shape (m,)
        keV; 1 / (probability that the event's frame is held).
    background : ndarray of bool, shape (m,)
    exposure : ndarray of int64, shape (m,)
        Number of the event's exposure.
    """

    feature: Singles
    energy: Floats
    weight: Floats
    background: Bools
    exposure: Ints

    def events(self) -> Events:
        """Energies, truth and weights, with exposures for frames."""
        z = np.zeros(len(self))
        whole = np.zeros(len(self), np.int64)
        return Events(
            energy=self.energy,
            background=self.background,
            weight=self.weight,
            frame=self.exposure,
            x=z,
            y=z,
            origin=whole,
            row=np.arange(len(self)),
        )


def lessons_of(frames: Frames, found: Found) -> Lessons:
    """Describe the events of frames with truth.

    Parameters
    ----------
    frames : Frames
    found : Found
        Their events.
    """
    e = valid_events(found, frames)
    exposure = frames.frame_exposure[frames.position(e.frame)]
    feature = all_features(frames, found)[e.row]
    return Lessons(feature, e.energy, e.weight, e.background, exposure.astype(np.int64))


@dataclass(frozen=True)
class Course:
    """Lessons of one set, without and with events at the border.

    Attributes
    ----------
    inside, border : Lessons
        Border events are graded out in the first, accepted in the second.
    """

    inside: Lessons
    border: Lessons

    @classmethod
    def join(cls, parts: list[Course]) -> Course:
        """Lessons of several exposures, of which there is at least one, in one."""
        return cls(*(Lessons.join([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def first(self, exposures: int) -> Course:
        """Lessons of the first exposures only: a point of a learning curve.

        Parameters
        ----------
        exposures : int
        """
        return Course(*(each[each.exposure < exposures] for each in (self.inside, self.border)))


def simulated_course(name: str, number: int, hits: int) -> Course:
    """Lessons of one exposure of a set.

    Parameters
    ----------
    name : str
        One of `sets.SETS`.
    number : int
        Of the exposure in the set.
    hits : int
        See `sets.set_settings`.
    """
    frames = evaluation_exposure(name, number, hits)
    made = []
    for keep_border in (False, True):
        one = lessons_of(frames, find_in_exposures(frames, keep_border=keep_border))
        made.append(replace(one, exposure=np.full(len(one), number, np.int64)))
    return Course(*made)


def courses(
    name: str,
    exposures: int,
    hits: int,
    *,
    threads: int = 1,
    cache: Path | None = None,
    first: int = 0,
) -> Course:
    """Lessons of the first exposures of a set.

    Parameters
    ----------
    name : str
        One of `sets.SETS`.
    exposures, hits : int
        See `sets.evaluation_set`.
    threads : int
        Processes that simulate.
    cache : Path, optional
        Folder in which the lessons of each exposure are kept, and from which they are taken.
    first : int
        First exposure.
    """
    numbers = range(first, exposures)
    kept = {k: _cached(cache, name, k, hits) for k in numbers}
    missing = [(name, k, hits) for k in numbers if kept[k] is None]
    made = iter(_simulated(missing, threads))
    parts = []
    for k in numbers:
        part = kept[k]
        if part is None:
            part = next(made)
            if cache is not None:
                _keep(_path(cache, name, k, hits), part)
        parts.append(part)
    return Course.join(parts)


def _simulated(tasks: list[tuple[str, int, int]], threads: int) -> Iterator[Course]:
    if tasks:
        yield from in_order(simulated_course, tasks, threads=threads, mem_mb=threads * WORKER_MB)


def _path(cache: Path, name: str, number: int, hits: int) -> Path:
    return cache / f"{name}-{hits}" / f"{number:05d}.npz"


def _cached(cache: Path | None, name: str, number: int, hits: int) -> Course | None:
    """Lessons that were kept, or None."""
    if cache is None or not (path := _path(cache, name, number, hits)).exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return Course(
            *(
                Lessons(*(file[f"{part.name}.{column}"] for column in Lessons._names()))
                for part in fields(Course)
            )
        )


def _keep(path: Path, course: Course) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        f"{part.name}.{column}": getattr(getattr(course, part.name), column)
        for part in fields(Course)
        for column in Lessons._names()
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **columns)
