"""Result of the tomography of one set of measurements."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from physml.stages.predict import Result

from ..core.qobj import to_qutip
from ..data.records import Records
from ..inference.answers import Interval, Region
from ..inference.goodness import GoodnessOfFit
from ..inference.posterior import Posterior

if TYPE_CHECKING:
    import qutip


@dataclass(frozen=True)
class Step:
    """Estimate and region after some of the copies.

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


@dataclass(repr=False)
class TomographyResult(Result):
    """State of one set of measurements.

    Attributes
    ----------
    records : Records
    estimator, seed : str
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
        On the data, that the user should know.
    """

    writer: ClassVar[str] = "physml.tomography.results.products:write_products"

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
    def name(self) -> str:
        """Name of the records."""
        return self.records.name

    @property
    def state(self) -> qutip.Qobj:
        """The density matrix as qutip's object."""
        return to_qutip(self.density_matrix)

    def _words(self) -> str:
        words = ", ".join(str(interval) for interval in self.functionals)
        number = len(self.records.measurements)
        region = (
            f"infidelity below {self.region.infidelity:.2g} at {self.region.level:.0%}"
            if self.fits
            else "the data do not fit, and no error is given"
        )
        return f"{self.records.copies} copies in {number} measurements: {words}; {region}"

    @property
    def fits(self) -> bool:
        """Whether region and intervals may be believed: nothing was found against the fit."""
        return self.goodness is None or self.goodness.passed

    @property
    def warnings(self) -> list[str]:
        """Remarks on the goodness of fit, which come first, on the data and on the region."""
        fit = [] if self.goodness is None else self.goodness.warnings
        return [*fit, *self.remarks, *self.region.notes]

    def _origin(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        weights = {k: self.card.get(k) for k in ("version", "sha256", "lineage")}
        extra = {"weights": weights, "warnings": self.warnings}
        return {"estimator": self.estimator, "seed": self.seed}, dict(self.records.files), extra

    def to_dict(self) -> dict[str, Any]:
        """Everything but the samples, as JSON holds it."""
        rho = self.density_matrix
        return {
            "name": self.records.name,
            "n_qubits": self.records.n_qubits,
            "estimator": self.estimator,
            "seed": self.seed,
            "copies": self.records.copies,
            "measurements": len(self.records.measurements),
            "density_matrix": np.stack([rho.real, rho.imag], -1).tolist(),
            "fits": self.fits,
            "region": asdict(self.region),
            "functionals": [asdict(interval) for interval in self.functionals],
            "eigenvalues": [asdict(interval) for interval in self.eigenvalues],
            "goodness_of_fit": None if self.goodness is None else asdict(self.goodness),
            "history": [asdict(step) for step in self.history],
            "weights": {k: self.card.get(k) for k in ("version", "sha256")} if self.card else None,
            "warnings": self.warnings,
        }
