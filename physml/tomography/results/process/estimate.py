"""From counts of inputs and settings to a process with its errors: the Python interface.

>>> result = physml.tomography.estimate_process("process.csv", target="cx")   # doctest: +SKIP
>>> result.summary()                                                          # doctest: +SKIP
"""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from physml.random import stream

from ...core.checks import check_probability
from ...core.process.channels import as_unitary
from ...data.process_file import load_process_records
from ...data.process_records import ProcessRecords
from ...inference.process.data import tabulate
from ...inference.process.fit import LARGEST_RHAT, fit_process
from ...inference.process.functionals import calibrated, corrected, quantities
from ...inference.process.goodness import process_fit
from ...inference.process.rivals import completeness
from ...inference.process.unbiased import least_squares
from .result import ProcessResult

#: Assumption that is made of every set of measurements without readout errors.
IDEAL = (
    "inputs and measurements were taken as perfect: their errors are ascribed to the process "
    "(give readout errors, where they are known)"
)


def estimate_process(
    records: ProcessRecords | str | PathLike[str],
    *,
    target: Any = None,
    estimator: str = "bayes",
    readout: Any = None,
    level: float = 0.9,
    seed: int = 0,
    goodness: bool = True,
) -> ProcessResult:
    """Estimate the process that counts were taken of.

    Parameters
    ----------
    records : ProcessRecords or path
        Measurements; of files, JSON or CSV.
    target : str, array or Qobj, optional
        Unitary that was meant: a gate's name (`channels.GATES`) or a matrix (d, d).
    estimator : str
        "bayes" (posterior mean), "maximum_likelihood" or "linear".
    readout : Readout, optional
        By default that of the records.
    level : float
        Probability content of the intervals.
    seed : int
        Of the samples.
    goodness : bool
        Test whether the counts fit a process.

    Returns
    -------
    ProcessResult

    Raises
    ------
    InputError
        For data or arguments that cannot be.
    """
    level = check_probability(level, "level=")
    data = records if isinstance(records, ProcessRecords) else load_process_records(records)
    if readout is not None:
        data = ProcessRecords(
            data.n_qubits, data.measurements, readout, data.name, data.files, data.remarks
        )
    wanted = None if target is None else as_unitary(target, data.n_qubits)
    table = tabulate(data)
    found = fit_process(table, estimator, seed)
    samples = found.samples
    d = 1 << data.n_qubits
    far = np.linalg.norm(samples.choi - found.mean, axis=(1, 2)) / d
    squares = least_squares(found.latent, table)
    determined = completeness(table.design, d)
    fit = None
    if goodness:
        rng = stream(seed, "predict", 1)
        fit = process_fit(found.latent, table, found.mean, samples.choi, rng)
    widened = 1.0 if fit is None else fit.widened
    remarks = list(data.remarks)
    if data.readout is None:
        remarks.append(IDEAL)
    elif not data.readout.known:
        remarks.append("the readout errors are a guess: errors of them are not in the intervals")
    if determined[0] < determined[1]:
        remarks.append(
            f"the inputs and settings determine {determined[0]} of the {determined[1]} parameters "
            "of a process: the others, and what depends on them, come from the prior"
        )
    if samples.agreement > LARGEST_RHAT:
        remarks.append(
            f"the chains do not agree well (R-hat {samples.agreement:.2f}): intervals are rough"
        )
    return ProcessResult(
        records=data,
        estimator=estimator,
        seed=seed,
        choi=found.choi,
        samples=samples.choi,
        level=level,
        intervals=[
            calibrated(
                q, found.choi, corrected(q, found.choi, samples.choi), level, squares, widened
            )
            for q in quantities(data.n_qubits, wanted)
        ],
        radius=widened * float(np.quantile(far, level)),
        fit=fit,
        target=wanted,
        determined=determined,
        agreement=samples.agreement,
        remarks=remarks,
    )
