"""The picture of a result: the matrix, its qubits on the sphere, and how well it is known.

Each panel is made by a function that takes and returns `ax`.
"""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from physml.evaluation.figures import COLOURS, interval_rows, overview_figure, style

from ..core.limits import gill_massar, gill_massar_pure, holevo
from ..core.operators import PAULI, partial_trace
from .result import TomographyResult

#: Colours of phases: dark for positive numbers, light for negative ones, from either side.
PHASE = "twilight"
MAX_LABELS = 16
#: Posterior samples drawn on a sphere.
MAX_POINTS = 300
QUBITS = [COLOURS[name] for name in ("blue", "vermilion", "green", "purple", "orange")]


def plot_overview(result: TomographyResult) -> Figure:
    """Six panels, and in words what the user has to know."""
    notes = [line for text in result.warnings for line in textwrap.wrap(f"! {text}", 165)]
    title = textwrap.fill(f"{result.records.name}: {result.summary()}", 140)
    figure, grid = overview_figure(title, notes, left=0.085, wspace=0.3, note_colour="vermilion")
    with style():
        plot_hinton(result.density_matrix, figure.add_subplot(grid[0, 0]))
        plot_bars(result.density_matrix, figure.add_subplot(grid[0, 1], projection="3d"))
        plot_spheres(result, figure.add_subplot(grid[0, 2], projection="3d"))
        plot_numbers(result, figure.add_subplot(grid[1, 0]))
        plot_history(result, figure.add_subplot(grid[1, 1]))
        plot_residuals(result, figure.add_subplot(grid[1, 2]))
    return figure


def labels_of(d: int) -> list[str]:
    """Names of basis states, qubit 0 first; none where they would not be readable."""
    n = d.bit_length() - 1
    return [format(k, f"0{n}b") for k in range(d)] if d <= MAX_LABELS else [""] * d


def plot_hinton(rho: NDArray[np.complex128], ax: Axes) -> Axes:
    """Entries as squares: the area is the modulus, the colour the phase."""
    d = len(rho)
    largest = np.abs(rho).max()
    colours, norm = mpl.colormaps[PHASE], Normalize(-np.pi, np.pi)
    for i in range(d):
        for j in range(d):
            side = 0.95 * np.sqrt(np.abs(rho[i, j]) / largest)
            colour = colours(norm(_phase(rho[i, j])))
            ax.add_patch(
                Rectangle((j - side / 2, i - side / 2), side, side, color=colour, linewidth=0)
            )
    ax.set(xlim=(-0.6, d - 0.4), ylim=(d - 0.4, -0.6), aspect="equal", facecolor="0.93")
    ax.set_xticks(range(d), labels_of(d))
    ax.set_yticks(range(d), labels_of(d))
    ax.set_title(f"Density matrix (largest entry {largest:.3f})")
    ax.grid(False)
    assert isinstance(ax.figure, Figure)
    bar = ax.figure.colorbar(ScalarMappable(norm, colours), ax=ax, fraction=0.046, pad=0.03)
    bar.set_ticks([-np.pi, 0, np.pi], labels=["-π", "0", "π"])
    bar.set_label("phase")
    return ax


def _phase(value: complex) -> float:
    """Phase of an entry; that of zero, which is rounding, is zero."""
    return 0.0 if abs(value) < 1e-12 else float(np.angle(value))


def plot_bars(rho: NDArray[np.complex128], ax: Any) -> Any:
    """Moduli of the entries as columns, coloured by phase."""
    d = len(rho)
    rows, columns = np.indices((d, d))
    heights = np.abs(rho).ravel()
    phases = [_phase(value) for value in rho.ravel()]
    colours = mpl.colormaps[PHASE](Normalize(-np.pi, np.pi)(np.array(phases)))
    ax.bar3d(
        columns.ravel() - 0.35,
        rows.ravel() - 0.35,
        0,
        0.7,
        0.7,
        heights,
        color=colours,
        edgecolor="0.3",
        linewidth=0.3,
        shade=True,
    )
    ax.set_xticks(range(d), labels_of(d), size=8)
    ax.set_yticks(range(d), labels_of(d), size=8)
    ax.set(title="Modulus", zlim=(0, max(0.05, 1.05 * heights.max())))
    ax.view_init(elev=35, azim=-50)
    return ax


def bloch_vectors(rho: torch.Tensor) -> NDArray[np.float64]:
    """Bloch vector of each qubit's own state: (M, d, d) to (M, n, 3)."""
    n = rho.shape[-1].bit_length() - 1
    each = torch.stack([partial_trace(rho, [q]) for q in range(n)], 1)
    return torch.einsum("aij,mqji->mqa", PAULI[1:], each).real.numpy()


