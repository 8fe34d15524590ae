"""Estimators and readouts by name, and what a session was begun with."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from physml.exceptions import InputError, PhysmlError
from physml.pipeline import load_object

from ..core.estimator import Estimator
from ..core.readout import Readout
from ..data.readout_file import readout_of_object

#: Arguments of a tomographer that a session is begun with.
ARGUMENTS = ("n_qubits", "design", "estimator", "readout", "seed")
ESTIMATORS: Mapping[str, str] = {
    "neural": "physml.tomography.inference.neural.estimator:NeuralEstimator",
    "particle_filter": "physml.tomography.inference.classical.particle_filter:ParticleFilter",
    "maximum_likelihood": "physml.tomography.inference.classical.likelihood:MaximumLikelihood",
    "two_stage": "physml.tomography.inference.classical.two_stage:TwoStage",
    "linear": "physml.tomography.inference.classical.linear:LinearInversion",
    "particle_cell": "physml.tomography.inference.cell.estimator:CellEstimator",
}


def make_estimator(given: str | Estimator) -> Estimator:
    """Estimator by name; one that is made already is passed through.

    Raises
    ------
    InputError
        No such name.
    PhysmlError
        It is not part of this installation.
    """
    if isinstance(given, Estimator):
        return given
    if given not in ESTIMATORS:
        raise InputError.expected("estimator=", f"one of {', '.join(ESTIMATORS)}", repr(given))
    try:
        made: Estimator = load_object(ESTIMATORS[given])()
    except InputError:
        raise
    except PhysmlError as error:
        raise PhysmlError(
            f"the estimator {given!r} is not installed ({error}); choose another by name: "
            f"{', '.join(name for name in ESTIMATORS if name != given)}"
        ) from error
    return made


def make_readout(given: Any, n_qubits: int) -> Readout | None:
    """Readout of confusion matrices, of what `Readout.to_dict` gives, of a mitigator, or None.

    Raises
    ------
    InputError
    """
    if given is None or isinstance(given, Readout):
        made = given
    elif isinstance(given, Mapping):
        made = Readout.from_dict(dict(given))
    else:
        made = readout_of_object(given) or Readout(given)
    if made is not None and len(made.confusion) != n_qubits:
        raise InputError.expected(
            "readout=", f"confusion matrices of {n_qubits} qubits", f"of {len(made.confusion)}"
        )
    return made


def arguments_of(header: Mapping[str, Any], path: str | PathLike[str]) -> dict[str, Any]:
    """Arguments of the tomographer that a session was begun with.

    Raises
    ------
    InputError
        A header of something else, or an estimator that has no name here.
    """
    missing = set(ARGUMENTS) - set(header)
    if missing:
        raise InputError.expected(Path(path), f"a header with {', '.join(sorted(missing))}", "none")
    seed = header["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 128:
        raise InputError.expected(Path(path), "a seed, a whole number from 0 on", f"{seed!r:.80}")
    if not isinstance(header["estimator"], str) or header["estimator"] not in ESTIMATORS:
        raise InputError.expected(
            Path(path),
            f"an estimator among {', '.join(ESTIMATORS)}",
            repr(header["estimator"]),
            "Open the session with Tomographer(..., estimator=..., session=...).",
        )
    return {name: header[name] for name in ARGUMENTS}
