"""Pairs of images in a soft and a hard band of one cluster, whose structures are of a known kind.

Density and temperature within each ellipsoid are others than around it: no gas (a cavity), thinner
gas at the same pressure, or thinner gas at the same entropy. What that takes away from the light of
a band, per volume, is the ellipsoid's emptied fraction in the images of that band.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physml.random import stream

from ..core.plasma import KINDS, Band, emission_change
from ..settings import SimulateSettings
from . import render
from .instrument import blur, psf_pair
from .prior import Draw, draw

#: Kinds of structure that pairs are drawn of.
STRUCTURES = ("cavity", *KINDS)


@dataclass
class BandPair:
    """Two images of one cluster.

    Attributes
    ----------
    kind : str
        One of `STRUCTURES`.
    soft, hard : ndarray, shape (H, W)
        Counts.
    soft_background, hard_background : ndarray, shape (H, W)
        Expected background counts.
    centre : tuple of float
        Of the cluster (x, y) [pixel].
    outlines : list of dict
        ``x``, ``y``, ``a``, ``b``, ``theta`` of each structure [pixel, rad] and its ``decrement``
        in both bands, the share of the gas's light that is missing within it.
    bands : tuple of Band
    """

    kind: str
    soft: NDArray[np.float64]
    hard: NDArray[np.float64]
    soft_background: NDArray[np.float64]
    hard_background: NDArray[np.float64]
    centre: tuple[float, float]
    outlines: list[dict[str, Any]]
    bands: tuple[Band, Band]


def simulate_pair(settings: SimulateSettings, seed: int, index: int, kind: str) -> BandPair:
    """Simulate a pair of images, 0.5-2 and 2-7 keV, of gas of 2.5 to 9 keV.

    The hard image has 0.2 to 1 of the soft one's counts and up to three times its share of
    background; the core's share of the light differs by up to 30 % between the bands, as it does
    in a cluster whose core is cool.

    Parameters
    ----------
    settings : SimulateSettings
        With structures in every image.
    seed, index : int
        Of the draw.
    kind : str
        One of `STRUCTURES`.
    """
    one = draw(settings, seed, index)
    rng = stream(seed, "augment", index)
    temperature = float(np.exp(rng.uniform(np.log(2.5), np.log(9.0))))
    bands = (
        Band("soft", temperature, 0.5, 2.0),
        Band("hard", temperature, 2.0, 7.0),
    )
    density = float(rng.uniform(0.4, 0.95))
    share, more, cooler = rng.uniform(0.2, 1.0), rng.uniform(1, 3), rng.uniform(1.0, 1.3)
    images, backgrounds, decrements = [], [], []
    for band in bands:
        params = dict(one.params)
        if band is bands[1]:
            params["counts"] *= share
            params["background"] = min(params["background"] * more, 0.8)
            params["amplitude_ratio"] *= cooler
        light, flat, seen = _expected(replace(one, params=params), settings, band, kind, density)
        images.append(rng.poisson(light).astype(float))
        backgrounds.append(flat)
        decrements.append(seen)
    outlines = [
        {**outline, "decrement": (float(less_soft), float(less_hard))}
        for outline, less_soft, less_hard in zip(_outlines(one), *decrements, strict=True)
    ]
    centre = (one.params["x"], one.params["y"])
    (soft, hard), (soft_background, hard_background) = images, backgrounds
    return BandPair(kind, soft, hard, soft_background, hard_background, centre, outlines, bands)


def _expected(
    one: Draw, settings: SimulateSettings, band: Band, kind: str, density: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float]]:
    """Expected counts, those of the background, and the decrement of each structure."""
    size, p = settings.image_size, one.params
    scene = render.build_scene([one])
    if kind in KINDS:
        lost = float(1 - emission_change(band, kind, density))
        scene = replace(scene, emptied=torch.full_like(scene.emptied, lost))
    smooth = render.project_halo(scene.halo, size)
    dug = render.excavate(scene, size, settings.nodes)
    light = blur(smooth - dug.removed, *psf_pair(scene.params))[0].numpy().astype(float)
    total = p["counts"] * (1 - p["background"])
    flat = np.full((size, size), p["counts"] * p["background"] / size**2)
    each, whole = dug.each[0].numpy(), smooth[0].numpy()
    seen = [
        float(part[part != 0].sum() / whole[part != 0].sum()) if (part != 0).any() else 0.0
        for part in each[: len(one.cavities)]
    ]
    return np.maximum(light, 0) * total / light.sum() + flat, flat, seen


def _outlines(one: Draw) -> list[dict[str, Any]]:
    scene = render.build_scene([one])
    a, b, theta = (t[0].numpy() for t in scene.cavities.outline())
    x, y = scene.cavities.x[0].numpy(), scene.cavities.y[0].numpy()
    return [
        {"x": float(u), "y": float(v), "a": float(r), "b": float(s), "theta": float(t)}
        for u, v, r, s, t in zip(x, y, a, b, theta, strict=True)
    ][: len(one.cavities)]
