"""A fitter for the state tomography of qiskit-experiments: same counts, with errors that hold.

>>> experiment = StateTomography(circuit)                                     # doctest: +SKIP
>>> experiment.analysis.set_options(fitter=qiskit_fitter)                     # doctest: +SKIP
>>> result = experiment.run(backend).block_for_results()                      # doctest: +SKIP
>>> result.analysis_results("state").extra["fitter_metadata"]                 # doctest: +SKIP

Qiskit is not imported: a basis is whatever has ``matrix(index, outcome, qubits)``. The interface is
that of `qiskit_experiments.library.tomography.fitters`, version 0.14.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physml.exceptions import InputError

from ..core.checks import check_probability, check_qubits
from ..core.estimator import Estimator
from ..core.measurements import Setting, from_effects, product_setting
from ..core.qobj import as_density_matrix
from ..data.counts.whole import compare_shots
from ..data.records import Measurement, Records
from .tomographer import Tomographer

#: How far effects may be from projectors onto a basis to be called one.
PROJECTORS = 1e-9


def qiskit_fitter(
    outcome_data: ArrayLike,
    shot_data: ArrayLike | None,
    measurement_data: ArrayLike,
    preparation_data: ArrayLike,
    measurement_basis: Any = None,
    preparation_basis: Any = None,
    measurement_qubits: Sequence[int] | None = None,
    preparation_qubits: Sequence[int] | None = None,
    conditional_measurement_indices: Sequence[int] | None = None,
    conditional_preparation_indices: Sequence[int] | None = None,
    *,
    estimator: str | Estimator = "neural",
    level: float = 0.9,
    target: Any = None,
    seed: int = 0,
    goodness: bool = True,
) -> tuple[list[NDArray[np.complex128]], dict[str, Any]]:
    """State of the counts of a state tomography, as a fitter of qiskit-experiments.

    Parameters
    ----------
    outcome_data : array (1, B, K)
        Counts of each outcome of each basis; bit k of an outcome is that of qubit k.
    shot_data : array (B,), optional
    measurement_data : array (B, n)
        Index of the basis of each qubit.
    preparation_data : array (B, 0)
        Of process tomography; refused where there are any.
    measurement_basis : MeasurementBasis
        Gives the effects; those of a mitigated basis contain the readout errors.
    preparation_basis, preparation_qubits, conditional_preparation_indices : None
        Of process tomography.
    measurement_qubits : sequence of int, optional
        Physical qubits, whose effects the basis may know; by default 0, ..., n - 1.
    conditional_measurement_indices : None
        Conditional tomography is refused.
    estimator : str or Estimator
        See `Tomographer`.
    level : float
        Probability content of the region and of the intervals.
    target : DensityMatrix, Statevector or array, optional
        State to which the fidelity is given, qubit 0 last as everywhere in qiskit.
    seed : int
        Of the samples.
    goodness : bool
        Test whether the counts fit a state; takes seconds.

    Returns
    -------
    fits : list of one ndarray (d, d)
        Density matrix, qubit 0 last.
    metadata : dict
        ``estimator``, ``copies``, ``region``, ``functionals``, ``goodness_of_fit`` and
        ``warnings``, as in estimate.json.

    Raises
    ------
    InputError
        Counts that cannot be, process tomography or conditional tomography.
    """
    place = "tomography data"
    level = check_probability(level, "level=")
    bases = np.asarray(measurement_data)
    if np.asarray(preparation_data).size or preparation_basis is not None or preparation_qubits:
        raise InputError.expected(place, "tomography of a state", "that of a process")
    if conditional_measurement_indices or conditional_preparation_indices:
        raise InputError.expected(place, "tomography without conditions", "conditional indices")
    counts = np.asarray(outcome_data)
    if counts.ndim == 3 and counts.shape[0] != 1:
        raise InputError.expected(
            place, "counts without conditions", f"{counts.shape[0]} conditional components"
        )
    if measurement_basis is None or not hasattr(measurement_basis, "matrix"):
        raise InputError.expected("measurement_basis=", "a basis with matrix()", "none")
    counts = counts[0] if counts.ndim == 3 else counts
    if bases.ndim != 2 or counts.ndim != 2 or len(bases) != len(counts) or not len(bases):
        raise InputError.expected(
            place, "counts (1, B, K) of bases (B, n)", f"{counts.shape} of {bases.shape}"
        )
    n = check_qubits(bases.shape[1], f"{place}, qubits")
    qubits = tuple(range(n)) if measurement_qubits is None else tuple(measurement_qubits)
    measurements = [
        _measurement(measurement_basis, tuple(int(i) for i in index), qubits, row, k)
        for k, (index, row) in enumerate(zip(bases, counts, strict=True))
        if row.sum()
    ]
    remarks = _shots(shot_data, counts, place)
    records = Records(n, measurements, name="qiskit", remarks=remarks)
    made = Tomographer.from_records(records, estimator=estimator, seed=seed)
    names = ["purity"] + ["concurrence"] * (n == 2)
    functionals = [made.functional(name, level) for name in names]
    if target is not None:
        wanted = as_density_matrix(turned(_array(target)), n)
        functionals.insert(0, made.functional("fidelity", level, wanted))
    region = made.credible_region(level)
    fit = made.goodness_of_fit() if goodness else None
    metadata: dict[str, Any] = {
        "fitter": "physml",
        "estimator": made.estimator.name,
        "copies": made.copies,
        "region": asdict(region),
        "functionals": [asdict(interval) for interval in functionals],
        "goodness_of_fit": None if fit is None else asdict(fit),
        "warnings": [*records.remarks, *region.notes, *([] if fit is None else fit.warnings)],
        "output_dims": (2,) * n,
    }
    return [turned(made.density_matrix)], metadata


def turned(array: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Matrix (d, d) or vector (d,) with the order of its qubits turned round."""
    n = array.shape[0].bit_length() - 1
    if array.shape[0] != 1 << n or array.shape not in ((1 << n,), (1 << n,) * 2):
        raise InputError.expected("state", "a vector or a matrix of 2^n rows", f"{array.shape}")
    axes = list(range(n))[::-1]
    if array.ndim == 2:
        axes += [n + k for k in axes]
    return np.ascontiguousarray(
        array.reshape((2,) * len(axes)).transpose(axes).reshape(array.shape)
    )