def plot_spheres(result: TomographyResult, ax: Any) -> Any:
    """Each qubit's own state in the Bloch sphere, with samples of the posterior."""
    angle = np.linspace(0, 2 * np.pi, 100)
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros(100)
    for x, y, z in ((c, s, zero), (c, zero, s), (zero, c, s)):
        ax.plot(x, y, z, color="0.75", linewidth=0.8)
    for end, text in (
        ((0, 0, 1.15), "0"),
        ((0, 0, -1.2), "1"),
        ((1.2, 0, 0), "+"),
        ((0, 1.2, 0), "+i"),
    ):
        ax.text(*end, text, ha="center", va="center", size=9)
    vectors = bloch_vectors(torch.from_numpy(result.density_matrix)[None])[0]
    weights = result.posterior.weights.numpy()
    # A systematic sample of the posterior: equal steps in the sum of the weights.
    points = min(MAX_POINTS, len(weights))
    at = np.searchsorted(np.cumsum(weights), (np.arange(points) + 0.5) / points)
    cloud = bloch_vectors(result.posterior.particles[np.minimum(at, len(weights) - 1)])
    for q, vector in enumerate(vectors):
        colour = QUBITS[q % len(QUBITS)]
        ax.scatter(*cloud[:, q].T, s=3, color=colour, alpha=0.25, linewidths=0)
        ax.plot(*np.stack([np.zeros(3), vector], 1), color=colour, linewidth=2)
        ax.scatter(*vector[:, None], s=30, color=colour, label=f"qubit {q}")
    ax.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1), title="Each qubit by itself")
    ax.set_box_aspect((1, 1, 1), zoom=1.4)
    ax.set_axis_off()
    ax.legend(loc="upper right")
    return ax


def plot_numbers(result: TomographyResult, ax: Axes) -> Axes:
    """Functionals and eigenvalues with their intervals."""
    intervals = [*result.functionals, *result.eigenvalues[:MAX_LABELS]]
    ends = [(interval.value, interval.low, interval.high) for interval in intervals]
    interval_rows(ax, [interval.name for interval in intervals], ends, elinewidth=3, capsize=0)
    ax.set(ylim=(-0.5, len(intervals) - 0.5), xlim=(-0.02, 1.02))
    ax.set_title(f"Estimates with {result.region.level:.0%} intervals")
    return ax


def plot_history(result: TomographyResult, ax: Axes) -> Axes:
    """Region and estimate as the copies came in, with what physics allows in the mean."""
    steps, d = result.history, len(result.density_matrix)
    if not steps:
        ax.set_title("Region against copies (not followed)")
        return ax
    copies = np.array([step.copies for step in steps], np.float64)
    ax.plot(
        copies,
        [step.radius for step in steps],
        "o-",
        color=COLOURS["blue"],
        label=f"{result.region.level:.0%} region",
    )
    far = [(step.copies, step.distance) for step in steps[:-1] if step.distance > 0]
    if far:
        ax.plot(*np.array(far).T, "s--", color=COLOURS["orange"], label="to the last estimate")
    n = np.geomspace(copies[0], copies[-1], 50)
    bound = holevo(torch.from_numpy(result.density_matrix)[None], n)[0]
    for values, line, name in (
        (gill_massar(d, n), "-", "Gill-Massar, mean"),
        (gill_massar_pure(d, n), "--", "the same, known pure"),
        (bound, ":", "Holevo, collective"),
    ):
        ax.plot(n, np.minimum(values, 1), line, color="0.45", linewidth=1, label=name)
    ax.set(xscale="log", yscale="log", xlabel="copies", ylabel="infidelity")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_title("How well the state is known")
    ax.legend(frameon=True, framealpha=0.85, edgecolor="none")
    return ax


def plot_residuals(result: TomographyResult, ax: Axes) -> Axes:
    """Deviation of each setting from the most likely state."""
    if result.goodness is None:
        ax.set_title("Goodness of fit (not tested)")
        return ax
    fit = result.goodness
    values = list(fit.residuals.values())
    ax.bar(range(len(values)), values, color=COLOURS["sky"])
    ax.axhline(0, color="0.3", linewidth=0.8)
    if len(values) <= MAX_LABELS:
        ax.set_xticks(range(len(values)), list(fit.residuals), rotation=60)
    drift = "" if fit.drift_p_value is None else f", drift p = {fit.drift_p_value:.2g}"
    ax.set(xlabel="setting", ylabel="deviation (standard deviations)")
    ax.set_title(f"Goodness of fit: p = {fit.p_value:.2g}{drift}")
    return ax
