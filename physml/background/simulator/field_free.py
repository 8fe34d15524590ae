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

import numpy as np
from numpy.random import Generator

from ..core.arrays import Floats, Ints
from ..core.detectors import PAIR, DetectorSettings
from ..core.frames import ORIGINS
from .deposits import Left

#: Charge is followed in parcels of this energy: two electrons, keV.
PARCEL = 2 * PAIR
#: Parcels that are followed together.
_BLOCK = 2_000_000


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
        Deposits in the depleted layer as they were; the others at its far side, those of one
        source in one pixel together.
    """
    edge = detector.thickness_um
    deep = left.position[:, 2] > edge
    if detector.field_free_um == 0 or not deep.any():
        return left
    below = left[deep]
    depth = np.minimum(below.position[:, 2] - edge, detector.field_free_um)
    energy = below.energy * collected_share(detector, depth)
    width = np.sqrt(variance(detector, depth))
    number = np.maximum(np.ceil(energy / PARCEL), 1).astype(np.int64)
    block = np.cumsum(number) // _BLOCK
    parts = [left[~deep]]
    for one in np.split(np.arange(len(below)), np.flatnonzero(np.diff(block)) + 1):
        row = np.repeat(one, number[one])
        place = below.position[row, :2] + width[row, None] * rng.standard_normal((len(row), 2))
        parts.append(_binned(detector, below, row, place, (energy / number)[row], size))
    return Left.join(parts)


def _binned(
    detector: DetectorSettings, below: Left, row: Ints, place: Floats, energy: Floats, size: Floats
) -> Left:
    """Parcels of one source, origin and pixel as one deposit in the middle of the pixel."""
    inside = np.all((place >= 0) & (place < size), axis=1)
    row, place, energy = row[inside], place[inside], energy[inside]
    pitch = detector.pixel_um
    columns = int(np.ceil(size[0] / pitch))
    pixel = np.floor(place / pitch).astype(np.int64)
    cells = columns * int(np.ceil(size[1] / pitch))
    source = below.owner[row] * len(ORIGINS) + below.origin[row]
    key, which = np.unique(
        source * cells + pixel[:, 1] * columns + pixel[:, 0], return_inverse=True
    )
    source, cell = np.divmod(key, cells)
    owner, origin = np.divmod(source, len(ORIGINS))
    y, x = np.divmod(cell, columns)
    middle = np.stack(
        [(x + 0.5) * pitch, (y + 0.5) * pitch, np.full(len(x), detector.thickness_um)]
    )
    total = np.bincount(which, energy, len(key)).astype(np.float64)
    return Left(total, middle.T, owner, origin.astype(np.int8))
