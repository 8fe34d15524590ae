"""Evaluate trained weights beside all other methods on the frozen lists of states."""

from __future__ import annotations

from pathlib import Path

from physml import provenance
from physml.config import upstream
from physml.evaluation.products import write_evaluation

from .evaluation.compare import evaluate_all
from .evaluation.plots import figures
from .settings import TomographySettings


def run(
    *, settings: TomographySettings, data: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Evaluate weights on the test split and the frozen lists: metrics.json and figures.

    A stage: arguments as in `physml.pipeline`.
    """
    s = settings.evaluate
    result = evaluate_all(
        s,
        settings.seed,
        weights=Path(weights),
        data=Path(data),
        threads=threads,
        mem_mb=s.resources.mem_mb,
    )
    record = provenance.record(
        "evaluate", upstream(settings, "evaluate"), {"data": data, "weights": weights}
    )
    write_evaluation(out, result, figures(result), record)
