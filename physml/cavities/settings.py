"""Every setting of the cavities pipeline, with its unit and range.

Priors are wide on purpose: what they leave out, the network never sees. Ranges start from those
read off the figures of Plsek et al. (2024, MNRAS 527, 3315) and were widened towards fainter,
smaller, partly emptied and displaced cavities.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import Field

from physml.config import PipelineSettings, ResourceSettings, Settings, SimulateBase, StageSettings
from physml.parallel.settings import PreprocessBase
from physml.training.settings import TrainBase, TrainResources

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[float, float], Len(2, 2)]


class HaloPrior(Settings):
    """Gas halo: one or two components (profiles.py)."""

    family: Literal["beta", "vikhlinin"] = Field(
        "beta", description="Profile family; 'vikhlinin' (cuspy) is held back for testing"
    )
    double: Fraction = Field(0.65, description="Share of double beta models")
    single_phase: Fraction = Field(0.4, description="Share of doubles that add densities")
    core_radius: Range = Field((0.3, 40.0), description="Core radius of a single model, pixel")
    beta: Range = Field((0.30, 0.90), description="Slope of a single model")
    inner_core_radius: Range = Field((0.3, 30.0), description="Inner core of a double, pixel")
    inner_beta: Range = Field((0.35, 1.3), description="Inner slope of a double")
    core_ratio: Range = Field((2.5, 300.0), description="Outer over inner core radius")
    amplitude_ratio: Range = Field((1e-4, 1.0), description="Outer over inner central brightness")
    outer_beta: Range = Field((0.28, 2.5), description="Outer slope of a double")
    ellipticity: Range = Field((0.0, 0.40), description="1 - minor/major, in the sky")
    depth_ratio: Range = Field((0.7, 1.3), description="Line-of-sight over major axis")


class CavityPrior(Settings):
    """Cavities: ellipsoids in pairs or alone (geometry.py)."""

    none: Fraction = Field(0.40, description="Share of images without cavities")
    number: dict[int, float] = Field(
        {1: 0.16, 2: 0.54, 3: 0.09, 4: 0.14, 5: 0.03, 6: 0.04},
        description="Relative frequency of the number of cavities, where there are any",
    )
    distance: Range = Field((6.0, 60.0), description="Distance of the first from the centre, pixel")
    radius: Range = Field((3.0, 40.0), description="Radius sqrt(ab), pixel")
    radius_over_distance: float = Field(0.62, description="Median of R / d", gt=0)
    radius_scatter: float = Field(0.27, description="Scatter of ln(R / d)", ge=0)
    ellipticity: Range = Field((0.0, 0.65), description="1 - b/a, in the cavity's own plane")
    line_of_sight: Annotated[float, Field(ge=0, le=90)] = Field(
        25.0, description="Scatter of the angle of d out of the plane of the sky, deg"
    )
    line_of_sight_max: Annotated[float, Field(ge=0, le=90)] = Field(
        65.0, description="Largest such angle, deg"
    )
    full: Fraction = Field(0.55, description="Share of systems with fully emptied cavities")
    emptied: Range = Field((0.3, 1.0), description="Emptied fraction of the others")
    rims: Fraction = Field(0.30, description="Share of systems with bright rims")
    rim_width: Range = Field((0.1, 0.3), description="Rim thickness over cavity radius")
    rim_excess: Range = Field((0.03, 0.45), description="Density excess at the cavity's wall")
    floor: Fraction = Field(0.02, description="Smallest decrement that is labelled")


class NuisancePrior(Settings):
    """Structure that is no cavity, and sources."""

    sloshing: Fraction = Field(0.40, description="Share of images with a sloshing spiral")
    slosh_amplitude: Range = Field((0.01, 0.15), description="Density amplitude h")
    slosh_height: Range = Field((8.0, 60.0), description="Height H along the line of sight, pixel")
    slosh_winding: Range = Field((0.6, 4.0), description="Winding k of phi - k ln R")
    slosh_sharp: Fraction = Field(0.4, description="Share of spirals that are sharp cold fronts")
    front: Fraction = Field(0.18, description="Share of images with a shock or merger edge")
    front_jump: Range = Field((1.05, 1.6), description="Density jump C")
    front_radius: Range = Field((8.0, 60.0), description="Radius of the edge, pixel")
    clump: Fraction = Field(0.10, description="Share of images with an infalling clump")
    clump_flux: Range = Field((0.005, 0.15), description="Flux of the clump over the halo's")
    agn: Fraction = Field(0.30, description="Share of images with a central point source")
    agn_flux: Range = Field((0.0005, 0.05), description="Its flux over the halo's")
    jet: Fraction = Field(0.06, description="Share of images with a knotty jet")
    jet_flux: Range = Field((0.001, 0.02), description="Flux of the jet over the halo's")
    sources: Fraction = Field(0.45, description="Share of images with point sources")
    sources_max: int = Field(15, description="Largest number of point sources", ge=0)
    source_found: Fraction = Field(
        0.93, description="Share of the detectable point sources that the observer masked"
    )


class StructurePrior(Settings):
    """Large-scale structure of the gas that is no cavity (structure.py)."""

    share: Fraction = Field(0.5, description="Share of clusters with such structure")
    harmonic: Range = Field(
        (0.02, 0.4), description="Largest amplitude of harmonics m = 1, 2, 3 of ln S"
    )
    spiral: Range = Field((0.02, 0.25), description="Amplitude of a wide spiral of ln S")
    edge: Range = Field((0.03, 0.5), description="Jump of ln S at a cold front or merger edge")
    turbulence: Range = Field((0.01, 0.1), description="Scatter of a random field of ln S")


class MapsPrior(Settings):
    """Exposure and background maps as an observer has them (maps.py)."""

    round: Fraction = Field(0.12, description="Share of images with a round field of view")
    missing: Fraction = Field(
        0.12, description="Share of images whose map only says where anything was observed"
    )
    wrong: Fraction = Field(0.3, description="Share of images whose maps are somewhat wrong")
    exposure_error: float = Field(0.03, description="Scatter of ln(exposure) of these", ge=0)
    background_error: float = Field(0.15, description="Scatter of ln(background) of these", ge=0)


class InstrumentPrior(Settings):
    """Telescope and exposure (instrument.py)."""

    psf_fwhm: Range = Field((0.5, 3.5), description="Core FWHM on axis, pixel")
    psf_growth: Range = Field((0.0, 1.0), description="Relative FWHM growth to the corner")
    psf_wings: Range = Field((0.0, 0.35), description="Flux in King wings")
    exposure: Fraction = Field(0.45, description="Share of images with a structured exposure map")
    gaps: Fraction = Field(0.5, description="Share of these with chip gaps")
    dead_columns: Fraction = Field(0.25, description="Share of these with dead columns")
    edge: Fraction = Field(0.15, description="Share of these with the field's edge in the image")
    counts: Range = Field((2e3, 3e6), description="Expected counts of the image")
    background: Range = Field((0.002, 0.5), description="Background's share of the counts")
    offset: Fraction = Field(0.12, description="Share of images centred off the cluster")
    offset_max: float = Field(14.0, description="Largest such offset, pixel", ge=0)


class SimulateSettings(SimulateBase):
    """Simulated clusters."""

    n_samples: int = Field(80_000, description="Number of images", gt=0)
    shard_size: int = Field(2_000, description="Images a shard", gt=0)
    image_size: int = Field(128, description="Side of an image, pixel", ge=64, multiple_of=16)
    images_per_cluster: int = Field(
        1, description="Observations of one cluster, at other depths and fields", gt=0
    )
    nodes: int = Field(16, description="Gauss-Legendre nodes on a chord", ge=4, le=64)
    halo: HaloPrior = HaloPrior()
    cavities: CavityPrior = CavityPrior()
    nuisance: NuisancePrior = NuisancePrior()
    structure: StructurePrior = StructurePrior()
    maps: MapsPrior = MapsPrior()
    instrument: InstrumentPrior = InstrumentPrior()
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=3000, runtime_min=60, gpu=0)


class PreprocessSettings(PreprocessBase):
    """Centring, smooth model, split."""

    batch: int = Field(250, description="Images fitted together", gt=0)
    valid: Fraction = Field(0.04, description="Share of clusters kept for validation")
    test: Fraction = Field(0.04, description="Share of clusters kept for testing")
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=8000, runtime_min=120, gpu=0)


class NetworkSettings(Settings):
    """U-Net and decoder."""

    widths: tuple[int, ...] = Field(
        (32, 64, 96, 128), description="Channels at 1/2, 1/4, 1/8 and 1/16 resolution"
    )
    decoder_widths: tuple[int, ...] = Field((32, 64, 96), description="Channels of the ResNet")
    decoder_crop: int = Field(32, description="Side of the decoder's crop, resampled pixels", gt=8)


class LossSettings(Settings):
    """Weights of the parts of the U-Net's loss."""

    dice: float = Field(0.5, description="Soft Dice over binary cross-entropy", ge=0)
    centre: float = Field(1.0, description="Centre heat map", ge=0)
    size: float = Field(0.05, description="Sizes at cavity pixels, Gaussian likelihood", ge=0)


