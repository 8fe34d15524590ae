"""Figure of a search's completeness: which cavities would have been found in an image."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from astropy import units as u
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .overview import STYLE
from .recovery import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .recovery import Recovery


def plot_completeness(recovery: Recovery) -> Figure:
    """Completeness against radius, distance and S/N, and the false alarms in words."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14.5, 4.9))
        axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.28})
        figure.subplots_adjust(left=0.055, right=0.985, bottom=0.14, top=0.83)
        plot_completeness_radius(recovery, axes[0])
        plot_completeness_plane(recovery, axes[1])
        plot_completeness_snr(recovery, axes[2])
        low, high = recovery.false_alarm_interval
        figure.suptitle(
            f"Injection and recovery in the smooth model of this image: {recovery.draws} draws "
            f"without cavities, {recovery.alarmed} with a false one "
            f"({recovery.false_alarm_rate:.0%}, 68 % interval {low:.0%} - {high:.0%})",
            x=0.055,
            ha="left",
            size=12,
        )
    return figure


def plot_completeness_radius(recovery: Recovery, ax: Axes) -> Axes:
    """Completeness against radius, for all distances and for thirds of them."""
    table = recovery.completeness
    if not len(table):
        return ax
    unit = _unit(table["radius_low"].unit)
    spans = list(
        dict.fromkeys(zip(table["distance_low"].value, table["distance_high"].value, strict=True))
    )
    styles = [
        ("black", "o", 2.4),
        ("#0072B2", "^", 1.2),
        ("#E69F00", "s", 1.2),
        ("#CC79A7", "v", 1.2),
    ]
    for (near, far), (colour, marker, width) in zip(spans, styles, strict=False):
        rows = table[
            (table["distance_low"].value == near)
            & (table["distance_high"].value == far)
            & (table["injected"] > 0)
        ]
        middle = np.sqrt(rows["radius_low"].value * rows["radius_high"].value)
        share = rows["completeness"]
        everything = colour == "black"
        ax.errorbar(
            middle,
            share,
            [share - rows["completeness_low"], rows["completeness_high"] - share],
            color=colour,
            marker=marker,
            lw=width,
            capsize=3 if everything else 0,
            elinewidth=1.0,
            alpha=1.0 if everything else 0.8,
            label="all distances" if everything else f"{near:.0f} - {far:.0f}{unit}",
        )
    ax.set_xscale("log")
    _plain_ticks(ax)
    ax.set_xlabel(f"radius [{table['radius_low'].unit}]")
    return _completeness_axis(ax, "Completeness against radius", legend=True)


def plot_completeness_plane(recovery: Recovery, ax: Axes) -> Axes:
    """Each injected cavity in the plane of distance and radius, found or missed."""
    table = recovery.injections
    found = np.asarray(table["found"], bool)
    for which, colour, marker, label in (
        (found, "#0072B2", "o", "found"),
        (~found, "#D55E00", "x", "missed"),
    ):
        ax.plot(
            table["distance"].value[which],
            table["radius"].value[which],
            ls="",
            marker=marker,
            color=colour,
            alpha=0.8,
            label=label,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    _plain_ticks(ax)
    ax.set_xlabel(f"distance from the centre [{table['distance'].unit}]")
    ax.set_ylabel(f"radius [{table['radius'].unit}]")
    ax.set_title("Injected cavities")
    ax.legend(frameon=False)
    return ax


def plot_completeness_snr(recovery: Recovery, ax: Axes) -> Axes:
    """Completeness against the signal to noise that a cavity would have."""
    snr = np.clip(np.asarray(recovery.injections["snr"], float), 0.1, None)
    found = np.asarray(recovery.injections["found"], bool)
    if len(snr):
        edges = np.quantile(snr, np.linspace(0, 1, max(2, min(8, len(snr) // 8 + 1)) + 1))
        number, k, middle = [], [], []
        for low, high in pairwise(edges):
            here = (snr >= low) & (snr <= high)
            number.append(here.sum())
            k.append(found[here].sum())
            middle.append(np.median(snr[here]))
        share = np.array(k) / np.array(number)
        low, high = wilson(k, number)
        ax.errorbar(
            middle, share, [share - low, high - share], color="black", marker="o", capsize=3
        )
        ax.set_xscale("log")
        _plain_ticks(ax)
    ax.set_xlabel("expected signal to noise")
    return _completeness_axis(ax, "Completeness against signal to noise", legend=False)


def _plain_ticks(ax: Axes) -> None:
    for axis, scale in ((ax.xaxis, ax.get_xscale()), (ax.yaxis, ax.get_yscale())):
        if scale == "log":
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_minor_formatter(NullFormatter())


def _completeness_axis(ax: Axes, title: str, legend: bool) -> Axes:
    ax.set_ylim(-0.03, 1.05)
    ax.set_ylabel("share found")
    ax.set_title(title)
    ax.grid(alpha=0.3)
    if legend:
        ax.legend(frameon=False, fontsize=9)
    return ax


def _unit(unit: u.UnitBase) -> str:
    return '"' if unit == u.arcsec else f" {unit}"
