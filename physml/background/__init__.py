"""Charged-particle background in X-ray detectors: simulate, find events, learn, clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from physml.pipeline import Pipeline

if TYPE_CHECKING:
    from .core.detectors import DetectorSettings as DetectorSettings
    from .core.detectors import load_detector as load_detector
    from .core.events import Found as Found
    from .core.events import find_events as find_events
    from .core.frames import Frames as Frames
    from .predict import BackgroundPredictor as BackgroundPredictor
    from .results.products import corrected_area as corrected_area
    from .results.result import BackgroundResult as BackgroundResult
    from .settings import BackgroundSettings as BackgroundSettings

pipeline = Pipeline(
    name="background",
    title="Charged-particle background in X-ray detectors",
    settings="physml.background.settings:BackgroundSettings",
    simulate="physml.background.simulate:run",
    preprocess="physml.background.preprocess:run",
    train="physml.background.train:run",
    evaluate="physml.background.evaluate:run",
    report="physml.background.report:run",
    predictor="physml.background.predict:BackgroundPredictor",
    cli="physml.background.cli:app",
    versions={"simulate": 1, "preprocess": 1, "train": 2, "evaluate": 2, "report": 1},
)

# Imported on first use: the command line must not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "core.detectors": ["DetectorSettings", "load_detector"],
        "core.events": ["Found", "find_events"],
        "core.frames": ["Frames"],
        "predict": ["BackgroundPredictor"],
        "results.products": ["corrected_area"],
        "results.result": ["BackgroundResult"],
        "settings": ["BackgroundSettings"],
    },
)
__all__ += ["pipeline"]
