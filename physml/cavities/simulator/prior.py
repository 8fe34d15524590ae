"""Numbers of a simulated observation, drawn sample by sample.

Each image has random streams of its own, those of the cluster (halo, cavities, sloshing;
large-scale structure) and those of the observation (depth, field, sources, noise; errors of the
maps), so that the data depend on neither the shard size nor the number of workers, and several
observations can show one cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from physml.random import stream

from ..settings import CavityPrior, HaloPrior, InstrumentPrior, NuisancePrior, SimulateSettings
from .structure import light_factor

#: Largest number of cavities in an image.
MAX_CAVITIES = 6


@dataclass
class Draw:
    """One drawn observation.

    Attributes
    ----------
    index, cluster : int
        Number of the image and of the physical object.
    params : dict of float
        All drawn scalars.
    cavities : list of dict
        Intrinsic geometry of each cavity.
    sources : ndarray, shape (n, 4)
        x, y [pixel], flux [counts], masked by the observer (0 or 1).
    rng : Generator
        The rest of the observation's stream: exposure map and Poisson noise.
    structure : ndarray of float32, shape (H, W)
        Factor on the light of the gas (structure.py).
    maps : Generator
        Stream of the field of view and of the errors of the observer's maps.
    """

    index: int
    cluster: int
    params: dict[str, float]
    cavities: list[dict[str, float]]
    rng: Generator
    structure: NDArray[np.float32]
    maps: Generator
    sources: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))


def draw(settings: SimulateSettings, seed: int, index: int) -> Draw:
    """Draw observation `index`: the same numbers whatever else is drawn."""
    cluster = index // settings.images_per_cluster
    physics = stream(seed, "simulate", 2 * cluster)
    rng = stream(seed, "simulate", 2 * index + 1)
    params = draw_halo(settings.halo, physics)
    params |= draw_disturbance(settings.nuisance, physics)
    cavities, params["emptied"] = draw_cavities(settings.cavities, physics)
    params |= draw_instrument(settings.instrument, rng)
    params |= draw_sources(settings.nuisance, rng)
    half = 0.5 * (settings.image_size - 1)
    offset = np.array([params.pop("offset_x"), params.pop("offset_y")])
    params["x"], params["y"] = half + offset
    sources = draw_point_sources(settings.nuisance, rng, params, settings.image_size)
    # Streams of their own: an image without structure is the one that it was before there was any.
    shape = stream(seed, "structure", 2 * cluster)
    structure = light_factor(
        settings.structure, shape, settings.image_size, (params["x"], params["y"])
    )
    maps = stream(seed, "structure", 2 * index + 1)
    return Draw(index, cluster, params, cavities, rng, structure, maps, sources)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """One draw whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def log_normal(rng: Generator, median: float, scatter: float, bounds: tuple[float, float]) -> float:
    """One log-normal draw, clipped to its bounds."""
    return float(np.clip(median * np.exp(scatter * rng.normal()), *bounds))


def between(rng: Generator, bounds: tuple[float, float]) -> float:
    """One uniform draw."""
    return float(rng.uniform(*bounds))


def draw_halo(prior: HaloPrior, rng: Generator) -> dict[str, float]:
    """Two components; the second has no amplitude in a single model."""
    double = rng.random() < prior.double
    if double:
        core = log_normal(rng, 2.5, 0.9, prior.inner_core_radius)
        beta = log_normal(rng, 0.60, 0.27, prior.inner_beta)
        # Beyond 150 pixels the outer component is flat in a field of 128: nothing is lost.
        core2 = min(core * log_normal(rng, 14.0, 1.0, prior.core_ratio), 150.0)
        ratio = log_normal(rng, 0.03, 1.8, prior.amplitude_ratio)
        beta2 = log_normal(rng, 0.62, 0.40, prior.outer_beta)
    else:
        core = log_normal(rng, 5.0, 1.0, prior.core_radius)
        beta = float(np.clip(rng.normal(0.48, 0.10), *prior.beta))
        core2, ratio, beta2 = 50.0, 0.0, 0.6
    low, high = prior.ellipticity
    ellipticity = low + (high - low) * rng.beta(1.7, 3.0)
    theta = rng.uniform(0, np.pi)
    cuspy = prior.family == "vikhlinin"
    return {
        "core_radius": core,
        "beta": beta,
        "ellipticity": ellipticity,
        "depth_ratio": between(rng, prior.depth_ratio),
        "theta": theta,
        "core_radius_2": core2,
        "beta_2": beta2,
        "amplitude_ratio": ratio,
        # The outer gas is rounder or flatter than the core and somewhat turned against it.
        "ellipticity_2": float(np.clip(ellipticity + rng.normal(0, 0.06), low, high)),
        "theta_2": theta + rng.normal(0, 0.25),
        "single_phase": float(double and rng.random() < prior.single_phase),
        "alpha": rng.uniform(0.0, 1.2) if cuspy else 0.0,
        "steepening": rng.uniform(0.5, 3.5) if cuspy else 0.0,
        "scale_radius": log_uniform(rng, 20, 150) if cuspy else 100.0,
    }


