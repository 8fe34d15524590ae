"""What makes a stage of a pipeline cost more, and at which small settings that is measured.

Of each pipeline this says which *amounts* the cost of its training grows with, and a ladder of
settings that tells them apart. What a ladder does not name is as in the pipeline's config.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from physml.cavities.train import CALIBRATED
from physml.config import load_settings, upstream
from physml.pipeline import get_pipeline
from physml.training.data import IN_MEMORY

from .measure import ROOT
from .rows import digest

#: Bytes of a prepared image: counts, model, exposure, flags and mask.
IMAGE_BYTES = 128 * 128 * (2 + 2 + 2 + 1 + 1)
#: The same with its detection (three maps of four bytes) and the decoder's seven maps of two.
CALIBRATION_BYTES = IMAGE_BYTES + 128 * 128 * (3 * 4 + 7 * 2)

STAGES = ("simulate", "preprocess", "train")

Amounts = dict[str, float]


@dataclass(frozen=True)
class Point:
    """One measurement: on so many samples, with these settings over the recipe's.

    Attributes
    ----------
    n
    preprocess, train
        Settings of these stages.
    """

    n: int
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How one pipeline is measured.

    Attributes
    ----------
    samples
        What a sample is.
    learned
        What the training loop counts; empty where it is the lesser part of a training, and samples
        are divided by the time of the whole.
    preparations
        What is simulated and preprocessed.
    trainings
        What is trained, on some of these data.
    preprocess_amounts, train_amounts
        What the cost of a stage grows with; they take the settings.
    shared
        Amounts that several processes of a training share.
    history
        Where below the state of a training its loop notes its speed.
    held
        Samples that a training holds in memory at once; it takes the settings. All by default.
    shards
        Samples of each of the shards that several workers simulate, preprocess and train on.
    """

    samples: str
    learned: str
    preparations: Sequence[Point]
    trainings: Sequence[Point]
    preprocess_amounts: Callable[[Any], Amounts]
    train_amounts: Callable[[Any], Amounts]
    shared: Sequence[str]
    history: str
    shards: int
    held: Callable[[Any], float] | None = None


def samples(s: Any) -> Amounts:
    """The number of samples alone."""
    return {"samples": float(s.simulate.n_samples)}


def cavities_held(s: Any) -> float:
    """Images as many as a training's memory is of: no more than `IN_MEMORY` bytes of them.

    Larger sets stay on the disk. Their calibration holds some thousand validation images with what
    was found in them, which is then the larger part.
    """
    n, kept = float(s.simulate.n_samples), 1 - s.preprocess.valid - s.preprocess.test
    if n * kept * IMAGE_BYTES <= IN_MEMORY:
        return n
    calibrated = min(n * s.preprocess.valid, CALIBRATED) * CALIBRATION_BYTES
    return max(IN_MEMORY / kept, calibrated) / IMAGE_BYTES


def background_data(s: Any) -> Amounts:
    """Exposures, and windows of the source method, of which no more are kept than asked for."""
    return samples(s) | {"windows": float(s.preprocess.windows)}


def cavities_amounts(s: Any) -> Amounts:
    """Passes of the U-Net; samples (decoder, calibration); images that set the threshold."""
    kept = 1 - s.preprocess.valid - s.preprocess.test
    n = s.simulate.n_samples
    return {
        "passes": n * kept * (1 - s.train.decoder.share) * s.train.epochs,
        "samples": float(n),
        "alarms": float(s.train.alarm_images),
    }


def background_amounts(s: Any) -> Amounts:
    """Exposures passed; windows passed by the source method; photons of the calibration."""
    kept = 1 - s.preprocess.valid - s.preprocess.test
    c = s.train.calibrate
    return {
        "passes": s.simulate.n_samples * kept * s.train.epochs,
        "windows": float(s.preprocess.windows * s.train.source_method.epochs),
        "photons": float(c.photons * len(c.standoffs)),
    }


def tomography_amounts(s: Any) -> Amounts:
    """Experiments passed, calibrated with, and followed by the particle cell."""
    t, p, qubits = s.train, s.preprocess, len(s.simulate.n_qubits)
    kept = 1 - p.valid - p.calibrate - p.test
    return {
        "passes": s.simulate.n_samples * kept * t.epochs,
        "calibrations": s.simulate.n_samples * p.calibrate,
        "cell": float(qubits * t.cell.runs * t.cell.experiments),
    }


def _background(n: int, windows: int, epochs: int, passes: int, photons: int) -> Point:
    # `passes` is how often the source method sees the windows.
    train = {
        "epochs": epochs,
        "source_method": {"epochs": passes},
        "calibrate": {"photons": photons},
    }
    return Point(n, {"windows": windows}, train)


