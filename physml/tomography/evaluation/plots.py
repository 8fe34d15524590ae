"""Figures of the evaluation; each function takes an axes, draws, and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from physml.evaluation.figures import (
    COLOURS,
    GREY,
    beside,
    coverage_curve,
    goal,
    interval_plot,
    interval_rows,
    legend_below,
    new_figure,
    panels,
    series_style,
)

from ..core import limits

#: Method -> colour, marker, line. Adaptive methods have full lines.
STYLES: Mapping[str, tuple[str, str, str]] = {
    "neural, global": ("blue", "o", "-"),
    "neural, product": ("sky", "s", "-"),
    "neural, pauli": ("blue", "o", ":"),
    "particle filter, global": ("vermilion", "^", "-"),
    "particle filter (HS), global": ("orange", "v", "-"),
    "particle filter, product": ("purple", "D", "-"),
    "two-stage, global": ("green", "P", "--"),
    "two-stage, product": ("green", "X", ":"),
    "maximum likelihood, pauli": ("black", "*", ":"),
    "linear, pauli": ("yellow", "d", ":"),
}
LIMIT_LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
#: Of the sheet: coverage of 90 % regions, and the slope of adaptive estimates of pure states.
COVERAGE_WITHIN, SLOPE_WITHIN = 0.03, 0.05
STATISTICS = {"mean": "mean", "median": "median", "percentile_95": "95th percentile"}
TITLES = {
    "hs": "Hilbert-Schmidt",
    "pure": "pure",
    "pure_white_5": "pure + 5 % white noise",
    "test": "as in the training",
}


def style_of(method: str, number: int = 0) -> dict[str, Any]:
    """Colour, marker and line of a method; one by number where it has none of its own."""
    if method not in STYLES:
        return {**series_style(number), "line": "--"}
    return dict(zip(("colour", "marker", "line"), STYLES[method], strict=True))


def title_of(name: str) -> str:
    """Name of a list for people."""
    if name.startswith("r_"):
        return f"Bloch length {name[2:]}"
    return TITLES.get(name, name.replace("_", " "))


def plot_infidelity(
    ax: Axes, part: Mapping[str, Any], copies: Sequence[int], statistic: str = "mean"
) -> Axes:
    """Infidelity against copies for every method, with what physics allows.

    Parameters
    ----------
    ax : Axes
    part : mapping
        Numbers of one list.
    copies : sequence of int
        The marks.
    statistic : str
        One of `STATISTICS`.
    """
    n = np.asarray(copies, np.float64)
    for k, (method, found) in enumerate(part["methods"].items()):
        interval_plot(ax, n, found[statistic], label=method, **style_of(method, k))
    ax.set(xscale="log", yscale="log")
    # Limits may be off the scale of what was measured, and should not widen it.
    bottom, top = ax.get_ylim()
    plot_limits(ax, part["name"], part["n_qubits"], (n[0], n[-1]))
    ax.set_ylim(bottom, min(top, 1.0))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="copies", ylabel=f"{STATISTICS[statistic]} infidelity 1 - F")
    return ax


def plot_limits(ax: Axes, name: str, n_qubits: int, span: tuple[float, float]) -> Axes:
    """Asymptotic lines of `limits.lines`; they are no bounds for few copies near the boundary.

    Parameters
    ----------
    ax : Axes
    name : str
        Of the list.
    n_qubits : int
    span : (float, float)
        Copies between which to draw.
    """
    n = np.geomspace(*span, 50) if span[1] > span[0] else np.asarray(span)
    for (label, line), style in zip(
        limits.lines(name, n_qubits).items(), LIMIT_LINES, strict=False
    ):
        ax.plot(n, line(n), color=GREY, ls=style, lw=1, label=f"limit: {label}", zorder=0)
    return ax


def plot_coverage(
    ax: Axes, lists: Mapping[str, Any], copies: Sequence[int], level: float, method: str
) -> Axes:
    """Share of the states inside their region against copies, one curve a list.

    Parameters
    ----------
    ax : Axes
    lists : mapping
        Numbers of all lists; those without regions of the method are left out.
    copies : sequence of int
    level : float
        That it should be.
    method : str
    """
    shown = [
        (part, part["methods"][method]["coverage"])
        for part in lists.values()
        if part["methods"].get(method, {}).get("coverage")
    ]
    for k, (part, rows) in enumerate(shown):
        x = beside(copies, k, len(shown), log=True)
        look = {"label": _label(part), **series_style(k)}
        coverage_curve(ax, x, rows, level, within=COVERAGE_WITHIN, **look)
    ax.set(xscale="log", xlabel="copies", ylabel=f"truth inside the {level:.0%} region")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_title(method)
    return ax


def plot_slopes(ax: Axes, lists: Mapping[str, Any], methods: Sequence[str] | None = None) -> Axes:
    """Slope of the mean infidelity of every method, one row a method, one marker a list."""
    names = list(methods or dict.fromkeys(m for part in lists.values() for m in part["methods"]))
    for k, part in enumerate(lists.values()):
        found = [part["methods"].get(m, {}).get("slope") for m in names]
        if any(found):
            look = {"label": _label(part), **series_style(k)}
            interval_rows(ax, names, found, k, len(lists), **look)
    goal(ax, -1, [SLOPE_WITHIN], axis="x", line="--")
    goal(ax, -0.5, axis="x", line="--")
    for power, text in ((-1.0, "1/N"), (-0.5, "1/√N")):
        ax.text(power + 0.01, len(names) - 0.35, text, color=GREY, fontsize=9)
    ax.set(ylim=(-0.6, len(names) - 0.1), xlabel="slope of log infidelity against log copies")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(title="qubits: states", loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return ax


def _label(part: Mapping[str, Any]) -> str:
    return f"{part['n_qubits']}: {title_of(part['name'])}"


def plot_latency(ax: Axes, latency: Mapping[str, Any]) -> Axes:
    """CPU time of choosing a basis, of an update and of an estimate, one row a method."""
    rows = {
        "neural": "neural, one experiment",
        "neural_batch": f"neural, batch of {latency['batch']}",
        "particle_filter": "particle filter of 300",
        "particle_filter_by_copy": "the same, copy by copy",
    }
    shown = [key for key in rows if key in latency]
    places = np.arange(len(shown), dtype=float)[::-1]
    for k, (step, colour) in enumerate(
        (("choose", "orange"), ("update", "blue"), ("estimate", "green"))
    ):
        ax.barh(
            places + 0.25 * (1 - k),
            [latency[key][step]["mean"] for key in shown],
            height=0.22,
            color=COLOURS[colour],
            label=step,
        )
    ax.axvline(1.0, color=GREY, ls="--", lw=1)
    ax.set_yticks(places, [rows[key] for key in shown])
    ax.set(xscale="log", xlabel="CPU time, one thread [ms]")
    ax.legend()
    return ax


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """All figures of an evaluation by name."""
    lists, copies = result["lists"], result["copies"]
    made = {}
    # The test split has no rivals.
    compared = {name: p for name, p in lists.items() if p["name"] != "test"}
    for n in sorted({part["n_qubits"] for part in compared.values()}):
        chosen = [part for part in compared.values() if part["n_qubits"] == n]
        for statistic in STATISTICS:
            name = f"infidelity_{n}" + ("" if statistic == "mean" else f"_{statistic}")
            made[name] = infidelity_figure(chosen, copies, statistic)
    covered = dict.fromkeys(
        m for p in lists.values() for m, v in p["methods"].items() if v["coverage"]
    )
    if covered:
        made["coverage"] = coverage_figure(lists, copies, result["level"], list(covered))
    if any(v["slope"] for p in compared.values() for v in p["methods"].values()):
        figure, axes = new_figure(1, 1, size=(7.5, 5.5))
        plot_slopes(axes[0, 0], compared)
        made["slopes"] = figure
    figure, axes = new_figure(1, 1, size=(6.5, 3.4))
    plot_latency(axes[0, 0], result["latency"])
    made["latency"] = figure
    return made


def infidelity_figure(
    parts: Sequence[Mapping[str, Any]], copies: Sequence[int], statistic: str = "mean"
) -> Figure:
    """One panel a list, one legend for all."""
    figure, axes = panels(len(parts), len(parts), size=(4.6, 4.4))
    for ax, part in zip(axes, parts, strict=True):
        plot_infidelity(ax, part, copies, statistic)
        ax.set_title(title_of(part["name"]))
    legend_below(figure)
    return figure


def coverage_figure(
    lists: Mapping[str, Any], copies: Sequence[int], level: float, methods: Sequence[str]
) -> Figure:
    """One panel a method, all on one scale."""
    figure, axes = panels(len(methods), size=(4.6, 3.6))
    for ax, method in zip(axes, methods, strict=True):
        plot_coverage(ax, lists, copies, level, method)
        ax.set_ylim(-0.03, 1.03)
    legend_below(figure, "qubits: states")
    return figure
