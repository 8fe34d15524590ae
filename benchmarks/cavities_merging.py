"""False alarms and completeness of the search at several binnings.

    python benchmarks/cavities_merging.py [--empty 160] [--with-cavities 120] [--size 512]

Simulated images wider than the network's field, with and without cavities, are searched as a
user's image is. Printed: the share of cavity-less images with a listed cavity, and the share of
the cavities with an expected S/N above 3 that are listed (centre within half a radius, radius
within a factor 1.8), at the shipped thresholds. The images are drawn with numbers that no
training, validation or test image has.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import interval, table

from physml.cavities.evaluation import metrics
from physml.cavities.predict import CavityPredictor
from physml.cavities.settings import CavitiesSettings
from physml.cavities.simulator.batch import simulate_batch
from physml.evaluation.sealed import remark

#: Whose weights and simulator the numbers rest on.
SCIENCES = ("cavities",)
SEED = 20171203  # of the bootstrap
FIRST = {"empty": 30_000_000, "cavities": 40_000_000}
HALO = {"core_radius": (0.5, 100.0), "inner_core_radius": (0.5, 80.0)}


def search(predictor: CavityPredictor, kind: str, n: int, size: int):
    """Yield the catalogue and the true cavities of each image."""
    settings = CavitiesSettings()
    prior = settings.simulate
    cavities = {"distance": (8.0, 200.0), "radius": (6.0, 110.0)}
    cavities["none"] = 1.0 if kind == "empty" else 0.0
    wide = prior.model_copy(
        update={
            "image_size": size,
            "cavities": prior.cavities.model_copy(update=cavities),
            "halo": prior.halo.model_copy(update=HALO),
        }
    )
    for index in range(FIRST[kind], FIRST[kind] + n):
        batch = simulate_batch(wide, settings.seed, [index])
        image, exposure = batch.counts[0].astype(float), batch.exposure[0].astype(float)
        found = predictor.predict(image, exposure=exposure, progress=False)
        yield found.catalogue, batch.cavities[0]


def listed(catalogue, true) -> bool:
    """Whether a true cavity is in the catalogue."""
    away = np.hypot(catalogue["x"] - true["x"], catalogue["y"] - true["y"])
    factor = np.abs(np.log(np.asarray(catalogue["radius"]) / true["radius"]))
    return bool(np.any((away < 0.5 * true["radius"]) & (factor < np.log(1.8))))


def share(hits: list[int], of: list[int], replicas: int) -> dict[str, float | None]:
    """Sum of hits over sum of cases, with its interval from resampling whole images."""
    weights = metrics.image_weights(len(of), replicas, SEED)
    return metrics.summarise(metrics.ratio(weights, np.array(hits), np.array(of)))


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """All blocks by name."""
    rows = [
        [
            f"cavity-less images of {numbers['size']} pixels with a listed cavity",
            numbers["alarms"]["images"],
            interval(numbers["alarms"]["share"], ".1%"),
        ],
        [
            "cavities with S/N > 3 that are listed",
            numbers["listed"]["cavities"],
            interval(numbers["listed"]["share"], ".1%"),
        ],
    ]
    state = f" ({numbers['ledger']})" if numbers["ledger"] else ""
    caption = (
        f"Simulated images of {numbers['size']} pixels at several binnings, the cavities in "
        f"{numbers['listed']['images']} images{state}; 95 % intervals from {numbers['replicas']:,} "
        "resamples of whole images."
    )
    return {
        "table": f"{caption}\n\n{table(['measured', 'n', 'share'], rows)}",
        **{k: interval(numbers[k]["share"], ".1%").split(" ")[0] for k in ("alarms", "listed")},
    }


def main() -> int:
    """Run and print."""
    parser = command(__doc__, "json", "markdown", "weights", bootstrap=1000)
    parser.add_argument("--empty", type=int, default=160, help="images without cavities")
    parser.add_argument("--with-cavities", type=int, default=120, help="images with cavities")
    parser.add_argument("--size", type=int, default=512, help="side of the images, pixel")
    a = parse(parser)
    logging.disable(logging.WARNING)  # no image here has a WCS
    predictor = CavityPredictor.load(a.weights)
    alarms = [int(len(c) > 0) for c, _ in search(predictor, "empty", a.empty, a.size)]
    hits, cavities = [], []
    for catalogue, true in search(predictor, "cavities", a.with_cavities, a.size):
        clear = true[true["visible"] & (true["snr"] > 3)]
        cavities.append(len(clear))
        hits.append(sum(listed(catalogue, row) for row in clear))
    numbers = {
        "size": a.size,
        "replicas": a.bootstrap,
        "ledger": remark("cavities", "merging"),
        "alarms": {"images": a.empty, "share": share(alarms, [1] * a.empty, a.bootstrap)},
        "listed": {
            "images": a.with_cavities,
            "cavities": sum(cavities),
            "share": share(hits, cavities, a.bootstrap),
        },
    }
    write(a, numbers, tables=tables, sciences=SCIENCES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