def _tomography(n: int, epochs: int, runs: int) -> Point:
    # The cell is checked as often as in the recipe, where 4 checks of 64 experiments come on 48
    # batches; here there are two, the first and the last.
    train = {"epochs": epochs, "cell": {"runs": runs, "valid": max(8, round(runs * 64 / 24))}}
    return Point(n, {}, train)


def _cavities(n: int, epochs: int, alarms: int) -> Point:
    return Point(n, {}, {"epochs": epochs, "alarm_images": alarms})


RECIPES: Mapping[str, Recipe] = {
    "cavities": Recipe(
        "images",
        "images",
        preparations=(Point(100), Point(400), Point(1600)),
        trainings=(
            _cavities(100, 1, 60),
            _cavities(400, 1, 60),
            _cavities(1600, 1, 60),
            _cavities(400, 3, 60),
            _cavities(100, 1, 360),
        ),
        preprocess_amounts=samples,
        train_amounts=cavities_amounts,
        shared=("passes",),
        history="unet",
        shards=100,
        held=cavities_held,
    ),
    "background": Recipe(
        "exposures",
        "sets",
        # So many windows are in each of these sets.
        preparations=(
            Point(5, {"windows": 400}),
            Point(40, {"windows": 400}),
            Point(160, {"windows": 400}),
            Point(40, {"windows": 4000}),
        ),
        trainings=(
            _background(40, 400, 1, 1, 500),
            _background(160, 400, 1, 1, 500),
            _background(160, 400, 4, 1, 500),
            _background(40, 4000, 1, 6, 500),
            _background(40, 400, 1, 1, 2500),
        ),
        preprocess_amounts=background_data,
        train_amounts=background_amounts,
        shared=("passes",),
        history="events",
        shards=10,
    ),
    "tomography": Recipe(
        "experiments",
        "",
        # Whole batches.
        preparations=(Point(1200), Point(4800), Point(9600)),
        trainings=(
            _tomography(1200, 1, 0),
            _tomography(4800, 1, 0),
            _tomography(4800, 4, 0),
            _tomography(9600, 1, 0),
            _tomography(1200, 1, 8),
        ),
        preprocess_amounts=samples,
        train_amounts=tomography_amounts,
        shared=(),
        history="2_qubits/corrector",
        shards=2400,
    ),
}


def quick(recipe: Recipe) -> Recipe:
    """The same without the largest sets: sooner, with lines that say less."""
    most = max(p.n for p in recipe.preparations)
    below = max(p.n for p in recipe.preparations if p.n < most)

    def smaller(points: Sequence[Point]) -> tuple[Point, ...]:
        kept: list[Point] = []
        for point in points:
            small = replace(point, n=min(point.n, below))
            if small not in kept:
                kept.append(small)
        return tuple(kept)

    return replace(
        recipe,
        preparations=smaller(recipe.preparations),
        trainings=smaller(recipe.trainings),
    )


@lru_cache
def _given(pipeline: str, config: Path | None) -> tuple[Path, ...]:
    sources = [ROOT / "pipelines" / pipeline / "config.yaml"]
    return (*sources, config) if config else tuple(sources)


def settings(pipeline: str, config: Path | None = None, **over: Mapping[str, Any]) -> Any:
    """Settings of the recipe, then of a user's file, then of what is measured.

    Parameters
    ----------
    pipeline
    config : Path, optional
        The user's YAML file.
    **over
        Stage -> settings.
    """
    model = get_pipeline(pipeline).settings_model()
    return load_settings(model, *_given(pipeline, config), json.loads(json.dumps(over)))


def mark(pipeline: str, config: Path | None = None) -> str:
    """Short hash of the settings that all measurements of a pipeline start from."""
    one = settings(pipeline, config, simulate={"n_samples": 1, "shard_size": 1})
    return digest(upstream(one, "train"))


def amounts(pipeline: str, stage: str, s: Any) -> Amounts:
    """What the processor time of a stage grows with: of one shard, or of the whole stage."""
    if stage == "simulate":
        return {"samples": float(min(s.simulate.shard_size, s.simulate.n_samples))}
    if stage == "preprocess":
        return RECIPES[pipeline].preprocess_amounts(s)
    return RECIPES[pipeline].train_amounts(s)


def memory_amounts(pipeline: str, stage: str, s: Any) -> Amounts:
    """What the memory of a stage grows with: preprocessing works by the shard."""
    if stage == "train":
        held = RECIPES[pipeline].held
        return {"samples": held(s)} if held else samples(s)
    return {"samples": float(min(s.simulate.shard_size, s.simulate.n_samples))}
