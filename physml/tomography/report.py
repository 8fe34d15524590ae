"""The shipped weights on an example experiment, and one page that shows all results.

The example is the measured twin photons where their counts are on this machine, and a simulated
photon pair, steered by the tomographer, where they are not; page and summary say which. Of a
simulated pair the truth is known and is compared.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physml.datasets import shared_folder
from physml.evaluation.sealed import remark
from physml.exceptions import InputError
from physml.io.atomic import atomic_directory
from physml.random import stream
from physml.stages.report import Measured, report_record, write_report

from .core.born import probabilities, sample_counts
from .core.operators import concurrence, infidelity, purity
from .core.schedule import schedule
from .core.states import named_state, with_white_noise
from .data.records import Records
from .data.records_file import load_records
from .inference.tomographer import Tomographer
from .predict import TomographyPredictor
from .results.products import write_state
from .results.result import TomographyResult
from .settings import ReportSettings, TomographySettings

log = logging.getLogger(__name__)

#: State to which the fidelity is given.
TARGET = "phi+"
#: White noise of the simulated pair.
NOISE = 0.03
#: Angle of its local unitaries [rad]: fibres are never perfectly compensated.
TURN = 0.25
#: Names and notes of the examples.
NAMES = {"twin_photons": "twin photons", "simulated": "simulated photon pair"}
NOTES = {
    "twin_photons": "Measured: coincidences of photon pairs near Phi+ in nine polarisation "
    "settings (QuantumMeasurements.jl, MIT licence), rounded to whole numbers.",
    "simulated": "Simulated: {copies:,} photon pairs near Phi+ with 3 % white noise, in product "
    "bases that the tomographer chose one after the other.",
}
#: Figures of the evaluation that the page shows, without their number of qubits.
SHOWN = ("infidelity*", "coverage", "slopes", "latency")
#: Rivals whose answer on the same counts stands beside ours.
OTHERS = ("maximum_likelihood", "particle_filter")


def run(
    *, settings: TomographySettings, evaluation: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Estimate the example and write counts, state and picture, summary.json, index.html.

    A stage: arguments as in `physml.pipeline`.
    """
    s = settings.report
    measured = Measured.read("tomography", evaluation, weights, threads)
    kind, records, truth = make_example(s, measured.predictor, settings.seed)

    def predict(**options: Any) -> TomographyResult:
        target = named_state(TARGET, 2)
        found: TomographyResult = measured.predictor.predict(
            records, level=s.level, target=target, seed=settings.seed, **options
        )
        return found

    ours = predict()
    others = {name: predict(estimator=name, goodness=False, history=False) for name in OTHERS}
    summary = summarise(kind, ours, others, truth, measured, s)
    inputs = {"evaluation": evaluation, **records.files}
    record = report_record(settings, inputs, measured.whose, truth is not None)
    with atomic_directory(out) as folder:
        write_state(ours, folder, record)
        write_report(
            folder,
            summary,
            record,
            "tomography/evaluation/page.html.jinja",
            pictures=measured.pictures(SHOWN),
        )
    log.info("%s", summary["summary"])


def make_example(
    settings: ReportSettings, predictor: TomographyPredictor, seed: int
) -> tuple[str, Records, Tensor | None]:
    """Name of the example, its counts, and the true state (4, 4) where it is known.

    Raises
    ------
    InputError
        The measured pairs were asked for, and are not on this machine.
    """
    measured = None if settings.example == "simulated" else measured_pairs()
    if measured is not None:
        return "twin_photons", measured, None
    if settings.example == "twin_photons":
        raise InputError.expected(
            "report.example",
            "the counts of the twin photons in $PHYSML_SHARED_DATA",
            "none",
            "With `auto` or `simulated` they are not needed.",
        )
    truth = simulated_state(seed)
    records = simulated_records(predictor, truth, settings.copies, seed)
    return "simulated", records, truth


def measured_pairs() -> Records | None:
    """Coincidences of the twin photons, of one run; None where they are not on this machine.

    See `physml.datasets.shared_folder`. The file has means of 50 runs, rounded here: they are what
    a single run would show; with the sums, errors would be those of seven times as many hours.
    """
    path = shared_folder() / "quantum" / "twin_photons_MIT" / "counts.csv"
    if not path.is_file():
        return None
    return replace(load_records(path, kind="photonic", rounded=True), name="twin photons")


