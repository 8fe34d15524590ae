"""A state estimate that tests its data: while they come in, and with a word on likely faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch

from physml.exceptions import PhysmlError
from physml.random import stream

from ...core.estimator import Estimator
from ..goodness import GoodnessOfFit
from ..state_estimate import StateEstimate
from .faults import likely_faults
from .sequential import SequentialFit

#: Places of the random streams of looks and of faults.
LOOKS, FAULTS = 1 << 42, 1 << 43


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

    def check_fit(self) -> GoodnessOfFit | None:
        """Test of the fit for loops; None while nothing speaks against one state for all data.

        It looks at the data only when there are a quarter more copies than at its last look, and
        takes milliseconds then, so that it may be called after each measurement. Asked over and
        over, it raises a false alarm in less than 1 % of loops. An alarm is confirmed by
        `goodness_of_fit`, whose result it returns; this takes a second.
        """
        names = list(self._measured)
        for name in names[self._looked_at :]:
            self._looks.add(self._effects[name].numpy(), self._measured[name].counts)
        self._looked_at = len(names)
        if not self._looks.due:
            return None
        estimate = torch.from_numpy(self.density_matrix)
        rng = stream(self.seed, "predict", LOOKS + len(names))
        if not self._looks.suspicious(estimate, rng):
            return None
        found = self.goodness_of_fit()
        return None if found.passed else found

    def goodness_of_fit(self) -> GoodnessOfFit:
        """Whether the data fit a state, and the same one from beginning to end.

        Where no state fits, the warnings name faults of a laboratory under which one would.

        Raises
        ------
        InputError
            There are no data yet.
        """
        found = super().goodness_of_fit()
        if not any("no state gives such data" in text for text in found.warnings):
            return found
        measured = list(self._measured.values())
        faults = likely_faults(
            [m.setting for m in measured],
            [m.counts for m in measured],
            self._really,
            stream(self.seed, "predict", FAULTS + len(measured)),
        )
        if not faults:
            return found
        hint = f"the data do fit a state if {', or if '.join(faults)}: look there first"
        return replace(found, warnings=[*found.warnings, hint])
