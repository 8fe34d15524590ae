"""The picture of a result: where events lie, what they look like, how many X-rays the cut cost.

Each panel is made by a function that takes and returns `ax`.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from physml.evaluation.figures import (
    COLOURS,
    colour_bar,
    interval_plot,
    overview_figure,
    plain_ticks,
    style,
)

from ..core.arrays import Rows, Singles
from ..data.account import READ
from .event_rows import REJECTED
from .maps import grid, images, selected
from .result import BackgroundResult

#: Largest side of the images shown.
MAX_BINS = 128
#: Most bins of the spectra.
ENERGY_BINS = 60
PROBABILITY_BINS = 50
KEPT, CUT = COLOURS["blue"], COLOURS["vermilion"]
GRADE_COLOURS = {
    0: COLOURS["blue"],
    2: COLOURS["orange"],
    3: COLOURS["green"],
    4: COLOURS["purple"],
    6: COLOURS["vermilion"],
}


def plot_overview(result: BackgroundResult) -> Figure:
    """Six panels, and in words what was promised and what is outside of the training.

    Parameters
    ----------
    result : BackgroundResult
    """
    figure, grid = overview_figure(_title(result), _notes(result), wspace=0.34, hspace=0.26)
    with style():
        axes = [figure.add_subplot(grid[k]) for k in range(6)]
        maps = images(result)
        if result.with_frames:
            plot_image(result, maps["KEPT"], "Kept events", axes[0])
            plot_image(result, maps["REJECTED"], "Rejected events", axes[1])
            plot_frame(result, axes[2])
        else:
            plot_image(result, maps["KEPT"], "Events", axes[0])
            plot_image(result, maps["BACKGROUND"], "Sum of P(background)", axes[1], "P(background)")
            plot_grades(result, axes[2])
        plot_spectra(result, axes[3])
        plot_probability(result, axes[4])
        # Of a camera or band that was not trained for, no share of X-rays is told.
        (plot_retention if result.promised else plot_rate)(result, axes[5])
    return figure


def plot_image(
    result: BackgroundResult, image: Singles, title: str, ax: Axes, label: str = "events"
) -> Axes:
    """Counts in pixels, or in squares of them where there are many."""
    pixels = grid(result)
    step = max(1, -(-max(image.shape) // MAX_BINS))
    ny, nx = (-(-n // step) * step for n in image.shape)
    padded = np.zeros((ny, nx))
    padded[: image.shape[0], : image.shape[1]] = image
    binned = padded.reshape(ny // step, step, nx // step, step).sum(axis=(1, 3))
    top = float(binned.max(initial=0.0))
    scale: Normalize = LogNorm(1, top) if top > 30 else Normalize(0, max(top, 1.0))
    colours = mpl.colormaps["magma"].with_extremes(bad="black", under="black")
    drawn = ax.imshow(
        binned,
        origin="lower",
        cmap=colours,
        norm=scale,
        extent=replace(pixels, shape=(ny, nx)).extent,
        interpolation="nearest",
    )
    ax.grid(False)
    ax.set_facecolor("black")
    side = step * pixels.step
    colour_bar(ax, drawn, f"{label} per {f'{side} x {side} pixels' if side > 1 else 'pixel'}")
    ax.set(xlabel=pixels.columns[0], ylabel=pixels.columns[1], title=title)
    return ax


def plot_frame(result: BackgroundResult, ax: Axes) -> Axes:
    """One frame with its tracks and events: the one with most to see."""
    c, example = result.camera, result.example
    assert c is not None
    ny, nx = c.shape
    ax.set(xlim=(0.5, nx + 0.5), ylim=(0.5, ny + 0.5), xlabel="RAWX", ylabel="RAWY", aspect="equal")
    ax.grid(False)
    if example is None:
        ax.set_title("A frame (none has events)")
        return ax
    pixels = example.pixels[example.pixels["energy"] > c.split]
    drawn = ax.scatter(
        pixels["x"] + 1,
        pixels["y"] + 1,
        c=pixels["energy"],
        norm=LogNorm(c.split, max(100.0, float(pixels["energy"].max(initial=1.0)))),
        cmap="viridis_r",
        s=max(6.0, 1500.0 / max(nx, ny)),
        marker="s",
        linewidths=0,
    )
    colour_bar(ax, drawn, "energy of a pixel (keV)")
    rejected = (example.events["FLAG"] & REJECTED) > 0
    for chosen, colour, marker, name in (
        (~rejected, KEPT, "o", "kept"),
        (rejected, CUT, "s", "rejected"),
    ):
        e = example.events[chosen]
        if len(e):
            ax.scatter(
                e["DETX"], e["DETY"], s=110, marker=marker, facecolors="none", edgecolors=colour,
                linewidths=1.6, label=f"{name} ({len(e)})",
            )  # fmt: skip
    if len(example.events) <= 12:
        for e in apart(example.events, 0.05 * max(nx, ny)):
            left = e["DETX"] > 0.7 * nx
            ax.annotate(
                f"{e['ENERGY']:.1f} keV, P {e['P_BKG']:.2f}",
                (e["DETX"], e["DETY"]),
                xytext=(-9 if left else 9, 5),
                textcoords="offset points",
                ha="right" if left else "left",
                size=8,
            )
    ax.legend(loc="best", frameon=True, framealpha=0.8)
    ax.set_title(f"Frame {example.frame}: tracks and events")
    return ax


def apart(events: Rows, distance: float) -> list[Any]:
    """Events whose labels will not lie on each other: none nearer [pixel] to one before."""
    chosen: list[Any] = []
    for e in events:
        if all(np.hypot(e["DETX"] - c["DETX"], e["DETY"] - c["DETY"]) > distance for c in chosen):
            chosen.append(e)
    return chosen


def plot_spectra(result: BackgroundResult, ax: Axes) -> Axes:
    """Spectra of kept and rejected events, and the background expected among the kept."""
    low, high = 0.1, 15.0 if result.camera is None else max(15.0, result.camera.upper)
    # Fewer bins for fewer events: some fifteen in each.
    bins = int(np.clip(len(result.store) / 15, 12, ENERGY_BINS))
    edges = np.geomspace(low, high, bins + 1)
    width = np.diff(edges)
    sums = np.zeros((3, bins))
    for rows, weight in selected(result, None):
        rejected = (rows["FLAG"] & REJECTED) > 0
        for k, w in enumerate((~rejected, rejected, rows["P_BKG"] * ~rejected)):
            sums[k] += np.histogram(rows["ENERGY"], edges, weights=weight * w)[0]
    scale = width * max(result.live_time, 1e-12)
    styles = (
        ("kept" if result.with_frames else "all", KEPT, "-"),
        ("rejected", CUT, "-"),
        ("P(background) summed over " + ("kept" if result.with_frames else "all"), "0.35", ":"),
    )
    for values, (name, colour, line) in zip(sums, styles, strict=True):
        if values.sum() > 0:
            ax.stairs(values / scale, edges, color=colour, linestyle=line, label=name, lw=1.5)
    if sums.sum() > 0:
        ax.set_yscale("log")
        ax.legend(loc="best", frameon=True, framealpha=0.8)
    ax.set_xscale("log")
    ax.set(xlim=(low, high), xlabel="Energy (keV)", ylabel="Events per s per keV", title="Spectra")
    plain_ticks(ax, (0.1, 0.3, 1, 2, 5, 10))
    return ax


def plot_probability(result: BackgroundResult, ax: Axes) -> Axes:
    """Histogram of P(background), kept and rejected stacked."""
    edges = np.linspace(0, 1, PROBABILITY_BINS + 1)
    sums = np.zeros((2, PROBABILITY_BINS))
    for rows, weight in selected(result, None):
        rejected = (rows["FLAG"] & REJECTED) > 0
        for k, chosen in enumerate((~rejected, rejected)):
            sums[k] += np.histogram(rows["P_BKG"][chosen], edges, weights=weight[chosen])[0]
    ax.stairs(sums[0], edges, fill=True, color=KEPT, label="kept" if result.with_frames else "all")
    if result.with_frames:
        ax.stairs(sums.sum(axis=0), edges, baseline=sums[0], fill=True, color=CUT, label="rejected")
    top = float(sums.sum(axis=0).max(initial=0.0))
    if top > 0:
        ax.set_yscale("log")
        ax.set_ylim(0.5, 2 * top)
        ax.legend()
    ax.set(
        xlim=(0, 1),
        xlabel="P(background), at equal numbers of both",
        ylabel="Events",
        title="Probability",
    )
    return ax


def plot_retention(result: BackgroundResult, ax: Axes) -> Axes:
    """Share of the effective area that the cut leaves, by energy."""
    c = result.correction
    value, error = c.of(result.tally.rate or [0.0])
    edges = c.energy
    middle = np.sqrt(edges[1:] * edges[:-1])
    ax.axhline(result.retention, color="0.4", linestyle="--", linewidth=1.2, label="promised")
    ends = np.stack([value, value - error, value + error])
    interval_plot(ax, middle, ends, edges=edges, colour=KEPT, label="measured in these frames")
    reach = max(0.004, 1.6 * float(np.max(np.abs(value - result.retention) + error)))
    ax.set(
        xscale="log",
        ylim=(result.retention - reach, min(1.0005, result.retention + reach)),
        xlabel="Energy (keV)",
        ylabel="Share of X-rays kept",
        title=f"Effective area at {result.tally.mean_rate:.2g} tracks per frame",
    )
    plain_ticks(ax, (0.2, 0.5, 1, 2, 5, 10))
    ax.legend(loc="lower left")
    return ax


def plot_grades(result: BackgroundResult, ax: Axes) -> Axes:
    """P(background) against energy, by grade; what an event list knows."""
    for grade in range(8):
        chosen = [rows[rows["GRADE"] == grade] for rows in result.store.chunks()]
        rows: Any = np.concatenate(chosen)
        if len(rows) == 0:
            continue
        shown = rows[:: max(1, len(rows) // 3000)]
        ax.plot(
            shown["ENERGY"], shown["P_BKG"], ".", ms=3, color=GRADE_COLOURS.get(grade, "0.5"),
            label=f"grade {grade} ({len(rows)})",
        )  # fmt: skip
    ax.set(
        xscale="log",
        ylim=(0, 1),
        xlabel="Energy (keV)",
        ylabel="P(background)",
        title="Energy and grade decide",
    )
    plain_ticks(ax, (0.2, 0.5, 1, 2, 5, 10))
    ax.legend(markerscale=3, loc="best", ncols=2)
    return ax


def plot_rate(result: BackgroundResult, ax: Axes) -> Axes:
    """Events against time."""
    first, last = 0.0, 0.0
    if len(result.intervals):
        first, last = float(result.intervals[0, 0]), float(result.intervals[-1, 1])
    # No bin is shorter than a frame, whose events share their time.
    step = result.frame_time if np.isfinite(result.frame_time) else 0.0
    bins = int(np.clip((last - first) / step, 1, 60)) if step > 0 else 60
    edges = np.linspace(first, max(last, first + 1e-6), bins + 1)
    counts = np.zeros(bins)
    for rows in result.store.chunks():
        counts += np.histogram(rows["TIME"], edges)[0]
    ax.stairs(counts / np.diff(edges), edges - first, color=KEPT)
    ax.set(
        xlabel="Time since the start (s)", ylabel="Events per s", title="Light curve of all events"
    )
    ax.locator_params(axis="x", nbins=5)
    return ax


def _title(result: BackgroundResult) -> str:
    target = ""
    if result.header is not None:
        target = str(result.header.get("OBJECT", "")).strip()
    return f"{target + '  |  ' if target else ''}{result.name}  |  {result.summary()}"


def _notes(result: BackgroundResult) -> list[str]:
    """Lines below the panels."""
    lines = []
    if result.with_frames:
        tally = result.tally
        lines.append(
            f"{tally.frames:,} frames, {result.live_time:,.4g} s; "
            f"{tally.mean_rate:.3g} particle tracks per frame; "
            f"{tally.invalid:,.0f} events whose shape or energy is no X-ray's."
        )
        if result.promised:
            bands = result.correction.bands(tally.rate or [0.0])
            lines.append(
                f"X-rays kept, promised {result.retention:.1%}, measured: "
                + ", ".join(f"{v:.2%} in {a:g}-{b:g} keV" for (a, b), v, _ in bands)
                + "."
            )
        else:
            lines.append(
                f"{result.retention:.1%} of the X-rays were to be kept; that is not promised here."
            )
        if result.housing is not None and result.housing.events:
            low, high = result.housing.interval
            lines.append(
                f"Housing at {result.standoff:.3g} mm ({low:.3g}-{high:.3g}), measured on "
                f"{result.housing.events:,} events."
            )
    else:
        lines.append(
            f"{result.live_time:,.4g} s. Without frames P(background) rests on energy and grade "
            "alone: no cut is made by it, and no retention is promised."
        )
    if result.untrained:
        lines.append("Not trained on: " + "; ".join(result.untrained) + ".")
    lines += [
        f"{part.capitalize()}: {text.rstrip('.')}."
        for part, _, text in result.account.table()
        if part != READ
    ][:4]
    return [part for line in lines for part in textwrap.wrap(line, 170)][:8]
