"""Cuts of event lists that users ask for, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physml.exceptions import InputError

from ..core.arrays import Bools
from ..data.event_list import BAD_GRADE, ISLAND, LEFT_OUT, EventList
from ..data.missions import islands
from .retention import Correction

#: Cuts by name, and the bit of FLAG of the events that each rejects.
CUTS = {"vfaint": ISLAND, "grades": BAD_GRADE}


@dataclass(frozen=True)
class ListCut:
    """Cuts that were asked for.

    Attributes
    ----------
    mask : int
        Bits of FLAG of the events that are rejected.
    retention : float
        Share of the X-rays that stay, at any energy.
    error : float
        How well that is known.
    """

    mask: int = 0
    retention: float = 1.0
    error: float = 0.0

    @classmethod
    def asked(cls, names: Sequence[str], events: EventList) -> ListCut:
        """Cuts by their names, for a list; it is noted what they take and cost.

        Raises
        ------
        InputError
            There is no such cut, or the list has not what it needs.
        """
        mask, retention, error = 0, 1.0, 0.0
        for name in names:
            if name not in CUTS:
                raise InputError.expected("cut=", f"one of {', '.join(CUTS)}", repr(name))
            mask |= CUTS[name]
        if mask & ISLAND:
            if not events.islands:
                raise InputError.expected(
                    events.name, "5 x 5 islands (PHAS of ACIS in VFAINT mode) for the cut vfaint",
                    "none",
                )  # fmt: skip
            retention, error = islands.RETENTION, islands.ERROR
            events.remark(
                f"the cut vfaint keeps {retention:.0%} of the X-rays that do not pile up "
                "(Vikhlinin 2001; not measured on these data)"
            )
        counting = (events.flag & LEFT_OUT) == 0
        for name in names:
            taken = int((counting & ((events.flag & CUTS[name]) > 0)).sum())
            events.account.leave_out(f"{taken} events rejected by the cut {name}", "events")
        return cls(mask, retention, error)

    def takes(self, events: EventList) -> Bools:
        """Events that are rejected, as a mask."""
        return np.asarray((events.flag & self.mask) != 0)

    @property
    def correction(self) -> Correction:
        """Retention as the products have it."""
        if self.retention == 1:
            return Correction.nothing_cut()
        one = np.ones((1, 1))
        return Correction(
            self.retention, np.array([0.1, 15.0]), np.array([0.0, np.inf]),
            self.retention * one, self.error * one, one,
        )  # fmt: skip
