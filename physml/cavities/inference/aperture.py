"""Counts within an outline against those of gas alike, next to it at the same distance.

A smooth model of the whole halo is off by several percent here or there, which is as much as a
faint cavity takes away. Within the sectors to both sides of an outline it is off by the same: what
the model says there, over what is counted there, is the scale by which it is corrected within.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ..core.halo import fit_halo
from ..data.observation import Observation
from .fields import cut_field
from .search import Search

#: Angle to both sides of an outline in which gas is looked for [deg].
SECTOR = 60.0
#: Least share of the model's counts within the outline that its control region has to hold.
LEAST = 0.5
#: Bins of brightness in which the ratio of two bands is followed.
COLOUR_BINS = 30


@dataclass(frozen=True)
class Aperture:
    """Counts within an outline and in the control region beside it.

    Attributes
    ----------
    counts, model, background : float
        Within the outline; the model holds the background, which is NaN where it is not known.
    control, control_model, control_background : float
        The same beside it.
    faintest : float
        Upper limit of the background's share in the model within the outline, from where the
        model is faintest.
    """

    counts: float
    model: float
    background: float
    control: float
    control_model: float
    control_background: float
    faintest: float

    @property
    def scale(self) -> float:
        """Counts of the control region over its model."""
        return self.control / max(self.control_model, 1e-9)

    @property
    def snr(self) -> float:
        """Deficit within the outline over its Poisson noise, that of the control included."""
        expected = self.scale * self.model
        variance = expected + expected**2 / max(self.control, 1.0)
        return (expected - self.counts) / float(np.sqrt(max(variance, 1e-9)))


def undisturbed_model(
    observation: Observation,
    centre: tuple[float, float],
    scales: Sequence[int],
    without: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Smooth model of an image that knows nothing of what lies in some pixels, shape (H, W).

    Parameters
    ----------
    observation : Observation
    centre : tuple of float
        Cluster centre (x, y) [pixel].
    scales : sequence of int
        Binnings at which the halo is fitted.
    without : ndarray of bool, shape (H, W)
        Pixels that are left out, such as those of cavities.
    """
    masked = replace(observation, filled=observation.filled | without)
    fields = [cut_field(masked, k, centre) for k in scales]
    fits = [
        fit_halo(
            f.counts[None],
            f.exposure[None],
            None if f.background is None else f.background[None],
            f.invalid[None],
            np.array([f.centre]),
        )
        for f in fields
    ]
    models = [_Model(fit.model[0]) for fit in fits]
    return Search(observation.counts.shape, fields, models, []).model(observation)


