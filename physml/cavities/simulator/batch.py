"""Simulated observations: counts, maps and labels of a batch, in the layout of a raw shard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.stages.simulate import require_finite

from ..settings import SimulateSettings
from . import render
from .instrument import exposure_map
from .maps import observer_maps, round_field
from .prior import MAX_CAVITIES, Draw, draw

#: Bits of `Batch.invalid`.
NO_EXPOSURE, POINT_SOURCE = 1, 2

#: Table of true cavities.
CAVITY_DTYPE = np.dtype(
    [
        (name, "f4")
        for name in (
            *("x", "y", "a", "b", "c_z", "theta", "distance", "phi", "depth", "line_of_sight"),
            *("f", "decrement", "snr", "volume", "rim_excess", "radius"),
        )
    ]
    + [("present", "?"), ("visible", "?")]
)


@dataclass
class Batch:
    """Simulated observations, in the layout of a raw shard.

    Attributes
    ----------
    counts : ndarray of uint32, shape (n, H, W)
    exposure : ndarray of float16, shape (n, H, W)
        Relative, largest value 1, as the observer knows it.
    background : ndarray of float16, shape (n, H, W)
        Expected background counts, as the observer knows them.
    mask : ndarray of uint8, shape (n, H, W)
        Number of the cavity whose decrement is largest and above the floor; 0 outside.
    decrement : ndarray of float16, shape (n, H, W)
        Removed over undisturbed halo emission.
    invalid : ndarray of uint8, shape (n, H, W)
        Bit 1 no exposure, bit 2 masked point source.
    cavities : structured ndarray, shape (n, 6)
        True cavities (`CAVITY_DTYPE`; pixels, radians, expected S/N).
    params : structured ndarray, shape (n,)
        All drawn numbers.
    index, cluster : ndarray of int64, shape (n,)
    """

    counts: NDArray[np.uint32]
    exposure: NDArray[np.float16]
    background: NDArray[np.float16]
    mask: NDArray[np.uint8]
    decrement: NDArray[np.float16]
    invalid: NDArray[np.uint8]
    cavities: NDArray[Any]
    params: NDArray[Any]
    index: NDArray[np.int64]
    cluster: NDArray[np.int64]


def simulate_batch(settings: SimulateSettings, seed: int, indices: Iterable[int]) -> Batch:
    """Simulate the observations with the given numbers.

    Each number has random streams of its own: the result does not depend on what else is in
    the batch.

    Parameters
    ----------
    settings : SimulateSettings
    seed : int
        Root of the random streams.
    indices : iterable of int
        Numbers of the observations.
    """
    # One image at a time: it stays in the cache, and the sums do not depend on the batch.
    parts = [_simulate(settings, draw(settings, seed, int(i))) for i in indices]
    return Batch(**{k: np.concatenate([getattr(p, k) for p in parts]) for k in vars(parts[0])})


def observe(
    settings: SimulateSettings, draw: Draw
) -> tuple[render.Scene, NDArray[np.float32], render.Rendered]:
    """Scene, exposure map of shape (1, H, W) and expected counts of a drawn observation.

    Parameters
    ----------
    settings : SimulateSettings
    draw : Draw
        The exposure map is the next that its random streams give.
    """
    size = settings.image_size
    scene = render.build_scene([draw], cuspy=settings.halo.family == "vikhlinin")
    exposure = true_exposure(settings, draw)[None]
    points = torch.zeros((1, size, size))
    stars = torch.as_tensor(draw.sources).float()
    rows = torch.zeros(len(stars), dtype=torch.long)
    render.add_points(points, stars[:, 0], stars[:, 1], stars[:, 2], rows)
    made = render.render(
        scene,
        points,
        torch.as_tensor(exposure),
        settings.nodes,
        torch.as_tensor(draw.structure)[None],
    )
    return scene, exposure, made


def true_exposure(settings: SimulateSettings, draw: Draw) -> NDArray[np.float32]:
    """Relative exposure of a drawn observation, shape (H, W), from its random streams."""
    size = settings.image_size
    exposure = np.ones((size, size), np.float32)
    if draw.params["structured"]:
        exposure = exposure_map(draw.params, draw.rng, size)
    seen = exposure * round_field(settings.maps, draw.maps, size)
    # A field that would miss everything that was exposed is none.
    return seen if seen.max() > 0.5 else exposure


def _simulate(settings: SimulateSettings, draw: Draw) -> Batch:
    scene, exposure, made = observe(settings, draw)
    expected = made.expected.numpy().astype(np.float64)
    require_finite("expected counts", expected, [draw.index])
    counts = draw.rng.poisson(expected)
    invalid = NO_EXPOSURE * (exposure <= 0).astype(np.uint8)
    invalid |= POINT_SOURCE * source_mask(draw, expected[0])
    mask, cavities = labels(settings.cavities.floor, scene, made, torch.as_tensor(exposure))
    known, factor = observer_maps(settings.maps, draw.maps, exposure[0])
    names = list(draw.params)
    return Batch(
        counts=counts.astype(np.uint32),
        exposure=known[None].astype(np.float16),
        background=(factor * made.background.numpy()).astype(np.float16),
        mask=mask,
        decrement=made.decrement.numpy().astype(np.float16),
        invalid=invalid,
        cavities=cavities,
        params=np.array([tuple(draw.params[k] for k in names)], [(k, "f4") for k in names]),
        index=np.array([draw.index], np.int64),
        cluster=np.array([draw.cluster], np.int64),
    )


def source_mask(draw: Draw, expected: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Circles that an observer would cut out around the point sources that stand out.

    A source is found when its counts exceed 4.5 times the Poisson noise within its circle,
    plus 5 counts; the circle has 1.5 to 2.5 times the radius of half the light and grows with
    the source's brightness.

    Parameters
    ----------
    draw : Draw
    expected : ndarray, shape (H, W)
        Expected counts.
    """
    size = expected.shape[0]
    out = np.zeros((size, size), np.uint8)
    y, x = np.mgrid[:size, :size]
    fwhm = draw.params["psf_fwhm"] * (1 + 0.5 * draw.params["psf_growth"])
    for sx, sy, flux, found in draw.sources:
        ix, iy = round(sx), round(sy)
        noise = np.sqrt(max(expected[iy, ix], 0.05) * np.pi * max(fwhm, 1.0) ** 2)
        if found and flux > 4.5 * noise + 5:
            radius = max(fwhm, 1.0) * (1.2 + 0.35 * np.log10(flux / noise))
            out[(x - sx) ** 2 + (y - sy) ** 2 < (radius + 0.5) ** 2] = 1
    return out


