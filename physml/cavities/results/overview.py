"""The picture of a result: image, residual and probability, with the cavities drawn in.

Each panel is made by a function that takes and returns `ax`. Where small cavities would drown in
the view of the large ones, a second row shows the inner part.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from physml.evaluation.figures import colour_bar

from .annotations import draw_compass, draw_contours, draw_scale_bar, mark_cavities, mark_view
from .catalogue import short_table
from .result import CavityResult
from .view import View as View
from .view import choose_views as choose_views
from .view import smoothing

STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
#: Rows of the catalogue that are written below the panels.
LISTED_ROWS = 8
#: Columns of them.
SHOWN = (
    *("no.", "probability", "S/N", "distance", "azimuth", "radius", "a x b", "decrement"),
    *("d [kpc]", "R [kpc]", "4pV [erg]", "t_buoy [Myr]", "P_buoy [erg/s]", "flags"),
)


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
                        mark_view(ax, other)
        figure.text(0.015, 1 - 0.12 / height, _title(result), size=14, weight="bold", va="top")
        _table(result, figure, 0.015, (table_height - 0.14) / height, 0.24 / height)
    return figure


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
    mark_cavities(result, view, ax, "white")
    draw_scale_bar(result, view, ax)
    draw_compass(result, view, ax)
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
    draw_contours(result, view, ax)
    mark_cavities(result, view, ax, "black")
    return ax


def plot_probability(result: CavityResult, view: View, ax: Axes) -> Axes:
    """Probability that a pixel lies in a cavity, with the labelled ellipses."""
    part = view.part(result.probability)
    image = view.show(ax, part, result.probability.shape, cmap="cividis", vmin=0, vmax=1)
    colour_bar(ax, image, "probability of a cavity")
    mark_cavities(result, view, ax, "white")
    return ax


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