def draw_disturbance(prior: NuisancePrior, rng: Generator) -> dict[str, float]:
    """Sloshing spiral, front and infalling clump; amplitudes 0 where there is none."""
    sloshing = rng.random() < prior.sloshing
    front = rng.random() < prior.front
    clump = rng.random() < prior.clump
    place, way = rng.uniform(10, 60), rng.uniform(0, 2 * np.pi)
    return {
        "slosh_amplitude": log_uniform(rng, *prior.slosh_amplitude) if sloshing else 0.0,
        "slosh_winding": log_uniform(rng, *prior.slosh_winding) * rng.choice([-1, 1]),
        "slosh_phase": rng.uniform(0, 2 * np.pi),
        "slosh_height": log_uniform(rng, *prior.slosh_height),
        "slosh_sharp": float(rng.random() < prior.slosh_sharp),
        "front_jump": between(rng, prior.front_jump) - 1 if front else 0.0,
        "front_radius": log_uniform(rng, *prior.front_radius),
        "front_angle": rng.uniform(0, 2 * np.pi),
        "front_power": log_uniform(rng, 0.3, 3.0),
        "clump_flux": log_uniform(rng, *prior.clump_flux) if clump else 0.0,
        "clump_dx": place * np.cos(way),
        "clump_dy": place * np.sin(way),
        "clump_core": log_uniform(rng, 1.5, 15),
        "clump_beta": rng.uniform(0.45, 0.9),
    }


def draw_cavities(prior: CavityPrior, rng: Generator) -> tuple[list[dict[str, float]], float]:
    """No cavity, or pairs about the centre, of which the last may lack its partner."""
    if rng.random() < prior.none:
        return [], 0.0
    numbers = np.array(list(prior.number))
    weights = np.array(list(prior.number.values()), float)
    number = int(rng.choice(numbers, p=weights / weights.sum()))
    emptied = 1.0 if rng.random() < prior.full else between(rng, prior.emptied)
    rims = rng.random() < prior.rims
    rim = {
        "rim_width": between(rng, prior.rim_width),
        "rim_excess": between(rng, prior.rim_excess) if rims else 0.0,
        "rim_bow": rng.uniform(0, 3) if rng.random() < 0.5 else 0.0,
    }
    cavities: list[dict[str, float]] = []
    phi = rng.uniform(0, 2 * np.pi)
    first = log_uniform(rng, *prior.distance)
    if number >= 3:  # room for outer pairs within the field
        first = max(prior.distance[0], 0.55 * first)
    distance = first
    while len(cavities) < number:
        ratio = prior.radius_over_distance * np.exp(prior.radius_scatter * rng.normal())
        # A bubble that swallows the nucleus is no pair any more: R stays below d.
        radius = np.clip(distance * min(ratio, 0.95), *prior.radius)
        shape = np.clip(rng.normal(0.30, 0.15), *prior.ellipticity)
        along = rng.random() < 0.5
        tilt = _line_of_sight(prior, rng)
        pair = [(distance, radius, phi, tilt)]
        if len(cavities) + 1 < number:
            pair.append(
                (
                    distance * np.clip(rng.normal(0.9, 0.2), 0.5, 1.5),
                    radius * np.clip(rng.normal(0.92, 0.15), 0.5, 1.5),
                    phi + np.pi + np.deg2rad(25) * np.clip(rng.normal(), -3, 3),
                    -tilt + np.deg2rad(10) * rng.normal(),
                )
            )
        for d, r, angle, inclination in pair:
            e = np.clip(shape + rng.normal(0, 0.05), *prior.ellipticity)
            a, b = r / np.sqrt(1 - e), r * np.sqrt(1 - e)
            turn = angle + (0 if along else np.pi / 2) + np.deg2rad(15) * rng.normal()
            cavities.append(
                {
                    "a": a,
                    "b": b,
                    "c_z": rng.uniform(b, a),
                    "theta": turn,
                    # A bubble drawn out along its path is seen foreshortened with the path.
                    "tilt": inclination if along else 0.0,
                    "distance": d,
                    "phi": angle,
                    "line_of_sight": inclination,
                    "f": emptied,
                }
                | rim
            )
        distance *= rng.uniform(1.7, 3.2)
        if distance > 75:  # further pairs would leave the field: put them inside, elsewhere
            distance = rng.uniform(0.5, 1.2) * first
            phi += np.pi / 2
        phi += np.deg2rad(35) * rng.normal()
    return cavities[:number], emptied


