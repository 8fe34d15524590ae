"""How much of the background that passes grading can be told at all, and what the network tells.

    python benchmarks/background_ideal --cache results/ideal [--exposures 300]

The ideal observer of physml/background/evaluation/ideal_observer.py has the simulator's own density
of offsets of an event from the track of its primary, learnt from simulated exposures of each
geometry that are in no other set. It is compared with the shipped network, which measures the
housing, and with self-anti-coincidence, on the frozen sets of background_vs_rivals.py: the same
events, where exactly so many X-rays stay. With half of the exposures it shows whether more of them
would help. Exposures that were simulated are kept in ``--cache``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import interval as show
from common.tables import table

from physml.background.core.events import find_in_exposures
from physml.background.evaluation import metrics
from physml.background.evaluation.features import local_features
from physml.background.evaluation.ideal_observer import (
    IdealObserver,
    Pairs,
    Sample,
    joined,
    pairs_of,
    sample_of,
)
from physml.background.evaluation.methods import MODEL
from physml.background.evaluation.metrics import WIDE
from physml.background.evaluation.rivals import SelfAntiCoincidence
from physml.background.evaluation.scored_set import score_set
from physml.background.evaluation.sets import (
    GEOMETRIES,
    RIVALS,
    evaluation_exposure,
    evaluation_set,
)
from physml.background.inference.detector import BackgroundDetector
from physml.io.atomic import atomic_path

log = logging.getLogger("benchmarks")

SCIENCES = ("background",)
SEED = 20_201_203  # of the bootstrap
#: First exposure that the observer learns from: rivals have those below.
FIRST = 3_000
#: Cosmic rays through the silicon in an exposure.
HITS = 4_000
RETENTION = (0.99, 0.98, 0.95)
BANDS = (WIDE, "2-7")
#: Set -> words, and what the network has to reach of the ideal observer's share at 98 %.
TITLES = {"close": "near housing, 5 mm", "far": "far housing, 15 mm"}
GOAL = 0.95
CONTEXT, BOTH = "ideal observer of context", "the same, with trees on the event's pixels"
HALF = "ideal observer of context, half of the exposures"


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command(__doc__, "weights", "json", "markdown", bootstrap=400)
    parser.add_argument("--exposures", type=int, default=300, help="that the observer learns from")
    parser.add_argument("--test", type=int, default=40, help="exposures of each frozen set")
    parser.add_argument("--cache", type=Path, default=Path("results/ideal"))
    return parse(parser, argv, quiet=True)


def learnt_from(geometry: str, exposures: int, cache: Path) -> tuple[Sample, Pairs]:
    """Events and pairs of simulated exposures of a geometry; those in the cache from there."""
    parts = []
    for number in range(exposures):
        path = cache / geometry / f"{number:04d}.npz"
        if not path.exists():
            frames = evaluation_exposure(geometry + RIVALS, FIRST + number, HITS)
            made = sample_of(frames, find_in_exposures(frames), number)
            path.parent.mkdir(parents=True, exist_ok=True)
            arrays = {f"{k}.{n}": v for k, one in enumerate(made) for n, v in vars(one).items()}
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)
        with np.load(path, allow_pickle=False) as stored:
            kept = [
                {n[2:]: stored[n] for n in stored.files if n.startswith(f"{k}.")} for k in (0, 1)
            ]
        parts.append((Sample(**kept[0]), Pairs(**kept[1])))
    return joined(parts)


def first_half(sample: Sample, pairs: Pairs) -> tuple[Sample, Pairs]:
    """Events and pairs of the first half of the exposures."""
    use = sample.exposure < (sample.exposure.max() + 1) / 2
    new, stays = np.cumsum(use) - 1, use[pairs.event]
    part = pairs[stays]
    return sample[use], Pairs(part.feature, new[part.event], part.own)


def compare(geometry: str, detector: BackgroundDetector, a: argparse.Namespace) -> dict[str, Any]:
    """All methods on the frozen set of one geometry."""
    lessons = learnt_from(geometry, a.exposures, a.cache)
    frames = evaluation_set(geometry, a.test, HITS)
    scored = score_set(frames, detector, retention=RETENTION)
    events, pairs = scored.events, pairs_of(scored.found, frames, scored.events)
    observer, half = IdealObserver(*lessons), IdealObserver(*first_half(*lessons))
    context = observer.context(events.energy, pairs)
    local = observer.local(local_features(scored.found)[events.row])
    sac = SelfAntiCoincidence().score(frames, scored.found)[events.row]
    scores = {
        "self-anti-coincidence": sac,
        MODEL: scored.scores[MODEL],
        HALF: half.context(events.energy, pairs),
        CONTEXT: context,
        BOTH: context * local,
    }
    found = metrics.compared(
        events, scores, MODEL, RETENTION, replicas=a.bootstrap, seed=SEED, bands=BANDS
    )
    sample = lessons[0]
    natural = sample.weight * sample.background
    return {
        "methods": found,
        "events": events.numbers(),
        "learnt": {"exposures": a.exposures, "background": int(sample.background.sum())},
        "paired": float(natural[sample.paired].sum() / natural.sum()),
        "trees": {"pairs": observer.trees[0], "pixels": observer.trees[1]},
    }


def share_of_ideal(part: Mapping[str, Any], band: str, retention: str) -> float:
    """What the network removes over what the ideal observer with the event's pixels does."""
    own, ideal = (part["methods"][m]["at_retention"][band][retention] for m in (MODEL, BOTH))
    return float(own["value"] / ideal["value"])


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """All blocks by name."""
    rows = []
    for name, part in numbers["sets"].items():
        for method, found in part["methods"].items():
            at, behind = found["at_retention"], found.get("behind")
            cells = [show(at[WIDE][metrics.key(r)]) for r in RETENTION]
            cells.append(show(at["2-7"]["0.98"]))
            cells.append("" if behind is None else show(behind[WIDE]["0.98"], "+.3f", " to "))
            rows.append([TITLES[name], method, *cells])
    head = ["set", "method", *(f"{WIDE} keV, {100 * r:g} % kept" for r in RETENTION)]
    head += ["2-7 keV, 98 %", f"network minus this, {WIDE} keV, 98 %"]
    sizes = "; ".join(
        f"{TITLES[name]}: {part['learnt']['background']:,} background events in "
        f"{part['learnt']['exposures']} exposures, {part['paired']:.0%} of them with a track of "
        f"their primary in view"
        for name, part in numbers["sets"].items()
    )
    shares = "; ".join(
        f"{share_of_ideal(part, band, '0.98'):.0%} ({TITLES[name]}, {band} keV)"
        for name, part in numbers["sets"].items()
        for band in BANDS
    )
    return {
        "table": f"The observer learnt from {sizes}.\n\n{table(head, rows)}",
        "shares": "Of what the ideal observer with trees on the pixels removes at 98 %, the "
        f"network removes {shares}; wanted are {GOAL:.0%}.",
    }


def main(argv: list[str] | None = None) -> None:
    """Compare and write."""
    a = arguments_of(argv)
    detector = BackgroundDetector.load(a.weights)
    sets = {}
    for geometry in GEOMETRIES:
        sets[geometry] = compare(geometry, detector, a)
        log.info("%s: done", geometry)
    write(a, {"sets": sets}, tables=tables, sciences=SCIENCES)
