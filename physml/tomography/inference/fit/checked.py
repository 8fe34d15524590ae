"""A state estimate that tests its data: as they come in, and for the faults of laboratories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from physml.exceptions import PhysmlError
from physml.random import stream

from ...core.estimator import Estimator
from ...core.measurements import Setting
from ..goodness import ALARM, GoodnessOfFit
from ..state_estimate import StateEstimate
from .directed import FaultSearch, find_fault
from .sequential import FALSE_ALARMS, SequentialFit

#: Places of the random streams of looks and of faults.
LOOKS, FAULTS = 1 << 42, 1 << 43
#: Copies at the first search for faults, and growth of the copies from one to the next: a search
#: takes as long as dozens of looks.
FIRST_SEARCH, SEARCH_GROWTH = 240, 2.0
#: Outcomes of all settings from which a bootstrap with refits takes too long to be the first test.
MANY_OUTCOMES = 2000
#: Probability and gain at which a fault is named where no state fits.
HINT, HINT_GAIN = 0.05, 2.0


class Misfit(PhysmlError):
    """The data fit no state, or not the same one throughout: there is no error to be given.

    Attributes
    ----------
    fit : GoodnessOfFit
        The test that found it.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, fit: GoodnessOfFit) -> None:
        super().__init__(message)
        self.fit = fit


class CheckedEstimate(StateEstimate):
    """State estimate with a test of the fit that may be asked after every measurement."""

    def __init__(self, n_qubits: int, estimator: str | Estimator, readout: Any, seed: int):
        super().__init__(n_qubits, estimator, readout, seed)
        self._looks = SequentialFit()
        self._looked_at = 0
        self._searches = 0
        self._next_search: float = FIRST_SEARCH
        self._faults = FaultSearch()

    def check_fit(self) -> GoodnessOfFit | None:
        """Test of the fit for loops; None while nothing speaks against one state for all data.

        It looks at the data only when there are a quarter more copies than at its last look, and
        takes milliseconds then, so that it may be called after each measurement; with twice the
        copies it also searches for the faults that laboratories have. Asked over and over, it
        raises a false alarm in less than 1 % of loops. An alarm is confirmed by `goodness_of_fit`,
        whose result it returns; this takes a second.
        """
        names = self._see()
        alarm = False
        if self._looks.due:
            estimate = torch.from_numpy(self.density_matrix)
            alarm = self._looks.suspicious(
                estimate, stream(self.seed, "predict", LOOKS + len(names))
            )
        if not alarm and self._looks.copies >= self._next_search:
            self._searches += 1
            self._next_search = max(SEARCH_GROWTH * self._looks.copies, FIRST_SEARCH)
            allowed = FALSE_ALARMS / (self._searches * (self._searches + 1))
            alarm = self._faults.look(*self._asked(), allowed) is not None
        if not alarm:
            return None
        found = self.goodness_of_fit()
        return None if found.passed else found

    def final_fit(self) -> GoodnessOfFit | None:
        """Test of the fit at the end of a loop; None where there is nothing to warn of.

        That is `goodness_of_fit`, but where there are so many settings that its bootstrap would
        take minutes: there the look of `check_fit` is taken first, at the level of an alarm.
        """
        names = self._see()
        if self._looks.outcomes > MANY_OUTCOMES:
            estimate = torch.from_numpy(self.density_matrix)
            rng = stream(self.seed, "predict", LOOKS + len(names))
            if not self._looks.suspicious(estimate, rng, ALARM):
                return None
        found = self.goodness_of_fit()
        return None if found.passed else found

    def _see(self) -> list[str]:
        """Ids of all measurements, after those that are new were shown to the looks."""
        names = list(self._measured)
        for name in names[self._looked_at :]:
            self._looks.add(self._effects[name].numpy(), self._measured[name].counts)
        self._looked_at = len(names)
        return names

    def goodness_of_fit(self) -> GoodnessOfFit:
        """Whether the data fit a state, the same from beginning to end, and without a known fault.

        The warnings name the faults under which the data are far more probable.

        Raises
        ------
        InputError
            There are no data yet.
        """
        found = super().goodness_of_fit()
        if not found.passed and not any("no state gives" in text for text in found.warnings):
            return found  # a drift is no fault of that kind
        # Where no state fits, what may be wrong is named at less than where all rests on it.
        limits = (ALARM,) if found.passed else (HINT, HINT_GAIN)
        fault = find_fault(*self._asked(), *limits)
        if fault is None:
            return found
        words = ", or if ".join(fault.faults)
        hint = (
            f"the data are more probable if {words} (log-likelihood {fault.gain:.3g} higher than "
            f"without this fault, p = {fault.p_value:.2g}): look there first, "
            "and at readout errors"
        )
        return replace(found, warnings=[*found.warnings, hint])

    def _asked(
        self,
    ) -> tuple[
        list[Setting], list[NDArray[np.int64]], Callable[[Setting], Setting], np.random.Generator
    ]:
        """Settings, counts, readout and random numbers of a test for faults."""
        measured = list(self._measured.values())
        return (
            [m.setting for m in measured],
            [m.counts for m in measured],
            self._really,
            stream(self.seed, "predict", FAULTS + len(measured)),
        )
