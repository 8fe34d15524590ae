"""Figures of the evaluation; each function takes an axes, draws, and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from .overview import STYLE

# Okabe and Ito's colours: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#666666"
LABELS = {
    "counts": "total counts",
    "radius": "radius [pixel]",
    "distance_over_radius": "projected distance / radius",
    "snr": "expected S/N",
}
LOGARITHMIC = ("counts", "radius", "snr")


def plot_completeness(
    ax: Axes, curves: Mapping[str, Sequence[Mapping[str, Any]]], name: str
) -> Axes:
    """Completeness in bins of a property, with intervals.

    Parameters
    ----------
    ax : Axes
    curves : mapping
        Label -> bins from `metrics.completeness_curve`. A label that begins with "ideal" is
        drawn as a line without points.
    name : str
        The property, a key of `LABELS`.
    """
    drawn = 0
    edges: set[float] = set()
    for label, bins in curves.items():
        used = [b for b in bins if b["cavities"] and b["completeness"]["value"] is not None]
        if not used:
            continue
        middle = np.array([_middle(b["low"], b["high"], name) for b in used])
        edges |= {e for b in used for e in (b["low"], b["high"])}
        value = np.array([b["completeness"]["value"] for b in used])
        low = np.array([_or(b["completeness"]["low"], v) for b, v in zip(used, value, strict=True)])
        high = np.array(
            [_or(b["completeness"]["high"], v) for b, v in zip(used, value, strict=True)]
        )
        if label.startswith("ideal"):
            style = "--" if "search" in label else ":"
            ax.plot(middle, value, style, color=GREY, lw=1.6, label=label)
            continue
        error = np.clip([value - low, high - value], 0, None)
        colour = COLOURS[drawn % len(COLOURS)]
        marker = "os^Dvp"[drawn % 6]
        ax.errorbar(
            middle, value, error, color=colour, marker=marker, ms=5, lw=1.6, capsize=2, label=label
        )
        drawn += 1
    if name in LOGARITHMIC:
        ax.set_xscale("log")
    ax.set_ylim(0, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_xlabel(LABELS.get(name, name))
    ax.set_ylabel("completeness")
    ax.grid(alpha=0.25)
    return ax


def plot_alarms(
    ax: Axes, curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], level: float
) -> Axes:
    """Completeness against the share of images without cavities that alarm.

    Parameters
    ----------
    ax : Axes
    curves : mapping
        Label -> (share alarmed, completeness).
    level : float
        The alarm level at which completeness is quoted.
    """
    for k, (label, (alarmed, completeness)) in enumerate(curves.items()):
        ax.plot(alarmed, completeness, color=COLOURS[k % len(COLOURS)], lw=1.8, label=label)
    ax.axvline(level, color=GREY, lw=1, ls=":")
    ax.set_xlim(0, 0.3)
    ax.set_ylim(0, 1.03)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_xlabel("images without cavities that alarm")
    ax.set_ylabel("completeness")
    ax.grid(alpha=0.25)
    return ax


def plot_sizes(ax: Axes, true: NDArray[np.float64], found: NDArray[np.float64]) -> Axes:
    """Measured against true radius [pixel] of the found cavities."""
    ax.plot(true, found, ".", ms=4, alpha=0.4, color=COLOURS[0], mec="none")
    limits = (2.5, 45.0)
    ax.plot(limits, limits, color=GREY, lw=1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ticks = [3, 5, 10, 20, 40]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, [str(t) for t in ticks])
        axis.set_ticks([], minor=True)
    ax.set_aspect("equal")
    ax.set_xlabel("true radius [pixel]")
    ax.set_ylabel("measured radius [pixel]")
    ax.grid(alpha=0.25)
    return ax


def plot_pulls(ax: Axes, pulls: NDArray[np.float64]) -> Axes:
    """Distribution of (measured - true radius) / stated error, with a unit normal."""
    bins = np.linspace(-5, 5, 41)
    clipped = np.clip(pulls, bins[0], bins[-1])
    ax.hist(clipped, bins.tolist(), density=True, color=COLOURS[0], alpha=0.6, lw=0)
    ax.plot(bins, np.exp(-0.5 * bins**2) / np.sqrt(2 * np.pi), color=GREY, lw=1.5)
    ax.set_xlabel("(measured - true radius) / error")
    ax.set_ylabel("density")
    return ax


def plot_reliability(ax: Axes, curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Axes:
    """Share of candidates that are true cavities against their probability.

    Parameters
    ----------
    ax : Axes
    curves : mapping
        Label -> ``reliability`` from `metrics.calibration`.
    """
    ax.plot([0, 1], [0, 1], color=GREY, lw=1)
    for k, (label, rows) in enumerate(curves.items()):
        probability = [r["probability"] for r in rows]
        ax.plot(
            probability,
            [r["hits"] for r in rows],
            color=COLOURS[k % len(COLOURS)],
            marker="os^Dvp"[k % 6],
            ms=5,
            lw=1.4,
            label=label,
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xlabel("probability")
    ax.set_ylabel("share that are true")
    ax.grid(alpha=0.25)
    return ax


def plot_example(
    ax: Axes,
    counts: NDArray[Any],
    true: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    title: str = "",
) -> Axes:
    """One image, smoothed, with true (solid) and predicted (dashed) outlines.

    Parameters
    ----------
    ax : Axes
    counts : ndarray, shape (H, W)
    true, predicted : ndarray of int, shape (H, W)
        Label images.
    title : str
    """
    from scipy.ndimage import gaussian_filter

    # As much smoothing as gathers about 10 counts a pixel in the middle of the image.
    middle = np.clip(np.median(counts[32:-32, 32:-32]), 0.05, None)
    smooth = gaussian_filter(np.asarray(counts, float), np.clip(np.sqrt(0.8 / middle), 0.7, 2.5))
    low = max(np.percentile(smooth, 10), smooth.max() / 3000, 1e-3)
    ax.imshow(np.arcsinh(smooth / low), origin="lower", cmap="Greys", interpolation="nearest")
    for labels, colour, style in ((true, COLOURS[2], "-"), (predicted, COLOURS[1], "--")):
        for k in np.unique(labels[labels > 0]):
            ax.contour(
                labels == k, levels=[0.5], colors=[colour], linewidths=1.4, linestyles=[style]
            )
    ax.set_title(title, fontsize=8)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def completeness_figure(curves: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> Figure:
    """One panel for each property.

    Parameters
    ----------
    curves : mapping
        Property -> label -> bins.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 8), layout="constrained")
        for k, (name, lines) in enumerate(curves.items()):
            ax = figure.add_subplot(2, (len(curves) + 1) // 2, k + 1)
            plot_completeness(ax, lines, name)
            if k == 0:
                ax.legend(fontsize=9, loc="lower right")
    return figure


def examples_figure(panels: Sequence[tuple[NDArray, NDArray, NDArray, str]]) -> Figure:
    """Images with true and predicted outlines, the worst errors among them."""
    columns = 5
    rows = max(1, -(-len(panels) // columns))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * columns, 2.85 * rows + 0.4), layout="constrained")
        for k, panel in enumerate(panels):
            plot_example(figure.add_subplot(rows, columns, k + 1), *panel)
        figure.suptitle("true: solid green, predicted: dashed orange", fontsize=10)
    return figure


def single_figure(*, width: float = 5.2, height: float = 4.6) -> tuple[Figure, Axes]:
    """Make a figure with one axes, without pyplot's global state."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def save(figure: Figure, path: Path, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a figure as PNG with its run record."""
    from .overview import save_figure

    save_figure(figure, path, provenance)


def _middle(low: float, high: float, name: str) -> float:
    if name in LOGARITHMIC and low > 0:
        return float(np.sqrt(low * high))
    if name in LOGARITHMIC:
        return 0.6 * high
    return 0.5 * (low + high)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