def coloured_model(
    observation: Observation,
    other: Observation,
    model: NDArray[Any],
    without: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Smooth model of an image in one band, made of that in another, shape (H, W).

    The other band's model without background, times a function of its own brightness, which holds
    gradients of temperature. So both bands' models are off by the same where the gas is not as
    smooth as they are, and what they say of a ratio of bands does not suffer from it.

    Parameters
    ----------
    observation : Observation
        The image that is to be modelled.
    other : Observation
        Image in the other band, on the same pixels.
    model : ndarray, shape (H, W)
        Smooth model of the other [expected counts].
    without : ndarray of bool, shape (H, W)
        Pixels that are left out, such as those of cavities.
    """
    known = 0.0 if other.background is None else other.background
    exposure = np.maximum(other.relative_exposure, 1e-9)
    rate = np.maximum(model - known, 0.0) / exposure
    shape = np.log(np.maximum(rate, 1e-6 * rate.max()))
    background = np.zeros(model.shape) if observation.background is None else observation.background
    light = np.exp(shape) * observation.relative_exposure
    live = observation.exposed & other.exposed & ~observation.filled & ~other.filled & ~without
    edges = np.quantile(shape[live], np.linspace(0, 1, COLOUR_BINS + 1)[1:-1])
    where = np.digitize(shape[live], edges)

    def total(image: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(where, image[live], minlength=COLOUR_BINS).astype(float)

    counts, expected, flat = (total(i) for i in (observation.counts, light, background))
    middle = total(shape * light) / np.maximum(expected, 1e-12)
    centre, width = middle.mean(), max(float(np.ptp(middle)), 1e-6)
    powers = np.vander((middle - centre) / width, 3, increasing=True)
    start = np.log(max(float((counts - flat).sum()), 1.0) / expected.sum())

    def cost(p: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        gas = expected * np.exp(np.clip(powers @ p, -50, 50))
        mu = np.maximum(gas + flat, 1e-9)
        # A weak prior keeps the curve of a faint image straight.
        value = float((mu - counts * np.log(mu)).sum() + 0.5 * p[2] ** 2)
        slope = powers.T @ ((1 - counts / mu) * gas) + np.array([0.0, 0.0, p[2]])
        return value, slope

    found = minimize(cost, np.array([start, 0.0, 0.0]), jac=True, method="BFGS").x
    colour = np.vander(((shape - centre) / width).ravel(), 3, increasing=True) @ found
    return np.asarray(light * np.exp(np.clip(colour, -50, 50)).reshape(model.shape) + background)


@dataclass
class _Model:
    """The part of a detection that a search's model is made of."""

    model: NDArray[np.float32]


def measure_aperture(
    observation: Observation,
    model: NDArray[Any],
    centre: tuple[float, float],
    inside: NDArray[np.bool_],
    exclude: NDArray[np.bool_],
) -> Aperture | None:
    """Counts within an outline and beside it; None where nothing is observed there.

    Parameters
    ----------
    observation : Observation
    model : ndarray, shape (H, W)
        Smooth expected counts, background included.
    centre : tuple of float
        Cluster centre (x, y) [pixel].
    inside : ndarray of bool, shape (H, W)
        The outline.
    exclude : ndarray of bool, shape (H, W)
        Other structures, which are no control.
    """
    live = observation.exposed & ~observation.filled
    within = inside & live
    if not within.any():
        return None
    beside = _beside(model, centre, inside, within, live & ~exclude & ~inside)
    known = observation.background

    def total(image: NDArray[Any] | None, where: NDArray[np.bool_]) -> float:
        return float("nan") if image is None else float(image[where].sum())

    exposed = np.maximum(observation.relative_exposure, 1e-9)
    rate = (model / exposed)[observation.exposed]
    faintest = float(np.percentile(rate, 1)) * float(exposed[within].sum())
    expected = total(model, within)
    return Aperture(
        counts=total(observation.counts, within),
        model=expected,
        background=total(known, within),
        control=total(observation.counts, beside),
        control_model=total(model, beside),
        control_background=total(known, beside),
        faintest=min(faintest / max(expected, 1e-9), 1.0),
    )


def _beside(
    model: NDArray[Any],
    centre: tuple[float, float],
    inside: NDArray[np.bool_],
    within: NDArray[np.bool_],
    free: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Free pixels at the same distances, in the sectors to both sides; all around if too few."""
    rows, columns = np.nonzero(inside)
    y, x = np.ogrid[: inside.shape[0], : inside.shape[1]]
    distance = np.hypot(x - centre[0], y - centre[1])
    away = distance[rows, columns]
    ring = free & (distance >= away.min()) & (distance <= away.max())
    middle = np.arctan2(rows.mean() - centre[1], columns.mean() - centre[0])

    def turned(angle: NDArray[Any]) -> NDArray[Any]:
        return np.abs((angle - middle + np.pi) % (2 * np.pi) - np.pi)

    width = np.percentile(turned(np.arctan2(rows - centre[1], columns - centre[0])), 95)
    angle = turned(np.arctan2(y - centre[1], x - centre[0]))
    near = ring & (angle <= width + np.radians(SECTOR))
    enough = LEAST * model[within].sum()
    return near if model[near].sum() >= enough else ring
