"""Part of an image that a picture shows, at no more pixels than it has room for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .result import CavityResult

#: The view is shown twice when it is this many times wider than the smallest cavity's axis.
WORTH_A_ZOOM = 12.0
#: Pixels that a panel shows along a side at least; of larger views it shows means of several.
LARGE = 1024
#: Pixels of the image that are summed together.
BAND_PIXELS = 1 << 20


@dataclass(frozen=True)
class View:
    """Square part of the image that is shown.

    Attributes
    ----------
    x, y, half : float
        Centre, and half of its side [pixel].
    """

    x: float
    y: float
    half: float

    @property
    def step(self) -> int:
        """Pixels of the image along a side of one that is shown."""
        return max(1, int(2 * self.half) // LARGE)

    def slices(self, shape: tuple[int, ...], margin: float = 0.0) -> tuple[slice, slice]:
        """Rows and columns of the image in view, whole steps of them, and around it."""
        reach = self.half + self.step * np.ceil(margin / self.step)
        spans = []
        for middle, side in zip((self.y, self.x), shape, strict=True):
            low, high = max(0, int(middle - reach)), min(side, int(middle + reach) + 2)
            low -= low % self.step
            spans.append(slice(low, max(high, low + 1)))
        return spans[0], spans[1]

    def part(self, image: NDArray[Any], margin: float = 0.0) -> NDArray[Any]:
        """Part of an image in view, and around it: means over `step` pixels a side."""
        part = image[self.slices(image.shape, margin)]
        if self.step == 1:
            return part
        rows, columns = (np.arange(0, side, self.step) for side in part.shape)
        # In bands: the sums of a mask would make a copy of the whole, of 8 bytes a pixel.
        together = max(1, BAND_PIXELS // (self.step * part.shape[1])) * self.step
        sums = []
        for first in range(0, part.shape[0], together):
            band = part[first : first + together]
            joined = np.add.reduceat(band, np.arange(0, len(band), self.step), axis=0)
            sums.append(np.add.reduceat(joined, columns, axis=1))
        high, wide = (
            np.diff(np.append(first, side))
            for first, side in zip((rows, columns), part.shape, strict=True)
        )
        return np.asarray(np.concatenate(sums) / (high[:, None] * wide))

    def smooth(self, image: NDArray[Any], sigma: float) -> NDArray[np.float64]:
        """Part of an image in view after a Gaussian of `sigma` pixels, means as in `part`."""
        # The filter ends at 4 sigma.
        margin = 4 * sigma + 1
        wide, shown = self.slices(image.shape, margin), self.slices(image.shape)
        filtered = gaussian_filter(np.asarray(self.part(image, margin), float), sigma / self.step)
        rows, columns = (
            slice((s.start - w.start) // self.step, -(-(s.stop - w.start) // self.step))
            for s, w in zip(shown, wide, strict=True)
        )
        return filtered[rows, columns]

    def show(self, ax: Axes, part: NDArray[Any], shape: tuple[int, ...], **look: Any) -> AxesImage:
        """Draw a `part` of an image of some shape, with arguments of `Axes.imshow`."""
        rows, columns = self.slices(shape)
        right, top = (
            first.start + self.step * side
            for first, side in zip((columns, rows), part.shape[::-1], strict=True)
        )
        extent = (columns.start - 0.5, right - 0.5, rows.start - 0.5, top - 0.5)
        look = {"origin": "lower", "interpolation": "nearest", **look}
        return ax.imshow(part, extent=extent, **look)

    def finish(self, ax: Axes) -> None:
        """Set the limits of an axes to the view, without ticks."""
        ax.set_xlim(self.x - self.half, self.x + self.half)
        ax.set_ylim(self.y - self.half, self.y + self.half)
        ax.set_xticks([])
        ax.set_yticks([])


def choose_views(result: CavityResult) -> list[View]:
    """Choose the part of the image that holds all cavities, and a closer one where it is needed."""
    height, width = result.observation.counts.shape
    x, y = result.centre
    largest = 0.5 * max(height, width)
    if not result.cavities:
        return [View(x, y, min(largest, max(64.0, 0.3 * largest + 32)))]
    away = [np.hypot(c.x - x, c.y - y) for c in result.cavities]
    reach = [d + c.semi_major if d > 0 else 0.0 for d, c in zip(away, result.cavities, strict=True)]
    half = float(np.clip(1.3 * max(reach), 40, largest * 1.05))
    views = [View(x, y, half)]
    inner = [
        r
        for r, c in zip(reach, result.cavities, strict=True)
        if c.semi_major < 2 * half / WORTH_A_ZOOM and r < 0.5 * half
    ]
    if inner:
        views.append(View(x, y, max(1.4 * max(inner), 20.0)))
    return views


def smoothing(result: CavityResult, view: View) -> float:
    """Gaussian sigma [pixel] that gathers about 15 counts, between a pixel and 1/45 of the view."""
    part = np.asarray(view.part(result.observation.counts), float)
    positive = float(np.clip(np.median(gaussian_filter(part, 3.0 / view.step)), 1e-3, None))
    wanted = np.sqrt(15 / (4 * np.pi * positive))
    return float(np.clip(wanted, 0.6, max(0.6, 2 * view.half / 45)))
