"""Figures in one style. Functions draw on the ``ax`` they are given and return it.

Colours are those of Okabe & Ito (2008), which people with any kind of colour vision can tell
apart; maps are perceptually uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike, NDArray

from physml import provenance as prov
from physml.io.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.gridspec import GridSpec

    from physml.evaluation.calibration import Reliability

#: Colours by name; yellow is faint on white, for single marks only.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}
#: Names of colours in the order in which series take them.
ORDER = ("blue", "vermilion", "green", "purple", "orange", "sky", "black")
#: Markers in the order in which series take them.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Grey of goals, limits and ideals.
GREY = "0.4"
#: Colour map of images.
IMAGE_MAP = "magma"
#: Values with their intervals; see `interval_ends`.
Intervals = Iterable[Mapping[str, float | None] | Sequence[float] | None] | NDArray[np.float64]

#: Settings of matplotlib in which all figures are drawn.
STYLE: Any = {
    # Marker and line change with the colour: prints in black and white stay readable.
    "axes.prop_cycle": cycler(color=list(COLOURS.values())),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "image.origin": "lower",
    "image.interpolation": "nearest",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 130,
}


@contextmanager
def style() -> Iterator[None]:
    """Use this module's style for what is drawn inside the block."""
    with mpl.rc_context(STYLE):
        yield


P = ParamSpec("P")
R = TypeVar("R")


def _styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw in this module's style, whatever the caller's is."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return draw(*args, **kwargs)

    return wrapper


@_styled
def new_figure(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (4.6, 3.8)
) -> tuple[Figure, np.ndarray]:
    """Make a figure that no global state knows of (safe in threads and without a display).

    Parameters
    ----------
    rows, columns : int
        Panels.
    size : (float, float)
        Width and height of one panel [inch].

    Returns
    -------
    figure : Figure
    axes : (rows, columns) array of Axes
    """
    figure = Figure(figsize=(size[0] * columns, size[1] * rows))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def panels(
    number: int, columns: int = 3, size: tuple[float, float] = (4.6, 3.8)
) -> tuple[Figure, list[Axes]]:
    """Make a figure of some panels, row by row; the rest of its last row stays empty.

    Parameters
    ----------
    number : int
        Panels; there is at least one place.
    columns : int
        Most panels in a row.
    size : (float, float)
        Width and height of one panel [inch].

    Returns
    -------
    figure : Figure
    axes : list of Axes
        Those of the panels.
    """
    columns = max(1, min(columns, number))
    figure, axes = new_figure(max(1, -(-number // columns)), columns, size)
    for ax in axes.flat[number:]:
        ax.set_axis_off()
    return figure, list(axes.flat[:number])


@_styled
def overview_figure(
    title: str,
    notes: Sequence[str] = (),
    *,
    rows: int = 2,
    columns: int = 3,
    size: tuple[float, float] = (15.0, 9.4),
    note_colour: str = "black",
    **spacing: float,
) -> tuple[Figure, GridSpec]:
    """Make a figure with a title above its panels and lines of text below them.

    Draw the panels inside of `style`.

    Parameters
    ----------
    title : str
        May have several lines.
    notes : sequence of str
        Lines below the panels; the figure grows with them.
    rows, columns : int
        Panels.
    size : (float, float)
        Width and height without notes [inch].
    note_colour : str
        Name in `COLOURS`, or any colour of matplotlib.
    **spacing : float
        Of the grid: left, right, wspace, hspace.

    Returns
    -------
    figure : Figure
    grid : GridSpec
        For `Figure.add_subplot`.
    """
    line = 0.21  # inch
    height = size[1] + line * len(notes)
    figure = Figure(figsize=(size[0], height))
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)
    place = {"left": 0.06, "right": 0.955, "wspace": 0.32, "hspace": 0.28, **spacing}
    grid = figure.add_gridspec(
        rows,
        columns,
        top=1 - (0.65 + 0.21 * title.count("\n") + 0.2) / height,
        bottom=(0.72 + line * len(notes)) / height,
        **place,
    )
    figure.text(0.06, 1 - 0.15 / height, title, size=13, weight="bold", va="top")
    for k, text in enumerate(reversed(notes)):
        colour = COLOURS.get(note_colour, note_colour)
        figure.text(0.06, (0.12 + line * k) / height, text, size=10, color=colour, va="bottom")
    return figure, grid


def series_style(number: int) -> dict[str, str]:
    """Colour and marker of a series by its number, as arguments of the functions here."""
    return {"colour": ORDER[number % len(ORDER)], "marker": MARKERS[number % len(MARKERS)]}


def plain_ticks(ax: Axes, values: Iterable[float], axis: str = "x", text: str = "{:g}") -> None:
    """Set ticks of a logarithmic axis at some values, written as plain numbers.

    Parameters
    ----------
    ax : Axes
    values : iterable of float
    axis : str
        ``x`` or ``y``.
    text : str
        Format of a number, e.g. ``"{:.0%}"``.
    """
    values = list(values)
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_ticks(values, [text.format(v) for v in values])
    chosen.set_ticks([], minor=True)


@_styled
def legend_below(figure: Figure, title: str | None = None, columns: int = 4) -> None:
    """Draw one legend for all panels of a figure, each label once.

    Parameters
    ----------
    figure : Figure
    title : str, optional
    columns : int
    """
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        handles, labels = ax.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        title=title,
    )


@_styled
def colour_bar(ax: Axes, drawn: ScalarMappable, label: str) -> Colorbar:
    """Draw a colour bar beside an axes, as high as it, which takes no room from it."""
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.02, 0.0, 0.035, 1.0)))
    bar.set_label(label, size=9, labelpad=3)
    bar.ax.tick_params(labelsize=8)
    return bar


