"""How fast training images of cavities reach a network, and how much memory that takes.

    python benchmarks/feed.py                      all of it: 15 min on two idle cores, 4 GB of disk
    python benchmarks/feed.py --only rates
    python benchmarks/feed.py --only memory --sizes 10000 50000

Images of 128 x 128 pixels are simulated and preprocessed as the chain does, and repeated under new
numbers. *Rates*: batches of 32 with the augmentation of the recipe, taken as fast as they come, by
0, 1 and 2 workers; what a worker does (read, unpack, thin: the host's part where the network is on
a GPU), the same with what is done where the network is (symmetries, targets, normalisation; here
the same processor), and the way of version 0.1, which held all images in memory. The ways take
turns. *Memory*: peak of a process that trains the recipe's network for a while, images on the disk
or in memory. The largest set is of blank images, which pack into 1 GB instead of 31.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common.options import command, parse, write
from common.tables import table
from feed_parts import files
from feed_parts.before import Before

from physml.cavities.inference.networks import CavityNet
from physml.cavities.learning.image_sets import CavityImages
from physml.cavities.learning.losses import CavityLoss
from physml.cavities.settings import CavitiesSettings
from physml.exceptions import Checkpointed
from physml.stages.train import loop_settings
from physml.training.data import Batches
from physml.training.initialise import initialise
from physml.training.loop import fit

SCIENCES = ()
RECIPE = CavitiesSettings().train
SEED = 1
PARTS = ("rates", "memory")
#: Way of feeding -> how the tables call it.
WAYS = {
    "before": "0.1: in memory, whole batches, in threads",
    "worker": "from the disk, what a worker does",
    "whole": "from the disk, with what is done where the network is",
}
#: Images a second and core that were asked for: 4,000 on four.
GOAL = 1_000
#: Memory of a process that was asked for with a million images, GB.
GOAL_GB = 4


def opened(path: Path, way: str) -> Any:
    """Training set of a way."""
    if way == "before":
        return Before(path, RECIPE.rethin, RECIPE.flatten)
    data = CavityImages.read(path, in_memory=0)
    data.rethin, data.flatten = RECIPE.rethin, RECIPE.flatten
    return data


def cpu_s() -> float:
    """Processor time of this process and those that it has started, s."""
    me = psutil.Process()
    return sum(sum(p.cpu_times()[:2]) for p in (me, *me.children(recursive=True)))


def rate(data: Any, way: str, workers: int, seconds: float) -> dict[str, float]:
    """Images a second, and a second of processor time, over some seconds."""
    batches = iter(Batches(data, RECIPE.batch_size, SEED, workers=workers))

    def take() -> int:
        tensors = next(batches).tensors
        if way == "whole":
            tensors = data.finish(tensors)
        return len(tensors["id"])

    for _ in range(4 * workers + 2):  # workers start, and have filled their queues
        take()
    images, began, cpu = 0, time.monotonic(), cpu_s()
    while time.monotonic() - began < seconds:
        images += take()
    wall, cpu = time.monotonic() - began, cpu_s() - cpu
    batches.close()  # type: ignore[attr-defined]
    return {"wall": images / wall, "cpu": images / cpu}


def rates(path: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Rates of all ways and numbers of workers, one after the other, and again."""
    data = {way: opened(path, way) for way in WAYS}
    cases = [(way, workers) for way in WAYS for workers in (0, 1, 2)]
    found: dict[tuple[str, int], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for way, workers in cases:
            found[way, workers].append(rate(data[way], way, workers, seconds))
            print(f"{way}, {workers} workers: {found[way, workers][-1]}", file=sys.stderr)
    return [
        {"way": way, "workers": workers, "rounds": made} for (way, workers), made in found.items()
    ]


def trained(path: Path, way: str, seconds: float, state: Path) -> None:
    """Train for some seconds in a process of its own, and print the peak of its memory."""
    data = opened(path, way)
    valid = CavityImages.read(path, in_memory=0).first(64)
    network = initialise(lambda: CavityNet(RECIPE.network), SEED)
    loss = CavityLoss(RECIPE.loss)
    began = time.monotonic()
    steps: list[int] = []

    def counted(model: Any, batch: Any) -> Any:
        steps.append(1)
        return loss(model, batch)

    loop = loop_settings(RECIPE, epochs=1)
    told = {"state": state, "seed": SEED, "time_limit_s": seconds}
    with contextlib.suppress(Checkpointed):
        fit(network, counted, data, valid, loop, **told)  # type: ignore[arg-type]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    took = time.monotonic() - began
    print(json.dumps({"peak_mb": peak, "steps": len(steps), "seconds": took, "images": len(data)}))


def memory(source: Path, sizes: list[int], seconds: float, folder: Path) -> list[dict[str, Any]]:
    """Peak memory of trainings on sets of some sizes."""
    found = []
    for n in sizes:
        real = n <= 100_000
        path = files.repeated(source if real else files.blank(folder), n, folder / f"{n}.h5")
        print(f"{path}: {path.stat().st_size / 1e9:.2f} GB", file=sys.stderr)
        for way in ("before", "worker") if real else ("worker",):
            arguments = ["--child", way, str(path), "--training", str(seconds)]
            child = [sys.executable, __file__, *arguments, "--folder", str(folder / f"{way}{n}")]
            made = subprocess.run(child, stdout=subprocess.PIPE, check=True)
            row = json.loads(made.stdout.decode().splitlines()[-1])
            found.append(row | {"way": way, "bytes": path.stat().st_size, "blank": not real})
            print(found[-1], file=sys.stderr)
        path.unlink()
    return found


def spread(row: Mapping[str, Any], what: str) -> dict[str, float]:
    """Median of the rounds, with the least and the most."""
    values = [one[what] for one in row["rounds"]]
    return {"value": float(np.median(values)), "low": min(values), "high": max(values)}


def cell(summary: Mapping[str, float]) -> str:
    """Median with the least and the most."""
    return "{value:,.0f} ({low:,.0f} to {high:,.0f})".format(**summary)


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Tables and numbers of the texts."""
    made = {}
    if numbers["rates"]:
        by = {(row["way"], row["workers"]): row for row in numbers["rates"]}
        rows = [
            [WAYS[way], workers, cell(spread(row, "wall")), cell(spread(row, "cpu"))]
            for (way, workers), row in by.items()
        ]
        made["rates"] = (
            table(["way", "workers", "images a second", "images a second of processor time"], rows)
            + f"\n\n*Batches of {numbers['batch_size']} from {numbers['images']} images of "
            f"128 x 128, augmented as in the recipe. Median, and least to most, of "
            f"{numbers['rounds']} rounds of {numbers['seconds']:g} s in turns on "
            f"{numbers['cores']} cores, on which {numbers['load']:.1f} programs ran on average.*"
        )
        per_core = spread(by["worker", 2], "cpu")["value"]
        made["per_core"] = f"{per_core:,.0f}"
        made["before_per_core"] = f"{spread(by['before', 0], 'cpu')['value']:,.0f}"
        met = "meets" if per_core >= GOAL else "misses"
        made["goal"] = (
            f"A second of processor time prepares {per_core:,.0f} images for a GPU, which {met} "
            f"the goal of {GOAL:,} (4,000 images a second on four cores)."
        )
    if numbers["memory"]:
        rows = [
            [
                f"{row['images']:,}" + (" (blank)" if row["blank"] else ""),
                "in memory, as in 0.1" if row["way"] == "before" else "on the disk",
                f"{row['bytes'] / 1e9:.1f} GB",
                f"{row['peak_mb'] / 1e3:.2f} GB",
                f"{row['steps']:,}",
            ]
            for row in numbers["memory"]
        ]
        made["memory"] = (
            table(["images", "where they are", "file", "peak memory", "steps made"], rows)
            + "\n\n*Peak memory of one process that trains the recipe's U-Net on images of "
            "128 x 128 in batches of 32 on a processor, one run a row, stopped after some steps: "
            "no later step takes more.*"
        )
        largest = max(
            (row for row in numbers["memory"] if row["way"] == "worker"),
            key=lambda row: row["images"],
        )
        met = "under" if largest["peak_mb"] < 1e3 * GOAL_GB else "over"
        made["memory_goal"] = (
            f"With {largest['images']:,} images a process takes {largest['peak_mb'] / 1e3:.1f} GB, "
            f"{met} the {GOAL_GB} GB that were asked for."
        )
    return made


def main() -> None:
    """Measure, and print the tables."""
    parser = command(__doc__, "json", "rounds")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="part")
    parser.add_argument("--images", type=int, default=600, help="simulated, and repeated")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement of a rate")
    parser.add_argument("--training", type=float, default=30.0, help="of each training, s")
    parser.add_argument("--folder", type=Path, help="for the files; a temporary one by default")
    parser.add_argument("--child", nargs=2, help="way and file: what is run for the memory")
    a = parse(parser, quiet=True)
    if a.child:
        return trained(Path(a.child[1]), a.child[0], a.training, a.folder)
    with tempfile.TemporaryDirectory(dir=a.folder) as name:
        folder = Path(name)
        source = files.simulated(folder, a.images)
        numbers: dict[str, Any] = {"batch_size": RECIPE.batch_size, "rounds": a.rounds}
        numbers |= {"seconds": a.seconds, "cores": os.cpu_count()}
        numbers["images"] = len(CavityImages.read(source))
        numbers["rates"] = rates(source, a.rounds, a.seconds) if "rates" in a.only else []
        numbers["load"] = os.getloadavg()[1]
        sizes = a.sizes if "memory" in a.only else []
        numbers["memory"] = memory(source, sizes, a.training, folder)
    write(a, numbers, tables=tables, sciences=SCIENCES)
    return None


if __name__ == "__main__":
    main()
