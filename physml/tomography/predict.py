"""From a file of counts to a state with its region: the Python interface.

>>> result = physml.load("tomography").predict("counts.csv")                  # doctest: +SKIP
>>> result.state, result.region, result.functionals                           # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError
from physml.stages.predict import Predictor

from .core.checks import check_probability
from .core.estimator import Estimator
from .core.operators import infidelity
from .core.qobj import as_density_matrix
from .data.records import Records
from .data.records_file import load_records
from .inference.answers import Interval
from .inference.by_name import make_estimator
from .inference.cell.estimator import CellEstimator
from .inference.goodness import GoodnessOfFit
from .inference.neural.estimator import NeuralEstimator
from .inference.neural.loading import load
from .inference.readout_order import order_of_readout
from .inference.tomographer import Tomographer
from .results.result import Step, TomographyResult

log = logging.getLogger(__name__)

#: Numbers of copies, evenly spaced in their logarithm, of the history.
STEPS = 6


class TomographyPredictor(Predictor):
    """Estimates states from counts.

    Parameters
    ----------
    weights : path, optional
        Of the neural estimator and of the particle cell; those shipped with the package by
        default. They are read and checked now.

    Attributes
    ----------
    weights : Path or None
        As given.
    card : dict
        Metadata of the weights, with their SHA-256.
    """

    def __init__(self, weights: str | PathLike[str] | None = None) -> None:
        self.weights = None if weights is None else Path(weights)
        self._learned = load(self.weights)

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None) -> TomographyPredictor:
        """Predictor with trained weights, which are read and checked now; see `Predictor.load`."""
        return cls(path)

    @property
    def card(self) -> dict[str, Any]:
        """Metadata of the weights, with their SHA-256; of the shipped ones the first file's.

        A result has the card of the file that its estimate was made with.
        """
        return self._learned.card

    def estimator(self, name: str | Estimator) -> str | Estimator:
        """Estimator of a name; those that have learned with the weights of this predictor.

        Parameters
        ----------
        name : str or Estimator
            See `by_name.ESTIMATORS`; an estimator is passed through.
        """
        if name == "neural":
            return NeuralEstimator(**self._learned._asdict())
        if name == "particle_cell" and self.weights is not None:
            return CellEstimator.load(self.weights)
        return name

    def predict(
        self,
        records: Records | str | PathLike[str],
        *,
        estimator: str | Estimator = "neural",
        level: float = 0.9,
        target: Any = None,
        readout: Any = None,
        seed: int = 0,
        goodness: bool = True,
        history: bool = True,
        kind: str = "auto",
        repeats: int = 1,
        rounded: bool = False,
        window: float | None = None,
        accidental_rate: float | None = None,
        measured: Sequence[int] | None = None,
    ) -> TomographyResult:
        """Estimate the state that counts were taken of.

        Parameters
        ----------
        records : Records or path
            Measurements; of files, JSON, CSV, HDF5, a session, qiskit's counts or a coincidence
            table.
        estimator : str or Estimator
            "neural", "particle_filter", "maximum_likelihood", "two_stage",
            "linear" or "particle_cell".
        level : float
            Probability content of the region and of the intervals.
        target : Qobj, array or tensor, optional
            State to which the fidelity is given.
        readout : Readout, ndarray (n, 2, 2) or (2^n, 2^n), or a mitigator of qiskit, optional
            P(read | true) of each qubit, or of all together; by default that of the file.
        seed : int
            Of the samples.
        goodness : bool
            Test whether the data fit a state; takes seconds where there are many settings.
        history : bool
            Follow estimate and region as the copies come in; takes seconds.
        kind : str
            Kind of the file; see `records_file.load_records`.
        repeats : int
        rounded : bool
        window, accidental_rate : float, optional
            Of a coincidence table; see `records_file.load_records`.
        measured : sequence of int, optional
            Bits of the qubits, or qubits to keep; see `records_file.load_records`.

        Returns
        -------
        TomographyResult

        Raises
        ------
        InputError
            For data or arguments that cannot be.
        """
        level = check_probability(level, "level=")
        data = (
            records
            if isinstance(records, Records)
            else load_records(
                records,
                kind,
                repeats,
                rounded,
                window=window,
                accidental_rate=accidental_rate,
                measured=measured,
            )
        )
        if not data.measurements:
            raise InputError.expected(data.name, "counts of at least one setting", "none")
        wanted = None
        if target is not None:
            wanted = as_density_matrix(target, data.n_qubits)
        arguments: dict[str, Any] = {"seed": seed}
        if readout is not None:
            arguments["readout"] = readout
        tomographer = Tomographer.from_records(
            data, estimator=self.estimator(estimator), **arguments
        )
        names = ["purity"] + ["concurrence"] * (data.n_qubits == 2)
        functionals = [tomographer.functional(name, level) for name in names]
        if wanted is not None:
            functionals.insert(0, tomographer.functional("fidelity", level, wanted))
        name = tomographer.estimator.name
        fit = tomographer.goodness_of_fit() if goodness else None
        fit, remarks = _of_readout(tomographer, fit, list(data.remarks))
        return TomographyResult(
            records=data,
            estimator=name,
            seed=seed,
            density_matrix=tomographer.density_matrix,
            region=tomographer.credible_region(level),
            functionals=functionals,
            eigenvalues=_eigenvalues(tomographer, level),
            posterior=tomographer.posterior,
            goodness=fit,
            history=self._history(data, estimator, level, tomographer, arguments)
            if history
            else [],
            target=None if wanted is None else wanted.numpy(),
            card=dict(getattr(tomographer.estimator, "card", {})),
            remarks=remarks,
        )

    def _history(
        self,
        data: Records,
        estimator: str | Estimator,
        level: float,
        last: Tomographer,
        arguments: dict[str, Any],
    ) -> list[Step]:
        """Follow the measurements in their order; the last step is the result itself."""
        final = torch.from_numpy(last.density_matrix)
        steps = []
        if not isinstance(estimator, Estimator):  # one of the caller's holds all data already
            growing = Tomographer.from_records(
                Records(data.n_qubits, [], data.readout, frame=data.frame),
                estimator=make_estimator(self.estimator(estimator)),
                **arguments,
            )
            marks = _marks([int(m.counts.sum()) for m in data.measurements])
            for number, measurement in enumerate(data.measurements[:-1], start=1):
                growing.add([measurement])
                if number in marks:
                    here = torch.from_numpy(growing.density_matrix)
                    radius = growing.credible_region(level).infidelity
                    steps.append(Step(growing.copies, radius, float(infidelity(here, final))))
        return [*steps, Step(last.copies, last.credible_region(level).infidelity, 0.0)]


def _of_readout(
    tomographer: Tomographer, fit: GoodnessOfFit | None, remarks: list[str]
) -> tuple[GoodnessOfFit | None, list[str]]:
    """Goodness of fit and remarks with what the readout has to say.

    Where the calibration names the qubits in the wrong order, that is what is wrong, and neither
    the labels nor the source are accused.
    """
    readout = tomographer.readout
    if readout is None:
        return fit, remarks
    remarks += [text for text in readout.notes if text not in remarks]
    text = order_of_readout(tomographer.records.measurements, readout, fit)
    if text is None:
        return fit, remarks
    if fit is None:
        return None, [*remarks, text]
    return replace(fit, warnings=[text]), remarks


def _marks(copies: list[int]) -> set[int]:
    """Numbers of measurements whose copies are about evenly spaced in their logarithm."""
    total = np.cumsum(np.asarray(copies, np.float64))
    wanted = np.geomspace(total[0], total[-1], STEPS)
    return {int(np.argmin(np.abs(np.log(total / w)))) + 1 for w in wanted}


def _eigenvalues(tomographer: Tomographer, level: float) -> list[Interval]:
    """Eigenvalues with their intervals, the largest first."""

    def place(k: int) -> Any:
        def value(rho: Tensor) -> Tensor:
            return torch.linalg.eigvalsh(rho).flip(-1)[..., k]

        value.__name__ = f"eigenvalue {k + 1}"
        value.bounds = (0.0, 1.0)  # type: ignore[attr-defined]
        value.kind = "eigenvalue"  # type: ignore[attr-defined]
        return value

    return [tomographer.functional(place(k), level) for k in range(tomographer.dimension)]
