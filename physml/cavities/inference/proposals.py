"""Candidates in the maps of the U-Net, and what the decoder is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray
from skimage.feature import peak_local_max
from torch import Tensor

from ..core.ellipse import row_mask
from . import crops as cr
from .networks import DECODED, SIZE_SCALE, Maps

#: Lowest peak of the centre map that makes a candidate.
PEAK = 0.04
#: Intersection over union above which two candidates are one.
OVERLAP = 0.35


@dataclass
class Candidates:
    """Possible cavities of a batch of images, one entry each.

    Attributes
    ----------
    row : Tensor of int, shape (m,)
        Image.
    x, y, radius : Tensor, shape (m,)
        Centre and sqrt(a b) as the U-Net sees them [pixel].
    peak : Tensor, shape (m,)
        Centre probability.
    """

    row: Tensor
    x: Tensor
    y: Tensor
    radius: Tensor
    peak: Tensor

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.row)


def pad(image: Tensor, stride: int) -> Tensor:
    """Channels padded to multiples of the network's stride, marked invalid."""
    h, w = image.shape[-2:]
    if h % stride or w % stride:
        image = torch.nn.functional.pad(image, (0, -w % stride, 0, -h % stride))
        image[:, -1, h:, :] = 1
        image[:, -1, :, w:] = 1
    return image


def find_candidates(maps: Maps, shape: tuple[int, ...]) -> Candidates:
    """Peaks of the centre map, with the sizes that the U-Net gives there.

    Parameters
    ----------
    maps : Maps
        Probabilities (not logits) and sizes.
    shape : tuple of int
        Height and width without padding.
    """
    rows: list[NDArray[Any]] = []
    centre = maps.centre.numpy()
    for k in range(len(centre)):
        image = centre[k, : shape[0], : shape[1]]
        peaks = peak_local_max(
            image, min_distance=2, threshold_abs=PEAK, exclude_border=False, num_peaks=24
        )
        if not len(peaks):  # the decoder has the last word on every image
            peaks = np.array([np.unravel_index(np.argmax(image), image.shape)])
        rows.append(np.column_stack([np.full(len(peaks), k), peaks]))
    where = torch.from_numpy(np.concatenate(rows).astype(np.int64))
    row, iy, ix = where.unbind(1)
    # Sizes are read where the map is sure of a cavity: averaged over 3 x 3 coarse pixels.
    smooth = torch.nn.functional.avg_pool2d(maps.sizes, 3, 1, 1, count_include_pad=False)
    at = smooth[row, :, iy // 2, ix // 2]
    # sqrt(a b) from the mean of the two logarithms.
    radius = SIZE_SCALE * at[:, :2].mean(1).clamp(-1.6, 1.8).exp()
    return Candidates(row, ix.float(), iy.float(), radius, maps.centre[row, iy, ix])


def candidate_scalars(
    some: Candidates, maps: Maps, fields: Sequence[Tensor], centre: Tensor
) -> Tensor:
    """Scalars beside the crops (`crops.SCALARS`), shape (m, 8).

    Parameters
    ----------
    some : Candidates
    maps : Maps
    fields : sequence of Tensor
        counts, model, exposure, invalid of shape (n, H, W).
    centre : Tensor, shape (n, 2)
    """
    counts, model, _, invalid = fields
    out = torch.zeros(len(some), len(cr.SCALARS))
    live = (~invalid).float()
    total = (counts * live).sum((1, 2)).clamp_min(1.0)
    h, w = counts.shape[-2:]
    for k in range(len(some)):
        i = int(some.row[k])
        x, y, r = float(some.x[k]), float(some.y[k]), float(some.radius[k])
        top, bottom = max(0, int(y - r)), min(h, int(y + r) + 2)
        left, right = max(0, int(x - r)), min(w, int(x + r) + 2)
        yy, xx = np.ogrid[top:bottom, left:right]
        disc = torch.from_numpy(((xx - x) ** 2 + (yy - y) ** 2 <= r * r).astype(np.float32))
        box = (i, slice(top, bottom), slice(left, right))
        weight = disc * live[box]
        expected = float((model[box] * weight).sum())
        seen = float((counts[box] * weight).sum())
        area = max(float(disc.sum()), 1.0)
        mean_cavity = float((maps.cavity[box] * disc).sum()) / area
        away = np.hypot(x - float(centre[i, 0]), y - float(centre[i, 1]))
        out[k] = torch.tensor(
            [
                np.log(r / SIZE_SCALE),
                np.log(float(total[i])) / 5 - 2,
                np.log(max(expected, 0.1)) / 5 - 1,
                np.clip((seen - expected) / np.sqrt(expected + 1) / 5, -4, 4),
                np.clip((seen - expected) / (expected + 1), -1, 1),
                np.clip(away / r - 1.5, -2, 4),
                mean_cavity,
                float(some.peak[k]),
            ]
        )
    return out


def turn_decoded(out: Tensor, symmetry: int) -> Tensor:
    """Move decoded offsets and orientations as `crops.turn` moves pixels."""
    columns = list(out.unbind(1))
    ix, iy = DECODED.index("dx"), DECODED.index("dy")
    ic, js = DECODED.index("cos_2theta"), DECODED.index("sin_2theta")
    columns[ix], columns[iy] = cr.turn_vector(columns[ix], columns[iy], symmetry)
    columns[ic], columns[js] = cr.turn_axis(columns[ic], columns[js], symmetry)
    return torch.stack(columns, 1)


def suppress(table: Table, shape: tuple[int, int]) -> Table:
    """Drop candidates that repeat a more probable one.

    Two candidates are one cavity when their intersection exceeds a share of their union, or
    the centre of one lies in the inner half of the other at a similar size.
    """
    kept: list[int] = []
    masks: list[NDArray[np.bool_]] = []
    for k, row in enumerate(table):
        mask = row_mask(row, shape)
        area = max(int(mask.sum()), 1)
        for other, before in zip(kept, masks, strict=True):
            shared = int((mask & before).sum())
            if shared > OVERLAP * (area + int(before.sum()) - shared):
                break
            near = np.hypot(row["x"] - table[other]["x"], row["y"] - table[other]["y"])
            if near < 0.5 * min(row["radius"], table[other]["radius"]):
                break
        else:
            kept.append(k)
            masks.append(mask)
    return table[kept]
