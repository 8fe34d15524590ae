"""The particle cell as an estimator, which also turns the measurement to be made next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import InputError
from physml.models import read_weights

from ...core.basis import Basis, BasisKind
from ...core.basis_choice import (
    FLOOR,
    choose_basis,
    expected_infidelity,
    global_candidates,
    infidelity_metric,
)
from ...core.estimator import Estimator
from ...core.fixed_measurements import mub_bases, pairwise_effects, sic_effects
from ...core.measurements import basis_effects
from ...core.operators import from_coordinates, random_unitary, to_coordinates
from ..classical.tally import Tally
from ..weights import prefix
from .cell import Bank, Cell, CellEstimate, hedge, posterior_covariance

#: Ways to choose a measurement.
HOW = ("fixed", "random", "adaptive")
#: Designs of `experiment.experiment` of each way, for bases of all qubits and of each.
BASES: Mapping[str, tuple[str, str, str]] = {
    "bases": ("pauli", "random_global", "global"),
    "product": ("pauli", "random_product", "product"),
}


@dataclass(frozen=True)
class Turned(Basis):
    """A measurement that is no basis, turned by a unitary: effects U E U^+.

    Attributes
    ----------
    fixed : Tensor (k, d, d), optional
        Effects before the turn.
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

    ``"sic"``, ``"pairwise"``: see `fixed_measurements`; ``"mub"``: an unbiased basis at random.
    """
    if name == "sic":
        return sic_effects(n)
    if name == "pairwise":
        return pairwise_effects(n)
    if name == "mub":
        bases = basis_effects(mub_bases(n))
        return bases.flatten(0, 1) / len(bases)
    raise InputError.expected("povm=", "sic, mub or pairwise", repr(name))


class CellEstimator(Estimator):
    """A bank of particles taken round a trained cell.

    Parameters
    ----------
    cells : Cell or mapping, optional
        The cell, or one for each dimension; None: the shipped ones.
    n_particles : int
        P; any number, as the networks look at one particle at a time.
    povm : Tensor, optional
        None: `next_basis` gives bases. Effects (k, d, d): it turns these.
    at_random : bool
        Whether `next_basis` turns `povm` at random instead of by choice.
    learning : bool
        Whether the gradients of the last update are kept.
    """

    name: ClassVar[str] = "particle_cell"

    def __init__(
        self,
        cells: Cell | Mapping[int, Cell] | None = None,
        n_particles: int = 100,
        povm: Tensor | None = None,
        *,
        at_random: bool = False,
        learning: bool = False,
    ) -> None:
        if n_particles < 2:
            raise InputError.expected("n_particles=", "at least 2", str(n_particles))
        if cells is None:
            cells = load_cells()
        self.cells, self.n_particles, self.povm = cells, n_particles, povm
        self.at_random, self.learning = at_random, learning

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None, **arguments: Any) -> CellEstimator:
        """Estimator with the cells of a weights file, or with the shipped ones.

        Raises
        ------
        InputError
            Not weights of this pipeline, or there is no cell among them.
        """
        return cls(load_cells(path), **arguments)

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Draw the particles. See `Estimator.start`.

        Raises
        ------
        InputError
            There is no cell for this dimension.
        """
        if isinstance(self.cells, Cell):
            self.cell = self.cells
        elif d in self.cells:
            self.cell = self.cells[d]
        else:
            known = ", ".join(str(k.bit_length() - 1) for k in sorted(self.cells))
            raise InputError.expected(
                "n_qubits=",
                f"a number of qubits that there are cells for ({known})",
                str(d.bit_length() - 1),
            )
        self.n_states, self.d, self._rng = n_states, d, rng
        self.tally = Tally(n_states, d)
        self.bank = Bank.draw(n_states, self.n_particles, d, rng)
        self._latest: CellEstimate | None = None

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Take in counts. See `Estimator.update`."""
        block = self.tally.add(effects, counts)
        with torch.set_grad_enabled(self.learning and torch.is_grad_enabled()):
            self.bank = self.cell(self.bank.detach(), self.tally, block, self._rng)
        self._latest = None

    def forget(self) -> None:
        """Drop gradients, and what the networks said before they were changed."""
        self.bank, self._latest = self.bank.detach(), None

    def latest(self) -> CellEstimate:
        """Estimate and confidence, with their gradients where it is learning."""
        if self._latest is None:
            with torch.set_grad_enabled(self.learning and torch.is_grad_enabled()):
                self._latest = self.cell.estimate(self.bank, self.tally)
        return self._latest

    def estimate(self) -> Tensor:
        """Density matrices (S, d, d). See `Estimator.estimate`."""
        return self.latest().state.detach()

    def spread(self) -> Tensor:
        """Expected infidelity (S,)."""
        return self.latest().log_infidelity.detach().exp().clamp(max=1.0)

    def covariance(self) -> Tensor:
        """Covariance by Fisher's information, scaled to the confidence of the network."""
        with torch.no_grad():
            estimate = self.estimate()
            centre = hedge(to_coordinates(estimate), self.tally)
            covariance = posterior_covariance(centre, self.tally)
            expected = expected_infidelity(from_coordinates(centre), covariance)
            scale = (self.spread() / expected.clamp(min=FLOOR)).clamp(0.1, 10)
            return covariance * scale[:, None, None]

    def next_basis(self, kind: BasisKind, rng: np.random.Generator, shots: float = 1.0) -> Basis:
        """Measurement to be made next, see `Estimator.next_basis`; `kind` is for bases only."""
        if self.povm is not None and self.at_random:
            u = torch.as_tensor(random_unitary(self.n_states, self.d, rng))
            return Turned(u, None, self.povm)
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

    As `basis_choice.gains`, by the information of all outcomes, which may be more than coordinates.
    """
    u = unitaries[:, :, None]
    g = to_coordinates(u @ effects @ u.mH)
    p = (g @ to_coordinates(rho)[:, None, :, None])[..., 0].clamp(min=FLOOR)
    g = g[..., 1:]
    information = g.mT @ (g * (shots / p)[..., None])
    after = torch.linalg.inv(torch.linalg.inv(covariance)[:, None] + information)
    metric = infidelity_metric(rho)
    return -(metric[:, None] * (after - covariance[:, None])).sum((-2, -1))


def arm(
    cell: Cell, n_particles: int, povm: str, how: str, n: int, learning: bool = False
) -> tuple[CellEstimator, str | Tensor]:
    """Estimator and design, as `experiment.experiment` takes them, of a way to measure n qubits.

    Parameters
    ----------
    cell : Cell
    n_particles : int
        See `CellEstimator`.
    povm : str
        ``"bases"``, ``"product"`` (bases of each qubit), or a name of `whole_measurement`.
    how : str
        ``"fixed"`` (bases: those of Pauli, in turn), ``"random"`` (turned by a Haar-random unitary,
        another for each block), ``"adaptive"`` (turned by choice).
    n : int
        Qubits.
    learning : bool
        See `CellEstimator`.
    """
    if how not in HOW:
        raise InputError.expected("how=", "fixed, random or adaptive", repr(how))
    if povm in BASES:
        return CellEstimator(cell, n_particles, learning=learning), BASES[povm][HOW.index(how)]
    effects = whole_measurement(povm, n)
    if how == "fixed":
        return CellEstimator(cell, n_particles, learning=learning), effects
    at_random = how == "random"
    made = CellEstimator(cell, n_particles, effects, at_random=at_random, learning=learning)
    return made, "global"


def load_cells(path: str | PathLike[str] | None = None) -> dict[int, Cell]:
    """Cells by dimension of a weights file; the shipped ones by default.

    Parameters
    ----------
    path : path, optional

    Raises
    ------
    InputError
        Not weights of this pipeline, or there is no cell among them.
    """
    found = read_weights("tomography", path, key="networks")
    if not found.card.get("cell"):
        raise InputError.expected(
            found.path,
            "weights with a particle cell",
            "none",
            "Train one with `physml tomography train`; train.cell.runs must be above 0.",
        )
    cells = {}
    for qubits, arguments in found.card["cell"].items():
        d = 1 << int(qubits)
        cell = Cell(**arguments)
        found.fill(cell, prefix(d, Cell))
        cells[d] = cell.eval().requires_grad_(False)
    return cells
