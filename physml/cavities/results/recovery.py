r"""How complete the search of this very image is, and how often it is wrong.

The smooth model of the image is taken as the truth. Poisson draws of it have no cavities: what is
found in them is false. Draws of it with cavities cut in tell which sizes, at which distances,
would have been found. Both go through the same search, binnings and threshold as the image.

To cut a cavity into a projected model one has to know how the emission is spread along the line
of sight. The model is written as a sum of Gaussians (Emsellem et al. 1994, A&A 285, 723), whose
deprojection is closed: of the Gaussian of width s, the chord of half-length Z in the plane of the
sky holds the fraction erf(Z / sqrt(2) s).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy.special import erf

from physml.exceptions import InputError
from physml.progress import show_progress
from physml.random import stream

from ..core.ellipse import Ellipse, overlap
from ..data.observation import Observation
from ..inference.fields import cut_field
from ..inference.merge import Candidate
from ..inference.search import fill_undefined, search

if TYPE_CHECKING:
    from ..predict import CavityPredictor
    from .result import CavityResult

TOGETHER = 8
LARGEST_FIT = 512
"""Side of the image to which the smooth model is fitted; larger ones are binned [pixel]."""
MATCH_IOU = 0.3
CAVITIES = 2
"""Cavities cut into each draw: apart from each other, so that they do not disturb one another."""
KERNEL = 0.35
"""Width in ln(radius) and ln(distance) over which completeness is averaged at a cavity."""


@dataclass
class Recovery:
    """Completeness and false alarms of one image.

    Attributes
    ----------
    injections : QTable
        One row a cavity that was cut in: place, size, S/N, whether it was found.
    completeness : QTable
        Share found in bins of radius and distance, with 68 % intervals.
    draws : int
        Draws without cavities (and as many with).
    alarmed : int
        Those of them with at least one false cavity.
    false_probabilities : ndarray
        Probability of each confident false cavity.
    """

    injections: QTable
    completeness: QTable
    draws: int
    alarmed: int
    false_probabilities: np.ndarray

    @property
    def false_alarm_rate(self) -> float:
        """Share of images without cavities in which one is found."""
        return self.alarmed / self.draws

    @property
    def false_alarm_interval(self) -> tuple[float, float]:
        """68 % interval of that share (Wilson)."""
        low, high = wilson(self.alarmed, self.draws)
        return float(low), float(high)

    def at(self, radius: float, distance: float) -> float:
        """Completeness for a cavity of a radius at a distance, both in the units of the table.

        Mean over injections alike, weighted by a Gaussian in the logarithms.
        """
        ratio_r = np.log(self.injections["radius"].value / radius)
        ratio_d = np.log(self.injections["distance"].value / max(distance, 1e-9))
        weight = np.exp(-0.5 * (ratio_r**2 + ratio_d**2) / KERNEL**2)
        if weight.sum() < 0.5:
            return float("nan")  # nothing like it was injected
        return float((weight * self.injections["found"]).sum() / weight.sum())


def wilson(successes, trials, sigmas: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a share; (0, 1) without trials."""
    k, n = np.asarray(successes, float), np.asarray(trials, float)
    share = np.divide(k, n, out=np.full_like(n, 0.5), where=n > 0)
    z2 = sigmas**2
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = sigmas / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At 0 and 1 the interval ends on the share itself, but for rounding.
    low = np.where(n > 0, np.clip(middle - half, 0, share), 0.0)
    high = np.where(n > 0, np.clip(middle + half, share, 1), 1.0)
    return low, high


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

    def __init__(self, rate: np.ndarray, valid: np.ndarray, centre: tuple[float, float]):
        from scipy.optimize import nnls

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
    def _shape(dx: np.ndarray, dy: np.ndarray, value: np.ndarray) -> tuple[float, float]:
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

    def _radius2(self, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
        c, s = np.cos(self.theta), np.sin(self.theta)
        return (dx * c + dy * s) ** 2 + ((dy * c - dx * s) / self.axis_ratio) ** 2

    def removed(self, x: np.ndarray, y: np.ndarray, half_chord: np.ndarray) -> np.ndarray:
        """Share of the surface brightness that comes from ``|z|`` < half_chord [pixel]."""
        r2 = self._radius2(x - self.centre[0], y - self.centre[1])[..., None]
        surface = self.amplitude * np.exp(-0.5 * r2 / self.sigma**2)
        inside = surface * erf(np.asarray(half_chord)[..., None] / (np.sqrt(2) * self.sigma))
        return inside.sum(-1) / (surface.sum(-1) + self.constant)


def measure_recovery(
    predictor: CavityPredictor,
    result: CavityResult,
    draws: int,
    *,
    seed: int = 0,
    progress: bool | None = None,
) -> Recovery:
    """Measure completeness and false alarms of a result, and note them in its catalogue.

    Parameters
    ----------
    predictor : CavityPredictor
        What made the result.
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
    if draws < 1:
        raise InputError(f"recovery: expected at least 1 draw, found {draws}")
    observation = result.observation
    model = smooth_model(observation, result.centre)
    halo = _halo(result, model)
    # Neighbouring draws: 2 i without, 2 i + 1 with cavities.
    found: list[list[Candidate]] = []
    planted: list[list[dict]] = []
    with show_progress("recovery", 2 * draws, progress is not False) as advance:
        for start in range(0, 2 * draws, TOGETHER):
            observations = []
            for number in range(start, min(start + TOGETHER, 2 * draws)):
                rng = stream(seed, "predict", 1 + number)
                expected, cavities = model, list[dict]()
                if number % 2:
                    expected, cavities = _plant(result, model, halo, rng)
                planted.append(cavities)
                observations.append(_draw(observation, expected, rng))
            n = len(observations)
            scales = [f.scale for f in result.search.fields]
            searches = search(predictor.detector, observations, [result.centre] * n, [scales] * n)
            found += [s.found(predictor.detector, result.threshold) for s in searches]
            advance(n)
    recovery = _summarise(result, planted, found, draws)
    result.recovery = recovery
    _annotate(result, recovery)
    return recovery


def smooth_model(observation: Observation, centre: tuple[float, float]) -> np.ndarray:
    """One double beta model of the whole image, on input pixels [expected counts].

    The model beside the result joins the fits of several binnings. Where these differ, as they do
    around real structure, the joint has dips that a search rightly takes for cavities; the truth
    of a test has to be one smooth halo.
    """
    from ..core.halo import fit_halo

    height, width = observation.counts.shape
    side = max(height, width)
    scale = -(-side // LARGEST_FIT)
    # Twice as wide as the image, so that it is covered wherever the cluster lies in it.
    reach = max(centre[0], width - centre[0], centre[1], height - centre[1])
    field = cut_field(observation, scale, centre, field=int(2 * reach / scale) + 2)
    fit = fit_halo(
        field.counts[None],
        field.exposure[None],
        None if field.background is None else field.background[None],
        field.invalid[None],
        np.array([field.centre]),
    )
    background = 0.0 if observation.background is None else observation.background
    known = 0.0 if field.background is None else field.background
    gas = fit.model[0] - known
    rate = np.divide(gas, field.exposure, out=np.zeros_like(field.exposure), where=~field.invalid)
    rate = fill_undefined(np.where(field.invalid, np.nan, rate))
    fine = field.interpolate(rate, observation.counts.shape) / scale**2
    return np.clip(fine * observation.relative_exposure + background, 0, None)


def _halo(result: CavityResult, model: np.ndarray) -> GaussianHalo:
    observation = result.observation
    gas = model if observation.background is None else model - observation.background
    exposure = observation.relative_exposure
    valid = exposure > 0.1
    rate = np.divide(gas, exposure, out=np.zeros_like(gas), where=valid)
    return GaussianHalo(rate, valid, result.centre)


def _draw(observation: Observation, expected: np.ndarray, rng: np.random.Generator) -> Observation:
    """Replace the counts of the observation by a Poisson draw."""
    return Observation(
        counts=rng.poisson(np.where(observation.exposed, expected, 0.0)).astype(float),
        relative_exposure=observation.relative_exposure,
        background=observation.background,
        filled=observation.filled,
        sky=observation.sky,
        name=observation.name,
    )


def _plant(
    result: CavityResult, model: np.ndarray, halo: GaussianHalo, rng: np.random.Generator
) -> tuple[np.ndarray, list[dict]]:
    """Cut emptied ellipsoids, in the plane of the sky, into the model; say which."""
    observation = result.observation
    background = observation.background
    gas = model if background is None else np.clip(model - background, 0, None)
    height, width = model.shape
    finest, coarsest = result.search.fields[0].scale, result.search.fields[-1].scale
    x0, y0 = result.centre
    reach = min(0.5 * max(height, width), 62.0 * coarsest)
    left = np.ones_like(model)
    cavities: list[dict] = []
    start = rng.uniform(0, 2 * np.pi)
    for number in range(CAVITIES):
        for _ in range(40):
            radius = float(np.exp(rng.uniform(np.log(3.0 * finest), np.log(30.0 * coarsest))))
            distance = float(np.exp(rng.uniform(np.log(0.8 * radius), np.log(4.0 * radius))))
            angle = start + number * np.pi + rng.normal(0, 0.3)
            x, y = x0 + distance * np.cos(angle), y0 + distance * np.sin(angle)
            elongation = rng.uniform(0, 0.4)
            major, minor = radius / np.sqrt(1 - elongation), radius * np.sqrt(1 - elongation)
            theta = (angle + (np.pi / 2) * rng.integers(2)) % np.pi
            depth = rng.uniform(minor, major)
            shape = Ellipse(x, y, major, minor, theta)
            ix, iy = round(x), round(y)
            fits = distance + major < reach and 0 <= ix < width and 0 <= iy < height
            if fits and observation.exposed[iy, ix] and not _touches(shape, cavities):
                break
        else:
            continue
        w, h = shape.half_extent()
        rows = slice(max(0, int(y - h)), min(height, int(y + h) + 2))
        columns = slice(max(0, int(x - w)), min(width, int(x + w) + 2))
        Y, X = np.mgrid[rows, columns]
        chord = depth * np.sqrt(np.clip(1 - shape.squared_radius(X, Y), 0, None))
        share = halo.removed(X, Y, chord)
        left[rows, columns] *= 1 - share
        inside = chord > 0
        counts = model[rows, columns][inside].sum()
        missing = (gas[rows, columns] * share)[inside].sum()
        cavities.append(
            {
                "shape": shape,
                "distance": distance,
                "decrement": float(missing / counts) if counts > 0 else 0.0,
                "snr": float(missing / np.sqrt(counts)) if counts > 0 else 0.0,
            }
        )
    return model - gas * (1 - left), cavities


def _touches(shape: Ellipse, cavities: list[dict]) -> bool:
    return any(overlap(shape, other["shape"])[1] > 0 for other in cavities)


def _summarise(
    result: CavityResult,
    planted: list[list[dict]],
    found: list[list[Candidate]],
    draws: int,
) -> Recovery:
    sky = result.observation.sky
    false = [[c.probability for c in f] for f in found[0::2]]
    rows = []
    for cavities, detections in zip(planted[1::2], found[1::2], strict=True):
        for cavity in cavities:
            shape = cavity["shape"]
            overlaps = [overlap(shape, d)[0] for d in detections]
            best = int(np.argmax(overlaps)) if overlaps else -1
            hit = bool(overlaps) and overlaps[best] >= MATCH_IOU
            scale = np.sqrt(sky.pixel_area(shape.x, shape.y))
            distance, azimuth = sky.offset(*result.centre, shape.x, shape.y)
            rows.append(
                (
                    shape.x,
                    shape.y,
                    np.sqrt(shape.semi_major * shape.semi_minor) * scale,
                    distance,
                    azimuth,
                    1 - shape.semi_minor / shape.semi_major,
                    cavity["decrement"],
                    cavity["snr"],
                    hit,
                    detections[best].probability if hit else np.nan,
                    detections[best].radius * scale if hit else np.nan,
                )
            )
    unit = sky.unit
    table = QTable(
        rows=rows or None,
        names=[
            "x",
            "y",
            "radius",
            "distance",
            "azimuth",
            "ellipticity",
            "decrement",
            "snr",
            "found",
            "probability",
            "radius_found",
        ],
        dtype=[float] * 8 + [bool] + [float] * 2,
        units={
            "x": u.pix,
            "y": u.pix,
            "radius": unit,
            "distance": unit,
            "azimuth": u.deg,
            "radius_found": unit,
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
    found = np.asarray(table["found"], bool)
    rows = []
    if len(table):
        edges = np.quantile(radius, np.linspace(0, 1, max(2, min(7, len(table) // 8 + 1)) + 1))
        thirds = np.quantile(distance, [0, 1 / 3, 2 / 3, 1])
        spans = [(distance.min(), distance.max()), *pairwise(thirds)]
        for near, far in spans:
            for low, high in pairwise(edges):
                here = (radius >= low) & (radius <= high) & (distance >= near) & (distance <= far)
                k, n = int(found[here].sum()), int(here.sum())
                lower, upper = wilson(k, n)
                share = k / n if n else np.nan
                rows.append((low, high, near, far, n, k, share, float(lower), float(upper)))
    return QTable(
        rows=rows or None,
        names=[
            "radius_low",
            "radius_high",
            "distance_low",
            "distance_high",
            "injected",
            "found",
            "completeness",
            "completeness_low",
            "completeness_high",
        ],
        dtype=[float] * 4 + [int] * 2 + [float] * 3,
        units=dict.fromkeys(["radius_low", "radius_high", "distance_low", "distance_high"], unit),
    )


def _annotate(result: CavityResult, recovery: Recovery) -> None:
    table = result.catalogue
    table["completeness"] = np.array(
        [recovery.at(r["radius"].value, r["distance"].value) for r in table], dtype=float
    )
    table["false_alarms"] = (
        np.array([float((recovery.false_probabilities >= r["probability"]).sum()) for r in table])
        / recovery.draws
    )
    table[
        "completeness"
    ].info.description = (
        "share of fully emptied cavities of this radius and distance that would be found here"
    )
    table[
        "false_alarms"
    ].info.description = "false cavities of at least this probability expected in such an image"
    low, high = recovery.false_alarm_interval
    table.meta["recovery_draws"] = recovery.draws
    table.meta["false_alarm_rate"] = recovery.false_alarm_rate
    table.meta["false_alarm_rate_low"] = low
    table.meta["false_alarm_rate_high"] = high
    table.meta["completeness"] = (
        float(np.mean(recovery.injections["found"])) if len(recovery.injections) else float("nan")
    )