@_styled
def save_figure(
    figure: Figure,
    path: str | Path,
    *,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a figure atomically, with its provenance inside where the format is PNG.

    Raises
    ------
    OutputError
        If the file exists and is not to be overwritten, or there is no room.
    """
    path = Path(path)
    metadata: dict[str, str | None] | None = None
    if path.suffix == ".png":
        metadata = {"Software": None}  # matplotlib's version would make equal figures differ
        if provenance is not None:
            metadata[prov.KEY] = prov.dumps(dict(provenance))
    with atomic_path(path, overwrite) as temporary:
        figure.savefig(temporary, metadata=metadata)
    return path


def interval_ends(intervals: Intervals) -> NDArray[np.float64]:
    """Values, low ends and high ends as one array, for drawing and for arithmetic.

    Parameters
    ----------
    intervals : iterable of mapping, of (value, low, high) or of None, or (3, n) array
        Mappings as in metrics.json, with keys ``value``, ``low``, ``high``. None stands for what
        is not defined.

    Returns
    -------
    (3, n) array
        NaN where something is not defined.
    """
    if isinstance(intervals, np.ndarray):
        return intervals.astype(np.float64)
    names = ("value", "low", "high")
    rows = [
        [r[name] for name in names] if isinstance(r, Mapping) else (None,) * 3 if r is None else r
        for r in intervals
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3).T


def beside(x: ArrayLike, number: int, of: int, *, log: bool = False) -> NDArray[np.float64]:
    """Places of one of several series side by side, so that no interval hides another.

    Parameters
    ----------
    x : (n,) array
        Places that the series share; one apart from each other where not ``log``.
    number, of : int
        Number of the series from 0, and how many there are.
    log : bool
        For a logarithmic axis.

    Returns
    -------
    (n,) array
    """
    shift = number - (of - 1) / 2
    places = np.asarray(x, dtype=np.float64)
    return places * 1.06**shift if log else places + 0.8 / max(of, 1) * shift


@_styled
def interval_plot(
    ax: Axes,
    x: ArrayLike,
    intervals: Intervals,
    *,
    rows: bool = False,
    edges: ArrayLike | None = None,
    label: str | None = None,
    colour: str = "blue",
    marker: str = "o",
    line: str = "none",
    **look: Any,
) -> Axes:
    """Draw values with bars from the low to the high end of their intervals.

    Call it again on the same ``ax`` for other methods, with `beside` and `series_style`.

    Parameters
    ----------
    ax : Axes
    x : (n,) array
        Places on the x axis, or on the y axis where ``rows``.
    intervals : iterable of mapping, of (value, low, high) or of None, or (3, n) array
        See `interval_ends`. A value that is not defined is left out, and so is a bar: one of
        no length would say that the value is certain.
    rows : bool
        Values along the x axis, one row each.
    edges : (n + 1,) array, optional
        Edges of bins around ``x``, drawn as bars across.
    label : str, optional
    colour : str
        Name in `COLOURS`, or any colour of matplotlib.
    marker : str
    line : str
        Style of a line that joins the values.
    **look
        Of `Axes.errorbar`, such as ``alpha``.
    """
    x = np.asarray(x, dtype=np.float64)
    value, low, high = interval_ends(intervals)
    # Rounding may put an end on the wrong side of the value by one digit.
    bars = {"yerr": np.clip(np.stack([value - low, high - value]), 0, None)}
    if edges is not None:
        edges = np.asarray(edges, dtype=np.float64)
        bars["xerr"] = np.stack([x - edges[:-1], edges[1:] - x])
    places = (x, value)
    if rows:
        places = (value, x)
        bars = {{"yerr": "xerr", "xerr": "yerr"}[key]: bar for key, bar in bars.items()}
    drawn: dict[str, Any] = {
        "color": COLOURS.get(colour, colour),
        "marker": marker,
        "linestyle": line,
        "capsize": 2,
        "label": label,
        **bars,
        **look,
    }
    ax.errorbar(*places, **drawn)
    return ax


def interval_rows(
    ax: Axes, names: Sequence[str], intervals: Intervals, number: int = 0, of: int = 1, **look: Any
) -> Axes:
    """Draw values with their intervals in rows, the first at the top.

    Parameters
    ----------
    ax : Axes
    names : (n,) sequence of str
        Of the rows; the y axis shows them.
    intervals : iterable of mapping, of (value, low, high) or of None, or (3, n) array
        See `interval_ends`.
    number, of : int
        Number of the series from 0 to draw in these rows, and how many there are.
    **look
        Of `interval_plot`.
    """
    rows = np.arange(len(names), dtype=np.float64)[::-1]
    interval_plot(ax, beside(rows, of - 1 - number, of), intervals, rows=True, **look)
    ax.set_yticks(rows, names)
    return ax


@_styled
def goal(
    ax: Axes, value: float, within: Sequence[float] = (), *, axis: str = "y", line: str = "-"
) -> Axes:
    """Draw a line where values should be, and bands around it, below all else.

    Parameters
    ----------
    ax : Axes
    value : float
    within : sequence of float
        Half widths of the bands.
    axis : str
        Axis on which the value lies, ``x`` or ``y``.
    line : str
    """
    span, across = (ax.axhspan, ax.axhline) if axis == "y" else (ax.axvspan, ax.axvline)
    for k, half in enumerate(sorted(within, reverse=True)):
        span(value - half, value + half, color=f"{0.93 - 0.06 * k:.2f}", linewidth=0, zorder=0)
    across(value, color=GREY, linestyle=line, linewidth=1, zorder=0.5, gid="goal")
    return ax


def coverage_curve(
    ax: Axes, x: ArrayLike, coverage: Intervals, level: float, *, within: float = 0.03, **look: Any
) -> Axes:
    """Draw the share of true values inside their intervals, with the share that it should be.

    Parameters
    ----------
    ax : Axes
    x : (n,) array
    coverage : iterable of mapping, of (value, low, high) or of None, or (3, n) array
        Shares in [0, 1], see `interval_ends`.
    level : float
        Probability content that the intervals promise.
    within : float
        Half width of the band in which a share is right.
    **look
        Of `interval_plot`.
    """
    if not any(drawn.get_gid() == "goal" for drawn in ax.lines):
        goal(ax, level, [within])
    interval_plot(ax, x, coverage, **look)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylabel(f"Truth inside its {level:.0%} interval")
    return ax


@_styled
def completeness_curve(
    ax: Axes,
    edges: np.ndarray,
    value: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    quantity: str,
    label: str | None = None,
    colour: str = "blue",
    marker: str = "o",
    line: str = "-",
    log: bool = False,
) -> Axes:
    """Draw completeness in bins of some quantity, with the bootstrap interval as a band.

    Call it again on the same ``ax`` for a rival or the ideal observer.

    Parameters
    ----------
    ax : Axes
    edges : (n + 1,) array
        Edges of the bins; points are drawn at their centres (geometric where ``log``).
    value, low, high : (n,) array
        Completeness and its interval, in [0, 1]; NaN for an empty bin.
    quantity : str
        Name and unit on the x axis.
    label, colour, marker, line : str, optional
        See `curve_with_band`.
    log : bool
        Logarithmic x axis.
    """
    edges, value = np.asarray(edges, dtype=np.float64), np.asarray(value, dtype=np.float64)
    centres = np.sqrt(edges[1:] * edges[:-1]) if log else (edges[1:] + edges[:-1]) / 2
    use = np.isfinite(value)
    colour = COLOURS.get(colour, colour)
    low, high = np.asarray(low)[use], np.asarray(high)[use]
    ax.fill_between(centres[use], low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(centres[use], value[use], color=colour, marker=marker, linestyle=line, label=label)
    if label is not None:
        ax.legend()
    ax.set(xlabel=quantity, ylabel="Completeness", ylim=(0, 1.02))
    if log:
        ax.set_xscale("log")
    return ax


@_styled
def reliability_diagram(
    ax: Axes,
    reliability: Reliability | Mapping[str, Any],
    *,
    label: str | None = None,
    colour: str = "blue",
    marker: str = "o",
    fewest: int = 10,
) -> Axes:
    """Draw observed frequency against predicted probability, with intervals.

    Call it again on the same ``ax`` for other sets.

    Parameters
    ----------
    ax : Axes
    reliability : Reliability or mapping
        A mapping, as in metrics.json, has for each bin the ``count`` of predictions, the mean
        ``predicted`` and the ``observed`` share with its interval, see `interval_ends`.
        A `Reliability` is drawn with binomial intervals.
    label : str, optional
    colour, marker : str
        See `interval_plot`.
    fewest : int
        Bins with fewer predictions are left out: they show noise.
    """
    if isinstance(reliability, Mapping):
        count, predicted = reliability["count"], reliability["predicted"]
        observed = interval_ends(reliability["observed"])
    else:
        count, predicted = reliability.count, reliability.predicted
        observed = np.vstack([reliability.observed, reliability.observed_interval().T])
    use = np.asarray(count) >= max(1, fewest)
    if not any(drawn.get_gid() == "ideal" for drawn in ax.lines):
        ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, gid="ideal")
    interval_plot(
        ax,
        np.asarray(predicted, dtype=np.float64)[use],
        observed[:, use],
        label=label,
        colour=colour,
        marker=marker,
        line="-",
    )
    ax.set(
        xlabel="Predicted probability",
        ylabel="Observed frequency",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    if label is not None:
        ax.legend(loc="upper left")
    return ax


@_styled
def operating_curve(
    ax: Axes,
    false_rate: np.ndarray,
    true_rate: np.ndarray,
    *,
    label: str | None = None,
    colour: str = "blue",
    x_label: str = "False positive rate",
    y_label: str = "True positive rate",
) -> Axes:
    """Draw a ROC-like curve: what is gained against what it costs in false alarms.

    Parameters
    ----------
    ax : Axes
    false_rate, true_rate : (n,) array
    label : str, optional
    colour : str
        See `interval_plot`.
    x_label, y_label : str
    """
    ax.plot(false_rate, true_rate, color=COLOURS.get(colour, colour), label=label)
    ax.set(xlabel=x_label, ylabel=y_label, ylim=(0, 1.02))
    if label is not None:
        ax.legend(loc="lower right")
    return ax


@_styled
def image_with_contours(
    ax: Axes,
    image: np.ndarray,
    contours: Sequence[tuple[np.ndarray, Sequence[float], str]] = (),
) -> Axes:
    """Draw an image, row 0 at the bottom, with contours of other images over it.

    The brightness is linear at the noise and logarithmic above: that shows faint and bright
    parts, and negative pixels.

    Parameters
    ----------
    ax : Axes
    image : (H, W) array
        Pixels that are not finite are left blank.
    contours : sequence of (array, levels, colour)
        E.g. ``(probability, [0.5], "sky")``; arrays of shape (H, W).
    """
    image = np.asarray(image, dtype=np.float64)
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, [1, 99.8]) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    norm = AsinhNorm(linear_width=max((high - low) / 50, 1e-12), vmin=low, vmax=high)
    ax.imshow(image, norm=norm, cmap=IMAGE_MAP, origin="lower", interpolation="nearest")
    for array, levels, colour in contours:
        inside = [v for v in levels if np.nanmin(array) < v < np.nanmax(array)]
        if inside:  # matplotlib warns about levels that are nowhere reached
            ax.contour(array, levels=inside, colors=COLOURS.get(colour, colour), linewidths=1.2)
    ax.grid(visible=False)
    ax.set(xticks=[], yticks=[])
    return ax


@_styled
def pull_histogram(ax: Axes, pulls: np.ndarray) -> Axes:
    """Draw a histogram of (predicted - true) / error over the normal distribution it should be.

    Parameters
    ----------
    ax : Axes
    pulls : (n,) array
        Those beyond 5 are drawn in the end bins.
    """
    edges = np.linspace(-5, 5, 41)
    clipped = np.clip(np.asarray(pulls, dtype=np.float64), edges[0], edges[-1])
    ax.hist(clipped, list(edges), density=True, color=COLOURS["sky"], alpha=0.7)
    x = np.linspace(-5, 5, 201)
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    ax.plot(x, normal, color=COLOURS["black"], linestyle="--", label="unit normal")
    ax.set(xlabel="(Predicted - true) / error", ylabel="Density")
    ax.legend()
    return ax
