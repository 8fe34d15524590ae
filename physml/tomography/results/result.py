"""What tomography of one set of measurements gives, and how it is written."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import qutip

    from ..data.records import Records
    from ..inference.answers import Interval, Region
    from ..inference.goodness import GoodnessOfFit
    from ..inference.posterior import Posterior


@dataclass(frozen=True)
class Step:
    """What was known after some of the copies.

    Attributes
    ----------
    copies : int
    radius : float
        Infidelity within which the true state lies of the estimate of then, at the level of the
        result.
    distance : float
        Infidelity of the estimate of then to that of all data.
    """

    copies: int
    radius: float
    distance: float


@dataclass
class TomographyResult:
    """State of one set of measurements.

    Attributes
    ----------
    records : Records
    estimator, seed
        How it was estimated.
    density_matrix : ndarray (d, d), complex128
    region : Region
    functionals : list of Interval
        Purity; the fidelity to the target, where there is one; the concurrence of two qubits.
    eigenvalues : list of Interval
        Of the state, the largest first.
    posterior : Posterior
        Samples that regions and intervals rest on.
    goodness : GoodnessOfFit or None
    history : list of Step
    target : ndarray (d, d), optional
    card : dict
        Metadata of the weights, with their SHA-256; empty for estimators that have none.
    remarks : list of str
        What the user should know.
    """

    records: Records
    estimator: str
    seed: int
    density_matrix: NDArray[np.complex128]
    region: Region
    functionals: list[Interval]
    eigenvalues: list[Interval]
    posterior: Posterior
    goodness: GoodnessOfFit | None = None
    history: list[Step] = field(default_factory=list)
    target: NDArray[np.complex128] | None = None
    card: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def state(self) -> qutip.Qobj:
        """The density matrix as qutip's object."""
        from ..core.qobj import to_qutip

        return to_qutip(self.density_matrix)

    @property
    def summary(self) -> str:
        """What came out, in words."""
        words = ", ".join(str(interval) for interval in self.functionals)
        number = len(self.records.measurements)
        return (
            f"{self.records.copies} copies in {number} measurements: {words}; "
            f"infidelity below {self.region.infidelity:.2g} at {self.region.level:.0%}"
        )

    @property
    def warnings(self) -> list[str]:
        """All that the user has to know."""
        fit = [] if self.goodness is None else self.goodness.warnings
        return [*self.remarks, *self.region.notes, *fit]

    def __repr__(self) -> str:
        return f"<TomographyResult {self.records.name}: {self.summary}>"

    def to_dict(self) -> dict[str, Any]:
        """Everything but the samples, as JSON holds it."""
        from dataclasses import asdict

        rho = self.density_matrix
        return {
            "name": self.records.name,
            "n_qubits": self.records.n_qubits,
            "estimator": self.estimator,
            "seed": self.seed,
            "copies": self.records.copies,
            "measurements": len(self.records.measurements),
            "density_matrix": np.stack([rho.real, rho.imag], -1).tolist(),
            "region": asdict(self.region),
            "functionals": [asdict(interval) for interval in self.functionals],
            "eigenvalues": [asdict(interval) for interval in self.eigenvalues],
            "goodness_of_fit": None if self.goodness is None else asdict(self.goodness),
            "history": [asdict(step) for step in self.history],
            "weights": {k: self.card.get(k) for k in ("version", "sha256")} if self.card else None,
            "warnings": self.warnings,
        }

    def write(
        self,
        folder: str | PathLike[str],
        overwrite: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> Path:
        """Write all products into a folder, as a whole or not at all.

        Parameters
        ----------
        folder : path
            Output folder; its name is free, or `overwrite` is set.
        overwrite : bool
            Replace a folder that was written like this before.
        settings : dict, optional
            How it was asked for; kept in the provenance.

        Returns
        -------
        Path
            The folder.
        """
        from physml import provenance
        from physml.evaluation.figures import save_figure
        from physml.io.atomic import atomic_directory, write_json, write_text

        from ..data.records_file import save_records
        from .overview import plot_overview

        record = provenance.record(
            "predict",
            {**(settings or {}), "estimator": self.estimator, "seed": self.seed},
            inputs=dict(self.records.files),
            extra={
                "weights": {k: self.card.get(k) for k in ("version", "sha256", "lineage")},
                "warnings": self.warnings,
            },
        )
        with atomic_directory(folder, overwrite=overwrite) as temporary:
            body = provenance.jsonable({**self.to_dict(), "provenance": record})
            write_json(temporary / "estimate.json", body)
            write_text(temporary / "density_matrix.csv", matrix_text(self.density_matrix))
            save_records(self.records, temporary / "records.h5")
            save_figure(plot_overview(self), temporary / "overview.png", provenance=record)
        return Path(folder)


def matrix_text(rho: NDArray[np.complex128]) -> str:
    """A matrix as CSV: row, column, real, imaginary; rows and columns as bits, qubit 0 first."""
    n = rho.shape[0].bit_length() - 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "column", "real", "imaginary"])
    for i, row in enumerate(rho):
        for j, value in enumerate(row):
            cells = [format(k, f"0{n}b") for k in (i, j)]
            writer.writerow([*cells, repr(float(value.real)), repr(float(value.imag))])
    return text.getvalue()
