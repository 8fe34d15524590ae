"""Lines through what was measured, and how far beyond it they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True)
class Line:
    """A cost that grows with some amounts: ``start + sum of slope x amount``.

    Attributes
    ----------
    start
        Of nothing: starting the program, what does not grow.
    slopes : dict
        Amount -> cost of one of it.
    largest : dict
        Amount -> the largest that was measured.
    points
        Number of measurements.
    off
        Largest relative distance of a measurement from the line.
    """

    start: float
    slopes: Mapping[str, float]
    largest: Mapping[str, float]
    points: int
    off: float

    def at(self, amounts: Mapping[str, float]) -> float:
        """Cost of these amounts."""
        return self.start + sum(slope * amounts[name] for name, slope in self.slopes.items())

    def part(self, name: str, amounts: Mapping[str, float]) -> float:
        """Share of the cost that one amount has."""
        return self.slopes[name] * amounts[name] / self.at(amounts)

    def beyond(self, amounts: Mapping[str, float]) -> bool:
        """Whether more of something is asked for than was measured."""
        return any(amounts[name] > largest for name, largest in self.largest.items())


def fit(amounts: Sequence[Mapping[str, float]], values: Sequence[float]) -> Line:
    """Fit a line, with nothing that costs less than nothing.

    Each measurement counts by its relative error, so that small sets say what starting costs and
    large ones what a sample does.

    Parameters
    ----------
    amounts
        Of each measurement; all with the same names.
    values
        Its cost, above 0.

    Raises
    ------
    ValueError
        Too few different measurements to tell the amounts apart.
    """
    names = list(amounts[0]) if amounts else []
    design = np.array([[1.0, *(row[name] for name in names)] for row in amounts])
    # In units of the largest, so that the rank is that of the problem and not of its units.
    unit = design.max(axis=0, initial=0.0) if len(design) else np.ones(1)
    unit[unit == 0] = 1.0
    if not len(design) or np.linalg.matrix_rank(design / unit) < len(names) + 1:
        raise ValueError(
            f"{len(design)} measurements do not tell apart a start and {', '.join(names) or 'none'}"
        )
    found = np.asarray(values, float)
    scaled, _ = nnls(design / unit / found[:, None], np.ones(len(found)))
    start, *slopes = (scaled / unit).tolist()
    return Line(
        start,
        dict(zip(names, slopes, strict=True)),
        {name: max(row[name] for row in amounts) for name in names},
        len(found),
        float(np.abs(design @ (scaled / unit) / found - 1).max()),
    )


def amdahl(speed_up: float, workers: int) -> float:
    """Part of the work that is not shared, from the speed-up of so many workers.

    Examples
    --------
    >>> amdahl(2.0, 2), amdahl(1.0, 2)
    (0.0, 1.0)
    """
    return float(np.clip((workers / speed_up - 1) / (workers - 1), 0.0, 1.0))


def shared_time(seconds: float, alone: float, workers: int) -> float:
    """Time of `workers` for what takes one so many seconds, if a part `alone` is not shared."""
    return seconds * (alone + (1 - alone) / workers)
