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

import numpy as np
from common.options import command, parse

from physml.cavities.predict import CavityPredictor
from physml.cavities.settings import CavitiesSettings
from physml.cavities.simulator.batch import simulate_batch

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


def main() -> None:
    """Run and print."""
    parser = command(__doc__)
    parser.add_argument("--empty", type=int, default=160, help="images without cavities")
    parser.add_argument("--with-cavities", type=int, default=120, help="images with cavities")
    parser.add_argument("--size", type=int, default=512, help="side of the images, pixel")
    a = parse(parser)
    logging.disable(logging.WARNING)  # no image here has a WCS
    predictor = CavityPredictor.load()
    alarms = [len(c) > 0 for c, _ in search(predictor, "empty", a.empty, a.size)]
    hits = [
        listed(catalogue, true)
        for catalogue, table in search(predictor, "cavities", a.with_cavities, a.size)
        for true in table[table["visible"] & (table["snr"] > 3)]
    ]
    print(f"cavity-less images of {a.size} pixels with a listed cavity: {np.mean(alarms):.1%}")
    print(f"cavities with S/N > 3 that are listed: {np.mean(hits):.1%} of {len(hits)}")


if __name__ == "__main__":
    main()
