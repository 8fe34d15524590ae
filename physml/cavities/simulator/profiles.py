r"""Gas haloes: emissivity along the line of sight and its projection.

A halo has two components. Each follows a beta model, or a cuspy Vikhlinin profile
(Vikhlinin et al. 2006, ApJ 640, 691) that contains it as a special case::

    n_i^2(r) = A_i (r/rc)^(-alpha) [1 + r^2/rc^2]^(-3 b + alpha/2) [1 + (r/rs)^3]^(-eps/3)
    r^2      = x'^2 + (y'/q)^2 + (z/s)^2

with x' along the position angle of the major axis. Independent phases add emissivities,
eps = n_1^2 + n_2^2; a single phase adds densities, eps = (n_1 + n_2)^2. On top of it the
density may carry a sloshing spiral and a front (see `Disturbance`).

All lengths are pixels. Fields are tensors of one shape; indexing a halo indexes its fields,
so that the same code runs on an image grid and on a flat list of line-of-sight nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor


class TensorRecord:
    """Mixin for dataclasses of tensors: index, reshape and move all fields at once."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Record of the same type with a function applied to every field."""
        return type(self)(**{f.name: function(getattr(self, f.name)) for f in fields(self)})  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Self:
        return self.map(lambda t: t[index])


@dataclass
class Component(TensorRecord):
    """One halo component.

    Attributes
    ----------
    amplitude : Tensor
        Emissivity at the centre, relative units.
    core_radius : Tensor
        rc [pixel].
    beta : Tensor
        Slope b > 1/6.
    axis_ratio : Tensor
        q = 1 - ellipticity in the plane of the sky.
    depth_ratio : Tensor
        s, extent along the line of sight relative to the major axis.
    theta : Tensor
        Angle of the major axis from +x [rad].
    alpha, steepening, scale_radius : Tensor
        Cusp slope, outer steepening eps and its radius rs [pixel]; 0, 0, any for a beta model.
    """

    amplitude: Tensor
    core_radius: Tensor
    beta: Tensor
    axis_ratio: Tensor
    depth_ratio: Tensor
    theta: Tensor
    alpha: Tensor
    steepening: Tensor
    scale_radius: Tensor

    def sky_radius2(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared elliptical radius in the plane of the sky [pixel^2]."""
        c, s = torch.cos(self.theta), torch.sin(self.theta)
        u, v = x * c + y * s, (y * c - x * s) / self.axis_ratio
        return u * u + v * v

    def emissivity(self, sky_radius2: Tensor, z: Tensor, cuspy: bool) -> Tensor:
        """n_i^2 at depth z for a given squared sky radius; `cuspy` adds the Vikhlinin terms."""
        r2 = sky_radius2 + (z / self.depth_ratio) ** 2
        core2 = self.core_radius**2
        slope = 3 * self.beta
        if not cuspy:
            return self.amplitude * torch.exp(-slope * torch.log1p(r2 / core2))
        # A softening of 0.3 pixel keeps the cusp finite where a pixel centre meets r = 0.
        log_cusp = torch.log((r2 + 0.09) / core2)
        outer = torch.log1p(((r2 + 0.09).sqrt() / self.scale_radius) ** 3)
        exponent = (
            -0.5 * self.alpha * log_cusp
            - (slope - 0.5 * self.alpha) * torch.log1p(r2 / core2)
            - self.steepening / 3 * outer
        )
        return self.amplitude * torch.exp(exponent)

    def projected(self, sky_radius2: Tensor) -> Tensor:
        r"""Projection of a beta model in closed form (Cavaliere & Fusco-Femiano 1976).

        ``Int A (1 + (R^2 + l^2)/rc^2)^(-3b) dl
        = A sqrt(pi) G(3b-1/2)/G(3b) rc s (1 + R^2/rc^2)^(1/2-3b)``
        """
        central = (
            self.amplitude * projection_factor(self.beta) * self.core_radius * self.depth_ratio
        )
        return central * torch.exp(
            (0.5 - 3 * self.beta) * torch.log1p(sky_radius2 / self.core_radius**2)
        )


@dataclass
class Disturbance(TensorRecord):
    """Sloshing spiral and front, both factors on the density.

    Spiral: 1 + h g(x, y) exp(-z^2 / 2 H^2), g = wave(m phi - k ln(R/r0) + phi0) R / (R + fade),
    the wave a cosine, or a saw-tooth for a sharp cold front. Front: 1 + (C - 1) w(phi) inside
    the sphere r < r_s, with w = cos^2((phi - phi_s)/2)^p a smooth sector.
    """

    slosh_amplitude: Tensor  # h
    slosh_winding: Tensor  # k, sign = handedness
    slosh_phase: Tensor  # phi0 [rad]
    slosh_height: Tensor  # H [pixel]
    slosh_sharp: Tensor  # 1 for a saw-tooth
    front_jump: Tensor  # C - 1
    front_radius: Tensor  # r_s [pixel]
    front_angle: Tensor  # phi_s [rad]
    front_power: Tensor  # p

    def spiral(self, x: Tensor, y: Tensor) -> Tensor:
        """H g(x, y)."""
        radius = torch.sqrt(x * x + y * y)
        phase = (
            torch.atan2(y, x)
            - self.slosh_winding * torch.log((radius + 1.0) / 10.0)
            + self.slosh_phase
        )
        turn = phase / (2 * np.pi)
        saw = 1 - 2 * (turn - torch.floor(turn))
        wave = torch.where(self.slosh_sharp > 0.5, saw, torch.cos(phase))
        return self.slosh_amplitude * wave * radius / (radius + 3.0)

    def sector(self, x: Tensor, y: Tensor) -> Tensor:
        """(C - 1) w(phi)."""
        cosine = torch.cos(torch.atan2(y, x) - self.front_angle)
        return self.front_jump * (0.5 + 0.5 * cosine).clamp_min(1e-6) ** self.front_power


@dataclass
class Halo(TensorRecord):
    """Two components, how they combine, their disturbance and their centre."""

    first: Component
    second: Component
    single_phase: Tensor  # 1: eps = (n1 + n2)^2, 0: eps = n1^2 + n2^2
    disturbance: Disturbance
    x: Tensor  # centre [pixel]
    y: Tensor
    cuspy: bool = False

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply a function to all tensors, nested ones included."""
        return type(self)(
            self.first.map(function),
            self.second.map(function),
            function(self.single_phase),
            self.disturbance.map(function),
            function(self.x),
            function(self.y),
            self.cuspy,
        )

    def quiet_emissivity(self, dx: Tensor, dy: Tensor, z: Tensor) -> Tensor:
        """Emissivity without disturbance at offsets (dx, dy) from the centre and depth z."""
        one = self.first.emissivity(self.first.sky_radius2(dx, dy), z, self.cuspy)
        two = self.second.emissivity(self.second.sky_radius2(dx, dy), z, self.cuspy)
        return one + two + 2 * self.single_phase * torch.sqrt(one * two)

    def emissivity(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Emissivity with sloshing and front at image position (x, y) and depth z."""
        dx, dy = x - self.x, y - self.y
        d = self.disturbance
        factor = 1 + d.spiral(dx, dy) * torch.exp(-0.5 * (z / d.slosh_height) ** 2)
        inside = (dx * dx + dy * dy + z * z) < d.front_radius**2
        factor = factor * (1 + d.sector(dx, dy) * inside)
        return self.quiet_emissivity(dx, dy, z) * factor * factor


def projection_factor(beta: Tensor) -> Tensor:
    """sqrt(pi) Gamma(3b - 1/2) / Gamma(3b)."""
    return np.sqrt(np.pi) * torch.exp(torch.lgamma(3 * beta - 0.5) - torch.lgamma(3 * beta))


@lru_cache
def _legendre(order: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(order)


def legendre(order: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [-1, 1], with the type and device of `like`."""
    nodes, weights = _legendre(order)
    return torch.as_tensor(nodes).to(like), torch.as_tensor(weights).to(like)


def line_of_sight(
    integrand: Callable[[Tensor], Tensor], scale: Tensor, limit: Tensor, order: int
) -> Tensor:
    """2 Int_0^limit f(z) dz for even f, with nodes spread as z = scale sinh(t).

    The mapping follows both the core (linear) and the power-law tail (logarithmic), so that
    about 20 Gauss-Legendre nodes give 1e-4 for any halo.

    Parameters
    ----------
    integrand : callable
        f(z) for z of shape (..., order).
    scale, limit : Tensor, shape (...)
        Width of the core and upper limit [pixel].
    order : int
        Number of nodes.
    """
    nodes, weights = legendre(order, scale)
    half = 0.5 * torch.asinh(limit / scale)[..., None]
    t = half * (nodes + 1)
    z = scale[..., None] * torch.sinh(t)
    return 2 * (integrand(z) * scale[..., None] * torch.cosh(t) * half * weights).sum(-1)
