"""The networks: a U-Net that marks cavities, and a decoder of their radii.

The two stages follow Fort (2017, arXiv 1712.00523): a pixel-wise map first, then a residual
network that reads each cavity's radius off the map and the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physml.nn.resnet import ResNet
from physml.nn.unet import UNet

from ..settings import NetworkSettings
from .channels import CHANNELS
from .crops import CROP_CHANNELS, SCALARS

#: Outputs of the U-Net at full and at half resolution.
DENSE = ("cavity", "centre")
COARSE = ("log_a", "log_b", "cos_2theta", "sin_2theta", "log_var_a", "log_var_b")
#: Outputs of the decoder.
DECODED = (
    *("logit", "dx", "dy", "log_a", "log_b", "cos_2theta", "sin_2theta", "decrement"),
    *("log_var_radius", "log_var_position", "log_var_decrement"),
)
#: Length relative to which sizes are learned, as logarithms [pixel].
SIZE_SCALE = 10.0


@dataclass
class Maps:
    """Maps that the U-Net makes of a batch.

    Attributes
    ----------
    cavity, centre : Tensor, shape (n, H, W)
        Logits that a pixel lies in a cavity, or near a cavity's centre.
    sizes : Tensor, shape (n, 6, H/2, W/2)
        `COARSE` quantities.
    """

    cavity: Tensor
    centre: Tensor
    sizes: Tensor


class CavityNet(nn.Module):
    """U-Net with probability, centre and size heads.

    Parameters
    ----------
    settings : NetworkSettings
    """

    #: Prefix of its tensors in a weights file.
    part = "unet."

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.unet = UNet(len(CHANNELS), len(DENSE), len(COARSE), settings.widths)
        self.stride = 2 ** len(settings.widths)
        # Cavities cover few pixels: start from that prior instead of one half.
        with torch.no_grad():
            bias = self.unet.head.bias
            assert bias is not None
            bias[:4] = -2.5
            bias[4:8] = -4.0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map channels (n, 7, H, W) to dense (n, 2, H, W) and coarse (n, 6, H/2, W/2)."""
        return self.unet(x)

    def maps(self, x: Tensor) -> Maps:
        """`forward` with names."""
        dense, coarse = self(x)
        return Maps(dense[:, 0].float(), dense[:, 1].float(), coarse.float())


class DecoderNet(nn.Module):
    """Residual network from a candidate's crop to its `DECODED` quantities.

    Parameters
    ----------
    settings : NetworkSettings
    """

    #: Prefix of its tensors in a weights file.
    part = "decoder."

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.net = ResNet(len(CROP_CHANNELS), len(SCALARS), len(DECODED), settings.decoder_widths)

    def forward(self, crop: Tensor, scalars: Tensor) -> Tensor:
        """Map crops (m, c, s, s) and scalars (m, k) to (m, 11)."""
        return self.net(crop, scalars)
