"""Calibrated quantiles of one dimension, as they lie in the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..weights import prefix
from .intervals import Intervals
from .radii import Regions, Stops


@dataclass(frozen=True)
class Calibrated:
    """Networks of quantiles of errors.

    Attributes
    ----------
    regions : Regions
    stops : Stops
    intervals : Intervals
    """

    regions: Regions
    stops: Stops
    intervals: Intervals

    @classmethod
    def find(cls, part: Callable[[str], Mapping[str, Tensor]], d: int) -> Calibrated | None:
        """Networks of a dimension among the parts of a file; None where it has none.

        Parameters
        ----------
        part : callable
            Tensors whose names begin with a prefix, without it.
        d : int

        Raises
        ------
        KeyError, RuntimeError, ValueError
            The tensors do not belong together, or some are missing.
        """
        found = [part(prefix(d, kind)) for kind in (Regions, Stops, Intervals)]
        if not any(found):
            return None
        return cls(Regions.of(found[0]), Stops.of(found[1]), Intervals.of(found[2]))
