"""Where networks run: the one place that chooses a device, and the one that asks a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

#: Instructions of processors, of x86 and of ARM, that compute in bfloat16.
BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")


def available() -> torch.device:
    """Device for networks whose work is worth one: a GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(network: Any) -> torch.device:
    """Device on which a network's parameters are; the CPU where it has none.

    What a network is fed goes there, not where the caller believes it to be: a training leaves its
    network on the device.

    Parameters
    ----------
    network : Any
        Mostly a `torch.nn.Module`; also what is called like one.
    """
    parameters = getattr(network, "parameters", tuple)
    return next((p.device for p in parameters()), torch.device("cpu"))


def half_precision(device: torch.device) -> torch.dtype | None:
    """Type of half width in which a device computes faster than in float32; None for float32.

    A processor that has no instructions for bfloat16 imitates them, at several times the cost of
    float32 (4 to 7 times for a U-Net on AVX2).

    Parameters
    ----------
    device : torch.device
    """
    if device.type != "cpu":
        return torch.bfloat16
    # Versions of torch before 2.10 do not tell.
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if any(has.get(name) for name in BFLOAT16) else None
