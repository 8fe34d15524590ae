"""X-ray cavities in the hot gas of galaxy clusters: simulate, learn, find, measure."""

from __future__ import annotations

from physml.pipeline import Pipeline

pipeline = Pipeline(
    name="cavities",
    title="X-ray cavities in galaxy clusters",
    settings="physml.cavities.settings:CavitiesSettings",
    simulate="physml.cavities.simulate:run",
    preprocess="physml.cavities.preprocess:run",
    train="physml.cavities.train:run",
    evaluate="physml.cavities.evaluate:run",
    report="physml.cavities.report:run",
    predictor="physml.cavities.predict:CavityPredictor",
    cli="physml.cavities.cli:app",
    versions={"simulate": 1, "preprocess": 2, "train": 1, "evaluate": 2, "report": 2},
)
