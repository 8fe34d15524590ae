"""Neural adaptive quantum state tomography: simulate, measure, learn, steer a laboratory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physml.pipeline import Pipeline

if TYPE_CHECKING:
    from .core.measurements import Setting as Setting
    from .data.records import Records as Records
    from .inference.tomographer import Tomographer as Tomographer

pipeline = Pipeline(
    name="tomography",
    title="Neural adaptive quantum state tomography",
    settings="physml.tomography.settings:TomographySettings",
    simulate="physml.tomography.simulate:run",
    preprocess="physml.tomography.preprocess:run",
    train="physml.tomography.train:run",
    evaluate="physml.tomography.evaluate:run",
    report="physml.tomography.report:run",
    predictor="physml.tomography.predict:TomographyPredictor",
    cli="physml.tomography.cli:app",
    versions={"simulate": 1, "preprocess": 1, "train": 2, "evaluate": 2, "report": 1},
)

_PUBLIC = {
    "Tomographer": "physml.tomography.inference.tomographer:Tomographer",
    "Setting": "physml.tomography.core.measurements:Setting",
    "Records": "physml.tomography.data.records:Records",
}


def __getattr__(name: str) -> Any:
    """Import the public classes when they are asked for: they bring torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from physml.pipeline import load_object

    return load_object(_PUBLIC[name])
