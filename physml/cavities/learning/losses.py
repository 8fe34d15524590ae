"""Targets of the U-Net, and its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physml.nn.sharing import divisor

from ..inference.networks import SIZE_SCALE
from ..settings import LossSettings

#: Expected S/N of the clearest cavity, from which an image counts for the Dice loss.
CLEAR = 4.0


def targets(mask: Tensor, table: Tensor, pairs: Tensor | None = None) -> dict[str, Tensor]:
    """Targets of the three heads.

    Parameters
    ----------
    mask : Tensor of uint8, shape (n, H, W)
        Instance numbers.
    table : Tensor, shape (n, 6, 8)
        True cavities, columns as in `TABLE`.
    pairs : Tensor of int, shape (k, 2), optional
        Rows and columns of the table with visible cavities. To count them, a GPU would have to be
        waited for.
    """
    n, h, w = mask.shape
    x, y, theta, a, b, radius, snr, visible = table.unbind(-1)
    seen = visible > 0
    if pairs is None:
        pairs = seen.nonzero()
    row, slot = pairs.unbind(1)
    width = (0.22 * radius[row, slot]).clamp_min(1.2)[:, None]
    # A Gaussian is the product of one row and one column of it.
    across, down = (
        torch.exp(
            -0.5 * ((torch.arange(size, device=mask.device) - at[row, slot, None]) / width) ** 2
        )
        for size, at in ((w, x), (h, y))
    )
    blobs = (down[:, :, None] * across[:, None]).flatten(1)
    centre = torch.zeros((n, h * w), device=mask.device)
    centre = centre.scatter_reduce(0, row[:, None].expand_as(blobs), blobs, "amax")
    safe = [torch.where(seen, axis, SIZE_SCALE) for axis in (a, b)]
    values = torch.stack(
        [*(torch.log(v / SIZE_SCALE) for v in safe), torch.cos(2 * theta), torch.sin(2 * theta)], -1
    )
    values = nn.functional.pad(values * seen[..., None], (0, 0, 1, 0))  # 0 outside of cavities
    coarse = mask[:, ::2, ::2]
    which = coarse.reshape(n, -1, 1).long().expand(-1, -1, 4)
    sizes = values.gather(1, which).transpose(1, 2).reshape(n, 4, h // 2, w // 2)
    return {
        "cavity": (mask > 0).float(),
        "centre": centre.reshape(n, h, w),
        "sizes": sizes.contiguous(),
        "size_weight": (coarse > 0).float(),
        # Dice of an image whose cavities drown in noise would only teach guessing.
        "clear": (snr.amax(1) > CLEAR).float(),
    }


class CavityLoss:
    """Cross-entropy and soft Dice of the map, cross-entropy of centres, likelihood of sizes.

    Parameters
    ----------
    settings : LossSettings
    """

    def __init__(self, settings: LossSettings) -> None:
        self.settings = settings

    def __call__(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch, each a mean."""
        dense, coarse = network(batch["image"])
        cavity, centre = dense[:, 0].float(), dense[:, 1].float()
        weight = batch["weight"]
        entropy = nn.functional.binary_cross_entropy_with_logits
        live = divisor(weight.sum())
        bce = (entropy(cavity, batch["cavity"], reduction="none") * weight).sum() / live
        peak = 1 + 10 * batch["centre"]
        heat = (entropy(centre, batch["centre"], reduction="none") * weight * peak).sum() / live
        parts = {
            "bce": bce,
            "dice": soft_dice(cavity.sigmoid() * weight, batch["cavity"] * weight, batch["clear"]),
            "centre": heat,
            "size": size_likelihood(coarse.float(), batch["sizes"], batch["size_weight"]),
        }
        s = self.settings
        total = bce + s.dice * parts["dice"] + s.centre * heat + s.size * parts["size"]
        return {"loss": total, **parts}


def soft_dice(probability: Tensor, truth: Tensor, some: Tensor) -> Tensor:
    """1 - Dice, by image, over some of the images (weights of shape (n,))."""
    overlap = 2 * (probability * truth).sum((1, 2)) + 1
    total = probability.sum((1, 2)) + truth.sum((1, 2)) + 1
    return ((1 - overlap / total) * some).sum() / divisor(some.sum())


def size_likelihood(coarse: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Gaussian negative log-likelihood of log a, log b, squared error of the orientation."""
    log_var = coarse[:, 4:6].clamp(-7, 3)
    error = (coarse[:, :4] - truth) ** 2
    sizes = 0.5 * (error[:, :2] * torch.exp(-log_var) + log_var).sum(1)
    # A round cavity has no orientation: weigh it by the ellipticity.
    flat = 1 - torch.exp(truth[:, 1] - truth[:, 0])
    turn = error[:, 2:4].sum(1) * flat
    return ((sizes + turn) * weight).sum() / divisor(weight.sum())
