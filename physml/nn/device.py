"""Where networks run: the one place that chooses a device, and the one that asks a network."""

from __future__ import annotations

from typing import Any

import torch


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
