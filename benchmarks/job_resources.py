"""What the jobs of a run asked for and used: the tables of docs/howto/slurm.md.

    snakemake -c2 --config preset=smoke
    python benchmarks/job_resources.py logs --preset smoke --publish
    python benchmarks/job_resources.py logs --sacct --publish      # where Slurm has accounting

The numbers are those that ``python workflows/usage.py`` shows. Published, they take the place of
those of the same run, and leave those of others (the full recipe, a cluster) as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common import results
from common.options import command, parse, write
from common.tables import table

from physml.io.atomic import read_json

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflows"))

SCIENCES = ()


def asked_and_used(runs: Mapping[str, Any]) -> str:
    """Table of the runs whose `benchmark:` files were read."""
    import usage

    rows = []
    for name, run in runs.items():
        last = None
        for pipeline, *cells in run["rows"]:
            first = f"{pipeline}, {name} ({run['date']})" if pipeline != last else ""
            rows.append([first, *cells])
            last = pipeline
    return table(usage.COLUMNS, rows)


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of the texts."""
    import accounting

    blocks = {
        "benchmark": "The largest of all jobs of a stage; threads are the mean load.\n\n"
        + asked_and_used(numbers["benchmark"])
    }
    if found := numbers.get("sacct"):
        blocks["sacct"] = f"Of {found['date']}, on {found['cluster']}.\n\n" + table(
            found.get("columns", accounting.COLUMNS), found["rows"]
        )
    return blocks


def main() -> None:
    """Read what a run left, and print."""
    import accounting
    import usage

    parser = command(__doc__)
    parser.add_argument("logs", type=Path, help="the folder logs/ of the run")
    parser.add_argument("--preset", help="preset of the run; without one the full recipe")
    parser.add_argument("--sacct", action="store_true", help="figures of Slurm's accounting")
    parser.add_argument("--cluster", default="a Slurm cluster", help="what it was, in words")
    a = parse(parser)
    before = results.RESULTS / "job_resources.json"
    numbers = read_json(before)["numbers"] if before.exists() else {"benchmark": {}}
    today = datetime.now(UTC).date().isoformat()
    if a.sacct:
        rules = accounting.submitted(a.logs.absolute().parent / ".snakemake" / "log")
        rows = [list(row) for row in accounting.rows(rules, accounting.ask(rules))]
        numbers["sacct"] = {"date": today, "cluster": a.cluster, "rows": rows}
    else:
        rows = [list(row) for row in usage.rows(a.logs, ROOT / "pipelines", a.preset)]
        run = {"date": today, "rows": rows}
        numbers["benchmark"] |= {a.preset or "full recipe": run}
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
