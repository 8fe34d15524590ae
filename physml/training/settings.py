"""Settings that every training shares; a pipeline adds its own to them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from physml.config import Count, ResourceSettings, StageSettings


class TrainResources(ResourceSettings):
    """What the job of a training asks for, which may be several processes on several nodes."""

    threads: Count = Field(1, description="CPU threads of each process")
    mem_mb: Count = Field(2000, description="Memory of each process, MB")
    gpu: int = Field(0, description="GPUs of the job, one for each process", ge=0)
    processes: int = Field(
        0,
        ge=0,
        description="Processes that share each batch of the training; 0: one for each GPU, or one",
    )
    nodes: Count = Field(
        1, description="Nodes that the processes are spread over, the same number on each"
    )

    @property
    def shared_by(self) -> int:
        """Number of processes, also where the GPUs say it."""
        return self.processes or max(1, self.gpu)

    @model_validator(mode="after")
    def _go_together(self) -> TrainResources:
        if self.gpu and self.processes not in (0, self.gpu):
            raise ValueError(
                f"each process has a GPU of its own: expected processes 0 or {self.gpu}, as many "
                f"as gpu (or gpu: 0), found {self.processes}"
            )
        if self.shared_by % self.nodes:
            raise ValueError(
                f"{self.shared_by} processes cannot be spread evenly over {self.nodes} nodes"
            )
        return self


class TrainBase(StageSettings):
    """How a network is trained. Subclass it to add the network's and the loss's settings."""

    resources: TrainResources = Field(
        TrainResources(), description="What a job of this stage asks for; changes no result"
    )

    epochs: int = Field(30, ge=1, description="Passes over the training set")
    batch_size: int = Field(
        32, ge=1, description="Samples in one optimiser step, summed over all processes"
    )
    learning_rate: float = Field(
        1e-3, gt=0, description="Highest learning rate, reached after the warm-up"
    )
    weight_decay: float = Field(
        1e-2, ge=0, description="AdamW's weight decay; biases and norm scales are left out"
    )
    warmup_epochs: float = Field(
        1.0, ge=0, description="Length of the linear warm-up; cosine decay follows [epochs]"
    )
    gradient_clip: float = Field(
        1.0, gt=0, description="Largest L2 norm of the whole gradient; longer ones are scaled down"
    )
    ema_decay: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="Decay per step of the exponential moving average of the weights",
    )
    patience: int = Field(
        10, ge=1, description="Stop after this many epochs without a better validation value"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Arithmetic of the network; weights and loss stay in float32"
    )
    channels_last: bool = Field(
        True, description="Memory order (batch, height, width, channel): faster convolutions"
    )
    compile: bool = Field(
        False, description="torch.compile: half a minute at the start for 5-10 % on a CPU"
    )
    init: str | None = Field(
        None, description="Weights file (safetensors) to start from, instead of random weights"
    )
    checkpoint_minutes: float = Field(
        5.0,
        ge=0,
        description="Time between checkpoints inside an epoch [min]; each epoch's end has its own",
    )

    @model_validator(mode="after")
    def _batches_can_be_shared(self) -> TrainBase:
        # Here, not when the training begins: that may be hours later.
        parts = {name: getattr(self, name) for name in type(self).model_fields}
        trainings = {f"{k}.": v for k, v in parts.items() if isinstance(v, TrainBase)}
        processes = self.resources.shared_by
        for name, training in {"": self, **trainings}.items():
            if training.batch_size % processes:
                raise ValueError(
                    f"{name}batch_size must be a multiple of the {processes} processes, "
                    f"found {training.batch_size}"
                )
        return self
