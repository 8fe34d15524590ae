"""Figures of the evaluation; the functions that are given an axes draw on it and return it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from physml.evaluation.figures import (
    COLOURS,
    GREY,
    completeness_curve,
    image_with_contours,
    interval_ends,
    new_figure,
    operating_curve,
    panels,
    plain_ticks,
    pull_histogram,
    reliability_diagram,
    series_style,
)

from ..core.matching import ScoredSet, match, matched
from . import metrics
from .found import Found, Images
from .set_metrics import ALARM_LEVEL
from .sets import PARTNER

#: Examples of each kind.
EACH = 5
#: Candidates that make a point of the reliability diagram, at least.
FEWEST = 5
LABELS = {
    "counts": "total counts",
    "radius": "radius [pixel]",
    "distance_over_radius": "projected distance / radius",
    "snr": "expected S/N",
}
LOGARITHMIC = ("counts", "radius", "snr")


def figures(
    images: Mapping[str, Images],
    found: Mapping[str, Found],
    scored: Mapping[str, ScoredSet],
    result: Mapping[str, Any],
) -> dict[str, Figure]:
    """Figures of an evaluation by name.

    Parameters
    ----------
    images, found, scored : mapping
        By name of the set.
    result : mapping
        Numbers, as in metrics.json.
    """
    single = {k: new_figure() for k in ("alarms", "reliability", "sizes", "pulls")}
    axes = {k: axes[0, 0] for k, (_, axes) in single.items()}
    plot_alarms(
        axes["alarms"],
        {
            name: metrics.alarm_curve(scored[name], scored[PARTNER[name]])
            for name in ("clean", "nuisance")
            if name in scored and PARTNER[name] in scored
        },
        ALARM_LEVEL,
    )
    plot_reliability(
        axes["reliability"], {k: scored[k] for k in ("clean", "nuisance", "test") if k in scored}
    )
    truth, measured = matched(scored["nuisance"], found["nuisance"].thresholds)
    plot_sizes(axes["sizes"], truth["radius"], measured["radius"])
    error = np.maximum(measured["radius_err"], 1e-9)
    pull_histogram(axes["pulls"], (measured["radius"] - truth["radius"]) / error)
    return {
        "completeness": completeness_figure(result),
        **{k: figure for k, (figure, _) in single.items()},
        "examples": examples_figure(
            examples(images["nuisance"], found["nuisance"], scored["nuisance"])
        ),
    }


def completeness_figure(result: Mapping[str, Any]) -> Figure:
    """Completeness of the sets and of the ideal observers, a panel for each property.

    Parameters
    ----------
    result : mapping
        Numbers, as in metrics.json.
    """
    sets = result["sets"]
    curves = {
        name: sets[name]["curves"]
        for name in ("clean", "nuisance", "unseen_halo")
        if "curves" in sets.get(name, {})
    }
    for version, ideal in result.get("ideal", {}).get("clean", {}).items():
        curves[f"ideal observer ({version})"] = ideal["curves"]
    figure, axes = panels(len(LABELS), 2, size=(4.9, 3.7))
    for ax, name in zip(axes, LABELS, strict=True):
        plot_completeness(ax, {k: of_all[name] for k, of_all in curves.items()}, name)
    axes[0].legend(loc="lower right")
    return figure


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
        value, low, high = interval_ends(b["completeness"] for b in bins)
        style = series_style(drawn)
        if label.startswith("ideal"):
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
            colour=series_style(k)["colour"],
            x_label="images without cavities that alarm",
            y_label="completeness",
        )
    ax.axvline(level, color=GREY, lw=1, ls=":")
    ax.set_xlim(0, 0.3)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    return ax


def plot_reliability(ax: Axes, scored: Mapping[str, ScoredSet]) -> Axes:
    """Share of candidates that are true cavities against their probability, for each set."""
    for k, (name, one) in enumerate(scored.items()):
        reliability = sum(metrics.candidate_reliability(one), metrics.no_candidates())
        label = f"{name}: calibration error {reliability.ece():.3f}"
        reliability_diagram(ax, reliability, label=label, fewest=FEWEST, **series_style(k))
    ax.set(xlabel="probability of the candidate", ylabel="share that are true")
    return ax


def plot_sizes(ax: Axes, true: NDArray[np.float64], found: NDArray[np.float64]) -> Axes:
    """Measured against true radius [pixel] of the found cavities."""
    ax.plot(true, found, ".", ms=4, alpha=0.4, color=COLOURS["blue"], mec="none")
    limits = (2.5, 45.0)
    ax.plot(limits, limits, color=GREY, lw=1)
    ax.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    for axis in ("x", "y"):
        plain_ticks(ax, (3, 5, 10, 20, 40), axis)
    ax.set(xlabel="true radius [pixel]", ylabel="measured radius [pixel]")
    ax.grid(alpha=0.25)
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


def examples(
    images: Images, found: Found, scored: ScoredSet
) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], str]]:
    """Images with the worst errors, then some at random places of the list.

    The first row holds the cavities of highest S/N that were missed, the second the most
    probable false ones, the third images spread evenly over the counts.
    """
    cavities, candidates = scored.cavities, scored.candidates
    kept = scored.detected(found.thresholds)
    pair = match(scored)
    hit = np.zeros(len(cavities), bool)
    hit[pair[kept & (pair >= 0)]] = True
    missed = np.flatnonzero(~hit)
    missed = missed[np.argsort(-cavities["snr"][missed])]
    false = np.flatnonzero(kept & (pair < 0))
    false = false[np.argsort(-candidates["score"][false])]
    order = np.argsort(scored.counts)
    spread = order[np.linspace(0, len(order) - 1, 2 * EACH).astype(int)]
    lists = [
        [(cavities["image"][i], f"missed, S/N {cavities['snr'][i]:.0f}") for i in missed],
        [(candidates["image"][i], f"false, p = {candidates['score'][i]:.2f}") for i in false],
        [(i, f"{scored.counts[i]:.1e} counts") for i in spread],
    ]
    chosen: dict[int, str] = {}
    for part in lists:
        new: dict[int, str] = {}
        for i, text in part:
            if len(new) < EACH and int(i) not in chosen:
                new.setdefault(int(i), text)
        chosen |= new
    shown = []
    for i, text in chosen.items():
        good = candidates[(candidates["image"] == i) & kept]["label"]
        labels = np.where(np.isin(found.labels[i], good), found.labels[i], 0)
        shown.append((images.counts[i], images.mask[i], labels, text))
    return shown


def examples_figure(
    shown: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any], str]],
) -> Figure:
    """Images with true and predicted outlines, the worst errors among them."""
    figure, axes = panels(len(shown), 5, size=(2.5, 2.7))
    for ax, panel in zip(axes, shown, strict=True):
        plot_example(ax, *panel)
    figure.suptitle("true outlines blue, predicted ones orange", fontsize=10)
    return figure
