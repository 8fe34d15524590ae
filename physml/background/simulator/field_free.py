r"""Charge that diffuses out of silicon without a field.

Behind the depleted layer of a front-lit CCD lies silicon of some hundred um without a field. An
electron set free there at a distance z from the depleted layer walks at random until it meets that
layer, which takes it, or recombines. With a diffusion length L, a layer of thickness D and a back
side that reflects it (Hopkinson 1983, Nucl. Instrum. Methods 216, 423; Pavlov and Nousek 1999,
Nucl. Instrum. Methods A 428, 348), the two-dimensional Fourier transform of where it arrives is

    f(k) = cosh(q (D - z)) / cosh(q D),    q^2 = k^2 + 1 / L^2.

f(0) is the share that arrives, and the second derivative there gives the variance on each axis,

    sigma^2 = L [D tanh(D / L) - (D - z) tanh((D - z) / L)],

which without recombination is D^2 - (D - z)^2. The cloud is taken as a Gaussian of that width.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from ..core.arrays import Floats, Ints
from ..core.detectors import DetectorSettings
from .deposits import Left

#: Charge is followed in parcels of this energy, keV, below any split threshold ...
PARCEL = 0.03
#: ... unless that makes more than so many of one deposit.
MOST = 48


def collected_share(detector: DetectorSettings, depth: Floats) -> Floats:
    """Share of the charge that gets out, by its distance from the depleted layer, um."""
    thick, length = detector.field_free_um, detector.diffusion_um
    share: Floats = np.cosh((thick - depth) / length) / np.cosh(thick / length)
    return share


def variance(detector: DetectorSettings, depth: Floats) -> Floats:
    """Variance on each axis of where charge arrives, um^2."""
    thick, length = detector.field_free_um, detector.diffusion_um
    rest = thick - depth
    spread: Floats = length * (thick * np.tanh(thick / length) - rest * np.tanh(rest / length))
    return np.maximum(spread, 0.0)


def diffuse(detector: DetectorSettings, left: Left, size: Floats, rng: Generator) -> Left:
    """Deposits as they arrive at the depleted layer.

    Parameters
    ----------
    detector : DetectorSettings
    left : Left
        Energy left anywhere in the silicon.
    size : ndarray, shape (2,)
        Sides of the silicon, um: charge that walks beyond them is lost.
    rng : Generator

    Returns
    -------
    Left
        Deposits in the depleted layer as they were, the others in parcels at its far side.
    """
    edge = detector.thickness_um
    deep = left.position[:, 2] > edge
    if detector.field_free_um == 0 or not deep.any():
        return left
    below = left[deep]
    depth = np.minimum(below.position[:, 2] - edge, detector.field_free_um)
    energy = below.energy * collected_share(detector, depth)
    number = np.clip(np.ceil(energy / PARCEL), 1, MOST).astype(np.int64)
    row: Ints = np.repeat(np.arange(len(below)), number)
    parcels = below[row]
    width = np.sqrt(variance(detector, depth))[row]
    position = parcels.position.copy()
    position[:, :2] += width[:, None] * rng.standard_normal((len(row), 2))
    position[:, 2] = edge
    parcels = replace(parcels, energy=(energy / number)[row], position=position)
    inside = ((position[:, :2] >= 0) & (position[:, :2] <= size)).all(1)
    return Left.join([left[~deep], parcels[inside]])
