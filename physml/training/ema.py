"""Exponential moving average of the weights."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from ignite.handlers import EMAHandler
from torch import nn


class WeightAverage(EMAHandler):
    """Ignite's EMA with two changes: it starts fast, and updates all tensors in one call.

    The decay of step t is min(decay, (1 + t) / (10 + t)): without it, the random weights of the
    start would still make up a third of the average after 1,000 steps of decay 0.999.

    Parameters
    ----------
    model : nn.Module
        The network, not wrapped.
    decay : float
        Decay per step in the long run, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        # EMAHandler wants 0 < momentum < 1; a decay of 0 (no averaging) is handled below.
        super().__init__(model, momentum=min(1 - decay, 1 - 1e-12), handle_buffers="copy")
        self.decay = decay
        self.ema_model.requires_grad_(False)

    @torch.no_grad()
    def _update_ema_model(self, engine: Engine, name: str) -> None:
        step = engine.state.iteration
        momentum = 1 - min(self.decay, (1 + step) / (10 + step))
        setattr(engine.state, name, momentum)
        torch._foreach_lerp_(
            list(self.ema_model.parameters()), list(self.model.parameters()), momentum
        )
        for averaged, current in zip(self.ema_model.buffers(), self.model.buffers(), strict=True):
            averaged.copy_(current)
