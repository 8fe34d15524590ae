"""Settings of the training: histories of experiments, the network, calibration."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Len
from pydantic import Field, model_validator

from physml.config import Settings
from physml.training.settings import TrainBase, TrainResources

__all__ = [
    "CalibrateSettings",
    "CellSettings",
    "HistorySettings",
    "NetworkSettings",
    "TrainSettings",
]

Fraction = Annotated[float, Field(ge=0, le=1)]


class NetworkSettings(Settings):
    """Size of the corrector (corrector.py)."""

    width: int = Field(128, description="Numbers in a layer", ge=8)
    blocks: int = Field(3, description="Residual blocks", ge=1)


class HistorySettings(Settings):
    """Simulated experiments that the network learns from."""

    rounds: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Len(1)] = Field(
        (500, 2_000, 40_000),
        description="Experiments a round; each is measured as the network of the last one designs",
    )
    valid: int = Field(400, description="Experiments for validation", gt=0)
    copies: int = Field(300_000, description="Copies of an experiment", ge=100)
    thin: int = Field(
        6,
        description="One of so many moments of an experiment is learned from: those of one share "
        "their truth, which a network learns by heart",
        ge=1,
    )
    product: Fraction = Field(0.30, description="Share of experiments with product bases")
    random: Fraction = Field(0.05, description="Share with random bases of all qubits")
    pauli: Fraction = Field(0.10, description="Share with static Pauli settings")
    first: int = Field(10, description="Copies before which nothing is learned", ge=0)

    @model_validator(mode="after")
    def _some_left(self) -> HistorySettings:
        if self.product + self.random + self.pauli > 1:
            raise ValueError("the shares of the designs add up to more than 1")
        return self


class CalibrationDesigns(Settings):
    """Shares of the designs of measurements (run.py); they need not sum to 1."""

    adaptive: float = Field(0.3, description="Adaptive bases of all qubits", ge=0)
    product: float = Field(0.2, description="Adaptive bases of each qubit", ge=0)
    pauli: float = Field(0.25, description="Pauli settings", ge=0)
    random: float = Field(0.05, description="Random bases of all qubits", ge=0)
    mub: float = Field(0.1, description="Mutually unbiased bases", ge=0)
    sic: float = Field(0.1, description="Symmetric informationally complete measurement", ge=0)


class CalibrationShares(Settings):
    """Shares of the ensembles that regions are calibrated on; they need not sum to 1."""

    mixture: float = Field(0.25, description="The mixture of the training", ge=0)
    hs: float = Field(0.15, description="Hilbert-Schmidt measure", ge=0)
    pure: float = Field(0.15, description="Haar-random pure states", ge=0)
    noisy: float = Field(0.45, description="Pure states with white noise", ge=0)


class CalibrateSettings(Settings):
    """Experiments that regions are calibrated on, and their quantiles (calibrate.py)."""

    histories: int = Field(16_000, description="Experiments to calibrate with", ge=40)
    copies: int = Field(300_000, description="Copies of an experiment", ge=100)
    designs: CalibrationDesigns = CalibrationDesigns()
    shares: CalibrationShares = CalibrationShares()
    noise: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Len(1)] = Field(
        (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5), description="Shares of the white noise"
    )
    levels: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Len(2)] = Field(
        (0.1, 0.25, 0.5, 0.68, 0.8, 0.9, 0.95, 0.99), description="Levels of the regions"
    )
    width: int = Field(64, description="Numbers in a layer of the network", ge=4)
    epochs: int = Field(40, description="Passes over the experiments", gt=0)
    balance: float = Field(0.5, description="Push of ensembles to the same coverage; 0: none", ge=0)
    bins: int = Field(
        1,
        description="Bins of mixedness at each number of copies that are corrected apart; more "
        "than one works against the balance of the ensembles",
        ge=1,
    )

    @model_validator(mode="after")
    def _possible(self) -> CalibrateSettings:
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError("the levels have to increase")
        for name, shares in (("designs", self.designs), ("shares", self.shares)):
            if not sum(shares.model_dump().values()) > 0:
                raise ValueError(f"at least one of the {name} has to be above 0")
        return self


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
    """Training of the corrector on histories, round by round; then calibration."""

    epochs: int = Field(3, description="Passes over the last round", gt=0)
    first_epochs: int = Field(2, description="Passes over each round before", gt=0)
    batch_size: int = Field(1_024, description="Moments of experiments a step", gt=0)
    learning_rate: float = Field(3e-3, description="Peak learning rate", gt=0)
    weight_decay: float = Field(1e-4, description="AdamW's weight decay", ge=0)
    warmup_epochs: float = Field(0.3, description="Length of the linear warm-up [epochs]", ge=0)
    ema_decay: float = Field(0.998, description="Decay per step of the averaged weights", ge=0)
    channels_last: bool = Field(False, description="Memory order of convolutions")
    network: NetworkSettings = NetworkSettings()
    histories: HistorySettings = HistorySettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    cell: CellSettings = CellSettings()
    resources: TrainResources = TrainResources(threads=1, mem_mb=2500, runtime_min=120, gpu=0)
