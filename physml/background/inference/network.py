"""The network: a patch network for each event, a set transformer over all that is in the frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physml.nn.set_transformer import SetTransformer, masked_mean_and_max

from ..settings import NetworkSettings
from .inputs import ENERGY, EVENT, FEATURES, LENGTH, LOG_STANDOFF, PARTICLE, RATE, SIDE

CLASSES = ("xray", "particle", "both")
# Rings in log10(1 + distance in pixels), about which pairs are told how near they are.
RINGS = (0.3, 0.7, 1.1, 1.5, 1.9, 2.3, 2.7)
RING_WIDTH = 0.25
#: Members' own features that also describe a pair: those of what is read, and of the reader.
READ = (EVENT, PARTICLE, ENERGY, LENGTH, RATE, LOG_STANDOFF)
READER = (EVENT, ENERGY)
PAIR_INPUTS = len(RINGS) + 6 + len(READ) + len(READER)
#: Scale of the patch, keV.
PATCH_SCALE = 5.0
#: Largest value in units of it: what is brighter is no X-ray in any case.
HIGHEST = 4.0
#: Energy where the patch's logarithm bends, keV.
FAINT = 0.05


class PatchNet(nn.Module):
    """Convolutions on the pixels round an event's peak.

    Parameters
    ----------
    channels : int
        Of the first convolution.
    width : int
        Outputs.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels + channels // 2, 3),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear((channels + channels // 2) * (SIDE - 2) ** 2, width),
        )

    def forward(self, patch: Tensor) -> Tensor:
        """Map patches (m, 5, 5) in keV to (m, width)."""
        # Far below what pixels hold, negative values after offset subtraction included.
        faint = torch.log1p(patch.clamp(min=0) / FAINT) / 5
        share = patch / patch[:, SIDE // 2, SIDE // 2].clamp(min=1e-3)[:, None, None]
        linear = (patch / PATCH_SCALE).clamp(max=HIGHEST)
        return self.features(torch.stack([linear, faint, share.clamp(-1, 2)], 1))


class EventNet(nn.Module):
    """Probability of each event to be background, and of each frame to hold what.

    Parameters
    ----------
    settings : NetworkSettings
    """

    part = "events."  # prefix of its tensors in a weights file

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.width
        self.patch = PatchNet(settings.patch_channels, width)
        self.member = nn.Linear(len(FEATURES), width)
        self.mix = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.set = SetTransformer(
            width,
            PAIR_INPUTS,
            settings.pair_width,
            settings.heads,
            settings.blocks,
            settings.dropout,
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 1))
        self.frame_head = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, len(CLASSES))
        )

    def forward(
        self, patch: Tensor, feature: Tensor, place: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Classify all members of frames.

        Parameters
        ----------
        patch : Tensor, shape (n, k, 5, 5) or (n, k, width)
            keV; or what `patch` makes of them, which depends on nothing else.
        feature : Tensor, shape (n, k, 12)
            `inputs.FEATURES`.
        place : Tensor, shape (n, k, 4)
            `inputs.PLACE`.
        present : Tensor of bool, shape (n, k)
            False for padding.

        Returns
        -------
        event : Tensor, shape (n, k)
            Logit that a member is background; meaningless for padding.
        frame : Tensor, shape (n, 3)
            Logits of `CLASSES`.
        """
        n, k = present.shape
        seen = patch
        if patch.dim() == 4:
            seen = self.patch(patch.reshape(n * k, SIDE, SIDE)).view(n, k, -1)
        own = self.mix(self.member(feature) + seen)
        # What may be an X-ray is held against nobody: else a bright source would look like
        # background, and a cut would keep another share of it than of a faint one.
        readable = present & (feature[:, :, EVENT] < 0.5)
        around = self.set(own, pairs(feature, place), readable)
        event = self.head(self.dropout(torch.cat([own, around], 2))).squeeze(2)
        return event, self.frame_head(masked_mean_and_max(around, present))


def pairs(feature: Tensor, place: Tensor) -> Tensor:
    """Descriptions of pairs of members that do not change when the frame is turned or mirrored.

    Parameters
    ----------
    feature : Tensor, shape (n, k, 12)
    place : Tensor, shape (n, k, 4)

    Returns
    -------
    Tensor, shape (n, k, k, PAIR_INPUTS)
        Of (reader, read): rings of distance; whether both are the same; cosines of the doubled
        angles between the line of sight and the long axes of the read and the reader, and
        between those axes, each times the elongations; distance along and across the axis of
        the read; features of both.
    """
    n, k, _ = feature.shape
    offset = place[:, None, :, :2] - place[:, :, None, :2]
    dx, dy = offset[..., 0], offset[..., 1]
    square = dx * dx + dy * dy
    far = torch.log10(1 + square.sqrt())
    rings = torch.tensor(RINGS, dtype=feature.dtype, device=feature.device)
    near = torch.exp(-0.5 * ((far[..., None] - rings) / RING_WIDTH) ** 2)
    # Doubled angle of the line of sight; 0 where there is none.
    safe = square.clamp(min=1e-6)
    cos2, sin2 = (dx * dx - dy * dy) / safe, 2 * dx * dy / safe
    c, s = place[..., 2], place[..., 3]
    to_read = cos2 * c[:, None, :] + sin2 * s[:, None, :]
    to_reader = cos2 * c[:, :, None] + sin2 * s[:, :, None]
    axes = c[:, None, :] * c[:, :, None] + s[:, None, :] * s[:, :, None]
    stretch = (c * c + s * s).sqrt()[:, None, :]
    aligned = (to_read / stretch.clamp(min=1e-3)).clamp(-1, 1)
    along = torch.log10(1 + (0.5 * square * (1 + aligned)).sqrt())
    across = torch.log10(1 + (0.5 * square * (1 - aligned)).sqrt())
    same = torch.eye(k, dtype=feature.dtype, device=feature.device).expand(n, k, k)
    geometry = torch.stack([same, to_read, to_reader, axes, along * stretch, across * stretch], 3)
    read = feature[:, None, :, list(READ)].expand(n, k, k, len(READ))
    reader = feature[:, :, None, list(READER)].expand(n, k, k, len(READER))
    return torch.cat([near, geometry, read, reader], 3)
