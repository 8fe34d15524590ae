"""Memory of the preprocessing against the size of the data set: it must not grow.

    python benchmarks/preprocess_memory.py --gigabytes 0.5 2 8 --workers 2 --worker-mb 1074

Observations of galaxy clusters are simulated once and repeated under new numbers, so that the raw
shards take as many bytes in memory as asked for. Each set is preprocessed by the command that the
chain runs, with so many workers of so much memory; the memory of the command and of all its
processes is read twice a second. The full set takes about an hour on two cores; sizes that are not
measured keep the row that was published before, with its day.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import results
from common.options import command, parse, write
from common.tables import table
from scaling_parts.measure import PHYSML

from physml.cavities import simulate
from physml.cavities.learning.prepared import RAW
from physml.cavities.settings import CavitiesSettings
from physml.io.atomic import read_json
from physml.io.shards import read_shard, write_shard

SCIENCES = ()
IMAGES = 500  # of a shard
BATCH = 50  # of a task


def repeat(source: Path, gigabytes: float, folder: Path) -> list[Path]:
    """Write shards of so many bytes together, as they are in memory."""
    spec = RAW
    shard = read_shard(source, spec)
    arrays = {name: shard[name] for name in spec}
    size = sum(values.nbytes for values in arrays.values())
    paths = []
    for k in range(max(1, round(gigabytes * 1e9 / size))):
        arrays["index"] = np.arange(k * IMAGES, (k + 1) * IMAGES)
        arrays["cluster"] = arrays["index"].copy()
        paths.append(folder / f"{k}.h5")
        tables = {"cavities": arrays["cavities"]}
        plain = {name: values for name, values in arrays.items() if name != "cavities"}
        write_shard(paths[-1], plain, tables=tables, provenance={})
    return paths


def measure(raw: list[Path], out: Path, workers: int, worker_mb: int) -> dict[str, float]:
    """Preprocess; MB of the command itself, of its largest worker and of all, and seconds."""
    settings = json.dumps({"preprocess": {"batch": BATCH}})
    arguments = ["-q", "-o", str(out), "--threads", str(workers)]
    arguments += ["--mem-mb", str(workers * worker_mb), *map(str, raw)]
    process = psutil.Popen(
        [*PHYSML, "cavities", "preprocess", "--settings", settings, *arguments],
        stderr=subprocess.PIPE,
    )
    began = time.monotonic()
    peak = {"own": 0.0, "worker": 0.0, "all": 0.0}
    while process.poll() is None:
        try:
            own = process.memory_info().rss / 1e6
            others = [child.memory_info().rss / 1e6 for child in process.children(recursive=True)]
        except psutil.Error:  # ended meanwhile
            continue
        now = {"own": own, "worker": max(others, default=0.0), "all": own + sum(others)}
        peak = {name: max(value, now[name]) for name, value in peak.items()}
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(process.stderr.read().decode())
    return peak | {"seconds": time.monotonic() - began}


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of the texts."""
    rows = [
        [
            f"{row['gigabytes']:g}",
            *(f"{row[key]:.0f}" for key in ("own", "worker", "all")),
            f"{row['seconds'] / 60:.1f}",
            row["date"],
        ]
        for row in numbers["rows"]
    ]
    head = ["data, GB", "the stage itself", "largest worker", "all processes", "minutes", "day"]
    caption = (
        f"Peak memory in MB, {numbers['workers']} workers of {numbers['worker_mb']} MB each; "
        f"Dask would begin to spill at {0.6 * numbers['worker_mb']:.0f} MB of a worker."
    )
    return {"memory": f"{caption}\n\n{table(head, rows)}"}


def kept(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """New rows and those published before for other sizes, by size."""
    path = results.RESULTS / "preprocess_memory.json"
    before = read_json(path)["numbers"]["rows"] if path.exists() else []
    by_size = {row["gigabytes"]: row for row in (*before, *rows)}
    return [by_size[size] for size in sorted(by_size)]


def main() -> None:
    """Measure and print."""
    parser = command(__doc__)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.5, 2.0, 8.0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker-mb", type=int, default=1074)
    parser.add_argument("--folder", type=Path, default=None, help="for the files; /tmp by default")
    a = parse(parser)
    settings = CavitiesSettings.model_validate(
        {"simulate": {"n_samples": IMAGES, "shard_size": IMAGES}}
    )
    rows = []
    with tempfile.TemporaryDirectory(dir=a.folder) as name:
        folder = Path(name)
        simulate.run(settings=settings, shard=0, out=folder / "source.h5")
        for gigabytes in a.gigabytes:
            place = folder / f"{gigabytes:g}"
            place.mkdir()
            raw = repeat(folder / "source.h5", gigabytes, place)
            found = measure(raw, place / "data", a.workers, a.worker_mb)
            today = datetime.now(UTC).date().isoformat()
            rows.append({"gigabytes": gigabytes, "date": today, **found})
            for path in raw:
                path.unlink()
    numbers = {"workers": a.workers, "worker_mb": a.worker_mb, "rows": kept(rows)}
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
