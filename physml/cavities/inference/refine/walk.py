"""Random walks over the shapes of the cavities of a field, all walkers of all cavities at once.

At few counts the likelihood has several optima, and its mean is nearer to the truth than any of
them. The walkers of a cavity move by stretches along the lines between them (Goodman and Weare
2010, CAMCoS 5, 65), which needs no width to be chosen. Other cavities stay at their optimum; the
halo's correction follows each proposal by a linear step of its own: with g the change of its
gradient and H its information, that adds g^T H^-1 g / 2 to ln L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .cavity import LEFT, RIM
from .cells import Cells
from .fit import Fitted
from .model import EACH, Model
from .shapes import soft

Array = NDArray[np.float64]

#: Walkers of a cavity (even), steps of each, and how many of these are not kept.
WALKERS, WALK, BURN = 24, 70, 25
#: Largest stretch.
STRETCH = 2.0
#: Degree of a cell's polynomial of hidden emission, good up to `DEEPEST` first radii.
DEGREE, DEEPEST = 5, 2.1


@dataclass(frozen=True)
class Chain:
    """Samples of one cavity's parameters.

    Attributes
    ----------
    samples : ndarray, shape (s, 8)
    accepted : float
        Share of the proposals that were taken.
    """

    samples: Array
    accepted: float


class _Posterior:
    """ln posterior of the shapes of all cavities, for many proposals a call.

    Cells of the cavities stand side by side, padded to the same number by empty ones. The share
    hidden within a half chord Z is a polynomial in Z / (Z + B) at each cell.
    """

    def __init__(self, model: Model, fitted: Fitted) -> None:
        near = model.near
        number, most = len(near), max(map(len, near))
        own = [model.of(k) for k in range(number)]
        self.mean, self.width, self.low, self.high, best = (
            np.stack([a[o] for o in own])[:, None]
            for a in (model.mean, model.width, model.low, model.high, fitted.theta)
        )
        self.soft = np.array([c.start.soft for c in model.cavities])[:, None, None]
        self.power = np.array([c.power for c in model.cavities]).T[:, :, None, None]
        self.weight, self.square = np.ones((2, 2, number, 1, most))
        middle = np.array([c.middle for c in model.cavities])[..., None, None]
        self.middle = np.moveaxis(middle, 0, 2)
        self.u, self.v = np.full((2, number, 1, most), 1e3)
        counts, phi, rest = np.zeros((3, number, 1, most))
        self.gas, self.length = np.zeros((number, 1, most)), np.ones((number, 1, most))
        basis = np.zeros((number, most, model.smooth))
        self.hidden = np.zeros((DEGREE, number, 1, most))
        mu, sizes = model.expected(fitted.theta), model.phi
        phi += 1.0
        rest += 1.0
        for k, rows in enumerate(near):
            at = np.s_[k, 0, : len(rows)]
            cavity = model.cavities[k]
            cells, start, radius = cavity.cells, cavity.start, cavity.start.radius
            self.u[at] = (cells.x - start.x) / radius
            self.v[at] = (cells.y - start.y) / radius
            self.weight[:, *at], self.square[:, *at] = cavity.weight, cavity.square
            counts[at], rest[at], phi[at] = cells.counts, cells.rest, sizes[rows]
            self.gas[at] = (mu[rows] - cells.rest) / model.left(fitted.theta, k)
            basis[k, : len(rows)] = model.null.basis[rows]
            length, polynomial = _polynomial(cells, radius)
            self.length[at], self.hidden[:, k, 0, : len(rows)] = length, polynomial
        self.counts, self.phi, self.rest, self.basis = counts, phi, rest, basis
        for name, value in vars(self).items():
            # Half the time; all sums are of ratios to the optimum, which are near one.
            setattr(self, name, value.astype(np.float32))
        self.inverse = np.linalg.inv(fitted.curvature[: model.smooth, : model.smooth])
        self.drift: Array | float = 0.0
        self.best = self._expected(best)[0]
        self.drift = self._likelihood(best)[1]
        self.start = (((best - self.mean) / self.width) ** 2).sum(-1)

    def _expected(self, theta: Array) -> tuple[NDArray[Any], NDArray[Any]]:
        """Expected counts and emission of the cells, (k, w, m), of parameters (k, w, 8)."""
        t = theta.astype(np.float32)[..., None]
        scale = np.exp(t[..., 2, :])
        g = np.maximum(np.hypot(t[..., 3, :], t[..., 4, :]), 1e-9)
        even, odd = np.cosh(2 * g) / scale**2, np.sinh(2 * g) / g / scale**2
        u, v = self.u - t[..., 0, :], self.v - t[..., 1, :]
        g1, g2 = odd * t[..., 3, :], odd * t[..., 4, :]
        q2 = (even - g1) * (u * u) + ((even + g1) * v - 2 * g2 * u) * v
        inner = self._hidden(np.sqrt(soft(q2, self.soft)) * scale)
        outer = self._hidden(np.sqrt(soft(q2 / RIM**2, self.soft)) * (RIM * scale))
        offset, rim = np.maximum(t[..., 6, :], 0), t[..., 7, :]
        w = self._offset(offset, self.weight, self.square)
        w /= self._offset(offset, *self.middle)
        outer -= inner
        outer *= rim
        inner *= t[..., 5, :]
        outer -= inner
        outer *= w
        outer += 1
        gas = self.gas * np.maximum(outer, LEFT)
        return gas + self.rest, gas

    def _hidden(self, z: NDArray[Any]) -> NDArray[Any]:
        """Share within half chords [first radii]."""
        s = z / (z + self.length)
        out = self.hidden[-1] * s
        for c in self.hidden[-2::-1]:
            out += c
            out *= s
        return out

    def _offset(self, t: Any, weight: Any, square: Any) -> Any:
        """Emissivity at an offset over that in the plane of the sky."""
        return sum(
            w * np.exp(-p * np.log1p(t * s))
            for w, s, p in zip(weight, square, self.power, strict=True)
        )

    def _likelihood(self, theta: Array) -> tuple[Array, Array]:
        """Ln L over that of the optimum (k, w), and the null's gradient (k, w, p)."""
        mu, gas = self._expected(theta)
        n, both, best = self.counts, mu + self.phi, self.best + self.phi
        log_l = n * np.log(mu / self.best) - (n + self.phi) * np.log(both / best)
        # The score of the gas's logarithm, which the null moves.
        gas *= self.phi * (n - mu) / (mu * both)
        drift = np.matmul(gas, self.basis).astype(float) - self.drift
        return log_l.sum(-1, dtype=float), drift

    def __call__(self, theta: Array) -> Array:
        """Ln posterior over that of the optimum, shape (k, w), of parameters (k, w, 8)."""
        gain, moved = self._likelihood(theta)
        follow = 0.5 * ((moved @ self.inverse) * moved).sum(-1)
        prior = 0.5 * (self.start - (((theta - self.mean) / self.width) ** 2).sum(-1))
        outside = ((theta < self.low) | (theta > self.high)).any(-1)
        return np.where(outside, -np.inf, gain + follow + prior)


