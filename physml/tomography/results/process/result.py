"""Result of process tomography."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from physml.stages.predict import Result

from ...core.process.channels import Complex, Floats, pauli_transfer
from ...data.process_records import ProcessRecords
from ...inference.answers import Interval
from ...inference.process.functionals import Quantity, corrected, interval
from ...inference.process.goodness import ProcessFit

if TYPE_CHECKING:
    import qutip


@dataclass(repr=False)
class ProcessResult(Result):
    """Process of one set of measurements.

    Attributes
    ----------
    records : ProcessRecords
    estimator, seed : str
        How it was estimated.
    choi : ndarray (d^2, d^2), complex128
        Choi matrix, input first, of trace d.
    samples : ndarray (S, d^2, d^2)
        Of the posterior of the exact likelihood.
    level : float
        Probability content of intervals and radius.
    intervals : list of Interval
        Unitarity; with a target, the fidelities and the diamond distance to it.
    radius : float
        Frobenius distance of Choi matrices over d within which the true process lies of the
        posterior mean.
    fit : ProcessFit or None
    target : ndarray (d, d), optional
        Unitary that was meant.
    determined : tuple of int
        Parameters that the measurements determine, of how many.
    agreement : float
        R-hat of the chains.
    remarks : list of str
    """

    writer: ClassVar[str] = "physml.tomography.results.process.products:write_products"

    records: ProcessRecords
    estimator: str
    seed: int
    choi: Complex
    samples: Complex
    level: float
    intervals: list[Interval]
    radius: float
    fit: ProcessFit | None
    target: Complex | None
    determined: tuple[int, int]
    agreement: float
    remarks: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the records."""
        return self.records.name

    @property
    def pauli_transfer(self) -> Floats:
        """Pauli transfer matrix (d^2, d^2) of the estimate, in the order II, IX, ..."""
        return pauli_transfer(self.choi)

    @property
    def pauli_transfer_errors(self) -> Floats:
        """Posterior standard deviations of the Pauli transfer matrix."""
        return np.asarray(pauli_transfer(self.samples).std(0))

    @property
    def process(self) -> qutip.Qobj:
        """The estimate as a super-operator of qutip, in its Choi form."""
        import qutip

        n = self.records.n_qubits
        dims = [[[2] * n, [2] * n]] * 2
        return qutip.Qobj(self.choi, dims=dims, superrep="choi")

    def functional(self, quantity: Quantity, level: float | None = None) -> Interval:
        """Value of any other quantity, with its interval between equal tails of the posterior."""
        drawn = corrected(quantity, self.choi, self.samples)
        return interval(quantity, drawn, level or self.level)

    def _words(self) -> str:
        words = ", ".join(str(each) for each in self.intervals)
        return (
            f"{self.records.copies} copies in {len(self.records.measurements)} inputs and "
            f"settings: {words}"
        )

    @property
    def warnings(self) -> list[str]:
        """Remarks on the data, on their completeness, on the chains and on the fit."""
        return [*self.remarks, *([] if self.fit is None else self.fit.warnings)]

    def _origin(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        own = {"estimator": self.estimator, "seed": self.seed, "level": self.level}
        return own, dict(self.records.files), {"warnings": self.warnings}

    def to_dict(self) -> dict[str, Any]:
        """Everything but the samples, as JSON holds it."""
        return {
            "name": self.name,
            "n_qubits": self.records.n_qubits,
            "estimator": self.estimator,
            "seed": self.seed,
            "copies": self.records.copies,
            "measurements": len(self.records.measurements),
            "level": self.level,
            "choi": np.stack([self.choi.real, self.choi.imag], -1).tolist(),
            "pauli_transfer": self.pauli_transfer.tolist(),
            "pauli_transfer_errors": self.pauli_transfer_errors.tolist(),
            "intervals": [asdict(each) for each in self.intervals],
            "radius": self.radius,
            "goodness_of_fit": None if self.fit is None else asdict(self.fit),
            "parameters_determined": list(self.determined),
            "r_hat": self.agreement,
            "warnings": self.warnings,
        }