def simulated_state(seed: int) -> torch.Tensor:
    """Photon pair near Phi+: white noise, and small rotations of both photons; (4, 4)."""
    rng = stream(seed, "report", 0)
    sides = []
    for _ in range(2):
        axis = rng.standard_normal(3)
        axis *= TURN / np.linalg.norm(axis)
        x, y, z = axis
        generator = torch.tensor([[z, x - 1j * y], [x + 1j * y, -z]], dtype=torch.complex128)
        sides.append(torch.linalg.matrix_exp(-0.5j * generator))
    turn = torch.kron(sides[0], sides[1])
    return with_white_noise(turn @ named_state(TARGET, 2) @ turn.mH, NOISE)


def simulated_records(
    predictor: TomographyPredictor, truth: torch.Tensor, copies: int, seed: int
) -> Records:
    """Measure a state with product bases, each chosen by the tomographer.

    Parameters
    ----------
    predictor : TomographyPredictor
        Whose weights steer.
    truth : Tensor (4, 4)
    copies, seed : int
    """
    tomographer = Tomographer(
        2, design="product", estimator=predictor.estimator("neural"), seed=seed
    )
    rng = stream(seed, "report", 1)
    # A laboratory would rather turn its plates 30 times than 60.
    for shots in schedule(copies, first=max(10, copies // 200), growth=1.2):
        setting = tomographer.next_measurement(shots)
        p = probabilities(torch.from_numpy(setting.effects), truth[None])
        tomographer.update(setting, sample_counts(p, shots, rng)[0].long().tolist())
    return replace(tomographer.records, name="simulated photon pair")


def summarise(
    kind: str,
    ours: TomographyResult,
    others: Mapping[str, TomographyResult],
    truth: Tensor | None,
    measured: Measured,
    settings: ReportSettings,
) -> dict[str, Any]:
    """Collect the essentials of the example and of the evaluation.

    Parameters
    ----------
    kind : str
        Of the example.
    ours : TomographyResult
        Of the example, by the neural estimator.
    others : mapping
        Results of the same counts by name of the estimator.
    truth : Tensor (4, 4), optional
    measured : Measured
    settings : ReportSettings

    Returns
    -------
    dict
        ``example``, ``simulated``, ``note``, ``weights``, ``summary`` (in words), ``level``,
        ``methods`` (each with its functionals and radius), ``density_matrix``, ``warnings``,
        ``truth`` (None for real data), ``evaluation`` (means of each list), ``copies`` (of those),
        ``ledger`` (what each list can still prove, see `physml.evaluation.sealed`), ``latency``.
    """
    numbers = measured.metrics
    return {
        "example": NAMES[kind],
        "simulated": truth is not None,
        "note": NOTES[kind].format(copies=ours.records.copies),
        "weights": measured.whose,
        "summary": ours.summary(),
        "level": settings.level,
        "copies_measured": ours.records.copies,
        "methods": {name: essentials(r) for name, r in {"neural": ours, **others}.items()},
        "density_matrix": ours.to_dict()["density_matrix"],
        "warnings": ours.warnings,
        "truth": None if truth is None else against_truth(ours, truth),
        "copies": numbers["copies"],
        "evaluation": {place: _values(part, "mean") for place, part in numbers["lists"].items()},
        "coverage": {place: _values(part, "coverage") for place, part in numbers["lists"].items()},
        "ledger": {place: remark("tomography", place) for place in numbers["lists"]},
        "latency": numbers["latency"],
    }


def _values(part: Mapping[str, Any], name: str) -> dict[str, list[float]]:
    """Values at each mark of the methods that have them, without their intervals."""
    return {m: [x["value"] for x in v[name]] for m, v in part["methods"].items() if v[name]}


def essentials(result: TomographyResult) -> dict[str, Any]:
    """Functionals with their intervals, and the radius of the region."""
    ends = {f.name: {"value": f.value, "low": f.low, "high": f.high} for f in result.functionals}
    return {**ends, "radius": result.region.infidelity}


def against_truth(result: TomographyResult, truth: Tensor) -> dict[str, Any]:
    """Compare an estimate with a state that is known.

    Returns
    -------
    dict
        ``infidelity``; ``inside``, whether the region holds the truth; ``purity`` and
        ``concurrence`` of the truth.
    """
    far = float(infidelity(torch.from_numpy(result.density_matrix), truth))
    return {
        "infidelity": far,
        "inside": far <= result.region.infidelity,
        "purity": float(purity(truth[None])[0]),
        "concurrence": float(concurrence(truth[None])[0]),
    }
