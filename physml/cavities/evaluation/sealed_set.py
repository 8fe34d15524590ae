"""The sealed set: observations of the clusters of `sealed_halo`, frozen by seed and version.

Telescope and noise are not those of the training either: an elliptical Moffat PSF (Moffat 1969, A&A
3, 455), vignetting and gaps of another make, sensitivities of the pixels that the exposure map does
not know, a background with a slope, faint sources that nobody masks.

It was drawn up before anything had been searched in it, and nothing was decided from it; what was
looked at and when stands in ``pipelines/cavities/SEALED.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from physml.random import stream

from .found import Images
from .sealed_halo import FLOOR, SIZE, SLOTS, Sky, draw_sky, log_uniform

#: Raised with every change of the images.
VERSION = 1
#: Root of its random streams.
SEED = 20_261_201
#: Images of each of the two sets in the published figures.
N_IMAGES = 250
#: Sets and the number of their first image.
FIRST: Mapping[str, int] = {"sealed": 0, "sealed_none": 100_000}
#: Range of the total counts.
COUNTS = (5e3, 1e6)


@dataclass(frozen=True)
class Exposed:
    """One observation: see `Images` for the fields."""

    counts: NDArray[np.float32]
    exposure: NDArray[np.float32]
    mask: NDArray[np.uint8]
    cavities: NDArray[np.void]


def sealed(name: str, n: int) -> Images:
    """First images of a sealed set, always the same.

    Parameters
    ----------
    name : str
        ``sealed`` (all with cavities) or ``sealed_none`` (without).
    n : int

    Raises
    ------
    ValueError
        No such set.
    """
    if name not in FIRST:
        raise ValueError(f"sealed set {name!r}: expected one of {', '.join(FIRST)}")
    made = [
        observe(stream(SEED, "evaluate", FIRST[name] + k), cavities=name == "sealed")
        for k in range(n)
    ]
    exposure = np.stack([one.exposure for one in made])
    return Images(
        np.stack([one.counts for one in made]),
        exposure,
        exposure <= 0,
        np.stack([one.mask for one in made]),
        np.stack([one.cavities for one in made]),
    )


def observe(rng: np.random.Generator, *, cavities: bool) -> Exposed:
    """Draw a cluster and observe it.

    Parameters
    ----------
    rng : Generator
    cavities : bool
        Whether the cluster has any.
    """
    sky = draw_sky(rng, cavities=cavities)
    kernel = moffat(rng)
    exposure = exposure_map(rng)
    counts = log_uniform(rng, *COUNTS)
    share = log_uniform(rng, 0.03, 0.4)  # of the background
    light = sky.light
    if rng.random() < 0.4:  # a nucleus
        nucleus = np.zeros_like(light)
        nucleus[np.unravel_index(np.argmax(light), light.shape)] = 1
        light = light + rng.uniform(0.002, 0.03) * nucleus
    light = light / light.sum()
    image = np.maximum(blurred(light, kernel), 0)
    image = (1 - share) * image / image.sum() + share * background(rng)
    image = image + faint_sources(rng, image * counts, kernel) / counts
    # Sensitivities of the pixels, unknown to the observer.
    image = image * exposure * np.exp(rng.normal(0, 0.02, image.shape))
    unit = counts / image.sum()
    mask, table = labelled(sky, exposure, unit * (1 - share))
    return Exposed(
        rng.poisson(image * unit).astype(np.float32), exposure.astype(np.float32), mask, table
    )


def moffat(rng: np.random.Generator) -> NDArray[np.complex128]:
    """Spectrum of an elliptical Moffat PSF, on twice the field so that nothing wraps around."""
    fwhm, beta = log_uniform(rng, 0.8, 2.5), rng.uniform(2.5, 4.5)
    ratio, angle = rng.uniform(0.8, 1.0), rng.uniform(0, np.pi)
    width = 0.5 * fwhm / np.sqrt(2 ** (1 / beta) - 1)
    # Each pixel's mean of 5 x 5 points: the core is narrower than a pixel.
    fine = (np.arange(10 * SIZE) + 0.5) / 5 - 0.1 * 5
    fine = (fine + SIZE) % (2 * SIZE) - SIZE
    y, x = np.meshgrid(fine, fine, indexing="ij", sparse=True)
    u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / ratio
    kernel = (1 + (u * u + v * v) / width**2) ** -beta
    kernel = kernel.reshape(2 * SIZE, 5, 2 * SIZE, 5).mean((1, 3))
    return np.asarray(fft.rfft2(kernel / kernel.sum()))


def blurred(image: NDArray[np.float64], kernel: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Image seen through a PSF."""
    size = 2 * SIZE
    out = fft.irfft2(fft.rfft2(image, (size, size)) * kernel, (size, size))
    return np.asarray(out[:SIZE, :SIZE], np.float64)


