"""Figures of the evaluation; each function takes an axes, draws, and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from physml.evaluation.figures import (
    COLOURS,
    GREY,
    beside,
    goal,
    interval_ends,
    interval_plot,
    interval_rows,
    legend_below,
    new_figure,
    plain_ticks,
    reliability_diagram,
    series_style,
)

from ..core.frames import Frames
from ..learning.energy_matching import operating_curve
from .methods import CONTEXT, KNOWN, LOCAL, MODEL, OTHER, TREES
from .metrics import BANDS, WIDE, key
from .scored_set import ScoredSet

#: Method -> colour, line.
STYLES: Mapping[str, tuple[str, str]] = {
    MODEL: ("blue", "-"),
    LOCAL: ("sky", "--"),
    CONTEXT: ("sky", ":"),
    TREES: ("vermilion", "-"),
    TREES + OTHER: ("vermilion", "--"),
    TREES + KNOWN: ("vermilion", ":"),
    "boosted trees, local": ("orange", "--"),
    "boosted trees, context": ("orange", ":"),
    "SAC": ("green", "-"),
}
#: Events that make a point.
FEWEST = 20
#: Edges of the bins of the spectrum, keV.
SPECTRUM = np.geomspace(0.3, 10, 19)
TITLES = {
    "close": "near housing, 5 mm",
    "far": "far housing, 15 mm",
    "geant4": "Geant4, far housing",
}


def plot_removed(ax: Axes, scored: ScoredSet) -> Axes:
    """Background removed against photons lost in 0.3-10 keV, for every method.

    Parameters
    ----------
    ax : Axes
    scored : ScoredSet
    """
    events = scored.events
    weight = events.matched(BANDS[WIDE])
    for method, (colour, line) in STYLES.items():
        if method not in scored.scores:
            continue
        _, kept, removed = operating_curve(scored.scores[method], events.label, weight)
        ax.plot(1 - kept, removed, color=COLOURS[colour], ls=line, label=method)
    for loss in (0.01, 0.02, 0.05, 0.1):
        ax.axvline(loss, color="0.85", lw=0.8, zorder=0)
    ax.set(xscale="log", xlim=(2e-3, 0.3), ylim=(0, 1))
    plain_ticks(ax, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2), text="{:.1%}")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlabel="X-rays lost", ylabel="surviving background removed")
    return ax


def plot_bands(ax: Axes, numbers: Mapping[str, Any], retention: float) -> Axes:
    """Background removed in each band at one retention, for every method.

    Parameters
    ----------
    ax : Axes
    numbers : mapping
        Of one set.
    retention : float
    """
    methods = [m for m in STYLES if "at_retention" in numbers["methods"].get(m, {})]
    places = np.arange(len(BANDS), dtype=float)
    for k, method in enumerate(methods):
        found = numbers["methods"][method]["at_retention"]
        colour, line = STYLES[method]
        interval_plot(
            ax,
            beside(places, k, len(methods)),
            [found[b][key(retention)] for b in BANDS],
            label=method,
            colour=colour,
            marker={"-": "o", "--": "s", ":": "^"}[line],
        )
    ax.set_xticks(places, [f"{b} keV" for b in BANDS])
    ax.set_ylim(0, None)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylabel(f"removed where {retention:.0%} of the X-rays stay")
    return ax


def plot_promises(ax: Axes, sets: Mapping[str, Mapping[str, Any]]) -> Axes:
    """Retention achieved by the fixed cuts minus that promised, in points, for each set.

    Parameters
    ----------
    ax : Axes
    sets : mapping
        Set -> its numbers.
    """
    ticks: set[float] = set()
    for k, (name, part) in enumerate(sets.items()):
        fixed = part["methods"][MODEL]["fixed"]
        promised = np.array([float(r) for r in fixed])
        lost = 100 * (1 - promised)
        look: Any = series_style(k)
        ticks |= set(np.round(lost, 3).tolist())
        interval_plot(
            ax,
            beside(lost, k, len(sets), log=True),
            100 * (interval_ends([f[WIDE]["retention"] for f in fixed.values()]) - promised),
            label=TITLES.get(name, name),
            **look,
        )
    goal(ax, 0, (0.3,))
    ax.set_xscale("log")
    plain_ticks(ax, sorted(ticks))
    ax.set(xlabel="loss promised [% of X-rays]", ylabel="kept minus promised [points]")
    ax.legend()
    return ax


def plot_reliability(ax: Axes, sets: Mapping[str, Mapping[str, Any]]) -> Axes:
    """Share that is background against P(background), for each set.

    Parameters
    ----------
    ax : Axes
    sets : mapping
        Set -> its numbers.
    """
    for k, (name, part) in enumerate(sets.items()):
        error = part["calibration"]["error"]["value"]
        told = "-" if error is None else f"{error:.3f}"
        reliability_diagram(
            ax,
            part["calibration"],
            label=f"{TITLES.get(name, name)}: error {told}",
            fewest=FEWEST,
            **series_style(k),
        )
    ax.set(xlabel="P(background)", ylabel="share that is background")
    ax.legend(loc="lower right", fontsize=8)
    return ax


def plot_bins(
    ax: Axes,
    bins: Sequence[Mapping[str, Any]],
    label: str,
    *,
    promised: float,
    removed: bool = False,
) -> Axes:
    """X-rays kept by the fixed cut in bins of some quantity.

    Parameters
    ----------
    ax : Axes
    bins : sequence
        From `metrics.kept_in_bins`.
    label : str
        Of the quantity.
    promised : float
        Retention, drawn as a line.
    removed : bool
        Show the background removed as well, on a scale from 0 to 1.
    """
    edges = np.array([b["low"] for b in bins] + [bins[-1]["high"]], float)
    if edges[0] <= 0:  # the axis is logarithmic
        edges[0] = 0.4 * edges[1]
    centre = np.sqrt(edges[1:] * edges[:-1])
    shown = [("retention", "blue", "o", "X-rays kept")]
    if removed:
        shown.append(("removed", "vermilion", "s", "background removed"))
    lowest = 1.0
    for name, colour, marker, text in shown:
        ends = interval_ends([b[name] for b in bins])
        lowest = float(np.nanmin(ends[1], initial=lowest))
        interval_plot(ax, centre, ends, edges=edges, label=text, colour=colour, marker=marker)
    goal(ax, promised, line=":")
    ax.set_xscale("log")
    margin = 0.1 * (1 - lowest) + 1e-3
    ax.set(xlabel=label, ylim=(0, 1.03) if removed else (lowest - margin, 1 + margin))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    return ax


def plot_map(ax: Axes, found: Mapping[str, Any], shape: tuple[int, int]) -> Axes:
    """Share of the X-rays kept over the detector.

    Parameters
    ----------
    ax : Axes
    found : mapping
        From `metrics.kept_map`.
    shape : tuple of int
        Rows and columns of the detector.
    """
    values = np.array(found["retention"], float)
    picture = ax.imshow(
        100 * values,
        extent=(-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5),
        cmap="cividis",
        origin="lower",
    )
    ax.grid(visible=False)
    ax.figure.colorbar(picture, ax=ax, label="X-rays kept [%]", shrink=0.85)
    p = found["p_value"]
    ax.set(xlabel="x [pixel]", ylabel="y [pixel]")
    ax.set_title("even loss: p = " + ("-" if p is None else f"{p:.2g}"), fontsize=9)
    return ax


def plot_stress(ax: Axes, stress: Mapping[str, Any], retention: float) -> Axes:
    """Retention achieved minus promised under each condition, in points.

    Parameters
    ----------
    ax : Axes
    stress : mapping
        Condition -> its numbers.
    retention : float
        That is promised.
    """
    ends = interval_ends(_fixed(stress, retention, "retention"))
    interval_rows(ax, list(stress), 100 * (ends - retention), colour="blue")
    goal(ax, 0, (0.3, 1), axis="x")
    ax.set_xlabel(f"kept minus promised [points], {retention:.0%} promised")
    return ax


def plot_stress_removed(ax: Axes, stress: Mapping[str, Any], retention: float) -> Axes:
    """Background removed by the fixed cut under each condition; see `plot_stress`."""
    removed = _fixed(stress, retention, "removed")
    interval_rows(ax, [""] * len(stress), removed, colour="vermilion", marker="s")
    ax.set_xlim(0, None)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_xlabel("background removed by that cut")
    return ax


def _fixed(stress: Mapping[str, Any], retention: float, name: str) -> list[Mapping[str, Any]]:
    return [part["fixed"][key(retention)][name] for part in stress.values()]


def plot_spectrum(ax: Axes, scored: ScoredSet, retention: float) -> Axes:
    """Spectrum of the background: after grading, and after the fixed cut.

    Parameters
    ----------
    ax : Axes
    scored : ScoredSet
    retention : float
        Of the cut.
    """
    events = scored.events
    rejected = scored.cuts[MODEL][retention][WIDE]
    norm = scored.live_s * scored.area_cm2 * np.diff(SPECTRUM)
    for which, label, colour, line in (
        (np.ones(len(events), bool), "after grading", "black", "-"),
        (~rejected, f"after the cut for {retention:.0%}", "blue", "-"),
    ):
        use = events.background & which
        rate, _ = np.histogram(events.energy[use], SPECTRUM, weights=events.weight[use])
        square, _ = np.histogram(events.energy[use], SPECTRUM, weights=events.weight[use] ** 2)
        ax.stairs(rate / norm, SPECTRUM, color=COLOURS[colour], ls=line, lw=1.6, label=label)
        ends = np.stack([rate, rate - np.sqrt(square), rate + np.sqrt(square)]) / norm
        middle = np.sqrt(SPECTRUM[1:] * SPECTRUM[:-1])
        interval_plot(ax, middle, ends, colour=colour, marker="none")
    goal(ax, 5e-3, line=":")
    ax.text(9.8, 5.1e-3, "WFI requirement, 2-7 keV", color=GREY, fontsize=8, ha="right")
    ax.set(xscale="log", xlim=(0.3, 10), ylim=(0, None))
    plain_ticks(ax, (0.3, 0.5, 1, 2, 5, 10))
    ax.set(xlabel="energy [keV]", ylabel=r"background [counts / (cm$^2$ s keV)]")
    ax.legend()
    return ax


def plot_saved(ax: Axes, example: Mapping[str, Any]) -> Axes:
    """Exposure time saved on the faint extended source against the X-rays lost.

    Parameters
    ----------
    ax : Axes
    example : mapping
        From `exposure_saved.worked_example`.
    """
    rows = sorted(example["rows"], key=lambda r: r["retention"])
    loss = np.array([100 * (1 - r["retention"]) for r in rows])
    ends = interval_ends([r["saved"] for r in rows])
    interval_plot(ax, loss, ends, line="-")
    ax.set_xscale("log")
    plain_ticks(ax, loss)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.set_ylim(float(np.nanmin(ends[1], initial=0)), None)
    ax.set(xlabel="X-rays lost [%]", ylabel="exposure time saved")
    return ax


def plot_frame(ax: Axes, frames: Frames, frame: int, x: float, y: float, title: str = "") -> Axes:
    """Show all pixels of a frame with one event ringed.

    Parameters
    ----------
    ax : Axes
    frames : Frames
    frame : int
    x, y : float
        Place of the event, pixels.
    title : str
    """
    first, last = np.searchsorted(frames.pixels["frame"], [frame, frame + 1])
    pixels = frames.pixels[first:last]
    # Drawn larger than they are: a pixel of 512 would not be seen.
    ax.scatter(
        pixels["x"],
        pixels["y"],
        c=np.maximum(pixels["energy"], 0.05),
        norm=LogNorm(0.05, 100),
        cmap="viridis_r",
        marker="s",
        s=4,
        linewidths=0,
    )
    ax.plot(x, y, "o", ms=11, mfc="none", mec=COLOURS["vermilion"], mew=1.2)
    ny, nx = frames.shape
    ax.set(xlim=(-1, nx), ylim=(-1, ny), xticks=[], yticks=[], aspect="equal")
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(True)
    ax.set_title(title, fontsize=8)
    return ax


def removed_figure(scored: Mapping[str, ScoredSet]) -> Figure:
    """One panel for each set, 0.3-10 keV."""
    figure, axes = new_figure(1, len(scored), size=(4.4, 4.0))
    for ax, (name, one) in zip(axes[0], scored.items(), strict=True):
        plot_removed(ax, one)
        ax.set_title(TITLES.get(name, name))
    legend_below(figure)
    return figure


def bands_figure(sets: Mapping[str, Mapping[str, Any]], retention: float) -> Figure:
    """One panel for each set."""
    figure, axes = new_figure(1, len(sets), size=(4.6, 3.9))
    for ax, (name, numbers) in zip(axes[0], sets.items(), strict=True):
        plot_bands(ax, numbers, retention)
        ax.set_title(TITLES.get(name, name))
    legend_below(figure)
    return figure


def bias_figure(numbers: Mapping[str, Any], shape: tuple[int, int]) -> Figure:
    """X-rays kept by energy, distance from the border and from particles, and place."""
    figure, axes = new_figure(2, 2, size=(4.6, 3.5))
    found = numbers["bias"]
    promised = found["retention"]
    plot_bins(axes[0, 0], found["energy"], "energy [keV]", promised=promised)
    plot_bins(axes[0, 1], found["border"], "distance from the border [pixel]", promised=promised)
    plot_bins(
        axes[1, 0],
        found["particle_distance"],
        "distance from the nearest particle [pixel]",
        promised=promised,
        removed=True,
    )
    plot_map(axes[1, 1], found["map"], shape)
    axes[0, 0].set_ylabel("X-rays kept")
    axes[1, 0].legend(loc="center right")
    return figure


def stress_figure(stress: Mapping[str, Any], retention: float) -> Figure:
    """Promises and removal under each condition."""
    figure, axes = new_figure(1, 2, size=(4.8, 0.28 * len(stress) + 1.2))
    plot_stress(axes[0, 0], stress, retention)
    plot_stress_removed(axes[0, 1], stress, retention)
    return figure


def examples_figure(scored: ScoredSet, retention: float, each: int = 4) -> Figure:
    """Worst errors first: X-rays lost, background kept, then background that was removed.

    In each row the surest answers: of the X-rays lost those of the highest P(background), of the
    background kept those of the lowest, of the removed some of all.
    """
    events, p = scored.events, scored.scores[MODEL]
    rejected = scored.cuts[MODEL][retention][WIDE]
    inside = events.within(BANDS[WIDE])
    lost = np.flatnonzero(inside & ~events.background & rejected)
    kept = np.flatnonzero(inside & events.background & ~rejected)
    gone = np.flatnonzero(inside & events.background & rejected)
    spread = gone[np.linspace(0, len(gone) - 1, each).astype(int)] if len(gone) else gone
    rows = (
        ("X-ray lost", lost[np.argsort(-p[lost])][:each]),
        ("background kept", kept[np.argsort(p[kept])][:each]),
        ("background removed", spread),
    )
    figure, axes = new_figure(len(rows), each, size=(2.5, 2.7))
    for line, (title, chosen) in zip(axes, rows, strict=True):
        for k, ax in enumerate(line):
            if k >= len(chosen):
                ax.axis("off")
                continue
            e = chosen[k]
            plot_frame(
                ax,
                scored.frames,
                int(events.frame[e]),
                events.x[e],
                events.y[e],
                f"{title}, {events.energy[e]:.1f} keV, p = {p[e]:.2f}",
            )
    figure.suptitle("whole frames; the event is ringed; darker is more energy", fontsize=10)
    return figure


def figures(scored: Mapping[str, ScoredSet], result: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures of an evaluation by name.

    Parameters
    ----------
    scored : mapping
        Set -> `ScoredSet`.
    result : mapping
        From `compare.evaluate_all`; with ``test`` its reliability is shown as well.
    """
    sets = result["sets"]
    retentions = [float(r) for r in result["retention"]]
    middle = min(retentions, key=lambda r: abs(r - 0.98))
    best = "geant4" if "geant4" in sets else "far"
    out = {"removed": removed_figure(scored), "bands": bands_figure(sets, middle)}
    with_test = {**sets, **({"test": result["test"]} if "test" in result else {})}
    singles: dict[str, tuple[Any, ...]] = {
        "promises": (plot_promises, sets),
        "reliability": (plot_reliability, with_test),
        "spectrum": (plot_spectrum, scored[best], middle),
        "sensitivity": (plot_saved, result["sensitivity"]),
    }
    for name, (draw, *arguments) in singles.items():
        out[name], axes = new_figure()
        draw(axes[0, 0], *arguments)
    out["bias"] = bias_figure(sets[best], scored[best].frames.shape)
    if "stress" in result:
        out["stress"] = stress_figure(result["stress"], middle)
    out["examples"] = examples_figure(scored[best], middle)
    return out
