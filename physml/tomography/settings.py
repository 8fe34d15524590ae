"""Every setting of the tomography pipeline, with its unit and range."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import AfterValidator, Field, model_validator

from physml.config import PipelineSettings, ResourceSettings, Settings, SimulateBase, StageSettings
from physml.parallel.settings import PreprocessBase
from physml.provenance import sha256
from physml.training.settings import TrainBase, TrainResources

Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0)]
#: Word for the filter alone as the designer of measurements.
FILTER = "none"
Qubits = Annotated[int, Field(ge=1, le=5)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the first end of a range is above the second")
    return value


def _once(value: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(value)) != len(value):
        raise ValueError("each number of qubits is named once")
    return value


Flips = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=0.5)], Annotated[float, Field(gt=0, lt=0.5)]],
    Len(2, 2),
    AfterValidator(_ordered),
]


def _increasing(value: tuple[float, ...]) -> tuple[float, ...]:
    if list(value) != sorted(set(value)):
        raise ValueError("the levels have to increase")
    return value


Levels = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], Len(2), AfterValidator(_increasing)
]


class MixtureSettings(Settings):
    """Shares of the ensembles that states are drawn from (states.py); they need not sum to 1."""

    any_rank: Share = Field(0.19, description="Any rank, spectra spread over up to four decades")
    noisy: Share = Field(0.16, description="Pure states after a noise channel on each qubit")
    rank_adaptive: Share = Field(0.1, description="From Hilbert-Schmidt to nearly pure states")
    hs: Share = Field(0.3, description="Hilbert-Schmidt measure")
    bures: Share = Field(0.05, description="Bures measure")
    pure: Share = Field(0.07, description="Haar-random pure states")
    pure_white: Share = Field(0.13, description="Pure states with white noise, log-uniform")
    thermal: Share = Field(0.0, description="Gibbs states of random Hamiltonians")
    w: Share = Field(0.0, description="W states, local unitaries, white noise")
    ghz: Share = Field(0.0, description="GHZ states, local unitaries, white noise")

    @model_validator(mode="after")
    def _some(self) -> MixtureSettings:
        if not sum(self.parts.values()) > 0:
            raise ValueError("at least one share must be above 0")
        return self

    @property
    def parts(self) -> dict[str, float]:
        """Share of each ensemble, in the order of their numbers in a shard."""
        return {name: float(getattr(self, name)) for name in type(self).model_fields}


class DesignSettings(Settings):
    """Shares of the designs of measurements; they need not sum to 1.

    A design that there is none of for some number of qubits has no share there.
    """

    adaptive: Share = Field(0.35, description="Adaptive bases of all qubits")
    product: Share = Field(0.25, description="Adaptive bases of each qubit")
    random: Share = Field(0.05, description="Random bases of all qubits")
    pauli: Share = Field(0.25, description="Pauli settings")
    mub: Share = Field(0.05, description="Mutually unbiased bases; of at most 2 qubits")
    sic: Share = Field(0.05, description="Symmetric informationally complete measurement")

    @model_validator(mode="after")
    def _some(self) -> DesignSettings:
        if not sum(v for k, v in self.parts.items() if k != "mub") > 0:
            raise ValueError("at least one share besides that of mub must be above 0")
        return self

    @property
    def parts(self) -> dict[str, float]:
        """Share of each design by its name in an experiment, in the order of their numbers."""
        names = {"adaptive": "global", "random": "random_global"}
        fields = type(self).model_fields
        return {names.get(name, name): float(getattr(self, name)) for name in fields}


class SimulateSettings(SimulateBase):
    """Whole experiments: random states, designs of measurements, readout errors, all counts."""

    n_samples: int = Field(110_400, description="Number of experiments", gt=0)
    shard_size: int = Field(
        4_800, description="Experiments in a file, whole batches; changes no experiment", gt=0
    )
    batch: int = Field(
        1_200,
        description="Experiments that are simulated together, from one stream of random numbers; "
        "in others the same states meet other luck",
        gt=0,
    )
    n_qubits: Annotated[tuple[Qubits, ...], Len(1), AfterValidator(_once)] = Field(
        (1, 2), description="Numbers of qubits; the experiments take turns"
    )
    mixture: MixtureSettings = MixtureSettings()
    designs: DesignSettings = DesignSettings()
    designer: str | None = Field(
        None,
        description="Who chooses adaptive bases: a file of weights, or none for the filter without "
        "a network; null: the shipped weights",
    )
    designer_sha256: str | None = Field(
        None, description="SHA-256 of that file, found when the settings are read"
    )
    copies: int = Field(300_000, description="Copies of an experiment", ge=100, le=10**9)
    readout: Fraction = Field(0.2, description="Share of laboratories with readout errors")
    flips: Flips = Field(
        (1e-3, 5e-2), description="Their chance to misread a qubit, each way; log-uniform"
    )
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=1500, runtime_min=60, gpu=0)

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, given: Any) -> Any:
        """Note which weights design: other weights under the same name are other experiments."""
        path = given.get("designer") if isinstance(given, dict) else None
        if not isinstance(path, str) or path == FILTER or not Path(path).is_file():
            return given
        found, known = sha256(path), given.get("designer_sha256")
        if known not in (None, found):
            raise ValueError(f"{path} has SHA-256 {found}, not {known}: it was written anew")
        return {**given, "designer_sha256": found}

    @model_validator(mode="after")
    def _whole_batches(self) -> SimulateSettings:
        if self.shard_size < self.n_samples and self.shard_size % self.batch:
            raise ValueError(
                f"shard_size: expected a multiple of batch, {self.batch}, found {self.shard_size}"
            )
        return self


class PreprocessSettings(PreprocessBase):
    """Replay of the experiments: what an estimator sees on the way, split by experiment."""

    valid: Fraction = Field(0.03, description="Share of experiments kept for validation")
    calibrate: Fraction = Field(0.3, description="Share of experiments kept for the calibration")
    test: Fraction = Field(0.02, description="Share of experiments kept for testing")
    thin: int = Field(
        6,
        description="One of so many moments of an experiment is learned from: those of one share "
        "their truth, which a network learns by heart",
        ge=1,
    )
    whole: Fraction = Field(
        0.15,
        description="Share of the experiments of the calibration whose moments are all kept, "
        "besides each second one: what a stop means is learned from runs",
    )
    first: int = Field(10, description="Copies before which nothing is learned", ge=0)
    batch: int = Field(
        2_400, description="Experiments a task works on; changes no result but for rounding", gt=0
    )
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=2500, runtime_min=60, gpu=0)

    @model_validator(mode="after")
    def _some_left(self) -> PreprocessSettings:
        if self.valid + self.calibrate + self.test >= 1:
            raise ValueError(
                "nothing is left for training: valid + calibrate + test must be below 1"
            )
        return self


class NetworkSettings(Settings):
    """Size of the corrector (corrector.py)."""

    width: int = Field(128, description="Numbers in a layer", ge=8)
    blocks: int = Field(3, description="Residual blocks", ge=1)


class CalibrateSettings(Settings):
    """Quantiles of radii and of errors of functionals, learned from held-out experiments."""

    levels: Levels = Field(
        (0.1, 0.25, 0.5, 0.68, 0.8, 0.9, 0.95, 0.99), description="Levels of the regions"
    )
    tails: Levels = Field(
        (0.005, 0.025, 0.05, 0.1, 0.16, 0.25, 0.5, 0.75, 0.84, 0.9, 0.95, 0.975, 0.995),
        description="Quantiles of the errors of functionals",
    )
    width: int = Field(64, description="Numbers in a layer of each network", ge=4)
    epochs: int = Field(40, description="Passes over the experiments", gt=0)
    functionals: int = Field(
        100_000, description="Moments that errors of functionals are learned from, at most", gt=0
    )


class CellSettings(Settings):
    """The particle cell (cell.py) and its training (cell_training.py)."""

    width: int = Field(32, description="Numbers in a layer of both networks", ge=4)
    rounds: int = Field(2, description="Rounds of moves a block", ge=1)
    proposals: int = Field(3, description="Moves of a particle in a round", ge=1)
    n_particles: int = Field(60, description="Particles while training", ge=2)
    experiments: int = Field(32, description="Experiments followed at once", gt=0)
    runs: int = Field(
        48, description="Batches of experiments that are learned from; 0: there is no cell", ge=0
    )
    copies: int = Field(30_000, description="Largest number of copies of an experiment", ge=100)
    learning_rate: float = Field(3e-3, description="Peak learning rate of Adam", gt=0)
    average: float = Field(0.98, description="Decay per step of the averaged weights", ge=0, lt=1)
    valid: int = Field(64, description="Experiments for validation", gt=0)
    validate_every: int = Field(16, description="Batches between validations", gt=0)


class TrainSettings(TrainBase):
    """Training of the corrector on what experiments show on the way; then calibration."""

    epochs: int = Field(3, description="Passes over the moments", gt=0)
    batch_size: int = Field(1_024, description="Moments of experiments a step", gt=0)
    learning_rate: float = Field(3e-3, description="Peak learning rate", gt=0)
    weight_decay: float = Field(1e-4, description="AdamW's weight decay", ge=0)
    warmup_epochs: float = Field(0.3, description="Length of the linear warm-up [epochs]", ge=0)
    ema_decay: float = Field(0.998, description="Decay per step of the averaged weights", ge=0)
    channels_last: bool = Field(False, description="Memory order of convolutions")
    network: NetworkSettings = NetworkSettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    cell: CellSettings = CellSettings()
    resources: TrainResources = TrainResources(threads=1, mem_mb=2500, runtime_min=120, gpu=0)


#: Rows that the learned estimator can have: its name and the design of the measurements.
NEURAL = tuple(
    f"neural, {design}"
    for design in (
        *("global", "product", "random_global", "random_product"),
        *("pauli", "mub", "sic", "sic_joint", "pairwise"),
    )
)
#: Rows that the particle cell can have, where the weights have one.
CELL = tuple(f"particle cell, {design}" for design in ("global", "product", "pauli", "mub", "sic"))
#: Rows of everybody else, see baselines.py.
RIVALS = (
    "linear, pauli",
    "maximum likelihood, pauli",
    "two-stage, global",
    "two-stage, product",
    "particle filter (HS), global",
    "particle filter, global",
    "particle filter, product",
)
#: Particle filters whose prior is a mixture of ensembles, as that of the training is.
INFORMED = ("particle filter (mixed prior), global", "particle filter (mixed prior), product")
COMPARED = ("neural, global", "neural, product", "neural, pauli", *RIVALS)


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    all_names = (*NEURAL, *CELL, *RIVALS, *INFORMED)
    unknown = sorted(set(names) - set(all_names))
    if unknown:
        raise ValueError(f"unknown methods {unknown}: known are {', '.join(all_names)}")
    if len(set(names)) != len(names):
        raise ValueError("each method is named once")
    return names


class EvaluateSettings(StageSettings):
    """Infidelity, coverage and latency of all methods on the frozen lists."""

    states: int = Field(160, description="States of each frozen list", ge=2, le=160)
    copies: int = Field(100_000, description="Copies of an experiment", ge=100)
    methods: Annotated[tuple[str, ...], Len(1), AfterValidator(_known)] = Field(
        COMPARED, description="Estimators that are compared, each with its measurements"
    )
    level: float = Field(0.9, description="Level of the regions", gt=0, lt=1)
    bootstrap: int = Field(400, description="Resamples of states for the intervals", ge=50)
    test: int = Field(
        160, description="States of the test split that the learned estimator is judged on", ge=2
    )
    batch: int = Field(
        40, description="States that are worked on together; others meet other luck", gt=0
    )
    timed: int = Field(
        100_000, description="Copies of the experiment whose updates are timed", ge=100
    )
    resources: ResourceSettings = ResourceSettings(threads=2, mem_mb=3000, runtime_min=360, gpu=0)


class ReportSettings(StageSettings):
    """The shipped weights on an example experiment."""

    example: Literal["auto", "twin_photons", "simulated"] = Field(
        "auto",
        description="Measured photon pairs, or simulated ones; auto: simulated ones where the data "
        "are not at hand",
    )
    copies: int = Field(10_000, description="Photon pairs of the simulated example", ge=100)
    level: float = Field(0.9, description="Level of region and intervals", gt=0, lt=1)
    resources: ResourceSettings = ResourceSettings(threads=1, mem_mb=2000, runtime_min=30, gpu=0)


class TomographySettings(PipelineSettings):
    """Settings of the tomography pipeline."""

    seed: int = Field(20210607, description="Root of all random streams", ge=0)
    simulate: SimulateSettings = SimulateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
