"""Fluorescence of the housing: line photons where particles cross its inner surface.

A particle that goes through the surface, and the electrons with it, empty inner shells of atoms
near to it; the photons of the lines leave by the cosine law, as those of a thin layer do that is
deeper than they can come out of. How many is a setting: it follows from the alloy and its coating.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from ..core.camera import FluorescenceLine
from .deposits import OUTSIDE, Left
from .geometry import Geometry, cosine_law
from .materials import SILICON
from .primaries import Primaries


def line_photons(
    geometry: Geometry, primaries: Primaries, lines: Sequence[FluorescenceLine], rng: Generator
) -> Left:
    """Energy that photons of the lines leave in the slab.

    Parameters
    ----------
    geometry : Geometry
    primaries : Primaries
        Each crosses the surface where it comes in and where it goes out.
    lines : sequence of FluorescenceLine
    rng : Generator

    Returns
    -------
    Left
        By primaries, each photon at one point.
    """
    p = primaries
    way = geometry.to_housing(p.position, p.direction)[:, None] * p.direction
    crossing = np.concatenate([p.position, geometry.onto_housing(p.position + way)])
    owner = np.tile(np.arange(len(p)), 2)
    solid = ~geometry.open(crossing)
    crossing, owner = crossing[solid], owner[solid]
    parts = [Left(np.zeros(0), np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0, np.int8))]
    for line in lines:
        row = np.repeat(np.arange(len(owner)), rng.poisson(line.photons, len(owner)))
        start = crossing[row]
        direction = cosine_law(geometry.housing_normal(start), rng)
        near, far = geometry.to_slab(start, direction)
        free = rng.exponential(1 / SILICON.photoelectric(line.energy), len(row))
        stops = np.isfinite(near)
        stops[stops] = free[stops] < far[stops] - near[stops]
        way_in = (near + free)[stops]
        place = np.clip(start[stops] + way_in[:, None] * direction[stops], 0, geometry.size)
        energy = np.full(len(place), line.energy)
        parts.append(Left(energy, place, owner[row[stops]], np.full(len(place), OUTSIDE, np.int8)))
    return Left.join(parts)
