r"""Completeness of the search of this very image, and its false alarms.

The smooth model of the image is taken as the truth, and with it the image's own large-scale
asymmetry (`inference.refine.asymmetry`). Poisson draws of it have no cavities: what is found in
them is false. Draws of it with cavities cut in tell which sizes, at which distances,
would have been found. Both go through the same search, binnings and threshold as the image.

To cut a cavity into a projected model one has to know how the emission is spread along the line
of sight. The model is written as a sum of Gaussians (Emsellem et al. 1994, A&A 285, 723), whose
deprojection is closed: of the Gaussian of width s, the chord of half-length Z in the plane of the
sky holds the fraction erf(Z / sqrt(2) s).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import erf

from physml.exceptions import InputError
from physml.progress import show_progress
from physml.random import stream

from ..core.ellipse import Ellipse, overlap
from ..core.halo import fit_halo
from ..data.observation import Observation
from ..inference.candidate import Candidate
from ..inference.fields import cut_field
from ..inference.mosaic import fill_undefined
from ..inference.refine.asymmetry import asymmetry
from ..inference.search import Detector, search
from .result import CavityResult, Recovery, share

#: Draws searched together.
TOGETHER = 8
#: Side of the image to which the smooth model is fitted; larger ones are binned [pixel].
LARGEST_FIT = 512
#: Intersection over union from which an injection counts as found.
MATCH_IOU = 0.3
#: Cavities cut into each draw: apart from each other, so that they do not disturb one another.
CAVITIES = 2


class GaussianHalo:
    """A smooth image as concentric elliptical Gaussians and a constant, to be deprojected.

    Parameters
    ----------
    rate : ndarray, shape (H, W)
        Smooth surface brightness at full exposure [counts per pixel].
    valid : ndarray of bool, shape (H, W)
        Where it is known.
    centre : tuple of float
        Its centre (x, y) [pixel].
    """

    def __init__(
        self, rate: NDArray[Any], valid: NDArray[Any], centre: tuple[float, float]
    ) -> None:
        y, x = np.nonzero(valid & (rate > 0))
        dx, dy = x - centre[0], y - centre[1]
        value = rate[y, x]
        self.centre = centre
        self.axis_ratio, self.theta = self._shape(dx, dy, value)
        radius = np.sqrt(self._radius2(dx, dy))
        # Annuli of equal width in log radius; about 40 points carry all that is smooth.
        edges = np.concatenate([[0], np.geomspace(0.8, radius.max() * 1.001, 45)])
        ring = np.digitize(radius, edges) - 1
        number = np.bincount(ring, minlength=45)
        keep = number > 0
        mean_radius2 = np.bincount(ring, radius**2, minlength=45)[keep] / number[keep]
        profile = np.bincount(ring, value, minlength=45)[keep] / number[keep]
        self.sigma = np.geomspace(0.5, 3 * radius.max(), 24)
        basis = np.exp(-0.5 * mean_radius2[:, None] / self.sigma**2)
        # A flat background is not gas: it is fitted along, and no cavity removes it.
        basis = np.concatenate([basis, np.ones((len(profile), 1))], axis=1)
        # Neighbouring Gaussians are nearly alike: scipy's 3 steps a column are often too few.
        amplitudes, _ = nnls(
            basis / profile[:, None], np.ones(len(profile)), maxiter=100 * basis.shape[1]
        )
        self.amplitude, self.constant = amplitudes[:-1], amplitudes[-1]

    @staticmethod
    def _shape(dx: NDArray[Any], dy: NDArray[Any], value: NDArray[Any]) -> tuple[float, float]:
        """Axis ratio and angle from second moments within the radius that holds half the light."""
        r2 = dx * dx + dy * dy
        order = np.argsort(r2)
        light = np.cumsum(value[order])
        limit = r2[order][np.searchsorted(light, 0.5 * light[-1])]
        inside = (r2 <= limit) & (value > 0)
        w = value[inside]
        xx, yy = (w * dx[inside] ** 2).sum(), (w * dy[inside] ** 2).sum()
        xy = (w * dx[inside] * dy[inside]).sum()
        theta = 0.5 * np.arctan2(2 * xy, xx - yy)
        spread = np.hypot(0.5 * (xx - yy), xy)
        mean = 0.5 * (xx + yy)
        # A circular aperture hides part of the elongation: its moments see half of 1 - q.
        ratio = float(np.sqrt((mean - spread) / (mean + spread))) if mean + spread > 0 else 1.0
        return float(np.clip(1 - 2 * (1 - ratio), 0.5, 1.0)), float(theta)

    def _radius2(self, dx: NDArray[Any], dy: NDArray[Any]) -> NDArray[Any]:
        c, s = np.cos(self.theta), np.sin(self.theta)
        return (dx * c + dy * s) ** 2 + ((dy * c - dx * s) / self.axis_ratio) ** 2

    def removed(self, x: NDArray[Any], y: NDArray[Any], half_chord: NDArray[Any]) -> NDArray[Any]:
        """Share of the surface brightness that comes from ``|z|`` < half_chord [pixel]."""
        r2 = self._radius2(x - self.centre[0], y - self.centre[1])[..., None]
        surface = self.amplitude * np.exp(-0.5 * r2 / self.sigma**2)
        inside = surface * erf(np.asarray(half_chord)[..., None] / (np.sqrt(2) * self.sigma))
        return inside.sum(-1) / (surface.sum(-1) + self.constant)


def measure_recovery(
    detector: Detector,
    result: CavityResult,
    draws: int,
    *,
    seed: int = 0,
    progress: bool | None = None,
) -> Recovery:
    """Measure completeness and false alarms of a result, and note them in its catalogue.

    Parameters
    ----------
    detector : Detector
        Detector that made the result.
    result : CavityResult
        Gets `.recovery`; its catalogue gets the columns `completeness` (for a cavity of that
        radius at that distance) and `false_alarms` (false cavities of at least that probability
        expected in such an image), and the rate in its meta.
    draws : int
        Draws without cavities, and as many with.
    seed : int
        Seed; draw i of any number of draws is the same.
    progress : bool, optional
        Show a progress bar on a terminal; yes by default.

    Raises
    ------
    InputError
        For fewer than one draw.
    """
    detector = getattr(detector, "detector", detector)  # a predictor was given up to version 0.1
    if draws < 1:
        raise InputError(f"recovery=: expected at least 1 draw, found {draws}")
    observation = result.observation
    symmetric = smooth_model(observation, result.centre)
    known = 0.0 if observation.background is None else observation.background
    lopsided = asymmetry(result.search, result.cavities)
    model = known + np.clip(symmetric - known, 0, None) * lopsided
    exposure = observation.relative_exposure
    gas = symmetric - known
    seen = exposure > 0.1
    rate = np.divide(gas, exposure, out=np.zeros_like(gas), where=seen)
    halo = GaussianHalo(rate, seen, result.centre)
    # Neighbouring draws: 2 i without, 2 i + 1 with cavities.
    found: list[list[Candidate]] = []
    planted: list[list[Injection]] = []
    with show_progress("recovery", 2 * draws, progress is not False) as advance:
        for start in range(0, 2 * draws, TOGETHER):
            observations = []
            for number in range(start, min(start + TOGETHER, 2 * draws)):
                rng = stream(seed, "predict", 1 + number)
                expected, cavities = model, list[Injection]()
                if number % 2:
                    expected, cavities = _plant(result, model, halo, rng)
                planted.append(cavities)
                drawn = rng.poisson(np.where(observation.exposed, expected, 0.0))
                observations.append(replace(observation, counts=drawn.astype(float)))
            n = len(observations)
            scales = [f.scale for f in result.search.fields]
            searches = search(detector, observations, [result.centre] * n, [scales] * n)
            found += [s.found(detector, result.threshold) for s in searches]
            advance(n)
    recovery = _summarise(result, planted, found, draws)
    result.recovery = recovery
    _annotate(result, recovery)
    return recovery


def smooth_model(observation: Observation, centre: tuple[float, float]) -> NDArray[Any]:
    """One double beta model of the whole image, on input pixels [expected counts].

    The model beside the result joins the fits of several binnings. Where these differ, as they do
    around real structure, the joint has dips that a search rightly takes for cavities; the truth
    of a test has to be one smooth halo.
    """
    height, width = observation.counts.shape
    side = max(height, width)
    scale = -(-side // LARGEST_FIT)
    # Twice as wide as the image, so that it is covered wherever the cluster lies in it.
    reach = max(centre[0], width - centre[0], centre[1], height - centre[1])
    field = cut_field(observation, scale, centre, field=int(2 * reach / scale) + 2)
    known = None if field.background is None else field.background[None]
    middle = np.array([field.centre])
    fit = fit_halo(field.counts[None], field.exposure[None], known, field.invalid[None], middle)
    background = 0.0 if observation.background is None else observation.background
    gas = fit.model[0] - (0.0 if field.background is None else field.background)
    rate = np.divide(gas, field.exposure, out=np.zeros_like(field.exposure), where=~field.invalid)
    rate = fill_undefined(np.where(field.invalid, np.nan, rate))
    fine = field.interpolate(rate, observation.counts.shape) / scale**2
    return np.clip(fine * observation.relative_exposure + background, 0, None)


@dataclass(frozen=True)
class Injection:
    """Cavity that was cut into the model.

    Attributes
    ----------
    shape : Ellipse
    distance : float
        From the cluster centre [pixel].
    decrement, snr : float
        Share of the counts that is missing, and its signal to noise.
    """

    shape: Ellipse
    distance: float
    decrement: float
    snr: float


def _plant(
    result: CavityResult, model: NDArray[Any], halo: GaussianHalo, rng: np.random.Generator
) -> tuple[NDArray[np.float64], list[Injection]]:
    """Model with emptied ellipsoids, in the plane of the sky, cut into it; and which they are."""
    background = result.observation.background
    gas = model if background is None else np.clip(model - background, 0, None)
    left = np.ones_like(model)
    cavities: list[Injection] = []
    start = rng.uniform(0, 2 * np.pi)
    for number in range(CAVITIES):
        for _ in range(40):
            shape, distance, depth = _draw_shape(result, start + number * np.pi, rng)
            if _fits(result, shape, distance) and not any(
                overlap(shape, other.shape)[1] > 0 for other in cavities
            ):
                break
        else:
            continue
        window = shape.window(result.observation.counts.shape)
        Y, X = np.mgrid[window]
        chord = depth * np.sqrt(np.clip(1 - shape.squared_radius(X, Y), 0, None))
        removed = halo.removed(X, Y, chord)
        left[window] *= 1 - removed
        inside = chord > 0
        counts = model[window][inside].sum()
        missing = (gas[window] * removed)[inside].sum()
        decrement, snr = (missing / counts, missing / np.sqrt(counts)) if counts > 0 else (0, 0)
        cavities.append(Injection(shape, distance, float(decrement), float(snr)))
    return model - gas * (1 - left), cavities


def _draw_shape(
    result: CavityResult, direction: float, rng: np.random.Generator
) -> tuple[Ellipse, float, float]:
    """Ellipse in about a direction, its distance from the centre, and its depth [pixel]."""
    finest, coarsest = result.search.fields[0].scale, result.search.fields[-1].scale
    radius = float(np.exp(rng.uniform(np.log(3.0 * finest), np.log(30.0 * coarsest))))
    distance = float(np.exp(rng.uniform(np.log(0.8 * radius), np.log(4.0 * radius))))
    angle = direction + rng.normal(0, 0.3)
    x, y = result.centre
    x, y = x + distance * np.cos(angle), y + distance * np.sin(angle)
    elongation = rng.uniform(0, 0.4)
    major, minor = radius / np.sqrt(1 - elongation), radius * np.sqrt(1 - elongation)
    theta = (angle + (np.pi / 2) * rng.integers(2)) % np.pi
    return Ellipse(x, y, major, minor, theta), distance, rng.uniform(minor, major)


def _fits(result: CavityResult, shape: Ellipse, distance: float) -> bool:
    """Whether an ellipse lies in what was observed and searched."""
    height, width = result.observation.counts.shape
    reach = min(0.5 * max(height, width), 62.0 * result.search.fields[-1].scale)
    ix, iy = round(shape.x), round(shape.y)
    inside = 0 <= ix < width and 0 <= iy < height
    return bool(
        distance + shape.semi_major < reach and inside and result.observation.exposed[iy, ix]
    )


def _summarise(
    result: CavityResult, planted: list[list[Injection]], found: list[list[Candidate]], draws: int
) -> Recovery:
    sky = result.observation.sky
    false = [[c.probability for c in f] for f in found[0::2]]
    rows = []
    for cavities, detections in zip(planted[1::2], found[1::2], strict=True):
        for cavity in cavities:
            shape = cavity.shape
            shared = [overlap(shape, d)[0] for d in detections]
            hit = bool(shared) and max(shared) >= MATCH_IOU
            best = detections[int(np.argmax(shared))] if hit else None
            scale = np.sqrt(sky.pixel_area(shape.x, shape.y))
            distance, azimuth = sky.offset(*result.centre, shape.x, shape.y)
            radius = np.sqrt(shape.semi_major * shape.semi_minor) * scale
            place = (shape.x, shape.y, radius, distance, azimuth)
            depth = (1 - shape.semi_minor / shape.semi_major, cavity.decrement, cavity.snr)
            match = (best.probability, best.radius * scale) if best else (np.nan, np.nan)
            rows.append((*place, *depth, hit, *match))
    unit = sky.unit
    table = QTable(
        rows=rows or None,
        names=[
            *("x", "y", "radius", "distance", "azimuth", "ellipticity", "decrement", "snr"),
            *("found", "probability", "radius_found"),
        ],
        dtype=[float] * 8 + [bool] + [float] * 2,
        units={
            **{"x": u.pix, "y": u.pix, "azimuth": u.deg},
            **dict.fromkeys(("radius", "distance", "radius_found"), unit),
        },
    )
    return Recovery(
        injections=table,
        completeness=_bins(table, unit),
        draws=draws,
        alarmed=sum(bool(f) for f in false),
        false_probabilities=np.array(sorted(p for f in false for p in f)),
    )


def _bins(table: QTable, unit: u.UnitBase) -> QTable:
    """Completeness in bins of radius, for all distances and for each third of them."""
    radius, distance = table["radius"].value, table["distance"].value
    rows = []
    if len(table):
        edges = np.quantile(radius, np.linspace(0, 1, max(2, min(7, len(table) // 8 + 1)) + 1))
        thirds = np.quantile(distance, [0, 1 / 3, 2 / 3, 1])
        spans = [(distance.min(), distance.max()), *pairwise(thirds)]
        for near, far in spans:
            for low, high in pairwise(edges):
                here = (radius >= low) & (radius <= high) & (distance >= near) & (distance <= far)
                k, n = int(table["found"][here].sum()), int(here.sum())
                rows.append((low, high, near, far, n, k, *share(k, n)))
    limits = ("radius_low", "radius_high", "distance_low", "distance_high")
    return QTable(
        rows=rows or None,
        names=[
            *limits,
            *("injected", "found", "completeness", "completeness_low", "completeness_high"),
        ],
        dtype=[float] * 4 + [int] * 2 + [float] * 3,
        units=dict.fromkeys(limits, unit),
    )


def _annotate(result: CavityResult, recovery: Recovery) -> None:
    table = result.catalogue
    columns = {
        "completeness": (
            [recovery.at(r["radius"].value, r["distance"].value) for r in table],
            "share of fully emptied cavities of this radius and distance that would be found here",
        ),
        "false_alarms": (
            [
                (recovery.false_probabilities >= p).sum() / recovery.draws
                for p in table["probability"]
            ],
            "false cavities of at least this probability expected in such an image",
        ),
    }
    for name, (values, description) in columns.items():
        table[name] = np.array(values, dtype=float)
        table[name].info.description = description
    low, high = recovery.false_alarm_interval
    found = recovery.injections["found"]
    table.meta.update(
        recovery_draws=recovery.draws,
        false_alarm_rate=recovery.false_alarm_rate,
        false_alarm_rate_low=low,
        false_alarm_rate_high=high,
        completeness=float(np.mean(found)) if len(found) else float("nan"),
    )
