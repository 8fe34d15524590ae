"""All candidates of a field refined: fit, walk, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physml.random import stream

from ...core.ellipse import Ellipse
from .build import BOUNDS, STANDARD, Widths, build, without_outliers
from .cells import FieldImage
from .evidence import evidence
from .fit import fit
from .shapes import NAMES, Start
from .walk import walk

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Refinement:
    """Answer of the likelihood on one candidate, on the field's pixels.

    Attributes
    ----------
    ellipse : Ellipse
        Mean of the posterior.
    covariance : ndarray, shape (5, 5)
        Of x, y [pixel], ln of the semi-axes and the angle [rad].
    log_radius_err : float
        Standard deviation of ln radius.
    depth, depth_err : float
        Depth factor and its standard deviation.
    delta_lnl, delta_lnl_rigid : float
        ln L with the candidate over that without, all else fitted anew; the same with a null that
        knows no azimuthal structure.
    at_bound : bool
        The depth factor stands at its bounds.
    """

    ellipse: Ellipse
    covariance: Array
    log_radius_err: float
    depth: float
    depth_err: float
    delta_lnl: float
    delta_lnl_rigid: float
    at_bound: bool


def refine(
    image: FieldImage, ellipses: Sequence[Ellipse], widths: Widths = STANDARD, seed: int = 0
) -> list[Refinement]:
    """Refine candidates of one field together.

    Parameters
    ----------
    image : FieldImage
    ellipses : sequence of Ellipse
        Candidates on the field's pixels.
    widths : Widths
        Priors about them.
    seed : int
        Of the walk.
    """
    if not len(ellipses):
        return []
    model = build(image, ellipses, widths)
    fitted = fit(model, model.mean)
    cleaned = without_outliers(model, fitted.theta, image)
    if cleaned is not None:
        model = cleaned
        fitted = fit(model, fitted.theta)
    flexible, rigid = evidence(model, fitted)
    chains = walk(model, fitted, stream(seed, "predict", 0))
    return [
        _summary(cavity.start, chain.samples, flexible[k], rigid[k])
        for k, (cavity, chain) in enumerate(zip(model.cavities, chains, strict=True))
    ]


def _summary(start: Start, samples: Array, flexible: float, rigid: float) -> Refinement:
    """Mean and covariance of the samples of one candidate."""
    mean = samples.mean(0)
    ellipse = start.ellipse(mean)
    # Along and across the mean shape: the first moves the axes, the second turns them.
    size = max(float(np.hypot(mean[3], mean[4])), 1e-3)
    c, s = mean[3] / size, mean[4] / size
    along = samples[:, 3] * c + samples[:, 4] * s
    across = samples[:, 4] * c - samples[:, 3] * s
    columns = np.stack(
        [
            start.radius * samples[:, 0],
            start.radius * samples[:, 1],
            samples[:, 2] + along,
            samples[:, 2] - along,
            0.5 * np.arctan2(across, np.maximum(along, 1e-3)),
        ]
    )
    depth = float(mean[5])
    spread = float(samples[:, 5].std())
    low, high = BOUNDS[NAMES.index("depth")]
    at_bound = depth < low + 0.08 or depth > high - 0.1
    return Refinement(
        ellipse,
        np.cov(columns),
        float(samples[:, 2].std()),
        depth,
        spread,
        flexible,
        rigid,
        at_bound,
    )
