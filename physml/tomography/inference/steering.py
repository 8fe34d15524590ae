"""The loop between a tomographer and a laboratory, which ends when enough is known or none fits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from physml.exceptions import InputError

from ..core.checks import check_probability
from ..core.measurements import Setting, check_shots
from ..data.lab_answer import check_complete
from ..data.laboratory import Laboratory
from .designs import next_shots
from .fit.checked import Misfit
from .goodness import GoodnessOfFit
from .tomographer import Tomographer

log = logging.getLogger(__name__)

#: Copies after which the region is looked at again, as a multiple of those at the last look.
LOOK = 1.25


@dataclass(frozen=True)
class Stop:
    """When to stop: at the first of these that holds.

    Attributes
    ----------
    copies : int, optional
        So many were measured; the last measurement takes what is left.
    infidelity : float, optional
        The state is known so well, with `confidence`.
    confidence : float
    measurements : int, optional
        So many settings were answered.
    """

    copies: int | None = None
    infidelity: float | None = None
    confidence: float = 0.9
    measurements: int | None = None

    def __post_init__(self) -> None:
        if self.copies is None and self.infidelity is None and self.measurements is None:
            raise InputError.expected(
                "stop", "a number of copies or measurements, or an infidelity", "none of them"
            )
        if self.copies is not None:
            check_shots(self.copies, "copies=")
        if self.measurements is not None:
            check_shots(self.measurements, "measurements=")
        if self.infidelity is not None:
            check_probability(self.infidelity, "infidelity=")
        check_probability(self.confidence, "confidence=")


def steer(
    tomographer: Tomographer,
    laboratory: Laboratory | Callable[[Setting], Any],
    stop: Stop,
    shots: int | None = None,
    report: Callable[[Tomographer], None] = lambda _: None,
    check_fit: bool = True,
) -> str:
    """Measure until it is enough.

    What was asked before and not answered is asked first, so that a loop that was killed goes on
    where it was.

    Parameters
    ----------
    tomographer : Tomographer
    laboratory : Laboratory or callable
        Its ``measure(setting)``, or it itself, gives the counts of a setting.
    stop : Stop
    shots : int, optional
        Copies of each measurement; by default they grow with what is known.
    report : callable
        Called after each answer.
    check_fit : bool
        Test the fit in the loop (`Tomographer.check_fit`) and at its end
        (`Tomographer.final_fit`). Without, nothing speaks of a laboratory that measures
        something else than it is asked for.

    Returns
    -------
    str
        Why it stopped, in words.

    Raises
    ------
    InputError
        The laboratory's answer cannot be. All answers before it are recorded.
    Misfit
        No state gives such data, or it drifted. All answers are recorded; no region holds.
    """
    if shots is not None:
        check_shots(shots)
    given: Any = laboratory
    measure = getattr(given, "measure", given)
    pending = tomographer.pending
    looked = 0
    _watch(tomographer, check_fit)  # what ended a loop ends it again, before anything is asked
    while True:
        reason = _enough(tomographer, stop)
        if reason is None and stop.infidelity is not None and tomographer.copies >= LOOK * looked:
            looked = tomographer.copies
            if looked and tomographer.should_stop(stop.infidelity, stop.confidence):
                reason = (
                    f"infidelity below {stop.infidelity:g} with {stop.confidence:.0%} confidence"
                )
        if reason is not None:
            if check_fit:
                expect_fit(tomographer)
            log.info("stopped after %d copies: %s", tomographer.copies, reason)
            return reason
        if pending:
            setting = pending.pop(0)
        else:
            setting = tomographer.next_measurement(_limited(tomographer, stop, shots))
        counts = measure(setting)
        check_complete(counts, setting, "laboratory")
        tomographer.update(setting, counts)
        report(tomographer)
        _watch(tomographer, check_fit)


def _watch(tomographer: Tomographer, check_fit: bool) -> None:
    if check_fit and (doubt := tomographer.check_fit()) is not None:
        raise _misfit(tomographer, doubt)


def expect_fit(tomographer: Tomographer) -> None:
    """Raise `Misfit` where the data of a tomographer fit no state."""
    if tomographer.copies:
        found = tomographer.final_fit()
        if found is not None:
            raise _misfit(tomographer, found)


def _misfit(tomographer: Tomographer, found: GoodnessOfFit) -> Misfit:
    reasons = "; ".join(found.warnings)
    return Misfit(f"after {tomographer.copies} copies: {reasons}. No error is given", found)


def _enough(tomographer: Tomographer, stop: Stop) -> str | None:
    if stop.copies is not None and tomographer.copies >= stop.copies:
        return f"{tomographer.copies} copies"
    if stop.measurements is not None and tomographer.measured >= stop.measurements:
        return f"{tomographer.measured} measurements"
    return None


def _limited(tomographer: Tomographer, stop: Stop, shots: int | None) -> int | None:
    """Shots of the next measurement, no more than are left."""
    if stop.copies is None:
        return shots
    wanted = next_shots(tomographer.copies) if shots is None else shots
    return min(wanted, stop.copies - tomographer.copies)
