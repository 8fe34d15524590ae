"""Share of survivors whose primary left a track in view: what more quadrants and sweeps show.

Of events between 0.3 and 10 keV that pass, by a particle. Published for a seamless array of four
quadrants: own quadrant 0.417, all four 0.660 at 15 mm; 0.717 and 0.874 at 5 mm.
"""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.camera_frames import side_by_side
from physml.background.core.events import find_events, truth
from physml.background.evaluation.sets import SETS
from physml.background.settings import SimulateSettings
from physml.background.simulator.exposure import simulate_exposure


def shares(geometry: str, exposures: int, seed: int, **camera) -> tuple[np.ndarray, float]:
    """Shares with a track in the own quadrant, in any of the frame, in the frames beside it too."""
    settings = SimulateSettings.model_validate(
        {
            "hits": 20_000,
            "keep": 0.001,
            "conditions": {**SETS[geometry], "photons": (1e-6, 1e-6)},
            "camera": {"across": 2, "down": 2, **camera},
        }
    )
    seen, total = np.zeros(3), 0.0
    for number in range(exposures):
        frames = simulate_exposure(settings, seed, number)
        apart = side_by_side(frames)
        found = find_events(apart)
        who, source = frames.particles["primary"], frames.pixels["source"]
        primary = np.where(source >= 0, who[np.maximum(source, 0)], -1)
        pixel_cluster = found.pixel_cluster
        track = (pixel_cluster >= 0) & (primary >= 0)
        track[track] = found.clusters["particle"][pixel_cluster[track]]
        known = truth(found, apart)
        e = found.events
        chosen = e["valid"] & (known["label"] == 1) & (known["source"] >= 0)
        chosen &= (e["energy"] > 0.3) & (e["energy"] < 10)
        # The primary behind an event: that of the row its source points to.
        row = np.unique(apart.pixels["source"][source >= 0], return_index=True)[1]
        of_row = primary[source >= 0][row]
        cause = of_row[known["source"][chosen]]
        place = e["frame"][chosen]
        weight = frames.weight[frames.position(place // 4)]
        first, n = frames.index[0], int(who.max()) + 1

        def key(frame, primary, start=first, n=n):
            return (frame - start) * n + primary

        own = np.isin(
            key(place, cause, 4 * first),
            key(apart.pixels["frame"][track], primary[track], 4 * first),
        )
        everywhere = key(frames.pixels["frame"][track], primary[track])
        beside = [np.isin(key(place // 4 + step, cause), everywhere) for step in (-1, 0, 1)]
        seen += [(weight * m).sum() for m in (own, beside[1], np.any(beside, axis=0))]
        total += float(weight.sum())
    return seen / total, total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("geometry", "own", "four"), [("far", 0.417, 0.660), ("close", 0.717, 0.874)]
)
def test_four_quadrants_show_more_tracks(geometry: str, own: float, four: float) -> None:
    found, total = shares(geometry, 2, 12)
    assert found[0] == pytest.approx(own, abs=4 * (own * (1 - own) / total) ** 0.5)
    assert found[1] == pytest.approx(four, abs=4 * (four * (1 - four) / total) ** 0.5)
    assert found[2] == pytest.approx(found[1])  # read at once, no track lies in two frames


@pytest.mark.slow
def test_frames_beside_it_hold_what_rolling_readout_parts() -> None:
    at_once, _ = shares("far", 1, 12, gap=3.0)
    rolling, total = shares("far", 2, 12, gap=3.0, rolling=True, order="inward", neighbours=1)
    error = 0.5 / total**0.5
    assert rolling[1] < at_once[1] - 3 * error  # many tracks lie in the frame before or after
    assert rolling[2] == pytest.approx(at_once[1], abs=6 * error)
