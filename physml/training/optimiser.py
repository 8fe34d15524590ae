"""AdamW and its learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

# Cosine decay ends at this fraction: a rate of zero would waste the last steps.
FINAL_FRACTION = 0.01


def learning_rate_factor(step: int, warmup_steps: float, total_steps: int) -> float:
    """Learning rate of a step as a fraction of the highest: linear warm-up, then cosine decay.

    A function of the step alone, so that there is no scheduler state to keep in step with it.

    Parameters
    ----------
    step : int
        Steps done before this one.
    warmup_steps, total_steps : float, int
        Length of the warm-up and of the whole training, in steps.
    """
    if step < warmup_steps:
        return min(1.0, (step + 1) / warmup_steps)
    done = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that leaves biases and norm scales (one axis or none) undecayed."""

    def group(parameters: Iterable[nn.Parameter], decay: float) -> dict[str, object]:
        return {"params": list(parameters), "weight_decay": decay}

    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        group((p for p in trained if p.ndim > 1), weight_decay),
        group((p for p in trained if p.ndim <= 1), 0.0),
    ]
    # One kernel over all tensors instead of a dozen small ones for each.
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, fused=True)
