"""Settings of preprocessing and training."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import Field, PositiveFloat

from physml.config import ResourceSettings, Settings
from physml.parallel.settings import PreprocessBase
from physml.training.settings import TrainBase, TrainResources

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[float, float], Len(2, 2)]


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
