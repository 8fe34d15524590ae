"""The evaluation sets, frozen by seed and simulator version.

Nothing is ever chosen by what these sets say: thresholds and designs come from validation data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..settings import SimulateSettings
from ..simulator.batch import Batch, simulate_batch
from ..simulator.prior import MAX_CAVITIES

#: Root of the sets' random streams, unlike any training seed.
SEED = 7_121_712
#: Numbers of images set apart for each set.
STRIDE = 1_000_000

#: Sets and the cavity-less set whose false alarms fix the threshold for each.
PARTNER: Mapping[str, str] = {
    "clean": "none",
    "nuisance": "none_nuisance",
    "off_centre": "none",
    "one_or_many": "none",
    "partial": "none",
    "unseen_halo": "none",
    "asymmetric": "none_asymmetric",
    "round": "none_round",
}
#: Sets without cavities.
EMPTY = ("none", "none_nuisance", "none_asymmetric", "none_round")
#: Sets whose observer has no exposure map: what was not observed is found in the image.
UNMAPPED = ("round", "none_round")
#: All sets in the order in which they are evaluated.
NAMES = (*PARTNER, *EMPTY)

#: Without large-scale structure, with perfect maps.
_IDEAL: dict[str, Any] = {
    "structure": {"share": 0.0},
    "maps": {"round": 0.0, "missing": 0.0, "wrong": 0.0},
}
_QUIET: dict[str, Any] = {
    **_IDEAL,
    "nuisance": dict.fromkeys(("sloshing", "front", "clump", "agn", "jet", "sources"), 0.0),
    "instrument": {
        "psf_fwhm": (0.5, 1.0),
        "psf_growth": (0.0, 0.0),
        "psf_wings": (0.0, 0.0),
        "exposure": 0.0,
        "counts": (5e3, 1e6),
        "offset": 0.0,
    },
    "cavities": {"none": 0.0, "number": {2: 1.0}, "full": 1.0},
}
_NUISANCE: dict[str, Any] = {
    **_IDEAL,
    "nuisance": {"sloshing": 0.6, "front": 0.25, "clump": 0.1, "agn": 0.5, "sources": 0.7},
    "instrument": {"exposure": 0.7, "counts": (5e3, 1e6), "offset": 0.0},
    "cavities": _QUIET["cavities"],
}


def _with(base: dict[str, Any], **changes: dict[str, Any]) -> dict[str, Any]:
    return base | {k: base.get(k, {}) | v for k, v in changes.items()}


_ROUND = _with(_QUIET, maps={"round": 1.0})

#: Settings of each set that differ from the defaults; its place here numbers its images.
SETS: dict[str, dict[str, Any]] = {
    "clean": _QUIET,
    "none": _with(_QUIET, cavities={"none": 1.0}),
    "nuisance": _NUISANCE,
    "none_nuisance": _with(_NUISANCE, cavities={"none": 1.0}),
    "off_centre": _with(_QUIET, instrument={"offset": 1.0}),
    "one_or_many": _with(
        _QUIET, cavities={"number": {1: 0.5} | dict.fromkeys(range(3, MAX_CAVITIES + 1), 0.125)}
    ),
    "partial": _with(
        _QUIET, cavities={"full": 0.0, "line_of_sight": 45.0, "line_of_sight_max": 60.0}
    ),
    "unseen_halo": _with(_QUIET, halo={"family": "vikhlinin"}),
    "asymmetric": _with(_NUISANCE, structure={"share": 1.0}),
    "none_asymmetric": _with(_NUISANCE, structure={"share": 1.0}, cavities={"none": 1.0}),
    "round": _ROUND,
    "none_round": _with(_ROUND, cavities={"none": 1.0}),
}


def set_settings(name: str) -> SimulateSettings:
    """Simulator settings of one evaluation set.

    Raises
    ------
    ValueError
        No such set.
    """
    if name not in SETS:
        raise ValueError(f"evaluation set {name!r}: expected one of {', '.join(SETS)}")
    return SimulateSettings.model_validate(SETS[name])


def numbers(name: str, n: int) -> range:
    """Numbers of the first n images of a set."""
    first = STRIDE * list(SETS).index(name)
    return range(first, first + n)


def evaluation_set(name: str, n: int, seed: int = SEED) -> Batch:
    """Simulate the first n images of an evaluation set.

    Parameters
    ----------
    name : str
        One of `SETS`.
    n : int
        Number of images; the first of a larger set are those of a smaller one.
    seed : int
        Root of the random streams.
    """
    return simulate_batch(set_settings(name), seed, numbers(name, n))
