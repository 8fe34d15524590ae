"""A small residual network from an image to a vector."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from physml.nn.blocks import ConvNorm, Down, Residual


class ResNet(nn.Module):
    """Residual network with pooled features joined by given scalars (He et al. 2016).

    Parameters
    ----------
    inputs : int
        Channels of the image.
    scalars : int
        Numbers given beside each image.
    outputs : int
    widths : sequence of int
        Channels at full, 1/2, 1/4, ... resolution.
    hidden : int
        Units of the last hidden layer.
    """

    def __init__(
        self, inputs: int, scalars: int, outputs: int, widths: Sequence[int], hidden: int = 64
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNorm(inputs, widths[0]), Residual(widths[0])]
        layers += [Down(a, b) for a, b in itertools.pairwise(widths)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(2 * widths[-1] + scalars, hidden), nn.SiLU(), nn.Linear(hidden, outputs)
        )

    def forward(self, image: Tensor, scalars: Tensor) -> Tensor:
        """Map (n, inputs, H, W) and (n, scalars) to (n, outputs)."""
        x = self.features(image)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3)), scalars.to(x.dtype)], 1)
        return self.head(pooled)
