"""The background model on sets that nothing was made with, run once; and its stand-offs.

    python benchmarks/background_sealed.py [--threads 4] [--cache FOLDER] [--publish]

Four sets of exposures (physml/background/evaluation/sets.py), fixed by seed and parameters before
any score was looked at: two stand-offs that no set and no cut has, with other distances at the
sides; another frame time, noise and threshold; and a detector that is read row by row. Compared on
identical events are the network, self-anti-coincidence and boosted trees; the rivals learn from
simulations of the nearer of the two geometries of background_vs_rivals.py, in one more row of the
other. Cuts are fixed before.

Then simulated observations of random stand-offs and conditions, as training draws them, none of
which any constant was fitted on: how often the interval of 90 % holds the true stand-off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from background_vs_rivals import PROMISED, SEED, essentials, points
from common.options import command, parse, write
from common.tables import interval as show
from common.tables import table

from physml.background.evaluation import metrics
from physml.background.evaluation.compare import rival_courses, sealed_sets
from physml.background.evaluation.methods import MODEL, MODEL_BAND, TREES
from physml.background.evaluation.metrics import WIDE
from physml.background.inference.detector import BackgroundDetector
from physml.background.inference.housing import LEVEL
from physml.background.learning.observations import observe
from physml.background.settings import BackgroundSettings, EvaluateSettings
from physml.evaluation.sealed import remark
from physml.models import shipped_weights
from physml.parallel.tasks import in_order

SCIENCES = ("background",)
#: First number of the observations that are held out: those that constants come from are below.
HELD_OUT = 60
#: Memory of a process, MB.
MEMORY_MB = 3_000


def observation(weights: Path, number: int) -> dict[str, Any]:
    """True and measured stand-off of one held-out observation, mm.

    Returns
    -------
    dict
        ``true``, ``measured``, ``interval``, ``inside``; ``inside_alone``: whether the interval of
        the likelihood alone, not spread, would hold it; ``events``.
    """
    torch.set_num_threads(1)
    detector = BackgroundDetector.load(weights)
    seen = next(observe(detector, BackgroundSettings(), [number]))
    housing = replace(seen.housing, scatter=detector.card["observations"]["scatter"])
    return {
        "true": seen.true,
        "measured": housing.standoff,
        "interval": list(housing.interval),
        "inside": housing.content_at(seen.true) <= LEVEL,
        "inside_alone": seen.housing.content_at(seen.true) <= LEVEL,
        "events": housing.events,
    }


def binomial(inside: int, n: int) -> dict[str, float]:
    """Share with its 95 % interval (Wilson)."""
    z, p = 1.96, inside / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return {"value": p, "low": float(middle - half), "high": float(middle + half)}


def removed_table(numbers: Mapping[str, Any]) -> str:
    """Removed share of every method, and by how much the network's is larger."""
    rows = []
    for name, part in numbers["sets"].items():
        for method, found in part["methods"].items():
            if "at_retention" not in found:
                continue
            at = found["at_retention"]
            cells = [show(at[WIDE][r]) for r in PROMISED] + [show(at["2-7"]["0.98"])]
            behind = found.get("behind")
            cells.append("" if behind is None else points(behind[WIDE]["0.98"], "+.1f"))
            rows.append([name, method, *cells])
    head = ["set", "method", *(f"{WIDE} keV, {100 * float(r):g} % kept" for r in PROMISED)]
    return table([*head, "2-7 keV, 98 %", f"network minus this, {WIDE} keV, 98 %, points"], rows)


def promise_table(numbers: Mapping[str, Any]) -> str:
    """What the fixed cuts keep and remove, calibration, and the housing."""
    rows = []
    for name, part in numbers["sets"].items():
        fixed, h = part["methods"][MODEL]["fixed"], part["housing"]
        kept = [show(fixed[r][WIDE]["retention"], ".2%") for r in PROMISED]
        removed = show(part["methods"][MODEL_BAND]["fixed"]["0.98"][WIDE]["removed"])
        measured = f"{h['measured']:.3g} ({h['interval'][0]:.3g}-{h['interval'][1]:.3g})"
        error = show(part["calibration"]["error"])
        rows.append([name, *kept, removed, error, f"{h['true']:.3g}", measured])
    head = ["set", *(f"kept of {100 * float(r):g} %" for r in PROMISED)]
    head.append("removed by the cut of the band for 98 %")
    return table([*head, "calibration error", "stand-off, mm", "measured, mm (90 %)"], rows)


