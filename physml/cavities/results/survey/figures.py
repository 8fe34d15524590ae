"""Figures of a survey: its cavities among each other, and against those of the literature."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from physml.evaluation.calibration import wilson
from physml.evaluation.figures import COLOURS, GREY, new_figure, style

#: Edges of the bins of signal to noise in which recall is shown.
SNR_EDGES = (-np.inf, 3.0, 5.0, 8.0, 12.0, 20.0, np.inf)
#: Signal to noise at which less than that is drawn: a logarithmic axis knows no zero.
LEAST_SNR = 1.0

CAPTIONS = {
    "sizes": "Radius against projected distance of all listed cavities; open: candidates. The "
    "dotted line is R = d: what lies above it would hold the centre.",
    "signal": "Signal to noise and probability of all listed cavities; open: candidates. A signal "
    "to noise of less than 1 is drawn at 1.",
    "recall": "Share of the known cavities that were found, by the signal to noise that they have "
    "in our images (deficit within the literature's outline, against the gas beside it), with 95 % "
    "intervals (Wilson) and numbers of cavities.",
    "radii": "Our radius against the literature's of the cavities that were found.",
}


def survey_figures(cavities: QTable, known: QTable | None) -> dict[str, Figure]:
    """All figures of a survey for which there is something to be drawn, by name.

    Parameters
    ----------
    cavities : QTable
        From `cavity_table`.
    known : QTable or None
        From `literature_table`.
    """
    out: dict[str, Figure] = {}
    with style():
        if len(cavities):
            for name, draw in (("sizes", plot_sizes), ("signal", plot_signal)):
                out[name], axes = new_figure(size=(4.8, 3.8))
                draw(cavities, axes[0, 0])
        if known is not None and np.isin(known["status"], ("found", "candidate", "missed")).any():
            out["recall"], axes = new_figure(size=(4.8, 3.8))
            plot_recall(known, axes[0, 0])
            if np.isfinite(np.asarray(known["radius_ratio"])).any():
                out["radii"], axes = new_figure(size=(4.8, 3.8))
                plot_radii(known, axes[0, 0])
    return out


def _doubtful(cavities: QTable) -> NDArray[np.bool_]:
    return np.array(["candidate" in str(flags).split() for flags in cavities["flags"]], bool)


def plot_sizes(cavities: QTable, ax: Axes) -> Axes:
    """Radius against distance, in kpc where all have a redshift."""
    in_kpc = "radius_kpc" in cavities.colnames and bool(
        np.isfinite(np.asarray(cavities["radius_kpc"])).all()
    )
    names = ("distance_kpc", "radius_kpc") if in_kpc else ("distance", "radius")
    distance, radius = (np.asarray(cavities[name], float) for name in names)
    _points(ax, np.maximum(distance, 1e-3), radius, _doubtful(cavities))
    good = np.isfinite(distance) & (distance > 0)
    if good.any():
        ends = np.array([distance[good].min(), distance[good].max()])
        ax.plot(ends, ends, ":", color=GREY, lw=1)
    unit = "kpc" if in_kpc else str(cavities["radius"].unit)
    ax.set(xscale="log", yscale="log", xlabel=f"distance d [{unit}]", ylabel=f"radius R [{unit}]")
    _plain_ticks(ax.xaxis, ax.yaxis)
    return ax


def plot_signal(cavities: QTable, ax: Axes) -> Axes:
    """Probability against signal to noise."""
    snr = np.maximum(np.asarray(cavities["snr"], float), LEAST_SNR)
    _points(ax, snr, np.asarray(cavities["probability"], float), _doubtful(cavities))
    ax.set(xscale="log", ylim=(0, 1.03), xlabel="signal to noise", ylabel="probability")
    _plain_ticks(ax.xaxis)
    return ax


def _plain_ticks(*axes: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of logarithmic axes, and none between."""
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _points(ax: Axes, x: NDArray[Any], y: NDArray[Any], doubtful: NDArray[np.bool_]) -> None:
    ax.plot(x[~doubtful], y[~doubtful], "o", color=COLOURS["blue"], label="cavities")
    ax.plot(x[doubtful], y[doubtful], "o", color=COLOURS["orange"], mfc="none", label="candidates")
    if doubtful.any():
        ax.legend()


def recall_by_signal(known: QTable) -> dict[str, NDArray[Any]]:
    """Known cavities in bins of signal to noise, and those of them that were found.

    Parameters
    ----------
    known : QTable
        From `literature_table`.

    Returns
    -------
    dict of ndarray, shape (bins,)
        ``low`` and ``high`` edges, ``known``, ``found`` and ``candidates``.
    """
    status, snr = np.asarray(known["status"]), np.asarray(known["snr"], float)
    placed = np.isin(status, ("found", "candidate", "missed")) & np.isfinite(snr)
    where = np.digitize(snr, SNR_EDGES[1:-1])

    def number(which: NDArray[np.bool_]) -> NDArray[Any]:
        return np.bincount(where[placed & which], minlength=len(SNR_EDGES) - 1)

    return {
        "low": np.array(SNR_EDGES[:-1]),
        "high": np.array(SNR_EDGES[1:]),
        "known": number(np.ones(len(status), bool)),
        "found": number(status == "found"),
        "candidates": number(status == "candidate"),
    }


def plot_recall(known: QTable, ax: Axes) -> Axes:
    """Share of the known cavities that were found, by their signal to noise."""
    bins = recall_by_signal(known)
    some = bins["known"] > 0
    place = np.arange(int(some.sum()))
    total, found = bins["known"][some], bins["found"][some]
    both = found + bins["candidates"][some]
    low, high = wilson(found, total, 0.95).T
    ax.bar(place, both / total, 0.66, color=COLOURS["sky"], label="with candidates", alpha=0.55)
    ax.bar(place, found / total, 0.66, color=COLOURS["blue"], label="found")
    ends = np.stack([found / total - low, high - found / total]).clip(0)
    ax.errorbar(place, found / total, ends, fmt="none", ecolor="0.2", lw=1, capsize=3)
    for x, n in zip(place, total, strict=True):
        ax.annotate(f"{n}", (x, 1.02), ha="center", fontsize=8, color="0.35")
    labels = [
        f"< {b:g}" if not np.isfinite(a) else f"> {a:g}" if not np.isfinite(b) else f"{a:g}-{b:g}"
        for a, b in zip(bins["low"][some], bins["high"][some], strict=True)
    ]
    ax.set_xticks(place, labels)
    ax.set(ylim=(0, 1.1), xlabel="signal to noise in our image", ylabel="share found")
    ax.grid(False, axis="x")
    if (both > found).any():
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)
    return ax


def plot_radii(known: QTable, ax: Axes) -> Axes:
    """Our radius against the literature's [arcsec]."""
    theirs = np.asarray(known["radius"], float)
    ours = theirs * np.asarray(known["radius_ratio"], float)
    both = np.isfinite(ours) & np.isfinite(theirs)
    doubtful = np.asarray(known["status"]) == "candidate"
    _points(ax, theirs[both], ours[both], doubtful[both])
    low, high = min(theirs[both].min(), ours[both].min()), max(theirs[both].max(), ours[both].max())
    ends = np.array([low / 1.2, high * 1.2])
    ax.plot(ends, ends, ":", color=GREY, lw=1)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="radius in the literature [arcsec]",
        ylabel="our radius [arcsec]",
    )
    _plain_ticks(ax.xaxis, ax.yaxis)
    return ax
