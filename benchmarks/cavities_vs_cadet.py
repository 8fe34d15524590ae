"""physml and CADET on identical images: the tables of the cavities pipeline's README.

    python benchmarks/cavities_vs_cadet.py --rival-python cadet-venv/bin/python

Every evaluation set is simulated anew (always the same images), searched by both, and compared
with what the simulator labelled as visible; the sealed set comes from a generator of its own
(physml/cavities/evaluation/sealed_set.py). Beside both stands the ideal observer
(physml/cavities/evaluation/ideal_observer.py), the physical limit.

The rival needs an environment of its own, because of keras:

    python3.11 -m venv cadet-venv
    cadet-venv/bin/pip install -c constraints.txt torch pycadet==0.3.5

or, in one environment, ``pip install -e '.[bench]'`` and no ``--rival-python``. Its network runs
through a faster path (cavities_parts/cadet_rival.py), which is compared with pycadet's own on
``--verify`` images first.

Both get the same arrays: counts, with the observer's masked point sources filled by Poisson draws
from their surroundings. CADET gets them flat-fielded by the exposure map, which is what it
expects; physml gets counts and exposure map, no background map and no centre. CADET's
candidates are its clusters above 0.4 of more than 12 in summed probability; their score is their
peak, and 0.7 its threshold, as shipped; and once more with all three fitted on our validation
images (cavities_parts/fitted.py).

Predictions are kept in ``--cache`` by the hash of the images (and of the weights and the program,
for ours): a run can be stopped and started again, and more images only cost the new ones.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from cavities_parts.blocks import tables
from cavities_parts.fitted import N_IMAGES as VALIDATION
from cavities_parts.fitted import apply, fit
from cavities_parts.numbers import IN_BINS, SIZED, compare, ideal, short
from cavities_parts.predictions import (
    ALL,
    images_of,
    our_found,
    program_hash,
    rival_found,
)
from cavities_parts.timing import time_ours, timing_of, verify_rival
from common.options import command, parse, write

from physml import provenance
from physml.cavities import pipeline
from physml.cavities.evaluation import metrics
from physml.cavities.evaluation.found import Found, Images
from physml.cavities.evaluation.sealed_set import FIRST, N_IMAGES
from physml.cavities.evaluation.set_metrics import ALARM_LEVEL
from physml.cavities.inference.detector import CavityDetector
from physml.evaluation.sealed import remark
from physml.io.atomic import read_json, write_json
from physml.models import shipped_weights

log = logging.getLogger("benchmarks")

#: Whose weights and simulator the numbers rest on.
SCIENCES = ("cavities",)
TOLERANCE = 1e-4  # largest difference of a probability between the rival's two paths

__all__ = ["SCIENCES", "main", "tables"]


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command(__doc__, "weights", "threads", "json", "markdown", bootstrap=1000)
    parser.add_argument(
        "--images", type=int, default=500, help="images a frozen set of the main table"
    )
    parser.add_argument("--others", type=int, default=500, help="images of the other frozen sets")
    parser.add_argument(
        "--sealed", type=int, default=N_IMAGES, help="images a sealed set, 0 leaves them out"
    )
    parser.add_argument("--sets", nargs="+", choices=ALL, default=list(ALL), help="some sets only")
    parser.add_argument("--rival-python", default=sys.executable, help="python with pycadet==0.3.5")
    parser.add_argument(
        "--cache", type=Path, default=Path("results/bench"), help="predictions are kept here"
    )
    parser.add_argument(
        "--verify", type=int, default=20, help="images on which the rival's paths are compared"
    )
    parser.add_argument("--only-rival", action="store_true", help="fill the rival's cache and stop")
    return parse(parser, argv)


def ideal_of(images: dict[str, Images], found: Found, a: argparse.Namespace) -> dict[str, Any]:
    """Ideal observers of the sets in bins; they see no network, so they are kept."""
    out = {}
    for name in IN_BINS:
        version = pipeline.version("simulate")
        path = a.cache / f"ideal-{name}-{len(images[name])}-{a.bootstrap}-{version}.json"
        if not path.exists():
            made = ideal(images, found.scored(images[name]), name, a.bootstrap)
            write_json(path, provenance.jsonable(made))
        out[name] = read_json(path)
        log.info("ideal observer: %s", name)
    return out


def main(argv: list[str] | None = None) -> int:
    """Run the comparison."""
    a = arguments_of(argv)
    torch.set_num_threads(a.threads)
    main_table = {"clean", "nuisance", "none", "none_nuisance"}
    sizes = {
        name: a.sealed if name in FIRST else a.images if name in main_table else a.others
        for name in a.sets
    }
    images: dict[str, Images] = {}
    found: dict[str, dict[str, Found]] = {"cadet": {}, "cadet_fitted": {}, "physml": {}}
    for name, n in sizes.items():
        if n:
            images[name] = images_of(name, n, a.cache)
            found["cadet"][name] = rival_found(images[name], a.rival_python, a.cache)
            log.info("CADET: %s", name)
    if a.only_rival:
        return 0
    first = next(iter(images))
    check = verify_rival(images[first], a.rival_python, a.cache, a.verify)
    if (
        check["max_probability_difference"] > TOLERANCE
        or check["images_with_the_same_detections"] < check["images"]
    ):
        log.error("the rival's fast path differs from pycadet: %s", check)
        return 1
    fitted = fit(a.rival_python, a.cache)
    log.info("CADET, fitted: %s", fitted)
    detector = CavityDetector.load(a.weights)
    weights_hash = provenance.sha256(a.weights or shipped_weights("cavities"))
    key = f"{weights_hash[:12]}-{program_hash()}"
    for name, part in images.items():
        sizes_shown = name in SIZED
        found["cadet_fitted"][name] = apply(fitted, part, a.rival_python, a.cache, sizes_shown)
        found["physml"][name] = our_found(part, detector, key, a.cache, refine=sizes_shown)
        log.info("physml: %s", name)
    numbers = compare(images, found, a.bootstrap)
    numbers |= {
        "replicas": a.bootstrap,
        "alarm_level": ALARM_LEVEL,
        "confidence": metrics.LEVEL,
        "rival": "0.3.5",
        "fitted": asdict(fitted) | {"images": VALIDATION},
        "verification": {k: v for k, v in check.items() if k != "cpu_seconds"},
        "timing": timing_of(check, time_ours(images[first], detector, a.verify), a.threads),
        "precision": str(detector.precision).removeprefix("torch."),
        "ideal": ideal_of(images, found["physml"]["clean"], a),
        "ledger": {name: remark("cavities", name) for name in images},
    }
    write(a, short(numbers), tables=tables, sciences=SCIENCES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