def _array(target: Any) -> NDArray[np.complex128]:
    """Vector or matrix of an object of qiskit, or of an array."""
    return np.asarray(getattr(target, "data", target), np.complex128)


def _measurement(
    basis: Any, index: tuple[int, ...], qubits: tuple[int, ...], row: NDArray[Any], number: int
) -> Measurement:
    """Measurement of one basis, qubit 0 first."""
    n, place = len(qubits), f"basis {number}, {index}"
    if len(row) != 1 << n:
        raise InputError.expected(place, f"{1 << n} outcomes", f"{len(row)}")
    if (row < 0).any() or (row != np.floor(row)).any():
        raise InputError.expected(place, "whole counts from 0 on", f"{row.tolist()!r:.60}")
    order = [int(format(k, f"0{n}b")[::-1], 2) for k in range(1 << n)]
    effects = np.stack([turned(_array(basis.matrix(index, k, qubits))) for k in order])
    values = np.asarray(row, np.int64)[order]
    name = f"{number:06d} {','.join(map(str, index))}"
    setting = _local(basis, index, qubits, effects, int(values.sum()), name)
    if setting is None:
        setting = from_effects(effects, int(values.sum()), name)
    return Measurement(setting, values)


def _local(
    basis: Any,
    index: tuple[int, ...],
    qubits: tuple[int, ...],
    effects: NDArray[np.complex128],
    shots: int,
    name: str,
) -> Setting | None:
    """The setting as bases of each qubit, where the effects project on the product of such."""
    local = []
    for i, q in zip(index, qubits, strict=True):
        vectors = []
        for k in (0, 1):
            values, frame = np.linalg.eigh(_array(basis.matrix((i,), k, (q,))))
            if np.abs(values - [0, 1]).max() > PROJECTORS:
                return None
            vectors.append(frame[:, 1])
        local.append(np.stack(vectors, -1))
    made = product_setting(np.stack(local), shots, name)
    return made if np.abs(made.effects - effects).max() < PROJECTORS else None


def _shots(shot_data: ArrayLike | None, counts: NDArray[Any], place: str) -> list[str]:
    """Remark on counts that do not add up; InputError where there are more than shots."""
    if shot_data is None:
        return []
    shots = np.asarray(shot_data).reshape(-1)
    if len(shots) != len(counts):
        raise InputError.expected(place, f"shots of {len(counts)} bases", f"of {len(shots)}")
    claims = [
        (f"basis {k}", int(s), int(row.sum()))
        for k, (s, row) in enumerate(zip(shots, counts, strict=True))
    ]
    return compare_shots(claims, place)