def _polynomial(cells: Cells, radius: float) -> tuple[Array, Array]:
    """Share hidden within Z first radii as a polynomial without constant in s = Z / (Z + B).

    Returns
    -------
    length : ndarray, shape (m,)
        B in first radii.
    coefficients : ndarray, shape (DEGREE, m)
        Of s, s^2 ...
    """
    shares = cells.shares
    length = shares.part * shares.length[0] + (1 - shares.part) * shares.length[1]
    half = DEEPEST * radius * np.linspace(0, 1, 3 * DEGREE + 1)[1:, None] ** 1.5
    hidden, _ = shares.within(half)
    s = half / (half + length)
    powers = s.T[..., None] ** np.arange(1, DEGREE + 1)
    gram = powers.transpose(0, 2, 1) @ powers + 1e-9 * np.eye(DEGREE)
    moment = powers.transpose(0, 2, 1) @ hidden.T[..., None]
    return length / radius, np.linalg.solve(gram, moment)[..., 0].T


def walk(model: Model, fitted: Fitted, rng: Generator) -> list[Chain]:
    """Samples of the shape of each cavity of a field.

    Parameters
    ----------
    model : Model
    fitted : Fitted
        Its optimum.
    rng : Generator
        Of a fixed seed: the same image gives the same answer.
    """
    number = len(model.cavities)
    log_posterior = _Posterior(model, fitted)
    covariance = np.linalg.inv(fitted.curvature)
    at = np.empty((number, WALKERS, EACH))
    for k in range(number):
        own = model.of(k)
        root = np.linalg.cholesky(covariance[own, own])
        at[k] = fitted.theta[own] + rng.normal(size=(WALKERS, EACH)) @ root.T
        # A third begins about where the network saw the cavity.
        third = slice(0, WALKERS, 3)
        at[k, third] += model.mean[own] - fitted.theta[own]
        inner = 1e-3 * (model.high[own] - model.low[own])
        at[k] = np.clip(at[k], model.low[own] + inner, model.high[own] - inner)
    value = log_posterior(at)
    kept, taken = [], np.zeros(number)
    half = WALKERS // 2
    for step in range(WALK):
        order = rng.permutation(WALKERS)
        for movers, others in ((order[:half], order[half:]), (order[half:], order[:half])):
            partner = at[:, others][:, rng.permutation(half)]
            # Density 1 / sqrt(z) between 1 / STRETCH and STRETCH.
            z = (1 + (STRETCH - 1) * rng.random((number, half))) ** 2 / STRETCH
            proposal = partner + z[..., None] * (at[:, movers] - partner)
            new = log_posterior(proposal)
            chance = (EACH - 1) * np.log(z) + new - value[:, movers]
            take = np.log(rng.random((number, half))) < chance
            at[:, movers] = np.where(take[..., None], proposal, at[:, movers])
            value[:, movers] = np.where(take, new, value[:, movers])
            taken += take.mean(1) / 2
        if step >= BURN:
            kept.append(at.copy())
    samples = np.stack(kept, 1).reshape(number, -1, EACH)
    return [Chain(samples[k], float(taken[k] / WALK)) for k in range(number)]
