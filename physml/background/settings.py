"""Every setting of the background pipeline, with its unit and range.

Conditions are drawn anew for each exposure, from ranges that are wide on purpose: a network that
saw one camera in one orbit is worth nothing in the next. Equal ends of a range fix a condition.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat

from physml.config import PipelineSettings, ResourceSettings, Settings, SimulateBase, StageSettings
from physml.parallel.settings import PreprocessBase
from physml.training.settings import TrainBase, TrainResources

from .core.camera import CameraSettings

Fraction = Annotated[float, Field(ge=0, le=1)]
Retention = Annotated[float, Field(gt=0, lt=1)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the first end of a range is above the second")
    return value


Range = Annotated[tuple[float, float], Len(2, 2), AfterValidator(_ordered)]
Positive = Annotated[tuple[PositiveFloat, PositiveFloat], Len(2, 2), AfterValidator(_ordered)]
NotNegative = Annotated[
    tuple[NonNegativeFloat, NonNegativeFloat], Len(2, 2), AfterValidator(_ordered)
]


class ConditionsPrior(Settings):
    """What an exposure is taken under (prior.py)."""

    phi: Positive = Field((0.35, 0.8), description="Solar modulation, GV; 0.4 solar minimum")
    helium: Fraction = Field(0.10, description="Helium nuclei over protons, by number")
    standoff: Positive = Field(
        (3.0, 30.0), description="Slab to housing, above and below, mm; log-uniform"
    )
    gap: Positive = Field((3.0, 20.0), description="Slab to housing at the sides, mm; log-uniform")
    shield: Positive = Field(
        (5.0, 40.0), description="Thickness of the housing (Al), mm; log-uniform"
    )
    frame_time: Positive = Field(
        (0.4, 4.0), description="Times the detector's own frame time; log-uniform"
    )
    gain: Positive = Field((0.97, 1.03), description="Measured over true energy")
    column_gain: NotNegative = Field(
        (0.0, 0.003), description="Scatter of the gain from column to column"
    )
    offset: NotNegative = Field(
        (0.0, 0.004), description="Scatter of the pixels' offsets that is left, keV"
    )
    noise: Positive = Field((0.8, 2.0), description="Times the detector's own noise; log-uniform")
    threshold: Positive = Field(
        (1.0, 3.0), description="Times the detector's own split threshold; log-uniform"
    )
    nominal: Fraction = Field(
        0.5, description="Share of exposures whose noise and threshold are the detector's own"
    )
    lowest_threshold: float = Field(
        4.2, description="Split threshold in units of the noise, at least", gt=2
    )
    cloud: Positive = Field((0.8, 2.0), description="Times the detector's own sigma0; log-uniform")
    bias: Positive = Field((0.6, 1.6), description="Times the detector's own voltage; log-uniform")
    bad: Fraction = Field(0.3, description="Share of exposures with dead columns")
    bad_columns: int = Field(6, description="Largest number of dead columns", ge=1)
    flat: NotNegative = Field(
        (0.0, 4e-4),
        description="Events without context, flat in energy (scattered hard photons), 1/cm2/s/keV",
    )
    photons: Positive = Field((0.1, 2.0), description="X-rays a frame; log-uniform")
    bright: Fraction = Field(0.10, description="Share of exposures of a bright source")
    bright_photons: Positive = Field((2.0, 10.0), description="X-rays a frame there; log-uniform")
    spectrum: Range = Field((-0.5, 2.0), description="Photon index of the X-rays")
    energies: Positive = Field((0.2, 15.0), description="Energies of the X-rays, keV")
    spot: Fraction = Field(0.3, description="Share of exposures of a point-like source")
    spot_share: NotNegative = Field((0.3, 1.0), description="Share of the X-rays that are in it")
    spot_width: Positive = Field((0.8, 8.0), description="Its width, pixels; log-uniform")


class SimulateSettings(SimulateBase):
    """Simulated exposures: runs of consecutive frames under one set of conditions."""

    n_samples: int = Field(2_400, description="Number of exposures", gt=0)
    shard_size: int = Field(40, description="Exposures a shard", gt=0)
    detector: str = Field("wfi", description="Name of a detector, or a YAML file of one")
    hits: int = Field(
        5_000, description="Cosmic rays through the silicon in an exposure, about", ge=1
    )
    keep: float = Field(
        0.01, description="Share that is kept of the frames without a candidate event", gt=0, le=1
    )
    thorough: bool = Field(
        False,
        description="Work out frames in full also where nothing but tracks of primaries is in them",
    )
    conditions: ConditionsPrior = ConditionsPrior()
    camera: CameraSettings | None = Field(
        None,
        description="What is around and between detectors, and how they are read; by default one "
        "detector alone in a housing, read at once",
    )
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=2500, runtime_min=60, gpu=0)


class PreprocessSettings(PreprocessBase):
    """Event finding, inputs and truth of each event and cluster, split by exposure."""

    limit: int = Field(
        24, description="Events and clusters that are looked at together, at most", ge=4, le=64
    )
    valid: Fraction = Field(0.12, description="Share of exposures kept for validation")
    test: Fraction = Field(0.08, description="Share of exposures kept for testing")
    windows: int = Field(
        30_000, description="64 x 64 windows for the source method, all splits together", ge=0
    )
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=6000, runtime_min=120, gpu=0)


class NetworkSettings(Settings):
    """Patch network and set transformer."""

    width: int = Field(64, description="Features of an event or cluster", ge=4)
    heads: int = Field(8, description="Attention heads; divides the width", ge=1)
    blocks: int = Field(2, description="Attention blocks", ge=1)
    pair_width: int = Field(32, description="Features of a pair of clusters", ge=2)
    patch_channels: int = Field(8, description="Channels of the patch network", ge=2)
    dropout: float = Field(0.05, description="Share of features dropped in training", ge=0, lt=1)


class LossSettings(Settings):
    """Weights of the parts of the loss beside that of the events, which is 1."""

    cluster: float = Field(0.1, description="Clusters that hold no valid event", ge=0)
    frame: float = Field(0.1, description="Three classes of the frame", ge=0)
    largest_weight: float = Field(
        30.0, description="Weights of samples are clipped at this many times their mean", gt=1
    )


class AugmentSettings(Settings):
    """What is varied at each use of a training frame, so that other detectors are no surprise.

    Symmetries of the square are not among it: inputs do not change under them.
    """

    move: Fraction = Field(
        0.5, description="Chance of each X-ray to lie at another's place: it knows no particle"
    )
    gain: float = Field(0.03, description="Scatter of a common factor on all energies", ge=0)
    rate: float = Field(
        0.1,
        description="Scatter of the log10 of the particle rate, by which exposures would be known",
        ge=0,
    )
    standoff: float = Field(
        0.08, description="Scatter of the log10 of the stand-off: it is measured, not known", ge=0
    )
    threshold: Range = Field(
        (0.03, 0.4),
        description="Clusters that are no event vanish below an energy from this range, keV",
    )
    thin: Fraction = Field(0.3, description="Share of frames in which that happens")
    drop: Fraction = Field(0.03, description="Chance of each of the others to vanish")
    alone: Fraction = Field(
        0.1, description="Share of frames whose events are seen without anything around them"
    )


class SourceMethodSettings(TrainBase):
    """Training of the network of Wilkins et al. (2020) on 64 x 64 frames, for comparison."""

    epochs: int = Field(6, description="Passes over the windows; 0 leaves it out", ge=0)
    batch_size: int = Field(64, description="Windows a step", gt=0)
    learning_rate: float = Field(2e-3, description="Peak learning rate", gt=0)
    widths: tuple[int, ...] = Field(
        (16, 32, 32), description="Channels of the convolutions, each followed by 2 x 2 pooling"
    )
    hidden: int = Field(64, description="Units of the fully connected layer", ge=1)


class CalibrateSettings(Settings):
    """Thresholds that keep what was promised."""

    retention: tuple[float, ...] = Field(
        (0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999),
        description="Retentions that thresholds are made for; between them is interpolated",
    )
    energies: tuple[float, ...] = Field(
        (0.2, 0.4, 0.7, 1.2, 2.0, 3.5, 5.0, 7.0, 10.0, 15.0),
        description="Edges of the energy bins in which a retention is kept, keV",
    )
    standoffs: tuple[PositiveFloat, ...] = Field(
        (3.8, 6.0, 9.5, 15.0, 24.0),
        description="Stand-offs that cuts are made for, mm; that of an observation is one of them",
        min_length=1,
    )
    photons: int = Field(
        10_000,
        description="Fewest photons to each bin of energy and frame rate, for each stand-off",
        gt=0,
    )
    observations: int = Field(
        30,
        description="Simulated observations on which it is found how far the measured stand-off "
        "and the cuts can be taken at their word; 0 leaves that out",
        ge=0,
    )
    observation_hits: int = Field(
        2_500, description="Cosmic rays through the silicon in each of them", ge=50
    )
    observation_events: int = Field(
        2_500, description="Events of each that are looked at, at most", ge=1
    )


class TrainSettings(TrainBase):
    """Training of the network, then calibration and thresholds, then the source method."""

    epochs: int = Field(8, description="Passes over the training set", gt=0)
    batch_size: int = Field(256, description="Frames a step", gt=0)
    learning_rate: float = Field(3e-3, description="Peak learning rate", gt=0)
    channels_last: bool = Field(False, description="Memory order of convolutions")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Arithmetic of the network; weights and losses stay in float32"
    )
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    source_method: SourceMethodSettings = SourceMethodSettings()
    resources: TrainResources = TrainResources(threads=1, mem_mb=6000, runtime_min=120, gpu=0)


class EvaluateSettings(StageSettings):
    """Evaluation on the test split, on frozen sets, and on the Geant4 set where it is there."""

    exposures: int = Field(
        24, description="Exposures of each frozen set, about 65 survivors of grading each", ge=2
    )
    stress_exposures: int = Field(
        6, description="Exposures of each condition of the stress list; 0 leaves it out", ge=0
    )
    rival_exposures: int = Field(
        280, description="Exposures of each geometry that rivals learn from", ge=3
    )
    hits: int = Field(4_000, description="Cosmic rays through the silicon in an exposure", ge=50)
    housing_events: int = Field(
        15_000, description="Events of a set that the stand-off is measured on, at most", ge=1
    )
    geant4: bool = Field(
        True, description="Use the Geant4 set too, where it is found in the shared data"
    )
    geant4_seconds: float = Field(
        1080.0, description="Exposure taken from the Geant4 set, s (it has 1,080)", gt=0, le=1080
    )
    retention: Annotated[tuple[Retention, ...], Len(1)] = Field(
        (0.99, 0.98, 0.95, 0.90), description="Shares of X-rays that are promised to stay"
    )
    bootstrap: int = Field(400, description="Resamples of frames for the intervals", ge=50)
    # Matrices are small: a second thread waits more than it works.
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=6000, runtime_min=120, gpu=0)


class ReportSettings(StageSettings):
    """The shipped weights on an example observation."""

    example: Literal["extended_source"] = Field(
        "extended_source", description="Simulated observation that is cleaned"
    )
    seconds: float = Field(60.0, description="Its exposure, s", gt=0)
    retention: Retention = Field(0.98, description="Share of X-rays that is promised to stay")
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=4000, runtime_min=30, gpu=0)


class BackgroundSettings(PipelineSettings):
    """Settings of the background pipeline."""

    seed: int = Field(20201203, description="Root of all random streams", ge=0)
    simulate: SimulateSettings = SimulateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
