"""Figure of a search's completeness: which cavities would have been found in an image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from physml.evaluation.figures import interval_plot, new_figure, style

from .result import Recovery, share

#: Colour, marker and line width of all distances, and of the thirds of them.
LOOKS = (("black", "o", 2.4), ("blue", "^", 1.2), ("orange", "s", 1.2), ("purple", "v", 1.2))


def plot_completeness(recovery: Recovery) -> Figure:
    """Completeness against radius, distance and S/N, and the false alarms in words."""
    low, high = recovery.false_alarm_interval
    with style():
        figure, axes = new_figure(1, 3, size=(4.85, 4.9))
        plot_completeness_radius(recovery, axes[0, 0])
        plot_completeness_plane(recovery, axes[0, 1])
        plot_completeness_snr(recovery, axes[0, 2])
        figure.suptitle(
            f"Injection and recovery in the smooth model of this image: {recovery.draws} draws "
            f"without cavities, {recovery.alarmed} with a false one "
            f"({recovery.false_alarm_rate:.0%}, 68 % interval {low:.0%} - {high:.0%})"
        )
    return figure


def plot_completeness_radius(recovery: Recovery, ax: Axes) -> Axes:
    """Completeness against radius, for all distances and for thirds of them."""
    table = recovery.completeness
    ax.set(title="Completeness against radius", xlabel=f"radius [{table['radius_low'].unit}]")
    if len(table):
        unit = table["distance_low"].unit
        near, far = table["distance_low"].value, table["distance_high"].value
        spans = dict.fromkeys(zip(near, far, strict=True))
        for (low, high), (colour, marker, width) in zip(spans, LOOKS, strict=False):
            rows = table[(near == low) & (far == high) & (table["injected"] > 0)]
            names = ("completeness", "completeness_low", "completeness_high")
            interval_plot(
                ax,
                np.sqrt(rows["radius_low"].value * rows["radius_high"].value),
                np.array([rows[name] for name in names]),
                label="all distances" if colour == "black" else f"{low:.0f} - {high:.0f} {unit}",
                colour=colour,
                marker=marker,
                line="-",
                linewidth=width,
                elinewidth=1.0,
            )
        ax.legend()
        _logarithmic(ax, "x")
    return _completeness_axis(ax)


def plot_completeness_plane(recovery: Recovery, ax: Axes) -> Axes:
    """Each injected cavity in the plane of distance and radius, found or missed."""
    table = recovery.injections
    found = np.asarray(table["found"], bool)
    for which, colour, marker, label in (
        (found, "#0072B2", "o", "found"),
        (~found, "#D55E00", "x", "missed"),
    ):
        places = table["distance"].value[which], table["radius"].value[which]
        ax.plot(*places, ls="", marker=marker, color=colour, alpha=0.8, label=label)
    _logarithmic(ax, "xy")
    ax.set(
        title="Injected cavities",
        xlabel=f"distance from the centre [{table['distance'].unit}]",
        ylabel=f"radius [{table['radius'].unit}]",
    )
    ax.legend()
    return ax


def plot_completeness_snr(recovery: Recovery, ax: Axes) -> Axes:
    """Completeness against the signal to noise that a cavity would have."""
    snr = np.clip(np.asarray(recovery.injections["snr"], float), 0.1, None)
    found = np.asarray(recovery.injections["found"], bool)
    if len(snr):
        edges = np.quantile(snr, np.linspace(0, 1, max(2, min(8, len(snr) // 8 + 1)) + 1))
        bins = [(snr >= low) & (snr <= high) for low, high in pairwise(edges)]
        shares = share([found[here].sum() for here in bins], [here.sum() for here in bins])
        middle = [np.median(snr[here]) for here in bins]
        interval_plot(ax, middle, shares, colour="black", line="-")
        _logarithmic(ax, "x")
    ax.set(title="Completeness against signal to noise", xlabel="expected signal to noise")
    return _completeness_axis(ax)


def _logarithmic(ax: Axes, axes: str) -> None:
    """Make axes logarithmic, their numbers written plainly."""
    for name in axes:
        ax.set(**{f"{name}scale": "log"})
        axis = ax.xaxis if name == "x" else ax.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axis.set_minor_formatter(NullFormatter())


def _completeness_axis(ax: Axes) -> Axes:
    ax.set(ylim=(-0.03, 1.05), ylabel="share found")
    return ax
