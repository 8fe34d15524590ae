"""The evaluation sets, frozen by seed and simulator version.

Nothing is ever chosen by what these sets say: thresholds and designs come from validation data.
Rivals learn from sets of their own, of other exposures.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from physml.datasets import shared_folder
from physml.random import stream

from ..core.detectors import load_detector
from ..core.frames import Frames, concatenate
from ..settings import SimulateSettings
from ..simulator.conditions import draw
from ..simulator.exposure import simulate_exposure
from ..simulator.geant4 import assemble, read_particles, read_photons
from .rolling import rolling
from .stress import CONDITIONS, FAINT

log = logging.getLogger(__name__)

#: Seed of the sets, unlike any of a training.
SEED = 20_120_146
#: Numbers of exposures that are set apart for each set.
STRIDE = 10_000
#: X-rays a frame; 20,000 of the 99,622 there are.
GEANT4_PHOTONS = 0.1
#: Share that is kept of the frames without a candidate: most of the photons are in these.
KEEP = 0.2
#: The same of what rivals learn from: there are many more exposures of it.
RIVAL_KEEP = 0.1
#: X-rays of the example: a source of some arcminutes, and as many from elsewhere.
_SOURCE: Mapping[str, Any] = {
    "photons": (0.04, 0.04),
    "spectrum": (1.4, 1.4),
    "energies": (0.3, 10.0),
    "spot": 1.0,
    "spot_share": (0.5, 0.5),
    "spot_width": (45.0, 45.0),
}
#: Cosmic rays through the silicon, at solar minimum.
HITS_A_SECOND = 107.0
#: A detector that works as it should, at solar minimum, and X-rays of all energies alike in
#: log(energy), so that there are some at each energy that background has.
_NOMINAL: Mapping[str, Any] = {
    "phi": (0.4, 0.4),
    "shield": (20.0, 20.0),
    "frame_time": (1.0, 1.0),
    "gain": (1.0, 1.0),
    "column_gain": (0.0, 0.0),
    "offset": (0.0, 0.0),
    "noise": (1.0, 1.0),
    "threshold": (1.0, 1.0),
    "nominal": 1.0,
    "cloud": (1.0, 1.0),
    "bias": (1.0, 1.0),
    "bad": 0.0,
    "flat": (0.0, 0.0),
    "photons": (0.5, 0.5),
    "bright": 0.0,
    "spectrum": (1.0, 1.0),
    "spot": 0.0,
}
#: The housing of the Geant4 set (an inner box of 9 x 9 x 3 cm), and one three times as near.
GEOMETRIES: Mapping[str, Mapping[str, Any]] = {
    "close": {"standoff": (5.0, 5.0), "gap": (5.0, 5.0)},
    "far": {"standoff": (15.0, 15.0), "gap": (11.7, 11.7)},
}
#: After a geometry's name: the set that rivals learn from.
RIVALS = "_rivals"
#: Set -> what it changes in `settings.ConditionsPrior`.
SETS: Mapping[str, Mapping[str, Any]] = {
    **{name: {**_NOMINAL, **g} for name, g in GEOMETRIES.items()},
    **{name + RIVALS: {**_NOMINAL, **g} for name, g in GEOMETRIES.items()},
    **{name: {**_NOMINAL, **GEOMETRIES["far"], **change} for name, change in CONDITIONS.items()},
}
#: Read row by row, as in `rolling`.
ROLLING = "sealed rolling"
#: Sealed set -> what it changes in the nominal conditions. No stand-off, no pair of distances above
#: and beside the silicon, and no readout of these is one that training, cuts or designs were made
#: for. They were chosen on 2026-12-01, before any score was looked at; see SEALED.md.
SEALED: Mapping[str, Mapping[str, Any]] = {
    "sealed near": {"standoff": (4.3, 4.3), "gap": (9.0, 9.0)},
    "sealed far": {"standoff": (19.0, 19.0), "gap": (8.0, 8.0)},
    "sealed readout": {
        "standoff": (11.0, 11.0),
        "gap": (6.5, 6.5),
        "frame_time": (1.7, 1.7),
        "noise": (1.4, 1.4),
        "threshold": (1.3, 1.3),
        "nominal": 0.0,
    },
    ROLLING: {"standoff": (7.0, 7.0), "gap": (13.0, 13.0)},
}
#: Sealed set -> geometry of the exposures that its rivals learn from: the nearer of the two.
SEALED_RIVALS: Mapping[str, str] = {
    "sealed near": "close",
    "sealed far": "far",
    "sealed readout": "far",
    ROLLING: "close",
}
#: Number of the first exposure of the first sealed set; other sets are far below.
SEALED_FIRST = 1_000 * STRIDE

#: Four quadrants of the wide field imager as one camera, and one alone, read row by row.
_FOUR: Mapping[str, Any] = {"across": 2, "down": 2, "gap": 3.0, "neighbours": 1}
_ROLLING: Mapping[str, Any] = {"rolling": True, "order": "inward"}
#: Set of a camera -> its geometry, what it changes in the nominal conditions, and the camera.
CAMERA_SETS: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    f"{name}, {many}, {readout}, {cycle} ms": (
        name,
        {"frame_time": (cycle / 5, cycle / 5)},
        {**quadrants, **({} if readout == "snapshot" else _ROLLING)},
    )
    for name in GEOMETRIES
    for many, quadrants in (("one quadrant", {"neighbours": 1}), ("four quadrants", _FOUR))
    for readout in ("snapshot", "rolling")
    for cycle in (2, 5)
}
#: Number of the first exposure of the first of them, far from all others.
CAMERA_FIRST = 500 * STRIDE


def camera_set_settings(name: str, hits: int = 4_000) -> SimulateSettings:
    """Simulator settings of a set of a camera.

    Parameters
    ----------
    name : str
        One of `CAMERA_SETS`.
    hits : int
        Cosmic rays through the silicon of all quadrants in an exposure, about.

    Raises
    ------
    ValueError
        No such set.
    """
    if name not in CAMERA_SETS:
        raise ValueError(f"camera set {name!r}: expected one of {', '.join(CAMERA_SETS)}")
    geometry, change, camera = CAMERA_SETS[name]
    return SimulateSettings.model_validate(
        {
            "hits": hits,
            "keep": KEEP,
            "conditions": {**_NOMINAL, **GEOMETRIES[geometry], **change},
            "camera": dict(camera),
        }
    )


def camera_exposure(name: str, number: int, hits: int = 4_000) -> Frames:
    """Simulate one exposure of a set of a camera, with the tables of `core.camera_frames`."""
    first = CAMERA_FIRST + STRIDE * list(CAMERA_SETS).index(name)
    return simulate_exposure(camera_set_settings(name, hits), SEED, first + number)


def set_settings(name: str, hits: int = 4_000) -> SimulateSettings:
    """Simulator settings of one set.

    Parameters
    ----------
    name : str
        One of `SETS` or `SEALED`.
    hits : int
        Cosmic rays through the silicon in an exposure, about.

    Raises
    ------
    ValueError
        No such set.
    """
    if name not in SETS and name not in SEALED:
        raise ValueError(f"evaluation set {name!r}: expected one of {', '.join((*SETS, *SEALED))}")
    # Where X-rays are rare, all frames are needed to have enough of them; read row by row, a track
    # goes on in the frame before.
    keep = KEEP
    if name in (FAINT, ROLLING):
        keep = 1.0
    elif name.endswith(RIVALS):
        keep = RIVAL_KEEP
    conditions = SETS[name] if name in SETS else {**_NOMINAL, **SEALED[name]}
    return SimulateSettings.model_validate(
        {"hits": hits, "keep": keep, "conditions": dict(conditions)}
    )


def evaluation_exposure(name: str, number: int, hits: int = 4_000) -> Frames:
    """Simulate one exposure of a set.

    Parameters
    ----------
    name : str
        One of `SETS` or `SEALED`.
    number : int
        Of the exposure in its set.
    hits : int
        See `set_settings`.
    """
    settings = set_settings(name, hits)
    if name in SETS:
        first = STRIDE * list(SETS).index(name)
    else:
        first = SEALED_FIRST + STRIDE * list(SEALED).index(name)
    frames = simulate_exposure(settings, SEED, first + number)
    if name == ROLLING:
        frames = rolling(frames, stream(SEED, "evaluate", first + number))
    return frames


def evaluation_set(name: str, exposures: int, hits: int = 4_000) -> Frames:
    """Simulate the first exposures of a set.

    Parameters
    ----------
    name : str
        One of `SETS` or `SEALED`.
    exposures : int
        Their number; the first of a larger set are those of a smaller one.
    hits : int
        See `set_settings`.
    """
    return concatenate([evaluation_exposure(name, k, hits) for k in range(exposures)])


def example_frames(seconds: float, seed: int) -> Frames:
    """Frames of a short observation behind the far housing: a faint extended source in the middle.

    Parameters
    ----------
    seconds : float
        Its exposure, about.
    seed : int
    """
    changed = dict(SETS["far"]) | dict(_SOURCE)
    settings = SimulateSettings.model_validate(
        {"hits": max(1, round(HITS_A_SECOND * seconds)), "keep": 1.0, "conditions": changed}
    )
    detector = load_detector(settings.detector)
    conditions = draw(settings.conditions, detector, stream(seed, "report", 0))
    middle = (0.5 * (detector.nx - 1), 0.5 * (detector.ny - 1))
    share, _, _, width = conditions.spot
    conditions = replace(conditions, spot=(share, *middle, width))
    return simulate_exposure(settings, seed, 0, conditions)


def geant4_folder() -> Path | None:
    """Folder of the Geant4 set in the shared data, or None where it is not on this machine.

    See `physml.datasets.shared_folder`.
    """
    folder = shared_folder() / "detector" / "geant4"
    return folder if (folder / "far_shield.npz").is_file() else None


def geant4_set(seconds: float) -> Frames | None:
    """Frames of the Geant4 set at its natural rate, or None where it is not on this machine.

    Parameters
    ----------
    seconds : float
        Exposure to take.
    """
    folder = geant4_folder()
    if folder is None:
        log.warning("the Geant4 set is not on this machine: it is left out")
        return None
    return assemble(
        read_particles(folder),
        read_photons(folder),
        seed=SEED,
        photon_rate=GEANT4_PHOTONS,
        seconds=seconds,
    )
