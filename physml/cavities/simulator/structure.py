r"""Structure of the gas that is no cavity: lopsided, twisted, sloshing haloes, edges, turbulence.

The light of an undisturbed halo is multiplied by exp(A), A(x, y) being a sum of

- azimuthal harmonics m = 1, 2, 3 about the cluster's centre, whose amplitude and phase wander with
  ln r: offset and twisted isophotes, dipoles, quadrupoles;
- a spiral that reaches the edge of the field: cos(phi - k ln r + phi0), or a saw-tooth;
- edges: arcs about displaced centres inside which it is brighter, cold fronts and merger shocks;
- a Gaussian random field with power spectrum (k^2 + k0^2)^(-s/2), as turbulence leaves it.

The factor acts on the projected light, so a cavity removes the same share of it as without.
Cavities and rims are rendered as in the undisturbed halo.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import make_interp_spline

from ..settings import StructurePrior

#: Radius [pixel] below which structure fades.
INNER = 3.0
#: Radii at which amplitude and phase of a harmonic are drawn.
NODES = 6
#: Largest modulus of A: beyond it an image would be all structure.
LIMIT = 1.2

Image = NDArray[np.float64]


def light_factor(
    prior: StructurePrior, rng: Generator, size: int, centre: tuple[float, float]
) -> NDArray[np.float32]:
    """Factor exp(A) on the light of a cluster.

    Parameters
    ----------
    prior : StructurePrior
    rng : Generator
        Stream of the cluster's structure; the same for any `centre`.
    size : int
        Side of the image [pixel].
    centre : tuple of float
        x, y of the cluster [pixel].

    Returns
    -------
    ndarray of float32, shape (size, size)
        All 1 in images without structure.
    """
    if rng.random() >= prior.share:
        return np.ones((size, size), np.float32)
    y, x = np.mgrid[:size, :size] - np.array([centre[1], centre[0]])[:, None, None]
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    # At least one kind; each of the others as often as not.
    kinds = rng.random(4) < 0.5
    kinds[rng.integers(4)] = True
    total = np.zeros((size, size))
    if kinds[0]:
        total += harmonics(rng, prior.harmonic, radius, angle)
    if kinds[1]:
        total += spiral(rng, prior.spiral, radius, angle)
    if kinds[2]:
        for _ in range(rng.integers(1, 3)):
            total += edge(rng, prior.edge, x, y)
    if kinds[3]:
        total += turbulence(rng, prior.turbulence, size, centre)
    return np.exp(np.clip(total, -LIMIT, LIMIT)).astype(np.float32)


def harmonics(rng: Generator, amplitude: tuple[float, float], radius: Image, angle: Image) -> Image:
    """Sum of harmonics m = 1, 2, 3, of which each higher one is weaker.

    Parameters
    ----------
    rng : Generator
    amplitude : tuple of float
        Range of the strongest amplitude, log-uniform.
    radius, angle : ndarray
        About the centre [pixel, rad].
    """
    strength = np.exp(rng.uniform(*np.log(amplitude)))
    nodes = np.linspace(np.log(INNER), np.log(np.max(radius)), NODES)
    where = np.log(np.maximum(radius, INNER))
    total = np.zeros_like(radius)
    for m in (1, 2, 3):
        share = rng.uniform(0, 1) / (1 if m < 3 else 2)
        level = rng.uniform(-1, 1, NODES).cumsum()
        level *= strength * share / np.abs(level).max()
        phase = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, NODES))
        a, p = (make_interp_spline(nodes, v, k=3)(where) for v in (level, phase))
        total += a * np.cos(m * (angle - p))
    return total * radius / (radius + INNER)


def spiral(rng: Generator, amplitude: tuple[float, float], radius: Image, angle: Image) -> Image:
    """Sloshing spiral as far as the edge of the field; see `harmonics` for the arguments."""
    strength = np.exp(rng.uniform(*np.log(amplitude)))
    winding = np.exp(rng.uniform(np.log(0.5), np.log(4))) * rng.choice([-1, 1])
    phase = angle - winding * np.log((radius + 1) / 10) + rng.uniform(0, 2 * np.pi)
    wave = np.cos(phase)
    if rng.random() < 0.4:
        turn = phase / (2 * np.pi)
        wave = 1 - 2 * (turn - np.floor(turn))
    growth = ((radius + 3) / 40) ** rng.uniform(-0.5, 0.5)
    return strength * wave * np.clip(growth, 0.3, 2) * radius / (radius + INNER)


def edge(rng: Generator, amplitude: tuple[float, float], x: Image, y: Image) -> Image:
    """Arc inside which it is brighter.

    Parameters
    ----------
    rng : Generator
    amplitude : tuple of float
        Range of the logarithm of the jump, log-uniform.
    x, y : ndarray
        Position about the cluster's centre [pixel].
    """
    jump = np.exp(rng.uniform(*np.log(amplitude)))
    reach = np.exp(rng.uniform(np.log(10), np.log(0.8 * len(x))))
    way, away = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.7) * reach
    u, v = x + away * np.cos(way), y + away * np.sin(way)
    inside = reach - np.hypot(u, v)
    width = np.exp(rng.uniform(np.log(0.5), np.log(4)))
    step = 0.5 * (1 + np.tanh(inside / width))
    fading = np.exp(-np.maximum(inside, 0) / (rng.uniform(0.3, 1.5) * reach))
    sector = (0.5 + 0.5 * np.cos(np.arctan2(v, u) - way)) ** np.exp(rng.uniform(-1, 1.5))
    return jump * step * fading * sector


def turbulence(
    rng: Generator, amplitude: tuple[float, float], size: int, centre: tuple[float, float]
) -> Image:
    """Gaussian random field of a log-uniform standard deviation.

    Parameters
    ----------
    rng : Generator
    amplitude : tuple of float
        Range of the standard deviation.
    size : int
    centre : tuple of float
        x, y [pixel] of the cluster: the field moves with it.
    """
    strength = np.exp(rng.uniform(*np.log(amplitude)))
    slope, outer = rng.uniform(2.4, 4.0), np.exp(rng.uniform(np.log(12), np.log(0.6 * size)))
    side = 2 * size  # nothing wraps around, and the cluster may lie off the middle
    white = fft.rfft2(rng.standard_normal((side, side)))
    wave2 = fft.fftfreq(side)[:, None] ** 2 + fft.rfftfreq(side)[None, :] ** 2
    field = fft.irfft2(white * (wave2 + (1 / outer) ** 2) ** (-slope / 4), (side, side))
    left, low = (int(np.clip(size - round(c), 0, size)) for c in centre)
    field = field[low : low + size, left : left + size]
    return strength * (field - field.mean()) / field.std()


def smooth_error(rng: Generator, scatter: float, size: int) -> NDArray[np.float32]:
    """Factor by which a map is wrong: exp of a smooth random field and a slope across the field.

    Parameters
    ----------
    rng : Generator
    scatter : float
        Standard deviation of its logarithm.
    size : int
    """
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    way = rng.uniform(0, 2 * np.pi)
    slope = np.sqrt(12) * (x * np.cos(way) + y * np.sin(way))
    field = turbulence(rng, (1.0, 1.0 + 1e-9), size, (size / 2, size / 2))
    total = rng.uniform(0, 1) * slope + rng.uniform(0, 0.5) * field
    return np.exp(scatter * total).astype(np.float32)
