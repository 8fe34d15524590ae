"""Figures of the evaluation; each function takes an axes, draws, and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from physml.evaluation.calibration import Reliability
from physml.evaluation.figures import (
    COLOURS,
    MARKERS,
    completeness_curve,
    image_with_contours,
    new_figure,
    operating_curve,
    pull_histogram,
)

ORDER = ("blue", "vermilion", "green", "purple", "orange", "sky")
GREY = "0.4"
FEWEST = 5  # candidates that make a point of the reliability diagram
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
        drawn in grey, without its interval.
    name : str
        The property, a key of `LABELS`.
    """
    drawn = 0
    for label, bins in curves.items():
        edges = np.array([b["low"] for b in bins] + [bins[-1]["high"]])
        if name in LOGARITHMIC and edges[0] <= 0:
            edges[0] = 0.5 * edges[1]
        value, low, high = (
            np.array([_or_nan(b["completeness"][key]) for b in bins])
            for key in ("value", "low", "high")
        )
        ideal = label.startswith("ideal")
        style: dict[str, Any] = {"colour": ORDER[drawn % 6], "marker": MARKERS[drawn % 6]}
        if ideal:
            low = high = value
            style = {"colour": GREY, "marker": "", "line": "--" if "search" in label else ":"}
        else:
            drawn += 1
        log = name in LOGARITHMIC
        completeness_curve(ax, edges, value, low, high, quantity=LABELS[name], log=log, **style)
        # The legend belongs to the figure, not to each panel.
        ax.lines[-1].set_label(label)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
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
        operating_curve(
            ax,
            alarmed,
            completeness,
            label=label,
            colour=ORDER[k % 6],
            x_label="images without cavities that alarm",
            y_label="completeness",
        )
    ax.axvline(level, color=GREY, lw=1, ls=":")
    ax.set_xlim(0, 0.3)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    return ax


def plot_sizes(ax: Axes, true: NDArray[np.float64], found: NDArray[np.float64]) -> Axes:
    """Measured against true radius [pixel] of the found cavities."""
    ax.plot(true, found, ".", ms=4, alpha=0.4, color=COLOURS[ORDER[0]], mec="none")
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
    pull_histogram(ax, pulls)
    return ax


def plot_reliability(ax: Axes, curves: Mapping[str, Reliability]) -> Axes:
    """Share of candidates that are true cavities against their probability, for each set."""
    ax.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1)
    for k, (label, reliability) in enumerate(curves.items()):
        use = reliability.count >= FEWEST
        value, ends = reliability.observed[use], reliability.observed_interval()[use]
        ax.errorbar(
            reliability.predicted[use],
            value,
            yerr=np.clip(np.abs(ends.T - value), 0, None),
            color=COLOURS[ORDER[k % 6]],
            marker=MARKERS[k % 6],
            capsize=2,
            label=f"{label}: calibration error {reliability.ece():.3f}",
        )
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set(xlabel="probability of the candidate", ylabel="share that are true")
    ax.legend(loc="upper left")
    return ax


def plot_example(
    ax: Axes,
    counts: NDArray[Any],
    true: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    title: str = "",
) -> Axes:
    """One image, smoothed, with true (blue) and predicted (orange) outlines.

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
    contours = [
        (labels == k, [0.5], colour)
        for labels, colour in ((true, "sky"), (predicted, "orange"))
        for k in np.unique(labels[labels > 0])
    ]
    image_with_contours(ax, smooth, contours)
    ax.set_title(title, fontsize=8)
    return ax


def completeness_figure(
    curves: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
) -> Figure:
    """One panel for each property.

    Parameters
    ----------
    curves : mapping
        Property -> label -> bins.
    """
    columns = (len(curves) + 1) // 2
    figure, axes = new_figure(2, columns, size=(4.9, 3.7))
    for ax, (name, lines) in zip(axes.flat, curves.items(), strict=False):
        plot_completeness(ax, lines, name)
    axes[0, 0].legend(loc="lower right")
    return figure


def examples_figure(
    panels: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any], str]],
) -> Figure:
    """Images with true and predicted outlines, the worst errors among them."""
    columns = 5
    rows = max(1, -(-len(panels) // columns))
    figure, axes = new_figure(rows, columns, size=(2.5, 2.7))
    for k, ax in enumerate(axes.flat):
        if k < len(panels):
            plot_example(ax, *panels[k])
        else:
            ax.axis("off")
    figure.suptitle("true outlines blue, predicted ones orange", fontsize=10)
    return figure


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
