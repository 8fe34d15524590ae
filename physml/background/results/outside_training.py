"""Properties of an observation outside of the training, where no retention can be promised."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from physml.exceptions import PhysmlError

from ..core.detectors import DetectorSettings, load_detector
from ..data.stream import Camera
from .event_rows import EXTRAPOLATED
from .result import BackgroundResult

log = logging.getLogger(__name__)

#: Relative difference of sizes that makes no difference.
NEAR = 0.1
#: Factor beyond the rates that cuts were made for that is still taken as one of them.
RATE_MARGIN = 1.5


def outside_training(result: BackgroundResult) -> list[str]:
    """Properties of an observation that lie outside of the training, in words.

    Parameters
    ----------
    result : BackgroundResult
        With the card of the weights, whose provenance holds the settings of the simulation.

    Returns
    -------
    list of str
        Empty where nothing is known to be outside.
    """
    found: list[str] = []
    simulate = _simulation(result.card)
    trained = _detector(simulate)
    if not result.with_frames:
        made = "unknown frames" if trained is None else f"simulated frames of {trained.name!r}"
        camera = "this instrument"
        if result.header is not None:
            names = [str(result.header.get(k, "")).strip() for k in ("TELESCOP", "INSTRUME")]
            camera = " ".join(filter(None, names)) or camera
        found.append(f"{camera}: the probabilities by energy and grade come from {made}")
    elif trained is not None and result.camera is not None:
        prior = simulate.get("conditions", {}) if isinstance(simulate, Mapping) else {}
        found += _camera(result.camera, trained, prior)
    if result.with_frames:
        found += _rates(result)
    return found


def _simulation(card: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = card.get("provenance", {}).get("settings", {})
    found = settings.get("simulate", {}) if isinstance(settings, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _detector(simulate: Mapping[str, Any]) -> DetectorSettings | None:
    """Detector that was simulated; None where the card names none that is known here."""
    name = simulate.get("detector")
    try:
        return None if name is None else load_detector(str(name))
    except PhysmlError:
        log.info("the weights were trained on the detector %s, which is not known here", name)
        return None


def _camera(c: Camera, trained: DetectorSettings, prior: Mapping[str, Any]) -> list[str]:
    """Compare the camera with the range that was simulated."""
    found = []
    if c.shape != (trained.ny, trained.nx):
        found.append(
            f"frames of {c.shape[1]} x {c.shape[0]} pixels, trained on {trained.nx} x {trained.ny}"
        )
    for what, value, own, unit in (
        ("pixels", c.pixel_um, trained.pixel_um, "um"),
        ("silicon", c.thickness_um, trained.thickness_um, "um"),
    ):
        if abs(value / own - 1) > NEAR:
            found.append(f"{what} of {value:g} {unit}, trained on {own:g} {unit}")
    for what, value, own, name, unit in (
        ("a frame time", c.frame_time, trained.frame_time, "frame_time", "s"),
        ("a noise", c.enc, trained.enc, "noise", "electrons"),
        ("a split threshold", c.split, trained.split_keV, "threshold", "keV"),
    ):
        low, high = prior.get(name, (1.0, 1.0))
        if not low * own * (1 - NEAR) <= value <= high * own * (1 + NEAR):
            span = f"{low * own:.3g}" + (f" - {high * own:.3g}" if high > low else "")
            found.append(f"{what} of {value:.4g} {unit}, trained on {span} {unit}")
    return found


def _rates(result: BackgroundResult) -> list[str]:
    edges = result.correction.rate
    rates = np.asarray(result.tally.rate)
    if len(rates) == 0:
        return []
    # A block of few frames has no rate worth the name: that of all of them counts.
    rate = result.tally.mean_rate
    if rate > edges[-1] * RATE_MARGIN or rate < edges[0] / RATE_MARGIN:
        return [
            f"{rate:.3g} particle tracks per frame, cuts made for {edges[0]:.3g} - {edges[-1]:.3g}"
        ]
    return []


def outside_energies(result: BackgroundResult) -> int:
    """Events whose energy lies outside of the range that cuts were made for."""
    return sum(int(((rows["FLAG"] & EXTRAPOLATED) > 0).sum()) for rows in result.store.chunks())
