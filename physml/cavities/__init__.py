"""X-ray cavities in the hot gas of galaxy clusters: simulate, learn, find, measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from physml.pipeline import Pipeline

if TYPE_CHECKING:
    from .core.energetics import GasProfile as GasProfile
    from .data.gas_profile import read_profile as read_profile
    from .data.loading import load_observation as load_observation
    from .data.observation import Observation as Observation
    from .inference.candidate import Candidate as Candidate
    from .predict import CavityPredictor as CavityPredictor
    from .results.result import CavityResult as CavityResult
    from .results.result import Recovery as Recovery
    from .settings import CavitiesSettings as CavitiesSettings

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
    versions={"simulate": 1, "preprocess": 2, "train": 2, "evaluate": 2, "report": 3},
)

# Imported on first use: the command line must not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "core.energetics": ["GasProfile"],
        "data.gas_profile": ["read_profile"],
        "data.loading": ["load_observation"],
        "data.observation": ["Observation"],
        "inference.candidate": ["Candidate"],
        "predict": ["CavityPredictor"],
        "results.result": ["CavityResult", "Recovery"],
        "settings": ["CavitiesSettings"],
    },
)
__all__ += ["pipeline"]
