"""Charged-particle background in X-ray detectors: simulate, find events, learn, clean."""

from __future__ import annotations

from physml.pipeline import Pipeline

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
    versions={"simulate": 1, "preprocess": 1, "train": 1, "evaluate": 1, "report": 1},
)
