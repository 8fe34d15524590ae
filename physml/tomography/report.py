"""The shipped weights on an example experiment, and one page that shows all results.

The example is the measured twin photons where their counts are on this machine, and a simulated
photon pair, steered by the tomographer, where they are not; page and summary say which. Of a
simulated pair the truth is known and is compared.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from .data.records import Records
    from .predict import TomographyPredictor
    from .results.result import TomographyResult
    from .settings import ReportSettings, TomographySettings

log = logging.getLogger(__name__)

NAMES = {"twin_photons": "twin photons", "simulated": "simulated photon pair"}
NOTES = {
    "twin_photons": "Measured: coincidences of photon pairs near Phi+ in nine polarisation "
    "settings (QuantumMeasurements.jl, MIT licence), rounded to whole numbers.",
    "simulated": "Simulated: {copies:,} photon pairs near Phi+ with 3 % white noise, in product "
    "bases that the tomographer chose one after the other.",
}
#: Figures of the evaluation that the page shows, without their number of qubits.
SHOWN = ("infidelity", "coverage", "slopes", "latency")
#: Rivals whose answer on the same counts stands beside ours.
OTHERS = ("maximum_likelihood", "particle_filter")


def make_example(
    settings: ReportSettings, predictor: TomographyPredictor, seed: int
) -> tuple[str, Records, Tensor | None]:
    """Name of the example, its counts, and the true state (4, 4) where it is known.

    Raises
    ------
    InputError
        The measured pairs were asked for, and are not on this machine.
    """
    from physml.exceptions import InputError

    from . import example

    path = None if settings.example == "simulated" else example.measured_pairs()
    if path is not None:
        return "twin_photons", example.real_records(path), None
    if settings.example == "twin_photons":
        raise InputError.expected(
            "report.example",
            "the counts of the twin photons in $PHYSML_SHARED_DATA",
            "none",
            "With `auto` or `simulated` they are not needed.",
        )
    truth = example.simulated_state(seed)
    records = example.simulated_records(predictor, truth, settings.copies, seed)
    return "simulated", records, truth


def run(
    *, settings: TomographySettings, evaluation: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Estimate the example's state and write its products, summary.json and index.html.

    Parameters
    ----------
    settings : TomographySettings
    evaluation : Path
        Folder of `evaluate.run`, shown beside the example.
    weights : Path
        Weights of this run; used only where none are shipped.
    out : Path
        Folder to write: records.h5 (the counts), density_matrix.csv, overview.png, summary.json,
        index.html.
    threads : int
        Threads of the networks.
    """
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.evaluation.figures import save_figure
    from physml.io.atomic import atomic_directory, read_json, write_json, write_text
    from physml.models import load_for_report

    from .core.states import named_state
    from .data.records_file import save_records
    from .evaluation.page import page
    from .example import TARGET
    from .results.overview import plot_overview
    from .results.result import matrix_text

    torch.set_num_threads(threads)
    s = settings.report
    evaluation = Path(evaluation)
    measured = read_json(evaluation / "metrics.json")
    predictor, whose = load_for_report("tomography", Path(weights))
    kind, records, truth = make_example(s, predictor, settings.seed)
    target = named_state(TARGET, 2)
    ours = predictor.predict(records, level=s.level, target=target, seed=settings.seed)
    others = {
        name: predictor.predict(
            records,
            estimator=name,
            level=s.level,
            target=target,
            seed=settings.seed,
            goodness=False,
            history=False,
        )
        for name in OTHERS
    }
    record = provenance.record(
        "report",
        upstream(settings, "report"),
        {"evaluation": evaluation, **records.files},
        {"weights": whose, "simulated": truth is not None},
    )
    summary = summarise(kind, ours, others, truth, whose, measured, s)
    with atomic_directory(out) as folder:
        save_records(records, folder / "records.h5")
        write_text(folder / "density_matrix.csv", matrix_text(ours.density_matrix))
        save_figure(plot_overview(ours), folder / "overview.png", provenance=record)
        write_json(folder / "summary.json", provenance.jsonable(summary | {"provenance": record}))
        text = page(summary, folder / "overview.png", pictures(evaluation / "figures"))
        write_text(folder / "index.html", text)
    log.info("%s", summary["summary"])


def pictures(folder: Path) -> dict[str, Path]:
    """Figures of an evaluation that the page shows, in its order."""
    found: dict[str, Path] = {}
    for name in SHOWN:
        for path in sorted(folder.glob(f"{name}*.png"), reverse=True):
            rest = path.stem.removeprefix(name).removeprefix("_")
            if not rest or rest.isdigit():
                found[path.stem] = path
    return found


def summarise(
    kind: str,
    ours: TomographyResult,
    others: Mapping[str, TomographyResult],
    truth: Tensor | None,
    whose: str,
    measured: Mapping[str, Any],
    settings: ReportSettings,
) -> dict[str, Any]:
    """Collect the essentials of the example and of the evaluation.

    Returns
    -------
    dict
        ``example``, ``simulated``, ``note``, ``weights``, ``summary`` (in words), ``level``,
        ``methods`` (each with its functionals and radius), ``density_matrix``, ``warnings``,
        ``truth`` (None for real data), ``evaluation`` (means of each list), ``copies`` (of those),
        ``latency``.
    """
    return {
        "example": NAMES[kind],
        "simulated": truth is not None,
        "note": NOTES[kind].format(copies=ours.records.copies),
        "weights": whose,
        "summary": ours.summary,
        "level": settings.level,
        "copies_measured": ours.records.copies,
        "methods": {name: essentials(r) for name, r in {"neural": ours, **others}.items()},
        "density_matrix": ours.to_dict()["density_matrix"],
        "warnings": ours.warnings,
        "truth": None if truth is None else against_truth(ours, truth),
        "copies": measured["copies"],
        "evaluation": {
            place: {m: [x["value"] for x in v["mean"]] for m, v in part["methods"].items()}
            for place, part in measured["lists"].items()
        },
        "coverage": {
            place: {
                m: [x["value"] for x in v["coverage"]]
                for m, v in part["methods"].items()
                if v["coverage"]
            }
            for place, part in measured["lists"].items()
        },
        "latency": measured["latency"],
    }


def essentials(result: TomographyResult) -> dict[str, Any]:
    """Functionals with their intervals, and the radius of the region."""
    found: dict[str, Any] = {
        f.name: {"value": f.value, "low": f.low, "high": f.high} for f in result.functionals
    }
    return found | {"radius": result.region.infidelity}


def against_truth(result: TomographyResult, truth: Tensor) -> dict[str, Any]:
    """Compare an estimate with a state that is known.

    Returns
    -------
    dict
        ``infidelity``; ``inside``, whether the region holds the truth; ``purity`` and
        ``concurrence`` of the truth.
    """
    import torch

    from .core.operators import concurrence, infidelity, purity

    far = float(infidelity(torch.from_numpy(result.density_matrix), truth))
    return {
        "infidelity": far,
        "inside": far <= result.region.infidelity,
        "purity": float(purity(truth[None])[0]),
        "concurrence": float(concurrence(truth[None])[0]),
    }
