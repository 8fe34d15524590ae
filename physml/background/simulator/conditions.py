"""Conditions of an exposure, drawn one exposure at a time from its own random stream."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from ..core.arrays import Floats
from ..core.camera import CameraSettings
from ..core.detectors import DetectorSettings
from ..settings import ConditionsPrior
from .charge import Readout
from .geometry import Geometry


@dataclass(frozen=True)
class Conditions:
    """One set of conditions.

    Attributes
    ----------
    detector : DetectorSettings
        With the frame time, noise, threshold, charge cloud and voltage of this exposure.
    readout : Readout
    phi : float
        GV.
    helium : float
        Helium nuclei over protons.
    standoff, gap, shield : float
        mm.
    gain : float
        Measured over true energy, mean of the detector.
    flat : float
        Events without context, 1/cm2/s/keV.
    photons : float
        X-rays a frame.
    index : float
        Photon index of their spectrum.
    energies : tuple of float
        Its ends, keV.
    spot : tuple of float
        Share of the X-rays in a spot, its x and y (pixels) and width (pixels).
    camera : CameraSettings, optional
        What is around and between detectors; one detector read at once by default.
    others : tuple of Readout
        Of the camera's detectors after the first.
    """

    detector: DetectorSettings
    readout: Readout
    phi: float
    helium: float
    standoff: float
    gap: float
    shield: float
    gain: float
    flat: float
    photons: float
    index: float
    energies: tuple[float, float]
    spot: tuple[float, float, float, float]
    camera: CameraSettings | None = None
    others: tuple[Readout, ...] = ()

    @property
    def geometry(self) -> Geometry:
        """Slab, cavity and housing."""
        d = self.detector
        size = np.array([d.nx * d.pixel_um, d.ny * d.pixel_um, d.silicon_um])
        lengths = 1e3 * self.standoff, 1e3 * self.gap, 1e3 * self.shield
        if self.camera is None:
            return Geometry(size, *lengths)
        c = self.camera
        size[:2] = c.plane(d).size_um
        yields = (c.yield_sides, c.yield_board, c.yield_light)
        return Geometry(
            size,
            *lengths,
            above=None if c.light_side is None else 1e3 * c.light_side,
            opening=c.opening,
            yields=None if yields == (1.0, 1.0, 1.0) else yields,
            front=d.lit == "front",
        )


def uniform(rng: Generator, ends: tuple[float, float]) -> float:
    """One uniform draw."""
    return float(rng.uniform(*ends))


def log_uniform(rng: Generator, ends: tuple[float, float]) -> float:
    """One draw whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]))))


def draw(
    prior: ConditionsPrior,
    base: DetectorSettings,
    rng: Generator,
    camera: CameraSettings | None = None,
) -> Conditions:
    """Draw the conditions of an exposure.

    Parameters
    ----------
    prior : ConditionsPrior
    base : DetectorSettings
        The detector as it is meant to be.
    rng : Generator
    camera : CameraSettings, optional
        What is around and between detectors.
    """
    drawn = _draw(prior, base, rng)
    if camera is None:
        return drawn
    # After all else, so that these are the conditions of the one detector without a camera.
    others = [_readout(prior, drawn.detector, drawn.gain, rng) for _ in range(1, camera.number)]
    drawn = replace(drawn, camera=camera, others=tuple(others))
    if not camera.cycles:
        return drawn
    time = 1e-3 * float(rng.choice(camera.cycles))
    detector = drawn.detector.model_copy(update={"frame_time": time})
    return replace(drawn, detector=detector)


def _draw(prior: ConditionsPrior, base: DetectorSettings, rng: Generator) -> Conditions:
    p = prior
    nominal = rng.random() < p.nominal
    noise, threshold = log_uniform(rng, p.noise), log_uniform(rng, p.threshold)
    if nominal:
        noise = threshold = 1.0
    enc = base.enc * noise
    detector = base.model_copy(
        update={
            "frame_time": base.frame_time * log_uniform(rng, p.frame_time),
            "enc": enc,
            "sigma0_um": base.sigma0_um * log_uniform(rng, p.cloud),
            "bias_V": base.bias_V * log_uniform(rng, p.bias),
        }
    )
    split = max(base.split_keV * threshold, p.lowest_threshold * detector.noise_keV)
    detector = detector.model_copy(update={"split_keV": split})
    gain = uniform(rng, p.gain)
    bright = rng.random() < p.bright
    pointed = rng.random() < p.spot
    spot = (
        uniform(rng, p.spot_share) if pointed else 0.0,
        uniform(rng, (0.0, base.nx - 1.0)),
        uniform(rng, (0.0, base.ny - 1.0)),
        log_uniform(rng, p.spot_width),
    )
    return Conditions(
        detector=detector,
        readout=_readout(p, detector, gain, rng),
        phi=uniform(rng, p.phi),
        helium=p.helium,
        standoff=log_uniform(rng, p.standoff),
        gap=log_uniform(rng, p.gap),
        shield=log_uniform(rng, p.shield),
        gain=gain,
        flat=uniform(rng, p.flat),
        photons=log_uniform(rng, p.bright_photons if bright else p.photons),
        index=uniform(rng, p.spectrum),
        energies=p.energies,
        spot=spot,
    )


def _readout(
    p: ConditionsPrior, detector: DetectorSettings, gain: float, rng: Generator
) -> Readout:
    """Maps of gain and offset, dead columns."""
    by_column = gain * (1 + uniform(rng, p.column_gain) * rng.standard_normal(detector.nx))
    scatter = uniform(rng, p.offset)
    offset = scatter * rng.standard_normal((detector.ny, detector.nx), np.float32)
    if rng.random() < p.bad:
        number = int(rng.integers(1, p.bad_columns + 1))
        by_column[rng.integers(0, detector.nx, number)] = 0.0
    return Readout(detector, by_column, offset.astype(np.float64))


def power_law(rng: Generator, number: int, index: float, ends: tuple[float, float]) -> Floats:
    """Energies with dN/dE ~ E^-index between two ends."""
    low, high = ends
    u = rng.random(number)
    if abs(index - 1) < 1e-6:
        return low * (high / low) ** u
    a = 1 - index
    return (low**a + u * (high**a - low**a)) ** (1 / a)
