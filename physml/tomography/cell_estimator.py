"""The particle cell as an estimator, which also turns the measurement to be made next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from physml.exceptions import InputError
from physml.tomography.cell import Bank, Cell, Outlook, posterior_covariance
from physml.tomography.design import (
    FLOOR,
    choose_basis,
    expected_infidelity,
    global_candidates,
    infidelity_metric,
)
from physml.tomography.estimator import Basis, BasisKind, Estimator
from physml.tomography.fixed_povm import mub_bases, pairwise_effects, sic_effects
from physml.tomography.operators import to_coordinates
from physml.tomography.povm import basis_effects
from physml.tomography.tally import Tally

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Turned(Basis):
    """A measurement that is no basis, turned by a unitary: effects U E U^+.

    Attributes
    ----------
    fixed
        (k, d, d) effects before the turn.
    """

    fixed: Tensor | None = None

    @property
    def effects(self) -> Tensor:
        """(S, k, d, d)."""
        assert self.fixed is not None
        u = self.unitary[:, None]
        return u @ self.fixed @ u.mH


def whole_measurement(name: str, n: int) -> Tensor:
    """Effects (k, d, d) of an informationally complete measurement of n qubits.

    ``"sic"`` and ``"pairwise"`` as in `fixed_povm`; ``"mub"``: one of the unbiased bases at random.
    """
    if name == "sic":
        return sic_effects(n)
    if name == "pairwise":
        return pairwise_effects(n)
    if name == "mub":
        bases = basis_effects(mub_bases(n))
        return bases.flatten(0, 1) / len(bases)
    raise InputError.expected("povm", "sic, mub or pairwise", repr(name))


class CellEstimator(Estimator):
    """A bank of particles taken round a trained cell.

    Parameters
    ----------
    cell
        Networks; see `cell_training.load_cell`.
    n_particles
        P; any number, as the networks look at one particle at a time.
    povm
        None: `next_basis` gives bases. Effects (k, d, d): it turns these.
    learning
        Whether gradients are kept, block after block, until the bank is detached.
    """

    name: ClassVar[str] = "particle_cell"
    order_free: ClassVar[bool] = False

    def __init__(
        self,
        cell: Cell,
        n_particles: int = 100,
        povm: Tensor | None = None,
        learning: bool = False,
    ) -> None:
        if n_particles < 2:
            raise InputError.expected("n_particles", "at least 2", str(n_particles))
        self.cell, self.n_particles, self.povm = cell, n_particles, povm
        self.learning = learning

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Draw the particles. See `Estimator.start`."""
        self.n_states, self.d, self._rng = n_states, d, rng
        self.tally = Tally(n_states, d)
        self.bank = Bank.draw(n_states, self.n_particles, d, rng)
        self._outlook: Outlook | None = None

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Take in counts. See `Estimator.update`."""
        block = self.tally.add(effects, counts)
        with torch.set_grad_enabled(self.learning and torch.is_grad_enabled()):
            self.bank = self.cell(self.bank, self.tally, block, self._rng)
        self._outlook = None

    def forget_outlook(self) -> None:
        """Make estimate and confidence anew, after the networks or the bank were changed."""
        self._outlook = None

    def outlook(self) -> Outlook:
        """Estimate and confidence, with their gradients where it is learning."""
        if self._outlook is None:
            with torch.set_grad_enabled(self.learning and torch.is_grad_enabled()):
                self._outlook = self.cell.outlook(self.bank, self.tally)
        return self._outlook

    def estimate(self) -> Tensor:
        """Density matrices (S, d, d). See `Estimator.estimate`."""
        return self.outlook().state.detach()

    def spread(self) -> Tensor:
        """Expected infidelity (S,)."""
        return self.outlook().log_infidelity.detach().exp().clamp(max=1.0)

    def covariance(self) -> Tensor:
        """Covariance by Fisher's information, scaled to the confidence of the network."""
        with torch.no_grad():
            covariance = posterior_covariance(self.bank, self.tally)
            expected = expected_infidelity(self.estimate(), covariance)
            scale = (self.spread() / expected.clamp(min=FLOOR)).clamp(0.1, 10)
            return covariance * scale[:, None, None]

    def next_basis(self, kind: BasisKind, rng: np.random.Generator, shots: float = 1.0) -> Basis:
        """Measurement to be made next, see `Estimator.next_basis`; `kind` is for bases only."""
        rho, covariance = self.estimate(), self.covariance()
        if self.povm is None:
            return choose_basis(kind, rho, covariance, rng, shots)
        unitaries = global_candidates(rho, rng)
        best = turning_gains(unitaries, self.povm, rho, covariance, shots).argmax(-1)
        return Turned(unitaries[torch.arange(self.n_states), best], None, self.povm)


def turning_gains(
    unitaries: Tensor, effects: Tensor, rho: Tensor, covariance: Tensor, shots: float
) -> Tensor:
    """Expected fall of the infidelity (S, m) by effects (k, d, d) under unitaries (S, m, d, d).

    As `design.gains`, by the information of all outcomes, which may be more than coordinates.
    """
    u = unitaries[:, :, None]
    g = to_coordinates(u @ effects @ u.mH)
    p = (g @ to_coordinates(rho)[:, None, :, None])[..., 0].clamp(min=FLOOR)
    g = g[..., 1:]
    information = g.mT @ (g * (shots / p)[..., None])
    after = torch.linalg.inv(torch.linalg.inv(covariance)[:, None] + information)
    metric = infidelity_metric(rho)
    return -(metric[:, None] * (after - covariance[:, None])).sum((-2, -1))