def labels(
    floor: float, scene: render.Scene, made: render.Rendered, exposure: Tensor
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Instance masks and tables of true cavities, of a scene on any device.

    Parameters
    ----------
    floor : float
        Smallest decrement that is labelled.
    scene : Scene
    made : Rendered
        Of this scene.
    exposure : Tensor, shape (n, H, W)

    Returns
    -------
    mask : ndarray of uint8, shape (n, H, W)
    cavities : structured ndarray, shape (n, 6)
        See `Batch`.
    """
    live = (exposure > 0)[:, None]
    deep = (made.each > floor) & live
    number = torch.zeros_like(made.decrement, dtype=torch.uint8)
    deepest = torch.zeros_like(made.decrement)
    for k in range(made.each.shape[1]):
        wins = deep[:, k] & (made.each[:, k] > deepest)
        number[wins] = k + 1
        deepest = torch.where(wins, made.each[:, k], deepest)
    removed = (made.removed_counts * deep).sum((2, 3))
    total = (made.undisturbed[:, None] * deep).sum((2, 3))
    pixels = deep.sum((2, 3))
    owned = torch.stack([(number == k + 1).sum((1, 2)) for k in range(made.each.shape[1])], 1)
    a, b, theta = scene.cavities.outline()
    table = np.zeros((len(scene.present), MAX_CAVITIES), CAVITY_DTYPE)
    used = table[:, : scene.present.shape[1]]
    c = scene.cavities
    flat2 = (c.x - scene.halo.x[:, None]) ** 2 + (c.y - scene.halo.y[:, None]) ** 2
    columns = {
        "x": c.x,
        "y": c.y,
        "a": a,
        "b": b,
        "c_z": c.matrix[..., 2, 2].rsqrt(),
        "theta": theta,
        "distance": (flat2 + c.z**2).sqrt(),
        "phi": torch.atan2(c.y - scene.halo.y[:, None], c.x - scene.halo.x[:, None]),
        "depth": c.z,
        "line_of_sight": torch.atan2(c.z, flat2.sqrt()),
        "f": scene.emptied,
        "decrement": (made.each * deep).sum((2, 3)) / pixels.clamp_min(1),
        "snr": removed / total.clamp_min(1e-9).sqrt(),
        "volume": c.volume(),
        "rim_excess": scene.rim_excess,
        "radius": (a * b).sqrt(),
    }
    present = scene.present.cpu().numpy()
    for name, value in columns.items():
        used[name] = np.where(present, value.cpu().numpy(), 0)
    used["present"] = present
    used["visible"] = present & (owned > 0).cpu().numpy()
    return number.cpu().numpy().astype(np.uint8), table
