"""Input of the network: a stack of channels from counts, smooth model, exposure and mask."""

from __future__ import annotations

import torch
from torch import Tensor

#: Names of the channels.
CHANNELS = (
    *("log_counts", "residual", "residual_5", "residual_13"),
    *("log_model", "log_exposure", "invalid"),
)
#: Counts that keep significances finite where nothing is expected.
FLOOR = 0.05
#: Largest absolute value of a channel.
CLIP = 8.0


def channels(counts: Tensor, model: Tensor, exposure: Tensor, invalid: Tensor) -> Tensor:
    """Stack the input channels.

    Residuals are significances, (data - model) / sqrt(model): the only form in which a cavity
    looks alike at any depth of the exposure. Two of them are summed over boxes of 5 and 13
    pixels, where faint images show what single pixels do not.

    Parameters
    ----------
    counts, model, exposure : Tensor, shape (n, H, W)
        Counts, smooth expected counts, relative exposure.
    invalid : Tensor of bool, shape (n, H, W)
        Pixels without information.

    Returns
    -------
    Tensor, shape (n, 7, H, W)
        Channels of order one, in the order of `CHANNELS`.
    """
    live = ~invalid
    # Background-subtracted images have negative pixels.
    difference = torch.where(live, counts - model, 0.0)
    variance = torch.where(live, model, 0.0).clamp_min(0.0)
    stack = [
        torch.log1p(counts.clamp_min(0.0)) * live / 3,
        difference / (variance + FLOOR).sqrt() / 2,
        *(box / 2 for box in _boxed(difference, variance, (5, 13))),
        torch.log(variance + FLOOR) / 4,
        torch.log(exposure.clamp(0.01, 1.0)),
        invalid.to(counts.dtype),
    ]
    return torch.stack([s.clamp(-CLIP, CLIP) for s in stack], 1)


def _boxed(difference: Tensor, variance: Tensor, sides: tuple[int, ...]) -> list[Tensor]:
    """Significance of sums over boxes, all from one integral image.

    In double precision: differences of running sums must keep single counts among millions.
    """
    both = torch.stack([difference, variance], 1).double()
    whole = torch.nn.functional.pad(both, (1, 0, 1, 0)).cumsum(-1).cumsum(-2)
    widest = max(sides) // 2
    # Boxes that reach over the edge end there: beyond it the running sum stays as it is.
    whole = torch.nn.functional.pad(whole, (widest,) * 4, mode="replicate")
    out = []
    for side in sides:
        trim = slice(widest - side // 2, whole.shape[-2] - (widest - side // 2))
        rows = whole[..., trim, :]
        band = rows[..., side:, :] - rows[..., :-side, :]
        trim = slice(widest - side // 2, whole.shape[-1] - (widest - side // 2))
        columns = band[..., trim]
        signal, noise = (columns[..., side:] - columns[..., :-side]).float().unbind(1)
        out.append(signal / (noise.clamp_min(0.0) + FLOOR).sqrt())
    return out
