"""Name what made a training fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from physml.exceptions import NonFiniteError

Loss = Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]


def non_finite(
    what: str,
    record: dict[str, float],
    *,
    step: int,
    sample_ids: list[int],
    checkpoint: Path,
) -> NonFiniteError:
    """Build the error from the numbers of a step or an epoch, naming those that are not finite."""
    bad = ", ".join(f"{k} is {v}" for k, v in record.items() if not np.isfinite(v))
    return NonFiniteError(
        f"{what}: {bad or 'not finite on another process'}",
        step=step,
        sample_ids=sample_ids,
        checkpoint=checkpoint if checkpoint.exists() else None,
    )


def guilty_samples(loss: Loss, network: nn.Module, tensors: dict[str, Tensor]) -> list[int]:
    """Ids of the samples of a batch whose own loss is not finite."""
    ids = tensors["id"].tolist()
    return [ids[k] for k in range(len(ids)) if not _is_finite(loss, network, tensors, k)]


@torch.no_grad()
def _is_finite(loss: Loss, network: nn.Module, tensors: dict[str, Tensor], k: int) -> bool:
    n = len(tensors["id"])
    one = {name: t[k : k + 1] if len(t) == n else t for name, t in tensors.items()}
    return bool(torch.isfinite(loss(network, one)["loss"]))
