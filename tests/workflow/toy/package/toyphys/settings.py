"""Settings of the toy."""

from __future__ import annotations

from pydantic import Field

from physml.config import PipelineSettings, ResourceSettings, SimulateBase, StageSettings

SMALL = ResourceSettings(threads=1, mem_mb=200, runtime_min=5, gpu=0)


class SimulateSettings(SimulateBase):
    """Counts of a decaying source."""

    n_samples: int = Field(12, description="Number of counting series", gt=0)
    shard_size: int = Field(6, description="Series a shard", gt=0)
    rate: float = Field(0.5, description="Decay rate, 1/s", gt=0)
    counts: float = Field(1e4, description="Expected counts in the first second", gt=0)
    resources: ResourceSettings = SMALL


class PreprocessSettings(StageSettings):
    """Split."""

    test: float = Field(0.25, description="Share of series kept for testing", gt=0, lt=1)
    resources: ResourceSettings = SMALL


class TrainSettings(StageSettings):
    """Gradient descent on the rate."""

    steps: int = Field(40, description="Newton steps", gt=0)
    start: float = Field(0.1, description="First guess of the rate, 1/s")
    killed_at: int = Field(
        0, description="Step at which a run that began at step 0 dies of SIGKILL; 0 for never"
    )
    step_s: float = Field(0.0, description="Seconds that a step takes at least", ge=0)
    clock_s: float = Field(0.0, description="How far the clock of the node is ahead, s")
    hog_mb: int = Field(0, description="Memory that is held for a while, MB", ge=0)
    late_s: float = Field(
        0.0, description="Seconds until others see the weights, as on a slow file system", ge=0
    )
    resources: ResourceSettings = SMALL


class EvaluateSettings(StageSettings):
    """Residuals on the test series."""

    bins: int = Field(5, description="Bins of the histogram", gt=0)
    resources: ResourceSettings = SMALL


class ReportSettings(StageSettings):
    """One series and its fit."""

    series: int = Field(0, description="Test series that is shown", ge=0)
    resources: ResourceSettings = SMALL


class ToySettings(PipelineSettings):
    """Every setting of the toy pipeline."""

    simulate: SimulateSettings = SimulateSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
