"""Run a network in bfloat16 and hand its output back in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from physml.nn.device import half_precision


def _to_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {k: _to_float32(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*map(_to_float32, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_to_float32, value))
    return value


class Autocast(nn.Module):
    """The network as the loss sees it: autocast inside, float32 outside.

    Only the network is autocast. Losses sum over many pixels, where bfloat16's three digits
    would not do. A processor that only imitates bfloat16 computes in float32, several times faster.
    """

    def __init__(self, network: nn.Module, device_type: str, precision: str) -> None:
        super().__init__()
        self.network = network
        self.device_type = device_type
        half = half_precision(torch.device(device_type))
        self.enabled = precision == "bfloat16" and half is not None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the network."""
        if not self.enabled:
            return self.network(*args, **kwargs)
        with torch.autocast(self.device_type, dtype=torch.bfloat16):
            output = self.network(*args, **kwargs)
        return _to_float32(output)
