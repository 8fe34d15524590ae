"""Report: the shipped weights on an example observation, and one page that shows all results.

There are no public frames of a silicon detector in orbit with the particles in them: the example
is simulated, and page and summary say so. Since its truth is known, what the cut did to it is
counted as well.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import BackgroundSettings

log = logging.getLogger(__name__)

#: File of the example.
FRAMES = "frames.h5"
#: Pictures of the evaluation on the page.
SHOWN = (
    *("removed", "bands", "promises", "reliability", "spectrum"),
    *("sensitivity", "stress", "bias", "examples"),
)


def run(
    *, settings: BackgroundSettings, evaluation: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Clean the example and write it, what `predict` writes, summary.json and index.html.

    A stage: arguments as in `physml.pipeline`.
    """
    from physml.io.atomic import atomic_directory, read_json
    from physml.stages.report import Measured, report_record, write_report

    from .evaluation import page
    from .evaluation.sets import example_frames

    s = settings.report
    found = Measured.read("background", evaluation, weights, threads)
    low, high = found.predictor.detector.retentions
    frames = example_frames(s.seconds, settings.seed)
    with atomic_directory(out) as folder:
        path = folder / FRAMES
        page.write_example(path, frames, report_record(settings, {}, found.whose, True))
        # The nearest retention that the weights can promise.
        retention = float(min(max(s.retention, low), high))
        result = found.predictor.predict(path, retention=retention, progress=False)
        record = report_record(
            settings, {"evaluation": evaluation, "frames": path}, found.whose, True
        )
        result.write_into(folder, {"example": s.example})
        cleaned = read_json(folder / "summary.json")
        cleaned.pop("provenance", None)
        truth = page.against_truth(result, frames)
        summary = page.summarise(s, cleaned, truth, found.whose, found.metrics)
        kept = {r for numbers in summary["evaluation"].values() for r in numbers["kept"]}
        write_report(
            folder,
            summary,
            record,
            "background/evaluation/page.html.jinja",
            metrics=found.metrics,
            retentions=sorted(kept, key=float, reverse=True),
            pictures=found.pictures(SHOWN),
        )
    log.info("%s", summary["cleaned"]["summary"])
