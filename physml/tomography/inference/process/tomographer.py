"""Process tomography as a loop: what to measure next, from what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

from physml.exceptions import InputError

from ...core.measurements import check_shots
from ...core.readout import Readout
from ...data.process_records import (
    ProcessMeasurement,
    ProcessRecords,
    as_process_measurement,
    check_process_qubits,
)
from .data import tabulate
from .design import Candidate, candidates, choose
from .fit import ProcessEstimate, fit_process


class ProcessTomographer:
    """Choose inputs and settings, take counts, estimate.

    Parameters
    ----------
    n_qubits : int
        1 or 2.
    readout : Readout, optional
        Confusion of the detectors.
    seed : int

    Raises
    ------
    InputError
        For another number of qubits.
    """

    def __init__(self, n_qubits: int, readout: Readout | None = None, seed: int = 0) -> None:
        self.n_qubits = check_process_qubits(n_qubits, "n_qubits=")
        self.readout, self.seed = readout, seed
        self.measurements: list[ProcessMeasurement] = []
        self._estimate: ProcessEstimate | None = None

    @classmethod
    def from_records(cls, records: ProcessRecords, seed: int = 0) -> ProcessTomographer:
        """Tomographer that has measured these already."""
        made = cls(records.n_qubits, records.readout, seed)
        made.measurements = list(records.measurements)
        return made

    @property
    def records(self) -> ProcessRecords:
        """All that was measured; InputError before anything was."""
        return ProcessRecords(self.n_qubits, list(self.measurements), self.readout)

    def update(self, measured: Iterable[tuple[Candidate, Any]]) -> None:
        """Record counts, as lists or by outcome, of inputs and settings.

        Raises
        ------
        InputError
            Counts that cannot be; then none of them are recorded.
        """
        new = [
            as_process_measurement(
                {"input": c.input, "axes": c.axes, "counts": counts}, "update", k, self.n_qubits
            )
            for k, (c, counts) in enumerate(measured)
        ]
        self.measurements += new
        self._estimate = None

    def estimate(self) -> ProcessEstimate:
        """Posterior mean and samples of all counts so far."""
        if self._estimate is None:
            self._estimate = fit_process(tabulate(self.records), "bayes", self.seed)
        return self._estimate

    def next_measurements(self, copies: int, settings: int = 24) -> list[tuple[Candidate, int]]:
        """Inputs and settings to measure next, with their copies.

        Before anything is known, the informationally complete set of inputs 0, 1, +, +i and of all
        Pauli settings, each with an equal share; then what is expected to gain most, see `design`.

        Parameters
        ----------
        copies : int
            Of all of them together.
        settings : int
            Most inputs and settings, once something is known.

        Raises
        ------
        InputError
            Fewer copies than settings.
        """
        copies = check_shots(copies, "copies=", 1)
        settings = check_shots(settings, "settings=", 1)
        if not self.measurements:
            inputs = product(("0", "1", "+", "+i"), repeat=self.n_qubits)
            axes = ["".join(a) for a in product("XYZ", repeat=self.n_qubits)]
            first = [Candidate(",".join(i), a) for i in inputs for a in axes]
            _enough(copies, len(first))
            more = copies % len(first)
            return [(c, copies // len(first) + (k < more)) for k, c in enumerate(first)]
        _enough(copies, settings)
        found = self.estimate()
        return choose(found.latent, found.samples.choi, candidates(self.n_qubits), copies, settings)


def _enough(copies: int, settings: int) -> None:
    if copies < settings:
        raise InputError.expected("copies=", f"one for each of {settings} settings", str(copies))
