r"""Ellipsoidal cavities seen in projection: chords, outlines, volumes.

An ellipsoid is (p - c)^T M (p - c) < 1 with M = U diag(1/a^2, 1/b^2, 1/c_z^2) U^T. Along the line
of sight through offset (u, v) from its centre this is a quadratic in z, whose roots are the ends
of the chord::

    M33 w^2 + 2 (M13 u + M23 v) w + (M11 u^2 + 2 M12 u v + M22 v^2) < 1,   w = z - z_c

Scaling the ellipsoid by k (for a rim) replaces 1 by k^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .profiles import TensorRecord


@dataclass
class Ellipsoids(TensorRecord):
    """Cavities as ellipsoids; all fields of one shape (...,), `matrix` (..., 3, 3) apart.

    Attributes
    ----------
    x, y, z : Tensor
        Centre [pixel], z along the line of sight, 0 at the halo's centre.
    matrix : Tensor, shape (..., 3, 3)
        M [pixel^-2].
    """

    x: Tensor
    y: Tensor
    z: Tensor
    matrix: Tensor

    def chord(self, px: Tensor, py: Tensor, scale: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
        """Ends of the chord at image positions.

        Returns
        -------
        middle, half : Tensor
            z of the chord's middle and half its length [pixel]; half is 0 outside.
        """
        u, v = px - self.x, py - self.y
        m = self.matrix
        m33 = m[..., 2, 2]
        linear = (m[..., 0, 2] * u + m[..., 1, 2] * v) / m33
        flat = (m[..., 0, 0] * u * u + 2 * m[..., 0, 1] * u * v + m[..., 1, 1] * v * v) / m33
        square = linear**2 - flat + scale**2 / m33
        return self.z - linear, torch.sqrt(square.clamp_min(0.0))

    def rho2(self, px: Tensor, py: Tensor, pz: Tensor) -> Tensor:
        """Squared ellipsoidal radius of a point; 1 on the surface."""
        u, v, w = px - self.x, py - self.y, pz - self.z
        m = self.matrix
        return (
            m[..., 0, 0] * u * u
            + m[..., 1, 1] * v * v
            + m[..., 2, 2] * w * w
            + 2 * (m[..., 0, 1] * u * v + m[..., 0, 2] * u * w + m[..., 1, 2] * v * w)
        )

    def outline(self) -> tuple[Tensor, Tensor, Tensor]:
        """Projected ellipse: semi-axes a >= b [pixel] and angle of a from +x in [0, pi).

        The shadow of an ellipsoid has the matrix M_xy - m m^T / M33 (Schur complement).
        """
        m = self.matrix
        side = m[..., :2, 2]
        shadow = m[..., :2, :2] - side[..., :, None] * side[..., None, :] / m[..., 2:3, 2:3]
        p, q, r = shadow[..., 0, 0], shadow[..., 0, 1], shadow[..., 1, 1]
        mean, spread = 0.5 * (p + r), torch.sqrt((0.5 * (p - r)) ** 2 + q * q)
        # The major axis belongs to the smaller eigenvalue.
        theta = 0.5 * torch.atan2(-2 * q, r - p)
        return (mean - spread).rsqrt(), (mean + spread).rsqrt(), theta.remainder(torch.pi)

    def volume(self) -> Tensor:
        """4/3 pi a b c [pixel^3]."""
        return 4 / 3 * torch.pi * torch.linalg.det(self.matrix).rsqrt()


def ellipsoid_matrix(a: Tensor, b: Tensor, c: Tensor, theta: Tensor, tilt: Tensor) -> Tensor:
    """M for axes a, b, c: tilt the a-axis out of the sky, then turn it by theta in the sky.

    Parameters
    ----------
    a, b, c : Tensor, shape (...)
        Semi-axes [pixel]; c along the line of sight when tilt is 0.
    theta : Tensor
        Angle of the a-axis from +x [rad].
    tilt : Tensor
        Angle of the a-axis out of the plane of the sky [rad].
    """
    ct, st, ci, si = theta.cos(), theta.sin(), tilt.cos(), tilt.sin()
    zero = torch.zeros_like(ct)
    axes = torch.stack(
        [
            torch.stack([ct * ci, st * ci, si], -1),
            torch.stack([-st, ct, zero], -1),
            torch.stack([-ct * si, -st * si, ci], -1),
        ],
        -2,
    )
    scale = torch.stack([a**-2, b**-2, c**-2], -1)
    return axes.transpose(-1, -2) @ (scale[..., None] * axes)
