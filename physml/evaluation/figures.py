"""Figures in one style. Functions draw on the ``ax`` they are given and return it.

Colours are those of Okabe & Ito (2008), which people with any kind of colour vision can tell
apart; maps are perceptually uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import AsinhNorm, LogNorm, Normalize
from matplotlib.figure import Figure

from physml import provenance as prov
from physml.io.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from physml.evaluation.calibration import Reliability

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
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
IMAGE_MAP = "magma"

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


@_styled
def curve_with_band(
    ax: Axes,
    x: np.ndarray,
    value: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    label: str | None = None,
    colour: str = "blue",
    marker: str = "o",
    line: str = "-",
) -> Axes:
    """Draw points, joined, over the band of their interval.

    Parameters
    ----------
    ax : Axes
    x, value, low, high : (n,) array
        Points that are not finite are left out.
    label : str, optional
    colour : str
        A name in `COLOURS`, or any colour of matplotlib.
    marker, line : str
    """
    x, value, low, high = (np.asarray(a, dtype=np.float64) for a in (x, value, low, high))
    use = np.isfinite(x) & np.isfinite(value)
    colour = COLOURS.get(colour, colour)
    ax.fill_between(x[use], low[use], high[use], color=colour, alpha=0.2, linewidth=0)
    ax.plot(x[use], value[use], color=colour, marker=marker, linestyle=line, label=label)
    if label is not None:
        ax.legend()
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
    label, colour, marker, line
        See `curve_with_band`.
    log : bool
        Logarithmic x axis.
    """
    edges = np.asarray(edges, dtype=np.float64)
    centres = np.sqrt(edges[1:] * edges[:-1]) if log else (edges[1:] + edges[:-1]) / 2
    curve_with_band(
        ax, centres, value, low, high, label=label, colour=colour, marker=marker, line=line
    )
    ax.set(xlabel=quantity, ylabel="Completeness", ylim=(0, 1.02))
    if log:
        ax.set_xscale("log")
    return ax


