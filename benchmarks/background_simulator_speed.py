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
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import verdict

from physml.background.core.events import find_events, truth
from physml.background.settings import ConditionsPrior, SimulateSettings
from physml.background.simulator.exposure import simulate_exposure
from physml.background.simulator.materials import ALUMINIUM, SILICON
from physml.background.simulator.tracks import library

GOAL = 20_000.0


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
    print(f"electron tracks, once a process: {start:.1f} s")
    result: dict[str, Any] = {"goal": GOAL, "start_seconds": start}
    default = SimulateSettings()
    for name, settings in (
        ("geometry of the Geant4 set", far_shield(a.hits)),
        ("default prior", default.model_copy(update={"hits": a.hits})),
    ):
        found = measure(settings, a.exposures, a.seed)
        result[name] = found
        print(
            f"{name:28s} {found['hits_per_second']:8,.0f} hits per CPU second; "
            f"{found['background_per_second']:5.0f} surviving background events, "
            f"{found['photons_per_second']:5.0f} X-ray events (0.3 to 15 keV)"
        )
    rate = result["default prior"]["hits_per_second"]
    minutes = default.n_samples * default.hits / rate / 60
    print(
        f"the default recipe, {default.n_samples} exposures of {default.hits:,} hits: "
        f"{minutes:.1f} min on one core"
    )
    reached = result["geometry of the Geant4 set"]["hits_per_second"] >= GOAL
    print(f"goal: {GOAL:,.0f} hits per second: {verdict(reached)}")
    write(a, result)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
