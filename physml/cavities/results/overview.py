"""The picture of a result: image, residual and probability, with the cavities drawn in.

Each panel is made by a function that takes and returns `ax`. Where small cavities would drown in
the view of the large ones, a second row shows the inner part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from physml.evaluation.figures import colour_bar

from .catalogue import short_table
from .result import CavityResult

STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
#: Lengths of scale bars [arcsec].
NICE = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1800, 3600)
#: The view is shown twice when it is this many times wider than the smallest cavity's axis.
WORTH_A_ZOOM = 12.0
#: Pixels that a panel shows along a side at least; of larger views it shows means of several.
LARGE = 1024
#: Rows of the catalogue that are written below the panels.
LISTED_ROWS = 8
#: Columns of them.
SHOWN = (
    *("no.", "probability", "S/N", "distance", "azimuth", "radius", "a x b", "decrement"),
    *("d [kpc]", "R [kpc]", "4pV [erg]", "t_buoy [Myr]", "P_buoy [erg/s]", "flags"),
)


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
        sums = np.add.reduceat(np.add.reduceat(part, rows, axis=0), columns, axis=1)
        high, wide = (
            np.diff(np.append(first, side))
            for first, side in zip((rows, columns), part.shape, strict=True)
        )
        return np.asarray(sums / (high[:, None] * wide))

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


def plot_overview(result: CavityResult) -> Figure:
    """Image, residual and probability of a result, and a short table."""
    views = choose_views(result)
    panels = {"Counts": plot_counts, "Residual": plot_residual, "Probability": plot_probability}
    with mpl.rc_context(STYLE):
        lines = min(len(result.cavities), LISTED_ROWS) + 1 if result.cavities else 1
        table_height = 0.35 + 0.24 * lines
        height = 0.72 + 4.62 * len(views) + table_height
        figure = Figure(figsize=(15.6, height))
        grid = figure.add_gridspec(
            len(views),
            len(panels),
            left=0.012,
            right=0.945,
            bottom=table_height / height,
            top=1 - 0.62 / height,
            wspace=0.2,
            hspace=0.04,
        )
        for i, view in enumerate(views):
            for j, (title, plot) in enumerate(panels.items()):
                ax = plot(result, view, figure.add_subplot(grid[i, j]))
                if i == 0:
                    ax.set_title(title)
                    for other in views[1:]:
                        _mark_view(ax, other)
        figure.text(0.015, 1 - 0.12 / height, _title(result), size=14, weight="bold", va="top")
        _table(result, figure, 0.015, (table_height - 0.14) / height, 0.24 / height)
    return figure


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


def plot_counts(result: CavityResult, view: View, ax: Axes) -> Axes:
    """Smoothed counts, stretched logarithmically, with the cavities, scale bar and compass."""
    rate = _smooth_rate(result, view)
    good = rate[np.isfinite(rate) & (rate > 0)]
    low, high = (np.percentile(good, 20), good.max()) if good.size else (0.1, 1.0)
    low = max(low, high / 3000)
    # asinh is the logarithm that also knows what to do at and below zero.
    stretched = np.arcsinh(rate / low) if low > 0 else rate
    scale = Normalize(np.arcsinh(0.3), np.arcsinh(high / low))
    shape = result.observation.counts.shape
    image = view.show(ax, stretched, shape, cmap=_with_grey("inferno"), norm=scale)
    bar = colour_bar(ax, image, "counts per pixel")
    ticks = [v for v in 10.0 ** np.arange(-4, 6) if low * 0.3 <= v <= high]
    bar.set_ticks([float(np.arcsinh(v / low)) for v in ticks], labels=[f"{v:g}" for v in ticks])
    _finish(result, view, ax, "white")
    _scale_bar(result, view, ax)
    _compass(result, view, ax)
    return ax


def plot_residual(result: CavityResult, view: View, ax: Axes) -> Axes:
    """Smoothed counts minus the smooth model, over its noise, with probability contours."""
    observation = result.observation
    sigma = 2 * smoothing(result, view)
    difference = view.smooth(observation.counts, sigma) - view.smooth(result.model, sigma)
    # Variance of a Gaussian-weighted sum: the squared kernel is a narrower Gaussian.
    variance = view.smooth(result.model, sigma / np.sqrt(2)) / (4 * np.pi * sigma**2)
    significance = difference / np.sqrt(np.maximum(variance, 1e-12))
    significance[view.part(observation.exposed) == 0] = np.nan
    finite = np.abs(significance[np.isfinite(significance)])
    limit = float(np.clip(np.percentile(finite, 99) if finite.size else 5, 4, 25))
    look = {"cmap": _with_grey("RdBu_r"), "vmin": -limit, "vmax": limit}
    image = view.show(ax, significance, observation.counts.shape, **look)
    colour_bar(ax, image, "(data - smooth model) / noise")
    _contours(result, view, ax)
    _finish(result, view, ax, "black")
    return ax


def plot_probability(result: CavityResult, view: View, ax: Axes) -> Axes:
    """Probability that a pixel lies in a cavity, with the labelled ellipses."""
    part = view.part(result.probability)
    image = view.show(ax, part, result.probability.shape, cmap="cividis", vmin=0, vmax=1)
    colour_bar(ax, image, "probability of a cavity")
    _finish(result, view, ax, "white")
    return ax


def smoothing(result: CavityResult, view: View) -> float:
    """Gaussian sigma [pixel] that gathers about 15 counts, between a pixel and 1/45 of the view."""
    part = np.asarray(view.part(result.observation.counts), float)
    positive = float(np.clip(np.median(gaussian_filter(part, 3.0 / view.step)), 1e-3, None))
    wanted = np.sqrt(15 / (4 * np.pi * positive))
    return float(np.clip(wanted, 0.6, max(0.6, 2 * view.half / 45)))


def _smooth_rate(result: CavityResult, view: View) -> NDArray[np.float64]:
    """Smoothed counts over smoothed exposure: gaps are bridged, unobserved places undefined."""
    sigma = smoothing(result, view)
    seen = view.smooth(result.observation.relative_exposure, sigma)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = view.smooth(result.observation.counts, sigma) / seen
    rate[seen < 0.15] = np.nan
    return rate


def _with_grey(name: str) -> Colormap:
    # Places without data are neither dark nor bright.
    return mpl.colormaps[name].with_extremes(bad="0.6")


def _outlined(colour: str, width: float) -> list[withStroke]:
    """Edge that keeps a mark of a colour visible on any ground."""
    return [withStroke(linewidth=width, foreground="white" if colour == "black" else "black")]


def _finish(result: CavityResult, view: View, ax: Axes, colour: str) -> None:
    """Cavities, centre, limits; no ticks."""
    ax.set_facecolor("0.6")
    for number, c in enumerate(result.cavities):
        ax.add_patch(
            Ellipse(
                (c.x, c.y),
                2 * c.semi_major,
                2 * c.semi_minor,
                angle=np.degrees(c.theta),
                fill=False,
                color=colour,
                linewidth=1.8,
                linestyle=(0, (3, 2)) if result.is_candidate(number) else "-",
                path_effects=_outlined(colour, 3.2),
            )
        )
        _label(result, number, view, ax, colour)
    ax.plot(
        *result.centre,
        marker="+",
        color=colour,
        markersize=9,
        markeredgewidth=1.4,
        path_effects=_outlined(colour, 2.6),
    )
    view.finish(ax)


def _label(result: CavityResult, number: int, view: View, ax: Axes, colour: str) -> None:
    """Write the number of a cavity beside its ellipse, on the side away from the centre."""
    c = result.cavities[number]
    outside = max(abs(c.x - view.x), abs(c.y - view.y)) > view.half
    if outside or c.semi_major < view.half / 22:  # then its number is in the closer view
        return
    ax.annotate(
        str(number + 1),
        _label_place(result, number, view),
        color=colour,
        size=13,
        weight="bold",
        ha="center",
        va="center",
        annotation_clip=True,
        path_effects=_outlined(colour, 2.6),
    )


def _label_place(result: CavityResult, number: int, view: View) -> tuple[float, float]:
    """Choose a place beside the ellipse: outwards if that is free, else around it."""
    c = result.cavities[number]
    outwards = np.arctan2(c.y - result.centre[1], c.x - result.centre[0])
    places = []
    for turn in (0, 40, -40, 80, -80, 180):
        angle = outwards + np.radians(turn)
        step = np.cos(angle), np.sin(angle)
        # Radius of the ellipse towards that side.
        reach = 1 / np.sqrt(max(float(c.squared_radius(c.x + step[0], c.y + step[1])), 1e-12))
        away = reach + 0.055 * view.half
        place = c.x + step[0] * away, c.y + step[1] * away
        u, v = (place[0] - view.x) / view.half, (place[1] - view.y) / view.half
        # The lower corners belong to the scale bar and the compass.
        if max(abs(u), abs(v)) < 0.95 and not (v < -0.55 and (u > 0.5 or u < -0.3)):
            return place
        places.append(place)
    return places[0]


def _contours(result: CavityResult, view: View, ax: Axes) -> None:
    rows, columns = view.slices(result.probability.shape)
    shown = view.part(result.probability)
    if shown.max() < 0.5 or min(shown.shape) < 2:
        return
    y, x = (
        first.start + (view.step - 1) / 2 + view.step * np.arange(side)
        for first, side in zip((rows, columns), shown.shape, strict=True)
    )
    ax.contour(x, y, shown, levels=[0.5], colors="black", linewidths=1.0, linestyles=":")


def _mark_view(ax: Axes, view: View) -> None:
    corner, side = (view.x - view.half, view.y - view.half), 2 * view.half
    ax.add_patch(Rectangle(corner, side, side, fill=False, color="0.85", lw=1.0, ls=(0, (4, 3))))


def _scale_bar(result: CavityResult, view: View, ax: Axes) -> None:
    """Draw a bar of a round angle (and its length in kpc), or of pixels without a WCS."""
    sky = result.observation.sky
    pixel = np.sqrt(sky.pixel_area(view.x, view.y))
    wanted = 0.3 * 2 * view.half * pixel
    if sky.wcs is None:
        length = float(10 ** np.floor(np.log10(wanted)))
        text = f"{length:g} pixels"
    else:
        length = float(max([0.5, *(angle for angle in NICE if angle <= wanted)]))
        text = f'{length:g}"' if length < 60 else f"{length / 60:g}'"
        kpc = result.catalogue.meta.get("kpc_per_arcsec")
        if kpc:
            size = length * kpc
            text += f" = {size:.3g} kpc" if size < 1000 else f" = {size / 1000:.3g} Mpc"
    x, y = view.x - 0.92 * view.half, view.y - 0.90 * view.half
    bar: dict[str, Any] = {"lw": 2.5, "solid_capstyle": "butt", "color": "white"}
    ax.plot([x, x + length / pixel], [y, y], path_effects=_outlined("white", 4), **bar)
    label: dict[str, Any] = {"ha": "left", "va": "bottom", "size": 11, "color": "white"}
    place = (x, y + 0.03 * view.half)
    ax.annotate(text, place, path_effects=_outlined("white", 2.5), **label)


def _compass(result: CavityResult, view: View, ax: Axes) -> None:
    """Arrows to the north and the east, from the local WCS."""
    sky = result.observation.sky
    if sky.wcs is None:
        return
    steps = np.linalg.inv(sky.jacobian(view.x, view.y))
    unit = {name: steps[:, k] / np.hypot(*steps[:, k]) for k, name in enumerate("EN")}
    # Keep both arrows inside: start from the corner that they point away from.
    x, y = (
        middle + view.half * (sign * 0.80 - 0.08 * (unit["E"][k] + unit["N"][k]))
        for k, (middle, sign) in enumerate(((view.x, 1), (view.y, -1)))
    )
    outlined: dict[str, Any] = {"color": "white", "path_effects": _outlined("white", 2.8)}
    arrow = {"arrowstyle": "-|>", "lw": 1.8, "shrinkA": 0, "shrinkB": 0, **outlined}
    text = {"ha": "center", "va": "center", "size": 11, "weight": "bold", **outlined}
    for name, (dx, dy) in unit.items():
        tip, beyond = (
            (x + reach * view.half * dx, y + reach * view.half * dy) for reach in (0.16, 0.21)
        )
        ax.annotate("", tip, (x, y), arrowprops=arrow)
        ax.annotate(name, beyond, **text)


def _title(result: CavityResult) -> str:
    header = result.observation.sky.header
    target = str(header.get("OBJECT", "")).strip() if header is not None else ""
    return f"{target + '  |  ' if target else ''}{result.name}  |  {result.summary()}"


def _table(result: CavityResult, figure: Figure, x: float, y: float, step: float) -> None:
    """Write the catalogue in short, most probable cavities first."""
    if not result.cavities:
        figure.text(x, y, "No candidate reaches the threshold.", va="top", size=11)
        return
    columns = short_table(result.catalogue[:LISTED_ROWS], SHOWN)
    for name, texts in columns.items():
        figure.text(x, y, name, va="top", size=10, weight="bold")
        for i, text in enumerate(texts, start=1):
            figure.text(x, y - i * step, text, va="top", size=10)
        # The figure holds about 180 characters of this size, a margin of 2 between columns.
        x += (max(map(len, (name, *texts))) + 2) / 180
