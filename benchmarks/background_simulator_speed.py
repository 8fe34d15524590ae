"""Cosmic rays per second of the background simulator, and what a recipe costs.

    python benchmarks/background_simulator_speed.py [--exposures 6] [--hits 10000] [--json FILE]

Measured: `simulate_exposure` from nothing to measured pixels with truth, on one core, as CPU time
of this process, the median of the exposures. A *hit* is a cosmic ray that crosses the silicon;
two to five times as many cross the cavity around it, and each of them sets electrons free in the
wall. Two kinds of exposure: one geometry, that of the Geant4 set (protons only), and those of the
default prior (any geometry, helium). The electron tracks that are made once a process are told
apart.

Goal: 20,000 hits per second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import table, verdict

from physml.background.core.events import find_events, truth
from physml.background.settings import ConditionsPrior, SimulateSettings
from physml.background.simulator.exposure import simulate_exposure
from physml.background.simulator.materials import ALUMINIUM, SILICON
from physml.background.simulator.tracks import library

GOAL = 20_000.0
#: No weights: the numbers rest on the simulator, whose version is in the record.
SCIENCES = ("background",)
KINDS = {"one": "geometry of the Geant4 set", "prior": "default prior"}


def far_shield(hits: int) -> SimulateSettings:
    """Protons alone, 15 mm to the wall, 5 ms."""
    fixed = ConditionsPrior(
        phi=(0.4, 0.4),
        helium=0.0,
        standoff=(14.775, 14.775),
        gap=(11.72, 11.72),
        shield=(20, 20),
        frame_time=(1, 1),
        nominal=1.0,
    )
    return SimulateSettings(hits=hits, conditions=fixed)


def measure(settings: SimulateSettings, exposures: int, seed: int) -> dict[str, float]:
    """Hits, surviving background events and X-ray events per CPU second."""
    seconds, background, photons, frames = [], 0, 0, 0
    for number in range(exposures):
        began = time.process_time()
        made = simulate_exposure(settings, seed, number)
        seconds.append(time.process_time() - began)
        found = find_events(made)
        band = found.events["valid"] & (found.events["energy"] > 0.3)
        label = truth(found, made)["label"]
        background += int((band & (label == 1)).sum())
        photons += int((band & (label == 0)).sum())
        frames += len(made)
    total = float(np.sum(seconds))
    return {
        "hits_per_second": settings.hits / float(np.median(seconds)),
        "background_per_second": background / total,
        "photons_per_second": photons / total,
        "frames_per_second": frames / total,
    }


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown from the numbers."""
    n = numbers
    rows = []
    for kind, name in KINDS.items():
        by = n[kind]
        met = verdict(by["hits_per_second"] >= GOAL) if kind == "one" else ""
        rates = [
            f"{by[k]:,.0f}"
            for k in ("hits_per_second", "background_per_second", "photons_per_second")
        ]
        rows.append([name, *rates, met])
    exposures, hits = n["recipe"]
    minutes = exposures * hits / n["prior"]["hits_per_second"] / 60
    caption = (
        f"CPU time of one core; {n['exposures']} exposures of {n['hits']:,} cosmic rays each, "
        f"median; goal {GOAL:,.0f} cosmic rays a second. Electron tracks, once a process: "
        f"{n['start_seconds']:.1f} s. The default recipe, {exposures:,} exposures of {hits:,} "
        f"cosmic rays: {minutes:.1f} min."
    )
    head = ["", "cosmic rays a second", "surviving background events", "X-ray events", ""]
    return {
        "speed": f"{caption}\n\n{table(head, rows)}",
        "rate": f"{float(format(n['one']['hits_per_second'], '.2g')):,.0f}",
        "recipe_minutes": f"{minutes:.0f}",
    }


def main() -> int:
    """Run and print."""
    parser = command(__doc__, "seed", "json")
    parser.add_argument("--exposures", type=int, default=6)
    parser.add_argument("--hits", type=int, default=10_000, help="in an exposure")
    a = parse(parser)
    began = time.process_time()
    library(SILICON), library(ALUMINIUM)
    start = time.process_time() - began
    simulate_exposure(SimulateSettings(hits=100), 0, 0)  # first call: imports, tables
    default = SimulateSettings()
    result: dict[str, Any] = {
        "start_seconds": start,
        "exposures": a.exposures,
        "hits": a.hits,
        "recipe": [default.n_samples, default.hits],
        "one": measure(far_shield(a.hits), a.exposures, a.seed),
        "prior": measure(default.model_copy(update={"hits": a.hits}), a.exposures, a.seed),
    }
    write(a, result, tables=tables, sciences=SCIENCES)
    return 0 if result["one"]["hits_per_second"] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
