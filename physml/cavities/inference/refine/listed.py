"""The listed cavities of an image refined: each in the field that resolves it best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.ellipse import Ellipse, overlap
from ..candidate import Candidate
from ..detector import relative
from ..fields import Field
from ..search import Search
from .cells import FieldImage
from .constants import Constants
from .refine import Refinement, refine
from .shapes import Start

Array = NDArray[np.float64]

#: Smallest radius at which a neighbour is part of a field's model [field pixel].
RESOLVED = 2.0
#: Least intersection over union of the network's ellipse and the fit's: radii that differ by a
#: quarter leave 0.64. A fit that shares less has found another structure, or followed an edge.
SHARED = 0.5


@dataclass(frozen=True)
class Refined(Candidate):
    """A listed cavity with what the likelihood says of it.

    Attributes
    ----------
    network : Candidate, optional
        As the network and the merging gave it.
    delta_lnl, delta_lnl_rigid, depth_factor, depth_factor_err : float
        See `Refinement`.
    covariance : ndarray, shape (5, 5), optional
        Of x, y, semi-axes [pixel] and theta [rad]; scaled on validation images.
    refined : bool
        Whether ellipse and radius are those of network and fit together.
    supported : bool
        Whether the likelihood supports it as a cavity.
    asymmetric : bool
        Whether it is what the large-scale asymmetry of the gas makes.
    """

    network: Candidate | None = None
    delta_lnl: float = float("nan")
    delta_lnl_rigid: float = float("nan")
    depth_factor: float = float("nan")
    depth_factor_err: float = float("nan")
    covariance: Array | None = None
    refined: bool = False
    asymmetric: bool = False
    supported: bool = True


def refine_listed(
    search: Search, listed: Sequence[Candidate], constants: Constants, seed: int = 0
) -> list[Candidate]:
    """Refine the listed cavities of an image.

    Parameters
    ----------
    search : Search
        Of a detector that gives the parameters of its halo; without them nothing is refined.
    listed : sequence of Candidate
        Cavities that enter the catalogue.
    constants : Constants
    seed : int
        Of the random walks.

    Returns
    -------
    list of Candidate
        In the same order, `Refined`; their probabilities are what they were.
    """
    found: dict[int, tuple[Field, Refinement]] = {}
    for field, detection in zip(search.fields, search.detections, strict=True):
        own = [i for i, c in enumerate(listed) if c.scale == field.scale]
        halo = getattr(detection, "halo", None)
        if not own or halo is None:
            continue
        # Neighbours seen at other binnings are part of the model, too.
        others = [i for i, c in enumerate(listed) if i not in own and lies_in(c, field)]
        image = FieldImage(
            field.counts, relative(field.exposure), field.background, field.invalid, halo
        )
        ellipses = [on_field(listed[i], field) for i in (*own, *others)]
        made = refine(image, ellipses, seed=seed)
        found |= {i: (field, one) for i, one in zip(own, made, strict=False)}
    best = max((one.delta_lnl for _, one in found.values()), default=0.0)
    return [
        _joined(c, *found[i], best, constants) if i in found else c for i, c in enumerate(listed)
    ]


def lies_in(candidate: Candidate, field: Field) -> bool:
    """Whether a cavity lies in a field that resolves it."""
    inside = bool(field.contains(candidate.x, candidate.y))
    return inside and candidate.radius / field.scale >= RESOLVED


def _is_inside(ellipse: Ellipse, field: Field) -> bool:
    """Whether an ellipse lies within a field, in field pixels."""
    c, s = np.cos(ellipse.theta), np.sin(ellipse.theta)
    a, b = ellipse.semi_major, ellipse.semi_minor
    height, width = field.counts.shape
    across, down = np.hypot(a * c, b * s), np.hypot(a * s, b * c)
    return bool(
        across <= ellipse.x + 0.5 <= width - across and down <= ellipse.y + 0.5 <= height - down
    )


def on_field(candidate: Candidate, field: Field) -> Ellipse:
    """Ellipse of a candidate on a field's pixels."""
    x, y = field.from_image(candidate.x, candidate.y)
    k = field.scale
    a, b = candidate.semi_major / k, candidate.semi_minor / k
    return Ellipse(float(x), float(y), a, b, candidate.theta)


def _joined(
    candidate: Candidate, field: Field, one: Refinement, best: float, constants: Constants
) -> Refined:
    """Candidate with what the likelihood says, moved from field to input pixels."""
    k = field.scale
    x, y = field.to_image(one.ellipse.x, one.ellipse.y)
    axes = k * one.ellipse.semi_major, k * one.ellipse.semi_minor
    fit = Ellipse(float(x), float(y), *axes, one.ellipse.theta)
    given = {f.name: getattr(candidate, f.name) for f in fields(candidate)}
    refined = Refined(
        **given,
        network=candidate,
        delta_lnl=one.delta_lnl,
        delta_lnl_rigid=one.delta_lnl_rigid,
        depth_factor=one.depth,
        depth_factor_err=one.depth_err,
        asymmetric=constants.asymmetric(one.delta_lnl, one.delta_lnl_rigid, best),
        supported=constants.supported(one.delta_lnl, one.depth),
    )
    network_err = candidate.radius_err / candidate.radius
    ratio = float(np.log(np.sqrt(fit.semi_major * fit.semi_minor) / candidate.radius))
    same = overlap(candidate, fit)[0] >= SHARED and (
        _is_inside(one.ellipse, field) or not _is_inside(on_field(candidate, field), field)
    )
    if not (same and constants.believed(ratio, one.at_bound)):
        return replace(refined, radius_err=constants.error_fallback * candidate.radius_err)
    weight = float(constants.weight(network_err, one.log_radius_err))
    shape = blend(candidate, fit, weight)
    radius = candidate.radius * float(np.exp(constants.offset + weight * ratio))
    error = float(constants.log_error(network_err))
    stretch = radius / np.sqrt(shape.semi_major * shape.semi_minor)
    a, b = stretch * shape.semi_major, stretch * shape.semi_minor
    covariance = _scaled(one, k, (a, b), error, constants)
    place = float(np.sqrt(0.5 * (covariance[0, 0] + covariance[1, 1])))
    changed: dict[str, Any] = {
        **{"x": shape.x, "y": shape.y, "semi_major": a, "semi_minor": b, "theta": shape.theta},
        **{"radius": radius, "radius_err": error * radius, "position_err": place},
        **{"area": float(np.pi * a * b), "covariance": covariance, "refined": True},
    }
    return replace(refined, **changed)


def blend(network: Ellipse, fit: Ellipse, weight: float) -> Ellipse:
    """Ellipse between two: centre, ln of the axes and orientation, by the weight of the second."""
    one, two = Start.of(network), Start.of(fit)

    def between(name: str) -> float:
        a, b = getattr(one, name), getattr(two, name)
        return float(a + weight * (b - a))

    radius = float(np.exp((1 - weight) * np.log(one.radius) + weight * np.log(two.radius)))
    joined = Start(between("x"), between("y"), radius, between("g1"), between("g2"))
    return joined.first


def _scaled(
    one: Refinement, scale: int, axes: tuple[float, float], error: float, constants: Constants
) -> Array:
    """Covariance of x, y, a, b [input pixel] and theta [rad].

    Correlations are those of the walk; its errors are scaled to what validation images showed.
    """
    size = error / one.log_radius_err
    factor = np.array([scale * constants.place] * 2 + [size * axes[0], size * axes[1]] + [size])
    return np.asarray(one.covariance * np.outer(factor, factor))