@_styled
def reliability_diagram(
    ax: Axes,
    reliability: Reliability,
    *,
    label: str | None = None,
    colour: str = "blue",
    marker: str = "o",
    smallest: int = 10,
) -> Axes:
    """Draw observed frequency against predicted probability, with binomial intervals.

    Parameters
    ----------
    ax : Axes
    reliability : Reliability
    label : str, optional
        The foreground calibration error is added to it.
    colour, marker : str
    smallest : int
        Bins with fewer predictions are left out: they show noise.
    """
    use = reliability.count >= max(1, smallest)
    predicted, observed = reliability.predicted[use], reliability.observed[use]
    ends = reliability.observed_interval()[use]
    if not any(line.get_gid() == "ideal" for line in ax.lines):
        ax.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, gid="ideal")
    text = f"foreground error {reliability.foreground_ece():.3f}"
    ax.errorbar(
        predicted,
        observed,
        # Clipped: rounding may put an end on the wrong side of the value by one digit.
        yerr=np.clip(np.abs(ends.T - observed), 0, None),
        color=COLOURS.get(colour, colour),
        marker=marker,
        capsize=2,
        label=text if label is None else f"{label}: {text}",
    )
    ax.set(
        xlabel="Predicted probability",
        ylabel="Observed frequency",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    ax.legend(loc="upper left")
    return ax


@_styled
def training_history(
    ax: Axes, history: Sequence[Mapping[str, float]], *, quantity: str = "loss"
) -> Axes:
    """Draw a training and a validation quantity against the epoch, and mark the best.

    Parameters
    ----------
    ax : Axes
    history : sequence of dict
        As in `physml.training.loop.FitResult`.
    quantity : str
        Drawn as ``train_<quantity>``, where there is one, and ``valid_<quantity>``.
    """
    if not history:
        raise ValueError("the history is empty")
    epochs = np.array([record["epoch"] for record in history])
    for kind, colour, line in (("train", "orange", "--"), ("valid", "blue", "-")):
        values = np.array([record.get(f"{kind}_{quantity}", np.nan) for record in history])
        if not np.isfinite(values).any():
            continue
        name = "training" if kind == "train" else "validation (averaged weights)"
        ax.plot(epochs, values, color=COLOURS[colour], linestyle=line, label=name)
        if kind == "valid":
            best = int(np.nanargmin(values))
            ax.plot(
                epochs[best],
                values[best],
                "*",
                color=COLOURS["vermilion"],
                markersize=11,
                label=f"best: {values[best]:.4g} in epoch {epochs[best]:g}",
            )
    ax.set(xlabel="Epoch", ylabel=quantity.replace("_", " ").capitalize())
    ax.legend()
    return ax


@_styled
def operating_curve(
    ax: Axes,
    false_rate: np.ndarray,
    true_rate: np.ndarray,
    *,
    label: str | None = None,
    colour: str = "blue",
    line: str = "-",
    point: tuple[float, float] | None = None,
    x_label: str = "False positive rate",
    y_label: str = "True positive rate",
    log: bool = False,
) -> Axes:
    """Draw a ROC-like curve: what is gained against what it costs in false alarms.

    Parameters
    ----------
    ax : Axes
    false_rate, true_rate : (n,) array
    label : str, optional
    colour, line : str
    point : (float, float), optional
        The operating point, marked.
    x_label, y_label : str
    log : bool
        Logarithmic false rate; points at zero are left out.
    """
    x, y = np.asarray(false_rate, dtype=np.float64), np.asarray(true_rate, dtype=np.float64)
    if log:
        x, y = x[x > 0], y[x > 0]
        ax.set_xscale("log")
    colour = COLOURS.get(colour, colour)
    ax.plot(x, y, color=colour, linestyle=line, label=label)
    if point is not None:
        ax.plot(*point, marker="o", color=colour, markeredgecolor="black", linestyle="none")
    ax.set(xlabel=x_label, ylabel=y_label, ylim=(0, 1.02))
    if label is not None:
        ax.legend(loc="lower right")
    return ax


@_styled
def image_with_contours(
    ax: Axes,
    image: np.ndarray,
    contours: Sequence[tuple[np.ndarray, Sequence[float], str]] = (),
    *,
    scale: Literal["linear", "log", "asinh"] = "asinh",
    limits: tuple[float, float] | None = None,
    colour_map: str = IMAGE_MAP,
    title: str | None = None,
) -> Axes:
    """Draw an image, row 0 at the bottom, with contours of other images over it.

    Parameters
    ----------
    ax : Axes
    image : (H, W) array
        Pixels that are not finite are left blank.
    contours : sequence of (array, levels, colour)
        E.g. ``(probability, [0.5], "sky")``; arrays of shape (H, W).
    scale : str
        Of the brightness. ``asinh`` is linear at the noise and logarithmic above: it shows
        faint and bright parts, and negative pixels.
    limits : (float, float), optional
        Lowest and highest brightness; default: the 1st and the 99.8th percentile.
    colour_map : str
    title : str, optional
    """
    image = np.asarray(image, dtype=np.float64)
    finite = image[np.isfinite(image)]
    if limits is None:
        limits = tuple(np.percentile(finite, [1, 99.8])) if finite.size else (0.0, 1.0)
    low, high = limits
    high = high if high > low else low + 1.0
    norm: Normalize
    if scale == "log":
        norm = LogNorm(max(low, high * 1e-4), high, clip=True)
    elif scale == "asinh":
        norm = AsinhNorm(linear_width=max((high - low) / 50, 1e-12), vmin=low, vmax=high)
    else:
        norm = Normalize(low, high)
    ax.imshow(image, norm=norm, cmap=colour_map, origin="lower", interpolation="nearest")
    for array, levels, colour in contours:
        inside = [v for v in levels if np.nanmin(array) < v < np.nanmax(array)]
        if inside:  # matplotlib warns about levels that are nowhere reached
            ax.contour(array, levels=inside, colors=COLOURS.get(colour, colour), linewidths=1.2)
    ax.grid(visible=False)
    ax.set(xticks=[], yticks=[], title=title or "")
    return ax


@_styled
def pull_histogram(ax: Axes, pulls: np.ndarray, *, label: str | None = None) -> Axes:
    """Draw a histogram of (predicted - true) / error over the normal distribution it should be.

    Parameters
    ----------
    ax : Axes
    pulls : (n,) array
        Those beyond 5 are drawn in the end bins.
    label : str, optional
    """
    edges = np.linspace(-5, 5, 41)
    clipped = np.clip(np.asarray(pulls, dtype=np.float64), edges[0], edges[-1])
    ax.hist(clipped, list(edges), density=True, color=COLOURS["sky"], alpha=0.7, label=label)
    x = np.linspace(-5, 5, 201)
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    ax.plot(x, normal, color=COLOURS["black"], linestyle="--", label="unit normal")
    ax.set(xlabel="(Predicted - true) / error", ylabel="Density")
    ax.legend()
    return ax
