"""Settings that every training shares; a pipeline adds its own to them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from physml.config import StageSettings


class TrainBase(StageSettings):
    """How a network is trained. Subclass it to add the network's and the loss's settings."""

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
