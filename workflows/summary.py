"""Say where the results of a run are, and of what. Called by `make run`.

`summary.json` of a pipeline may name its example (`example`) and say where that comes from
(`note`), such as that it had to be simulated.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from physml.io.atomic import read_json


def summary(results: Path) -> Table:
    """One row for each kind of result of each pipeline."""
    table = Table("pipeline", "what", "where", box=None, pad_edge=False, header_style="bold")
    for report in sorted(results.glob("*/report")):
        found = {
            "catalogue": sorted(report.glob("*.ecsv")),
            "figures": [*sorted(report.glob("*.png")), *report.parent.glob("evaluation/figures")],
            "page": sorted(report.glob("index.html")),
        }
        about = read_json(report / "summary.json") if (report / "summary.json").exists() else {}
        if "example" in about:
            text = ": ".join(str(about[key]) for key in ("example", "note") if about.get(key))
            table.add_row(report.parent.name, "example", text)
        for what, paths in found.items():
            for path in paths:
                table.add_row(report.parent.name, what, os.path.relpath(path))
    if (results / "report.html").is_file():
        table.add_row("all", "HTML report", os.path.relpath(results / "report.html"))
    return table


if __name__ == "__main__":
    # Wide enough that no path is wrapped: paths are there to be copied.
    Console(width=200).print(summary(Path(sys.argv[1])))
