"""Crops of candidates for the decoder, all on a scale set by the candidate's own size."""

from __future__ import annotations

import torch
from torch import Tensor

from .channels import CHANNELS

#: Channels of a crop.
CROP_CHANNELS = (
    *("cavity", "centre", "residual", "residual_5", "residual_13"),
    *("log_model", "invalid"),
)
#: Numbers beside a crop, see `detector.candidate_scalars`.
SCALARS = (
    *("log_radius", "log_counts", "log_expected", "significance", "depth"),
    *("off_centre", "mean_cavity", "peak_centre"),
)
#: Half-width of a crop in candidate radii.
REACH = 2.2


def stack_maps(cavity: Tensor, centre: Tensor, image: Tensor) -> Tensor:
    """Channels that crops are cut from, shape (n, 7, H, W).

    Parameters
    ----------
    cavity, centre : Tensor, shape (n, H, W)
        Probabilities.
    image : Tensor, shape (n, 7, H, W)
        Input channels of the U-Net.
    """
    chosen = [image[:, CHANNELS.index(name)] for name in CROP_CHANNELS[2:]]
    return torch.stack([2 * cavity, 2 * centre, *chosen], 1)


def cut(maps: Tensor, row: Tensor, x: Tensor, y: Tensor, radius: Tensor, side: int) -> Tensor:
    """Cut square crops, bilinear; what lies outside the image is marked invalid.

    Parameters
    ----------
    maps : Tensor, shape (n, c, H, W)
        From `stack_maps`.
    row : Tensor of int, shape (m,)
        Image of each crop.
    x, y, radius : Tensor, shape (m,)
        Centre and candidate radius [pixel].
    side : int
        Side of a crop in resampled pixels; it spans 2 x 2.2 radii.

    Returns
    -------
    Tensor, shape (m, c, side, side)
    """
    h, w = maps.shape[-2:]
    step = (torch.arange(side, dtype=x.dtype) + 0.5) / side * 2 - 1
    px = x[:, None] + REACH * radius[:, None] * step
    py = y[:, None] + REACH * radius[:, None] * step
    # grid_sample's corners lie half a pixel outside the outer pixel centres.
    gx = ((2 * px + 1) / w - 1)[:, None, :].expand(-1, side, -1)
    gy = ((2 * py + 1) / h - 1)[:, :, None].expand(-1, -1, side)
    grid = torch.stack([gx, gy], -1)
    crops = torch.empty(len(row), maps.shape[1], side, side)
    # All crops of an image in one call, one below the other: no map is copied for a crop.
    for image in torch.unique(row):
        mine = torch.nonzero(row == image)[:, 0]
        strip = torch.nn.functional.grid_sample(
            maps[int(image), None].float(),
            grid[mine].reshape(1, -1, side, 2),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        crops[mine] = strip[0].unflatten(1, (len(mine), side)).movedim(1, 0)
    outside = (grid.abs() > 1).any(-1)
    crops[:, -1] = torch.where(outside, 1.0, crops[:, -1])
    return crops


def turn(crops: Tensor, symmetry: int) -> Tensor:
    """One of the 8 symmetries of the square, as `learning.image_sets.dihedral`."""
    if symmetry >= 4:
        crops = crops.transpose(-1, -2)
    return torch.rot90(crops, symmetry % 4, (-2, -1))


def turn_vector(dx: Tensor, dy: Tensor, symmetry: int) -> tuple[Tensor, Tensor]:
    """Move an offset as `turn` moves pixels."""
    if symmetry >= 4:
        dx, dy = dy, dx
    for _ in range(symmetry % 4):
        dx, dy = dy, -dx
    return dx, dy


def turn_axis(cos2: Tensor, sin2: Tensor, symmetry: int) -> tuple[Tensor, Tensor]:
    """Move an orientation, given as cos 2 theta and sin 2 theta, as `turn` moves pixels."""
    if symmetry >= 4:
        cos2 = -cos2
    if symmetry % 2:
        cos2, sin2 = -cos2, -sin2
    return cos2, sin2


def inverse(symmetry: int) -> int:
    """Symmetry that undoes another: turns are reversed, reflections undo themselves."""
    return (4 - symmetry) % 4 if symmetry < 4 else symmetry
