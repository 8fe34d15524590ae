"""A U-Net whose full-resolution pixels travel as channels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from physml.nn.blocks import ConvNorm, Down, Residual, Up


class UNet(nn.Module):
    """U-Net on 2 x 2 pixel blocks (Ronneberger et al. 2015; Shi et al. 2016 for the shuffling).

    The input is unshuffled to a quarter of the pixels with four times the channels, and the dense
    outputs are shuffled back. No pixel is averaged away, yet the costly full-resolution
    layers are gone: about four times the speed of a plain U-Net on a CPU.

    Parameters
    ----------
    inputs : int
        Channels of the image.
    outputs : int
        Channels at full resolution.
    coarse_outputs : int
        Channels at half resolution.
    widths : sequence of int
        Channels at 1/2, 1/4, ... resolution.

    Notes
    -----
    Height and width must be multiples of ``2 ** len(widths)``.
    """

    def __init__(
        self, inputs: int, outputs: int, coarse_outputs: int, widths: Sequence[int]
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.coarse_outputs = inputs, outputs, coarse_outputs
        self.stem = ConvNorm(4 * inputs, widths[0])
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(Down(a, b) for a, b in pairs)
        self.middle = Residual(widths[-1])
        # Half of a step's time goes to the finest level: it has no residual blocks.
        self.up = nn.ModuleList(
            Up(b, a, a, block=k > 0) for k, (a, b) in reversed(list(enumerate(pairs)))
        )
        self.head = nn.Conv2d(widths[0], 4 * outputs + coarse_outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map an image to dense and coarse outputs.

        Parameters
        ----------
        x : Tensor, shape (n, inputs, H, W)

        Returns
        -------
        dense : Tensor, shape (n, outputs, H, W)
        coarse : Tensor, shape (n, coarse_outputs, H/2, W/2)
        """
        x = self.stem(nn.functional.pixel_unshuffle(x, 2))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for up in self.up:
            x = up(x, skips.pop())
        dense, coarse = torch.split(self.head(x), [4 * self.outputs, self.coarse_outputs], 1)
        return nn.functional.pixel_shuffle(dense, 2), coarse
