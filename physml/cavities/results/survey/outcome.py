"""Verdict on one target of a survey, the numbers of its row, and its small picture.

They lie beside the target's own products, so that tables and page can be made again from the
folders alone, whichever run of the survey searched them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..overview import choose_views, plot_counts, plot_residual
from ..result import CavityResult

#: File of the outcome in the folder of a target, and of its picture.
OUTCOME, THUMBNAIL = "target.json", "thumbnail.jpg"
#: Quality of that picture, of 100.
QUALITY = 82
#: Verdicts, in the order in which a page lists them.
CAVITIES, CANDIDATES, NONE, FAILED = "cavities", "candidates only", "none", "not searched"
#: Their meaning.
VERDICTS = {
    CAVITIES: "at least one cavity that passes the threshold on false alarms",
    CANDIDATES: "cavities that are more likely than not, none of which passes that threshold",
    NONE: "nothing that is clearly more likely a cavity than not",
    FAILED: "the search failed, see 'error'",
}


def outcome(result: CavityResult) -> dict[str, Any]:
    """Verdict on one target and the numbers of its row, as JSON can hold them.

    Parameters
    ----------
    result : CavityResult
    """
    doubtful = sum(map(result.is_candidate, range(len(result.catalogue))))
    sure = len(result.catalogue) - doubtful
    meta = result.catalogue.meta
    probability = np.asarray(result.catalogue["probability"], float)
    kept: dict[str, Any] = {
        "verdict": CAVITIES if sure else CANDIDATES if doubtful else NONE,
        "summary": str(result.summary()),
        "n_cavities": sure,
        "n_candidates": doubtful,
        "best_probability": float(probability.max()) if len(probability) else None,
        "counts": float(result.observation.total),
        "centre_x": float(result.centre[0]),
        "centre_y": float(result.centre[1]),
        "centre_ra": meta.get("centre_ra"),
        "centre_dec": meta.get("centre_dec"),
        "redshift": result.redshift,
        "kpc_per_arcsec": meta.get("kpc_per_arcsec"),
        "scales": meta.get("scales"),
        "warnings": list(result.warnings),
        "weights": result.card.get("sha256"),
    }
    if result.recovery is not None:
        kept["false_alarm_rate"] = float(result.recovery.false_alarm_rate)
    return kept


def write_thumbnail(result: CavityResult, path: Path) -> None:
    """Write the small picture of a target as JPEG: a page holds hundreds of them, 25 kB each."""
    figure = plot_thumbnail(result)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="jpeg", pil_kwargs={"quality": QUALITY, "optimize": True})


def plot_thumbnail(result: CavityResult) -> Figure:
    """Counts and residual of a target side by side, with its cavities drawn in."""
    view = choose_views(result)[0]
    figure = Figure(figsize=(4.0, 2.0), dpi=100)
    for k, plot in enumerate((plot_counts, plot_residual)):
        ax = figure.add_axes((0.5 * k, 0.0, 0.495, 1.0))
        before = list(figure.axes)
        plot(result, view, ax)
        for bar in [other for other in figure.axes if other not in before]:
            bar.remove()
        ax.set_position((0.5 * k, 0.0, 0.495, 1.0))
        for text in ax.texts:
            text.set_fontsize(7)
    return figure