def exposure_map(rng: np.random.Generator) -> NDArray[np.float64]:
    """Relative exposure: flat for one half; vignetting and one or two gaps for the other."""
    if rng.random() < 0.5:
        return np.ones((SIZE, SIZE))
    y, x = np.mgrid[:SIZE, :SIZE] - 0.5 * (SIZE - 1)
    away = np.hypot(x - rng.normal(0, 15), y - rng.normal(0, 15))
    out = 1 - rng.uniform(0, 0.3) * (away / away.max()) ** 2
    angle = rng.uniform(0, np.pi)
    for _ in range(int(rng.integers(1, 3))):
        line = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-55, 55)
        out = out * np.where(np.abs(line) < rng.uniform(1, 2), rng.uniform(0, 0.4), 1)
        angle += np.pi / 2
    return np.asarray(out / out.max())


def background(rng: np.random.Generator) -> NDArray[np.float64]:
    """Background with a slope of at most 20 % across the field; its sum is 1."""
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE - 1) - 0.5
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.2)
    out = 1 + slope * (x * np.cos(angle) + y * np.sin(angle))
    return np.asarray(out / out.sum())


def faint_sources(
    rng: np.random.Generator, expected: NDArray[np.float64], kernel: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Expected counts of point sources too faint for an observer to mask.

    Some eight a field, dN/dS ~ S^-2 from a tenth of the limit up to it: 4.5 times the noise
    within a circle of 2 pixels.
    """
    points = np.zeros((SIZE, SIZE))
    for _ in range(int(rng.poisson(8))):
        row, column = rng.integers(0, SIZE, 2)
        limit = 4.5 * np.sqrt(4 * np.pi * max(expected[row, column], 0.05))
        points[row, column] += limit / rng.uniform(1, 10)
    return np.maximum(blurred(points, kernel), 0)


def labelled(
    sky: Sky, exposure: NDArray[np.float64], counts: float
) -> tuple[NDArray[np.uint8], NDArray[np.void]]:
    """Instance mask and table of the true cavities.

    A pixel belongs to the cavity that takes most of its light, where the line of sight meets the
    cavity and at least `FLOOR` of the light is gone.

    Parameters
    ----------
    sky : Sky
    exposure : ndarray, shape (H, W)
    counts : float
        Counts of the gas for each unit of light.
    """
    missing = sky.removed / sky.undisturbed
    deep = (missing >= FLOOR) & sky.shadows & (exposure > 0)
    best = np.where(deep, missing, 0)
    mask = np.where(best.max(0) > 0, best.argmax(0) + 1, 0).astype(np.uint8)
    table = sky.cavities.copy()
    for k in range(SLOTS):
        seen = exposure * deep[k] * counts
        total = (seen * sky.undisturbed).sum()
        table["decrement"][k] = missing[k][deep[k]].mean() if deep[k].any() else 0
        table["snr"][k] = (seen * sky.removed[k]).sum() / np.sqrt(max(total, 1e-9))
        table["visible"][k] = table["present"][k] and bool((mask == k + 1).any())
    return mask, table