class DecoderSettings(TrainBase):
    """Training of the second stage, which decodes each candidate's radius."""

    share: Fraction = Field(
        0.25, description="Share of the training clusters that the U-Net never sees"
    )
    epochs: int = Field(8, description="Passes over the candidates", gt=0)
    batch_size: int = Field(128, description="Candidates a step", gt=0)
    precision: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="Arithmetic of the network; weights and loss stay in float32"
    )
    learning_rate: float = Field(2e-3, description="Peak learning rate", gt=0)


class TrainSettings(TrainBase):
    """Training of the U-Net, then of the decoder, then calibration."""

    epochs: int = Field(7, description="Passes over the training set", gt=0)
    batch_size: int = Field(32, description="Images a step", gt=0)
    precision: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="Arithmetic of the networks; weights and losses stay in float32"
    )
    learning_rate: float = Field(2e-3, description="Peak learning rate", gt=0)
    rethin: Fraction = Field(
        0.4, description="Share of images thinned to fewer counts anew at each epoch"
    )
    flatten: Fraction = Field(
        0.15, description="Share of images divided by their exposure map at each epoch"
    )
    fresh: bool = Field(
        False,
        description="Draw new images at each step, rendered where the network is, instead of "
        "reading the prepared ones again; validation and decoder keep theirs",
    )
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    decoder: DecoderSettings = DecoderSettings()
    false_alarm: Fraction = Field(
        0.05, description="Cavity-less images with a false cavity at the shipped threshold"
    )
    alarm_images: int = Field(
        3000, description="Cavity-less images simulated to set the thresholds", gt=0
    )
    merging_images: int = Field(
        1200,
        description="Images wider than a field simulated to fit how binnings are merged; a quarter "
        "as many of one field fit how radii of network and likelihood are joined",
        gt=0,
    )
    resources: TrainResources = TrainResources(threads=1, mem_mb=16000, runtime_min=480, gpu=1)


class EvaluateSettings(StageSettings):
    """Evaluation on the test split and on the frozen sets."""

    n_images: int = Field(200, description="Images of each evaluation set", gt=0)
    bootstrap: int = Field(1000, description="Resamples for the intervals", gt=0)
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=6000, runtime_min=120, gpu=0)


class ReportSettings(StageSettings):
    """The shipped weights on an example observation."""

    example: str = Field("ngc5813", description="Name in data/manifest.csv of the observation")
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=6000, runtime_min=30, gpu=0)


class CavitiesSettings(PipelineSettings):
    """Settings of the cavities pipeline."""

    seed: int = Field(20171203, description="Root of all random streams", ge=0)
    simulate: SimulateSettings = SimulateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