def coverage(numbers: Mapping[str, Any]) -> str:
    """Sentence on the intervals of the stand-off."""
    seen = numbers["observations"]
    n = len(seen)
    spread, alone = (binomial(sum(o[k] for o in seen), n) for k in ("inside", "inside_alone"))
    off = np.sqrt(np.mean([np.log(o["measured"] / o["true"]) ** 2 for o in seen]))
    return (
        f"Of {n} held-out observations of random stand-offs and conditions, "
        f"{sum(o['inside'] for o in seen)} have the true stand-off in the interval of 90 %: "
        f"{show(spread, '.0%')}; {show(alone, '.0%')} if it were not spread by the scatter of the "
        f"weights (95 % intervals, Wilson). Measured stand-offs are off by a factor of "
        f"{np.exp(off):.2f} (root mean square)."
    )


def sentence(numbers: Mapping[str, Any]) -> str:
    """Sentence on the sealed sets."""
    said, kept = [], []
    for name, part in numbers["sets"].items():
        methods = part["methods"]
        text = f"{methods[MODEL]['at_retention'][WIDE]['0.98']['value']:.2f} in `{name}`"
        if TREES in methods:
            text += f" (trees {methods[TREES]['at_retention'][WIDE]['0.98']['value']:.2f})"
        said.append(text)
        kept.append(methods[MODEL]["fixed"]["0.98"][WIDE]["retention"]["value"])
    return (
        f"On the sealed sets the network removes {', '.join(said)} in {WIDE} keV at 98 % kept; its "
        f"own cuts keep {min(kept):.1%} to {max(kept):.1%} of 98 % promised."
    )


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown from the numbers."""
    n = numbers
    counts = "; ".join(
        f"{name}: {p['background']:,} background events, {p['photons']:,} photons, "
        f"{p['live_s']:.0f} s ({n['sealed'][name] or 'no ledger at hand'})"
        for name, p in n["sets"].items()
    )
    caption = (
        f"{counts}. {metrics.LEVEL:.0%} intervals in brackets, {n['replicas']} resamples of whole "
        f"frames; rivals learnt from {n['rival_exposures']:,} exposures."
    )
    return {
        "sentence": sentence(n),
        "removed": f"{caption}\n\n{removed_table(n)}",
        "promises": f"The same sets; cuts fixed before.\n\n{promise_table(n)}",
        "coverage": coverage(n),
    }


def main() -> None:
    """Run and print."""
    parser = command(__doc__, "weights", "bootstrap", "json")
    s = EvaluateSettings()
    parser.add_argument("--threads", type=int, default=1, help="processes that share the sets")
    parser.add_argument("--exposures", type=int, default=16, help="exposures a set")
    parser.add_argument(
        "--rival-exposures", type=int, default=s.rival_exposures, help="that rivals learn from"
    )
    parser.add_argument(
        "--housing-events", type=int, default=s.housing_events, help="that a stand-off is from"
    )
    parser.add_argument("--observations", type=int, default=24, help="held out")
    parser.add_argument("--cache", type=Path, help="folder that keeps what the rivals learn from")
    a = parse(parser)
    source = a.weights or shipped_weights("background")
    detector = BackgroundDetector.load(source)
    settings = s.model_copy(
        update={
            "exposures": a.exposures,
            "rival_exposures": a.rival_exposures,
            "bootstrap": a.bootstrap,
            "housing_events": a.housing_events,
        }
    )
    learn = rival_courses(settings, a.threads, a.cache)
    made = sealed_sets(detector, settings, SEED, learn=learn, threads=a.threads)
    tasks = [(source, HELD_OUT + k) for k in range(a.observations)]
    seen = in_order(observation, tasks, threads=a.threads, mem_mb=a.threads * MEMORY_MB)
    numbers = essentials({"sets": made, "border": {}}) | {
        "observations": list(seen),
        "replicas": a.bootstrap,
        "rival_exposures": a.rival_exposures,
        "sealed": {name: remark("background", name) for name in made},
    }
    write(a, numbers, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
