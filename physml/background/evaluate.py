"""Evaluation of trained weights beside all rivals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import BackgroundSettings


def run(
    *, settings: BackgroundSettings, data: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Evaluate weights on the test split and the frozen sets: metrics.json and figures.

    A stage: arguments as in `physml.pipeline`.
    """
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.evaluation.products import write_evaluation

    from .evaluation.compare import evaluate_all, test_metrics
    from .evaluation.plots import figures
    from .inference.detector import BackgroundDetector

    torch.set_num_threads(threads)
    detector = BackgroundDetector.load(weights)
    s = settings.evaluate
    scored, result = evaluate_all(detector, Path(weights), s, settings.seed, threads=threads)
    result["test"] = test_metrics(data, detector, s.retention, s.bootstrap, settings.seed)
    record = provenance.record(
        "evaluate", upstream(settings, "evaluate"), {"data": data, "weights": weights}
    )
    write_evaluation(out, result, figures(scored, result), record)
