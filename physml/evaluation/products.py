"""Products of every evaluation: its numbers and its figures, both with their origin."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from matplotlib.figure import Figure

from physml.evaluation.figures import save_figure
from physml.io.atomic import atomic_directory, write_json
from physml.provenance import jsonable


def write_evaluation(
    out: str | PathLike[str],
    result: Mapping[str, Any],
    figures: Mapping[str, Figure],
    record: Mapping[str, Any],
) -> None:
    """Write metrics.json and figures/<name>.png into a new folder, as a whole or not at all.

    Parameters
    ----------
    out : path
    result : dict
        Numbers, as JSON can hold them or as numpy has them.
    figures : dict
        By name.
    record : dict
        Of the run; kept in each file.
    """
    with atomic_directory(out) as folder:
        write_json(folder / "metrics.json", jsonable({**result, "provenance": record}))
        (folder / "figures").mkdir()
        for name, figure in figures.items():
            save_figure(figure, folder / "figures" / f"{name}.png", provenance=record)