def _line_of_sight(prior: CavityPrior, rng: Generator) -> float:
    limit = np.deg2rad(prior.line_of_sight_max)
    return float(np.clip(np.deg2rad(prior.line_of_sight) * rng.normal(), -limit, limit))


def draw_instrument(prior: InstrumentPrior, rng: Generator) -> dict[str, float]:
    """Depth, background, point spread function, field."""
    structured = rng.random() < prior.exposure
    gaps, columns, edge = rng.random(3) < (prior.gaps, prior.dead_columns, prior.edge)
    away = rng.random() < prior.offset
    spread = rng.uniform(-1, 1, 2) * prior.offset_max if away else rng.normal(0, 0.5, 2)
    return {
        "counts": log_uniform(rng, *prior.counts),
        "background": log_uniform(rng, *prior.background),
        "particle_share": rng.uniform(0, 1),
        "psf_fwhm": log_uniform(rng, *prior.psf_fwhm),
        "psf_growth": between(rng, prior.psf_growth),
        "psf_wings": between(rng, prior.psf_wings),
        "psf_alpha": rng.uniform(1.4, 2.2),
        "structured": float(structured),
        "vignetting": log_uniform(rng, 60, 400),
        "gaps": float(structured and gaps),
        "dead_columns": float(structured and columns),
        "edge": float(structured and edge),
        "offset_x": spread[0],
        "offset_y": spread[1],
    }


def draw_sources(prior: NuisancePrior, rng: Generator) -> dict[str, float]:
    """Central point source and jet."""
    agn, jet = rng.random(2) < (prior.agn, prior.jet)
    return {
        "agn_flux": log_uniform(rng, *prior.agn_flux) if agn else 0.0,
        "jet_flux": log_uniform(rng, *prior.jet_flux) if jet else 0.0,
        "jet_angle": rng.uniform(0, 2 * np.pi),
        "jet_length": log_uniform(rng, 6, 40),
    }


def broken_power_law(
    rng: Generator, n: int, low: float, high: float, knee: float
) -> NDArray[np.float64]:
    """Fluxes with dN/dS ~ S^-1.6 below the knee and S^-2.5 above, by inversion.

    Parameters
    ----------
    rng : Generator
    n : int
        Number of draws.
    low, high, knee : float
        Limits and break, low < knee < high.
    """
    p, q = -0.6, -1.5
    # Both branches are normalised to dN/dS = 1 at the knee.
    below = knee * (1 - (low / knee) ** p) / p
    above = knee * ((high / knee) ** q - 1) / q
    u = rng.random(n) * (below + above)
    faint_branch = knee * ((low / knee) ** p + p * np.minimum(u, below) / knee) ** (1 / p)
    beyond = np.maximum(u - below, 0)
    return np.where(u < below, faint_branch, knee * (1 + q * beyond / knee) ** (1 / q))


def draw_point_sources(
    prior: NuisancePrior, rng: Generator, params: dict[str, float], size: int
) -> NDArray[np.float64]:
    """Background and galaxy sources; the observer masks most of those that stand out."""
    if prior.sources_max == 0 or rng.random() >= prior.sources:
        return np.zeros((0, 4))
    n = int(rng.integers(1, prior.sources_max + 1))
    knee = 20.0 * (params["counts"] / 1e5) ** 0.5
    flux = broken_power_law(rng, n, 0.15 * knee, 60 * knee, knee)
    place = rng.uniform(0, size - 1, (n, 2))
    found = rng.random(n) < prior.source_found
    return np.column_stack([place, flux, found])
